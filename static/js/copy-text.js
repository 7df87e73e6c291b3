/* A command or a digest with a button that copies it. */
import { icon, make } from "./dom.js";
import { answer } from "./status.js";

customElements.define("copy-text", class extends HTMLElement {
  connectedCallback() {
    if (!navigator.clipboard || this.querySelector("button")) return;
    const text = this.dataset.copy ?? this.querySelector("code")?.textContent ?? this.textContent;
    const what = text.length > 40 ? `${text.slice(0, 40)}…` : text;
    const button = make("button", { class: "btn quiet square small", type: "button", "aria-label": `Copy ${what}` }, icon("copy"));
    button.addEventListener("click", () => this.copy(button, text));
    this.append(button);
  }

  async copy(button, text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      answer("The browser did not allow copying.");
      return;
    }
    answer("Copied.");
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1600);
  }
});
