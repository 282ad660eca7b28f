// The review: pictures one after the other with what is marked in them, decided on by keyboard, mouse or finger.
//
// props.view is the server's: {index, total, file, image or null if it was sent before, width, height, version, checked,
//   objects: [{id, name, box, score, state, paths}], names: [{name, color}], counts, undo, note, tone, stamp}
// props.found is what the prompt finds: {index, prompt, objects: [{name, box, score}], note}
// What is decided is drawn at once and sent in order, one request at a time; until all of it is answered the server's
// view, which lacks the rest, is not drawn.
const shapes = find(".shapes");
const handles = find(".handles");
const canvas = find(".canvas");
const prompt = find(".prompt");
const renaming = find(".renaming");
const nameField = find(".renaming input");

let sheet = props.view; // what is shown
let image = ""; // of the picture that is shown
let chosen = null; // id of an object
let waiting = []; // decisions that are not sent
let underWay = 0; // the stamp of the request that is not answered
let hasSent = false; // whether anything was decided yet
let isTurning = false; // another picture is on its way: nothing is decided of what nobody sees
let dragged = null; // {id, sides, from, box, now}
let drawn = null; // corners of a box that is being drawn
let found = []; // what the prompt finds in this picture and is not marked
let lastName = "";
let made = 0;

const unit = () => 1 / (shapes.getScreenCTM()?.a || 1); // pixels of the picture per pixel of the screen
const chosenObject = () => sheet.objects.find(({ id }) => id === chosen);
const colorOf = (name) => sheet.names.find((one) => one.name === name)?.color ?? "#8888ff";

function placeOf(event) {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(shapes.getScreenCTM().inverse());
  return [limit(x, sheet.width), limit(y, sheet.height)];
}

function send() {
  if (underWay || !waiting.length) return;
  // Decisions go together; what leads to another picture goes alone.
  const alone = waiting[0].go !== undefined || waiting[0].do === "undo";
  const end = alone ? 1 : waiting.findIndex((one) => one.go !== undefined || one.do === "undo");
  const actions = waiting.splice(0, end < 0 ? waiting.length : end);
  underWay = performance.now();
  hasSent = true;
  isTurning ||= alone;
  trigger("decide", { index: sheet.index, version: sheet.version, stamp: underWay, actions });
}

// Of a picture that is about to be left nothing more is decided.
const isLeaving = () => isTurning || waiting.some((one) => one.go !== undefined || one.do === "undo");

function decide(...actions) {
  if (isLeaving()) return;
  waiting.push(...actions);
  send();
  drawAll();
}

// Several steps of one box are one decision as long as none of them is sent.
function move(object, box) {
  if (isLeaving()) return;
  object.box = box;
  object.paths = [];
  if (object.state !== "added") object.state = "corrected";
  const last = waiting.at(-1);
  if (last?.do === "move" && last.id === object.id) last.box = box;
  else waiting.push({ do: "move", id: object.id, box });
  drawAll();
  clearTimeout(move.timer);
  move.timer = setTimeout(send, 150);
}

function go(index) {
  if (index >= 0 && index < sheet.total && index !== sheet.index) decide({ go: index });
}

// To the next object that nobody decided on, behind this one first.
function chooseNext() {
  const place = sheet.objects.findIndex(({ id }) => id === chosen);
  const others = [...sheet.objects.slice(place + 1), ...sheet.objects.slice(0, place + 1)];
  chosen = (others.find(({ state }) => !state) ?? sheet.objects[place])?.id ?? null;
}

const actions = {
  next: () => go(sheet.index + 1),
  previous: () => go(sheet.index - 1),
  undo: () => (waiting.length || underWay || sheet.undo) && decide({ do: "undo" }),
  accept() {
    if (isLeaving()) return undefined;
    const object = chosenObject();
    if (!object) return sheet.objects.length ? choose(sheet.objects[0].id) : decide({ do: "check" });
    if (!["accepted", "corrected", "added"].includes(object.state)) object.state = "accepted";
    chooseNext();
    return decide({ do: "accept", id: object.id });
  },
  reject() {
    const object = chosenObject();
    if (!object || isLeaving()) return;
    const { state } = object;
    chooseNext();
    if (state === "added") sheet.objects = sheet.objects.filter(({ id }) => id !== object.id);
    else object.state = state === "rejected" ? "" : "rejected";
    if (!chosenObject()) chosen = sheet.objects[0]?.id ?? null;
    decide({ do: "reject", id: object.id });
  },
  rename: () => chosenObject() && !isLeaving() && rename(chosenObject()),
  check() {
    if (isLeaving()) return;
    for (const object of sheet.objects) object.state ||= "accepted";
    decide({ do: "check" }, ...(sheet.index + 1 < sheet.total ? [{ go: sheet.index + 1 }] : []));
  },
};

function choose(id) {
  chosen = id;
  drawAll();
}

function rename(object) {
  renaming.hidden = false;
  renaming.dataset.id = object.id;
  nameField.value = object.name;
  nameField.focus();
  nameField.select();
}

function endRenaming(isTaken) {
  if (renaming.hidden) return;
  renaming.hidden = true;
  canvas.focus({ preventScroll: true });
  const object = sheet.objects.find(({ id }) => id === renaming.dataset.id);
  const name = nameField.value.trim();
  if (!isTaken || !object || !name || name === object.name || isLeaving()) return;
  object.name = lastName = name;
  if (object.state !== "added") object.state = "corrected";
  decide({ do: "rename", id: object.id, name });
}
renaming.onsubmit = (event) => {
  event.preventDefault();
  endRenaming(true);
};
nameField.onkeydown = (event) => {
  if (event.key === "Escape") endRenaming(false);
  event.stopPropagation();
};
nameField.onblur = (event) => renaming.contains(event.relatedTarget) || endRenaming(true);

function add(name, box, score) {
  made += 1;
  const id = `new ${performance.timeOrigin + performance.now()} ${made}`;
  const object = { id, name, box, paths: [], score: score === undefined ? "" : score.toFixed(2), state: score === undefined ? "added" : "" };
  sheet.objects.push(object);
  waiting.push({ do: "add", id, name, box, ...(score === undefined ? {} : { score }) });
  return object;
}

function addFound(some, isDecided) {
  if (isLeaving() || !some.length) return;
  const added = some.map(({ name, box, score }) => add(name, box, isDecided ? undefined : score));
  found = found.filter((one) => !some.includes(one));
  chosen = added[0].id;
  canvas.focus({ preventScroll: true });
  send();
  drawAll();
}

// --- what is drawn

function shapeOf(object) {
  const [x0, y0, x1, y1] = object.id === dragged?.id ? dragged.now : object.box;
  const group = draw("g", { class: `object ${object.state || "open"}`, "data-id": object.id, role: "button" });
  group.classList.toggle("chosen", object.id === chosen);
  group.setAttribute("aria-label", `${object.name} ${object.score} ${object.state || "not decided"}`);
  group.style.setProperty("--color", colorOf(object.name));
  for (const d of object.paths) group.append(draw("path", { d, class: "outline", "fill-rule": "evenodd" }));
  group.append(draw("rect", { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) }));
  const sign = { accepted: "✓ ", corrected: "✓ ", added: "+ ", rejected: "✕ " }[object.state] ?? "";
  const letters = 13 * unit();
  const label = draw("text", { x: x0 + letters / 4, y: y0 > 1.4 * letters ? y0 - letters / 3 : y0 + 1.1 * letters, "font-size": letters });
  label.textContent = sign + object.name;
  group.append(label);
  return group;
}

function drawCanvas() {
  for (const svg of [shapes, handles]) svg.setAttribute("viewBox", `0 0 ${sheet.width} ${sheet.height}`);
  const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
  const ordered_ = [...sheet.objects].sort((a, b) => (a.id === chosen) - (b.id === chosen) || area(b) - area(a));
  const offered = found.map((one) => {
    const shape = shapeOf({ ...one, id: "", score: one.score.toFixed(2), state: "found", paths: [] });
    shape.onclick = () => addFound([one], true);
    return shape;
  });
  const newBox = drawn ? [draw("rect", { class: "drawing", ...rectOf(ordered([...drawn[0], ...drawn[1]])) })] : [];
  shapes.replaceChildren(...offered, ...ordered_.map(shapeOf), ...newBox);
  const object = chosenObject();
  handles.replaceChildren(...(object && object.state !== "rejected" ? frame(object.id === dragged?.id ? dragged.now : object.box, unit(), (event, sides) => grab(event, object, sides)) : []));
}

const rectOf = ([x0, y0, x1, y1]) => ({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 });

function drawList() {
  find(".list").replaceChildren(
    ...sheet.objects.map((object) => {
      const button = make("button", { type: "button" }, swatch(colorOf(object.name)), named(object.name));
      button.append(make("span", { className: "score", textContent: object.score }), make("span", { className: "state", textContent: object.state }));
      button.setAttribute("aria-pressed", object.id === chosen);
      button.onclick = () => choose(object.id);
      const row = make("li", { className: object.state || "open" }, button);
      return row;
    }),
  );
  find('.list [aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
}

function drawAll() {
  drawCanvas();
  drawList();
  const { counts } = sheet;
  find(".where").textContent = `${sheet.index + 1} of ${sheet.total}`;
  find(".file").textContent = sheet.file;
  find(".counts").textContent = ["accepted", "corrected", "added", "rejected", "left"].map((name) => `${counts[name]} ${name}`).join(" · ");
  find(".done").value = counts.checked / counts.pictures;
  find(".add").disabled = !found.length;
  find(".add").textContent = found.length ? `Add ${found.length} (G)` : "Add";
  const left = sheet.objects.filter(({ state }) => !state).length;
  find(".status").dataset.tone = sheet.tone;
  find(".status").textContent = sheet.note || lookNote || (left ? `${left} left to decide in this picture.` : sheet.checked || sheet.objects.length ? "This picture is done." : "Nothing is marked here: A says that this is right.");
  const states = { previous: sheet.index > 0, next: sheet.index + 1 < sheet.total, undo: sheet.undo || waiting.length || underWay, accept: true, check: true };
  for (const button of element.querySelectorAll(".keys button")) button.disabled = !(states[button.dataset.do] ?? chosenObject());
  canvas.toggleAttribute("data-turning", isTurning);
}

function drawNames() {
  find("datalist").replaceChildren(...sheet.names.map(({ name }) => make("option", { value: name })));
}

// --- what the server says

let shownIndex = -1;
function takeView() {
  const { view } = props;
  // What a page that is opened is sent may come after the first decision, and say what was there before it.
  if (!view.stamp && hasSent) return;
  if (view.stamp && view.stamp === underWay) underWay = 0;
  else if (underWay) return;
  const isOther = view.index !== shownIndex;
  if (view.image) image = view.image;
  if (waiting.length && !isOther && !view.tone) {
    // What was decided meanwhile is drawn already, and belongs to what was answered.
    Object.assign(sheet, { version: view.version, counts: view.counts, undo: view.undo, names: view.names });
  } else {
    if (view.tone || isOther) waiting = waiting.filter(({ go }) => go !== undefined && !view.tone);
    sheet = { ...view, objects: view.objects.map((one) => ({ ...one })) };
  }
  if (isOther || isTurning) {
    isTurning = waiting.some(({ go }) => go !== undefined);
    if (isOther) {
      shownIndex = view.index;
      found = [];
      chosen = sheet.objects.find(({ state }) => !state)?.id ?? sheet.objects[0]?.id ?? null;
      endRenaming(false);
      look();
    }
  }
  if (!chosenObject()) chosen = null;
  const picture = find("img");
  if (picture.getAttribute("src") !== image) picture.src = image;
  picture.alt = sheet.file;
  drawNames();
  drawAll();
  send();
}

// --- the prompt, which stays from picture to picture

let lookNote = "";
let looking;
function look() {
  clearTimeout(looking);
  found = [];
  lookNote = prompt.value.trim() ? "Looking …" : "";
  const asked = { index: sheet.index, prompt: prompt.value };
  looking = setTimeout(() => asked.prompt.trim() && trigger("look", asked), 300);
  drawAll();
}
prompt.oninput = look;
prompt.onkeydown = (event) => {
  if (event.key === "Escape") canvas.focus({ preventScroll: true });
  if (event.key === "Enter") addFound(found, false);
};
function takeFound() {
  const { index, prompt: asked, objects, note } = props.found;
  if (index !== sheet.index || asked !== prompt.value) return;
  found = objects;
  lookNote = note;
  drawAll();
}
find(".add").onclick = () => addFound(found, false);

// --- pointer

function grab(event, object, sides) {
  if (!event.isPrimary || event.button || isLeaving()) return;
  event.preventDefault();
  event.stopPropagation();
  canvas.focus({ preventScroll: true });
  dragged = { id: object.id, sides, from: placeOf(event), box: object.box, now: object.box };
  canvas.setPointerCapture(event.pointerId);
}
canvas.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button || isLeaving() || renaming.contains(event.target)) return;
  const group = event.target.closest?.(".object");
  if (group?.classList.contains("found")) return;
  canvas.focus({ preventScroll: true });
  event.preventDefault();
  const place = placeOf(event);
  if (group) {
    const object = sheet.objects.find(({ id }) => id === group.dataset.id);
    if (object.id === chosen && object.state !== "rejected") grab(event, object, [1, 1, 1, 1]);
    else choose(object.id);
  } else {
    drawn = [place, place];
    canvas.setPointerCapture(event.pointerId);
  }
});
canvas.addEventListener("pointermove", (event) => {
  if (dragged) {
    const [x, y] = placeOf(event);
    dragged.now = moveBox(dragged.box, dragged.sides, x - dragged.from[0], y - dragged.from[1], sheet);
  } else if (drawn) drawn[1] = placeOf(event);
  else return;
  drawCanvas();
});
canvas.addEventListener("pointerup", () => {
  const { id, box, now } = dragged ?? {};
  const corners = drawn;
  dragged = drawn = null;
  const object = sheet.objects.find((one) => one.id === id);
  if (object && String(now) !== String(box)) move(object, now);
  if (corners) {
    const [x0, y0, x1, y1] = ordered([...corners[0], ...corners[1]]);
    const tiny = 5 * unit();
    if (x1 - x0 > tiny && y1 - y0 > tiny) {
      const name = lastName || chosenObject()?.name || sheet.names[0]?.name || "object";
      const rounded = [x0, y0, x1, y1].map((edge) => Math.round(edge * 100) / 100);
      const made = add(name, rounded);
      chosen = made.id;
      send();
      drawAll();
      rename(made);
      return;
    }
    chosen = null;
  }
  drawAll();
});
canvas.addEventListener("pointercancel", () => {
  dragged = drawn = null;
  drawAll();
});

// --- keyboard

const TYPED = "input, textarea, select, [contenteditable]";
const buttons = [...element.querySelectorAll(".keys button")];
for (const button of buttons) {
  button.setAttribute("aria-keyshortcuts", button.dataset.letter);
  button.onclick = () => actions[button.dataset.do]();
}
document.addEventListener("keydown", (event) => {
  if (event.target.closest?.(TYPED)) return;
  const object = chosenObject();
  const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
  if (ARROWS[event.key] && object && object.state !== "rejected" && !event.altKey && !event.metaKey) {
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key].map((step) => step * (event.ctrlKey ? 10 : 1));
    move(object, moveBox(object.box, event.shiftKey ? [0, 0, 1, 1] : [1, 1, 1, 1], dx, dy, sheet));
  } else if (event.key === "Tab" && [canvas, document.body].includes(document.activeElement) && sheet.objects.length) {
    event.preventDefault(); // Escape leaves the canvas, and with it the boxes
    canvas.focus({ preventScroll: true });
    const place = sheet.objects.findIndex(({ id }) => id === chosen);
    const count = sheet.objects.length;
    choose(sheet.objects[(place + (event.shiftKey ? (place < 0 ? 0 : -1) : 1) + count) % count].id);
  } else if (isUndo) {
    event.preventDefault();
    actions.undo();
  } else if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) {
    return;
  } else if (event.key === "Escape") {
    choose(null);
    find(".keys button:not(:disabled)").focus({ preventScroll: true });
  } else if (event.key === "/") {
    event.preventDefault();
    prompt.focus();
    prompt.select();
  } else if (event.key.toLowerCase() === "g") {
    addFound(found, false);
  } else {
    const button = buttons.find(({ dataset }) => dataset.letter.toLowerCase() === event.key.toLowerCase());
    // Enter on a button presses that one.
    if (!button || button.disabled || (event.key === "Enter" && event.target.closest?.("button"))) return;
    event.preventDefault();
    button.click();
  }
});

new ResizeObserver(drawCanvas).observe(canvas);
// What was not sent yet is, before the page is left.
addEventListener("pagehide", send);
watch("view", takeView);
watch("found", takeFound);
takeView();
document.body.dataset.opened = "";
