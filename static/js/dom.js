/* Making elements without ever reading text as markup. */
const SVG = "http://www.w3.org/2000/svg";
const sprite = document.querySelector("svg use")?.getAttribute("href").split("#")[0] ?? "/static/icons/glyphs.svg";

/** `make("p", {class: "soft"}, "text", child)`: strings become text, never markup. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A glyph of the sprite, hidden from screen readers: the word beside it speaks. */
export function icon(name, shape = "i") {
  const svg = document.createElementNS(SVG, "svg");
  if (shape) svg.setAttribute("class", shape);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${sprite}#${name}`);
  svg.append(use);
  return svg;
}

/** The circle with somebody's initials. */
export function face(person, size = "") {
  return make("span", { class: `face ${size} ${person.tone}`, "data-initials": person.initials, "aria-hidden": "true" });
}
