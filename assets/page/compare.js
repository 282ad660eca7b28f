// An edit on the canvas of the tab Inpaint: the mask before it, previews while it runs, and then before and after.
// It shares the scope of result.js.
let showing = "mask"; // or "result"
let seenRun = 0; // of the edit whose result was brought up last
let shownRun = 0; // of the edit whose beginning was brought up last
let unsaved = false; // whether an edit came out that was not downloaded
let held = false; // the button that shows the original
let newest = "status"; // which of the two changed last

const edit = () => (props.edit.picture === props.view.picture ? props.edit : { candidates: [], status: { message: "" } });
const isDone = () => !edit().working && edit().candidates.length > 0;

function takeEdit() {
  newest = "edit";
  const { candidates, working, run, status } = edit();
  if (!props.edit.working && props.edit.run === asked.run) asked.isOver = true;
  if (working && run !== shownRun) {
    shownRun = run; // on a phone the button that started it is below
    bringUp("center");
  }
  if (!working && candidates.length && run !== seenRun && status.tone === "done") {
    seenRun = run;
    unsaved = true;
    showing = "result";
    compareAt(0); // the whole result: whoever looks for what changed must not have to find the slider first
    if (selection().candidate) props.value = { ...selection(), candidate: 0 };
  }
  drawEdit();
  drawStatus();
}

// While an edit is under way Gradio holds Run back, and heeds it once that is over: who cancelled it before, or chose
// another picture, means the next one; who did not pressed twice.
let asked = { run: 0, picture: "", isOver: true, isCancelled: false };
let meanwhile = null; // the edit that was under way when Run was pressed last
function notePress({ type, key, target }) {
  if (type === "click" && target.closest("#cancel")) asked.isCancelled = true;
  if (type === "click" ? !target.closest("#run") : key !== "Enter" || !target.closest("#put")) return;
  const isMeant = asked.isOver || asked.isCancelled || asked.picture !== props.view.picture;
  meanwhile = isMeant ? null : asked;
}
for (const type of ["click", "keydown"]) document.addEventListener(type, notePress, true);

// Whether to leave an edit that is about to be asked for; see wiring.py.
function isTwice(run) {
  if (meanwhile?.isOver) return true;
  asked = { run, picture: props.view.picture, isOver: false, isCancelled: false };
  return false;
}

// What an edit lacked may have been given since.
document.addEventListener("input", ({ target }) => {
  if (edit().working || edit().status.tone === "done" || !target.closest("#edit-form, #paint")) return;
  newest = "status";
  drawStatus();
});

// What is asked after an edit is seen at once: the result steps back, a button away.
let lastAsked = {};
function stepBack() {
  if (showing === "mask") return;
  showing = "mask";
  drawEdit();
}
function noticeQuestion() {
  if (props.status.tone === "error") stepBack();
  if (!isEditView(props.view)) return;
  const { picture, query, mask } = props.view;
  const { clientWidth, clientHeight } = find(".canvas"); // on a canvas of another size the same mask is another image
  const asked = { picture, query, mask, canvas: `${clientWidth} ${clientHeight}` };
  const isSamePlace = asked.picture === lastAsked.picture && asked.canvas === lastAsked.canvas;
  if (isSamePlace && (query !== lastAsked.query || mask !== lastAsked.mask)) stepBack();
  lastAsked = asked;
}

function statusOfEdit() {
  const { working, status } = edit();
  if (!isInpainting() || !status.message) return null;
  if (working || (showing === "result" && isDone())) return status;
  return newest === "edit" && status.tone !== "done" ? status : null;
}

const sheet = find(".sheet");
const split = find(".split");
split.oninput = () => compareAt(Number(split.value));

// How much of the picture before is left of the line, in percent.
function compareAt(percent) {
  split.value = percent;
  sheet.style.setProperty("--split", percent);
  find(".before-label").hidden = percent < 10;
  find(".after-label").hidden = percent > 90;
}

function drawEdit() {
  const { working, share, preview, candidates, ratio, before } = edit();
  const index = Math.min(selection().candidate, candidates.length - 1);
  const isResult = isInpainting() && isDone() && showing === "result";
  // A picture that grows is shown in its new frame.
  const isGrown = Boolean(ratio) && (isResult || Boolean(working && preview));
  sheet.style.setProperty("--ratio", isGrown ? ratio : props.view.width / props.view.height);
  find(".canvas").toggleAttribute("data-grown", isGrown);
  const grown = find(".grown");
  grown.hidden = !(isGrown && before);
  if (!grown.hidden && grown.getAttribute("src") !== before) grown.src = before;
  sheet.style.setProperty("--mask", props.view.mask ? `url(${props.view.mask})` : "none");
  find(".mask").hidden = !props.view.mask;
  const shown = isResult ? candidates[index].image : working ? preview : "";
  const after = find(".after");
  after.hidden = !shown;
  if (shown && after.firstElementChild.getAttribute("src") !== shown) after.firstElementChild.src = shown;
  find(".canvas").dataset.edit = isResult ? (held ? "held" : "result") : working ? (preview ? "preview" : "working") : "mask";
  find(".progress").hidden = !working;
  find(".progress").value = share ?? 0;

  const { picture, undo, redo } = props.history;
  const isOurs = picture === props.view.picture;
  const enabled = { mask: true, result: isDone(), hold: isDone(), accept: isDone(), back: isOurs && undo, forth: isOurs && redo };
  for (const button of outcomeButtons) {
    const { outcome } = button.dataset;
    button.disabled = !enabled[outcome] || working;
    if (outcome === "mask" || outcome === "result") button.setAttribute("aria-pressed", outcome === (isDone() ? showing : "mask"));
  }
  // One of the two buttons takes the other's place, and the keyboard's focus with it.
  const focused = document.activeElement?.id;
  document.querySelector("#page")?.toggleAttribute("data-working", Boolean(working));
  if (focused === (working ? "run" : "cancel")) document.querySelector(working ? "#cancel" : "#run").focus({ preventScroll: true });
  drawThumbnails(working ? [] : candidates, index);
}

function drawThumbnails(candidates, index) {
  const list = find(".thumbnails");
  const focused = [...list.children].indexOf(document.activeElement);
  list.replaceChildren(
    ...(candidates.length > 1 ? candidates : []).map(({ image, seed }, position) => {
      const thumbnail = make("button", { type: "button", title: seed === null ? "" : `Seed ${seed}` }, make("img", { src: image, alt: "" }));
      thumbnail.setAttribute("aria-label", `Candidate ${position + 1}`);
      thumbnail.setAttribute("aria-pressed", position === index);
      thumbnail.onclick = () => {
        showing = "result";
        props.value = { ...selection(), candidate: position };
        drawEdit();
        drawStatus();
      };
      return thumbnail;
    }),
  );
  list.children[focused]?.focus({ preventScroll: true });
}

function hold(isHeld) {
  held = isHeld;
  if (isHeld) showing = "result";
  drawEdit();
}

// What was ticked and drawn in pictures of the history comes back with them.
const keptSelections = new Map();
let isMoving = false;
function move(step) {
  keptSelections.set(props.view.picture, selection());
  isMoving = true;
  step();
}

function keptSelection(picture) {
  const kept = isMoving ? keptSelections.get(picture) : undefined;
  isMoving = false;
  return kept;
}

// A result lives as long as the page.
document.addEventListener("click", ({ target }) => target.closest("#download-result") && (unsaved = false));
window.addEventListener("beforeunload", (event) => (unsaved || edit().working) && event.preventDefault());

const outcomeActions = {
  mask: () => (showing = "mask"),
  result: () => (showing = "result"),
  accept: () => move(() => trigger("accept")),
  back: () => move(() => trigger("back")),
  forth: () => move(() => trigger("forth")),
};
const outcomeButtons = [...element.querySelectorAll("[data-outcome]")];
for (const button of outcomeButtons) {
  const { outcome } = button.dataset;
  if (outcome !== "hold") {
    button.onclick = () => {
      outcomeActions[outcome]();
      drawEdit();
      drawStatus();
    };
    continue;
  }
  button.onpointerdown = () => hold(true);
  button.onpointerup = button.onpointerleave = button.onpointercancel = button.onblur = () => held && hold(false);
  button.onkeydown = ({ key }) => (key === " " || key === "Enter") && hold(true);
  button.onkeyup = () => hold(false);
}
