// Thumbnails of the video, each of which pauses it there. props.view comes from the server; props.value from the controls:
//   {at: seconds of the paused frame, start, end: seconds of the stretch, or null}
const strip = element.querySelector(".strip");

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const place = (seconds) => `${(100 * Math.min(Math.max(seconds / props.view.length, 0), 1)).toFixed(2)}%`;

function thumbnail({ seconds, url }) {
  const image = make("img", { src: url, alt: "", draggable: false });
  const button = make("button", { type: "button", title: `Show the frame at ${seconds.toFixed(1)} s` }, image);
  button.setAttribute("aria-label", button.title);
  button.onclick = () => trigger("show", { seconds });
  return button;
}

// What is outside the stretch is dimmed; a line is where the video is paused.
function drawMarks() {
  for (const mark of strip.querySelectorAll("span")) mark.remove();
  const { length, frames } = props.view;
  if (!frames.length) return;
  const { at, start, end } = props.value || {};
  const before = make("span", { className: "outside" });
  before.style.width = place(Number(start) || 0);
  const after = make("span", { className: "outside after" });
  after.style.left = place(end === null || end === undefined || end === "" ? length : Number(end));
  const now = make("span", { className: "now" });
  now.style.left = place(Number(at) || 0);
  strip.append(before, after, now);
}

function draw() {
  strip.replaceChildren(...props.view.frames.map(thumbnail));
  drawMarks();
}

watch("view", draw);
watch("value", drawMarks);
draw();
