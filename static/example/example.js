/* The protocol client stands alone: presence, cursors and chat without any of the hub's pages. */
import { Room } from "../js/room.js";

const session = new URLSearchParams(location.search).get("session");
const room = new Room({ session, seen: { sequence: 0 } });
const here = document.getElementById("people");
const where = new Map();
const item = (text) => Object.assign(document.createElement("li"), { textContent: text });

function draw() {
  here.replaceChildren(...[...room.members.values()].map(({ slot, name }) => item(`${name} ${where.get(slot) ?? ""}`)));
}

room.addEventListener("state", ({ detail }) => (document.getElementById("state").value = detail.state));
room.addEventListener("people", draw);
room.addEventListener("message", ({ detail }) => {
  document.getElementById("said").append(item(`${detail.author.name}: ${detail.text}`));
});
room.addEventListener("cursors", ({ detail }) => {
  for (const { slot, x, y, gone } of detail) where.set(slot, gone ? "" : `at ${x}, ${y}`);
  draw();
});
addEventListener("pointermove", ({ clientX, clientY }) => {
  room.point("", Math.round((clientX / innerWidth) * 65_535), Math.round((clientY / innerHeight) * 65_535));
});
document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  room.say(event.target.text.value).catch((error) => alert(error.message));
  event.target.reset();
});
for (const name of ["online", "pageshow"]) addEventListener(name, () => room.wake());
room.open();
