/* One draft of a room, kept equal to the hub's record of it: no DOM, and the Yjs it is given.
 *
 *   const provider = new DraftProvider({ room, draft, lib });   // lib: { Y, applyAwarenessUpdate, … } (vendor/editor.js)
 *   provider.addEventListener("change", () => provider.state)   // "connecting" | "open" | "closed"
 *   provider.open(); …; provider.close();
 *
 * One edit is on its way at a time and everything typed meanwhile goes with the next. After every break it says how far
 * it has come, takes what it lacks and sends what the record lacks; so an edit may arrive twice, which changes nothing.
 * A draft whose history is another one (`epoch`) is not merged: the text stands in `recovered`, and the record's is taken. */

const PIECE_BYTES = 48 * 1024;
const CARET_MS = 80;
const AGAIN_MS = 500;
const AGAIN = new Set(["missing_history", "not_recorded", "too_many", "unavailable", "not_open"]);

export class DraftProvider extends EventTarget {
  constructor({ room, draft, lib }) {
    super();
    Object.assign(this, { room, draft, lib, state: "connecting", epoch: 0, sequence: 0, recovered: null, trouble: null });
    this.#begin();
    this.#hear = ({ detail }) => detail.draft === draft && this[`on${detail.kind}`](detail);
    this.#trouble = ({ detail }) => detail.draft === draft && this.#refused(detail);
    this.#enter = () => this.#sync();
    this.#state = ({ detail }) => detail.state !== "open" && this.state === "open" && this.#become("connecting");
    this.#people = () => this.#forgetGone();
  }

  #hear;
  #trouble;
  #enter;
  #state;
  #people;
  #pieces = [];
  #unsent = [];
  #flying = null;
  #mark = 0;
  #caretTimer = null;
  #againTimer = null;
  #clients = new Map(); // slot -> the ids its awareness has used

  open() {
    for (const [name, hear] of this.#ears()) this.room.addEventListener(name, hear);
    this.#sync();
  }

  close() {
    for (const [name, hear] of this.#ears()) this.room.removeEventListener(name, hear);
    clearTimeout(this.#caretTimer);
    clearTimeout(this.#againTimer);
    this.room.draft({ kind: "YSTOP", draft: this.draft });
    this.awareness.destroy();
    this.doc.destroy();
  }

  #ears() {
    return [["draft", this.#hear], ["trouble", this.#trouble], ["welcome", this.#enter], ["state", this.#state],
      ["people", this.#people]];
  }

  /** How many edits of this page the record does not have yet, as far as is known. */
  get unsaved() {
    return this.#unsent.length + (this.#flying ? 1 : 0);
  }

  get text() {
    return this.doc.getText("text");
  }

  #begin() {
    const { Y, Awareness } = this.lib;
    this.doc = new Y.Doc();
    this.awareness = new Awareness(this.doc);
    this.doc.on("update", (update, origin) => {
      if (origin === this) return;
      this.#unsent.push(update);
      this.#sendNext();
      this.#tell();
    });
    this.awareness.on("update", ({ added, updated }, origin) => {
      if (origin === "local" && [...added, ...updated].includes(this.doc.clientID)) this.#sendCaret();
    });
  }

  #sync() {
    this.#pieces = [];
    this.#become("connecting");
    this.room.draft({ kind: "YSYNC", draft: this.draft, epoch: this.epoch, state: this.lib.Y.encodeStateVector(this.doc) });
  }

  #sendNext() {
    if (this.#flying || !this.#unsent.length || this.state !== "open") return;
    const update = this.#unsent.length === 1 ? this.#unsent[0] : this.lib.Y.mergeUpdates(this.#unsent);
    this.#unsent = [];
    this.#flying = { mark: ++this.#mark, update };
    for (let at = 0; at === 0 || at < update.length; at += PIECE_BYTES) {
      const more = at + PIECE_BYTES < update.length;
      const piece = update.subarray(at, at + PIECE_BYTES);
      this.room.draft({ kind: "YUPD", draft: this.draft, epoch: this.epoch, mark: this.#mark, more, update: piece });
    }
  }

  onYSYNC({ epoch, sequence, more, state, update }) {
    this.#pieces.push(update);
    if (more) return;
    const { Y } = this.lib;
    const lacked = this.#joined();
    if (this.epoch && this.epoch !== epoch) this.#startAnew();
    Object.assign(this, { epoch, sequence });
    if (lacked.length) Y.applyUpdate(this.doc, lacked, this);
    this.#become("open");
    if (this.#flying || this.#unsent.length) {
      this.#flying = null;
      this.#unsent = [Y.encodeStateAsUpdate(this.doc, state.length ? state : undefined)];
      this.#sendNext();
    }
    this.#sendCaret();
    this.#tell();
  }

  onYUPD({ epoch, sequence, more, update }) {
    if (epoch !== this.epoch) return this.#sync();
    this.#pieces.push(update);
    if (more) return undefined;
    this.lib.Y.applyUpdate(this.doc, this.#joined(), this);
    this.sequence = Math.max(this.sequence, sequence);
    return undefined;
  }

  onYACK({ mark }) {
    if (this.#flying?.mark === mark) this.#flying = null;
    this.#sendNext();
    this.#tell();
  }

  onYAWARE({ slot, data }) {
    if (!data.length) return this.#forget(slot);
    const { applyAwarenessUpdate } = this.lib;
    const seen = ({ added, updated }, origin) => {
      if (origin !== this) return;
      const known = this.#clients.get(slot) ?? new Set();
      for (const id of [...added, ...updated]) known.add(id);
      this.#clients.set(slot, known);
    };
    this.awareness.on("update", seen);
    try {
      applyAwarenessUpdate(this.awareness, data, this);
    } catch {
      /* Somebody's caret is nonsense: it is not shown. */
    }
    this.awareness.off("update", seen);
    return undefined;
  }

  #forget(slot) {
    const known = this.#clients.get(slot);
    if (!known) return;
    this.#clients.delete(slot);
    this.lib.removeAwarenessStates(this.awareness, [...known], this);
  }

  #forgetGone() {
    for (const slot of this.#clients.keys()) if (!this.room.members.has(slot)) this.#forget(slot);
  }

  #sendCaret() {
    this.#caretTimer ??= setTimeout(() => {
      this.#caretTimer = null;
      if (this.state !== "open") return;
      const data = this.lib.encodeAwarenessUpdate(this.awareness, [this.doc.clientID]);
      this.room.draft({ kind: "YAWARE", draft: this.draft, data });
    }, CARET_MS);
  }

  /** The history that was known here is not the record's: what was written here is kept apart, never merged. */
  #startAnew() {
    if (this.#flying || this.#unsent.length) this.recovered = this.text.toString();
    this.awareness.destroy();
    this.doc.destroy();
    this.#unsent = [];
    this.#flying = null;
    this.#clients.clear();
    this.#begin();
    this.dispatchEvent(new CustomEvent("anew"));
  }

  #refused({ code, text, mark }) {
    this.trouble = { code, text };
    if (AGAIN.has(code)) {
      clearTimeout(this.#againTimer);
      this.#againTimer = setTimeout(() => this.#sync(), AGAIN_MS);
    } else if (code === "stale_epoch") {
      this.#sync();
    } else if (mark === undefined) {
      this.#become("closed");
    } else {
      // It will not be taken: what was typed is not lost, but it is not the draft's either.
      this.recovered = this.text.toString();
      this.#unsent = [];
      this.#flying = null;
      this.#startAnew();
      this.epoch = 0;
      this.#sync();
    }
    this.#tell();
  }

  #joined() {
    const pieces = this.#pieces;
    this.#pieces = [];
    if (pieces.length === 1) return pieces[0];
    const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
    pieces.reduce((at, piece) => (whole.set(piece, at), at + piece.length), 0);
    return whole;
  }

  #become(state) {
    this.state = state;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
