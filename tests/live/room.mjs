// Two members made of static/js/room.js: `node room.mjs ROOM_JS BASE`. What happens is printed, a line of JSON each;
// a line on standard input goes to the next step.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [, , modulePath, base] = process.argv;
const { Room } = await import(pathToFileURL(modulePath));
const print = (what, facts = {}) => console.log(JSON.stringify({ what, ...facts }));
const steps = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const heard = (room, name, wanted = () => true) => new Promise((done) => {
  room.addEventListener(name, function hear({ detail }) {
    if (!wanted(detail)) return;
    room.removeEventListener(name, hear);
    done(detail);
  });
});
const ticket = async (who) => {
  const answer = await fetch(`${base}/api/tickets`, { method: "POST", body: JSON.stringify({ session: who }) });
  if (!answer.ok) throw Object.assign(new Error("no ticket"), { status: answer.status });
  return (await answer.json()).ticket;
};
const [ana, ben] = ["ana", "ben"].map((session) => new Room({ session, base, ticket, seen: { sequence: 0 } }));
const said = [];
ben.addEventListener("message", ({ detail }) => said.push(detail.text));

const both = Promise.all([heard(ana, "people", (people) => people.size === 2), heard(ben, "welcome")]);
ana.open();
ben.open();
await both;
const seen = heard(ben, "cursors", (cursors) => cursors[0].view === "levels.svg");
ana.look(["levels.svg"]);
ben.look(["levels.svg"]);
const pointing = setInterval(() => ana.point("levels.svg", 100, 200), 20);
const [{ member, view, x, y, gone }] = await seen;
clearInterval(pointing);
print("cursor", { who: member.name, view, x, y, gone });

print("said", { sequence: await ana.say("one") });
const calling = heard(ana, "people", (people) => [...people.values()].every((one) => one.call));
ana.tell({ call: true });
ben.tell({ call: true });
await calling;
const signaled = heard(ben, "signal");
ana.signal(ben.slot, { desc: { type: "offer", sdp: "v=0" } });
const { signal, polite } = await signaled;
print("signal", { signal, polite });

const pieces = [];
ben.addEventListener("log", ({ detail }) => pieces.push([detail.offset, new TextDecoder().decode(detail.data)]));
const first = heard(ben, "log");
ben.followLog("job_1");
await first;

const slot = ben.slot;
const waiting = heard(ben, "state", ({ state }) => state === "waiting");
const back = heard(ben, "state", ({ state }) => state === "open");
const caughtUp = heard(ben, "message", ({ text }) => text === "three");
const ended = heard(ben, "log", ({ done }) => done);
print("cut me off");
await waiting;
ben.wake();
await back;
ana.say("three");
await Promise.all([caughtUp, ended]);
print("resumed", { sameSlot: ben.slot === slot, said, log: pieces });

const over = heard(ben, "state", ({ state }) => state === "closed");
print("revoke me");
print("closed", { code: (await over).code });
await steps.next();
ana.close();
process.exit(0);
