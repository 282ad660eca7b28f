// The tab Track: the frame in which things are being followed lies over the paused one. It shares the scope of result.js.
const isTracking = () => isOpen("track");
const isWatching = () => document.querySelector('#track-view [value="Video"]')?.checked ?? false;

const showFrame = () => isWatching() && document.querySelector('#track-view [value="Frame"]').click();

// On a phone the picture may be out of sight.
function bringUp(block) {
  if (matchMedia("(max-width: 768px)").matches) find(".canvas").scrollIntoView({ block, behavior: "smooth" });
}

let startedTrack = 0; // the run whose beginning was brought up last
function takeTrack() {
  newest = "track";
  const { working, run } = props.track;
  if (working && run !== startedTrack) {
    startedTrack = run; // on a phone the button that started it is far from the picture
    bringUp("center");
  }
  drawTrack();
  drawStatus();
}

function drawTrack() {
  const { working, share, frame } = props.track;
  const isShown = isTracking() && working && Boolean(frame);
  const image = find(".tracked");
  image.hidden = !isShown;
  if (isShown) image.src = frame;
  find(".canvas").toggleAttribute("data-following", isShown);
  find(".following").hidden = !(isTracking() && working);
  find(".following").value = share;
  // One of the two buttons takes the other's place, and the keyboard's focus with it.
  const focused = document.activeElement?.id;
  document.querySelector("#page")?.toggleAttribute("data-following", working);
  const [left, taken] = working ? ["track-run", "track-cancel"] : ["track-cancel", "track-run"];
  if (focused === left) document.querySelector(`#${taken}`).focus({ preventScroll: true });
}

// Where each track is in the paused frame, so that it can be put right.
function drawFollowed() {
  const { picture, tracks } = props.paused;
  const isShown = isTracking() && picture && picture === props.view.picture;
  const unit = 1 / (shapes.getScreenCTM()?.a || 1); // pixels of the picture per pixel of the screen
  const marks = (isShown ? tracks : []).map(({ name, color, box: [x0, y0, x1, y1] }) => {
    const text = draw("text", { x: x0 + 3 * unit, y: y1 - 4 * unit, fill: color, "font-size": 12 * unit, translate: "no" });
    text.textContent = name;
    return draw("g", {}, draw("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, stroke: color }), text);
  });
  find(".followed").replaceChildren(...marks);
}

function statusOfTrack() {
  const { working, status } = props.track;
  if (!isTracking() || !status.message) return null;
  return working || isWatching() || newest === "track" ? status : null;
}

document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && isTracking() && props.track.working) document.querySelector("#track-cancel")?.click();
});
// Who types while the video is shown wants to see what is found: the paused frame comes back.
document.addEventListener("input", ({ target }) => {
  if (isTracking() && target.closest("#prompt")) showFrame();
});
// What pauses the video is below the frame, so that both stay in sight.
document.addEventListener("click", ({ target }) => {
  if (!target.closest("#strip button, #tracks .way, #tracks .corrected > :first-child")) return;
  showFrame();
  requestAnimationFrame(() => bringUp("nearest"));
});
// Whether the video or a frame is shown decides whose status is.
document.addEventListener("change", ({ target }) => target.closest("#track-view") && drawStatus());
