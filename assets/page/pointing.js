// Pointing at objects in the tabs Segment and Track: the tool bar, and clicks, boxes and lines on the picture. It shares the scope
// of result.js.
const MASKS = 3; // of each object
const tools = { segment: "include", track: "select" }; // that draw or point in each tab
const isPointing = () => isSegmenting() || isTracking();
const tool = () => tools[isTracking() ? "track" : "segment"];
let turned = null; // what the mask was before another one was asked for: {id, index, area, views}
let drawing = null; // places of the box or line that is being drawn

// Pixels of the picture.
function placeOf(event) {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(shapes.getScreenCTM().inverse());
  return [x, y];
}

function isLargeEnough([x0, y0, x1, y1]) {
  const tiny = 4 / shapes.getScreenCTM().a; // a slip of the hand
  return Math.abs(x1 - x0) > tiny && Math.abs(y1 - y0) > tiny;
}

function objectAt([x, y]) {
  const isHit = (object, shape) => shape.isPointInFill(new DOMPoint(x, y));
  const shown = shownObjects(props.view);
  return shown.findLast((object, index) => isHit(object, shapes.children[index]));
}

function newTarget() {
  const numbers = selection().gestures.map(({ target }) => (isPointed(target) ? Number(target.split(" ")[1]) : 0));
  return `pointed ${1 + Math.max(0, ...numbers)}`;
}

// The marked object, if it is there: ticked, or pointed at a moment ago and not answered yet.
function markedTarget() {
  const { marked, gestures } = selection();
  const shown = props.view.objects.find((object) => object.id === marked);
  if (shown) return shown.ticked ? marked : null;
  return gestures.some(({ target }) => target === marked) ? marked : null;
}

function add(target, gesture) {
  const { gestures, candidates } = selection();
  const { [target]: _, ...others } = candidates; // what follows is about the best mask again
  choose({ gestures: [...gestures, { target, ...gesture }], candidates: others, marked: target });
}

function addPoint(place, label) {
  const target = markedTarget() ?? objectAt(place)?.id ?? (label ? newTarget() : null);
  if (target) add(target, { point: [...place, label] });
  else say("An exclude point belongs to an object: click on one, or mark one first.");
}

function say(message) {
  find(".status").dataset.tone = "hint";
  find(".message").textContent = message;
  find(".detail").textContent = "";
}

// Which of an object's masks is shown, and how it differs from the one before.
function statusOfMask() {
  if (!turned || views === turned.views || !isPointing()) return null;
  const object = props.view.objects.find(({ id }) => id === turned.id);
  if (!object) return null;
  const change = Math.round((100 * (object.area - turned.area)) / Math.max(1, turned.area));
  const mask = `Mask ${turned.index + 1} of ${MASKS} of ${object.phrase}`;
  let message = `${mask}: as large as the one before.`;
  if (change > 0) message = `${mask}: ${change}% larger than the one before.`;
  if (change < 0) message = `${mask}: ${-change}% smaller than the one before.`;
  return { ...props.status, tone: "done", message };
}

function clickAt(place) {
  if (tool() === "include" || tool() === "exclude") addPoint(place, Number(tool() === "include"));
  if (tool() === "select") {
    const object = objectAt(place);
    if (object) mark(object);
    else choose({ marked: null });
  }
}

// A box is an object of its own; a line belongs to the marked object, or to the one under its middle.
function finish(places) {
  if (tool() === "box") {
    const box = ordered([...places[0], ...places.at(-1)]);
    if (isLargeEnough(box)) add(newTarget(), { box });
  } else {
    const middle = places[Math.floor(places.length / 2)];
    add(markedTarget() ?? objectAt(middle)?.id ?? newTarget(), { stroke: places });
  }
}

// Without those of objects that are gone.
function keep(gestures) {
  const { candidates, changes, unticked, marked } = selection();
  const exists = (id) => !isPointed(id) || gestures.some(({ target }) => target === id);
  choose({
    gestures,
    changes: (changes ?? []).filter(({ id }) => exists(id)),
    candidates: Object.fromEntries(Object.entries(candidates).filter(([id]) => exists(id))),
    unticked: unticked.filter(exists),
    marked: marked && exists(marked) ? marked : null,
  });
}

const pointingActions = {
  unmark: () => choose({ marked: null }),
  next() {
    const { candidates, marked } = selection();
    const index = ((candidates[marked] ?? 0) + 1) % MASKS;
    const area = props.view.objects.find(({ id }) => id === marked)?.area;
    turned = { id: marked, index, area, views };
    choose({ candidates: { ...candidates, [marked]: index } });
  },
  everything: () => choose({ everything: !selection().everything }),
  undo: () => keep(selection().gestures.slice(0, -1)),
  clear: () => keep([]),
};

const shapes = find(".shapes");
const buttons = [...element.querySelectorAll(".tools button")];
for (const button of buttons) {
  button.setAttribute("aria-label", button.title);
  button.setAttribute("aria-keyshortcuts", button.dataset.letter);
  button.onclick = () => {
    if (button.dataset.action) pointingActions[button.dataset.action]();
    else tools[isTracking() ? "track" : "segment"] = button.dataset.tool;
    drawPointing();
  };
}

shapes.onclick = (event) => {
  const [x, y] = placeOf(event);
  const isInside = x >= 0 && y >= 0 && x < props.view.width && y < props.view.height;
  if (isPointing() && isInside) clickAt([x, y]);
};
shapes.onpointerdown = (event) => {
  if (!isPointing() || !event.isPrimary || event.button || !["box", "scribble"].includes(tool())) return;
  event.preventDefault();
  document.activeElement?.blur(); // so that letters choose tools again
  shapes.setPointerCapture(event.pointerId);
  drawing = [];
  extend(event);
};
shapes.onpointermove = (event) => drawing && extend(event);
shapes.onpointerup = () => {
  const places = drawing;
  drawing = null;
  if (places) finish(places);
  drawPointing();
};
shapes.onpointercancel = () => {
  drawing = null;
  drawPointing();
};

function extend(event) {
  const [x, y] = placeOf(event);
  const { width, height } = props.view;
  drawing.push([limit(x, width - 0.5), limit(y, height - 0.5)]);
  drawPointing();
}

document.addEventListener("keydown", (event) => {
  if (!isPointing() || event.target.closest(TYPED_INTO)) return;
  const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
  if ((event.ctrlKey || event.metaKey || event.altKey) && !isUndo) return;
  const button = buttons.find(({ dataset }) => dataset.letter.toLowerCase() === event.key.toLowerCase());
  if (!button || button.disabled) return;
  event.preventDefault();
  button.click();
});

// Everything that does not wait for the server: tools, points, boxes and lines.
function drawPointing() {
  const { gestures, everything, marked } = selection();
  const isThere = Boolean(props.view.picture);
  const enabled = { unmark: marked, next: marked, everything: isThere, undo: gestures.length, clear: gestures.length };
  for (const button of buttons) {
    const { action } = button.dataset;
    if (action) button.disabled = !enabled[action];
    if (button.dataset.tool) button.setAttribute("aria-pressed", button.dataset.tool === tool());
    if (action === "everything") button.setAttribute("aria-pressed", everything);
  }
  find(".canvas").dataset.tool = tool();

  const unit = 1 / (shapes.getScreenCTM()?.a || 1); // pixels of the picture per pixel of the screen
  // What belongs to an object that the prompt does not find any more waits for it unseen.
  const isShown = ({ target }) => isPointed(target) || props.view.objects.some(({ id }) => id === target);
  const drawn = gestures.filter(isShown).map((gesture) => drawGesture(gesture, unit, gesture.target === marked));
  if (drawing) {
    const unfinished = tool() === "box" ? { box: [...drawing[0], ...drawing.at(-1)] } : { stroke: drawing };
    drawn.push(drawGesture(unfinished, unit, true));
  }
  find(".gestures").replaceChildren(...drawn);
}

function drawGesture({ point, box, stroke }, unit, isMarked) {
  const group = draw("g", { class: isMarked ? "marked" : "" });
  if (point) {
    const [x, y, label] = point;
    const arm = 4 * unit;
    const cross = `M${x - arm} ${y}h${2 * arm}` + (label ? `M${x} ${y - arm}v${2 * arm}` : "");
    group.append(draw("circle", { cx: x, cy: y, r: 8 * unit }), draw("path", { d: cross }));
    group.classList.add(label ? "include" : "exclude");
  } else {
    const [x0, y0, x1, y1] = box ?? [];
    const d = box ? `M${x0} ${y0}H${x1}V${y1}H${x0}Z` : `M${stroke.map((place) => place.join(" ")).join("L")}`;
    group.append(draw("path", { d, class: "casing" }), draw("path", { d, class: "line" }));
  }
  return group;
}
