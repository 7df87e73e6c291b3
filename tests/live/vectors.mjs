// Holds static/js/protocol.js to vectors.json: `node vectors.mjs PROTOCOL VECTORS`. Prints one line per fault.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { isDeepStrictEqual } from "node:util";

const [, , modulePath, vectorsPath] = process.argv;
const { decode, encode, ProtocolError, mayReconnect, CLOSE, KIND } = await import(pathToFileURL(modulePath));
const vectors = JSON.parse(readFileSync(vectorsPath, "utf8"));
const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
const faults = [];
let checked = 0;

// Bytes stand in the vectors as `NAME_hex`.
const inbound = (frame) => Object.fromEntries(Object.entries(frame).map(([name, value]) =>
  name.endsWith("_hex") ? [name.slice(0, -4), bytes(value)] : [name, value]));
const outbound = (frame) => frame && Object.fromEntries(Object.entries(frame).map(([name, value]) =>
  value instanceof Uint8Array ? [`${name}_hex`, hex(value)] : [name, value]));

for (const { name, frame, hex: expected } of vectors.client) {
  checked++;
  const got = hex(encode(inbound(frame)));
  if (got !== expected) faults.push(`client, ${name}: ${got}`);
}
for (const { name, frame, hex: given } of vectors.server) {
  checked++;
  const got = outbound(decode(bytes(given)));
  if (!isDeepStrictEqual(got, frame)) faults.push(`server, ${name}: ${JSON.stringify(got)}`);
}
for (const { name, hex: given } of vectors.malformed.filter((one) => one.from === "server")) {
  checked++;
  try {
    faults.push(`malformed, ${name}: accepted as ${JSON.stringify(decode(bytes(given)))}`);
  } catch (error) {
    if (!(error instanceof ProtocolError)) faults.push(`malformed, ${name}: ${error}`);
  }
}
if (decode(bytes("ee00")) !== null) faults.push("a kind of the future is to be passed over");
console.log(JSON.stringify({ checked, faults, kinds: KIND, closings: CLOSE, back: [4001, 4499, 4500, 4999, 1009].map(mayReconnect) }));
