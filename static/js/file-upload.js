/* Files sent so that a broken line costs nothing: resumable by tus, then named by digest in one action. */
import { actNow } from "./act-now.js";
import { make } from "./dom.js";
import { announce, answer } from "./status.js";
import { size } from "./words.js";

customElements.define("file-upload", class extends HTMLElement {
  connectedCallback() {
    const input = make("input", { type: "file", multiple: true, id: "f-files" });
    this.list = make("ul");
    const drop = make("div", { class: "drop" }, make("label", { for: "f-files" }, "Choose files, or drop them here."), input, this.list);
    input.addEventListener("change", () => this.send(input.files));
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      this.send(event.dataTransfer.files);
    });
    this.prepend(drop);
  }

  async send(files) {
    const { Upload } = await import("/static/vendor/tus.js");
    const results = await Promise.all([...files].map((file) => this.sendOne(Upload, file)));
    if (results.length && results.every(Boolean)) location.reload();
  }

  async sendOne(Upload, file) {
    const bar = make("progress", { max: 1, value: 0, "aria-label": `Sent of ${file.name}` });
    const word = make("span", {}, size(file.size));
    this.list.append(make("li", {}, make("span", { class: "anywhere" }, file.name), word, bar));
    try {
      const digest = await upload(Upload, file, this.dataset.session, (sent) => { bar.value = sent; });
      await actNow("artifact_versioning", { session_id: this.dataset.session, artifact_path: file.name, digest });
    } catch (error) {
      word.textContent = error.message;
      answer(`${file.name} was not added: ${error.message}`);
      return false;
    }
    bar.value = 1;
    word.textContent = "Added";
    announce(`${file.name} was added.`);
    return true;
  }
});

function upload(Upload, file, session, tell) {
  return new Promise((done, fail) => {
    const sending = new Upload(file, {
      endpoint: `/api/uploads?session=${encodeURIComponent(session)}`,
      metadata: { filename: file.name },
      retryDelays: [0, 500, 2000, 5000, 15000],
      removeFingerprintOnSuccess: true,
      onProgress: (sent, total) => tell(total ? sent / total : 1),
      onAfterResponse: (_request, response) => { digest = response.getHeader("Collegium-Digest") ?? digest; },
      onError: (error) => fail(new Error(reason(error))),
      onSuccess: () => (digest ? done(digest) : fail(new Error("the hub named no digest"))),
    });
    let digest = null;
    sending.findPreviousUploads().then(([earlier]) => {
      if (earlier) sending.resumeFromPreviousUpload(earlier);
      sending.start();
    }, fail);
  });
}

function reason(error) {
  try {
    return JSON.parse(error.originalResponse.getBody()).detail;
  } catch {
    return "the connection to the hub broke; choose it again to go on where it stopped";
  }
}
