/* The custom elements a page may hold, each fetched when one of them is there. */
import { answer } from "./status.js";

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
export async function enliven(root) {
  const parts = await Promise.allSettled(Object.keys(PARTS).filter((name) => root.querySelector(name)).map((name) => import(PARTS[name])));
  // A browser does not ask again for a module that it could not fetch: the network changed, or the hub was restarting.
  if (parts.some(({ status }) => status === "rejected")) answer("Part of this page could not be loaded. Load it again to have all of it.");
}
