/* A span that goes on: "6 min 12 s" since an instant. */
import { duration } from "./words.js";

customElements.define("elapsed-time", class extends HTMLElement {
  connectedCallback() {
    const since = Date.parse(this.getAttribute("since"));
    if (Number.isNaN(since)) return;
    const tell = () => { this.textContent = duration((Date.now() - since) / 1000); };
    this.timer = setInterval(tell, 1000);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }
});
