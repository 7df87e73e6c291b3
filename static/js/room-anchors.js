/* What a place is counted in, so that it means the same on every screen however the thing is laid out there.
 *
 * Of a picture or a table it is a share of its width and height; of a text it is the text itself: the passage and the
 * character, the line of a log and its column, the character of a draft. An anchor turns a pointer into a place
 * ({x, y, flags}, see static/protocol.md) and a place into a spot on this screen, or null where it cannot be shown. */
import { TEXT } from "./protocol.js";

export const FULL = 65_535;
const COLUMNS = 256;
const MOST_LINES = 2 ** 24;
const QUOTED = 24;

/** The anchor for a thing: an element with `data-point`. */
export function anchorOf(thing) {
  if (thing.matches(".prose")) return new Passages(thing);
  if (thing.matches("job-log")) return new LogPlaces(thing);
  if (thing.matches("shared-draft")) return new DraftPlaces(thing);
  return new Shares(thing);
}

/** Shares of a picture, or of all that can be scrolled of anything else. */
class Shares {
  constructor(thing) {
    this.thing = thing.querySelector(":scope > img") ?? thing;
  }

  /** Look where the thing is now; every spot until the next look is reckoned from there. */
  measure() {
    const seen = this.thing.getBoundingClientRect();
    const { scrollLeft, scrollTop, scrollWidth, scrollHeight } = this.thing;
    const scrolls = scrollWidth > seen.width + 1 || scrollHeight > seen.height + 1;
    this.clip = seen;
    this.box = scrolls
      ? { left: seen.left - scrollLeft, top: seen.top - scrollTop, width: scrollWidth, height: scrollHeight }
      : seen;
    return this.box;
  }

  place(clientX, clientY) {
    const { left, top, width, height } = this.measure();
    const [x, y] = [(clientX - left) / width, (clientY - top) / height];
    return x < 0 || x > 1 || y < 0 || y > 1 ? null : { x: Math.round(x * FULL), y: Math.round(y * FULL), flags: 0 };
  }

  spot({ x, y, flags }) {
    if (flags & TEXT) return null;
    const { left, top, width, height } = this.box;
    return within(this.clip, { left: left + (x / FULL) * width, top: top + (y / FULL) * height });
  }

  words({ x, y }) {
    return `the ${where(x / FULL, y / FULL)}`;
  }
}

/** Passages of an entry: which one, and which of its characters. A passage without text is pointed at by shares of 1/255. */
class Passages {
  constructor(thing) {
    this.thing = thing;
  }

  measure() {
    this.passages = [...this.thing.children];
  }

  place(clientX, clientY) {
    this.measure();
    const hit = document.elementFromPoint(clientX, clientY)?.closest(".prose > *");
    const passage = this.passages.indexOf(hit);
    if (passage < 0 || passage > FULL) return null;
    if (!hit.textContent) {
      const box = hit.getBoundingClientRect();
      const share = (at, from, size) => Math.max(0, Math.min(255, Math.round(((at - from) / size) * 255)));
      return { x: passage, y: share(clientX, box.left, box.width) * 256 + share(clientY, box.top, box.height), flags: TEXT };
    }
    return { x: passage, y: Math.min(FULL, characterAt(hit, clientX, clientY) ?? 0), flags: TEXT };
  }

  spot({ x, y, flags }) {
    const passage = flags & TEXT ? this.passages[x] : null;
    if (!passage) return null;
    if (passage.textContent) return spotOf(passage, y);
    const box = passage.getBoundingClientRect();
    return { left: box.left + ((y >> 8) / 255) * box.width, top: box.top + ((y & 255) / 255) * box.height };
  }

  words({ x, y }) {
    const text = this.passages?.[x]?.textContent ?? "";
    const from = text.slice(text.slice(0, y).search(/\S*$/)).replace(/\s+/g, " ").trim(); // from the start of the word
    return from ? `“${from.length > QUOTED ? `${from.slice(0, QUOTED - 1)}…` : from}”` : `passage ${x + 1}`;
  }
}

/** Lines of a log that is shown from its first one; of another nobody knows which line is which. */
class LogPlaces {
  constructor(log) {
    this.log = log;
    this.text = log.querySelector(".log-text");
  }

  measure() {
    this.clip = this.text.getBoundingClientRect();
  }

  place(clientX, clientY) {
    const line = this.text.matches(".numbered") && document.elementFromPoint(clientX, clientY)?.closest(".log-text > .ln");
    if (!line || !this.text.contains(line)) return null;
    const number = [...this.text.children].indexOf(line) + (this.log.dropped ?? 0);
    if (number >= MOST_LINES) return null;
    return textPlace(number * COLUMNS + Math.min(COLUMNS - 1, characterAt(line, clientX, clientY) ?? 0));
  }

  spot(place) {
    const at = textAt(place);
    const line = at === null ? null : this.text.children[Math.floor(at / COLUMNS) - (this.log.dropped ?? 0)];
    return line && this.text.matches(".numbered") ? within(this.clip, spotOf(line, at % COLUMNS)) : null;
  }

  words(place) {
    return `line ${Math.floor((textAt(place) ?? 0) / COLUMNS) + 1}`;
  }
}

/** Characters of a draft, in the editor or in its text as the page brought it. */
class DraftPlaces {
  constructor(draft) {
    this.draft = draft;
    this.plain = draft.querySelector("[data-slot=text]");
  }

  measure() {
    const shown = this.draft.view?.scrollDOM ?? this.plain;
    this.clip = shown.getBoundingClientRect();
  }

  place(clientX, clientY) {
    this.measure();
    if (!inside(this.clip, clientX, clientY)) return null;
    const { view } = this.draft;
    const at = view ? view.posAtCoords({ x: clientX, y: clientY }) : characterAt(this.plain, clientX, clientY);
    return at === null ? null : textPlace(at);
  }

  spot(place) {
    const at = textAt(place);
    const { view } = this.draft;
    if (at === null) return null;
    if (!view) return within(this.clip, spotOf(this.plain, at));
    const box = at <= view.state.doc.length ? view.coordsAtPos(at) : null;
    return box && within(this.clip, { left: box.left, top: (box.top + box.bottom) / 2 });
  }

  words(place) {
    const at = textAt(place) ?? 0;
    const { view } = this.draft;
    const line = view ? view.state.doc.lineAt(Math.min(at, view.state.doc.length)).number : this.plain.textContent.slice(0, at).split("\n").length;
    return `line ${line} of the draft`;
  }
}

const textPlace = (at) => ({ x: Math.floor(at / 65_536) & 0xffff, y: at & 0xffff, flags: TEXT });

const textAt = ({ x, y, flags }) => (flags & TEXT ? x * 65_536 + y : null);

const inside = (box, x, y) => x >= box.left - 1 && x <= box.right + 1 && y >= box.top - 1 && y <= box.bottom + 1;

const within = (box, spot) => (spot && inside(box, spot.left, spot.top) ? spot : null);

/** Which character of an element's text is under a point; null where there is none. */
function characterAt(element, clientX, clientY) {
  const found = document.caretPositionFromPoint?.(clientX, clientY);
  const caret = found ? { node: found.offsetNode, at: found.offset } : caretOfRange(document.caretRangeFromPoint?.(clientX, clientY));
  if (!caret || !element.contains(caret.node)) return null;
  const before = document.createRange();
  before.setStart(element, 0);
  before.setEnd(caret.node, caret.at);
  return before.toString().length;
}

const caretOfRange = (range) => range && { node: range.startContainer, at: range.startOffset };

/** Where a character of an element's text stands on the screen: its left edge, in the middle of its line. */
function spotOf(element, at) {
  const range = document.createRange();
  const texts = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let rest = at;
  let last = null;
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    last = node;
    if (rest < node.length) {
      range.setStart(node, rest);
      range.setEnd(node, rest + 1);
      return middleLeft(range.getClientRects()[0]);
    }
    rest -= node.length;
  }
  if (!last) return middleLeft(element.getBoundingClientRect());
  range.selectNodeContents(last);
  const end = [...range.getClientRects()].at(-1);
  return end ? { left: end.right, top: end.top + end.height / 2 } : null;
}

const middleLeft = (box) => (box ? { left: box.left, top: box.top + box.height / 2 } : null);

export function where(x, y) {
  const across = x < 1 / 3 ? "left" : x > 2 / 3 ? "right" : "";
  const down = y < 1 / 3 ? "upper" : y > 2 / 3 ? "lower" : "";
  if (across && down) return `${down} ${across} part`;
  if (down) return `${down} part`;
  return across ? `${across} side` : "middle";
}
