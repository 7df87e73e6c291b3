/* Who is in the room, as a list and as one sentence. */
import { face, make } from "./dom.js";
import { initials, tone } from "./words.js";

const STATES = { idle: "quiet", away: "away" };

export class People {
  constructor(list, sentence, me) {
    this.list = list;
    this.sentence = sentence;
    this.me = me;
  }

  /** Draw the members (entries of presence, by slot); one person in two tabs is one line. */
  show(members) {
    const people = new Map();
    for (const member of members) {
      const known = people.get(member.person);
      if (!known || (known.state !== "active" && (member.state ?? "active") === "active")) people.set(member.person, member);
    }
    const lines = [...people.values()].sort((a, b) => (a.person === this.me ? -1 : b.person === this.me ? 1 : a.name.localeCompare(b.name)));
    this.list.replaceChildren(...lines.map((member) => this.#line(member)));
    this.sentence.textContent = spoken(lines.length);
  }

  #line(member) {
    const state = member.state ?? "active";
    const who = { initials: initials(member.name), tone: tone(member.person) };
    return make("li", { class: state === "active" ? "" : "away" },
      face(who, "s"),
      make("span", { class: "who" }, member.person === this.me ? `${member.name} (you)` : member.name),
      make("small", {}, STATES[state] ?? ""));
  }
}

function spoken(number) {
  if (number <= 1) return "Only you are here";
  const words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
  const text = words[number - 2] ?? String(number);
  return `${text[0].toUpperCase()}${text.slice(1)} people here`;
}
