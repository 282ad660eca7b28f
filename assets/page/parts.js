// What the scripts of the result and of the review share: elements, and boxes that are moved and given another size.
const find = (selector) => element.querySelector(selector);
const SVG = "http://www.w3.org/2000/svg";

// Phrases come from the user, so everything is set as text, never as HTML.
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function draw(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function swatch(color) {
  const node = make("span", { className: "swatch" });
  node.style.background = color;
  return node;
}

// As wide as there is room for; the whole phrase is the tooltip.
const named = (phrase) => make("span", { className: "name", textContent: phrase, title: phrase, translate: false });

const limit = (value, max) => Math.min(Math.max(value, 0), max);

const ordered = ([x0, y0, x1, y1]) => [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];

const EDGES = { n: [0, 1, 0, 0], s: [0, 0, 0, 1], w: [1, 0, 0, 0], e: [0, 0, 1, 0] };
const CORNERS = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const sidesOf = (name) => [...name].reduce((sides, letter) => sides.map((side, index) => side || EDGES[letter][index]), [0, 0, 0, 0]);

// Not over its own opposite side, and not out of the picture.
function moveBox([x0, y0, x1, y1], sides, dx, dy, { width, height }) {
  if (sides.every(Boolean)) {
    dx = limit(x0 + dx, width - (x1 - x0)) - x0;
    dy = limit(y0 + dy, height - (y1 - y0)) - y0;
  }
  const [left, top, right, bottom] = sides;
  const box = [
    left ? limit(x0 + dx, right ? width : x1 - 1) : x0,
    top ? limit(y0 + dy, bottom ? height : y1 - 1) : y0,
    right ? Math.min(width, Math.max(x1 + dx, left ? 0 : x0 + 1)) : x1,
    bottom ? Math.min(height, Math.max(y1 + dy, top ? 0 : y0 + 1)) : y1,
  ];
  return box.map(Math.round);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The marked box, by its corners and sides; `grab` is called when one of them is, with the sides that follow the pointer.
function frame([x0, y0, x1, y1], unit, grab) {
  const size = 10 * unit;
  const handles = CORNERS.map((corner) => {
    const x = corner.includes("w") ? x0 : corner.includes("e") ? x1 : (x0 + x1) / 2;
    const y = corner.includes("n") ? y0 : corner.includes("s") ? y1 : (y0 + y1) / 2;
    const handle = draw("rect", { x: x - size / 2, y: y - size / 2, width: size, height: size, class: `handle ${corner}` });
    handle.onpointerdown = (event) => grab(event, sidesOf(corner));
    return handle;
  });
  return [draw("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: "frame" }), ...handles];
}
