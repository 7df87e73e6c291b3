/* Before the first paint: the theme this reader chose, if they chose one. Not a module, because modules wait. */
"use strict";
(() => {
  try {
    const chosen = localStorage.getItem("collegium-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    /* Storage may be forbidden; the system's theme is used then. */
  }
})();
