// The charts on the time axis.

function drawAxis() {
  const { pen, width, height } = paint(element("axis"), 20);
  pen.fillStyle = colour("faint");
  pen.strokeStyle = colour("rule");
  pen.textAlign = "center";
  for (const time of ticks(width, 70)) {
    const x = xOf(time, width);
    pen.fillText(tickText(time), x, 8);
    pen.fillRect(x, height - 4, 1, 4);
  }
}

const LANES = ["cut", "unplug", "link", "crash", "pause", "stall", "disk", "clock", "forged", "dns", "members", "settings", "asked"];
const LANE_COLOURS = { cut: "cut", unplug: "cut", link: "link", crash: "crash", pause: "pause", stall: "stall", disk: "stall" };
const LANE_NAMES = { cut: "cuts", unplug: "interfaces", link: "links", crash: "processes", pause: "pauses", stall: "gates", disk: "disks", clock: "clocks", forged: "forged packets", dns: "name server", members: "members", settings: "tags and keys", asked: "events, queries" };
const LANE_ROW = 18;
// What is drawn where, for the pointer.
let drawnBars = [];

// Bars of one lane that overlap stand in rows of their own.
function placeBars(width, pen) {
  drawnBars = [];
  const lanes = [];
  let row = 0;
  for (const lane of LANES) {
    const bars = data.bars.filter((bar) => bar.lane === lane);
    if (bars.length === 0) continue;
    const ends = [];
    const first = row;
    for (const bar of bars) {
      const left = xOf(bar.from, width);
      const right = bar.until === null ? left + 8 : Math.max(left + 2, xOf(bar.until, width));
      let place = ends.findIndex((end) => end <= left + 1);
      if (place < 0 && ends.length < 6) place = ends.push(0) - 1;
      if (place < 0) place = ends.length - 1;
      ends[place] = right + (bar.until === null ? 0 : 1);
      drawnBars.push({ bar, left, right, row: first + place });
    }
    row += ends.length;
    lanes.push({ lane, first, rows: ends.length });
  }
  return { lanes, rows: row };
}

function drawSteps() {
  const canvas = element("steps");
  const width = canvas.parentElement.clientWidth;
  const { lanes, rows } = placeBars(width);
  const { pen } = paint(canvas, Math.max(1, rows) * LANE_ROW + 4);
  pen.textAlign = "right";
  pen.fillStyle = colour("faint");
  if (rows === 0) pen.fillText("nothing", GUTTER - 8, LANE_ROW / 2);
  for (const { lane, first } of lanes) pen.fillText(LANE_NAMES[lane], GUTTER - 8, (first + 0.5) * LANE_ROW);
  pen.textAlign = "left";
  for (const drawn of drawnBars) drawBar(pen, drawn, width);
}

function drawBar(pen, { bar, left, right, row }, width) {
  const top = row * LANE_ROW + 2, middle = top + (LANE_ROW - 4) / 2;
  pen.fillStyle = colour(LANE_COLOURS[bar.lane] ?? "other");
  const next = drawnBars.filter((other) => other.row === row && other.left > left).reduce((least, other) => Math.min(least, other.left), width - 4);
  if (bar.until === null) {
    pen.beginPath();
    pen.moveTo(left, middle - 5);
    pen.lineTo(left + 5, middle);
    pen.lineTo(left, middle + 5);
    pen.lineTo(left - 5, middle);
    pen.fill();
    pen.fillStyle = colour("ink");
    if (next - left > 40) pen.fillText(fit(pen, bar.text, next - left - 14), left + 9, middle);
    return;
  }
  pen.fillRect(left, top, right - left, LANE_ROW - 4);
  if (pen.measureText(bar.text).width <= right - left - 10 || right - left > next - right) {
    pen.fillStyle = colour("panel");
    pen.fillText(fit(pen, bar.text, right - left - 10), left + 5, middle);
  } else {
    pen.fillStyle = colour("ink");
    if (next - right > 40) pen.fillText(fit(pen, bar.text, next - right - 10), right + 5, middle);
  }
}

function barAt(x, y) {
  const row = Math.floor(y / LANE_ROW);
  return drawnBars.findLast(({ bar, left, right, row: other }) => other === row && x >= left - 5 && x <= (bar.until === null ? left + 5 : right));
}

function tellBar(time, x, y) {
  const bar = barAt(x, y)?.bar;
  if (!bar) return "";
  return bar.until === null ? `${clock(bar.from)} ${bar.text}` : `${clock(bar.from)} to ${clock(bar.until)}: ${bar.text}`;
}

// From the top; the rest is alive.
const STACKED = [0, 3, 4, 2, 5];

// Shares of the others as layers. One of many is seen, too.
function stack(pen, counts, colours, [left, top, width, height]) {
  let y = top;
  for (const state of STACKED) {
    if (counts[state] === 0) continue;
    const share = Math.max(3, (counts[state] / Math.max(1, count - 1)) * height);
    pen.fillStyle = colours[state];
    pen.fillRect(left, y, width, Math.min(share, top + height - y));
    y += share;
  }
}

// In a strip too low for layers, nothing but the most frequent state but alive: the more have it, the stronger its colour.
function tint(pen, counts, colours, [left, top, width, height]) {
  const most = STACKED.reduce((most, state) => (counts[state] >= counts[most] ? state : most));
  if (counts[most] === 0) return;
  pen.fillStyle = colours[STATES.length];
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = 0.35 + 0.65 * Math.min(1, counts[most] / Math.max(1, count - 1));
  pen.fillStyle = colours[most];
  pen.fillRect(left, top, width, height);
  pen.globalAlpha = 1;
}

// One strip a node: of how many of the others it believes what, over time.
function drawBeliefs() {
  const height = rowHeight(22);
  const { pen, width } = paint(element("beliefs"), count * height + 4);
  const ratio = window.devicePixelRatio || 1;
  const colours = STATES.map(colour), down = colour("down"), frozen = colour("frozen");
  const inner = height > 8 ? height - 3 : height;
  colours.push(colour("panel"));
  const bar = height > 8 ? { top: inner / 3, height: inner / 3 } : { top: 0, height: inner };
  const beliefs = new Beliefs();
  const from = new Float64Array(count).fill(xOf(0, width));
  const flush = (node, x) => {
    const left = from[node], top = node * height;
    if (x <= left) return;
    from[node] = x;
    if (beliefs.process[node] === DOWN) {
      pen.fillStyle = down;
      pen.fillRect(left, top + bar.top, x - left, bar.height);
      return;
    }
    pen.fillStyle = colours[1];
    pen.fillRect(left, top, x - left, inner);
    const counts = beliefs.counts.subarray(node * STATES.length, (node + 1) * STATES.length);
    (height > 8 ? stack : tint)(pen, counts, colours, [left, top, x - left, inner]);
    if (beliefs.process[node] === FROZEN) {
      pen.fillStyle = frozen;
      pen.fillRect(left, top + bar.top, x - left, bar.height);
    }
  };
  while (beliefs.next < flow.length) {
    flush(flow.node[beliefs.next], Math.round(xOf(flow.at[beliefs.next], width) * ratio) / ratio);
    beliefs.step();
  }
  for (let node = 0; node < count; node++) flush(node, xOf(data.end, width));
  rowNames(pen, 0, height - (height > 8 ? 3 / count : 0));
}

const peek = new Beliefs();
function tellBeliefs(time, x, y) {
  const node = Math.floor(y / rowHeight(22));
  if (x < GUTTER || node >= count) return "";
  peek.seek(time);
  if (peek.process[node] === DOWN) return `at ${clock(time)} no process runs on ${nameAt(node, time)}`;
  const frozen = peek.process[node] === FROZEN ? ", frozen," : "";
  return `at ${clock(time)} ${nameAt(node, time)}${frozen} believes ${countsText(peek.counts.subarray(node * STATES.length, (node + 1) * STATES.length))}`;
}

// Scores of each node over time; a process that ends has none.
const health = names.map(() => [[0, 0]]);
{
  const ended = [];
  for (let i = 0; i < flow.length; i++) if (flow.state[i] === DOWN) ended.push([flow.at[i], flow.node[i], 0]);
  const all = ended.concat(data.health).sort((one, other) => one[0] - other[0]);
  for (const [at, node, score] of all) health[node].push([at, score]);
}

const healthHeight = () => rowHeight(count > 60 ? 2 : 14);

function drawHealth() {
  const well = data.health.length === 0;
  element("well").hidden = !well;
  element("health").hidden = well;
  if (well) return;
  const height = healthHeight();
  const { pen, width } = paint(element("health"), count * height + 4);
  const inner = height > 8 ? height - 2 : height;
  const [calm, bad] = [colour("unknown"), [colour("suspect"), colour("failed")]];
  for (let node = 0; node < count; node++) {
    health[node].forEach(([at, score], place) => {
      const left = xOf(at, width), right = xOf(health[node][place + 1]?.[0] ?? data.end, width);
      pen.fillStyle = score === 0 ? calm : `color-mix(in srgb, ${bad[1]} ${Math.min(100, (score - 1) * 20)}%, ${bad[0]})`;
      if (right > left) pen.fillRect(left, node * height, Math.max(right - left, score > 0 ? 1 : 0), inner);
    });
  }
  rowNames(pen, 0, height);
}

function tellHealth(time, x, y) {
  const node = Math.floor(y / healthHeight());
  if (x < GUTTER || node >= count) return "";
  const [, score] = health[node].findLast(([at]) => at <= time);
  return `at ${clock(time)} ${names[node]} has a score of ${score}`;
}

const short = (number) => (number >= 1e6 ? `${(number / 1e6).toFixed(1)}M` : number >= 1e4 ? `${Math.round(number / 1e3)}k` : number >= 1e3 ? `${(number / 1e3).toFixed(1)}k` : String(Math.round(number)));
const perSecond = (value) => ((value ?? 0) * 1000) / data.interval;

// Values of each interval, one series on the other.
function drawArea(canvas, series, unit) {
  const { pen, width, height } = paint(canvas, 58);
  const length = Math.max(1, ...series.map(({ values }) => values.length));
  const sum = (place) => series.reduce((total, { values }) => total + perSecond(values[place]), 0);
  let most = 0;
  for (let place = 0; place < length; place++) most = Math.max(most, sum(place));
  const scale = most > 0 ? (height - 10) / most : 0, bottom = height - 4;
  for (let place = 0; place < length; place++) {
    const left = xOf(place * data.interval, width), right = xOf(Math.min(data.end, (place + 1) * data.interval), width);
    let y = bottom;
    for (const { values, fill } of series) {
      const tall = perSecond(values[place]) * scale;
      pen.fillStyle = colour(fill);
      pen.fillRect(left, y - tall, Math.max(0.5, right - left), tall);
      y -= tall;
    }
  }
  pen.fillStyle = colour("rule");
  pen.fillRect(GUTTER, bottom, width - GUTTER - MARGIN, 1);
  pen.fillStyle = colour("faint");
  pen.textAlign = "right";
  pen.fillText(`${short(most)}${unit}`, GUTTER - 8, 10);
  pen.fillText("0", GUTTER - 8, bottom - 3);
}

function drawTraffic() {
  drawArea(element("packets"), [{ values: data.packets, fill: "left" }], "/s");
  drawArea(element("bytes"), [{ values: data.bytes, fill: "left" }, { values: data.stream_bytes, fill: "link" }], "B/s");
}

function tellPackets(time) {
  return `${clock(time)}: ${short(perSecond(data.packets[Math.floor(time / data.interval)]))} packets a second`;
}

function tellBytes(time) {
  const place = Math.floor(time / data.interval);
  return `${clock(time)}: ${short(perSecond(data.bytes[place]))}B/s in packets, ${short(perSecond(data.stream_bytes[place]))}B/s in streams`;
}

function drawCharts() {
  drawAxis();
  drawSteps();
  drawBeliefs();
  drawHealth();
  drawTraffic();
}
