/* Cursors over the thing looked at. A position is a share of that thing, so it means the same on every screen. */
import { icon, make } from "./dom.js";
import { tone } from "./words.js";

export const FULL = 65_535;
const FADE_MS = 4_000;
const GONE_MS = 9_000; // looked at once a second: nobody is a ghost for longer than ten
const HEAT_MS = 3_000;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Cursors {
  /** `canvas` holds the thing and the layer; `list` and `sentence` say in words who points where. */
  constructor({ canvas, layer, list, sentence }) {
    Object.assign(this, { canvas, layer, list, sentence });
    this.shown = new Map();
    this.timer = setInterval(() => this.#age(), 1_000);
    addEventListener("resize", () => this.#again());
  }

  stop() {
    clearInterval(this.timer);
  }

  /** The box positions are shares of: the picture itself where there is one, else the whole thing. */
  box() {
    const thing = this.canvas.querySelector("[data-point]");
    return (thing.querySelector(":scope > img") ?? thing).getBoundingClientRect();
  }

  /** Shares of the thing for a pointer's place on the screen, or null beside it. */
  share(clientX, clientY) {
    const box = this.box();
    const x = (clientX - box.left) / box.width;
    const y = (clientY - box.top) / box.height;
    return x < 0 || x > 1 || y < 0 || y > 1 ? null : { x: Math.round(x * FULL), y: Math.round(y * FULL) };
  }

  place(slot, member, x, y) {
    let cursor = this.shown.get(slot);
    if (!cursor || cursor.person !== member.person) {
      this.remove(slot);
      cursor = { person: member.person, name: member.name, mark: this.#mark(member) };
      this.shown.set(slot, cursor);
      this.layer.append(cursor.mark);
    }
    Object.assign(cursor, { x, y, at: performance.now() });
    cursor.mark.classList.remove("faded");
    this.#move(cursor);
    this.#tellSoon();
  }

  /** A crowd beyond the cursors that are shown: how many there are in each tile, as a shade and as a number. */
  heat(columns, rows, counts) {
    this.crowd = counts.reduce((sum, count) => sum + count, 0);
    this.crowdAt = performance.now();
    this.shade ??= this.layer.insertBefore(make("canvas", { class: "heat" }), this.layer.firstChild);
    Object.assign(this.shade, { width: columns, height: rows });
    const box = this.box();
    const layer = this.layer.getBoundingClientRect();
    const place = { left: box.left - layer.left, top: box.top - layer.top, width: box.width, height: box.height };
    for (const [name, value] of Object.entries(place)) this.shade.style[name] = `${value}px`;
    const pen = this.shade.getContext("2d");
    pen.fillStyle = getComputedStyle(this.layer).getPropertyValue("color");
    const most = Math.max(1, ...counts);
    counts.forEach((count, at) => {
      pen.globalAlpha = count / most;
      if (count) pen.fillRect(at % columns, Math.floor(at / columns), 1, 1);
    });
    this.#tellSoon();
  }

  #cool() {
    if (!this.crowd || performance.now() - this.crowdAt < HEAT_MS) return;
    this.crowd = 0;
    this.shade.remove();
    this.shade = null;
    this.#tellSoon();
  }

  remove(slot) {
    const cursor = this.shown.get(slot);
    if (!cursor) return;
    cursor.mark.remove();
    this.shown.delete(slot);
    this.#tellSoon();
  }

  #mark(member) {
    return make("div", { class: `cursor ${tone(member.person)}` }, icon("pointer", ""), make("span", {}, member.name));
  }

  #move(cursor) {
    const box = this.box();
    const layer = this.layer.getBoundingClientRect();
    const x = box.left - layer.left + (cursor.x / FULL) * box.width;
    const y = box.top - layer.top + (cursor.y / FULL) * box.height;
    cursor.mark.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    cursor.mark.classList.toggle("flip", x > layer.width * 0.78);
  }

  #again() {
    for (const cursor of this.shown.values()) this.#move(cursor);
  }

  #age() {
    this.#cool();
    const now = performance.now();
    for (const [slot, cursor] of this.shown) {
      if (now - cursor.at > GONE_MS) this.remove(slot);
      else if (now - cursor.at > FADE_MS) cursor.mark.classList.add("faded");
    }
  }

  /** The twins in words change at most twice a second, and not while nobody moves. */
  #tellSoon() {
    this.telling ??= setTimeout(() => {
      this.telling = null;
      const lines = [...this.shown.values()].map((c) => `${c.name} points at the ${where(c.x / FULL, c.y / FULL)}`);
      if (this.crowd) lines.push(`${this.crowd} more point at it`);
      this.list?.replaceChildren(...(lines.length ? lines : ["Nobody points at anything now."]).map((line) => make("li", {}, line)));
      if (this.sentence && STILL.matches) this.sentence.textContent = lines.length ? `${lines.join("; ")}.` : "";
    }, 500);
  }
}

export function where(x, y) {
  const across = x < 1 / 3 ? "left" : x > 2 / 3 ? "right" : "";
  const down = y < 1 / 3 ? "upper" : y > 2 / 3 ? "lower" : "";
  if (across && down) return `${down} ${across} part`;
  if (down) return `${down} part`;
  return across ? `${across} side` : "middle";
}
