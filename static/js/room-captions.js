/* Captions: what is said, in words, large, for as long as it is being said. Nothing of them is kept, here or in the hub. */
import { make } from "./dom.js";

const LINES = 3;
const FADE_MS = 12_000;
const PARTIAL_MS = 300;

export class Captions {
  /** `strip` shows them; `tools` gets a field for who may caption. `aloud` says whether they are read by screen readers. */
  constructor({ room, strip, tools, aloud }) {
    Object.assign(this, { room, strip, tools, aloud, partial: new Map() });
    this.said = make("div", { class: "words" });
    this.by = make("small", {});
    strip.append(this.said, this.by);
    room.addEventListener("caption", ({ detail }) => this.hear(detail));
    room.addEventListener("people", () => this.#who());
    for (const kind of ["welcome", "standing"]) room.addEventListener(kind, () => this.#offer());
  }

  hear({ slot, text, final, member }) {
    if (!member) return;
    let line = this.partial.get(slot);
    if (!line) {
      line = make("p", {}, make("b", {}, `${member.name}: `), make("span", {}));
      this.said.append(line);
      this.partial.set(slot, line);
    }
    line.lastChild.textContent = text;
    line.classList.toggle("unsure", !final);
    if (final) this.partial.delete(slot);
    if (final && !text) line.remove();
    while (this.said.children.length > LINES) this.said.firstChild.remove();
    this.said.setAttribute("aria-live", this.aloud() && final ? "polite" : "off");
    clearTimeout(this.fading);
    this.fading = setTimeout(() => { this.said.replaceChildren(); this.partial.clear(); }, FADE_MS);
  }

  /** Who captions is seen before the first word, and that nothing is kept. */
  #who() {
    const names = [...new Set([...this.room.members.values()].filter((one) => one.captioning).map((one) => one.name))];
    this.strip.hidden = names.length === 0;
    this.by.textContent = names.length ? `Captions by ${names.join(", ")}. Not kept.` : "";
    if (!names.length) this.said.replaceChildren();
    for (const slot of this.partial.keys()) if (!this.room.members.has(slot)) this.partial.delete(slot);
  }

  #offer() {
    const may = this.room.welcome.permissions.includes("room:caption");
    if (may === Boolean(this.field)) return;
    if (!may) this.room.tell({ captioning: false });
    this.tools.replaceChildren();
    this.field = null;
    if (!may) return;
    this.on = make("input", { type: "checkbox", id: "caption-on" });
    this.field = make("input", { id: "caption-text", maxlength: "250", autocomplete: "off", disabled: true });
    this.on.addEventListener("change", () => this.#begin(this.on.checked));
    this.field.addEventListener("input", () => this.#type());
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      this.#send(true);
    });
    this.tools.append(make("details", {}, make("summary", {}, "Caption"),
      make("p", { class: "tick" }, this.on, make("label", { for: "caption-on" }, "I caption; everyone sees that I do")),
      make("label", { for: "caption-text" }, "What is said, a line at a time"), this.field));
  }

  #begin(on) {
    this.room.tell({ captioning: on });
    this.field.disabled = !on;
    if (on) this.field.focus();
  }

  #type() {
    this.typing ??= setTimeout(() => { this.typing = null; if (this.field.value) this.#send(false); }, PARTIAL_MS);
  }

  #send(final) {
    clearTimeout(this.typing);
    this.typing = null;
    this.room.caption(this.field.value, final);
    if (final) this.field.value = "";
  }
}
