// The result: a picture with clickable boxes or masks, a legend of phrases and a table of objects.
//
// props.view, props.status, props.edit, props.history, props.track, props.paused and props.examples come from the server and are only read here. props.value, the
// user's selection, goes to the server and is only written here, so an answer under way never undoes a click:
//   {picture, query: what the selection belongs to, hidden: phrases, unticked: object ids, marked: object id or null,
//    changes: [{id, box or name}],
//    gestures: [{target: object id, point, box or stroke}], candidates: {object id: 1 or 2}, everything: bool,
//    strokes: [{line, width, adds}], texts: {object id: text}, candidate: index of an edit's result,
//    examples: [{box, like: bool}]}
// All of it belongs to the picture; what is said of found objects and phrases, as long as the prompt has their phrase.
function selection() {
  const { picture, query } = props.view;
  const last = props.value || {};
  const samePicture = last.picture === picture;
  if (!samePicture) {
    const pointing = { changes: [], gestures: [], candidates: {}, everything: false };
    return { picture, query, hidden: [], unticked: [], marked: null, ...pointing, strokes: [], texts: {}, candidate: 0, examples: [] };
  }
  // A page that is opened again may answer the example's prompt before its own: only what is typed takes ticks away.
  if (last.query === query || !props.view.phrases.length || !hasTyped()) return last;
  const asked = new Set(props.view.phrases.map(({ key }) => key));
  const lasts = (id) => asked.has(phraseOf(id)) || isPointed(id) || id.startsWith("everything [");
  const texts = Object.fromEntries(Object.entries(last.texts).filter(([id]) => lasts(id)));
  const marked = last.marked && lasts(last.marked) ? last.marked : null;
  const hidden = last.hidden.filter((key) => asked.has(key) || key.startsWith("."));
  const changes = (last.changes ?? []).filter(({ id }) => lasts(id));
  return { ...last, query, unticked: last.unticked.filter(lasts), hidden, texts, marked, changes };
}

function choose(change) {
  props.value = { ...selection(), ...change };
  if (["gestures", "candidates", "everything", "examples"].some((name) => name in change)) trigger("reconsider");
  if (!("candidates" in change)) turned = null;
  trigger("input");
  drawPointing();
  drawExamples();
  drawBrush();
  drawHandles();
}

const phraseOf = (id) => id.replace(/ \[[-\d, ]+\]$/, "");
const isPointed = (id) => /^pointed \d+$/.test(id);
const toggled = (list, item) => (list.includes(item) ? list.filter((other) => other !== item) : [...list, item]);
const mark = (object) => choose({ marked: selection().marked === object.id ? null : object.id });
const tick = (object) => choose({ unticked: toggled(selection().unticked, object.id) });
const isOpen = (tab) => document.querySelector(`#tab-${tab}-button`)?.getAttribute("aria-selected") === "true";
const isSegmenting = () => isOpen("segment");
const isInpainting = () => isOpen("inpaint");

function drawCanvas(view) {
  const image = find("img");
  find(".canvas").toggleAttribute("data-empty", !view.image);
  if (view.image) image.src = view.image;
  else image.removeAttribute("src");
  image.alt = view.description;
  for (const svg of element.querySelectorAll(".stage svg, .others")) svg.setAttribute("viewBox", `0 0 ${view.width} ${view.height}`);
  find(".shapes").replaceChildren(...shownObjects(view).map(drawShape));
  drawBeside(view);
}

// What a second model found, in a pane of its own; both panes are narrower then, so the pictures are asked for anew.
function drawBeside({ other }) {
  const pane = find(".beside");
  const changes = pane.hidden !== !other;
  pane.hidden = !other;
  find(".panes").toggleAttribute("data-two", Boolean(other));
  find(".canvas .whose").hidden = !other;
  if (other) {
    pane.firstElementChild.src = other.image;
    pane.firstElementChild.alt = other.description;
    const names = element.querySelectorAll(".whose");
    find(".others").replaceChildren(...other.objects.filter(({ ticked }) => ticked).sort(largeFirst).map(drawOther));
    other.titles.forEach((title, index) => (names[index].textContent = title));
  }
  if (changes) trigger("input");
}

// Large ones first, so that small ones lie on top. In the tab Inpaint a click ticks objects, so all are there.
const areaOf = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
const largeFirst = (one, other) => areaOf(other) - areaOf(one);
function shownObjects(view) {
  return view.objects.filter(({ ticked }) => ticked || isEditView(view)).sort(largeFirst);
}

const isEditView = ({ tick: wording }) => wording !== "Show";

function drawShape(object) {
  const press = isEditView(props.view) ? tick : mark;
  const isPressed = isEditView(props.view) ? object.ticked : object.marked;
  return drawButton(object, `box ${object.id}`, isPressed, () => isPointing() || press(object), () => press(object));
}

// An object of the second model is marked by a click whatever the tool, and the first one's that agrees with it, too.
const drawOther = (object) => drawButton(object, `other ${object.id}`, object.marked, () => mark(object), () => mark(object));

function drawButton(object, key, isPressed, onclick, press) {
  const [x0, y0, x1, y1] = object.box;
  const outline = { d: object.path, "fill-rule": "evenodd" };
  const shape = object.path
    ? draw("path", outline)
    : draw("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0 });
  const attributes = { role: "button", tabindex: 0, "data-key": key, "aria-pressed": isPressed, translate: "no" };
  for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
  shape.setAttribute("aria-label", `${object.phrase} ${object.score || object.quality}`);
  shape.onclick = onclick;
  shape.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press();
  };
  return shape;
}

function drawLegend(view) {
  find(".legend").replaceChildren(
    ...view.phrases.map((phrase) => {
      const chip = make("button", { type: "button", className: "chip" }, swatch(phrase.color), named(phrase.name));
      chip.append(make("span", { className: "count", textContent: phrase.count }));
      chip.setAttribute("data-key", `chip ${phrase.key}`);
      chip.setAttribute("aria-pressed", phrase.shown);
      chip.onclick = () => choose({ hidden: toggled(selection().hidden, phrase.key) });
      return chip;
    }),
  );
}

const TICKS = { Show: (name) => `Show ${name}`, Keep: (name) => `Keep ${name}`, Edit: (name) => `Edit ${name}` };

function drawTable(view) {
  find(".objects").toggleAttribute("data-empty", !view.objects.length);
  find("th.quality").hidden = !view.masks;
  find("th.text").hidden = !view.asks;
  find("th").textContent = view.tick;
  isRedrawing = true;
  find("tbody").replaceChildren(
    ...view.objects.map((object) => {
      const box = make("input", { type: "checkbox", checked: object.ticked });
      box.setAttribute("data-key", `tick ${object.id}`);
      box.setAttribute("aria-label", TICKS[view.tick](`${object.phrase} ${object.score || object.quality}`));
      box.onclick = (event) => event.stopPropagation();
      box.onchange = () => tick(object);
      const name = make("button", { type: "button" }, swatch(object.color), named(object.phrase));
      name.setAttribute("data-key", `name ${object.id}`);
      const quality = make("td", { className: "quality", hidden: !view.masks }, object.quality);
      const cells = [box, nameCell(object, name), object.score, object.box.join(", ")].map((cell) => make("td", {}, cell));
      cells.splice(-1, 0, quality);
      if (view.asks) cells.splice(2, 0, make("td", { className: "text" }, textField(object)));
      const row = make("tr", { onclick: () => mark(object) }, ...cells);
      row.setAttribute("aria-selected", object.marked);
      row.toggleAttribute("data-hidden", !object.ticked);
      return row;
    }),
  );
  isRedrawing = false;
  // A region that was just drawn is the last row, and asks for its text.
  const marked = find('tbody tr[aria-selected="true"]');
  if (view.asks && marked) find(".objects").scrollTop = marked.offsetTop - 2 * marked.offsetHeight;
}

// What a region is to show. Fields outlive the table's rows, so that typing is not disturbed by an answer.
const textFields = new Map();
function textField({ id, phrase }) {
  if (!textFields.has(id)) {
    const field = make("input", { type: "text", placeholder: "what to put there", autocomplete: "off" });
    field.setAttribute("data-key", `text ${id}`);
    field.setAttribute("aria-label", `What ${phrase} becomes`);
    field.onclick = (event) => event.stopPropagation();
    field.oninput = () => (props.value = { ...selection(), texts: { ...selection().texts, [id]: field.value } });
    textFields.set(id, field);
  }
  const field = textFields.get(id);
  const text = selection().texts[id] ?? "";
  if (field.value !== text) field.value = text;
  return field;
}

// Another picture begins anew, also if it was here before; see compare.js for those that an edit leads back to.
let seenPicture = "";
function forget() {
  const { picture } = props.view;
  if (picture === seenPicture) {
    props.value = selection();
    return;
  }
  seenPicture = picture;
  if (!isMoving) unsaved = false; // whoever chooses another picture has left it
  const kept = keptSelection(picture);
  props.value = kept ?? { ...selection(), picture };
  if (kept) trigger("input");
}

let views = 0;
function drawView() {
  views += 1;
  forget();
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
  drawCanvas(props.view);
  drawLegend(props.view);
  drawTable(props.view);
  drawPointing();
  drawExamples();
  drawBrush();
  drawHandles();
  drawFollowed();
  drawEdit();
  if (focused) find(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// A draft is all the server makes while somebody types; the rest is asked for when typing pauses.
const PAUSE = 500; // milliseconds, as wiring.py says, too
const typed = () => Number(document.querySelector("#prompt")?.dataset.typed ?? -Infinity);
const hasTyped = () => typed() > -Infinity;
// The prompt may not be there yet, so the document listens for it; first, so that the request knows already.
document.addEventListener("input", (event) => {
  if (isReplacing) return event.stopImmediatePropagation(); // the page says itself what it is replaced by
  const prompt = event.target.closest("#prompt");
  if (prompt) prompt.dataset.typed = performance.now();
}, true);
let settling;
function settle() {
  clearTimeout(settling);
  if (!props.view.draft) return;
  const rest = typed() + PAUSE - performance.now();
  settling = setTimeout(() => (typed() + PAUSE > performance.now() ? settle() : trigger("input")), Math.max(rest, 0) + 20);
}

// What is shown at rest is kept for the next visit.
let keeping;
function keepAtRest() {
  clearTimeout(keeping);
  keeping = setTimeout(() => trigger("keep"), PAUSE);
}

const WORD = 1000; // milliseconds without a key after which a word is taken for finished
let finishing;
function drawStatus() {
  let line = statusOfTrack() ?? statusOfEdit() ?? statusOfMask() ?? props.status;
  const rest = typed() + WORD - performance.now();
  clearTimeout(finishing);
  if (line.tone === "nothing" && rest > 0) {
    line = { tone: "idle", message: "Nothing found yet", detail: "" };
    finishing = setTimeout(drawStatus, rest + 20);
  }
  find(".status").dataset.tone = line.tone;
  find(".message").textContent = line.message;
  find(".detail").textContent = line.detail;
  drawAdvice(line.advice);
}

const TAKE = { detector: "take_detector", segmenter: "take_segmenter", inpainter: "take_inpainter", "few steps": "take_few_steps",
  tracker: "take_tracker" };

// Which model would be better, and the button that takes it.
function drawAdvice(advice) {
  find(".advice").hidden = !advice;
  if (!advice) return;
  find(".advice span").textContent = advice.text;
  const button = find(".advice button");
  button.hidden = !advice.label;
  button.textContent = advice.label;
  button.onclick = () => trigger(TAKE[advice.kind], { model: advice.model });
}

// Where letters are typed, and mean no tool. Sliders, radios and checkboxes keep the focus after a click, but take no
// letters.
const TYPED_INTO = "input:not([type=range], [type=radio], [type=checkbox]), textarea, select, [contenteditable]";

// A picture may be dropped on the canvas or pasted anywhere.
async function take(file) {
  if (!file) return;
  const kind = file.type.startsWith("video/") ? "video" : "picture";
  trigger(kind, { file: { path: (await upload(file)).path, meta: { _type: "gradio.FileData" } } });
}
const canvas = find(".canvas");
canvas.ondragover = (event) => event.preventDefault();
canvas.ondrop = (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]); // whatever it is: what is no picture is refused in a sentence
};
document.addEventListener("paste", (event) => {
  // Office programs put a picture of a text beside the text; who pastes it where one types wants the text.
  const takesText = event.target.closest?.("input, textarea, [contenteditable]");
  if (takesText && event.clipboardData.types.includes("text/plain")) return;
  take([...event.clipboardData.files].find((file) => file.type.startsWith("image/")));
});
