/* What is written after `/` in a room's chat: carried to the bot with a ticket of this room, as whoever is signed in. */
import { askForTicket } from "./room.js";

/** The answer as lines, whether it was done, and the buttons of a question; `words` are those of such a button.
    Said again under the same key by itself when nobody answered. */
export async function command(session, text, words = []) {
  const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
  for (let attempt = 0; ; attempt++) {
    try {
      const ticket = await askForTicket(session, location.origin);
      const answer = await fetch("/bot/room", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ticket, text, key, words }),
      });
      const said = await answer.json();
      if (answer.status === 504 && attempt < 2) continue;
      return said.lines ? said : { lines: [`Not done: ${said.detail ?? answer.status}`], done: false };
    } catch (error) {
      return { lines: [`Not done: ${error.message}`], done: false };
    }
  }
}
