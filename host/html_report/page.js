// Puts the charts into the page, steps the view of the array, sorts the table.
"use strict";

const json = (id) => JSON.parse(document.getElementById(id).textContent);
const element = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en-US");
const percent = (value) => (100 * value).toFixed(1) + " %";

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

// Shade of a share between 0 and 1: white to the colour of `busy`.
function shade(share) {
  const from = [255, 255, 255], to = [0x2f, 0x6f, 0xab];
  return "rgb(" + from.map((value, i) => Math.round(value + (to[i] - value) * share)).join(",") + ")";
}

class ArrayView {
  static FILLED = "#2f6fab";
  static ZERO = "#f3d9a4";
  static UNUSED = "#ffffff";

  constructor(cells, {rows, cols, layers}) {
    Object.assign(this, {cells, rows, cols, layers});
    this.timer = null;
    element("layer").addEventListener("change", () => this.choose());
    element("step").addEventListener("input", () => { this.stop(); this.show(); });
    element("play").addEventListener("click", () => this.timer === null ? this.play() : this.stop());
    element("tiles").addEventListener("click", (event) => {
      if (event.target.dataset.step) { this.stop(); this.go(Number(event.target.dataset.step)); }
    });
    this.choose();
  }

  // The bits of tile number `index` of those described: whether each cell is filled.
  filled(index) {
    const size = this.rows * this.cols, width = size / 8;
    const part = this.masks.subarray(index * width, (index + 1) * width);
    return Array.from({length: size}, (_, cell) => part[cell >> 3] >> (7 - (cell & 7)) & 1);
  }

  choose() {
    this.stop();
    this.layer = this.layers[Number(element("layer").value)];
    this.masks = bytes(this.layer.filled);
    this.use = Array.from(bytes(this.layer.cells), (value) => value / 255);
    const size = this.rows * this.cols;
    this.shares = this.layer.tile.map((_, i) => this.filled(i).reduce((sum, bit) => sum + bit, 0) / size);
    element("step").max = this.layer.tile.length;
    const all = this.use.reduce((sum, share) => sum + share, 0) / size;
    element("tiles").replaceChildren(...[all, ...this.shares].map((share, step) => {
      const bar = document.createElement("i");
      bar.style.height = 100 * share + "%";
      bar.dataset.step = step;
      bar.title = (step ? "tile " + number(this.layer.tile[step - 1] + 1) : "all tiles") + ": " + percent(share);
      return bar;
    }));
    this.go(0);
  }

  go(step) {
    element("step").value = step;
    this.show();
  }

  // Step 0 is the mean of all tiles over time, the others are tiles.
  show() {
    const step = Number(element("step").value), layer = this.layer;
    document.querySelectorAll("#tiles i").forEach((bar, i) => bar.classList.toggle("now", i === step));
    step ? this.paintTile(step - 1) : this.paintAll();
    const [passes, words, cycles] = step
      ? [layer.tile_passes, layer.tile_words, layer.tile_cycles].map((each) => each[step - 1])
      : [layer.passes, layer.words, layer.cycles];
    const described = layer.tile.length < layer.tiles ? ` (${layer.tile.length} of them can be stepped through)` : "";
    this.facts([
      ["showing", step ? `tile ${number(layer.tile[step - 1] + 1)} of ${number(layer.tiles)}`
                       : `all ${number(layer.tiles)} tiles${described}`],
      ["mode", layer.filter ? "filter: a column filters one channel" : "dense: a column is one output channel"],
      [step ? "cells filled" : "cells in use, mean", percent(step ? this.shares[step - 1]
        : this.use.reduce((sum, share) => sum + share, 0) / this.use.length)],
      ["passes through the array", number(passes)],
      ["words streamed", number(words)],
      ["cycles that they take", number(cycles)],
      ["a word in", percent(words / cycles) + " of these cycles"],
    ]);
  }

  facts(rows) {
    element("facts").replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((text) => Object.assign(document.createElement("td"), {textContent: text})));
      return row;
    }));
  }

  paintAll() {
    this.paint(this.use.map(shade), this.use.map((share) => `in use in ${percent(share)} of the cycles`));
    this.keys([[shade(1), "in use in every cycle"], [shade(0.4), "in 40 %"], [shade(0), "never"]]);
  }

  paintTile(index) {
    const bits = this.filled(index), cols = this.cols;
    const row = Array(this.rows).fill(false), col = Array(cols).fill(false);
    bits.forEach((bit, cell) => { if (bit) { row[Math.floor(cell / cols)] = col[cell % cols] = true; } });
    const state = bits.map((bit, cell) => bit ? 0 : row[Math.floor(cell / cols)] && col[cell % cols] ? 1 : 2);
    const colours = [ArrayView.FILLED, ArrayView.ZERO, ArrayView.UNUSED];
    const words = ["weight", "weight of 0 in a row and a column in use", "row or column not in use"];
    this.paint(state.map((each) => colours[each]), state.map((each) => words[each]));
    this.keys(colours.map((colour, i) => [colour, words[i]]));
  }

  paint(colour, state) {
    this.cells.data = {...this.cells.data, colour, state};
  }

  keys(rows) {
    element("keys").replaceChildren(...rows.map(([colour, text]) => {
      const key = document.createElement("span"), box = document.createElement("i");
      box.style.background = colour;
      key.append(box, text);
      return key;
    }));
  }

  play() {
    element("play").textContent = "\u275a\u275a";
    const step = element("step");
    this.timer = setInterval(() => this.go(Number(step.value) >= Number(step.max) ? 0 : Number(step.value) + 1), 450);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    element("play").textContent = "\u25b6";
  }
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, index) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[index].dataset.value ?? row.cells[index].textContent;
    const compare = (a, b) => key(a).localeCompare(key(b), "en", {numeric: true});
    const byNumber = (a, b) => Number(key(a)) - Number(key(b));
    const rows = [...body.rows].sort(body.rows[0].cells[index].dataset.value === undefined ? compare : byNumber);
    body.append(...(down ? rows.reverse() : rows));
  }));
}

async function draw() {
  Bokeh.set_log_level("error");
  const views = {};
  for (const [name, item] of Object.entries(json("charts-data"))) {
    views[name] = await Bokeh.embed.embed_item(item);
  }
  sortable(element("layers"));
  if (views.array) {
    const cells = Bokeh.documents.map((each) => each.get_model_by_name("cells")).find(Boolean);
    new ArrayView(cells, json("occupancy-data"));
  }
  document.body.dataset.ready = "true";
}

draw();
