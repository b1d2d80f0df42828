"use strict";
/* The figures above, the tables, method and provenance. */
const OURS_FIRST = [...DATA.summary.codecs].sort((a, b) => DATA.ours.includes(b.name) - DATA.ours.includes(a.name));

function fillTable(id, head, rows) {
  const table = byId(id);
  const header = element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([name, ...cells]) => element("tr", DATA.ours.includes(name) ? { class: "ours" } : {},
    element("th", { scope: "row" }, labelOf(name)),
    ...cells.map((cell) => (cell instanceof Node ? cell : element("td", {}, cell)))));
  table.replaceChildren(element("thead", {}, header), element("tbody", {}, ...body));
}

function percentCell(mean_, worst) {
  if (mean_ === null || mean_ === undefined) return element("td", {}, "–");
  const text = signed(mean_, 1) + (worst === undefined ? "" : ` / ${signed(worst, 1)}`);
  return element("td", { class: mean_ <= 0 ? "good" : "bad" }, text);
}

/* Of several models, the one that needs the fewest bits against the first opponent that it meets. */
function leadFigures() {
  const known = (codec) => Object.entries(codec.bd).filter(([, bd]) => bd.mean_percent !== null);
  const models = DATA.summary.codecs.filter((c) => DATA.ours.includes(c.name) && c.kind === "lossy" && c.bd && known(c).length)
    .sort((a, b) => known(a)[0][1].mean_percent - known(b)[0][1].mean_percent);
  const figures = models.slice(0, 1).flatMap((codec) => known(codec).map(([anchor, bd]) =>
    element("div", {}, element("strong", { class: bd.mean_percent <= 0 ? "good" : "bad" }, `${signed(bd.mean_percent, 1)} %`),
      `bits of ${codec.name} against ${labelOf(anchor)}; worst tile ${signed(bd.worst_percent, 1)} %`)));
  byId("lead").hidden = !figures.length;
  byId("lead").replaceChildren(...figures);
}

function rateTables() {
  const levels = ["36", "40", "44", "48"];
  const rated = OURS_FIRST.filter((codec) => codec.kind === "lossy" && codec.rate_at_psnr);
  fillTable("rate-table", ["Codec", ...levels.map((l) => `${l} dB`), "Encode, Mpixel/s", "Decode, Mpixel/s", "Encode, added MB", "Decode, added MB"],
    rated.map((codec) => [codec.name,
      ...levels.map((level) => {
        const cell = codec.rate_at_psnr[level];
        return cell ? fixed(cell.bpppc, 3) + (cell.n_tiles < codec.n_tiles ? ` (${cell.n_tiles})` : "") : "–";
      }),
      fixed(codec.speed.encode_mpixel_per_s, 2), fixed(codec.speed.decode_mpixel_per_s, 2),
      fixed(codec.speed.encode_peak_mb, 0), fixed(codec.speed.decode_peak_mb, 0)]));
  const anchors = DATA.summary.anchors;
  fillTable("bd-table", ["Codec", ...anchors.map((a) => labelOf(a)), ...(anchors.includes("x265") ? ["BD-PSNR against x265 [dB]"] : [])],
    rated.map((codec) => [codec.name,
      ...anchors.map((a) => (codec.bd && codec.bd[a] ? percentCell(codec.bd[a].mean_percent, codec.bd[a].worst_percent) : "–")),
      ...(anchors.includes("x265") ? [codec.bd && codec.bd.x265 ? signed(codec.bd.x265.bd_psnr_db, 2) : "–"] : [])]));
}

function qualityTables() {
  const rate = byId("rate-controls").elements.rate.value;
  const known = OURS_FIRST.filter((codec) => codec.at_rate && codec.at_rate[rate] && codec.at_rate[rate].psnr !== null);
  fillTable("quality-table", ["Codec", "PSNR [dB]", "SSIM", "MS-SSIM", "Spectral angle", "NDVI error", "NDWI error", "Classes kept", "Tiles"],
    known.map((codec) => {
      const at = codec.at_rate[rate];
      return [codec.name, fixed(at.psnr, 2), fixed(at.ssim, 4), fixed(at.ms_ssim, 4), fixed(at.sam, 2) + "°",
        fixed(at.ndvi_error, 4), fixed(at.ndwi_error, 4), fixed(at.class_agreement * 100, 1) + " %", String(at.n_tiles)];
    }));
  fillTable("band-table", ["Codec", ...DATA.bands], known.map((codec) => [codec.name, ...bandsAt(codec.name, Number(rate)).map((v) => fixed(v, 1))]));
}

/* PSNR of each band at a rate: linear in log rate on each tile, then the mean of the tiles that have it. */
function bandsAt(name, rate) {
  const sums = DATA.bands.map(() => []);
  for (const tile of DATA.summary.tiles) {
    const rows = DATA.rows.filter((row) => row.codec === name && row.tile === tile && row.bands).sort((a, b) => a.rate - b.rate);
    const after = rows.findIndex((row) => row.rate >= rate);
    if (after < 1) continue;
    const [a, b] = [rows[after - 1], rows[after]];
    const t = (Math.log(rate) - Math.log(a.rate)) / (Math.log(b.rate) - Math.log(a.rate));
    DATA.bands.forEach((_, i) => {
      if (a.bands[i] !== null && b.bands[i] !== null) sums[i].push(a.bands[i] + (b.bands[i] - a.bands[i]) * t);
    });
  }
  return sums.map(mean);
}

function boundTables() {
  const bounded = DATA.summary.codecs.filter((codec) => codec.bounds);
  const bounds = [...new Set(bounded.flatMap((codec) => codec.bounds.map((b) => b.bound)))].sort((a, b) => a - b);
  if (bounded.length)
    fillTable("bound-table", ["Bits per pixel per band / PSNR at", ...bounds.map((b) => `± ${b} DN`)], bounded.map((codec) => [codec.name,
      ...bounds.map((bound) => {
        const cell = codec.bounds.find((b) => b.bound === bound);
        return cell ? `${fixed(cell.bpppc, 2)}${cell.psnr === null ? "" : ` / ${fixed(cell.psnr, 1)}`}` : "–";
      })]));
  const lossless = DATA.summary.codecs.filter((codec) => codec.kind === "lossless");
  if (lossless.length)
    fillTable("lossless-table", ["Lossless", "Bits per pixel per band", "Encode, Mpixel/s", "Decode, Mpixel/s"],
      lossless.map((c) => [c.name, fixed(c.bpppc, 3), fixed(c.speed.encode_mpixel_per_s, 2), fixed(c.speed.decode_mpixel_per_s, 2)]));
  byId("bounds").hidden = !bounded.length && !lossless.length;
}

function lossTable() {
  const rows = [];
  for (const codec of DATA.summary.codecs.filter((c) => DATA.ours.includes(c.name) && c.kind === "lossy" && c.bd))
    for (const [anchor, bd] of Object.entries(codec.bd)) rows.push([codec.name, anchor, bd.by_quality]);
  byId("losses").hidden = !rows.length;
  if (!rows.length) return;
  const keys = Object.keys(rows[0][2]);
  fillTable("loss-table", ["Model", "Against", ...keys.map((key) => rows[0][2][key].label)], rows.map(([name, anchor, by]) => [name, labelOf(anchor),
    ...keys.map((key) => (by[key].n_tiles ? element("td", { class: by[key].lost ? "bad" : "good" }, `${by[key].lost} of ${by[key].n_tiles} (${signed(by[key].percent, 0)} %)`) : "–"))]));
}

function methodText() {
  const meta = DATA.meta;
  const last = meta.sessions[meta.sessions.length - 1];
  byId("subtitle").textContent = `${meta.dataset}: ${DATA.summary.tiles.length} tiles${meta.cut.side ? `, ${meta.cut.side} × ${meta.cut.side} pixels each` : ""}, ${last.date}`;
  byId("method-text").textContent = DATA.summary.method;
  const facts = [["Date", last.date], ["Commit", last.commit], ["Processor", `${last.processor}, ${last.cpus} cores`], ["Workers", `${last.workers}, one thread each; x265 and SVT-AV1 use threads of their own`],
    ["Timed runs", `up to ${last.timed_runs}, after one warm-up`], ["Load at start", last.load_average_at_start === null ? "not known" : String(last.load_average_at_start)],
    ["Seed", String(meta.seed)], ["Python", last.python], ...Object.entries(last.versions)];
  byId("provenance").replaceChildren(...facts.flatMap(([key, value]) => [element("dt", {}, key), element("dd", {}, value)]));
  const busy = meta.sessions.some((s) => s.load_average_at_start > s.cpus / 2);
  byId("speed-note").textContent = "Medians over tiles at the setting nearest 42 dB; all bands of a pixel count once." +
    (busy ? " The machine was busy with other work (see Load below): speeds are indicative only." : "");
  byId("errors").replaceChildren(...DATA.summary.errors.map((e) => element("p", { class: "note" }, `${e.codec} on ${e.tile}: ${e.error}`)));
}

function startTables() {
  const rates = [...new Set(DATA.summary.codecs.flatMap((codec) => Object.keys(codec.at_rate || {})))].sort((a, b) => a - b);
  fillSelect(byId("rate-controls").elements.rate, rates.map((rate) => [rate, rate]), rates.includes("0.1") ? "0.1" : rates[0]);
  byId("rate-controls").addEventListener("change", qualityTables);
  methodText();
  leadFigures();
  rateTables();
  qualityTables();
  boundTables();
  lossTable();
}

document.querySelectorAll("form").forEach((form) => form.addEventListener("submit", (event) => event.preventDefault()));
startTables();
startCharts();
startViewer();
setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);
