// Which losses are compared: of runs of one D, as a loss falls with D whatever else is chosen.

import { byValue, count, MISSING } from "./format.js";

/** What stands for R of a control, which has a token level alone. */
export const CONTROL = "control";

/** Runs that are results: neither the way to others nor trials of a rate. */
export function results(experiment) {
  const branches = experiment.runs.some(run => run.part === "branch");
  const others = experiment.runs.some(run => run.part !== "trial");
  return experiment.runs.filter(run => !(branches && run.part === "trunk") && !(others && run.part === "trial"));
}

/** Where a run stands on an axis, as written. */
export function place(run, axis) {
  if (axis === "compression_ratio" && run.kind === "token_only") return CONTROL;
  return run.axes[axis] ?? MISSING;
}

/** A value of an axis in words: only dense models have neither P nor R. */
export function said(value, axis) {
  return value === MISSING && (axis === "concept_share" || axis === "compression_ratio") ? "dense" : value;
}

/** D of a run, as written or else as trained. */
function tokens(run) {
  return run.axes.tokens ?? count(run.tokens);
}

/**
 * The results of one D: of that which is asked for, `all`, or else the largest of which a loss is known, of
 * models with concepts where there are some.
 */
export function compared(experiment, asked) {
  const runs = results(experiment);
  const values = of => [...new Set(of.map(tokens))].sort(byValue);
  const all = values(runs);
  const known = runs.filter(run => run.loss !== null);
  const largest = of => values(of).at(-1);
  const at = all.includes(asked) || asked === "all" ? asked
    : largest(known.filter(run => run.kind === "dlcm")) ?? largest(known) ?? largest(runs);
  return { runs: at === "all" ? runs : runs.filter(run => tokens(run) === at), at, values: all };
}

/** The axes on which runs differ. */
export function varying(runs, experiment) {
  return experiment.axes.filter(name => new Set(runs.map(run => place(run, name))).size > 1);
}

/** Gathers runs that differ in nothing but their seed. */
export function settings(runs) {
  const found = new Map();
  for (const run of runs) {
    const { seed, ...axes } = run.axes;
    const key = JSON.stringify([run.kind, run.part, run.params, run.tokens, Object.entries(axes).sort()]);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(run);
  }
  return [...found.values()];
}

/** The mean of what is known; null where nothing is. */
export function mean(values) {
  const known = values.filter(value => typeof value === "number");
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}
