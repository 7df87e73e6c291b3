/* To look where somebody else looks: what they turn to is put on the stage, and where they point is kept in sight. */
import { answer } from "./status.js";

const MARGIN_PX = 48;
const GLIDE_MS = 150;

export class Follow {
  constructor({ room, stage, me }) {
    Object.assign(this, { room, stage, me, person: null });
    this.changed = new EventTarget();
    room.addEventListener("people", () => this.#look());
    room.addEventListener("cursors", ({ detail }) => this.person && detail.some((one) => one.member?.person === this.person) && this.#scroll());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.person && !event.defaultPrevented && this.stop());
  }

  /** Follow a person ({person, name}), or stop when it is they who are followed. */
  toggle({ person, name }) {
    if (this.person === person) return this.stop();
    Object.assign(this, { person, name });
    answer(`You follow ${name}. Escape stops it.`);
    this.changed.dispatchEvent(new Event("change"));
    return this.#look();
  }

  stop(why = "") {
    const { name } = this;
    this.person = null;
    answer(why || `You do not follow ${name} any more.`);
    this.changed.dispatchEvent(new Event("change"));
  }

  /** Their tab that is looked at, when they have several. */
  get #leader() {
    const theirs = [...this.room.members.values()].filter((member) => member.person === this.person);
    return theirs.find((member) => (member.state ?? "active") === "active") ?? theirs[0];
  }

  #look() {
    if (!this.person || this.room.state !== "open") return;
    const leader = this.#leader;
    if (!leader) return this.stop(`${this.name} left; you follow nobody now.`);
    const view = leader.view ?? "";
    if (!view || view === this.stage.point || view === this.going) return;
    this.going = view;
    this.stage.look(view).finally(() => (this.going = null));
  }

  #scroll() {
    this.scrolling ??= setTimeout(() => {
      this.scrolling = null;
      const { board, cursors } = this.stage;
      const spot = this.person && cursors?.spotOf(this.person);
      if (!spot) return;
      const box = board.getBoundingClientRect();
      const over = spot.top < box.top + MARGIN_PX || spot.top > box.bottom - MARGIN_PX;
      if (over) board.scrollTop += spot.top - (box.top + box.bottom) / 2;
    }, GLIDE_MS);
  }
}
