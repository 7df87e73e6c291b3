/* Parts of a page brought up to date from the page itself, so that each part has one template: the server's. */
import { retell } from "./times.js";

const seen = new Map();

/** Fetch this page again and put fresh parts in place of those that changed. True when something did. */
export async function refresh(ids) {
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  let changed = false;
  for (const id of ids) {
    const fresh = page.getElementById(id);
    const old = document.getElementById(id);
    if (!fresh || !old || seen.get(id) === fresh.outerHTML) continue;
    seen.set(id, fresh.outerHTML);
    put(document.adoptNode(fresh), old);
    changed = true;
  }
  return changed;
}

function put(fresh, old) {
  const held = old.contains(document.activeElement) ? signature(document.activeElement) : null;
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  fresh.querySelectorAll("details").forEach((details, at) => { if (at in open) details.open = open[at]; });
  old.replaceWith(fresh);
  retell(fresh);
  if (held) [...fresh.querySelectorAll("a, button, summary, [tabindex]")].find((e) => signature(e) === held)?.focus();
}

const signature = (element) => `${element.tagName} ${element.getAttribute("href") ?? ""} ${element.textContent.trim()}`;
