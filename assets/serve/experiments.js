// All experiments of all results folders.

import { h, put, problem, empty, calmly } from "./dom.js";
import { ask, watch } from "./data.js";
import { count, fixed, power, time, MISSING } from "./format.js";

export function experimentsView() {
  const body = h("div", null, h("p", { class: "note" }, "Loading experiments…"));
  const node = h("section", { class: "page", "aria-labelledby": "title" },
    h("h1", { id: "title" }, "Experiments"), body);
  let versions = null;

  async function load() {
    try {
      const places = await ask("/api/experiments");
      versions = JSON.stringify(places.filter(p => p.version !== null).map(p => [p.place, p.version]).sort());
      show(body, places);
      performance.mark("drawn");
    } catch (error) {
      versions = null;
      put(body, problem(error, load));
    }
  }
  load();
  const dispose = watch({
    place: null,
    // Stale when the databases, or their versions, are others than those shown.
    version: now => (now ? JSON.stringify(Object.entries(now).sort()) : versions),
    stale: calmly(load, 200),
    changed() {},
  });
  return { node, dispose, title: "Experiments", crumbs: [["experiments"]] };
}

function show(body, places) {
  const rows = places.flatMap(place => place.experiments.map(experiment => ({ place, ...experiment })));
  const broken = places.filter(place => place.problem);
  if (!rows.length && !broken.length) {
    put(body, empty("No results yet. ", h("code", null, "orchestrator run experiments/quickstart.yaml"),
      " trains a first experiment; it appears here as soon as it is planned."));
    return;
  }
  put(body,
    broken.map(place => h("div", { class: "problem" }, h("p", null, place.problem))),
    rows.length > 0 && h("div", { class: "scroll cards", tabindex: "0", role: "region", "aria-label": "Experiments" },
      h("table", { class: "plain" },
        h("thead", null, h("tr", null,
          h("th", { scope: "col" }, "Experiment"), h("th", { scope: "col" }, "Runs"),
          h("th", { scope: "col", class: "num" }, "Lowest loss", h("small", null, "nats/token, at the largest D")),
          h("th", { scope: "col", class: "num" }, "Spent", h("small", null, "FLOPs")),
          h("th", { scope: "col" }, "Last planned"), h("th", { scope: "col" }, "Results folder"))),
        h("tbody", null, rows.map(row)))));
}

function row(experiment) {
  const { place, name, runs, finished, running, diverged, failed, cancelled, imported } = experiment;
  const pending = runs - finished - running - diverged - failed - cancelled;
  const href = `#/x/${encodeURIComponent(place.place)}/${encodeURIComponent(name)}`;
  return h("tr", null,
    h("th", { scope: "row" }, h("a", { href }, name)),
    h("td", { "data-name": "Runs" }, bar({ finished, running, pending, diverged, failed, cancelled }, runs),
      imported > 0 && h("span", { class: "quiet" }, ` + ${imported} imported`)),
    h("td", { class: "num", "data-name": "Lowest loss" }, fixed(4)(experiment.lowest_loss)),
    h("td", { class: "num", "data-name": "Spent, FLOPs" }, power(experiment.flops)),
    h("td", { "data-name": "Last planned" }, time(experiment.updated_at)),
    h("td", { class: "quiet", "data-name": "Results folder" }, place.folder));
}

/** Shares of states as a bar, and the same in words. */
export function bar(states, of) {
  const some = Object.entries(states).filter(([, n]) => n > 0);
  const words = some.map(([state, n]) => `${n} ${state}`).join(", ");
  return h("div", { class: "states" },
    h("div", { class: "statebar", "aria-hidden": "true" },
      some.map(([state, n]) => h("span", { "data-state": state, style: { width: `${(100 * n) / of}%` } }))),
    h("span", null, of ? (some.length === 1 && states.finished === of ? `${count(of)} finished` : words) : MISSING));
}
