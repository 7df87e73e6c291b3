/* A job's page that keeps up: its parts are fetched again when the ledger says something about the job. */
import { follow } from "./events.js";
import { refresh } from "./refresh.js";
import { announce } from "./status.js";

const EVERY_MS = 4_000;

customElements.define("job-live", class extends HTMLElement {
  connectedCallback() {
    if (this.stop || this.hasAttribute("data-done")) return;
    this.stop = new AbortController();
    const { signal } = this.stop;
    follow({
      session: this.dataset.session,
      after: this.dataset.after,
      signal,
      hear: (events) => { if (events.some((event) => event.object === this.dataset.job || event.object_kind === "artifact")) this.again(); },
    });
    this.addEventListener("log-ended", () => this.again());
    this.timer = setInterval(() => { if (!document.hidden) this.again(); }, EVERY_MS);
  }

  disconnectedCallback() {
    this.stop?.abort();
    clearInterval(this.timer);
  }

  async again() {
    if (this.asking) return;
    this.asking = true;
    const before = this.word();
    try {
      await refresh(this.dataset.parts.split(" "));
    } catch {
      /* The hub may be restarting; the next turn asks again. */
    } finally {
      this.asking = false;
    }
    if (this.word() !== before) announce(this.querySelector(".say").textContent.trim());
    if (this.querySelector("[data-ended]")) this.disconnectedCallback();
  }

  word() {
    return this.querySelector("#job-head .state")?.textContent;
  }
});
