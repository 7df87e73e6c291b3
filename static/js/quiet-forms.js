/* Forms of a page that is alive: sent without leaving it, because to load it anew would hang up the call. */
import { answer } from "./status.js";

/** Send a form as the browser would; the page it leads to as text, or null when that was refused (and why is said). */
export async function send(form, button = null) {
  // `form.action` would be the hidden field of that name.
  const sent = await fetch(form.getAttribute("action"), {
    method: "POST", body: new URLSearchParams(new FormData(form, button)), headers: { accept: "text/html" },
  }).catch(() => null);
  const text = sent ? await sent.text() : "";
  if (sent?.ok) return text;
  const told = new DOMParser().parseFromString(text, "text/html").querySelector("main .lede, main p")?.textContent;
  answer(told?.trim() || "That was not done: the hub cannot be reached.");
  return null;
}

/** Forms marked `data-quiet` within an element are sent that way; `done(form)` is called after each that went through.
 * `data-said` is told then. What was unfolded for the form is folded again, unless it is marked `data-stays`. */
export function quietly(within, done) {
  within.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("quiet" in form.dataset)) return;
    event.preventDefault();
    if ((await send(form, event.submitter)) === null) return;
    form.reset();
    const fold = form.closest("details:not([data-stays])");
    if (fold) {
      const held = fold.contains(document.activeElement);
      fold.open = false;
      if (held) fold.querySelector("summary").focus();
    }
    if (form.dataset.said) answer(form.dataset.said);
    done(form);
  });
}
