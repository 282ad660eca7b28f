// The result: a picture with clickable boxes, a legend of phrases and a table of objects.
//
// props.view and props.status come from the server and are only read here. props.value, the user's selection, goes to
// the server and is only written here, so an answer under way never undoes a click:
//   {picture, query: what the selection belongs to, hidden: phrases, unticked: object ids, marked: object id or null}
const find = (selector) => element.querySelector(selector);
const SVG = "http://www.w3.org/2000/svg";

function selection() {
  const { picture, query } = props.view;
  const last = props.value || {};
  const samePicture = last.picture === picture;
  const sameQuery = samePicture && last.query === query;
  return {
    picture,
    query,
    hidden: samePicture ? last.hidden : [],
    unticked: sameQuery ? last.unticked : [],
    marked: sameQuery ? last.marked : null,
  };
}

function choose(change) {
  props.value = { ...selection(), ...change };
  trigger("input");
}

const toggled = (list, item) => (list.includes(item) ? list.filter((other) => other !== item) : [...list, item]);
const mark = (object) => choose({ marked: selection().marked === object.id ? null : object.id });

// Phrases come from the user, so everything is set as text, never as HTML.
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function swatch(color) {
  const node = make("span", { className: "swatch" });
  node.style.background = color;
  return node;
}

function drawCanvas(view) {
  const image = find("img");
  find(".canvas").toggleAttribute("data-empty", !view.image);
  if (view.image) image.src = view.image;
  else image.removeAttribute("src");
  image.alt = view.description;
  const svg = find("svg");
  svg.setAttribute("viewBox", `0 0 ${view.width} ${view.height}`);
  const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
  const shown = view.objects.filter((object) => object.ticked).sort((a, b) => area(b) - area(a));
  svg.replaceChildren(
    ...shown.map((object) => {
      const [x0, y0, x1, y1] = object.box;
      const box = document.createElementNS(SVG, "rect");
      const attributes = { x: x0, y: y0, width: x1 - x0, height: y1 - y0, role: "button", tabindex: 0 };
      for (const [name, value] of Object.entries(attributes)) box.setAttribute(name, value);
      box.setAttribute("data-key", `box ${object.id}`);
      box.setAttribute("aria-label", `${object.phrase} ${object.score}`);
      box.setAttribute("aria-pressed", object.marked);
      box.onclick = () => mark(object);
      box.onkeydown = (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        mark(object);
      };
      return box;
    }),
  );
}

function drawLegend(view) {
  find(".legend").replaceChildren(
    ...view.phrases.map((phrase) => {
      const chip = make("button", { type: "button", className: "chip" }, swatch(phrase.color), phrase.name);
      chip.append(make("span", { className: "count", textContent: phrase.count }));
      chip.setAttribute("data-key", `chip ${phrase.name}`);
      chip.setAttribute("aria-pressed", phrase.shown);
      chip.onclick = () => choose({ hidden: toggled(selection().hidden, phrase.name) });
      return chip;
    }),
  );
}

function drawTable(view) {
  find(".objects").toggleAttribute("data-empty", !view.objects.length);
  find("tbody").replaceChildren(
    ...view.objects.map((object) => {
      const tick = make("input", { type: "checkbox", checked: object.ticked });
      tick.setAttribute("data-key", `tick ${object.id}`);
      tick.setAttribute("aria-label", `Show ${object.phrase} ${object.score}`);
      tick.onclick = (event) => event.stopPropagation();
      tick.onchange = () => choose({ unticked: toggled(selection().unticked, object.id) });
      const name = make("button", { type: "button" }, swatch(object.color), object.phrase);
      name.setAttribute("data-key", `name ${object.id}`);
      const cells = [tick, name, object.score, object.box.join(", ")];
      const row = make("tr", { onclick: () => mark(object) }, ...cells.map((cell) => make("td", {}, cell)));
      row.setAttribute("aria-selected", object.marked);
      row.toggleAttribute("data-hidden", !object.ticked);
      return row;
    }),
  );
}

function drawView() {
  const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
  drawCanvas(props.view);
  drawLegend(props.view);
  drawTable(props.view);
  if (focused) find(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function drawStatus() {
  find(".status").dataset.tone = props.status.tone;
  find(".message").textContent = props.status.message;
  find(".detail").textContent = props.status.detail;
}

watch("view", drawView);
watch("status", drawStatus);
drawView();
drawStatus();

// A picture may be dropped on the canvas or pasted anywhere.
async function take(files) {
  const file = [...(files || [])].find((candidate) => candidate.type.startsWith("image/"));
  if (file) trigger("picture", { file: { path: (await upload(file)).path, meta: { _type: "gradio.FileData" } } });
}
const canvas = find(".canvas");
canvas.ondragover = (event) => event.preventDefault();
canvas.ondrop = (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
};
document.addEventListener("paste", (event) => take(event.clipboardData.files));
