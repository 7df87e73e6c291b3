// What the browser says for the same input as the server: `node page_twins.mjs STATIC_JS` reads JSON from stdin.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , folder] = process.argv;
const words = await import(pathToFileURL(`${folder}/words.js`));
const { LogLines } = await import(pathToFileURL(`${folder}/log-lines.js`));
const asked = JSON.parse(readFileSync(0, "utf8"));
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

function log(pieces) {
  const reader = new LogLines();
  const answers = pieces.map((piece) => reader.push(bytes(piece)));
  return { lines: answers.flatMap(({ lines }) => lines), open: answers.at(-1)?.open ?? null };
}

process.stdout.write(JSON.stringify({
  durations: asked.durations.map(words.duration),
  sizes: asked.sizes.map(words.size),
  initials: asked.names.map(words.initials),
  tones: asked.names.map(words.tone),
  agos: asked.agos.map(([at, now]) => words.ago(new Date(at), new Date(now))),
  moments: asked.agos.map(([at]) => words.moment(new Date(at))),
  logs: asked.logs.map(log),
}));
