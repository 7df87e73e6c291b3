/* The wire protocol of a room: bytes in, frames out, and back. No DOM, no socket, no clock.
 *
 * The twin of hub/live/protocol.py; both are held to tests/live/vectors.json. A frame is one binary WebSocket message
 * whose first byte is the kind. A browser encodes what clients say and decodes what servers say. */

export const VERSION = 1;
export const MAX_VIEWS = 8;
export const MAX_VIEW_NAME_BYTES = 64;
export const GONE = 0x01; // cursor flag: take it off the screen
export const TEXT = 0x02; // cursor flag: x and y count parts and characters of a text, not shares of a picture

export const KIND = Object.freeze({
  HELLO: 0x01, WELCOME: 0x02, VIEW: 0x03, VIEWS: 0x04,
  CUR: 0x10, TICK: 0x11, HEAT: 0x12, PACE: 0x13, LAG: 0x14,
  PSNAP: 0x20, PDELTA: 0x21, PSET: 0x22, STANDING: 0x23, APART: 0x24,
  MSG: 0x30, ACK: 0x31, REPLAY: 0x34, GAP: 0x35, LOG: 0x36, FOLLOW_LOG: 0x37, EVENT: 0x38, CAPTION: 0x39,
  YSYNC: 0x40, YUPD: 0x41, YAWARE: 0x42, YACK: 0x43, YSTOP: 0x44,
  RTC: 0x50, ICE: 0x51, SFU: 0x52,
  PING: 0x70, PONG: 0x71, ERR: 0x7e, GOAWAY: 0x7f,
});

export const CLOSE = Object.freeze({
  TICKET_EXPIRED: 4001, SLOW: 4008, MOVED: 4012, TOO_MANY: 4029, DOOR: 4040, UNAVAILABLE: 4053,
  INVALID: 4500, NOT_SIGNED_IN: 4501, NOT_ALLOWED: 4503, NOT_FOUND: 4504, ROOM_FULL: 4505, FLOOD: 4509,
  VERSION: 4510, TOO_LARGE: 4513, INTERNAL: 4599,
});

/** Whether a client should come back by itself after this close code. */
export const mayReconnect = (code) => code !== 1009 && !(code >= 4500 && code <= 4999);

/** The server sent what the protocol does not allow. */
export class ProtocolError extends Error {}

const NAME = new Map(Object.entries(KIND).map(([name, kind]) => [kind, name]));
const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true });

/** The bytes of a frame a client may send: `encode({kind: "CUR", view, x, y, flags, sequence})`. */
export function encode(frame) {
  const write = CLIENT[frame.kind];
  if (!write) throw new ProtocolError(`a client does not say ${frame.kind}`);
  return write(frame);
}

/** The frame in one message of the server, or null when its kind is newer than this module. */
export function decode(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  if (bytes.length === 0) throw new ProtocolError("an empty message is no frame");
  const kind = NAME.get(bytes[0]);
  if (!kind) return null;
  const read = SERVER[kind] ?? json;
  try {
    return read(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), kind);
  } catch (error) {
    if (error instanceof RangeError || error instanceof SyntaxError || error instanceof TypeError) {
      throw new ProtocolError(`malformed ${kind}: ${error.message}`);
    }
    throw error;
  }
}

const CLIENT = {
  HELLO: ({ proto = VERSION, build, resume, caps }) => jsonFrame(KIND.HELLO, { proto, build, resume, caps }),
  PSET: ({ state, call, mic, camera, screens, captioning }) => jsonFrame(KIND.PSET, { state, call, mic, camera, screens, captioning }),
  CAPTION: ({ text, final = false }) => jsonFrame(KIND.CAPTION, final ? { text, final } : { text }),
  MSG: ({ client_id, text, thread, about, to }) => jsonFrame(KIND.MSG, { client_id, text, thread, about, to }),
  YSYNC: ({ draft, epoch = 0, state }) => join([named(KIND.YSYNC, draft), u32(epoch), state]),
  YUPD: ({ draft, epoch, mark, more = false, update }) =>
    join([named(KIND.YUPD, draft), u32(epoch), u32(mark), Uint8Array.of(more ? 1 : 0), update]),
  YAWARE: ({ draft, data }) => join([named(KIND.YAWARE, draft), data]),
  YSTOP: ({ draft }) => named(KIND.YSTOP, draft),
  VIEW({ names }) {
    const parts = names.slice(0, MAX_VIEWS).map((name) => utf8.encode(name));
    return join([Uint8Array.of(KIND.VIEW, parts.length), ...parts.flatMap((p) => [Uint8Array.of(p.length), p])]);
  },
  CUR({ view, x, y, flags = 0, sequence = 0 }) {
    const out = new DataView(new ArrayBuffer(8));
    out.setUint8(0, KIND.CUR);
    out.setUint8(1, view);
    out.setUint16(2, x);
    out.setUint16(4, y);
    out.setUint8(6, flags);
    out.setUint8(7, sequence);
    return new Uint8Array(out.buffer);
  },
  FOLLOW_LOG({ job, offset = 0, on = true }) {
    const head = new DataView(new ArrayBuffer(10));
    head.setUint8(0, KIND.FOLLOW_LOG);
    head.setUint8(1, on ? 1 : 0);
    head.setBigUint64(2, BigInt(offset));
    return join([new Uint8Array(head.buffer), utf8.encode(job)]);
  },
  RTC({ peer, generation, signal }) {
    const head = new DataView(new ArrayBuffer(7));
    head.setUint8(0, KIND.RTC);
    head.setUint16(1, peer);
    head.setUint32(3, generation);
    return join([new Uint8Array(head.buffer), utf8.encode(JSON.stringify(signal))]);
  },
  PING: ({ mark }) => join([Uint8Array.of(KIND.PING), mark]),
  PONG({ mark, now_ms }) {
    const out = new DataView(new ArrayBuffer(17));
    out.setUint8(0, KIND.PONG);
    out.setBigUint64(9, BigInt(Math.trunc(now_ms)));
    const bytes = new Uint8Array(out.buffer);
    bytes.set(mark, 1);
    return bytes;
  },
};

const SERVER = {
  VIEWS(bytes, view, kind) {
    const names = [];
    let at = 2;
    for (let left = view.getUint8(1); left > 0; left--) {
      const number = view.getUint8(at);
      const size = view.getUint8(at + 1);
      if (size === 0 || size > MAX_VIEW_NAME_BYTES) throw new RangeError("a name does not fit");
      names.push([number, text.decode(part(bytes, at + 2, size))]);
      at += 2 + size;
    }
    whole(bytes, at);
    return { kind, names };
  },
  TICK(bytes, view, kind) {
    const count = view.getUint8(3);
    whole(bytes, 4 + count * 8);
    const cursors = [];
    for (let at = 4; at < bytes.length; at += 8) {
      cursors.push([
        view.getUint16(at), view.getUint8(at + 2), view.getUint16(at + 3), view.getUint16(at + 5), view.getUint8(at + 7),
      ]);
    }
    return { kind, tick: view.getUint16(1), cursors };
  },
  HEAT(bytes, view, kind) {
    const [seen, columns, rows] = [view.getUint8(1), view.getUint8(2), view.getUint8(3)];
    if (columns * rows === 0 || columns * rows > 252) throw new RangeError("too many tiles");
    whole(bytes, 4 + columns * rows);
    return { kind, view: seen, columns, rows, data: bytes.subarray(4) };
  },
  YSYNC(bytes, view, kind) {
    const { id, at } = idOf(bytes, view);
    const width = view.getUint16(at + 13);
    return {
      kind, draft: id, epoch: view.getUint32(at), sequence: number(view, at + 4), more: flag(view.getUint8(at + 12)),
      state: part(bytes, at + 15, width), update: bytes.subarray(at + 15 + width),
    };
  },
  YUPD(bytes, view, kind) {
    const { id, at } = idOf(bytes, view);
    return {
      kind, draft: id, epoch: view.getUint32(at), sequence: number(view, at + 4), more: flag(view.getUint8(at + 12)),
      update: bytes.subarray(at + 13),
    };
  },
  YAWARE(bytes, view, kind) {
    const { id, at } = idOf(bytes, view);
    return { kind, draft: id, slot: view.getUint16(at), data: bytes.subarray(at + 2) };
  },
  YACK(bytes, view, kind) {
    const { id, at } = idOf(bytes, view);
    whole(bytes, at + 12);
    return { kind, draft: id, mark: view.getUint32(at), sequence: number(view, at + 4) };
  },
  PACE(bytes, view, kind) {
    whole(bytes, 3);
    return { kind, send_ms: view.getUint16(1) };
  },
  LOG(bytes, view, kind) {
    const done = flag(view.getUint8(1));
    const width = view.getUint8(18);
    if (width === 0 || width > 64) throw new RangeError("not an id");
    return {
      kind, job: text.decode(part(bytes, 19, width)), offset: number(view, 2), size: number(view, 10), done,
      data: bytes.subarray(19 + width),
    };
  },
  RTC(bytes, view, kind) {
    const signal = parse(bytes.subarray(7));
    if (Object.keys(signal).length !== 1) throw new RangeError("a signal is exactly one thing");
    return { kind, peer: view.getUint16(1), generation: view.getUint32(3), signal };
  },
  PING(bytes, view, kind) {
    whole(bytes, 9);
    return { kind, mark: bytes.slice(1) };
  },
  PONG(bytes, view, kind) {
    whole(bytes, 17);
    return { kind, mark: bytes.slice(1, 9), now_ms: number(view, 9) };
  },
};

function json(bytes, _view, kind) {
  return { ...parse(bytes.subarray(1)), kind };
}

function parse(bytes) {
  const value = JSON.parse(text.decode(bytes));
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new RangeError("not an object");
  return value;
}

function jsonFrame(kind, body) {
  return join([Uint8Array.of(kind), utf8.encode(JSON.stringify(body))]);
}

/** The head of a draft's frame: its kind and the draft's id. */
function named(kind, id) {
  const bytes = utf8.encode(id);
  return join([Uint8Array.of(kind, bytes.length), bytes]);
}

function idOf(bytes, view) {
  const width = view.getUint8(1);
  if (width === 0 || width > 64) throw new RangeError("not an id");
  return { id: text.decode(part(bytes, 2, width)), at: 2 + width };
}

function u32(value) {
  const out = new DataView(new ArrayBuffer(4));
  out.setUint32(0, value);
  return new Uint8Array(out.buffer);
}

function join(parts) {
  const out = new Uint8Array(parts.reduce((size, p) => size + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function part(bytes, at, size) {
  if (at + size > bytes.length) throw new RangeError("it ends too early");
  return bytes.subarray(at, at + size);
}

function whole(bytes, size) {
  if (bytes.length !== size) throw new RangeError("its length is wrong");
}

function flag(value) {
  if (value > 1) throw new RangeError("neither yes nor no");
  return value === 1;
}

function number(view, at) {
  const value = view.getBigUint64(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError("a number is too large");
  return Number(value);
}
