/* Parts of a page brought up to date from the page itself, so that each part has one template: the server's. */
import { retell } from "./times.js";

const seen = new Map();

/** Fetch this page again and put fresh parts in place of those that changed. True when something did. */
export async function refresh(ids) {
  const asked = here();
  const answer = await fetch(asked, { headers: { accept: "text/html" }, credentials: "same-origin" });
  if (!answer.ok) return false;
  const text = await answer.text();
  // Another thing is looked at meanwhile: these parts are of the page that was, and would bring it back.
  if (here() !== asked) return refresh(ids);
  const page = new DOMParser().parseFromString(text, "text/html");
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

const here = () => location.href.split("#")[0];

function put(fresh, old) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const held = focused && signature(focused);
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  fresh.querySelectorAll("details").forEach((details, at) => { if (at in open) details.open = open[at]; });
  const writing = carry(old, fresh).get(focused);
  old.replaceWith(fresh);
  retell(fresh);
  if (writing) {
    writing.focus();
    if (focused.selectionStart != null) writing.setSelectionRange(focused.selectionStart, focused.selectionEnd);
  } else if (held) [...fresh.querySelectorAll("a, button, summary, [tabindex]")].find((e) => signature(e) === held)?.focus();
}

/** What somebody is filling in is not taken from under their hands: the fresh field for each old one, filled in as it was. */
function carry(old, fresh) {
  const pairs = new Map();
  for (const field of old.querySelectorAll("input[id], textarea[id], select[id]")) {
    const to = fresh.querySelector(`#${CSS.escape(field.id)}`);
    if (!to || to.type !== field.type) continue;
    pairs.set(field, to);
    if (field.type === "checkbox" || field.type === "radio") {
      if (field.checked !== field.defaultChecked) to.checked = field.checked;
    } else if (field.matches("select") ? !field.selectedOptions[0]?.defaultSelected : field.value !== field.defaultValue) {
      to.value = field.value;
    }
  }
  return pairs;
}

const signature = (element) => `${element.tagName} ${element.getAttribute("href") ?? ""} ${element.textContent.trim()}`;
