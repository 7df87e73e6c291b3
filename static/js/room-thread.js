/* A thread beside the room: its own page, fetched and shown in the chat's place, so that both have one template. */
import { make } from "./dom.js";
import { send } from "./quiet-forms.js";
import { retell } from "./times.js";

const AGAIN_MS = 150;

export class Thread {
  constructor(board) {
    this.board = board;
    this.place = make("div", { class: "aside", role: "region", "aria-label": "Thread", tabindex: "-1", hidden: true });
    board.append(this.place);
    board.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-thread]");
      if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
      event.preventDefault();
      if (!this.place.contains(link)) this.open(link);
    });
    this.place.addEventListener("submit", (event) => { event.preventDefault(); this.#do(event.target, event.submitter); });
    this.place.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
  }

  async open(link) {
    this.href = link.getAttribute("href");
    if (!(await this.#show())) location.assign(this.href);
  }

  close() {
    const { href } = this;
    this.href = null;
    this.place.hidden = true;
    this.place.replaceChildren();
    this.board.classList.remove("beside");
    // The line may have been drawn anew since: it is found by where it leads.
    [...this.board.querySelectorAll("a[data-thread]")].find((link) => link.getAttribute("href") === href)?.focus();
  }

  /** A message has changed: when it is of this thread, the thread is read again. */
  hear({ id, thread }) {
    const shown = this.href?.split("/").at(-1);
    const here = [id, thread].includes(shown) || this.place.querySelector(`[data-id="${id}"]`);
    if (!shown || !here) return;
    this.again ??= setTimeout(() => { this.again = null; if (this.href) this.#show(); }, AGAIN_MS);
  }

  async #show() {
    const asked = await fetch(this.href, { headers: { accept: "text/html" } }).catch(() => null);
    return asked?.ok ? this.#put(await asked.text()) : false;
  }

  #put(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("thread");
    if (!fresh || !this.href) return false;
    const typed = new Map([...this.place.querySelectorAll("textarea, input:not([type=hidden])")].map((field) => [field.id, field.value]));
    const open = new Set([...this.place.querySelectorAll("details[open] [id]")].map((field) => field.id));
    const held = this.place.contains(document.activeElement) ? document.activeElement : null;
    const back = make("button", { type: "button", class: "btn quiet small" }, "Back to the chat");
    back.addEventListener("click", () => this.close());
    const first = this.place.hidden;
    this.place.replaceChildren(make("p", {}, back), document.adoptNode(fresh));
    for (const [id, value] of typed) if (this.kept !== id) this.#field(id)?.setAttribute("data-was", value);
    for (const field of this.place.querySelectorAll("[data-was]")) field.value = field.dataset.was;
    for (const id of open) this.#field(id)?.closest("details")?.setAttribute("open", "");
    this.kept = null;
    this.place.hidden = false;
    this.board.classList.add("beside");
    retell(this.place);
    if (first) (this.place.querySelector(".compose textarea") ?? this.place).focus();
    else if (held) (this.#field(held.id) ?? this.place).focus();
    return true;
  }

  #field(id) {
    return id ? this.place.querySelector(`#${CSS.escape(id)}`) : null;
  }

  async #do(form, button) {
    const text = await send(form, button);
    if (text === null) return false;
    // What was sent is not typed any more; what stands in other fields stays.
    this.kept = form.querySelector("textarea, input:not([type=hidden])")?.id ?? null;
    form.closest("details")?.removeAttribute("open");
    return this.#put(text);
  }
}
