// The axes of an experiment: how much of the variance of the loss each explains, and all runs across them.

import { h, svg, put, choice, empty } from "./dom.js";
import { axis, brief, byValue, fixed, percent, viridis, written } from "./format.js";
import { compared, place, said, varying } from "./losses.js";

/** As many lines as can be told apart at all. */
const MOST = 2000;

export function axesTab(experiment, params, remember) {
  const controls = h("div", { class: "controls" });
  const body = h("div");
  let tokens = params.get("at.tokens");

  function draw() {
    const { runs, at, values } = compared(experiment, tokens);
    put(controls, values.length > 1 && choice(axis("tokens"), at, [...values.map(v => [v, v]), ["all", "all"]], value => {
      tokens = value;
      remember({ "at.tokens": value });
      draw();
      controls.querySelector("select").focus();
    }));
    const known = runs.filter(run => run.loss > 0);
    const axes = varying(known, experiment);
    if (known.length < 3 || !axes.length) {
      put(body, empty("Axes can be compared as soon as three runs that differ have a loss."));
      return;
    }
    put(body, importance(known, axes), across(known, axes));
  }

  draw();
  return { node: h("div", null, controls, body), update: draw };
}

/** Shares of the variance of ln loss between the values of each axis, one axis at a time. */
function importance(runs, axes) {
  const logs = runs.map(run => Math.log(run.loss));
  const mean = of => of.reduce((sum, v) => sum + v, 0) / of.length;
  const squares = (of, around) => of.reduce((sum, v) => sum + (v - around) ** 2, 0);
  const middle = mean(logs);
  const all = squares(logs, middle);
  const shares = axes.map(name => {
    const groups = new Map();
    runs.forEach((run, i) => {
      const value = place(run, name);
      groups.set(value, [...(groups.get(value) ?? []), logs[i]]);
    });
    const between = [...groups.values()].reduce((sum, of) => sum + of.length * (mean(of) - middle) ** 2, 0);
    // Values that mean nothing explain as much on average.
    return { name, share: all > 0 ? between / all : 0, chance: (groups.size - 1) / (runs.length - 1), values: groups.size };
  }).sort((a, b) => b.share - a.share);
  return h("section", { "aria-labelledby": "importance" }, h("h2", { id: "importance" }, "What the loss varies with"),
    h("p", { class: "quiet" }, `Share of the variance of ln loss between the values of an axis (η², one axis at a time, ${runs.length} runs). `
      + "The tick is what values without meaning explain by chance. Axes that are not crossed with each other share what they explain."),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Shares of variance" }, h("table", { class: "plain shares" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Axis"), h("th", { scope: "col", class: "num" }, "Values"),
        h("th", { scope: "col", class: "num" }, "η²"), h("th", { scope: "col", class: "num" }, "By chance"), h("th", { scope: "col" }, h("span", { class: "hidden" }, "Bar")))),
      h("tbody", null, shares.map(({ name, share, chance, values }) => h("tr", { class: share > chance ? null : "undetermined" },
        h("th", { scope: "row" }, axis(name)), h("td", { class: "num" }, values), h("td", { class: "num" }, percent(share)),
        h("td", { class: "num" }, percent(chance)), h("td", { class: "share", "aria-hidden": "true" },
          svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none" },
            svg("rect", { x: 0, y: 2, width: (100 * share).toFixed(1), height: 6 }),
            svg("path", { d: `M${(100 * chance).toFixed(1)} 0V10` })))))))));
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** A colour for a share of a range that can be told from the ground. */
function hue(share) {
  return viridis(dark.matches ? 0.3 + 0.7 * share : 0.9 * share).fill;
}

/** Every run as a line across its axes to its loss, coloured by it. */
function across(runs, axes) {
  const places = axes.map(name => ({ name, ...scale(runs, name) }));
  const losses = runs.map(run => run.loss);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const share = loss => (high > low ? (loss - low) / (high - low) : 0.5);
  places.push({ text: "loss", at: run => share(run.loss), marks: high > low ? [[0, fixed(3)(low)], [1, fixed(3)(high)]] : [[0.5, fixed(3)(low)]] });
  const room = Math.min(innerWidth, 1500) - 150;
  const [gap, height, side, top] = [Math.max(75, room / (places.length - 1)), 280, 45, 34];
  const width = 2 * side + gap * (places.length - 1);
  const x = i => side + gap * i;
  const y = at => top + (1 - at) * (height - top - 14);
  // The best are drawn over the others.
  const sorted = [...runs].sort((a, b) => b.loss - a.loss);
  const step = Math.ceil(sorted.length / MOST);
  const shown = sorted.filter((_, i) => (sorted.length - 1 - i) % step === 0);
  const lines = shown.map(run => svg("path", {
    d: places.map(({ at }, i) => `${i ? "L" : "M"}${x(i)} ${y(at(run)).toFixed(1)}`).join(""),
    stroke: hue(share(run.loss)),
  }, svg("title", null, `${run.id}: loss ${fixed(4)(run.loss)}, ${axes.map(name => `${brief(name)} ${said(place(run, name), name)}`).join(", ")}`)));
  const best = sorted.at(-1);
  const text = `Parallel coordinates: ${shown.length} runs across ${axes.map(brief).join(", ")} to their loss, from ${fixed(3)(low)} to ${fixed(3)(high)} nats/token; `
    + `the lowest has ${axes.map(name => `${brief(name)} ${said(place(best, name), name)}`).join(", ")}.`;
  return h("section", { "aria-labelledby": "across" }, h("h2", { id: "across" }, "Runs across the axes"),
    h("p", { class: "scale" }, h("span", null, "Loss, nats/token: "), h("span", { class: "num" }, fixed(3)(low)),
      h("span", { class: "ramp", "aria-hidden": "true", style: { background: `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(hue).join(", ")})` } }), h("span", { class: "num" }, fixed(3)(high)),
      step > 1 && h("span", { class: "quiet" }, ` Every ${step}th run is drawn.`)),
    h("figure", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Parallel coordinates" },
      svg("svg", { class: "across", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": text },
        svg("g", { class: shown.length > 200 ? "many" : null }, lines),
        places.map(({ name, text: title, marks }, i) => [
          svg("path", { d: `M${x(i)} ${y(0)}V${y(1)}`, class: "rule" }),
          svg("text", { x: x(i), y: 14, "text-anchor": "middle" }, title ?? brief(name)),
          marks.map(([at, value]) => svg("text", { x: x(i) + 5, y: y(at) + 4, class: "mark" }, value))]))));
}

/** Where values stand along an axis: numbers by size, by their logarithm where they span much; others in order. */
function scale(runs, name) {
  const values = [...new Set(runs.map(run => place(run, name)))].sort(byValue);
  const numbers = values.map(written);
  const known = numbers.filter(v => !Number.isNaN(v));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const log = low > 0 && high / low > 4;
  const of = log ? Math.log : v => v;
  const others = values.length - known.length;
  // What has no number stands above those that have.
  const room = others && known.length ? 0.82 : 1;
  const at = value => {
    const number = written(value);
    if (known.length > 1 && !Number.isNaN(number)) return (room * (of(number) - of(low))) / (of(high) - of(low));
    return values.length > 1 ? values.indexOf(value) / (values.length - 1) : 0.5;
  };
  const marks = values.map(value => [at(value), said(value, name)]);
  const step = Math.ceil(marks.length / 12);
  return { at: run => at(place(run, name)), marks: marks.filter((_, i) => i % step === 0) };
}
