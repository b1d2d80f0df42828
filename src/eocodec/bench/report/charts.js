"use strict";
/* Rate-distortion curves, and speed against rate, as SVG. */
const MEASURES = {
  psnr: ["PSNR [dB]", 1, false], ssim: ["SSIM", 4, false], ms_ssim: ["MS-SSIM", 4, false],
  sam: ["Spectral angle [degrees]", 2, true], ndvi_error: ["NDVI error", 4, true],
  ndwi_error: ["NDWI error", 4, true], class_agreement: ["Pixels that keep their class", 3, false],
  max_error: ["Largest error [DN]", 0, true],
};

function markerPath(kind, x, y, r) {
  const d = {
    square: `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
    triangle: `M${x},${y - r * 1.2}l${r * 1.2},${2.1 * r}h${-2.4 * r}z`,
    diamond: `M${x},${y - r * 1.35}l${r * 1.35},${r * 1.35}l${-r * 1.35},${r * 1.35}l${-r * 1.35},${-r * 1.35}z`,
    cross: `M${x - r},${y - r}l${2 * r},${2 * r}m${-2 * r},0l${2 * r},${-2 * r}`,
    down: `M${x},${y + r * 1.2}l${r * 1.2},${-2.1 * r}h${-2.4 * r}z`,
    circle: `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0z`,
  }[kind];
  return d;
}

function marker(style, colour, x, y, r = 4.2) {
  const open = style.marker === "cross";
  return element("path", {
    d: markerPath(style.marker, x, y, r), class: "point",
    fill: open ? "none" : colour, stroke: colour, "stroke-width": open ? 2 : 1,
  });
}

/* Round numbers that divide [low, high] into at most n steps. */
function niceTicks(low, high, n) {
  const raw = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw);
  const ticks = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) ticks.push(Number(v.toPrecision(12)));
  return ticks;
}

function logTicks(low, high, steps) {
  const ticks = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const k of steps) {
      const v = Number((k * 10 ** p).toPrecision(6));
      if (v >= low && v <= high) ticks.push(v);
    }
  return ticks;
}

/* An empty chart: axes, and functions from values to pixels. */
function frame(holder, axes, description) {
  const width = Math.max(300, Math.min(1000, holder.clientWidth || 800));
  const height = Math.round(Math.max(300, Math.min(width * 0.62, 520)));
  const pad = { left: 62, right: 16, top: 12, bottom: 50 };
  const place = (axis, from, to) => {
    const f = axis.log ? Math.log : (v) => v;
    return (v) => from + ((f(v) - f(axis.low)) / (f(axis.high) - f(axis.low))) * (to - from);
  };
  const x = place(axes.x, pad.left, width - pad.right);
  const y = place(axes.y, height - pad.bottom, pad.top);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description });
  for (const v of axes.x.ticks) {
    svg.append(element("line", { class: "grid", x1: x(v), x2: x(v), y1: pad.top, y2: height - pad.bottom }));
    svg.append(element("text", { x: x(v), y: height - pad.bottom + 18, "text-anchor": "middle" }, axes.x.text ? axes.x.text(v) : String(v)));
  }
  for (const v of axes.y.ticks) {
    svg.append(element("line", { class: "grid", x1: pad.left, x2: width - pad.right, y1: y(v), y2: y(v) }));
    svg.append(element("text", { x: pad.left - 8, y: y(v) + 4, "text-anchor": "end" }, String(v)));
  }
  svg.append(element("text", { class: "axis-title", x: (width + pad.left) / 2, y: height - 8, "text-anchor": "middle" }, axes.x.title));
  svg.append(element("text", { class: "axis-title", transform: `translate(15 ${height / 2}) rotate(-90)`, "text-anchor": "middle" }, axes.y.title));
  holder.replaceChildren(svg);
  return { svg, x, y, width, height };
}

const curveCodecs = DATA.summary.codecs.filter((codec) => codec.kind !== "lossless");
const DEFAULT_SHOWN = ["x265", "av1", "j2k", "klt+j2k", "jxl", "x265-veryslow", "av1-p0"];
const shown = new Set(curveCodecs.map((c) => c.name).filter((name) =>
  DEFAULT_SHOWN.includes(name) || (DATA.ours.includes(name) && curveCodecs.find((c) => c.name === name).kind === "lossy")));

/* Points of a codec: those of a tile, or at each setting the means over the tiles. */
function curvePoints(name, tile, measure) {
  const rows = DATA.rows.filter((row) => row.codec === name && row[measure] !== null && (tile === "" || row.tile === tile));
  const bySetting = new Map();
  for (const row of rows) bySetting.set(row.setting, [...(bySetting.get(row.setting) || []), row]);
  return [...bySetting.entries()]
    .map(([setting, group]) => ({ setting, rate: mean(group.map((r) => r.rate)), value: mean(group.map((r) => r[measure])), n: group.length }))
    .filter((point) => point.rate > 0)
    .sort((a, b) => a.rate - b.rate);
}

function drawCurves() {
  const form = byId("curve-controls");
  const measure = form.elements.measure.value;
  const [title, digits] = MEASURES[measure];
  const lines = curveCodecs.filter((codec) => shown.has(codec.name))
    .map((codec) => [codec.name, curvePoints(codec.name, form.elements.tile.value, measure)]).filter(([, points]) => points.length);
  const all = lines.flatMap(([, points]) => points);
  if (!all.length) { byId("curve-chart").replaceChildren(element("p", {}, "Choose a codec below.")); return; }
  const rates = all.map((p) => p.rate);
  const values = all.map((p) => p.value);
  const low = Math.min(...rates) / 1.15;
  const high = Math.max(...rates) * 1.15;
  const margin = (Math.max(...values) - Math.min(...values)) * 0.04 || 1;
  const [bottom, top] = [Math.min(...values) - margin, Math.max(...values) + margin];
  const narrow = byId("curve-chart").clientWidth < 560;
  const axes = {
    x: { log: true, low, high, ticks: logTicks(low, high, narrow ? [1, 3] : [1, 2, 5]), title: "bits per pixel per band (log scale)" },
    y: { low: bottom, high: top, ticks: niceTicks(bottom, top, 7), title: title + (MEASURES[measure][2] ? ", lower is better" : "") },
  };
  const chart = frame(byId("curve-chart"), axes, `${title} against rate of ${lines.map(([n]) => labelOf(n)).join(", ")}`);
  for (const [name, points] of lines) {
    const style = CODEC_STYLES[name];
    const colour = colourOf(name);
    chart.svg.append(element("polyline", {
      points: points.map((p) => `${chart.x(p.rate)},${chart.y(p.value)}`).join(" "), fill: "none",
      stroke: colour, "stroke-width": style.width, "stroke-dasharray": style.dash, "stroke-linejoin": "round",
    }));
    for (const point of points) {
      const node = marker(style, colour, chart.x(point.rate), chart.y(point.value));
      const text = `${labelOf(name)}, setting ${point.setting}\n${point.rate.toFixed(4)} bits per pixel per band\n${title}: ${point.value.toFixed(digits)}`;
      node.addEventListener("pointerenter", (event) => showTip(text, event.clientX, event.clientY));
      node.addEventListener("pointerleave", hideTip);
      chart.svg.append(node);
    }
  }
}

function drawLegend() {
  byId("curve-legend").replaceChildren(...curveCodecs.map((codec) => {
    const style = CODEC_STYLES[codec.name];
    const colour = colourOf(codec.name);
    const swatch = element("svg", { width: 30, height: 14, "aria-hidden": "true" },
      element("line", { x1: 0, x2: 30, y1: 7, y2: 7, stroke: colour, "stroke-width": style.width, "stroke-dasharray": style.dash }),
      marker(style, colour, 15, 7));
    const button = element("button", { type: "button", "aria-pressed": String(shown.has(codec.name)) }, swatch, codec.label);
    button.addEventListener("click", () => {
      if (!shown.delete(codec.name)) shown.add(codec.name);
      button.setAttribute("aria-pressed", String(shown.has(codec.name)));
      drawCurves();
    });
    return button;
  }));
}

/* Ticks of a ratio of bits, shown as a difference in percent. */
const RATIO_TICKS = [0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8];
const ratioText = (ratio) => (ratio === 1 ? "0" : signed((ratio - 1) * 100, 0));

/* Codecs with a mean BD-rate against the anchor, as ratios of bits; the anchor itself is 1. */
function speedPoints(anchor, way) {
  return DATA.summary.codecs
    .filter((codec) => codec.kind === "lossy" && codec.bd && !codec.name.includes("+headers"))
    .map((codec) => ({ name: codec.name, speed: codec.speed[`${way}_mpixel_per_s`],
      percent: codec.name === anchor ? 0 : codec.bd[anchor] && codec.bd[anchor].mean_percent }))
    .filter((point) => typeof point.percent === "number")
    .map((point) => ({ ...point, ratio: 1 + point.percent / 100 }));
}

function drawSpeed() {
  const way = byId("speed-controls").elements.way.value;
  const anchor = DATA.summary.anchors.includes("x265") ? "x265" : DATA.summary.anchors[0];
  const points = speedPoints(anchor, way);
  byId("speed").hidden = !points.length;
  if (!points.length) return;
  const ratios = points.map((p) => p.ratio);
  const speeds = points.map((p) => p.speed);
  const axes = {
    x: { log: true, low: Math.min(...ratios) / 1.2, high: Math.max(...ratios) * 1.25, title: `bits against ${anchor} [%], left is better`, text: ratioText },
    y: { log: true, low: Math.min(...speeds) / 1.6, high: Math.max(...speeds) * 1.6, title: `${way}, Mpixel/s` },
  };
  axes.x.ticks = RATIO_TICKS.filter((r) => r >= axes.x.low && r <= axes.x.high);
  axes.y.ticks = logTicks(axes.y.low, axes.y.high, [1, 2, 5]);
  const chart = frame(byId("speed-chart"), axes, `${way} speed against bits`);
  const taken = points.map((p) => [chart.x(p.ratio), chart.y(p.speed), 16]);
  points.sort((a, b) => DATA.ours.includes(b.name) - DATA.ours.includes(a.name) || a.speed - b.speed);
  for (const point of points) {
    const [px, py] = [chart.x(point.ratio), chart.y(point.speed)];
    const node = marker(CODEC_STYLES[point.name], colourOf(point.name), px, py, 6);
    const text = `${labelOf(point.name)}\n${signed(point.percent, 1)} % bits against ${anchor}\n${point.speed.toFixed(3)} Mpixel/s`;
    node.addEventListener("pointerenter", (event) => showTip(text, event.clientX, event.clientY));
    node.addEventListener("pointerleave", hideTip);
    chart.svg.append(node);
    placeLabel(chart, point.name, px, py, taken);
  }
}

/* The name beside its point where there is room; the others say it when pointed at. */
function placeLabel(chart, name, px, py, taken) {
  const width = name.length * 7.4;
  const clear = (left, y) => left > 52 && left + width < chart.width && y > 14 && y < chart.height - 54 &&
    taken.every(([x, ty, w]) => left + width < x - 8 || left > x + w - 8 || Math.abs(ty - y) > 13);
  for (const [left, y] of [[px + 10, py], [px - 10 - width, py], [px - width / 2, py - 15], [px - width / 2, py + 15]])
    if (clear(left, y)) {
      taken.push([left + 8, y, width]);
      chart.svg.append(element("text", { class: "halo", x: left, y: y + 4 }, name));
      return;
    }
}

function startCharts() {
  const form = byId("curve-controls");
  fillSelect(form.elements.measure, Object.entries(MEASURES).map(([key, [title]]) => [key, title]), "psnr");
  fillSelect(form.elements.tile, [["", "mean over tiles"], ...DATA.summary.tiles.map((tile) => [tile, tile])], "");
  form.addEventListener("change", drawCurves);
  byId("speed-controls").addEventListener("change", drawSpeed);
  const draw = () => { drawLegend(); drawCurves(); drawSpeed(); };
  redraws.push(draw);
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; draw(); } });
}
