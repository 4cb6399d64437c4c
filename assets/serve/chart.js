// Line charts: uPlot in the colours of the page.

import { h, put, empty } from "./dom.js";
import { number, count } from "./format.js";

// Okabe and Ito's colours, told apart by the colour-blind; after seven, dashes too.
const LIGHT = ["#0072b2", "#c14d00", "#007d5c", "#a8497d", "#2a85c0", "#a36a00", "#4a4a4a"];
const DARK = ["#5db4f0", "#ff9350", "#2fc99b", "#e79cc4", "#8fd0f7", "#f2b134", "#d0d0d0"];
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];

const dark = matchMedia("(prefers-color-scheme: dark)");

/** How the i-th line is drawn. */
export function pen(i) {
  const colours = dark.matches ? DARK : LIGHT;
  return { colour: colours[i % colours.length], dash: DASHES[Math.floor(i / colours.length) % DASHES.length] };
}

/**
 * A chart of lines. `draw({ lines: [{ label, x, y, points, faint }], xLabel, yLabel, logX, logY })` draws it
 * anew; where only the numbers differ, the view stays.
 */
export class Chart {
  constructor(height = Math.max(300, Math.min(620, innerHeight - 430))) {
    this.height = height;
    this.node = h("div", { class: "chart" });
    this.plot = null;
    this.form = "";
    this.last = null;
    this.resized = new ResizeObserver(() => {
      const width = this.node.clientWidth;
      if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
    });
    this.resized.observe(this.node);
    this.repaint = () => {
      this.form = "";
      if (this.last) this.draw(this.last);
    };
    dark.addEventListener("change", this.repaint);
  }

  dispose() {
    this.resized.disconnect();
    dark.removeEventListener("change", this.repaint);
    this.plot?.destroy();
  }

  draw(what) {
    this.last = what;
    const lines = what.lines.map(line => ({ ...line, ...visible(line, what) })).filter(line => line.x.length);
    if (!lines.length) {
      this.plot?.destroy();
      this.plot = null;
      this.form = "";
      put(this.node, empty(what.none ?? "Nothing has been measured yet."));
      return;
    }
    const data = uPlot.join(lines.map(line => [line.x, line.y]));
    const form = JSON.stringify([what.xLabel, what.yLabel, what.logX, what.logY, lines.map(l => [l.label, l.points, l.faint, l.x.length === 1])]);
    if (this.plot && form === this.form) {
      this.plot.setData(data);
    } else {
      this.plot?.destroy();
      put(this.node);
      this.form = form;
      this.plot = new uPlot(this.#options(lines, what), data, this.node);
    }
    const canvas = this.plot.root.querySelector("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", inWords(lines.filter(line => !line.faint), what));
  }

  #options(lines, what) {
    const css = getComputedStyle(document.documentElement);
    const ink = css.getPropertyValue("--quiet").trim();
    const line = css.getPropertyValue("--line").trim();
    const font = `12px ${css.getPropertyValue("--font").trim()}`;
    const ax = (label, log, say, size) => ({
      label, stroke: ink, font, labelFont: font, labelSize: 22, size, grid: { stroke: line, width: 1 },
      ticks: { stroke: line, width: 1, size: 5 }, values: (_, values) => values.map(v => (v === null ? "" : say(v))),
      ...(log ? { splits: (_, __, low, high) => marks(low, high), filter: (_, values) => values } : {}),
    });
    const scale = log => (log ? { distr: 3, range: (_, low, high) => [low / 1.02, high * 1.02] } : { distr: 1 });
    const say = what.xSay ?? count;
    return {
      width: this.node.clientWidth || 800,
      height: this.height,
      cursor: { drag: { x: true, y: true, uni: 20 }, points: { size: 6 } },
      legend: { live: true },
      padding: [12, 24, 0, 0],
      scales: {
        x: { time: false, ...(what.logX ? scale(true) : {}) },
        y: scale(what.logY),
      },
      axes: [ax(what.xLabel, what.logX, say, 40), ax(what.yLabel, what.logY, number, 64)],
      series: [
        { label: what.xLabel.split(",")[0], value: (_, v) => (v === null ? "–" : say(v)) },
        ...lines.map((l, i) => {
          const { colour, dash } = pen(l.pen ?? i);
          return {
            label: l.label, stroke: colour, dash, width: l.points || l.faint ? 1 : 1.5, spanGaps: true,
            alpha: l.faint ? 0.3 : 1, class: l.faint ? "faint" : undefined,
            points: { show: l.points || l.marked || l.x.length === 1, size: 5, fill: colour, stroke: colour },
            value: (_, v) => (v === null || v === undefined ? "–" : number(v)),
          };
        }),
      ],
    };
  }
}

/** What a chart shows, for those who cannot see it. */
function inWords(lines, { xLabel, yLabel }) {
  const ends = lines.map(({ label, y }) => `${label} from ${number(y[0])} to ${number(y.at(-1))}`);
  return `${yLabel} against ${xLabel}: ${ends.join("; ")}`;
}

/** Round numbers along a logarithmic axis, on which a decade may be wide or narrow. */
function marks(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 0.8) {
    const rough = (high - low) / 6;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = unit * [1, 2, 5, 10].find(times => times * unit >= rough);
    const from = Math.ceil(low / step);
    return Array.from({ length: Math.floor(high / step) - from + 1 }, (_, i) => Number(((from + i) * step).toPrecision(12)));
  }
  const times = decades < 2.5 ? [1, 2, 5] : [1];
  const [from, to] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  return Array.from({ length: to - from + 1 }, (_, i) => times.map(t => Number((t * 10 ** (from + i)).toPrecision(12))))
    .flat().filter(v => v >= low && v <= high);
}

/** Leaves out what cannot be drawn: what is missing, and what has no logarithm. */
function visible({ x, y }, { logX, logY }) {
  const kept = [[], []];
  for (let i = 0; i < x.length; i++) {
    if (y[i] === null || y[i] === undefined || (logX && x[i] <= 0) || (logY && y[i] <= 0)) continue;
    kept[0].push(x[i]);
    kept[1].push(y[i]);
  }
  return { x: kept[0], y: kept[1] };
}

/** Exponential smoothing that begins unbiased; 0 is none. */
export function smooth(values, weight) {
  if (!weight) return values;
  let [sum, norm] = [0, 0];
  return values.map(value => {
    if (value === null) return null;
    sum = sum * weight + value * (1 - weight);
    norm = norm * weight + (1 - weight);
    return sum / norm;
  });
}

