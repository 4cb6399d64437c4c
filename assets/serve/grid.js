// The grid as a matrix over two axes, coloured by where runs stand or by what they reached.

import { h, put, choice, empty } from "./dom.js";
import { Chart } from "./chart.js";
import { STATES, status, described, axis, brief, byValue, fixed, written, viridis, viridisGradient, MISSING } from "./format.js";
import { CONTROL, compared, mean, place, results, said, settings } from "./losses.js";

const METRICS = {
  state: { text: "State" },
  loss: { text: "Loss", unit: "nats/token", digits: 3 },
  bits_per_byte: { text: "Bits per byte", unit: "bits/byte", digits: 3 },
  concept_gain: { text: "Concept gain", unit: "nats/token", digits: 3 },
  concept_worth: { text: "Concept worth", unit: "nats/token", digits: 3 },
  boundary_gain: { text: "Boundary gain", unit: "nats/token", digits: 3 },
  realised_ratio: { text: "Realised R", unit: "tokens/concept", digits: 2 },
};

/** Axes that are drawn by their logarithm, as laws read them. */
const SIZES = ["params", "tokens", "flops"];

export function gridTab(experiment, params, remember, base) {
  const factors = factorsOf(experiment);
  const names = [...factors.keys()];
  const wish = ["concept_share", "compression_ratio", "params", "tokens"].filter(name => factors.has(name));
  const order = [...wish, ...names.filter(name => !wish.includes(name))];
  const pick = (key, fallback) => (factors.has(params.get(key)) ? params.get(key) : fallback);
  let rows = pick("rows", order[0]);
  let columns = pick("cols", (factors.has("params") && rows !== "params" ? "params" : order.find(n => n !== rows)));
  const finished = experiment.runs.some(run => run.loss !== null);
  let metric = METRICS[params.get("by")] ? params.get("by") : finished ? "loss" : "state";
  let tokens = params.get("at.tokens");
  const held = new Map();
  for (const name of names) if (name !== "tokens" && params.get(`at.${name}`) !== null) held.set(name, params.get(`at.${name}`));

  const controls = h("div", { class: "controls" });
  const legend = h("div", { class: "legend" });
  const matrix = h("div", { class: "scroll matrix" });
  const detail = h("p", { class: "detail" }, "A cell says more when it is pointed at, or reached with the arrow keys.");
  const chart = new Chart(300);
  const lines = h("figure", { class: "lines" }, chart.node);
  const node = h("div", null, controls, h("div", { class: "columns" },
    h("div", null, matrix, h("div", { class: "under" }, detail, legend)), lines));

  function draw() {
    const options = names.map(name => [name, axis(name)]);
    const { at, values } = compared(experiment, tokens);
    put(controls,
      names.length > 0 && choice("Rows", rows, options, value => {
        if (value === columns) columns = rows;
        rows = value;
        changed();
      }),
      names.length > 1 && choice("Columns", columns, options, value => {
        if (value === rows) rows = columns;
        columns = value;
        changed();
      }),
      experiment.runs.length > 0 && choice("Colour", metric, Object.entries(METRICS).map(([key, { text }]) => [key, text]), value => {
        metric = value;
        changed();
      }),
      others().includes("tokens") && choice(axis("tokens"), at, [...values.map(v => [v, v]), ["all", "all"]], value => {
        tokens = value;
        changed();
      }),
      others().filter(name => name !== "tokens").map(name =>
        choice(axis(name), held.get(name) ?? "", [["", "all"], ...factors.get(name).map(v => [v, said(v, name)])], value => {
          if (value) held.set(name, value);
          else held.delete(name);
          changed();
        })));
    cells();
  }

  /** The axes that are neither rows nor columns. */
  function others() {
    return names.filter(name => name !== rows && name !== columns);
  }

  function changed() {
    const at = Object.fromEntries(names.map(name => [`at.${name}`, others().includes(name) ? held.get(name) : null]));
    if (others().includes("tokens")) at["at.tokens"] = tokens;
    remember({ rows, cols: columns, by: metric, ...at });
    const focused = controls.contains(document.activeElement)
      ? [...controls.querySelectorAll("select")].indexOf(document.activeElement) : -1;
    draw();
    controls.querySelectorAll("select")[focused]?.focus();
  }

  function cells() {
    detail.hidden = !experiment.runs.length;
    if (detail.hidden) {
      const imported = experiment.imported > 0 ? ` The ${experiment.imported} imported ones are fitted: the view Fit shows them.` : "";
      put(matrix, empty(`No runs are planned.${imported}`));
      return;
    }
    const value = (run, name) => (name ? place(run, name) : "");
    // A loss falls with D, whatever else is chosen: of several D only one is compared.
    const alike = others().includes("tokens") ? compared(experiment, tokens).runs : results(experiment);
    // A control is no setting of the models that it is a control of.
    const pools = others().includes("compression_ratio") && !held.has("compression_ratio");
    const meant = pools ? alike.filter(run => run.kind !== "token_only") : alike;
    const shown = meant.filter(run => others().every(name => !held.has(name) || value(run, name) === held.get(name)));
    const at = new Map();
    for (const run of shown) {
      const key = JSON.stringify([value(run, rows), value(run, columns)]);
      if (!at.has(key)) at.set(key, []);
      at.get(key).push(run);
    }
    const rowValues = rows ? factors.get(rows) : [""];
    const columnValues = columns ? factors.get(columns) : [""];
    const used = name => values => values.filter(v => shown.some(run => value(run, name) === v));
    const ys = used(rows)(rowValues);
    const xs = used(columns)(columnValues);
    const best = new Map([...at].map(([key, runs]) => [key, summary(runs, metric)]));
    const numbers = [...best.values()].map(cell => cell.value).filter(v => v !== null);
    const range = [Math.min(...numbers), Math.max(...numbers)];
    let firstCell = true;
    const table = h("table", null,
      h("caption", { class: "hidden" }, `Runs by ${axis(rows ?? "")} and ${axis(columns ?? "")}`),
      h("thead", null,
        h("tr", null, h("td", { class: "corner" }, h("span", null, rows && `${brief(rows)} ↓`), h("span", null, columns && `${brief(columns)} →`)),
          xs.map(x => h("th", { scope: "col" }, said(x, columns))))),
      h("tbody", null, ys.map(y => h("tr", null, h("th", { scope: "row" }, said(y, rows)),
        xs.map(x => {
          const key = JSON.stringify([y, x]);
          const runs = at.get(key);
          if (!runs) return h("td", { class: "none" }, h("span", { class: "hidden" }, "no run"));
          const link = cell(runs, best.get(key), range, [y, x]);
          link.tabIndex = firstCell ? 0 : -1;
          firstCell = false;
          return h("td", null, link);
        })))));
    const focused = matrix.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    put(matrix, table);
    if (focused) [...matrix.querySelectorAll("a")].find(link => link.dataset.key === focused)?.focus();
    put(legend, metric === "state" ? [stateLegend(shown), [...at.values()].some(runs => runs.length > 1)
      && h("p", { class: "quiet" }, "A cell of several runs shows how many have finished, and the shares of the states.")] : scaleLegend(range, METRICS[metric], shown),
      results(experiment).length < experiment.runs.length
        && h("p", { class: "quiet" }, "Trunks, from which branches go on, and trials of learning rates are left out."),
      meant.length < alike.length && h("p", { class: "quiet" }, `Controls are shown where declared R is “${CONTROL}”.`));
    along(xs, ys, best);
  }

  /** The same numbers as lines along the columns, where those are numbers. */
  function along(xs, ys, best) {
    const at = xs.map(written);
    const numeric = at.filter(x => !Number.isNaN(x));
    lines.hidden = metric === "state" || numeric.length < 2;
    if (lines.hidden) return;
    const { text, unit } = METRICS[metric];
    chart.draw({
      xLabel: axis(columns), yLabel: `${text.toLowerCase()}, ${unit}`,
      logX: numeric.every(x => x > 0) && (SIZES.includes(columns) || Math.max(...numeric) / Math.min(...numeric) > 4), logY: false,
      lines: ys.map((y, pen) => {
        const kept = xs.map((x, i) => [at[i], best.get(JSON.stringify([y, x]))?.value ?? null]).filter(([x]) => !Number.isNaN(x));
        return { label: `${brief(rows ?? "")} ${said(y, rows)}`, pen, marked: true, x: kept.map(([x]) => x), y: kept.map(([, v]) => v) };
      }),
    });
  }

  function cell(runs, { value, states }, range, [y, x]) {
    const { digits, text, unit } = METRICS[metric];
    const one = runs.length === 1 ? runs[0] : null;
    const where = [[rows, y], [columns, x]].filter(([name]) => name);
    const named = where.map(([name, v]) => `${brief(name)} ${said(v, name)}`).join(", ");
    const state = worst(states);
    const words = Object.entries(states).map(([name, n]) => `${runs.length > 1 ? `${n} ` : ""}${STATES[name].text}`).join(", ");
    const about = `${named}: ${one ? described(one) : words}`
      + (metric !== "state" ? `; ${pooled(runs)}${text.toLowerCase()} ${value === null ? "not known" : `${fixed(4)(value)} ${unit}`}` : "");
    const href = one ? `#/run/${encodeURIComponent(experiment.place)}/${one.id}`
      : `${base}/runs?q=${encodeURIComponent(where.map(([name, v]) => sought(name, v)).concat(
        [...held].filter(([name]) => others().includes(name)).map(([name, v]) => sought(name, v)),
        others().includes("tokens") && runs[0].axes.tokens && runs.every(run => run.axes.tokens === runs[0].axes.tokens) ? [`tokens=${runs[0].axes.tokens}`] : []).join(" "))}`;
    const mixed = metric === "state" && Object.keys(states).length > 1;
    let content;
    let style = null;
    if (metric === "state") {
      content = !mixed
        ? [h("span", { class: "sign", "aria-hidden": "true" }, STATES[state].sign), runs.length > 1 && h("small", null, runs.length)]
        : [h("small", null, `${states.finished ?? 0} of ${runs.length}`), h("span", { class: "statebar", "aria-hidden": "true" },
          Object.keys(STATES).filter(name => states[name]).map(name =>
            h("span", { "data-state": name, style: { width: `${(100 * states[name]) / runs.length}%` } })))];
    } else if (value === null) {
      content = [h("span", { class: "sign", "aria-hidden": "true" }, STATES[state].sign)];
    } else {
      const share = range[1] > range[0] ? (value - range[0]) / (range[1] - range[0]) : 0.5;
      const colour = viridis(share);
      style = { background: colour.fill, color: colour.text };
      content = [fixed(digits)(value), runs.length > 1 && h("small", null, `of ${runs.length}`),
        state !== "finished" && h("small", { "aria-hidden": "true" }, STATES[state].sign)];
    }
    const tell = () => { detail.textContent = about + (one ? ` · run ${one.id}` : ` · ${runs.length} runs`); };
    return h("a", {
      href, style, class: "cell", "aria-label": about, "data-key": JSON.stringify([y, x]),
      "data-state": style ? null : mixed ? "mixed" : state, onfocus: tell, onmouseenter: tell,
    }, content);
  }

  matrix.addEventListener("keydown", event => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    const here = event.target.closest?.("td");
    if (!step || !here) return;
    event.preventDefault();
    let [y, x] = [here.parentNode.rowIndex, here.cellIndex];
    const table = here.closest("table");
    // Over empty places to the next cell.
    for (;;) {
      y += step[0];
      x += step[1];
      const next = table.rows[y]?.cells[x];
      if (!next) return;
      const link = next.querySelector("a");
      if (!link) continue;
      event.target.tabIndex = -1;
      link.tabIndex = 0;
      link.focus();
      return;
    }
  });

  return { node, update: cells, shown: draw, dispose: () => chart.dispose() };
}

/** Axes that have more than one value, with their values in order. */
function factorsOf(experiment) {
  const found = new Map();
  for (const name of experiment.axes) {
    const values = new Set(experiment.runs.map(run => place(run, name)));
    if (values.size > 1) found.set(name, [...values].sort(byValue));
  }
  return found;
}

/** Where the runs of a cell stand, and what those of the setting with the lowest mean loss reached on average. */
function summary(runs, metric) {
  const states = {};
  for (const run of runs) states[status(run)] = (states[status(run)] ?? 0) + 1;
  if (metric === "state") return { states, value: null };
  const of = (setting, name) => mean(setting.map(run => run[name]));
  const known = settings(runs).filter(setting => of(setting, metric) !== null);
  const loss = setting => of(setting, "loss") ?? Infinity;
  const best = known.reduce((best, setting) => (best && loss(best) <= loss(setting) ? best : setting), null);
  return { states, value: best && of(best, metric) };
}

/** Says what stands for several runs. */
function pooled(runs) {
  if (runs.length === 1) return "";
  const several = settings(runs).length;
  return several === 1 ? `mean over ${runs.length} seeds: ` : `best of ${several} settings, mean over seeds: `;
}

/** A value of an axis as the table of runs is filtered by it. */
function sought(name, value) {
  return value === CONTROL ? "token_only" : `${name}=${value === MISSING ? "none" : value}`;
}

function worst(states) {
  return ["failed", "diverged", "running", "waiting", "cancelled", "pending", "finished"].find(name => states[name]);
}

function stateLegend(runs) {
  const states = [...new Set(runs.map(status))];
  return h("ul", null, Object.keys(STATES).filter(name => states.includes(name)).map(name =>
    h("li", null, h("span", { class: "swatch", "data-state": name, "aria-hidden": "true" }, STATES[name].sign), STATES[name].text)));
}

function scaleLegend([low, high], { text, unit, digits }, runs) {
  if (!Number.isFinite(low)) return h("p", { class: "quiet" }, `${text} is not known yet.`);
  const others = runs.some(run => run.loss === null);
  return h("div", { class: "scale" }, h("span", null, `${text}, ${unit}: `), h("span", { class: "num" }, fixed(digits)(low)),
    h("span", { class: "ramp", "aria-hidden": "true", style: { background: viridisGradient() } }),
    h("span", { class: "num" }, fixed(digits)(high)),
    h("span", { class: "quiet" }, " A cell of several runs shows the mean over the seeds of the setting with the lowest loss."),
    others && stateLegend(runs.filter(run => run.loss === null || status(run) !== "finished")));
}
