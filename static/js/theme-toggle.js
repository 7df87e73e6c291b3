/* A button that turns the lights on or off, for this browser. */
import { icon, make } from "./dom.js";

const KEY = "collegium-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);

customElements.define("theme-toggle", class extends HTMLElement {
  connectedCallback() {
    this.button = make("button", { class: "btn quiet square", type: "button" });
    this.button.addEventListener("click", () => this.turn());
    system.addEventListener("change", () => this.show());
    this.replaceChildren(this.button);
    this.show();
  }

  turn() {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem(KEY, root.dataset.theme);
    } catch {
      /* The choice then lasts as long as the page. */
    }
    this.show();
  }

  show() {
    const dark = isDark();
    this.button.setAttribute("aria-label", dark ? "Use the light theme" : "Use the dark theme");
    this.button.replaceChildren(icon(dark ? "sun" : "moon"));
  }
});
