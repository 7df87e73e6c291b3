/* A member's end of a room's socket: connects, keeps alive, comes back and resumes. No DOM.
 *
 *   const room = new Room({ session: "ana/lab", seen: { sequence: 12 } });
 *   room.addEventListener("message", ({ detail }) => …);
 *   room.open(); room.look(["figures/levels.svg"]); room.point("figures/levels.svg", x, y); await room.say("hello");
 *
 * Events (their `detail`): state {state, code, retry_ms} · welcome · people (Map of slot to member) ·
 * cursors [{slot, member, view, x, y, flags, gone}] · message · event · log {job, offset, size, done, data} ·
 * signal {peer, member, polite, signal} · draft (a YSYNC, YUPD, YAWARE or YACK frame) · gap {lane, reason} ·
 * heat {view, columns, rows, counts} · caption {slot, member, text, final} · lag {state, skipped, send_ms, behind} · ice {servers, ttl} · carried {url, token} · apart (true, false) · standing (the welcome, with one's rights as they are now) · trouble {code, text, …}. */

import { GONE, CLOSE, VERSION, decode, encode, mayReconnect } from "./protocol.js";

const CONNECT_MS = 5_000;
const TICKET_MS = 15_000;
const CAPTION_MS = 260;
const PING_MS = 4_000;
const SILENCE_MS = 10_000;
const STABLE_MS = 30_000;
const ALONE_MS = 1_000;
const MOST_BUFFERED_BYTES = 16_384;

/** Full jitter: who was cut off together does not come back together. */
export const patience = (attempt, random = Math.random) => random() * Math.min(15_000, 400 * 2 ** attempt);

/** The number of a pair's WebRTC connection; both ends compute the same one. */
export function pairGeneration(slot, incarnation, peer, peerIncarnation) {
  const [low, high] = slot < peer ? [incarnation, peerIncarnation] : [peerIncarnation, incarnation];
  return ((low & 0xffff) * 65_536 + (high & 0xffff)) >>> 0;
}

export async function askForTicket(session, base) {
  const answer = await fetch(new URL("/api/tickets", base), {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ session }),
    signal: AbortSignal.timeout(TICKET_MS), // else a hub that does not answer would be waited for, for ever and unsaid
  });
  if (answer.ok) return (await answer.json()).ticket;
  const problem = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(problem.detail ?? `no ticket: ${answer.status}`), { status: answer.status });
}

export class Room extends EventTarget {
  constructor({ session, base = globalThis.location?.origin, ticket = askForTicket, build = "", seen = {} }) {
    super();
    Object.assign(this, { session, base, build, slot: null, welcome: null, state: "closed" });
    this.members = new Map();
    this.views = new Map();
    this.apart = false; // whether somebody may be here and not be seen
    this.seen = { epoch: "", sequence: null, event: null, token: "", ...seen };
    this.#ticket = ticket;
  }

  #ticket;
  #socket = null;
  #wanted = false;
  #attempt = 0;
  #timers = new Map();
  #heardAt = 0;
  #looksAt = [];
  #presence = {};
  #logs = new Map();
  #unsaid = new Map();
  #captions = [];
  #captioning = undefined;
  #cursor = null;
  #cursorAt = -Infinity;
  #cursorDue = false;
  #early = new Map();
  #cursorCount = 0;
  #pace = 33;

  /** Come in, and stay until `close`. */
  open() {
    this.#wanted = true;
    if (this.state === "closed" || this.state === "waiting") this.#connect();
  }

  /** Leave for good. */
  close() {
    this.#wanted = false;
    this.#drop(1000);
    this.#ended(1000, "you left");
  }

  /** The page is seen again, or the network is back: find out now whether the socket still lives. */
  wake() {
    if (!this.#wanted) return;
    if (this.state === "waiting") {
      this.#attempt = 0;
      this.#connect();
    } else if (this.state === "open") {
      this.#ping();
      this.#after("probe", 2_000, () => performance.now() - this.#heardAt > 1_900 && this.#lost(1006));
    }
  }

  /** What is looked at, the foremost first; cursors of these things are told. */
  look(names) {
    this.#looksAt = [...names];
    this.#send({ kind: "VIEW", names: this.#looksAt });
  }

  /** Point at a place (shares of 65535, or with the flag TEXT a place in a text) of a thing that is looked at, or of the room itself (""). */
  point(name, x, y, flags = 0) {
    this.#cursor = { name, x, y, flags };
    if (this.#timers.has("cursor")) return;
    const pace = this.members.size > 1 ? this.#pace : ALONE_MS;
    const wait = this.#cursorAt + pace - performance.now();
    if (wait <= 0) this.#sendCursor();
    else this.#after("cursor", wait, () => this.#sendCursor());
  }

  /** Take one's cursor off everybody's screen. */
  unpoint() {
    this.#stop("cursor");
    if (this.#cursor && !(this.#cursor.flags & GONE)) {
      this.#cursor = { ...this.#cursor, flags: GONE };
      this.#sendCursor();
    }
  }

  /** Say something; resolves with the message's number when it is kept, over every break of the connection.
   *
   * `where` may name the message it answers (`thread`), the thing it is about, or the one person it is for (`to`). */
  say(text, { client_id = crypto.randomUUID(), ...where } = {}) {
    const frame = { kind: "MSG", client_id, text, ...where };
    return new Promise((resolve, reject) => {
      this.#unsaid.set(client_id, { frame, resolve, reject });
      this.#send(frame);
    });
  }

  /** Tell the others about oneself: {state: "active" | "idle" | "away", call, mic, camera, screens}. */
  tell(presence) {
    Object.assign(this.#presence, presence);
    this.#send({ kind: "PSET", ...presence });
  }

  /** Put into words what is said; a text that is not final is replaced by the next. Nobody keeps it. */
  caption(text, final = false) {
    // The newest text that is not final waits its turn; each final one has its own. Faster than this is too often.
    this.#captions = [...this.#captions.filter((one) => one.final), { kind: "CAPTION", text, final }];
    this.#captioning ??= setTimeout(() => this.#sayCaption(), 0);
  }

  #sayCaption() {
    const next = this.#captions.shift();
    this.#captioning = next && setTimeout(() => this.#sayCaption(), CAPTION_MS);
    if (next) this.#send(next);
  }

  /** Receive a job's log from an offset on, over every break, until it is complete. */
  followLog(job, offset = 0) {
    this.#logs.set(job, offset);
    this.#send({ kind: "FOLLOW_LOG", job, offset, on: true });
  }

  leaveLog(job) {
    this.#logs.delete(job);
    this.#send({ kind: "FOLLOW_LOG", job, offset: 0, on: false });
  }

  /** Send a WebRTC signal ({desc} or {cand} or {bye} or {restart}) to the member in a slot. */
  signal(peer, signal) {
    const [me, other] = [this.members.get(this.slot), this.members.get(peer)];
    if (!me || !other) return;
    const generation = pairGeneration(this.slot, me.incarnation, peer, other.incarnation);
    this.#send({ kind: "RTC", peer, generation, signal });
  }

  /** Say something about a draft: a YSYNC, YUPD, YAWARE or YSTOP frame. False while the room is not open. */
  draft(frame) {
    if (this.state !== "open") return false;
    this.#write(frame);
    return true;
  }

  // The connection

  async #connect() {
    this.#stop("retry");
    this.#become("connecting");
    try {
      const ticket = await this.#ticket(this.session, this.base);
      if (!this.#wanted || this.state !== "connecting") return;
      const url = new URL(`/ws?ticket=${encodeURIComponent(ticket)}`, this.base);
      url.protocol = url.protocol.replace("http", "ws");
      const socket = new WebSocket(url);
      this.#socket = socket;
      socket.binaryType = "arraybuffer";
      this.#after("connect", CONNECT_MS, () => this.#lost(1006));
      socket.onopen = () => this.#hello();
      socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(new Uint8Array(data));
      socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    } catch (error) {
      if ([401, 403, 404].includes(error.status)) {
        this.#wanted = false;
        this.#ended({ 401: CLOSE.NOT_SIGNED_IN, 403: CLOSE.NOT_ALLOWED, 404: CLOSE.NOT_FOUND }[error.status], error.message);
      } else {
        this.#lost(1006, error.message);
      }
    }
  }

  #hello() {
    const { epoch, sequence, event, token } = this.seen;
    const known = epoch || token || sequence !== null || event !== null;
    const resume = known ? { epoch, ...(sequence !== null && { sequence }), ...(event !== null && { event }), token } : undefined;
    this.#write({ kind: "HELLO", proto: VERSION, build: this.build || undefined, resume });
  }

  #lost(code, reason = "") {
    this.#drop(code);
    if (!this.#wanted || !mayReconnect(code)) {
      this.#wanted = false;
      return this.#ended(code, reason);
    }
    // Before a door that is shut one asks again every few seconds, for it opens for people and not for machines.
    const retry_ms = code === CLOSE.DOOR ? 2_000 + Math.random() * 3_000 : this.goAwayMs ?? patience(this.#attempt++);
    this.goAwayMs = null;
    this.#become("waiting", { code, reason, retry_ms });
    this.#after("retry", retry_ms, () => this.#connect());
  }

  #drop(code) {
    for (const name of [...this.#timers.keys()]) this.#stop(name);
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < 2) socket.close(code === 1000 ? 1000 : 4000);
  }

  #ended(code, reason) {
    this.#become("closed", { code, reason });
    for (const { reject } of this.#unsaid.values()) reject(new Error(reason || "the room is closed"));
    this.#unsaid.clear();
    this.members.clear();
    this.#emit("people", this.members);
  }

  #ping() {
    this.#write({ kind: "PING", mark: crypto.getRandomValues(new Uint8Array(8)) });
  }

  #keepAlive() {
    this.#ping();
    if (performance.now() - this.#heardAt > SILENCE_MS) this.#lost(1006, "nothing was heard");
    else this.#after("ping", PING_MS, () => this.#keepAlive());
  }

  // What the server says

  #hear(bytes) {
    this.#heardAt = performance.now();
    const frame = decode(bytes);
    if (frame !== null) this[`on${frame.kind}`]?.(frame);
  }

  onWELCOME(frame) {
    if (this.seen.epoch && this.seen.epoch !== frame.epoch) Object.assign(this.seen, { sequence: null, event: null });
    Object.assign(this, { welcome: frame, slot: frame.slot });
    Object.assign(this.seen, { epoch: frame.epoch, token: frame.token });
    this.seen.sequence ??= frame.sequence;
    this.onAPART({ apart: false }); // a node that is, says so after its welcome
    this.seen.event ??= frame.event;
    this.#pace = frame.send_ms;
    this.#stop("connect");
    this.#after("stable", STABLE_MS, () => (this.#attempt = 0));
    this.#after("ping", PING_MS, () => this.#keepAlive());
    this.members.clear();
    this.views.clear();
    this.#early.clear();
    this.#become("open");
    this.#emit("welcome", frame);
    if (this.#looksAt.length) this.#write({ kind: "VIEW", names: this.#looksAt });
    if (Object.keys(this.#presence).length) this.#write({ kind: "PSET", ...this.#presence });
    this.#cursorDue = this.#cursor !== null && !(this.#cursor.flags & GONE);
    for (const [job, offset] of this.#logs) this.#write({ kind: "FOLLOW_LOG", job, offset, on: true });
    for (const { frame } of this.#unsaid.values()) this.#write(frame);
  }

  onPSNAP({ members, more }) {
    for (const member of members) this.members.set(member.slot, member);
    if (more) return;
    this.#emit("people", this.members);
    this.#tellEarly();
  }

  onPDELTA({ set, gone }) {
    for (const member of set) this.members.set(member.slot, member);
    const left = gone.map((slot) => ({ slot, member: this.members.get(slot), view: "", x: 0, y: 0, flags: GONE, gone: true }));
    for (const slot of gone) this.members.delete(slot);
    this.#emit("people", this.members);
    if (left.length) this.#emit("cursors", left);
    this.#tellEarly();
  }

  /** A cursor may be told before its member is: presence waits a fifth of a second. One that stands is not told again. */
  #tellEarly() {
    const early = [...this.#early.values()].filter(([slot]) => this.members.has(slot));
    for (const [slot] of early) this.#early.delete(slot);
    if (early.length) this.onTICK({ cursors: early });
  }

  onVIEWS({ names }) {
    this.views = new Map(names);
    if (this.#cursorDue) this.#sendCursor();
  }

  onTICK({ cursors }) {
    const told = [];
    for (const [slot, number, x, y, flags] of cursors) {
      const member = this.members.get(slot);
      if (!member) this.#early.set(slot, [slot, number, x, y, flags]);
      if (slot === this.slot || !member) continue;
      told.push({ slot, member, view: number ? this.views.get(number) ?? "" : "", x, y, flags, gone: (flags & GONE) !== 0 });
    }
    if (told.length) this.#emit("cursors", told);
  }

  onPACE({ send_ms }) {
    this.#pace = send_ms;
  }

  onMSG(message) {
    if (message.change <= this.seen.sequence) return;
    this.seen.sequence = message.change;
    this.#emit("message", message);
  }

  onREPLAY({ messages }) {
    for (const message of messages) this.onMSG(message);
  }

  onGAP(gap) {
    const head = gap.lane === "messages" ? "sequence" : "event";
    this.seen[head] = this.welcome[head];
    this.#emit("gap", gap);
  }

  onEVENT(frame) {
    // Without a number it is a hint from the bus that something changed. Some of it (a vote) comes again with none.
    if (frame.sequence === null) return this.#emit("event", frame.event);
    if (frame.sequence <= this.seen.event) return;
    this.seen.event = frame.sequence;
    this.#emit("event", frame);
  }

  onACK({ client_id, sequence }) {
    this.#unsaid.get(client_id)?.resolve(sequence);
    this.#unsaid.delete(client_id);
  }

  onERR(trouble) {
    const unsaid = this.#unsaid.get(trouble.client_id);
    if (unsaid) {
      this.#unsaid.delete(trouble.client_id);
      unsaid.reject(new Error(trouble.text));
    } else if (trouble.job) {
      this.#logs.delete(trouble.job);
    }
    this.#emit("trouble", trouble);
  }

  onLOG(piece) {
    if (!this.#logs.has(piece.job)) return;
    if (piece.done) this.#logs.delete(piece.job);
    else this.#logs.set(piece.job, piece.offset + piece.data.length);
    this.#emit("log", piece);
  }

  onRTC({ peer, generation, signal }) {
    const [me, member] = [this.members.get(this.slot), this.members.get(peer)];
    if (!me || !member || generation !== pairGeneration(this.slot, me.incarnation, peer, member.incarnation)) return;
    this.#emit("signal", { peer, member, polite: this.slot < peer, signal });
  }

  onHEAT({ view, columns, rows, data }) {
    this.#emit("heat", { view: view ? this.views.get(view) ?? "" : "", columns, rows, counts: data });
  }

  onCAPTION(frame) {
    this.#emit("caption", { ...frame, member: this.members.get(frame.slot) });
  }

  onLAG(frame) {
    this.#emit("lag", frame);
  }

  onICE(frame) {
    this.relays = frame; // it comes with the welcome, and again in time; who is late to listen finds it here
    this.#emit("ice", frame);
  }

  onSFU(frame) {
    this.#emit("carried", frame);
  }

  /** What the hub says of one's own standing, when it has changed under way. */
  onSTANDING({ role, permissions, features }) {
    Object.assign(this.welcome, { role, permissions, features });
    this.#emit("standing", this.welcome);
  }

  onAPART({ apart }) {
    if (apart !== this.apart) this.#emit("apart", (this.apart = apart));
  }

  onYSYNC(frame) {
    this.#emit("draft", frame);
  }

  onYUPD(frame) {
    this.#emit("draft", frame);
  }

  onYAWARE(frame) {
    this.#emit("draft", frame);
  }

  onYACK(frame) {
    this.#emit("draft", frame);
  }

  onPING({ mark }) {
    this.#write({ kind: "PONG", mark, now_ms: Date.now() });
  }

  onPONG({ now_ms }) {
    this.clockOffsetMs = now_ms - Date.now();
  }

  onGOAWAY({ delay_ms }) {
    this.goAwayMs = delay_ms;
  }

  // Small things

  #sendCursor() {
    const { name, x, y, flags } = this.#cursor;
    const number = name === "" ? 0 : [...this.views].find(([, known]) => known === name)?.[0];
    // The newest place is never dropped: it goes once the room has a number for the thing, or the line is free again.
    this.#cursorDue = number === undefined || this.state !== "open";
    if (this.#cursorDue) return;
    if (this.#socket.bufferedAmount > MOST_BUFFERED_BYTES) return this.#after("cursor", this.#pace, () => this.#sendCursor());
    this.#cursorAt = performance.now();
    this.#cursorCount = (this.#cursorCount + 1) % 256;
    this.#write({ kind: "CUR", view: number, x, y, flags, sequence: this.#cursorCount });
  }

  #send(frame) {
    if (this.state === "open") this.#write(frame);
  }

  #write(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(encode(frame));
  }

  #after(name, ms, then) {
    this.#stop(name);
    this.#timers.set(name, setTimeout(() => { this.#timers.delete(name); then(); }, ms));
  }

  #stop(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #become(state, facts = {}) {
    this.state = state;
    this.#emit("state", { state, ...facts });
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
