/* A log that grows: followed by byte offset, silent to screen readers, never moving under somebody who reads. */
import { icon, make } from "./dom.js";
import { shown } from "./events.js";
import { LogLines } from "./log-lines.js";
import { announce, answer } from "./status.js";
import { lines as newLines, size } from "./words.js";

const MOST_LINES = 10_000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

customElements.define("job-log", class extends HTMLElement {
  connectedCallback() {
    this.text = this.querySelector(".log-text");
    if (!this.text || this.source) return;
    this.source = this.dataset.source;
    this.offset = Number(this.dataset.offset);
    this.parser = new LogLines();
    this.unread = 0;
    this.dropped = 0;
    this.done = this.hasAttribute("data-done");
    this.following = !this.done;
    this.build();
    this.stop = new AbortController();
    this.toEnd();
    if (!this.hasAttribute("data-done")) this.follow(this.stop.signal);
  }

  disconnectedCallback() {
    this.stop?.abort();
  }

  build() {
    const read = make("button", { class: "btn quiet small", type: "button", "aria-keyshortcuts": "l" }, "Read last lines ", make("kbd", {}, "L"));
    read.addEventListener("click", () => this.readLast());
    this.button = make("button", { class: "btn small", type: "button", "aria-pressed": "true" }, "Follow");
    this.button.addEventListener("click", () => (this.following ? this.letGo() : this.toEnd()));
    this.jump = make("button", { class: "btn small jump", type: "button", hidden: true });
    this.jump.addEventListener("click", () => { this.toEnd(); this.text.focus(); });
    this.append(this.jump);
    const tools = this.querySelector("[data-slot=tools]");
    tools.append(read, ...(this.following ? [this.button] : []));
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "l" && !event.ctrlKey && !event.metaKey && !event.altKey) this.readLast();
    });
    this.text.addEventListener("scroll", () => {
      const atEnd = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 12;
      if (atEnd && !this.following && !this.done) this.toEnd();
      else if (!atEnd && this.following && this.text.scrollTop < this.heldAt) this.letGo();
      this.heldAt = this.text.scrollTop;
    }, { passive: true });
  }

  /** Read on from where we are, over every break, until the log is complete. */
  async follow(signal) {
    let patience = 400;
    while (!signal.aborted) {
      await shown();
      try {
        const reply = await fetch(`${this.source}?offset=${this.offset}&follow=1`, { signal });
        if ([401, 403, 404, 410].includes(reply.status)) return this.end("This log is no longer yours to read.");
        if (!reply.ok) throw new Error(`log: ${reply.status}`);
        const before = this.offset;
        for (const reader = reply.body.getReader(); ;) {
          const { value, done } = await reader.read();
          if (done) break;
          this.offset += value.length;
          this.show(this.parser.push(value));
          patience = 400;
        }
        if (reply.headers.get("Collegium-Log-Done") === "1") return this.end();
        if (this.offset === before) await pause(300);
      } catch (error) {
        if (error.name === "AbortError") return;
        await pause(patience * (0.5 + Math.random()));
        patience = Math.min(patience * 2, 15_000);
      }
    }
  }

  show({ lines, open }) {
    this.querySelector("[data-say=empty]")?.remove();
    const fresh = document.createDocumentFragment();
    for (const { text, tint } of lines) fresh.append(make("span", { class: `ln ${tint}` }, `${text}\n`));
    this.open?.remove();
    this.open = open ? make("span", { class: `ln ${open.moving ? "moving" : open.tint}` }, open.text) : null;
    if (this.open) fresh.append(this.open);
    this.text.append(fresh);
    this.trim();
    this.querySelector("[data-say=size]").textContent = size(this.offset);
    if (this.following) this.text.scrollTop = this.heldAt = this.text.scrollHeight;
    else if (lines.length) this.count(lines.length);
  }

  /** Keep the page light: the oldest lines go, and the numbers go on counting. */
  trim() {
    for (let over = this.text.childElementCount - MOST_LINES; over > 0; over--) {
      this.text.firstElementChild.remove();
      this.dropped += 1;
    }
    if (this.dropped) this.text.style.counterReset = `line ${this.dropped}`;
  }

  count(many) {
    this.unread += many;
    this.jump.replaceChildren(icon("down"), newLines(this.unread));
    this.jump.hidden = false;
  }

  letGo() {
    this.following = false;
    this.button.setAttribute("aria-pressed", "false");
  }

  toEnd() {
    this.following = !this.done;
    this.unread = 0;
    this.jump.hidden = true;
    this.button.setAttribute("aria-pressed", "true");
    this.text.scrollTop = this.heldAt = this.text.scrollHeight;
  }

  end(why = "") {
    this.done = true;
    this.following = false;
    this.button.remove();
    this.open?.classList.remove("moving");
    if (why) announce(why);
    this.dispatchEvent(new CustomEvent("log-ended", { bubbles: true }));
  }

  readLast() {
    const last = [...this.text.querySelectorAll(".ln:not(.note-line)")].slice(-5).map((line) => line.textContent.trim());
    answer(last.length ? `Last lines: ${last.join("; ")}` : "The log is empty.");
  }
});
