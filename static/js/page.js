/* What makes a page alive. Every page works without it. */
import { enliven } from "./parts.js";
import { keepTimes } from "./times.js";

keepTimes();
// Not by scrollIntoView: Chromium would begin the first Tab key there, and pass over “Skip to the content”.
const tab = document.querySelector(".tabs [aria-current]");
if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - tab.offsetWidth;
await enliven(document);
document.documentElement.dataset.alive = "";
