"use strict";
/* Data, small helpers, colours of codecs, theme. Loaded first. */
const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/* Okabe and Ito's colours and darker kin; marker and dash repeat the distinction. Ours come first. */
const STYLES = {
  ours: [["#0072b2", "#56b4e9"], ["#c8443c", "#ff8a80"], ["#5b3c99", "#b79bf0"], ["#007a5a", "#4fd1a5"]],
  others: [["#b07400", "#e6a832"], ["#007f5f", "#35c79b"], ["#a8487f", "#e293bf"], ["#6b6b6b", "#b5b5b5"],
    ["#8a6d1b", "#d8c05a"], ["#a33c00", "#ff9a5c"]],
};
const MARKERS = ["circle", "square", "triangle", "diamond", "cross", "down"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 2"];

/* The usual opponents look the same in every report: colours for light and dark, marker, dash. */
const KNOWN = {
  j2k: [["#b07400", "#e6a832"], "square", "7 3"], x265: [["#007f5f", "#35c79b"], "triangle", "9 3 2 3"],
  av1: [["#a8487f", "#e293bf"], "diamond", "2 3"], "x265-veryslow": [["#00513d", "#8fe8cd"], "triangle", "4 2"],
  "av1-p0": [["#6d2450", "#f5c4dd"], "diamond", "4 2"], jxl: [["#6b6b6b", "#b5b5b5"], "down", "7 3"],
  "klt+j2k": [["#8c3b00", "#ff9a5c"], "cross", "1 2"],
};

function codecStyles() {
  const styles = {};
  let others = 0;
  for (const codec of DATA.summary.codecs) {
    const mine = DATA.ours.includes(codec.name);
    const known = KNOWN[codec.name];
    if (known) {
      styles[codec.name] = { colours: known[0], marker: known[1], dash: known[2], width: 1.8 };
      continue;
    }
    const n = mine ? DATA.ours.indexOf(codec.name) : others++;
    const palette = mine ? STYLES.ours : STYLES.others;
    styles[codec.name] = {
      colours: palette[n % palette.length],
      marker: MARKERS[(mine ? 0 : 1) + (mine ? 0 : n) % (MARKERS.length - 1)],
      dash: mine ? "" : DASHES[1 + ((n + Math.floor(n / palette.length)) % (DASHES.length - 1))],
      width: mine ? 3.2 : 1.8,
    };
  }
  return styles;
}
const CODEC_STYLES = codecStyles();
const isDark = () => document.documentElement.dataset.theme === "dark";
const colourOf = (name) => CODEC_STYLES[name].colours[isDark() ? 1 : 0];
const labelOf = (name) => (DATA.summary.codecs.find((codec) => codec.name === name) || { label: name }).label;

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "circle", "g", "rect", "polyline"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function fillSelect(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  if (chosen !== undefined) select.value = chosen;
}

const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
const signed = (value, digits) => (value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + fixed(value, digits));
const bytesText = (count) => (count < 1000 ? `${count} B` : `${(count / 1000).toFixed(count < 10000 ? 2 : 1)} kB`);
const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);

function showTip(text, x, y) {
  const tip = byId("tooltip");
  tip.textContent = text;
  tip.hidden = false;
  const width = tip.offsetWidth;
  tip.style.left = `${Math.max(4, Math.min(x + 12, window.innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, y - tip.offsetHeight - 10)}px`;
}
const hideTip = () => { byId("tooltip").hidden = true; };

const redraws = [];
function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
  byId("theme").textContent = dark ? "Light" : "Dark";
  redraws.forEach((draw) => draw());
}
byId("theme").addEventListener("click", () => setTheme(!isDark()));
