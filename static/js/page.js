/* What makes a page alive. Every page works without it. */
import { keepTimes } from "./times.js";

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

keepTimes();
// Not by scrollIntoView: Chromium would begin the first Tab key there, and pass over “Skip to the content”.
const tab = document.querySelector(".tabs [aria-current]");
if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - tab.offsetWidth;
const wanted = Object.keys(PARTS).filter((name) => document.querySelector(name));
await Promise.allSettled(wanted.map((name) => import(PARTS[name])));
document.documentElement.dataset.alive = "";
