/* The one line that screen readers hear: the newest sentence, at most one in ten seconds. */
const GAP_MS = 10_000;
let waiting = null;
let timer = 0;
let last = -GAP_MS;

/** Say a sentence politely. One that comes too soon waits; a newer one takes its place. */
export function announce(sentence) {
  waiting = sentence;
  if (!timer) timer = setTimeout(speak, Math.max(0, last + GAP_MS - performance.now()));
}

/** Say now what somebody just asked to hear. */
export function answer(sentence) {
  clearTimeout(timer);
  waiting = sentence;
  speak();
}

function speak() {
  timer = 0;
  last = performance.now();
  const line = document.getElementById("status");
  if (line && waiting !== null) line.textContent = waiting;
  waiting = null;
}
