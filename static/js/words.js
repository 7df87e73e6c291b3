/* Numbers and times as a person would say them: the twin of hub/web/pages/words.py. */
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (number) => String(number).padStart(2, "0");

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return whole % 60 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${whole / 60} min`;
  if (whole < 86400) {
    const minutes = Math.floor(whole / 60);
    return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  }
  const hours = Math.floor(whole / 3600);
  const days = Math.floor(hours / 24);
  const text = days === 1 ? "1 day" : `${days} days`;
  return hours % 24 && days < 7 ? `${text} ${hours % 24} h` : text;
}

export const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}`;

export const moment = (at) => `${at.getDate()} ${MONTHS[at.getMonth()]} ${at.getFullYear()}, ${clock(at)}`;

export function day(at, now) {
  const midnight = (date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  const passed = (midnight(now) - midnight(at)) / 86400000;
  if (passed === 0) return "today";
  if (passed === 1) return "yesterday";
  const text = `${at.getDate()} ${MONTHS[at.getMonth()]}`;
  return at.getFullYear() === now.getFullYear() ? text : `${text} ${at.getFullYear()}`;
}

export function ago(at, now) {
  const seconds = (now - at) / 1000;
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${duration(seconds)} ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  const named = day(at, now);
  return named === "today" || named === "yesterday" ? `${named} ${clock(at)}` : named;
}

export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  if (bytes < 1000) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  let power = 0;
  while (bytes >= 999.5 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${bytes >= 100 ? bytes.toFixed(0) : bytes.toFixed(1)} ${units[power]}`;
}

export const lines = (number) => (number === 1 ? "1 new line" : `${number} new lines`);

/** The two letters in a person's circle. */
export function initials(name) {
  const parts = name.replace(/[@._]/g, " ").split(/\s+/).filter((part) => /^[\p{L}\p{N}]/u.test(part));
  if (parts.length === 0) return "?";
  const letters = (part, many) => [...part].slice(0, many).join("");
  return (parts.length > 1 ? letters(parts[0], 1) + letters(parts.at(-1), 1) : letters(parts[0], 2)).toUpperCase();
}

/** The colour class of a person: always the same for one id, here and on the server (FNV-1a). */
export function tone(identity) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(identity)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return `m${((value >>> 16) % 8) + 1}`;
}
