// Training curves of some runs, as they grow.

import { h, put, choice, toggle, empty, problem } from "./dom.js";
import { ask, path } from "./data.js";
import { Chart, smooth } from "./chart.js";
import { brief, count, power, status } from "./format.js";
import { CONTROL, compared, mean, settings, varying } from "./losses.js";

const X = {
  tokens: { text: "Tokens", label: "D, tokens", say: count },
  step: { text: "Steps", label: "optimizer steps", say: count },
  flops: { text: "FLOPs", label: "training FLOPs", say: power },
};
const Y = {
  validation_loss: { text: "Held-out loss", label: "held-out loss, nats/token", points: true },
  loss: { text: "Training loss", label: "training loss, nats/token" },
  bits_per_byte: { text: "Bits per byte", label: "held-out loss, bits/byte", points: true },
  gradient_norm: { text: "Gradient norm", label: "gradient norm before clipping" },
  rate_share: { text: "Learning rate", label: "share of the base rates" },
  tokens_per_second: { text: "Speed", label: "tokens/s" },
  realised_sampled: { text: "Realised R, training", label: "realised R in training, tokens/concept" },
  realised_thresholded: { text: "Realised R, evaluation", label: "realised R in evaluation, tokens/concept", points: true },
  concept_gain: { text: "Concept gain", label: "loss without concepts − with, nats/token", points: true },
  boundary_gain: { text: "Boundary gain", label: "loss with random boundaries − learned, nats/token", points: true },
  auxiliary_loss: { text: "Auxiliary loss", label: "auxiliary loss, not weighted" },
};

const KINDS = { dense: "dense", token_only: CONTROL };

/** As many curves as can be told apart. */
export const MOST = 14;

/**
 * Curves of runs of a results folder; `show(lines)` says which, each { ids, label }: of several runs their
 * mean, and faintly each of them.
 */
export class Curves {
  constructor(place, params, remember) {
    Object.assign(this, { place, remember, data: new Map(), lines: [], failed: null });
    this.x = X[params.get("x")] ? params.get("x") : "tokens";
    this.y = Y[params.get("y")] ? params.get("y") : "loss";
    this.logX = params.get("logx") === "1";
    this.logY = params.get("logy") === "1";
    this.weight = Number(params.get("smooth")) || 0;
    this.chart = new Chart();
    this.note = h("p", { class: "quiet" });
    const weight = h("output", { class: "num" }, this.weight.toFixed(2));
    const slider = h("input", {
      type: "range", min: "0", max: "0.99", step: "0.01", value: String(this.weight), "aria-label": "Smoothing",
      oninput: () => {
        this.weight = Number(slider.value);
        weight.textContent = this.weight.toFixed(2);
        this.changed();
      },
    });
    const set = key => value => {
      this[key] = value;
      this.changed();
    };
    const texts = of => Object.entries(of).map(([key, { text }]) => [key, text]);
    this.node = h("div", null, h("div", { class: "controls" },
      choice("Draw", this.y, texts(Y), set("y")), choice("Over", this.x, texts(X), set("x")),
      toggle("log y", this.logY, set("logY")), toggle("log x", this.logX, set("logX")),
      h("label", { class: "field" }, h("span", null, "Smoothing ", weight), slider)), this.chart.node, this.note);
  }

  changed() {
    this.remember({ x: this.x, y: this.y, logx: this.logX ? "1" : "", logy: this.logY ? "1" : "", smooth: this.weight || "" });
    this.draw();
  }

  /** Draws these lines, and asks for what is not known of their runs. */
  async show(lines) {
    this.lines = lines.slice(0, MOST);
    this.dropped = lines.length - this.lines.length;
    await this.grow(null);
  }

  /** Asks for what is new of the runs that have changed; `null` means all. */
  async grow(changed) {
    const ids = this.lines.flatMap(line => line.ids);
    const wanted = ids.filter(id => changed === null ? !this.data.has(id) : changed.has(id));
    try {
      await Promise.all(wanted.map(id => this.#fetch(id)));
      this.failed = null;
    } catch (error) {
      this.failed = error;
    }
    this.draw();
  }

  async #fetch(id) {
    const known = this.data.get(id);
    const after = known?.step.at(-1) ?? 0;
    const url = `${path("runs", this.place, id, "measurements")}?after=${after}`;
    const { every, ...columns } = await ask(url);
    if (!known || after === 0) {
      this.data.set(id, { ...columns, every });
      return;
    }
    for (const [name, values] of Object.entries(columns)) known[name].push(...values);
  }

  draw() {
    if (this.failed) {
      put(this.note, problem(this.failed, () => this.grow(null)));
      return;
    }
    const [x, y] = [X[this.x], Y[this.y]];
    const lines = this.lines.flatMap(({ ids, label }, pen) => {
      const curves = ids.filter(id => this.data.has(id)).map(id => {
        const data = this.data.get(id);
        return { label: `${label}: ${id.slice(0, 6)}`, pen, x: data[this.x], y: smooth(data[this.y], y.points ? 0 : this.weight), points: y.points };
      });
      if (ids.length === 1) return curves.map(curve => ({ ...curve, label }));
      return [...curves.map(curve => ({ ...curve, faint: true })), { label, pen, points: y.points, ...average(curves) }];
    });
    const ids = this.lines.flatMap(line => line.ids);
    const thinned = ids.some(id => this.data.get(id)?.every > 1);
    this.chart.draw({ lines, xLabel: x.label, xSay: x.say, yLabel: y.label, logX: this.logX, logY: this.logY });
    put(this.note, [this.dropped > 0 && `${this.dropped} more lines are selected than can be told apart. `,
      thinned && "Of long runs not every step is drawn. ", "Drag to enlarge, double-click to go back."]);
  }

  dispose() {
    this.chart.dispose();
  }
}

/** The mean of curves, where all of them are known. */
function average(curves) {
  const at = new Map();
  for (const { x, y } of curves) {
    x.forEach((place, i) => {
      if (typeof y[i] === "number") at.set(place, [...(at.get(place) ?? []), y[i]]);
    });
  }
  const shared = [...at].filter(([, values]) => values.length === curves.length).sort(([a], [b]) => a - b);
  return { x: shared.map(([place]) => place), y: shared.map(([, values]) => mean(values)) };
}

/** What tells a run from the others that are drawn, in few words; of several, what they share but their seeds. */
export function name(runs, experiment, drawn) {
  const [run] = runs;
  const told = varying(drawn, experiment).filter(axis => run.axes[axis] !== undefined && (runs.length === 1 || axis !== "seed"));
  return [runs.length === 1 ? run.id.slice(0, 6) : `mean of ${runs.length} seeds`, run.kind === "dlcm" ? null : KINDS[run.kind] ?? run.kind, run.part !== "whole" ? run.part : null,
    ...told.map(axis => `${brief(axis)}=${run.axes[axis]}`)].filter(Boolean).join(" ");
}

/** The curves of selected runs, or else of those that train. */
export function curvesTab(experiment, params, remember, base) {
  const curves = new Curves(experiment.place, params, remember);
  const which = h("p", { class: "note" });
  const node = h("div", null, which, curves.node);

  function chosen() {
    const of = keep => experiment.runs.filter(keep);
    if (experiment.selected.size) return ["The selected runs.", of(run => experiment.selected.has(run.id))];
    const running = of(run => status(run) === "running");
    if (running.length) return ["The runs that train now.", running];
    const loss = setting => mean(setting.map(run => run.loss));
    const known = settings(compared(experiment).runs.filter(run => run.loss !== null));
    const best = known.sort((a, b) => loss(a) - loss(b)).slice(0, 6).flat();
    return [best.length ? "No run trains: the settings with the lowest loss at the largest D, six at most." : "", best];
  }

  async function show() {
    const [text, runs] = chosen();
    put(which, text, " ", h("a", { href: `${base}/runs` }, "Select runs in the table"), ".");
    if (!runs.length) {
      put(curves.chart.node, empty("No run has been measured yet."));
      return;
    }
    await curves.show(settings(runs).map(of => ({ ids: of.map(run => run.id), label: name(of, experiment, runs) })));
  }

  show();
  return {
    node,
    async update(changed) {
      await show();
      const running = experiment.runs.filter(run => status(run) === "running").map(run => run.id);
      await curves.grow(changed ?? new Set(running));
    },
    shown: () => curves.draw(),
    dispose: () => curves.dispose(),
  };
}
