// A bar for each track, and a tick that leaves it out. props.view comes from the server; props.value goes to it:
//   {key: what the ticks belong to, hidden: ids of tracks}
// "gone" says of a track that it ends at the paused frame, "forget" takes back what was said of a frame.
const list = element.querySelector(".timeline");

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

const hidden = () => (props.value?.key === props.view.key ? props.value.hidden : []);

function row({ id, phrase, color, since, until }) {
  const { key, start, end } = props.view;
  const box = make("input", { type: "checkbox", checked: !hidden().includes(id) });
  box.setAttribute("aria-label", `Show ${phrase} ${id}`);
  box.onchange = () => {
    props.value = { key, hidden: box.checked ? hidden().filter((other) => other !== id) : [...hidden(), id] };
    trigger("input");
  };
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = color;
  const name = make("span", { className: "name", textContent: `${phrase} ${id}`, title: phrase, translate: false });
  const bar = make("span", { className: "bar" });
  bar.style.background = color;
  const place = (seconds) => (100 * (seconds - start)) / Math.max(end - start, 1e-6);
  bar.style.left = `${place(since)}%`;
  bar.style.width = `max(3px, ${place(until) - place(since)}%)`;
  const way = make("button", { type: "button", className: "way", title: "Show the frame where it begins" }, bar);
  way.setAttribute("aria-label", `Show the frame where ${phrase} ${id} begins`);
  way.onclick = () => trigger("show", { seconds: since });
  const times = make("span", { className: "times", textContent: `${since.toFixed(1)} – ${until.toFixed(1)} s` });
  const gone = make("button", { type: "button", className: "gone", textContent: "Gone here" });
  gone.title = "It ends at the paused frame; what comes after is tracked anew";
  gone.setAttribute("aria-label", `${phrase} ${id} is gone here`);
  gone.onclick = () => trigger("gone", { id });
  return make("div", { className: "track" }, make("label", {}, box, swatch, name), way, times, gone);
}

// What was said of a frame: its time leads there, and the cross takes it back.
function correction(seconds) {
  const time = make("button", { type: "button", textContent: `Corrected at ${seconds.toFixed(2)} s`, title: "Show that frame" });
  time.onclick = () => trigger("show", { seconds });
  const back = make("button", { type: "button", textContent: "×", title: "Take the correction back" });
  back.setAttribute("aria-label", back.title);
  back.onclick = () => trigger("forget", { seconds });
  return make("span", { className: "corrected" }, time, back);
}

function draw() {
  const rows = props.view.tracks.map(row);
  const corrections = props.view.corrections.map(correction);
  list.replaceChildren(...rows, ...(corrections.length ? [make("div", { className: "corrections" }, ...corrections)] : []));
}
watch("view", draw);
draw();
