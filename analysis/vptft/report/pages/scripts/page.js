/* What every control of the page is made of. Text from results is only ever set as text, never as markup. */

/* Controls by name: each file beside this one adds its own. */
const WIDGETS = {};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/* A name from anywhere, which may run from right to left, kept from turning what stands beside it. */
const named = (text) => make("bdi", {}, text);

/* A labelled list of choices: [value, text] each. */
function choice(label, options, changed) {
  const select = make("select", { onchange: () => changed(select.value) });
  select.append(...options.map(([value, text]) => make("option", { value }, text)));
  return { element: make("label", {}, make("span", {}, label), select), select };
}

/* A labelled slider with its value in words. */
function slider(label, { min, max, step = 1, value, text = String }, changed) {
  const output = make("output", {}, text(value));
  const input = make("input", { type: "range", min, max, step, value, "aria-label": label });
  const told = () => { output.textContent = text(Number(input.value)); };
  input.addEventListener("input", () => { told(); changed(Number(input.value)); });
  const element = make("label", {}, make("span", {}, label, " ", output), input);
  return { element, input, set: (next) => { input.value = next; told(); } };
}

/* A check box; with a mark where it stands for a line of a figure. */
function toggle(label, checked, changed, mark = null) {
  const input = make("input", { type: "checkbox", onchange: () => changed(input.checked) });
  input.checked = checked;
  return { element: make("label", { class: "toggle" }, input, ...(mark ? [mark] : []), " ", named(label)), input };
}

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

/* Colours as bytes, three each: of a value from 0 to 1. */
const colour = (table, value) => {
  const last = table.length / 3 - 1;
  const at = 3 * Math.round(Math.min(1, Math.max(0, value)) * last);
  return [table[at], table[at + 1], table[at + 2]];
};

/* The colours from the least to the most. */
function colourScale(table) {
  const canvas = make("canvas", { width: 128, height: 1, class: "scale", role: "img", "aria-label": "least to most" });
  const context = canvas.getContext("2d");
  for (let x = 0; x < 128; x++) {
    context.fillStyle = `rgb(${colour(table, x / 127).join(" ")})`;
    context.fillRect(x, 0, 1, 1);
  }
  return canvas;
}

const distinct = (values) => [...new Set(values)];

/* A number as a reader wants it, minus as minus. */
const figures = (value, digits = 3) => {
  if (!Number.isFinite(value)) return "–";
  return Number(value.toPrecision(digits)).toString().replace("-", "\u2212");
};
