/* Keys of a room, each one letter, and the dialog that lists them. They can be switched off: who dictates or types with
 * a switch may press one without meaning it (WCAG 2.1.4). */
import { make } from "./dom.js";
import { kept, keep } from "./kept.js";

const SWITCH = "room-keys";

export class Keys {
  /** `keys` are {key, words, run}; those without `run` are explained only, for they live elsewhere. */
  constructor(keys) {
    this.keys = keys;
    this.on = kept(SWITCH) !== "no";
    const { signal } = (this.stopped = new AbortController());
    document.addEventListener("keydown", (event) => this.#press(event), { signal });
    this.button = make("button", { type: "button", class: "btn quiet small", "aria-haspopup": "dialog" }, "Keys ", make("kbd", {}, "?"));
    this.button.addEventListener("click", () => this.show());
  }

  stop() {
    this.stopped.abort();
    this.dialog?.remove();
  }

  show() {
    this.dialog ??= this.#build();
    if (!this.dialog.open) this.dialog.showModal();
  }

  #press(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    const target = event.composedPath()[0];
    if (target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "?") this.show();
    else if (this.on) this.keys.find(({ key, run }) => run && key === event.key.toLowerCase())?.run();
    else return;
    if (event.key === "?" || this.keys.some(({ key, run }) => run && key === event.key.toLowerCase())) event.preventDefault();
  }

  #build() {
    const rows = [...this.keys, { key: "?", words: "This list" }].map(({ key, words }) =>
      make("div", {}, make("dt", {}, make("kbd", {}, key.length === 1 ? key.toUpperCase() : key)), make("dd", {}, words)));
    const tick = make("input", { type: "checkbox", id: "room-keys-on" });
    tick.checked = this.on;
    tick.addEventListener("change", () => {
      this.on = tick.checked;
      keep(SWITCH, this.on ? "yes" : "no");
    });
    const close = make("button", { class: "btn", value: "close" }, "Close");
    const dialog = make("dialog", { class: "keys", "aria-labelledby": "h-keys" },
      make("form", { method: "dialog" }, make("h2", { id: "h-keys" }, "Keys of this room"), make("dl", {}, ...rows),
        make("p", { class: "tick" }, tick, make("label", { for: "room-keys-on" }, "Use keys of one letter")), close));
    document.body.append(dialog);
    return dialog;
  }
}
