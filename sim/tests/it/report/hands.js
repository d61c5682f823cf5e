// How a page does to itself what a hand would do, and a list of what it shows afterwards.

const said = document.createElement("pre");
said.id = "said";
document.body.append(said);
const say = (name, value) => said.append(`${name}: ${value}\n`);
const text = (id) => document.getElementById(id).textContent;
const mouse = (id, kind, x, y) => {
  const box = document.getElementById(id).getBoundingClientRect();
  document.getElementById(id).dispatchEvent(new MouseEvent(kind, { clientX: box.left + x, clientY: box.top + y, bubbles: true }));
};
const cell = (node, of) => [grid.left + (of + 0.5) * grid.cell, grid.top + (node + 0.5) * grid.cell];
const strip = (id, time, node, height) => [xOf(time, document.getElementById(id).getBoundingClientRect().width), (node + 0.5) * height];
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const colours = (id) => {
  const canvas = document.getElementById(id);
  return new Set(new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size;
};
