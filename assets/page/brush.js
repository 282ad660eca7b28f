// Choosing what is edited in the tab Inpaint: clicks tick objects, the brush adds to them and erases, and boxes make
// regions. It shares the scope of result.js.
let brush = "pick";
let stroke = null; // that is being drawn: {line, width, adds}, or {box}

const isBrush = () => brush === "add" || brush === "erase";
const sizeField = find(".brush-size");
// The brush's size is a share of the picture, so that it feels the same on all of them.
const brushWidth = () => Math.max(1, (sizeField.value / 100) * Math.max(props.view.width, props.view.height));
const brushActions = {
  // In regions there are boxes alone.
  undo: () => (props.view.asks ? pointingActions : strokeActions).undo(),
  clear: () => (props.view.asks ? pointingActions : strokeActions).clear(),
};
const strokeActions = {
  undo: () => choose({ strokes: selection().strokes.slice(0, -1) }),
  clear: () => choose({ strokes: [] }),
};

const brushButtons = [...element.querySelectorAll(".brushes button")];
for (const button of brushButtons) {
  button.setAttribute("aria-label", button.title);
  button.setAttribute("aria-keyshortcuts", button.dataset.letter);
  button.onclick = () => {
    if (button.dataset.action) brushActions[button.dataset.action]();
    else brush = button.dataset.brush;
    showing = "mask";
    drawEdit();
    drawBrush();
  };
}
sizeField.oninput = () => drawBrush();

const isDrawing = () => isInpainting() && brush !== "pick" && isEditView(props.view);
shapes.addEventListener("pointerdown", (event) => {
  if (!isDrawing() || !event.isPrimary || event.button) return;
  event.preventDefault();
  document.activeElement?.blur(); // so that letters choose tools again
  shapes.setPointerCapture(event.pointerId);
  const place = insidePicture(placeOf(event));
  stroke = isBrush() ? { line: [place], width: brushWidth(), adds: brush === "add" } : { box: [...place, ...place] };
  drawBrush();
});
shapes.addEventListener("pointermove", (event) => {
  cursor = placeOf(event);
  if (stroke) extendStroke(insidePicture(cursor));
  drawBrush();
});
shapes.addEventListener("pointerleave", () => {
  cursor = null;
  drawBrush();
});
shapes.addEventListener("pointerup", () => {
  const done = stroke;
  stroke = null;
  if (!done) return;
  if (done.line) choose({ strokes: [...selection().strokes, done] });
  else if (isLargeEnough(done.box)) add(newTarget(), { box: ordered(done.box) });
  drawBrush();
});
shapes.addEventListener("pointercancel", () => {
  stroke = null;
  drawBrush();
});
// A brush stroke is no click on the object below it.
shapes.addEventListener("click", (event) => isDrawing() && event.stopPropagation(), true);

let cursor = null;
const round1 = (value) => Math.round(value * 10) / 10;
const insidePicture = ([x, y]) => [round1(limit(x, props.view.width)), round1(limit(y, props.view.height))];

function extendStroke(place) {
  if (stroke.box) stroke.box = [stroke.box[0], stroke.box[1], ...place];
  else {
    const [x, y] = stroke.line.at(-1);
    if (Math.hypot(place[0] - x, place[1] - y) > stroke.width / 10) stroke.line.push(place);
  }
}

document.addEventListener("keydown", (event) => {
  if (!isInpainting()) return;
  const isCommand = event.ctrlKey || event.metaKey;
  if (isCommand && event.key === "Enter") {
    event.preventDefault();
    document.querySelector("#run")?.click();
  }
  if (event.key === "Escape" && edit().working) document.querySelector("#cancel")?.click();
  if (event.target.closest(TYPED_INTO)) return;
  const letter = event.key.toLowerCase();
  if (event.altKey || (isCommand && letter !== "z")) return;
  if (letter === "[" || letter === "]") {
    sizeField.value = Number(sizeField.value) + (letter === "]" ? 1 : -1);
    drawBrush();
  }
  const button = brushButtons.find(({ dataset }) => dataset.letter.toLowerCase() === letter);
  if (!button || button.disabled || button.hidden) return;
  event.preventDefault();
  button.click();
});

// Everything that does not wait for the server: tools, strokes that are not in the mask yet, and the brush itself.
function drawBrush() {
  const { strokes, gestures } = selection();
  const { asks } = props.view;
  if (asks ? isBrush() : brush === "box") brush = "pick";
  const isAny = asks ? gestures.length : strokes.length;
  for (const button of brushButtons) {
    const { brush: name, action } = button.dataset;
    if (action) button.disabled = !isAny;
    if (!name) continue;
    button.setAttribute("aria-pressed", name === brush);
    button.hidden = asks ? name === "add" || name === "erase" : name === "box";
  }
  find(".brush-width").hidden = asks;
  find(".canvas").dataset.brush = brush;

  const drawn = [];
  if (isEditView(props.view)) {
    if (props.view.outline) drawn.push(...["casing", "edge"].map((name) => draw("path", { d: props.view.outline, class: name })));
    const pending = asks ? [] : strokes.slice(props.view.strokes);
    drawn.push(...[...pending, ...(stroke ? [stroke] : [])].map(drawStroke));
    if (cursor && isInpainting() && isBrush()) drawn.push(...drawCursor(cursor));
  }
  find(".brushwork").replaceChildren(...drawn);
}

function drawStroke({ line, width, adds, box }) {
  if (box) {
    const [x0, y0, x1, y1] = ordered(box);
    return draw("path", { d: `M${x0} ${y0}H${x1}V${y1}H${x0}Z`, class: "edge" });
  }
  const d = `M${[...line, line[0].map((value) => value + 0.01)].slice(0, Math.max(2, line.length)).map((place) => place.join(" ")).join("L")}`;
  return draw("path", { d, "stroke-width": width, class: adds ? "stroke add" : "stroke erase" });
}

function drawCursor([x, y]) {
  const circle = { cx: x, cy: y, r: brushWidth() / 2 };
  return [draw("circle", { ...circle, class: "casing" }), draw("circle", { ...circle, class: "edge" })];
}
