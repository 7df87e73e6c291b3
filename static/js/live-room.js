/* A room that is alive: people, cursors, chat and the shelf follow the socket; the page itself was whole without it. */
import { icon, make } from "./dom.js";
import { refresh } from "./refresh.js";
import { Chat } from "./room-chat.js";
import { Cursors } from "./room-cursors.js";
import { People } from "./room-people.js";
import { Room } from "./room.js";
import { announce, answer } from "./status.js";

const PANELS = [["people", "People", "people"], ["stage", "Looking at", "eye"], ["chat", "Chat", "chat"]];
const ALOUD = [["messages", "What is said"], ["people", "Who comes and goes"], ["things", "New jobs and files"]];
const FRESH_MS = 400;
const QUIET_MS = 120_000;

customElements.define("live-room", class extends HTMLElement {
  connectedCallback() {
    if (this.room) return;
    this.findParts();
    this.offerPanels();
    this.offerAloud();
    this.connect();
  }

  disconnectedCallback() {
    this.querySelector("shared-draft")?.leave?.();
    this.room?.close();
    this.cursors?.stop();
  }

  findParts() {
    const slot = (name) => this.querySelector(`[data-slot=${name}]`);
    const { session, me, name, head, after } = this.dataset;
    this.me = me;
    this.room = new Room({ session, seen: { sequence: Number(head), event: Number(after) } });
    this.people = new People(slot("here"), document.querySelector("[data-say=here]"), me);
    this.chat = new Chat({
      list: slot("said"),
      scroll: slot("scroll"),
      form: this.querySelector(".compose"),
      me,
      name,
      send: (text, clientId) => this.room.say(text, clientId),
    });
    this.canvas = this.querySelector("[data-canvas]");
    this.point = this.canvas?.querySelector("[data-point]")?.dataset.point ?? "";
    if (this.canvas) {
      this.cursors = new Cursors({
        canvas: this.canvas,
        layer: slot("cursors"),
        list: slot("pointing"),
        sentence: this.querySelector("[data-say=pointing]"),
      });
    }
  }

  connect() {
    const { room } = this;
    const on = (kind, hear) => room.addEventListener(kind, ({ detail }) => hear(detail));
    on("state", (detail) => this.tellState(detail));
    on("people", (members) => this.tellPeople(members));
    on("cursors", (told) => this.moveCursors(told));
    on("message", (message) => this.hearMessage(message));
    on("event", () => this.freshen());
    on("gap", () => announce("More was said while you were away than is shown; open the page again to see all of it."));
    on("heat", ({ view, columns, rows, counts }) => view === this.point && this.cursors?.heat(columns, rows, counts));
    on("lag", (lag) => this.tellLag(lag));
    on("trouble", ({ text }) => text && announce(text));
    if (this.point) room.look([this.point]);
    this.canvas?.addEventListener("pointermove", (event) => {
      const share = this.cursors.share(event.clientX, event.clientY);
      if (share) room.point(this.point, share.x, share.y);
    });
    this.canvas?.addEventListener("pointerleave", () => room.unpoint());
    addEventListener("online", () => room.wake());
    // A page that comes back out of the browser's cache had left for good when it was hidden.
    addEventListener("pageshow", ({ persisted }) => (persisted ? room.open() : room.wake()));
    addEventListener("pagehide", () => room.close());
    document.addEventListener("visibilitychange", () => {
      this.tellActive(document.hidden ? "away" : "active");
      if (!document.hidden) room.wake();
    });
    for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => this.tellActive("active"), { passive: true });
    room.open();
    this.offerCall();
    customElements.whenDefined("shared-draft").then(() => this.querySelector("shared-draft")?.join(room, this.me, this.dataset.name));
  }

  /** Under load the room says so: to who is behind, and to who leads how many are. */
  tellLag({ state, behind = 0 }) {
    const words = [];
    if (state !== "clear") words.push("Your connection does not keep up; cursors wait");
    const others = behind - (state === "clear" ? 0 : 1);
    if (others > 0) words.push(others === 1 ? "One person is behind" : `${others} people are behind`);
    this.querySelector("[data-say=lag]").textContent = words.length ? `${words.join(". ")}.` : "";
  }

  /** Voice and screens are fetched when a room offers them. */
  offerCall() {
    const [bar, tiles] = ["media-bar", "tiles"].map((name) => this.querySelector(`[data-slot=${name}]`));
    const relayOnly = new URLSearchParams(location.search).has("relay-only");
    this.room.addEventListener("welcome", async ({ detail: { features } }) => {
      if (this.media || !(features.voice_chat || features.screen_sharing)) return;
      const { Media } = await import("./room-media.js");
      this.media ??= new Media({ room: this.room, bar, tiles, me: this.me, relayOnly });
    });
  }

  tellActive(state) {
    clearTimeout(this.quiet);
    if (state === "active") this.quiet = setTimeout(() => this.tellActive("idle"), QUIET_MS);
    if (state === this.active) return;
    this.active = state;
    this.room.tell({ state });
  }

  tellState({ state, code, reason }) {
    this.dataset.state = state;
    if (state === "open" && this.broken) answer("Connected again.");
    this.broken = state === "waiting" || (this.broken && state === "connecting");
    if (state === "waiting") answer("The connection broke. Trying again.");
    if (state === "closed" && code !== 1000) answer(`This room is closed to you: ${reason || `code ${code}`}.`);
  }

  tellPeople(members) {
    const present = new Map([...members.values()].map((member) => [member.person, member.name]));
    if (this.room.state === "open") this.people.show([...members.values()]);
    if (this.present && this.hears("people")) {
      for (const [person, name] of present) if (!this.present.has(person)) announce(`${name} came in.`);
      for (const [person, name] of this.present) if (!present.has(person)) announce(`${name} left.`);
    }
    this.present = present;
  }

  moveCursors(told) {
    if (!this.cursors) return;
    for (const { slot, member, view, x, y, gone } of told) {
      if (gone || view !== this.point || !member) this.cursors.remove(slot);
      else this.cursors.place(slot, member, x, y);
    }
  }

  hearMessage(message) {
    this.chat.add(message);
    if (this.hears("messages") && message.author.id !== this.me) announce(`${message.author.name}: ${message.text}`);
  }

  /** The shelf is drawn by the server; it is asked for again, once for many changes. */
  freshen() {
    this.freshening ??= setTimeout(async () => {
      this.freshening = null;
      try {
        const changed = await refresh(["room-shelf", "room-job"]);
        if (changed && this.hears("things")) announce("The shelf of this room has changed.");
      } catch {
        /* The next change asks again. */
      }
    }, FRESH_MS);
  }

  // On a phone one board at a time, chosen at the foot.
  offerPanels() {
    const buttons = PANELS.map(([panel, word, glyph]) => {
      const button = make("button", { type: "button", "aria-pressed": "false" }, icon(glyph), word);
      button.addEventListener("click", () => this.choose(panel, buttons));
      button.dataset.panel = panel;
      return button;
    });
    this.after(make("div", { class: "switch", role: "group", "aria-label": "Board" }, ...buttons));
    this.choose(new URLSearchParams(location.search).has("look") || this.querySelector("job-log") ? "stage" : "chat", buttons);
  }

  choose(panel, buttons) {
    this.setAttribute("panel", panel);
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.panel === panel));
    this.chat.toEnd();
  }

  // Nothing of a room is read aloud until somebody asks for it, kind by kind.
  offerAloud() {
    const ticks = ALOUD.map(([kind, word]) => {
      const tick = make("input", { type: "checkbox", id: `aloud-${kind}` });
      tick.checked = this.hears(kind);
      tick.addEventListener("change", () => keep(kind, tick.checked));
      return make("p", { class: "tick" }, tick, make("label", { for: `aloud-${kind}` }, word));
    });
    this.querySelector(".people-board .board").append(
      make("section", {}, make("details", {}, make("summary", {}, "Read aloud by screen readers"), ...ticks)),
    );
  }

  hears(kind) {
    try {
      return localStorage.getItem(`collegium-aloud-${kind}`) === "yes";
    } catch {
      return false;
    }
  }
});

function keep(kind, wanted) {
  try {
    localStorage.setItem(`collegium-aloud-${kind}`, wanted ? "yes" : "no");
  } catch {
    /* Storage is forbidden; nothing is read aloud then. */
  }
}
