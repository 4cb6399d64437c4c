// An experiment: its runs as a grid, a table, curves, across its axes, a comparison and a fit.

import { h, put, problem, empty } from "./dom.js";
import { Experiment, path } from "./data.js";
import { Changes } from "./changes.js";
import { STATES, status } from "./format.js";
import { bar } from "./experiments.js";
import { gridTab } from "./grid.js";
import { tableTab } from "./table.js";
import { curvesTab } from "./curves.js";
import { axesTab } from "./axes.js";
import { compareTab } from "./compare.js";
import { fitTab } from "./fit.js";
import { claimsTab } from "./claims.js";

const TABS = [["grid", "Grid", gridTab], ["runs", "Runs", tableTab], ["curves", "Curves", curvesTab],
  ["axes", "Axes", axesTab], ["compare", "Compare", compareTab], ["fit", "Fit", fitTab], ["claims", "Claims", claimsTab], ["file", "File", fileTab]];

export function experimentView(place, name, tab, params, keep) {
  const experiment = Experiment.of(place, name);
  const selected = params.get("sel");
  if (selected !== null) experiment.selected = new Set(selected.split(",").filter(Boolean));
  const base = `#/x/${encodeURIComponent(place)}/${encodeURIComponent(name)}`;
  const strip = h("div", { class: "strip" });
  const cutOff = h("p", { class: "note cutoff", role: "status", hidden: true });
  const changes = new Changes();
  const links = h("ul", { class: "tabs" });
  const body = h("div", { class: "tab" }, h("p", { class: "note" }, "Loading runs…"));
  const file = kind => `${path("experiments", place, name)}/runs.${kind}`;
  const node = h("section", { class: "page", "aria-labelledby": "title" },
    h("div", { class: "head" },
      h("h1", { id: "title" }, name), strip,
      h("p", { class: "downloads" }, "Download runs: ",
        h("a", { href: file("csv"), download: true }, "CSV"), " ",
        h("a", { href: file("parquet"), download: true }, "Parquet"))),
    cutOff, changes.node,
    h("nav", { "aria-label": "Views of the experiment" }, links), body);
  let shown = null;
  let stop = () => {};

  /** Keeps the selection in the address, whatever else a tab keeps there. */
  function remember(more = {}) {
    for (const [key, value] of Object.entries(more)) {
      if (value === null || value === undefined || value === "") params.delete(key);
      else params.set(key, value);
    }
    if (experiment.selected.size) params.set("sel", [...experiment.selected].join(","));
    else params.delete("sel");
    keep(params);
    header();
  }

  function header() {
    const states = Object.fromEntries(Object.keys(STATES).map(name => [name, 0]));
    for (const run of experiment.runs ?? []) states[status(run)] += 1;
    put(strip, experiment.runs && bar(states, experiment.runs.length));
    cutOff.hidden = !(states.running > 0 && experiment.atWork === false);
    cutOff.textContent = cutOff.hidden ? "" : "No orchestrator is at work here: what says running was cut off,"
      + " and goes on with `orchestrator run FILE`.";
    changes.node.hidden = !experiment.allowsChanges;
    if (experiment.allowsChanges) changes.ofExperiment(experiment);
    const sel = experiment.selected.size;
    const tabs = TABS.filter(([key]) => key !== "claims" || experiment.claims);
    put(links, tabs.map(([key, text]) => h("li", null, h("a", {
      href: `${base}/${key}${sel ? `?sel=${[...experiment.selected].join(",")}` : ""}`,
      "aria-current": key === tab ? "page" : null,
    }, text, sel > 0 && (key === "compare" || key === "curves")
      && h("span", { class: "badge", title: "selected runs" }, sel)))));
  }

  async function start() {
    try {
      // Both are on their way at once; whoever shows the fit says what is wrong with it.
      if (tab === "fit") experiment.storedFit().catch(() => {});
      if (experiment.runs === null) await experiment.load();
    } catch (error) {
      put(body, problem(error, start));
      return;
    }
    const make = TABS.find(([key]) => key === tab)?.[2];
    header();
    if (!make) {
      put(body, empty("There is no such view."));
      return;
    }
    shown = make(experiment, params, remember, base);
    put(body, shown.node);
    shown.shown?.();
    performance.mark("drawn");
    stop = experiment.follow(changed => {
      header();
      shown.update?.(changed);
    });
  }
  start();
  return {
    node, title: name,
    crumbs: [["experiments", "#/"], [name]],
    dispose() {
      stop();
      shown?.dispose?.();
    },
  };
}

/** The file as it was given. */
function fileTab(experiment) {
  return {
    node: h("div", null,
      experiment.removed > 0 && h("p", { class: "note" },
        `${experiment.removed} runs of earlier versions of the file are stored too, and not shown.`),
      experiment.config
        ? h("pre", { class: "log", tabindex: "0", "aria-label": "Experiment file" }, experiment.config)
        : empty("This experiment has no file: it holds imported runs.")),
  };
}
