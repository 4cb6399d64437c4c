// Selected runs beside each other: what differs, what they reached, and their curves.

import { h, put, problem, toggle, empty } from "./dom.js";
import { ask, path } from "./data.js";
import { Curves, name } from "./curves.js";
import { pen } from "./chart.js";
import { described, count, fixed, power, MISSING } from "./format.js";

const MOST = 8;

const REACHED = [["loss, nats/token", run => fixed(4)(run.loss)], ["bits per byte", run => fixed(4)(run.bits_per_byte)],
  ["FLOPs spent", run => power(run.flops)], ["realised R", run => fixed(3)(run.realised_ratio)],
  ["concept gain, nats/token", run => fixed(4)(run.concept_gain)],
  ["concept worth, nats/token", run => fixed(4)(run.concept_worth)],
  ["boundary gain, nats/token", run => fixed(4)(run.boundary_gain)], ["state", described]];

export function compareTab(experiment, params, remember, base) {
  const runs = experiment.runs.filter(run => experiment.selected.has(run.id)).slice(0, MOST);
  if (runs.length < 2) {
    return { node: empty("Select two runs or more in the ", h("a", { href: `${base}/runs?sel=${[...experiment.selected].join(",")}` }, "table of runs"), " to compare them here.") };
  }
  const curves = new Curves(experiment.place, params, remember);
  const table = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Comparison" }, h("p", { class: "note" }, "Loading…"));
  const left = experiment.selected.size - runs.length;
  let settings = null;
  let same = params.get("same") === "1";
  const node = h("div", null,
    left > 0 && h("p", { class: "note" }, `The first ${MOST} of ${experiment.selected.size} selected runs.`),
    curves.node, h("h2", null, "Beside each other"),
    h("div", { class: "controls" }, toggle("also settings that are the same", same, value => {
      same = value;
      remember({ same: value ? "1" : "" });
      draw();
    })), table);

  async function load() {
    try {
      const details = await Promise.all(runs.map(run => ask(path("runs", experiment.place, run.id))));
      settings = details.map(({ spec }) => new Map(flat(spec)));
      draw();
    } catch (error) {
      put(table, problem(error, load));
    }
  }

  function draw() {
    if (!settings) return;
    const keys = [...new Set(settings.flatMap(of => [...of.keys()]))];
    const differs = key => new Set(settings.map(of => of.get(key))).size > 1;
    const shown = keys.filter(key => same || differs(key));
    const first = runs[0].loss;
    const row = (text, values, marked) => h("tr", { class: marked ? "differs" : null }, h("th", { scope: "row" }, text),
      values.map(value => h("td", { class: "num" }, value)));
    put(table, h("table", { class: "plain compare" },
      h("thead", null, h("tr", null, h("td"), runs.map((run, i) => h("th", { scope: "col" },
        h("span", { class: "stroke", "aria-hidden": "true", style: { background: pen(i).colour } }),
        h("a", { class: "id", href: `#/run/${encodeURIComponent(experiment.place)}/${run.id}` }, run.id))))),
      h("tbody", null, h("tr", null, h("th", { scope: "rowgroup", colspan: runs.length + 1, class: "group" }, "Reached")),
        REACHED.map(([text, say]) => row(text, runs.map(say))),
        row(`loss − that of ${runs[0].id.slice(0, 6)}`, runs.map(run => (run.loss === null || first === null ? MISSING : fixed(4)(run.loss - first))))),
      h("tbody", null, h("tr", null, h("th", { scope: "rowgroup", colspan: runs.length + 1, class: "group" }, same ? "Settings" : "Settings that differ")),
        shown.length ? shown.map(key => row(key, settings.map(of => said(of.get(key))), same && differs(key)))
          : h("tr", null, h("td", { colspan: runs.length + 1, class: "quiet" }, "The settings are the same.")))));
  }

  load();
  curves.show(runs.map(run => ({ ids: [run.id], label: name([run], experiment, runs) })));
  return {
    node,
    update(changed) {
      draw();
      if (changed) curves.grow(changed);
    },
    shown: () => curves.draw(),
    dispose: () => curves.dispose(),
  };
}

/** Every value of a specification by its dotted path. */
function flat(value, path = "") {
  if (value === null || typeof value !== "object") return [[path, value === null ? undefined : String(value)]];
  if (Array.isArray(value) && value.every(v => typeof v !== "object")) return [[path, value.join(", ")]];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, path ? `${path}.${key}` : key));
}

function said(text) {
  if (text === undefined) return MISSING;
  if (/^\d{6,}$/.test(text)) return `${count(Number(text))} (${text})`;
  return /^-?\d*\.\d{7,}(e-?\d+)?$/.test(text) ? String(Number(Number(text).toPrecision(6))) : text;
}
