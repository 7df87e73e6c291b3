/* The chat beside the thing looked at: what was said stands in the page already, what is said or changed now is put there. */
import { face, make } from "./dom.js";
import { announce, answer } from "./status.js";
import { retell } from "./times.js";
import { initials, tone } from "./words.js";

const REMOVED = { author: "Removed by its author.", moderator: "Removed by a moderator." };
const THINGS = { artifact: "a file", entry: "an entry", draft: "a draft", job: "a job" };
const NUMBERS = ["", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

export class Chat {
  /** `send(text, where)` resolves when the message is kept, and rejects with a reason people can read. */
  constructor({ list, scroll, form, earlier, me, name, home, session, send, command }) {
    Object.assign(this, { list, scroll, form, me, name, home, session, send, command });
    this.known = new Set([...list.querySelectorAll("[data-sequence]")].map((line) => Number(line.dataset.sequence)));
    this.waiting = new Map();
    this.toEnd();
    earlier?.addEventListener("click", (event) => { event.preventDefault(); this.lookBack(earlier); });
    scroll.addEventListener("scroll", () => scroll.scrollTop < 20 && earlier?.isConnected && this.lookBack(earlier));
    if (!form) return;
    this.text = form.querySelector("textarea");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.say(); });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.say();
    });
  }

  /** Put a message where it belongs: a new one at its place, a changed one over what it was, an answer into its count. */
  add(message) {
    if (message.thread) return this.#answered(message);
    const old = this.list.querySelector(`[data-sequence="${message.sequence}"]`);
    if (!old && message.change !== message.sequence && message.sequence < this.#oldest()) return;
    const atEnd = this.atEnd();
    const mine = message.author?.id === this.me ? this.waiting.get(message.client_id) : null;
    mine?.remove();
    this.waiting.delete(message.client_id);
    this.known.add(message.sequence);
    const line = this.#line(message);
    if (old) old.replaceWith(line);
    else this.#place(line, message.sequence);
    this.list.querySelector("[data-say=silence]")?.remove();
    retell(line);
    if (atEnd || mine) this.toEnd();
  }

  async say() {
    const text = this.text.value.trim();
    if (!text) return;
    if (/^\/(?!\/)/.test(text)) return this.#carryOut(text);
    const { to, about } = Object.fromEntries(new FormData(this.form));
    const where = { client_id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}` };
    if (to) where.to = to;
    if (about) where.about = about;
    this.text.value = "";
    const reader = to ? this.form.querySelector("select").selectedOptions[0].textContent : "";
    const line = this.#line({ author: { id: this.me, name: this.name }, text, at: new Date().toISOString(), unsent: reader && `to ${reader}` });
    line.classList.add("unsure");
    this.waiting.set(where.client_id, line);
    this.list.append(line);
    this.toEnd();
    try {
      await this.send(text, where);
    } catch (error) {
      line.querySelector("header").append(make("small", {}, `not sent: ${error.message}`));
      if (!this.text.value) this.text.value = text;
    }
  }

  /** A command: what comes of it is shown to its writer alone, and is gone with the page. */
  async #carryOut(text, words = []) {
    if (!words.length) this.text.value = "";
    const told = make("pre", {}, "…");
    const line = make("li", { class: "command-told" }, make("span", {}), make("div", {},
      make("header", {}, make("b", {}, text.split("\n")[0]), make("small", { class: "alone" }, "seen by you alone")), told));
    this.list.append(line);
    this.toEnd();
    const { lines, done, buttons = [] } = await this.command(words.length ? "" : text.slice(1), words);
    told.textContent = lines.join("\n");
    if (!done) line.classList.add("unsure");
    if (!done && !buttons.length && !words.length && !this.text.value) this.text.value = text;
    for (const each of buttons) {
      const button = make("button", { class: "btn", type: "button" }, each.label);
      button.addEventListener("click", () => { button.disabled = true; this.#carryOut(`/${each.words.join(" ")}`, each.words); });
      told.after(make("p", { class: "acts" }, button));
    }
    answer(lines[0] ?? "Done.");
    this.toEnd();
  }

  /** Older messages, above those that are shown; the view stays on the line it was on. */
  async lookBack(link) {
    if (this.looking) return;
    this.looking = true;
    try {
      const query = new URLSearchParams({ before: this.#oldest(), begins: "true", limit: 50 });
      const answer = await fetch(`/api/sessions/${encodeURIComponent(this.session)}/messages?${query}`);
      if (!answer.ok) throw new Error(`${answer.status}`);
      const { messages } = await answer.json();
      const height = this.scroll.scrollHeight;
      for (const message of messages) {
        this.known.add(message.sequence);
        this.#place(this.#line(message), message.sequence);
      }
      retell(this.list);
      this.scroll.scrollTop += this.scroll.scrollHeight - height;
      if (messages.length < 50) link.parentElement.remove();
    } catch {
      announce("Earlier messages cannot be read now; try again.");
    } finally {
      this.looking = false;
    }
  }

  /** Whom the next message is for: a person's handle, or nobody in particular. */
  writeTo(handle) {
    const choice = this.form?.querySelector("select");
    if (choice && [...choice.options].some((option) => option.value === handle)) choice.value = handle;
    this.text?.focus();
  }

  /** What the next message is about if its writer wishes: the thing looked at, or a line of its log (0: none). */
  pointAbout(look, line) {
    const tick = this.form?.querySelector("[name=about]");
    if (!tick) return;
    const number = this.form.querySelector("[data-slot=line]");
    if (number && line) number.value = line;
    const follow = () => {
      tick.value = number?.value ? `${look}#L${number.value}` : look;
      if (number?.value) tick.checked = true;
    };
    number?.addEventListener("input", follow);
    follow();
  }

  #answered(message) {
    const line = this.list.querySelector(`[data-id="${message.thread}"]`);
    if (!line || message.change !== message.sequence || this.known.has(message.sequence)) return;
    this.known.add(message.sequence);
    const replies = Number(line.dataset.replies) + 1;
    line.dataset.replies = replies;
    const link = line.querySelector("[data-thread]");
    if (link) this.#countAnswers(link, replies, line.querySelector("b").textContent);
  }

  #countAnswers(link, replies, name) {
    link.textContent = counted(replies);
    link.setAttribute("aria-label", `${counted(replies)}, react, edit: message by ${name}`);
  }

  #oldest() {
    return Math.min(Infinity, ...[...this.list.querySelectorAll("[data-sequence]")].map((line) => Number(line.dataset.sequence)));
  }

  #place(line, sequence) {
    const after = [...this.list.querySelectorAll("[data-sequence]")].findLast((other) => Number(other.dataset.sequence) < sequence);
    if (after) after.after(line);
    else this.list.prepend(line);
  }

  #line({ id, sequence, author, text, at, to, edited, removed, about, reactions = [], replies = 0, unsent }) {
    const alone = unsent || (to && (to.id === this.me ? "to you alone" : `to ${to.name} alone`));
    const header = make("header", {}, make("b", {}, author.name), ...(alone ? [make("small", { class: "alone" }, alone)] : []),
      make("time", { datetime: at, "data-as": "clock" }, ""), ...(edited ? [make("small", {}, "edited")] : []));
    const body = make("div", {}, header, removed ? make("p", { class: "soft" }, REMOVED[removed] ?? "Removed.") : make("p", {}, text));
    if (id) {
      const link = make("a", { class: "more", "data-thread": true, href: `${this.home}/messages/${id}` });
      this.#countAnswers(link, replies, author.name);
      const signs = reactions.map(({ emoji, people }) =>
        make("span", { class: "sign", "data-mine": people.includes(this.me), title: `${emoji} by ${people.length}` }, `${emoji} ${people.length}`));
      body.append(make("footer", {}, ...this.#about(about), ...signs, link));
    }
    const who = { initials: initials(author.name), tone: tone(author.id) };
    return make("li", id ? { "data-sequence": sequence, "data-id": id, "data-replies": replies } : {}, face(who), body);
  }

  #about(about) {
    if (!about) return [];
    const [place, line] = about.split("#L");
    const words = line ? `About line ${line} of a log` : `About ${THINGS[place.split(":")[0]] ?? "a thing"}`;
    return [make("a", { href: `${this.home}?look=${place}${line ? `#L${line}` : ""}` }, words)];
  }

  atEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 40;
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}

function counted(number) {
  if (!number) return "Answer";
  return number === 1 ? "one answer" : `${NUMBERS[number] ?? number} answers`;
}
