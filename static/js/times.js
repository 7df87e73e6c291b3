/* Times of a page in the reader's own zone; "3 min ago" stays true while the page is open. */
import { ago, clock, moment } from "./words.js";

const SAY = { ago: (at) => ago(at, new Date()), clock, moment };

export function retell(root = document) {
  for (const time of root.querySelectorAll("time[data-as]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const text = SAY[time.dataset.as]?.(at);
    if (text && text !== time.textContent) time.textContent = text;
    time.title = moment(at);
  }
}

export function keepTimes() {
  retell();
  setInterval(retell, 30_000);
}
