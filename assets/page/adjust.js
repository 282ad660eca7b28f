// Boxes that were found can be moved, given another size and another name. It shares the scope of result.js.
const handles = find(".handles");
let dragged = null; // {id, sides, from, box, now}: which sides of a box follow the pointer
const isAdjusting = () => isOpen("detect") || (isTracking() && tool() === "select");
// In the tabs Detect and Track the marked object; masks are corrected by points, and regions drawn anew.
function adjustable() {
  const object = isAdjusting() ? props.view.objects.find(({ marked, ticked }) => marked && ticked) : undefined;
  if (object && isPointed(object.id)) return undefined;
  // Its last change may not be answered yet.
  const last = object && (selection().changes ?? []).findLast(({ id, box }) => id === object.id && box);
  return last ? { ...object, box: last.box } : object;
}

function change(id, what) {
  choose({ changes: [...(selection().changes ?? []), { id, ...what }] });
}

function drawHandles() {
  const object = adjustable();
  const unit = 1 / (shapes.getScreenCTM()?.a || 1);
  handles.replaceChildren();
  for (const shape of shapes.children) shape.classList.toggle("adjustable", Boolean(object) && shape.dataset.key === `box ${object.id}`);
  if (!object) return;
  handles.append(...frame(dragged ? dragged.now : object.box, unit, (event, sides) => grab(event, object, sides)));
}

function grab(event, object, sides) {
  if (!event.isPrimary || event.button) return;
  event.preventDefault();
  event.stopPropagation();
  document.activeElement?.blur(); // so that Ctrl+Z takes back the change, and no letter of the prompt
  dragged = { id: object.id, sides, from: placeOf(event), box: object.box, now: object.box };
  handles.setPointerCapture(event.pointerId);
}

shapes.addEventListener("pointerdown", (event) => {
  const object = adjustable();
  if (object && event.target.classList.contains("adjustable") && !isSpaceDown) grab(event, object, [1, 1, 1, 1]);
});
handles.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const [x, y] = placeOf(event);
  dragged.now = moveBox(dragged.box, dragged.sides, x - dragged.from[0], y - dragged.from[1], props.view);
  drawHandles();
});
handles.addEventListener("pointerup", () => {
  const { id, box, now, sides } = dragged ?? {};
  dragged = null;
  if (now && String(now) !== String(box)) change(id, { box: now });
  else if (sides?.every(Boolean)) choose({ marked: null }); // a click
  drawHandles();
});
handles.addEventListener("pointercancel", () => {
  dragged = null;
  drawHandles();
});

// Arrows move the marked box by a pixel, with Shift by ten; with Alt they move its right and bottom sides alone.
document.addEventListener("keydown", (event) => {
  if (!isAdjusting() || event.target.closest(`${TYPED_INTO}, [type=range]`)) return;
  const object = adjustable();
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey) {
    if (!selection().changes?.length) return;
    event.preventDefault();
    choose({ changes: selection().changes.slice(0, -1) });
  } else if (object && ARROWS[event.key] && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key].map((step) => step * (event.shiftKey ? 10 : 1));
    change(object.id, { box: moveBox(object.box, event.altKey ? [0, 0, 1, 1] : [1, 1, 1, 1], dx, dy, props.view) });
  } else if (object && event.key === "F2") {
    event.preventDefault();
    rename(object);
  } else if (object && event.key === "Escape") choose({ marked: null });
});

// The name's cell becomes a field; Enter takes what is typed there, Escape does not.
let renaming = null; // {id, field}
let isRedrawing = false; // the table, whose fields lose the focus meanwhile
function rename(object) {
  const field = make("input", { type: "text", className: "rename", value: object.phrase, autocomplete: "off", maxLength: 200 });
  field.setAttribute("aria-label", `New name of ${object.phrase}`);
  field.setAttribute("data-key", `rename ${object.id}`);
  const end = (isTaken) => {
    if (renaming?.field !== field) return;
    renaming = null;
    const name = field.value.trim();
    if (isTaken && name && name !== object.phrase) change(object.id, { name });
    drawTable(props.view);
  };
  field.onclick = (event) => event.stopPropagation();
  field.onblur = () => isRedrawing || end(true);
  field.onkeydown = (event) => {
    if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter");
    event.stopPropagation();
  };
  renaming = { id: object.id, field };
  drawTable(props.view);
  field.focus();
  field.select();
}

const PENCIL = "M4 13.5V16h2.5L15 7.5 12.5 5z";
const ARROW_BACK = "M7 4L3.5 7.5 7 11M4 7.5h7.5a4.2 4.2 0 0 1 0 8.5H8";
function iconButton(path, title, key, onclick) {
  const button = make("button", { type: "button", className: "icon", title }, draw("svg", { viewBox: "0 0 20 20" }, draw("path", { d: path })));
  button.setAttribute("aria-label", title);
  button.setAttribute("data-key", key);
  button.onclick = (event) => {
    event.stopPropagation();
    onclick();
  };
  return button;
}

// What stands in the table for an object's name.
function nameCell(object, name) {
  if (renaming?.id === object.id) return make("div", { className: "called" }, renaming.field);
  const cell = make("div", { className: "called" }, name);
  if (object.id.startsWith("everything [")) return cell;
  cell.append(iconButton(PENCIL, `Rename ${object.phrase}`, `pencil ${object.id}`, () => rename(object)));
  if (object.changed && !isPointed(object.id)) {
    const forget = () => choose({ changes: selection().changes.filter(({ id }) => id !== object.id) });
    cell.append(iconButton(ARROW_BACK, `As it was found: ${phraseOf(object.id)}`, `found ${object.id}`, forget));
  }
  return cell;
}
