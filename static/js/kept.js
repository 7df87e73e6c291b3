/* Small choices of this browser, kept where it allows that. */

/** What was chosen, or null. */
export function kept(name) {
  try {
    return localStorage.getItem(`collegium-${name}`);
  } catch {
    return null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`collegium-${name}`, value);
  } catch {
    /* Storage is forbidden; the choice lasts as long as the page. */
  }
}
