/* What happens in a session, in the order of the ledger, while the page is looked at. */
const WAIT_SECONDS = 25;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Call `hear(events)` for every batch after a sequence, until `signal` aborts. Hidden pages do not ask. */
export async function follow({ session, after, hear, signal }) {
  let patience = 500;
  while (!signal.aborted) {
    await shown();
    const query = new URLSearchParams({ session, wait: WAIT_SECONDS, after });
    try {
      const answer = await fetch(`/api/events?${query}`, { signal });
      if ([400, 401, 403, 404].includes(answer.status)) return;
      if (!answer.ok) throw new Error(`events: ${answer.status}`);
      const { events, next } = await answer.json();
      after = next;
      patience = 500;
      if (events.length) hear(events);
    } catch (error) {
      if (error.name === "AbortError") return;
      await pause(Math.random() * patience);
      patience = Math.min(patience * 2, 15_000);
    }
  }
}

/** Resolves when the page can be seen. */
export function shown() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    document.addEventListener("visibilitychange", function look() {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      done();
    });
  });
}
