/* Bytes of a log as lines to show: the twin of hub/web/pages/log_lines.py, held to the same vectors.
 *
 * A carriage return goes back to the start of its line, so of a progress bar only the newest picture is shown; such a
 * line is `moving` until its newline comes. Colour codes of terminals are dropped, other control characters shown as
 * their Unicode pictures. */
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f]/g;
const WARNED = /^\W{0,3}warn(ing)?\b/i;
const FAILED = /^\W{0,3}(error|fatal|failed|traceback)\b|^\w+(Error|Exception):/i;

export function lineOf(raw) {
  const kept = raw.replace(/\r+$/, "").replace(ESCAPES, "");
  const text = kept.slice(kept.lastIndexOf("\r") + 1);
  const tint = FAILED.test(text) ? "failed" : WARNED.test(text) ? "warned" : "";
  return { text: text.replace(CONTROLS, (c) => String.fromCharCode(c === "\x7f" ? 0x2421 : 0x2400 + c.charCodeAt(0))), tint };
}

export class LogLines {
  #decoder = new TextDecoder("utf-8");
  #rest = "";

  /** Whole lines that `bytes` finish, and the open line after them (null when there is none). */
  push(bytes) {
    const parts = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = parts.pop();
    // Of an open line only what the last carriage return left matters; without this a bar that never ends would grow.
    const at = this.#rest.lastIndexOf("\r", this.#rest.length - 2);
    if (at > 0) this.#rest = this.#rest.slice(at);
    const open = this.#rest ? { ...lineOf(this.#rest), moving: this.#rest.includes("\r") } : null;
    return { lines: parts.map(lineOf), open };
  }
}
