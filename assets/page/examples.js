// Examples in the place of words, in the tab Detect: boxes around what is looked for, and around what is not. The tool bar
// is there where the chosen detector takes them, see page.css. It shares the scope of result.js.
let showsLike = null; // which kind is drawn: true, false, or null for none
let example = null; // the box that is being drawn

const exampleButtons = [...element.querySelectorAll(".likeness button")];
const takesExamples = () => isOpen("detect") && Boolean(document.querySelector('#about-model [data-takes~="examples"]'));
const isShowing = () => showsLike !== null && takesExamples();
const examples = () => selection().examples ?? [];

const exampleActions = {
  undo: () => choose({ examples: examples().slice(0, -1) }),
  clear: () => choose({ examples: [] }),
};
for (const button of exampleButtons) {
  const { action, like } = button.dataset;
  button.setAttribute("aria-label", button.title);
  button.setAttribute("aria-keyshortcuts", button.dataset.letter);
  button.onclick = () => {
    if (action) exampleActions[action]();
    else showsLike = showsLike === (like === "true") ? null : like === "true";
    drawExamples();
  };
}

// Before the boxes that are there can be moved: who draws an example draws it over them.
shapes.addEventListener("pointerdown", (event) => {
  if (!isShowing() || !event.isPrimary || event.button || isSpaceDown) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  document.activeElement?.blur(); // so that letters choose tools again
  shapes.setPointerCapture(event.pointerId);
  const place = insidePicture(placeOf(event));
  example = [...place, ...place];
  drawExamples();
}, true);
shapes.addEventListener("pointermove", (event) => {
  if (!example) return;
  example = [example[0], example[1], ...insidePicture(placeOf(event))];
  drawExamples();
});
// A click takes the box that was found there.
shapes.addEventListener("pointerup", () => {
  if (!example) return;
  const drawn = example;
  example = null;
  const box = isLargeEnough(drawn) ? ordered(drawn) : objectAt(drawn.slice(0, 2))?.box;
  if (box) choose({ examples: [...examples(), { box, like: showsLike }] });
  else drawExamples();
});
shapes.addEventListener("pointercancel", () => {
  example = null;
  drawExamples();
});
shapes.addEventListener("click", (event) => isShowing() && event.stopPropagation(), true);

document.addEventListener("keydown", (event) => {
  if (!takesExamples() || event.target.closest(TYPED_INTO) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && showsLike !== null) {
    showsLike = null;
    drawExamples();
  }
  const button = exampleButtons.find(({ dataset }) => dataset.letter.toLowerCase() === event.key.toLowerCase());
  if (!button || button.disabled) return;
  event.preventDefault();
  button.click();
});

// Everything that does not wait for the server.
function drawExamples() {
  for (const button of exampleButtons) {
    const { action, like } = button.dataset;
    if (action) button.disabled = !examples().length;
    else button.setAttribute("aria-pressed", showsLike === (like === "true"));
  }
  find(".canvas").toggleAttribute("data-showing", isShowing());
  const drawn = takesExamples() ? [...examples(), ...(example ? [{ box: example, like: showsLike }] : [])] : [];
  find(".exemplars").replaceChildren(...drawn.map(drawExample));
}

function drawExample({ box, like }) {
  const [x0, y0, x1, y1] = ordered(box);
  const group = draw("g", { class: like ? "like" : "unlike" });
  // What is not looked for is struck through, too: colours alone do not tell all people.
  const d = `M${x0} ${y0}H${x1}V${y1}H${x0}Z` + (like ? "" : `M${x0} ${y0}L${x1} ${y1}`);
  group.append(draw("path", { d, class: "casing" }), draw("path", { d, class: "line" }));
  return group;
}
