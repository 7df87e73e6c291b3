/* The chat beside the thing looked at: what was said stands in the page already, what is said now is added. */
import { face, make } from "./dom.js";
import { retell } from "./times.js";
import { initials, tone } from "./words.js";

export class Chat {
  /** `send(text, clientId)` resolves when the message is kept, and rejects with a reason people can read. */
  constructor({ list, scroll, form, me, name, send }) {
    Object.assign(this, { list, scroll, form, me, name, send });
    this.known = new Set([...list.querySelectorAll("[data-sequence]")].map((line) => Number(line.dataset.sequence)));
    this.waiting = new Map();
    this.toEnd();
    if (!form) return;
    this.text = form.querySelector("textarea");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.say(); });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.say();
    });
  }

  /** The number of the newest message shown. */
  get newest() {
    return Math.max(0, ...this.known);
  }

  add(message) {
    if (this.known.has(message.sequence)) return;
    this.known.add(message.sequence);
    const atEnd = this.atEnd();
    const mine = message.author?.id === this.me ? this.waiting.get(message.client_id) : null;
    mine?.remove();
    this.waiting.delete(message.client_id);
    const line = this.#line(message.author.id, message.author.name, message.text, message.at);
    line.dataset.sequence = message.sequence;
    const after = [...this.list.querySelectorAll("[data-sequence]")].findLast((other) => Number(other.dataset.sequence) < message.sequence);
    if (after) after.after(line);
    else this.list.prepend(line);
    this.list.querySelector("[data-say=silence]")?.remove();
    retell(line);
    if (atEnd || mine) this.toEnd();
  }

  async say() {
    const text = this.text.value.trim();
    if (!text) return;
    const clientId = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    this.text.value = "";
    const line = this.#line(this.me, this.name, text, new Date().toISOString());
    line.classList.add("unsure");
    this.waiting.set(clientId, line);
    this.list.append(line);
    this.toEnd();
    try {
      await this.send(text, clientId);
    } catch (error) {
      line.querySelector("header").append(make("small", {}, `not sent: ${error.message}`));
      if (!this.text.value) this.text.value = text;
    }
  }

  #line(id, name, text, at) {
    const who = { initials: initials(name), tone: tone(id) };
    return make("li", {}, face(who), make("div", {},
      make("header", {}, make("b", {}, name), make("time", { datetime: at, "data-as": "clock" }, "")),
      make("p", {}, text)));
  }

  atEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 40;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}
