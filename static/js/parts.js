/* The custom elements a page may hold, each fetched when one of them is there. */
const PARTS = {
  "theme-toggle": "./theme-toggle.js",
  "copy-text": "./copy-text.js",
  "elapsed-time": "./elapsed-time.js",
  "job-log": "./job-log.js",
  "job-live": "./job-live.js",
  "file-upload": "./file-upload.js",
  "live-room": "./live-room.js",
  "shared-draft": "./shared-draft.js",
  "setup-steps": "./setup-steps.js",
  "passkey-button": "./passkeys.js",
};

/** Bring to life what stands in an element. */
export function enliven(root) {
  return Promise.allSettled(Object.keys(PARTS).filter((name) => root.querySelector(name)).map((name) => import(PARTS[name])));
}
