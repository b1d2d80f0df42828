"use strict";
/* The swipe viewer: two pictures over each other, a divider that keyboard and pointer move, error maps. */
const COMPOSITES = { /* image of the pair, channel in it: see `band_sets` */
  true: [[0, 0], [0, 1], [0, 2]], false: [[1, 0], [0, 0], [0, 1]], swir: [[1, 2], [1, 1], [0, 0]],
};
/* Dark blue to yellow through purple: grows evenly lighter, for every kind of colour vision. */
const RAMP = [[0, 0, 20], [60, 10, 100], [140, 30, 110], [210, 70, 70], [250, 150, 30], [255, 255, 170]];
const pixelCache = new Map();

function rampColour(value) {
  const at = (value / 255) * (RAMP.length - 1);
  const i = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[i].map((low, k) => low + (RAMP[i + 1][k] - low) * (at - i));
}

/* Samples of a data URL, RGBA. */
async function pixelsOf(url) {
  if (!pixelCache.has(url)) {
    const image = new Image();
    image.src = url;
    pixelCache.set(url, image.decode().then(() => {
      const canvas = element("canvas");
      canvas.width = image.naturalWidth;
      canvas.height = image.naturalHeight;
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    }));
  }
  return pixelCache.get(url);
}

async function compose(images, bands) {
  const sources = await Promise.all(images.map(pixelsOf));
  const out = new ImageData(sources[0].width, sources[0].height);
  COMPOSITES[bands].forEach(([image, channel], k) => {
    const from = sources[image].data;
    for (let i = 0; i < from.length; i += 4) out.data[i + k] = from[i + channel];
  });
  for (let i = 3; i < out.data.length; i += 4) out.data[i] = 255;
  return out;
}

async function errorMap(url) {
  const from = await pixelsOf(url);
  const out = new ImageData(from.width, from.height);
  const table = Array.from({ length: 256 }, (_, v) => rampColour(v));
  for (let i = 0; i < from.data.length; i += 4) {
    const colour = table[from.data[i]];
    out.data.set([colour[0], colour[1], colour[2], 255], i);
  }
  return out;
}

function viewerState() {
  const form = byId("viewer-controls").elements;
  const tile = DATA.pictures.tiles[Number(form.tile.value)];
  return { form, tile, budget: tile.budgets[Number(form.budget.value)] };
}

function shotOf(budget, name) { return budget.codecs.find((shot) => shot.codec === name); }

function caption(budget, name) {
  const label = DATA.pictures.labels[name] || "Original";
  const shot = shotOf(budget, name);
  if (!shot) return [element("strong", {}, label), element("br"), "16 bit, not compressed"];
  return [element("strong", {}, label), element("br"),
    `${bytesText(shot.bytes)}, ${fixed(shot.psnr, 2)} dB, largest error ${fixed(shot.max_error, 0)} DN`];
}

let drawing = 0;
async function drawSide(side, state, turn) {
  const name = state.form[side].value;
  const shot = shotOf(state.budget, name);
  const wantsError = state.form.show.value === "error" && shot;
  const data = wantsError ? await errorMap(shot.error)
    : await compose(shot ? shot.images : state.tile.original, state.form.bands.value);
  if (turn !== drawing) return; /* something else was chosen meanwhile */
  const canvas = byId(`${side}-canvas`);
  canvas.width = data.width;
  canvas.height = data.height;
  canvas.getContext("2d").putImageData(data, 0, 0);
  byId(`${side}-caption`).replaceChildren(...caption(state.budget, name));
}

async function drawViewer() {
  const state = viewerState();
  const turn = ++drawing;
  const zoom = Number(state.form.zoom.value);
  const frameNode = byId("frame");
  frameNode.style.width = `${zoom * 100}%`;
  frameNode.style.aspectRatio = `${state.tile.cols} / ${state.tile.rows}`;
  frameNode.classList.toggle("pixels", zoom > 1);
  byId("error-legend").hidden = state.form.show.value !== "error";
  byId("ramp-end").textContent = `${fixed(state.budget.error_scale, 0)} DN and more`;
  await Promise.all([drawSide("left", state, turn), drawSide("right", state, turn)]);
  if (turn === drawing) byId("stage").dataset.drawn = String(turn);
}

function moveDivider(percent) {
  const value = Math.max(0, Math.min(100, percent));
  const handle = byId("handle");
  handle.style.left = `${value}%`;
  handle.setAttribute("aria-valuenow", String(Math.round(value)));
  byId("left-canvas").style.clipPath = `inset(0 ${100 - value}% 0 0)`;
}

function listenToDivider() {
  const handle = byId("handle");
  handle.addEventListener("pointerdown", (event) => handle.setPointerCapture(event.pointerId));
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = byId("frame").getBoundingClientRect();
    moveDivider(((event.clientX - box.left) / box.width) * 100);
  });
  handle.addEventListener("keydown", (event) => {
    const now = Number(handle.getAttribute("aria-valuenow"));
    const to = { ArrowLeft: now - 2, ArrowRight: now + 2, PageDown: now - 10, PageUp: now + 10, Home: 0, End: 100 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveDivider(to);
  });
}

function fillTileChoices() {
  const { form, tile } = viewerState();
  const old = form.budget.value;
  fillSelect(form.budget, tile.budgets.map((budget, i) => [String(i), bytesText(budget.bytes)]), old || "0");
  const names = viewerState().budget.codecs.map((shot) => shot.codec);
  for (const [side, fallback] of [["left", names[0]], ["right", names[1] || "original"]]) {
    const before = form[side].value;
    const choices = [["original", "Original"], ...names.map((name) => [name, DATA.pictures.labels[name]])];
    fillSelect(form[side], choices, before && choices.some(([value]) => value === before) ? before : fallback);
  }
}

function startViewer() {
  if (!DATA.pictures || !DATA.pictures.tiles.length) return;
  byId("pictures").hidden = false;
  const form = byId("viewer-controls");
  fillSelect(form.elements.tile, DATA.pictures.tiles.map((tile, i) => [String(i), tile.name]), "0");
  fillTileChoices();
  form.addEventListener("change", () => { fillTileChoices(); drawViewer(); });
  listenToDivider();
  moveDivider(50);
  const ramp = byId("ramp").getContext("2d");
  for (let v = 0; v < 256; v++) {
    ramp.fillStyle = `rgb(${rampColour(v).map(Math.round).join(",")})`;
    ramp.fillRect(v, 0, 1, 1);
  }
  drawViewer();
}
