/* Cursors over the thing looked at: one canvas, drawn only while something moves.
 *
 * Each cursor glides to its newest place; arrow and name are painted once a person and copied from then on, so that
 * three hundred of them cost about as much as three. In words the same is told by a list, and by a sentence to who
 * wants no motion. */
import { make } from "./dom.js";
import { tone } from "./words.js";

const GLIDE_MS = 45; // two thirds of the way in this time: smooth at thirty places a second, and never far behind
const SETTLED_PX = 0.25;
const FADE_AFTER_MS = 4_000;
const FADE_MS = 400;
const GONE_MS = 9_000; // looked at once a second: nobody is a ghost for longer than ten
const HEAT_MS = 3_000;
const HEAT_SHARE = 0.55;
const LONGEST_NAME = 24;
const TELL_MS = 500; // the twins in words change at most twice a second
const STILL = matchMedia("(prefers-reduced-motion: reduce)");
const ARROW = new Path2D("M1.5 1.5 L1.5 14.5 L5 11.2 L7.3 16.6 L9.9 15.4 L7.6 10.2 L12.3 10 Z");

export class Cursors {
  /** `layer` lies over the thing that `anchor` measures; `list` and `sentence` say in words who points where. */
  constructor({ layer, anchor, list, sentence }) {
    Object.assign(this, { layer, anchor, list, sentence, crowd: 0 });
    this.board = layer.closest(".board") ?? layer;
    this.shown = new Map();
    this.painted = new Map();
    this.sheet = make("canvas");
    this.probe = make("span", { class: "cursor", hidden: true }, make("span"));
    layer.replaceChildren(this.sheet, this.probe);
    this.timer = setInterval(() => this.#age(), 1_000);
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    const anew = () => this.#anew();
    addEventListener("resize", anew, { signal });
    this.board.addEventListener("scroll", anew, { signal, capture: true, passive: true });
    this.sizes = new ResizeObserver(anew);
    this.sizes.observe(layer);
    const inks = () => { this.painted.clear(); anew(); };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", inks, { signal });
    this.theme = new MutationObserver(inks);
    this.theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  }

  stop() {
    clearInterval(this.timer);
    clearTimeout(this.telling);
    cancelAnimationFrame(this.wanted);
    this.stopped.abort();
    this.sizes.disconnect();
    this.theme.disconnect();
    this.wanted = -1;
  }

  /** A member points at a place ({x, y, flags}) of the thing. */
  place(slot, member, place) {
    let cursor = this.shown.get(slot);
    if (!cursor || cursor.person !== member.person) {
      cursor = { person: member.person, name: member.name, left: null, top: null };
      this.shown.set(slot, cursor);
    }
    Object.assign(cursor, { place, at: performance.now(), spot: undefined });
    this.#draw();
    this.#tellSoon();
  }

  remove(slot) {
    if (!this.shown.delete(slot)) return;
    this.#draw();
    this.#tellSoon();
  }

  /** A crowd beyond the cursors that are shown: how many there are in each tile, as a shade and as a number. */
  heat(columns, rows, counts) {
    this.crowd = counts.reduce((sum, count) => sum + count, 0);
    this.crowdAt = performance.now();
    this.shade ??= make("canvas");
    Object.assign(this.shade, { width: columns, height: rows });
    const pen = this.shade.getContext("2d");
    pen.fillStyle = getComputedStyle(this.layer).color;
    const most = Math.max(1, ...counts);
    counts.forEach((count, at) => {
      pen.globalAlpha = count / most;
      if (count) pen.fillRect(at % columns, Math.floor(at / columns), 1, 1);
    });
    this.#draw();
    this.#tellSoon();
  }

  /** What is drawn: whose cursor, and where on this screen it is or glides to (null: not in sight). */
  seen() {
    this.anchor.measure();
    return [...this.shown].map(([slot, { person, name, place }]) => ({ slot, person, name, spot: this.anchor.spot(place), words: this.anchor.words(place) }));
  }

  /** Where a person points on this screen, the newest of their tabs. */
  spotOf(person) {
    const newest = [...this.shown.values()].filter((cursor) => cursor.person === person).sort((a, b) => b.at - a.at)[0];
    this.anchor.measure();
    return newest ? this.anchor.spot(newest.place) : null;
  }

  /** Draw one frame; true while something still moves. */
  frame(now) {
    const passed = Math.min(100, now - (this.drawnAt ?? now));
    this.drawnAt = now;
    this.#fit();
    this.anchor.measure();
    const pen = this.pen;
    const { width, height, left, top } = this.box;
    pen.clearRect(0, 0, width, height);
    if (this.crowd && this.shade && this.anchor.box) this.#shadeIn(pen, this.anchor.box);
    const glide = 1 - Math.exp(-passed / GLIDE_MS);
    let moving = false;
    for (const cursor of this.shown.values()) {
      cursor.spot ??= this.anchor.spot(cursor.place);
      if (!cursor.spot) continue;
      const [x, y] = [cursor.spot.left - left, cursor.spot.top - top];
      if (cursor.left === null) [cursor.left, cursor.top] = [x, y];
      cursor.left += (x - cursor.left) * glide;
      cursor.top += (y - cursor.top) * glide;
      if (Math.abs(x - cursor.left) + Math.abs(y - cursor.top) < SETTLED_PX) [cursor.left, cursor.top] = [x, y];
      else moving = true;
      const faded = Math.max(0, Math.min(1, (now - cursor.at - FADE_AFTER_MS) / FADE_MS));
      if (faded > 0 && faded < 1) moving = true;
      if (faded < 1) this.#stamp(pen, cursor, 1 - faded, width);
    }
    pen.globalAlpha = 1;
    return moving;
  }

  #draw() {
    if (this.wanted || STILL.matches) return;
    this.wanted = requestAnimationFrame((now) => {
      this.wanted = 0;
      if (this.frame(now)) this.#draw();
      else this.drawnAt = undefined;
    });
  }

  /** The thing lies elsewhere now: spots are reckoned again, and nobody glides there. */
  #anew() {
    for (const cursor of this.shown.values()) Object.assign(cursor, { spot: undefined, left: null, top: null });
    this.box = null;
    this.#draw();
  }

  /** The canvas covers what can be seen of the layer and no more: a long entry has thousands of lines. */
  #fit() {
    if (this.box) return;
    const [layer, board] = [this.layer.getBoundingClientRect(), this.board.getBoundingClientRect()];
    const left = Math.max(layer.left, board.left);
    const top = Math.max(layer.top, board.top);
    const width = Math.max(1, Math.min(layer.right, board.right) - left);
    const height = Math.max(1, Math.min(layer.bottom, board.bottom) - top);
    this.box = { left, top, width, height };
    const dots = devicePixelRatio || 1;
    if (dots !== this.dots) this.painted.clear();
    this.dots = dots;
    const { sheet } = this;
    Object.assign(sheet, { width: Math.ceil(width * dots), height: Math.ceil(height * dots) });
    const place = { left: left - layer.left, top: top - layer.top, width, height };
    for (const [name, value] of Object.entries(place)) sheet.style[name] = `${value}px`;
    this.pen = sheet.getContext("2d");
    this.pen.scale(dots, dots);
  }

  #shadeIn(pen, box) {
    pen.globalAlpha = HEAT_SHARE;
    pen.imageSmoothingEnabled = true;
    pen.drawImage(this.shade, box.left - this.box.left, box.top - this.box.top, box.width, box.height);
    pen.globalAlpha = 1;
  }

  #stamp(pen, cursor, alpha, width) {
    const flip = cursor.left > width * 0.78;
    const key = `${cursor.person} ${cursor.name} ${flip}`;
    let stamp = this.painted.get(key);
    if (!stamp) this.painted.set(key, (stamp = this.#paint(cursor, flip)));
    pen.globalAlpha = alpha;
    pen.drawImage(stamp.sheet, cursor.left - stamp.tip, cursor.top - 1.5, stamp.width, stamp.height);
  }

  /** Arrow and name of a person, in the colours the page's style gives them. */
  #paint({ person, name }, flip) {
    const { probe } = this;
    probe.className = `cursor ${tone(person)}`;
    const [ink, label] = [getComputedStyle(probe), getComputedStyle(probe.firstChild)];
    const letters = [...name];
    const text = letters.length > LONGEST_NAME ? `${letters.slice(0, LONGEST_NAME - 1).join("")}…` : name;
    const sheet = make("canvas");
    let pen = sheet.getContext("2d");
    const font = `${label.fontWeight} ${label.fontSize} ${label.fontFamily}`;
    pen.font = font;
    const size = parseFloat(label.fontSize);
    const chip = { width: pen.measureText(text).width + size, height: size * 1.55 };
    const [width, height] = [14 + chip.width, 16 + chip.height];
    Object.assign(sheet, { width: Math.ceil(width * this.dots), height: Math.ceil(height * this.dots) });
    pen = sheet.getContext("2d");
    pen.scale(this.dots, this.dots);
    const tip = flip ? width - 14 : 0;
    pen.translate(tip, 0);
    Object.assign(pen, { fillStyle: ink.color, strokeStyle: ink.outlineColor, lineWidth: 1.4, lineJoin: "round" });
    pen.fill(ARROW);
    pen.stroke(ARROW);
    const left = flip ? -chip.width : 13;
    pen.beginPath();
    pen.roundRect(left, 15, chip.width, chip.height, flip ? [8, 2, 8, 8] : [2, 8, 8, 8]);
    pen.fillStyle = label.backgroundColor;
    pen.fill();
    Object.assign(pen, { font, fillStyle: label.color, textBaseline: "middle" });
    pen.fillText(text, left + size / 2, 15 + chip.height / 2 + 0.5);
    return { sheet, width, height, tip: tip + 1.5 };
  }

  #age() {
    const now = performance.now();
    if (this.crowd && now - this.crowdAt > HEAT_MS) {
      this.crowd = 0;
      this.#draw();
      this.#tellSoon();
    }
    for (const [slot, { at }] of this.shown) {
      if (now - at > GONE_MS) this.remove(slot);
      else if (now - at > FADE_AFTER_MS) this.#draw();
    }
  }

  #tellSoon() {
    this.telling ??= setTimeout(() => {
      this.telling = null;
      const lines = this.seen().map(({ name, words }) => `${name} points at ${words}`);
      if (this.crowd) lines.push(`${this.crowd} more point at it`);
      this.list?.replaceChildren(...(lines.length ? lines : ["Nobody points at anything now."]).map((line) => make("li", {}, line)));
      if (this.sentence && STILL.matches) this.sentence.textContent = lines.length ? `${lines.join("; ")}.` : "";
    }, TELL_MS);
  }
}
