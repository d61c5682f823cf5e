// The page: header, time, timeline, spread of events.

let time = 0;
const slider = element("slider");
const make = (tag, text = "", name = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
};
const facts = (list, pairs) => pairs.forEach(([name, value]) => {
  const pair = make("div");
  pair.append(make("dt", name), make("dd", value));
  list.append(pair);
});

// Moves everything to a time, in milliseconds.
function setTime(to) {
  time = clamp(Math.round(to), 0, data.end);
  slider.value = time;
  element("time").textContent = clock(time);
  placePlayhead();
  beliefs.seek(time);
  tellMatrix();
  drawMatrix();
  markFindings();
  followTimeline();
  tellSpreads();
  remember();
}

function placePlayhead() {
  element("playhead").style.left = `${xOf(time, element("charts").clientWidth)}px`;
}

// The address holds the time and the chosen cell, so that it can be passed on.
function remember() {
  const cell = pinned ? `&cell=${encodeURIComponent(names[pinned[0]])},${encodeURIComponent(names[pinned[1]])}` : "";
  try {
    history.replaceState(null, "", `#t=${time / 1000}${cell}`);
  } catch { /* Some browsers count these calls. */ }
}

function recall() {
  const words = new URLSearchParams(location.hash.slice(1));
  const cell = (words.get("cell") ?? "").split(",").map((name) => names.indexOf(decodeURIComponent(name)));
  if (cell.length === 2 && cell.every((node) => node >= 0)) pinned = cell;
  const seconds = parseFloat(words.get("t"));
  return Number.isFinite(seconds) ? seconds * 1000 : data.findings[0]?.[0] ?? worstMoment();
}

const FINDINGS_MAX = 20;
function writeHeader() {
  element("verdict").textContent = data.ok ? "as expected" : "failed";
  element("verdict").classList.toggle("bad", !data.ok);
  element("scenario").append(data.scenario, make("small", data.title));
  facts(element("facts"), [["verdict", data.verdict], ["seed", data.seed], ["run", data.options], ["simulated", clock(data.end)], ["digest", data.digest ?? "none"]]);
  element("repeat").textContent = data.repeat;
  element("findings").hidden = data.findings.length === 0;
  for (const [at, text] of data.findings.slice(0, FINDINGS_MAX)) {
    const button = make("button");
    button.type = "button";
    button.dataset.at = at;
    button.append(make("span", clock(at), "clock"), make("span", text));
    button.addEventListener("click", () => setTime(at));
    const item = make("li");
    item.append(button);
    element("findings").append(item);
  }
  const more = data.findings.length - FINDINGS_MAX;
  if (more > 0) element("findings").append(make("li", `and ${more} more`, "more"));
  element("notes").hidden = data.notes.length === 0;
  for (const note of data.notes) element("notes").append(make("li", note));
  facts(element("faults"), data.faults.map(([name, number]) => [name.replaceAll("_", " "), number.toLocaleString("en")]));
  element("stronger").hidden = rowHeight(22) > 8;
  element("counters").hidden = data.faults.length === 0;
  for (const state of [...STATES.slice(1), "unknown", "down", "frozen"]) {
    const swatch = make("i");
    swatch.style.background = `var(--${state})`;
    const item = make("span");
    item.append(swatch, state === "down" ? "no process" : state);
    element("legend").append(item);
  }
}

function markFindings() {
  for (const button of element("findings").querySelectorAll("button")) button.classList.toggle("now", Number(button.dataset.at) === time);
}

// The timeline: only the rows in view are elements.
const ROW = 24, NAMES_SHOWN = 6;
const someNames = (nodes) => (nodes.length <= NAMES_SHOWN ? nodes.map((node) => names[node]).join(", ") : `${names[nodes[0]]}, ${names[nodes[1]]}, … (${nodes.length})`);
const entries = data.entries.map(([at, kind, nodes, what]) => {
  const about = Array.isArray(what) ? what : [];
  const text = Array.isArray(what) ? `${someNames(what)} ${kind}` : what;
  return { at, kind, nodes, about, who: someNames(nodes), text };
});
let shown = entries;

function filterTimeline() {
  const node = Number(element("node").value), text = element("search").value.toLowerCase();
  const about = (entry) => node < 0 || entry.nodes.includes(node) || entry.about.includes(node) || entry.kind === "step";
  shown = entries.filter((entry) => about(entry) && `${entry.who} ${entry.text}`.toLowerCase().includes(text));
  element("rows").style.height = `${shown.length * ROW}px`;
  followTimeline();
}

// How many of the shown entries are not later than the selected time.
function entriesBefore() {
  let low = 0, high = shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (shown[middle].at <= time) low = middle + 1; else high = middle;
  }
  return low;
}

function followTimeline() {
  const list = element("timeline"), y = (entriesBefore() - 1) * ROW;
  if (y < list.scrollTop || y > list.scrollTop + list.clientHeight - ROW) list.scrollTop = y - list.clientHeight / 2;
  drawTimeline();
}

function drawTimeline() {
  const list = element("timeline"), before = entriesBefore();
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
  const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 10);
  const rows = [];
  for (let place = first; place < last; place++) {
    const entry = shown[place];
    const row = make("div", "", `entry ${entry.kind}`);
    row.classList.toggle("now", place === before - 1);
    row.classList.toggle("later", place >= before);
    row.style.top = `${place * ROW}px`;
    row.title = `${entry.who} ${entry.text}`.trim();
    row.append(make("span", clock(entry.at), "clock"), make("span", entry.who), make("span", entry.text, "what"));
    row.addEventListener("click", () => setTime(entry.at));
    rows.push(row);
  }
  element("rows").replaceChildren(...rows);
}

// How events and queries spread: a row each, with a curve of how many had it.
const spreadRows = [];
function writeSpreads() {
  element("spread").hidden = data.spreads.length === 0;
  for (const [text, heard] of data.spreads) {
    const first = heard[0][0], last = heard[heard.length - 1][0];
    const row = make("tr"), curve = make("canvas"), now = make("td"), cell = make("td");
    cell.append(curve);
    const what = make("td", text);
    what.title = text;
    row.append(what, ...[clock(first), clock(last), `${last - first} ms`, `${heard[Math.ceil(heard.length / 2) - 1][0] - first} ms`, `${heard.length} of ${count}`].map((words) => make("td", words)), now, cell);
    row.addEventListener("click", () => setTime(first));
    element("spreads").append(row);
    spreadRows.push({ heard, curve, now });
  }
}

function drawSpreads() {
  const fill = colour("left");
  for (const { heard, curve } of spreadRows) {
    const { pen, width, height } = paint(curve, 18, 130);
    const first = heard[0][0], length = Math.max(1, heard[heard.length - 1][0] - first);
    pen.fillStyle = fill;
    heard.forEach(([at], place) => {
      const x = ((at - first) / length) * (width - 2), tall = ((place + 1) / Math.max(count, heard.length)) * (height - 2);
      const next = place + 1 < heard.length ? ((heard[place + 1][0] - first) / length) * (width - 2) : width;
      pen.fillRect(x, height - 1 - tall, Math.max(1, next - x), tall);
    });
  }
}

function tellSpreads() {
  for (const { heard, now } of spreadRows) {
    let by = heard.length;
    while (by > 0 && heard[by - 1][0] > time) by--;
    const text = String(by);
    if (now.textContent !== text) now.textContent = text;
  }
}

// Playing: the whole run in half a minute.
let playing = 0;
function play(on) {
  cancelAnimationFrame(playing);
  playing = 0;
  element("play").textContent = on ? "pause" : "play";
  if (!on) return;
  if (time >= data.end) setTime(0);
  let last = performance.now();
  let exact = time;
  const frame = (now) => {
    exact += ((now - last) * data.end) / 30000;
    last = now;
    setTime(exact);
    if (time >= data.end) play(false); else playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
}

function key(event) {
  if (event.target.matches?.("select, input[type=search]") || event.ctrlKey || event.metaKey || event.altKey) return;
  // A button that has the focus is pressed by the space key.
  if (event.key === " " && event.target.matches?.("button")) return;
  const step = event.shiftKey ? 100 : 1000;
  const before = entriesBefore();
  const act = {
    ArrowLeft: () => setTime(time - step),
    ArrowRight: () => setTime(time + step),
    Home: () => setTime(0),
    End: () => setTime(data.end),
    n: () => before < shown.length && setTime(shown[before].at),
    p: () => { const entry = shown.findLast((entry) => entry.at < time); if (entry) setTime(entry.at); },
    " ": () => play(playing === 0),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  if (event.key !== " ") play(false);
  act();
}

function draw() {
  drawCharts();
  layOut();
  drawMatrix();
  drawSpreads();
  drawTimeline();
  placePlayhead();
}

function begin() {
  writeHeader();
  writeSpreads();
  slider.max = data.end;
  const options = names.map((name, node) => new Option(name, node));
  element("node").append(new Option("all nodes", -1), ...options);
  slider.addEventListener("input", () => setTime(Number(slider.value)));
  element("play").addEventListener("click", (event) => { event.target.blur(); play(playing === 0); });
  element("node").addEventListener("change", filterTimeline);
  element("search").addEventListener("input", filterTimeline);
  element("timeline").addEventListener("scroll", drawTimeline);
  document.addEventListener("keydown", key);
  timeChart(element("axis"), (at) => clock(at));
  timeChart(element("steps"), tellBar, (at, x, y) => setTime(barAt(x, y)?.bar.from ?? at));
  timeChart(element("beliefs"), tellBeliefs);
  timeChart(element("health"), tellHealth);
  timeChart(element("packets"), tellPackets);
  timeChart(element("bytes"), tellBytes);
  const start = recall();
  draw();
  filterTimeline();
  setTime(start);
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

begin();
