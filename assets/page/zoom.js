// A closer look at the result: by the wheel with Ctrl, two fingers, keys or buttons; the picture follows the hand. It
// shares the scope of result.js.
const MOST_ZOOM = 16;
const SHARPEN = 400; // milliseconds at rest until the picture is asked for with more pixels
let zoom = { scale: 1, x: 0, y: 0 }; // the stage is enlarged, and then moved by pixels of the screen
const stage = find(".stage");
const zoomButtons = [...element.querySelectorAll("[data-zoom]")];

function zoomTo(scale, x, y) {
  const { clientWidth, clientHeight } = canvas;
  scale = limit(scale, MOST_ZOOM);
  if (scale < 1.01) scale = 1;
  // No further than to the edges.
  zoom = { scale, x: -limit(-x, clientWidth * (scale - 1)), y: -limit(-y, clientHeight * (scale - 1)) };
  stage.style.transform = scale === 1 ? "" : `translate(${zoom.x}px, ${zoom.y}px) scale(${scale})`;
  for (const part of [find(".beside img"), find(".others")]) part.style.transform = stage.style.transform;
  canvas.toggleAttribute("data-zoomed", scale > 1);
  for (const button of zoomButtons) button.disabled = button.dataset.zoom === "in" ? scale >= MOST_ZOOM : scale === 1;
  drawPointing();
  drawExamples();
  drawBrush();
  drawHandles();
  sharpen();
}

// The place of the stage under (x, y), pixels of the canvas, stays where it is.
function zoomBy(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.max(1, Math.min(MOST_ZOOM, zoom.scale * factor));
  const share = scale / zoom.scale;
  zoomTo(scale, x - (x - zoom.x) * share, y - (y - zoom.y) * share);
}

let sharpening;
function sharpen() {
  clearTimeout(sharpening);
  const wanted = String(Math.min(4, zoom.scale)); // beyond, pixels of the picture are seen
  if ((canvas.dataset.zoom ?? "1") === wanted) return;
  sharpening = setTimeout(() => {
    canvas.dataset.zoom = wanted;
    if (props.view.picture) trigger("input");
  }, SHARPEN);
}

const zoomActions = { in: () => zoomBy(1.5), out: () => zoomBy(1 / 1.5), fit: () => zoomTo(1, 0, 0) };
for (const button of zoomButtons) {
  button.setAttribute("aria-label", button.title);
  button.onclick = () => zoomActions[button.dataset.zoom]();
}

// Both panes show the same part of the picture.
const panes = [canvas, find(".beside")];
const onEach = (kind, listener, options) => panes.forEach((pane) => pane.addEventListener(kind, listener, options));
const onPane = ({ clientX, clientY, currentTarget }) => {
  const { left, top } = currentTarget.getBoundingClientRect();
  return [clientX - left - currentTarget.clientLeft, clientY - top - currentTarget.clientTop];
};
onEach("wheel", (event) => {
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault(); // the browser would enlarge the page
    zoomBy(Math.exp((60 - limit(event.deltaY + 60, 120)) / 100), ...onPane(event));
  } else if (zoom.scale > 1) {
    event.preventDefault();
    zoomTo(zoom.scale, zoom.x - event.deltaX, zoom.y - event.deltaY);
  }
}, { passive: false });

// Two fingers, or a hand where no tool draws: with the middle button, or the space bar held, everywhere.
const fingers = new Map();
let isSpaceDown = false;
let moved = 0; // pixels since the pointer went down: what moved was no click
const isTool = () => (isPointing() && tool() !== "select") || isShowing() || (isInpainting() && isEditView(props.view));
const isHand = (event) => event.button === 1 || isSpaceDown || (event.button === 0 && !isTool());

onEach("pointerdown", (event) => {
  if (event.target.closest("button, input")) return;
  moved = 0;
  const isTouch = event.pointerType === "touch";
  if (!isTouch && !(zoom.scale > 1 && isHand(event))) return;
  fingers.set(event.pointerId, onPane(event));
  if (isTouch ? fingers.size < 2 : event.target.closest(".adjustable, .handle")) return;
  event.stopPropagation(); // no tool draws meanwhile
  drawing = stroke = example = null;
  if (event.button === 1 || isSpaceDown) event.preventDefault();
}, true);
onEach("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before || dragged) return;
  const now = onPane(event);
  const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
  moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
  if (others.length) {
    const [other] = others;
    const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
    const distance = ([x, y]) => Math.max(20, Math.hypot(x - other[0], y - other[1]));
    zoomBy(distance(now) / distance(before), ...middle);
    zoomTo(zoom.scale, zoom.x + (now[0] - before[0]) / 2, zoom.y + (now[1] - before[1]) / 2);
  } else if (zoom.scale > 1 && (event.pointerType !== "touch" || !isTool())) {
    zoomTo(zoom.scale, zoom.x + now[0] - before[0], zoom.y + now[1] - before[1]);
  }
  fingers.set(event.pointerId, now);
  if (others.length) event.stopPropagation();
}, true);
for (const end of ["pointerup", "pointercancel"]) {
  window.addEventListener(end, ({ pointerId }) => fingers.delete(pointerId), true);
}
onEach("click", (event) => moved > 4 && !event.target.closest("button, input") && event.stopPropagation(), true);

document.addEventListener("keydown", (event) => {
  if (event.target.closest(TYPED_INTO) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && zoom.scale > 1 && !event.target.closest("button, [role=button], input")) {
    isSpaceDown = true;
    event.preventDefault();
  }
  const action = { "+": "in", "=": "in", "-": "out", 0: "fit" }[event.key];
  if (action) zoomActions[action]();
});
document.addEventListener("keyup", ({ key }) => key === " " && (isSpaceDown = false));
