// The matrix of the selected time.

const matrix = element("matrix");
const beliefs = new Beliefs();
// Where the matrix lies on its canvas, and how large a cell is.
let grid = { left: 0, top: 0, cell: 1 };
let hovered = null, pinned = null;

function layOut() {
  const style = getComputedStyle(matrix.parentElement);
  const width = matrix.parentElement.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const ratio = window.devicePixelRatio || 1;
  const pen = matrix.getContext("2d");
  pen.font = "11px system-ui, sans-serif";
  const longest = Math.ceil(names.reduce((most, name) => Math.max(most, pen.measureText(name).width), 0));
  const left = Math.min(longest, 90) + 10;
  // Tall enough to use, low enough to leave the timeline its room.
  const room = Math.min(width - left, Math.max(260, window.innerHeight * 0.58));
  const exact = Math.min(room / count, 40);
  const cell = exact < SMALL ? exact : Math.floor(exact * ratio) / ratio;
  const flat = longest + 4 <= cell;
  const top = flat ? 18 : Math.min(longest, 60) + 10;
  grid = { left, top, cell, flat, width };
}

// Below this size cells have no gaps and are the pixels of an image.
const SMALL = 6;
const image = document.createElement("canvas");

function smallCells(colours) {
  image.width = image.height = count;
  const pen = image.getContext("2d");
  const pixels = pen.createImageData(count, count);
  const words = new Uint32Array(pixels.data.buffer);
  // The bytes of a pixel are red, green, blue, opacity; the page's colours are written #rrggbb.
  const bytes = colours.map((hex) => {
    const number = parseInt(hex.slice(1), 16);
    return new Uint32Array(Uint8Array.of(number >> 16, (number >> 8) & 255, number & 255, 255).buffer)[0];
  });
  const down = bytes[STATES.length], frozen = bytes[STATES.length + 1];
  for (let node = 0; node < count; node++) {
    const process = beliefs.process[node];
    for (let of = 0; of < count; of++) {
      const cell = node * count + of;
      words[cell] = process === DOWN ? down : process === FROZEN && of % 3 === 0 ? frozen : bytes[beliefs.state[cell]];
    }
  }
  pen.putImageData(pixels, 0, 0);
  return image;
}

function drawMatrix() {
  const { left, top, cell, flat, width } = grid;
  const { pen } = paint(matrix, top + cell * count + 2, width);
  const colours = STATES.map(colour), down = colour("down"), frozen = colour("frozen");
  if (cell < SMALL) {
    pen.imageSmoothingEnabled = cell < 1;
    pen.drawImage(smallCells([...colours, down, frozen]), left, top, cell * count, cell * count);
  }
  const gap = 1;
  for (let node = 0; node < count && cell >= SMALL; node++) {
    const y = top + node * cell;
    if (beliefs.process[node] === DOWN) {
      pen.fillStyle = down;
      pen.fillRect(left, y, cell * count - gap, cell - gap);
      continue;
    }
    for (let of = 0; of < count; of++) {
      pen.fillStyle = colours[beliefs.state[node * count + of]];
      pen.fillRect(left + of * cell, y, cell - gap, cell - gap);
      if (of === node && cell >= 12) {
        pen.fillStyle = colour("panel");
        pen.fillRect(left + (of + 0.5) * cell - 2, y + cell / 2 - 2, 3, 3);
      }
    }
    if (beliefs.process[node] === FROZEN) {
      pen.fillStyle = frozen;
      pen.fillRect(left, y + (cell - gap) / 3, cell * count - gap, (cell - gap) / 3);
    }
  }
  drawLabels(pen, flat);
  for (const [chosen, ink] of [[pinned, "accent"], [hovered, "ink"]]) {
    if (!chosen) continue;
    pen.strokeStyle = colour(ink);
    pen.lineWidth = 2;
    pen.strokeRect(left + chosen[1] * cell - 1, top + chosen[0] * cell - 1, Math.max(cell, 3) + 1, Math.max(cell, 3) + 1);
  }
}

function drawLabels(pen, flat) {
  const { left, top, cell } = grid;
  const every = Math.ceil(12 / cell);
  for (let node = 0; node < count; node += every) {
    const marked = (place) => (hovered ?? pinned)?.[place] === node;
    pen.fillStyle = colour(marked(0) ? "ink" : "faint");
    pen.textAlign = "right";
    pen.fillText(fit(pen, names[node], left - 8), left - 6, top + (node + 0.5) * cell);
    pen.fillStyle = colour(marked(1) ? "ink" : "faint");
    if (flat) {
      pen.textAlign = "center";
      pen.fillText(names[node], left + (node + 0.5) * cell, top - 9);
      continue;
    }
    pen.save();
    pen.translate(left + (node + 0.5) * cell, top - 6);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "left";
    pen.fillText(fit(pen, names[node], top - 8), 0, 0);
    pen.restore();
  }
}

function cellAt(event) {
  const box = matrix.getBoundingClientRect();
  const of = Math.floor((event.clientX - box.left - grid.left) / grid.cell);
  const node = Math.floor((event.clientY - box.top - grid.top) / grid.cell);
  return node >= 0 && node < count && of >= 0 && of < count ? [node, of] : null;
}

function tellMatrix() {
  const chosen = hovered ?? pinned;
  element("belief").classList.toggle("none", !chosen);
  element("belief").textContent = chosen ? beliefText(beliefs, ...chosen) : "point at a cell, click to keep it";
  const totals = new Array(STATES.length).fill(0);
  let running = 0;
  for (let node = 0; node < count; node++) {
    if (beliefs.process[node] === DOWN) continue;
    running++;
    for (let state = 0; state < STATES.length; state++) totals[state] += beliefs.counts[node * STATES.length + state];
  }
  element("summary").textContent = `${running} of ${count} processes run; their beliefs of others: ${countsText(totals)}`;
}

matrix.addEventListener("mousemove", (event) => {
  hovered = cellAt(event);
  tellMatrix();
  drawMatrix();
  showTip(event, hovered ? beliefText(beliefs, ...hovered) : "");
});
matrix.addEventListener("mouseleave", () => {
  hovered = null;
  tip.hidden = true;
  tellMatrix();
  drawMatrix();
});
matrix.addEventListener("click", (event) => {
  const cell = cellAt(event);
  pinned = cell && pinned && cell[0] === pinned[0] && cell[1] === pinned[1] ? null : cell;
  remember();
  tellMatrix();
  drawMatrix();
});
