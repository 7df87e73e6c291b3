/* What is looked at in a room, and who points where on it. Another thing is put in its place without leaving the page:
 * a page loaded anew would hang up the call. */
import { enliven } from "./parts.js";
import { anchorOf } from "./room-anchors.js";
import { Cursors } from "./room-cursors.js";
import { answer } from "./status.js";
import { retell } from "./times.js";

const SWAPPED = ["stage", "room-shelf"];

export class Stage {
  /** `host` is the room's element; `changed()` is called when something else is looked at. */
  constructor({ host, room, me, name, changed }) {
    Object.assign(this, { host, room, me, name, changed });
    this.path = location.pathname;
    this.board = host.querySelector("#stage");
    room.addEventListener("cursors", ({ detail }) => this.#told(detail));
    room.addEventListener("heat", ({ detail: { view, columns, rows, counts } }) => view === this.point && this.cursors?.heat(columns, rows, counts));
    host.addEventListener("click", (event) => this.#follow(event));
    addEventListener("popstate", () => this.look(new URLSearchParams(location.search).get("look"), { push: false }));
    for (const kind of ["pointermove", "pointerdown"]) this.#pointer(kind);
    this.board.addEventListener("pointerleave", () => room.unpoint());
    this.#find();
  }

  stop() {
    this.cursors?.stop();
    this.cursors = null;
  }

  /** Look at another thing ("artifact:ID", "job:ID", …); null is what the room itself would show first. */
  async look(name, { push = true } = {}) {
    const url = new URL(location.href);
    if (push) {
      url.search = name ? `?look=${name}` : "";
      url.hash = "";
    }
    // What is not saved yet is not thrown away by a click: the browser asks, as it does of every page.
    if (this.draft?.provider?.unsaved) return location.assign(url);
    const asked = (this.asked = fetch(url, { headers: { accept: "text/html" } }).catch(() => null));
    const reply = await asked;
    if (asked !== this.asked) return undefined; // something else has been asked for since
    if (!reply?.ok) return answer("That cannot be looked at now.");
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    if (SWAPPED.some((id) => !fresh.getElementById(id))) return location.assign(url);
    if (push) history.pushState(null, "", url);
    this.room.unpoint();
    this.stop();
    this.#swap(fresh);
    await enliven(this.host);
    this.#find();
    return this.changed();
  }

  /** What stands here is no more: back to what the room itself would show. */
  async leave() {
    this.draft?.leave();
    await this.look(null);
    this.board.focus();
  }

  /** What is looked at may have been given another name. */
  retitle() {
    const name = this.board.querySelector("#draft-looked h2")?.textContent;
    if (!name) return;
    this.board.setAttribute("aria-label", name);
    this.draft?.retitle?.(name);
  }

  #swap(fresh) {
    const scrolled = this.host.querySelector(".people-board .board").scrollTop;
    // The board keeps its own element, for its listeners; everything in it is new.
    const [board, shelf] = SWAPPED.map((id) => document.adoptNode(fresh.getElementById(id)));
    this.board.replaceChildren(...board.childNodes);
    this.board.setAttribute("aria-label", board.getAttribute("aria-label"));
    this.board.scrollTop = 0;
    this.host.querySelector("#room-shelf").replaceWith(shelf);
    this.host.querySelector(".people-board .board").scrollTop = scrolled;
    const [where, then] = [this.host.querySelector(".compose .where"), fresh.querySelector(".compose .where")];
    if (where && then) {
      const to = where.querySelector("select")?.value ?? "";
      where.replaceWith(document.adoptNode(then));
      const choice = then.querySelector("select");
      if (choice) choice.value = to;
    }
    const { look } = fresh.querySelector("live-room").dataset;
    if (look) this.host.dataset.look = look;
    else delete this.host.dataset.look;
    retell(this.host);
  }

  /** The thing that stands on the stage now. */
  #find() {
    const thing = this.board.querySelector("[data-point]");
    this.point = thing?.dataset.point ?? "";
    this.draft = this.board.querySelector("shared-draft");
    const layer = this.board.querySelector("[data-slot=cursors]");
    if (thing && layer) {
      const [list, sentence] = [this.board.querySelector("[data-slot=pointing]"), this.board.querySelector("[data-say=pointing]")];
      this.cursors = new Cursors({ layer, anchor: anchorOf(thing), list, sentence });
    }
    this.room.look(this.point ? [this.point] : []);
    customElements.whenDefined("shared-draft").then(() => this.board.querySelector("shared-draft")?.join?.(this.room, this.me, this.name));
  }

  #pointer(kind) {
    this.board.addEventListener(kind, (event) => {
      const place = this.cursors?.anchor.place(event.clientX, event.clientY);
      if (place) this.room.point(this.point, place.x, place.y, place.flags);
      else this.room.unpoint();
    });
  }

  #told(told) {
    if (!this.cursors) return;
    for (const { slot, member, view, x, y, flags, gone } of told) {
      if (gone || view !== this.point || !member) this.cursors.remove(slot);
      else this.cursors.place(slot, member, { x, y, flags });
    }
  }

  /** Links to other things of this room. */
  #follow(event) {
    const link = event.target.closest("a[href]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const url = new URL(link.href, location.href);
    const name = url.searchParams.get("look");
    if (url.origin !== location.origin || url.pathname !== this.path || !name || url.searchParams.has("before")) return;
    event.preventDefault();
    this.look(name).then(() => url.hash && (location.hash = url.hash));
  }
}
