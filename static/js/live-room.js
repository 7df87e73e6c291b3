/* A room that is alive: people, cursors, chat and the shelf follow the socket; the page itself was whole without it. */
import { icon, make } from "./dom.js";
import { keep, kept } from "./kept.js";
import { CLOSE } from "./protocol.js";
import { quietly } from "./quiet-forms.js";
import { refresh } from "./refresh.js";
import { Captions } from "./room-captions.js";
import { Chat } from "./room-chat.js";
import { Follow } from "./room-follow.js";
import { Keys } from "./room-keys.js";
import { People } from "./room-people.js";
import { command } from "./room-command.js";
import { Thread } from "./room-thread.js";
import { Stage } from "./room-stage.js";
import { Room } from "./room.js";
import { announce, answer } from "./status.js";

const PANELS = [["people", "People", "people"], ["stage", "Looking at", "eye"], ["chat", "Chat", "chat"]];
const ALOUD = [["messages", "What is said"], ["people", "Who comes and goes"], ["things", "New jobs and files"], ["captions", "Captions"]];
const PARTS = ["room-shelf", "room-job", "room-reports", "room-class", "draft-looked", "draft-more"];
const FRESH_MS = 400;
const CROWD_MS = 10;
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
    this.stage?.stop();
    this.keys?.stop();
  }

  findParts() {
    const slot = (name) => this.querySelector(`[data-slot=${name}]`);
    const { session, me, name, head, after } = this.dataset;
    this.me = me;
    this.room = new Room({ session, seen: { sequence: Number(head), event: Number(after) } });
    this.chat = new Chat({
      list: slot("said"),
      scroll: slot("scroll"),
      form: this.querySelector(".compose"),
      earlier: slot("earlier"),
      me,
      name,
      home: location.pathname,
      session,
      send: (text, where) => this.room.say(text, where),
      command: (text, words) => command(session, text, words),
    });
    quietly(this, (form) => ("leaves" in form.dataset ? this.stage.leave() : this.freshen()));
    this.thread = new Thread(this.querySelector(".chat-board"));
    this.captions = new Captions({ room: this.room, strip: slot("captions"), tools: slot("caption-tools"), aloud: () => this.hears("captions") });
    this.stage = new Stage({ host: this, room: this.room, me, name, changed: () => { this.tellAbout(); this.choose("stage"); } });
    this.follow = new Follow({ room: this.room, stage: this.stage, me });
    this.people = new People(slot("here"), document.querySelector("[data-say=here]"), me, this.follow);
    this.keys = new Keys(this.keysOfRoom());
    this.querySelector(".people-board .board").append(make("p", { class: "small" }, this.keys.button));
    this.tellAbout();
  }

  keysOfRoom() {
    const focus = (selector, panel) => () => {
      this.choose(panel);
      this.querySelector(selector)?.focus();
    };
    return [
      { key: "m", words: "Write a message", run: focus(".compose textarea", "chat") },
      { key: "h", words: "Raise or lower your hand", run: () => this.querySelector("#room-class > form button")?.click() },
      { key: "c", words: "Go to hands and polls", run: focus("#room-class button", "people") },
      { key: "g", words: "Go to the things on the shelf", run: focus("#room-shelf a", "people") },
      { key: "s", words: "Go to what is looked at", run: focus("#stage", "stage") },
      { key: "w", words: "Say who is here and who points where", run: () => this.sayWho() },
      { key: "l", words: "In a log: read its last lines" },
      { key: "t", words: "In a call with push to talk: speak while it is held" },
      { key: "Esc", words: "Stop following somebody" },
    ];
  }

  sayWho() {
    const names = this.present ? [...this.present.values()] : [];
    const points = (this.stage.cursors?.seen() ?? []).map(({ name, words }) => `${name} points at ${words}`);
    answer(`${names.join(", ")} ${names.length === 1 ? "is" : "are"} here. ${points.length ? `${points.join("; ")}.` : "Nobody else points at anything."}`);
  }

  connect() {
    const { room } = this;
    const on = (kind, hear) => room.addEventListener(kind, ({ detail }) => hear(detail));
    on("state", (detail) => this.tellState(detail));
    on("people", (members) => this.tellPeople(members));
    on("message", (message) => this.hearMessage(message));
    on("event", () => this.freshen());
    // Much of what changes is told once, to who is there: what the page shows may be older than this connection.
    on("welcome", () => { this.freshen(this.came); this.came = true; });
    on("gap", () => announce("More was said while you were away than is shown; open the page again to see all of it."));
    on("lag", (lag) => this.tellLag(lag));
    on("apart", (apart) => this.tellApart(apart));
    on("trouble", ({ text }) => text && announce(text));
    addEventListener("hashchange", () => this.tellAbout());
    this.addEventListener("click", (event) => this.chooseLine(event));
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
  }

  /** Under load the room says so: to who is behind, and to who leads how many are. */
  tellLag({ state, behind = 0 }) {
    const words = [];
    if (state !== "clear") words.push("Your connection does not keep up; cursors wait");
    const others = behind - (state === "clear" ? 0 : 1);
    if (others > 0) words.push(others === 1 ? "One person is behind" : `${others} people are behind`);
    this.querySelector("[data-say=lag]").textContent = words.length ? `${words.join(". ")}.` : "";
  }

  /** A room may be on several nodes of the hub; for as long as they do not reach each other, they do not see each other. */
  tellApart(apart) {
    const words = apart ? "Parts of this hub do not reach each other now: somebody may be here and not be seen. Messages are kept." : "";
    this.querySelector("[data-say=apart]").textContent = words;
    if (this.hears("people")) announce(words || "Everybody who is here is seen again.");
  }

  /** Voice and screens are fetched when a room offers them. */
  offerCall() {
    const [bar, tiles] = ["media-bar", "tiles"].map((name) => this.querySelector(`[data-slot=${name}]`));
    const relayOnly = new URLSearchParams(location.search).has("relay-only");
    const offer = async ({ detail: { features } }) => {
      if (this.media || !(features.voice_chat || features.screen_sharing)) return;
      const { Media } = await import("./room-media.js");
      this.media ??= new Media({ room: this.room, bar, tiles, me: this.me, relayOnly });
    };
    this.room.addEventListener("welcome", offer);
    this.room.addEventListener("standing", offer);
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
    const before = code === CLOSE.DOOR ? reason : "";
    if (state === "open" && this.broken) answer(this.before ? "You are in." : "Connected again.");
    if (state === "waiting" && (!before || before !== this.before)) answer(before || "The connection broke. Trying again.");
    this.broken = state === "waiting" || (this.broken && state === "connecting");
    if (state !== "connecting") this.before = before;
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

  hearMessage(message) {
    this.chat.add(message);
    this.thread.hear(message);
    if (this.hears("messages") && message.author.id !== this.me) announce(`${message.author.name}: ${message.text}`);
  }

  /** A line of the log, chosen by its number, by a click or in the address, is what the next message may be about. */
  tellAbout() {
    const { look } = this.dataset;
    if (!look) return;
    const log = this.querySelector("job-log");
    const chosen = log ? Number(/^#L([1-9][0-9]*)$/.exec(location.hash)?.[1] ?? 0) : 0;
    this.chat.pointAbout(look, chosen);
  }

  chooseLine(event) {
    const line = event.target.closest("job-log .log-text.numbered .ln");
    if (line && getSelection().isCollapsed) location.hash = `#L${[...line.parentElement.children].indexOf(line) + 1}`;
  }

  /** The shelf is drawn by the server; it is asked for again, once for many changes. */
  freshen(aloud = true) {
    this.aloud ||= aloud;
    this.freshening ??= setTimeout(async () => {
      const tells = this.aloud;
      this.freshening = null;
      this.aloud = false;
      try {
        const changed = await refresh(PARTS);
        if (this.room.state === "open") this.people.again(); // a raised hand is told beside its owner's name
        this.stage.retitle();
        if (changed && tells && this.hears("things")) announce("The shelf of this room has changed.");
      } catch {
        /* The next change asks again. */
      }
    }, FRESH_MS + Math.random() * CROWD_MS * this.room.members.size); // a whole class does not ask in one instant
  }

  // On a phone one board at a time, chosen at the foot.
  offerPanels() {
    const buttons = PANELS.map(([panel, word, glyph]) => {
      const button = make("button", { type: "button", "aria-pressed": "false" }, icon(glyph), word);
      button.addEventListener("click", () => this.choose(panel));
      button.dataset.panel = panel;
      return button;
    });
    this.panels = buttons;
    this.after(make("div", { class: "switch", role: "group", "aria-label": "Board" }, ...buttons));
    this.choose(new URLSearchParams(location.search).has("look") || this.querySelector("job-log") ? "stage" : "chat");
  }

  choose(panel) {
    this.setAttribute("panel", panel);
    for (const button of this.panels) button.setAttribute("aria-pressed", String(button.dataset.panel === panel));
    this.chat.toEnd();
  }

  // Nothing of a room is read aloud until somebody asks for it, kind by kind.
  offerAloud() {
    const ticks = ALOUD.map(([kind, word]) => {
      const tick = make("input", { type: "checkbox", id: `aloud-${kind}` });
      tick.checked = this.hears(kind);
      tick.addEventListener("change", () => keep(`aloud-${kind}`, tick.checked ? "yes" : "no"));
      return make("p", { class: "tick" }, tick, make("label", { for: `aloud-${kind}` }, word));
    });
    this.querySelector(".people-board .board").append(
      make("section", {}, make("details", {}, make("summary", {}, "Read aloud by screen readers"), ...ticks)),
    );
  }

  hears(kind) {
    return kept(`aloud-${kind}`) === "yes";
  }
});
