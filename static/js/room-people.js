/* Who is in the room, as a list and as one sentence. */
import { face, make } from "./dom.js";
import { initials, tone } from "./words.js";

const STATES = { idle: "quiet", away: "away" };
// Who looks on is seen to look on: a mentor, an operator, a guest and a program are told apart by a word.
const ROLES = { read: "looks on", guest: "guest", mentor: "mentor", teacher: "teacher", operator: "operator", service: "program" };

export class People {
  /** `follow` is who is followed, and follows (room-follow.js). */
  constructor(list, sentence, me, follow) {
    Object.assign(this, { list, sentence, me, follow, members: [] });
    follow.changed.addEventListener("change", () => this.again());
  }

  /** Something else that is said of them has changed on the page. */
  again() {
    this.show(this.members);
  }

  /** Draw the members (entries of presence, by slot); one person in two tabs is one line. */
  show(members) {
    this.members = members;
    const people = new Map();
    for (const member of members) {
      const known = people.get(member.person);
      if (!known || (known.state !== "active" && (member.state ?? "active") === "active")) people.set(member.person, member);
    }
    const lines = [...people.values()].sort((a, b) => (a.person === this.me ? -1 : b.person === this.me ? 1 : a.name.localeCompare(b.name)));
    const held = this.list.contains(document.activeElement) ? document.activeElement.dataset.person : null;
    this.list.replaceChildren(...lines.map((member) => this.#line(member, members.filter(({ person }) => person === member.person))));
    if (held) this.list.querySelector(`[data-person="${CSS.escape(held)}"]`)?.focus();
    this.sentence.textContent = spoken(lines.length);
  }

  #line(member, tabs) {
    const state = member.state ?? "active";
    const who = { initials: initials(member.name), tone: tone(member.person) };
    const mine = member.person === this.me;
    return make("li", { class: state === "active" ? "" : "away" },
      face(who, "s"),
      make("span", { class: "who" }, mine ? `${member.name} (you)` : member.name),
      make("small", {}, said(member, tabs)),
      ...(mine ? [] : [this.#follower(member)]));
  }

  #follower({ person, name }) {
    const on = this.follow.person === person;
    const button = make("button", { type: "button", class: "btn quiet small", "aria-pressed": String(on), "aria-label": `Follow ${name}`, "data-person": person }, on ? "Following" : "Follow");
    button.addEventListener("click", () => this.follow.toggle({ person, name }));
    return button;
  }
}

/** What a person does here, over all of their tabs, in the order in which it matters to the others. */
function said(member, tabs) {
  const words = [];
  if (document.querySelector(`.hands [data-person="${CSS.escape(member.person)}"]`)) words.push("hand up");
  if (tabs.some((tab) => tab.screens)) words.push("shows a screen");
  if (tabs.some((tab) => tab.captioning)) words.push("captions");
  if (tabs.some((tab) => tab.call)) words.push(tabs.some((tab) => tab.mic) ? "speaks" : "in the call");
  const state = STATES[member.state ?? "active"];
  if (state) words.push(state);
  const role = ROLES[member.role];
  if (role) words.unshift(role);
  return words.join(", ");
}

function spoken(number) {
  if (number <= 1) return "Only you are here";
  const words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
  const text = words[number - 2] ?? String(number);
  return `${text[0].toUpperCase()}${text.slice(1)} people here`;
}
