/* A captioner for any recogniser of speech that writes lines: each line of standard input is a caption, and one that
 * begins with "~" is not final yet. `recogniser | COLLEGIUM_TOKEN=… node captioner.mjs https://hub.example.edu ana/lab` */
import { createInterface } from "node:readline";
import { Room } from "../js/room.js";

const [, , base, session] = process.argv;
const headers = { "Content-Type": "application/json", Authorization: `Bearer ${process.env.COLLEGIUM_TOKEN}` };

async function ticket() {
  const answer = await fetch(new URL("/api/tickets", base), { method: "POST", headers, body: JSON.stringify({ session }) });
  if (!answer.ok) throw Object.assign(new Error((await answer.json()).detail), { status: answer.status });
  return (await answer.json()).ticket;
}

const room = new Room({ session, base, ticket });
room.addEventListener("state", ({ detail }) => console.error(detail.state, detail.reason ?? ""));
room.addEventListener("trouble", ({ detail }) => console.error(detail.text));
room.addEventListener("people", function begin({ detail: people }) {
  if (!people.has(room.slot)) return;
  room.removeEventListener("people", begin);
  room.tell({ captioning: true }); // seen by everyone before the first word
  createInterface({ input: process.stdin })
    .on("line", (line) => (line.startsWith("~") ? room.caption(line.slice(1)) : room.caption(line, true)))
    .on("close", () => setTimeout(() => room.close(), 500));
});
room.open();
