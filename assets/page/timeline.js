// A bar for each track, and a tick that leaves it out. props.view comes from the server; props.value goes to it:
//   {key: what the ticks belong to, hidden: ids of tracks}
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
  return make("div", { className: "track" }, make("label", {}, box, swatch, name), way, times);
}

const draw = () => list.replaceChildren(...props.view.tracks.map(row));
watch("view", draw);
draw();
