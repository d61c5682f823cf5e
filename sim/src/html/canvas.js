// Canvases: sizes, colours, and the time axis that all charts share.

const GUTTER = 112, MARGIN = 14;
const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// A cleared canvas of this height and of its parent's width, and a pen for it in CSS pixels.
function paint(canvas, height, width = canvas.parentElement.clientWidth) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  return { pen, width, height };
}

const xOf = (time, width) => GUTTER + (time / data.end) * (width - GUTTER - MARGIN);
const timeOf = (x, width) => clamp(Math.round(((x - GUTTER) / (width - GUTTER - MARGIN)) * data.end), 0, data.end);

// Round times that are at least `room` pixels apart.
function ticks(width, room) {
  const least = (data.end * room) / Math.max(1, width - GUTTER - MARGIN);
  const round = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5, 864e5];
  const step = round.find((step) => step >= least) ?? Math.ceil(least);
  const times = [];
  for (let time = 0; time <= data.end; time += step) times.push(time);
  return times;
}

function tickText(time) {
  const seconds = time / 1000;
  if (data.end < 600000) return `${seconds}s`;
  const pad = (number) => String(Math.floor(number)).padStart(2, "0");
  return seconds < 3600 ? `${Math.floor(seconds / 60)}:${pad(seconds % 60)}` : `${Math.floor(seconds / 3600)}:${pad((seconds / 60) % 60)}:${pad(seconds % 60)}`;
}

// A text of at most so many pixels.
function fit(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let length = text.length;
  while (length > 0 && pen.measureText(`${text.slice(0, length)}…`).width > room) length--;
  return length > 0 ? `${text.slice(0, length)}…` : "";
}

// The height of a row of which there is one for each node.
function rowHeight(most) {
  for (const [nodes, height] of [[12, 22], [30, 14], [60, 9], [100, 6], [250, 3], [500, 2]]) if (count <= nodes) return Math.min(most, height);
  return 1;
}

// The names of rows, as many as there is room for.
function rowNames(pen, top, height) {
  pen.fillStyle = colour("faint");
  pen.textAlign = "right";
  const every = Math.ceil(12 / height);
  for (let node = 0, last = -12; node < count; node += every) {
    const y = Math.max(6, top + (node + 0.5) * height);
    if (y - last < 11) continue;
    pen.fillText(fit(pen, names[node], GUTTER - 24), GUTTER - 8, y);
    last = y;
  }
}

const tip = element("tip");
function showTip(event, text) {
  tip.hidden = text === "";
  tip.textContent = text;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${clamp(event.clientX + 14, 4, Math.max(4, window.innerWidth - width - 4))}px`;
  tip.style.top = `${event.clientY + 18 + height > window.innerHeight ? event.clientY - height - 8 : event.clientY + 18}px`;
}

// A chart on the time axis: a click sets the time, and what lies under the pointer is told.
function timeChart(canvas, tell, clicked = (time) => setTime(time)) {
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [timeOf(event.clientX - box.left, box.width), event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("click", (event) => clicked(...at(event)));
  canvas.addEventListener("mousemove", (event) => showTip(event, tell(...at(event))));
  canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
}
