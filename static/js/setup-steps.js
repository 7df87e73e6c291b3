/* The set-up page while a test runs: what it found is put in place; forms and what was typed into them stay. */
import { refresh } from "./refresh.js";

const EVERY_MS = 1500;
const MOST_TIMES = 80;

class SetupSteps extends HTMLElement {
  connectedCallback() {
    this.left = MOST_TIMES;
    this.later();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
  }

  later() {
    if (this.left-- > 0 && this.querySelector("[data-testing]")) this.timer = setTimeout(() => this.look(), EVERY_MS);
  }

  async look() {
    const ids = [...this.querySelectorAll(":scope > section")].flatMap(({ id }) => [`${id}-state`, `${id}-found`]);
    // The hub may be starting again at this very moment; the next look finds it.
    await refresh(["says", ...ids]).catch(() => false);
    this.later();
  }
}

customElements.define("setup-steps", SetupSteps);
