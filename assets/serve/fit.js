// The fit explorer: another law, fewer runs, another budget; what follows from it, before and after.

import { h, svg, put, problem, choice, empty } from "./dom.js";
import { ask, path } from "./data.js";
import { count, fixed, number, percent, power, MISSING } from "./format.js";

const LAWS = { all: "All laws, as orchestrator fit", dlcm: "DLCM law", chinchilla: "Chinchilla, dense runs", kaplan: "Kaplan, dense runs" };

export function fitTab(experiment, params, remember) {
  const memory = experiment.fits;
  memory.out ??= new Set((params.get("out") ?? "").split(",").filter(Boolean));
  memory.law ??= params.get("law") ?? "all";
  memory.draws ??= params.get("draws") ?? "200";
  memory.budget ??= params.get("budget") ?? "";
  const out = memory.out;
  const controls = h("form", { class: "controls", onsubmit: event => { event.preventDefault(); fit(); } });
  const state = h("p", { class: "note", role: "status" });
  const result = h("div");
  const node = h("div", null, controls, state, result);
  let busy = false;
  let again = false;
  let gone = false;

  function form() {
    const possible = memory.now?.possible ?? [memory.law];
    const budget = h("input", {
      type: "text", inputmode: "decimal", value: memory.budget, size: 9, placeholder: "as stated",
      oninput: () => { memory.budget = budget.value.trim(); },
    });
    put(controls,
      choice("Law", memory.law, possible.map(name => [name, LAWS[name] ?? name]), value => { memory.law = value; }),
      h("label", { class: "field" }, h("span", null, "Budget, training FLOPs"), budget),
      choice("Resamples", memory.draws, [["0", "none"], ["200", "200"], ["1000", "1000"]], value => { memory.draws = value; }),
      h("button", { type: "submit", class: "primary" }, "Fit again"),
      out.size > 0 && h("button", { type: "button", onclick: () => { out.clear(); fit(); } }, `Take back ${out.size} excluded`));
  }

  async function fit() {
    if (busy) {
      again = true;
      return;
    }
    const budget = memory.budget === "" ? null : Number(memory.budget);
    if (budget !== null && !(budget > 0)) {
      put(state, problem(new Error("A budget is a number of FLOPs above zero, such as 1e18.")));
      return;
    }
    busy = true;
    remember({ law: memory.law === "all" ? "" : memory.law, draws: memory.draws, budget: memory.budget, out: [...out].join(",") });
    form();
    // Whoever reads by ear is told once.
    const passed = h("span", { "aria-hidden": "true" });
    put(state, "Fitting… ", passed);
    const started = Date.now();
    const clock = setInterval(() => { passed.textContent = `${Math.round((Date.now() - started) / 1000)} s`; }, 1000);
    try {
      const answer = await ask(`${path("experiments", experiment.place, experiment.name)}/fit`, {
        method: "POST", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ law: memory.law, exclude: [...out], budget, draws: Number(memory.draws) }),
      });
      memory.before = memory.now;
      memory.now = answer;
      memory.asked = { law: memory.law, out: new Set(out) };
      put(state, `Fitted in ${answer.seconds.toFixed(1)} s. Nothing is stored.`);
    } catch (error) {
      put(state, problem(error));
    }
    clearInterval(clock);
    busy = false;
    if (gone) return;
    if (again) {
      again = false;
      fit();
      return;
    }
    form();
    draw();
  }

  function exclude(run, keep) {
    if (keep) out.delete(run);
    else out.add(run);
    fit();
  }

  function draw() {
    const now = memory.now;
    if (!now) return;
    const { left_out: leftOut } = now;
    put(result,
      warnings(now.warnings),
      h("div", { class: "columns" }, optimum(now, memory.before), saving(now)),
      now.laws.map(law => lawSection(law, experiment, exclude)),
      out.size > 0 && h("section", null, h("h2", null, "Excluded here"), h("ul", { class: "chips" }, [...out].map(id => h("li", null,
        h("button", { type: "button", class: "chip", onclick: () => exclude(id, true) }, `${id} – take back`))))),
      leftOut.length > 0 && h("section", null, h("h2", null, "Not fitted"), h("ul", null, leftOut.map(({ rows, why }) => h("li", null, `${rows}: ${why}`)))));
  }

  form();
  if (memory.now) draw();
  else fit();
  return {
    node,
    update(changed) {
      const ended = changed && [...changed].some(id => experiment.byId.get(id)?.state === "ended");
      if (!busy && memory.now && (ended || changed === null)) put(state, "Runs have changed since this fit.");
    },
    dispose() { gone = true; },
  };
}

function warnings(all) {
  if (!all.length) return null;
  // The fit and the allocation may say the same.
  const once = all.filter(({ message }, i) => all.findIndex(other => other.message === message) === i);
  const sorted = once.sort((a, b) => b.loud - a.loud);
  return h("section", { class: "warnings", "aria-labelledby": "warnings" }, h("h2", { id: "warnings" }, `Warnings (${once.length})`),
    h("ul", null, sorted.map(({ loud, message }) => h("li", { class: loud ? "loud" : null }, loud && h("b", null, "Important: "), message))));
}

const QUANTITIES = [["concept_share", "P*", fixed(3)], ["params", "N*", count], ["tokens", "D*", count],
  ["compression_ratio", "R*", fixed(2)], ["loss", "Loss", fixed(4)]];

function optimum(now, before) {
  const section = (...content) => h("section", { class: "grow" }, h("h2", null, "Optimum"), content);
  if (now.optimum.unknown) return section(empty(`Not known: ${now.optimum.unknown}`));
  const { budget, convention, at_tokens: held, choices } = now.optimum.known;
  const value = (chosen, key) => (key === "loss" ? chosen.loss : chosen.setting[key]);
  const old = ratio => before?.optimum.known?.choices.find(chosen => chosen.held_ratio === ratio);
  const dense = choices.every(chosen => chosen.setting.concept_share === 0);
  const shown = QUANTITIES.filter(([key]) => !(dense && (key === "concept_share" || key === "compression_ratio")));
  return section(
    h("p", { class: "quiet" }, `For ${power(budget)} training FLOPs (${convention}).`, choices.some(chosen => Object.keys(chosen.intervals).length) && " Below: 95% intervals.",
      held && ` D is held at ${count(held)}: runs at one D cannot tell how to divide a budget.`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Optimum" }, h("table", { class: "plain optimum" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "R"), shown.map(([key, text]) =>
        h("th", { scope: "col", class: "num" }, text, key === "loss" && h("small", null, "nats/token"))))),
      h("tbody", null, choices.map(chosen => [h("tr", null,
        h("th", { scope: "row" }, chosen.held_ratio === null ? (dense ? "dense" : "free") : number(chosen.held_ratio)),
        shown.map(([key, , say]) => {
          const interval = chosen.intervals[key];
          const was = old(chosen.held_ratio);
          const moved = was && say(value(was, key)) !== say(value(chosen, key));
          return h("td", { class: "num" }, h("b", null, say(value(chosen, key))),
            interval && h("small", null, `${say(interval[0])} to ${say(interval[1])}`),
            moved && h("small", { class: "moved" }, `was ${say(value(was, key))}`));
        })),
      chosen.remarks.length > 0 && h("tr", null, h("td", { colspan: shown.length + 1, class: "remark" }, chosen.remarks.join("; ")))])))));
}

function saving(now) {
  const whose = now.attribution && h("p", null, `${now.attribution.words}.`);
  const section = (...content) => h("section", { class: "grow" }, h("h2", null, "FLOPs saved against dense"), whose, content);
  if (now.saving.unknown) return section(empty(`Not known: ${now.saving.unknown}`));
  const { tokens, points } = now.saving.known;
  // Of every curve its ends and the middle.
  const shown = points.filter((point, i) => {
    const own = points.filter(other => other.held_ratio === point.held_ratio);
    return [0, Math.floor((own.length - 1) / 2), own.length - 1].includes(own.indexOf(points[i]));
  });
  const unsure = ([low, high]) => (low === null && high === null ? "no interval" : sure([low, high]) ? null : "sign not sure");
  const sure = ([low, high]) => (low !== null && low > 0) || (high !== null && high < 0);
  return section(h("p", { class: "quiet" }, `At equal loss and D = ${count(tokens)}, with 95% intervals.`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Saving" }, h("table", { class: "plain" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "R"), h("th", { scope: "col", class: "num" }, "Dense N"),
        h("th", { scope: "col", class: "num" }, "Saved"), h("th", { scope: "col", class: "num" }, "Interval"), h("th", { scope: "col" }, "Remark"))),
      h("tbody", null, shown.map(point => h("tr", null,
        h("th", { scope: "row" }, point.held_ratio === null ? "free" : number(point.held_ratio)),
        h("td", { class: "num" }, count(point.baseline)),
        h("td", { class: "num" }, point.saved === null ? "out of reach" : point.saved < -1 ? "costs over 2×" : percent(point.saved)),
        h("td", { class: "num" }, point.interval.every(end => end === null) ? MISSING
          : point.interval.map(end => (end === null || end < -1 ? "below −100%" : percent(end))).join(" to ")),
        h("td", { class: "quiet" }, [point.extrapolated && "extrapolated", unsure(point.interval)].filter(Boolean).join(", "))))))));
}

function lawSection(law, experiment, exclude) {
  const title = h("h2", null, law.title);
  if (law.problem && !law.parameters.length) return h("section", null, title, empty(`Cannot be fitted: ${law.problem}`));
  return h("section", null, title, h("p", { class: "equation" }, law.equation),
    law.problem && h("p", { class: "problem" }, law.problem),
    h("p", { class: "quiet" }, `${law.runs} runs; R² ${law.r2 === null ? "undefined" : fixed(4)(law.r2)}; typical residual ${fixed(2)(100 * law.rms_residual)}%`),
    h("div", { class: "columns" },
      h("div", { class: "scroll grow", tabindex: "0", role: "region", "aria-label": `Parameters of ${law.title}` }, h("table", { class: "plain" },
        h("thead", null, h("tr", null, ["Parameter", "Value", "95% interval", "Unit", ""].map((text, i) => h("th", { scope: "col", class: i === 1 || i === 2 ? "num" : null }, text)))),
        h("tbody", null, law.parameters.map(parameter => h("tr", null, h("th", { scope: "row" }, parameter.name),
          h("td", { class: "num" }, number(parameter.value)),
          h("td", { class: "num" }, parameter.interval ? parameter.interval.map(number).join(" to ") : MISSING),
          h("td", { class: "quiet" }, parameter.unit === "1" ? "" : parameter.unit), h("td", { class: "remark" }, parameter.note)))))),
      scatter(law.rows)),
    h("details", { open: law.rows.length <= 12 }, h("summary", null, `Runs and residuals (${law.rows.length})`), residuals(law.rows, experiment, exclude)));
}

function residuals(rows, experiment, exclude) {
  const off = row => 100 * Math.log(row.predicted / row.observed);
  const sorted = [...rows].sort((a, b) => Math.abs(off(b)) - Math.abs(off(a)));
  const shown = sorted.slice(0, 200);
  return h("div", { class: "scroll short", tabindex: "0", role: "region", "aria-label": "Residuals" }, h("table", { class: "plain" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Use"), h("th", { scope: "col" }, "Run"), h("th", { scope: "col", class: "num" }, "Loss"),
      h("th", { scope: "col", class: "num" }, "Predicted"), h("th", { scope: "col", class: "num" }, "Off by"), h("th", { scope: "col" }, "Axes"))),
    h("tbody", null, shown.map(row => h("tr", null,
      h("td", null, row.run && h("input", { type: "checkbox", checked: true, "aria-label": `Use run ${row.run}`, "data-exclude": row.run,
        onchange: event => exclude(row.run, event.target.checked) })),
      h("th", { scope: "row" }, row.run ? h("a", { class: "id", href: `#/run/${encodeURIComponent(experiment.place)}/${row.run}` }, row.run) : row.label),
      h("td", { class: "num" }, fixed(4)(row.observed)), h("td", { class: "num" }, fixed(4)(row.predicted)),
      h("td", { class: "num" }, `${fixed(2)(off(row))}%`),
      h("td", { class: "quiet" }, Object.entries(experiment.byId.get(row.run)?.axes ?? {}).map(([k, v]) => `${k}=${v}`).join(" ")))))),
  rows.length > shown.length && h("p", { class: "quiet" }, `The ${shown.length} that are farthest off.`));
}

/** Predicted against observed loss: on the line the law is right. */
function scatter(rows) {
  if (!rows.length) return null;
  const [w, hgt, pad] = [300, 240, 42];
  const values = rows.flatMap(row => [row.observed, row.predicted]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || 1) * 0.06;
  const [from, to] = [low - room, high + room];
  const x = v => pad + ((v - from) / (to - from)) * (w - pad - 8);
  const y = v => hgt - pad + 8 - ((v - from) / (to - from)) * (hgt - pad - 4);
  const ticks = [low, (low + high) / 2, high];
  return h("figure", null, svg("svg", { viewBox: `0 0 ${w} ${hgt}`, width: w, height: hgt, role: "img", "aria-label": "Predicted against observed loss" },
    svg("path", { d: `M${x(from)} ${y(from)}L${x(to)} ${y(to)}`, class: "rule" }),
    rows.slice(0, 2000).map(row => svg("circle", { cx: x(row.observed).toFixed(1), cy: y(row.predicted).toFixed(1), r: 3, class: "point" },
      svg("title", null, `${row.label}: ${row.observed.toFixed(4)}, predicted ${row.predicted.toFixed(4)}`))),
    ticks.map(v => [svg("text", { x: x(v), y: hgt - 18, "text-anchor": "middle" }, v.toFixed(2)), svg("text", { x: pad - 6, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(2))]),
    svg("text", { x: (w + pad) / 2, y: hgt - 3, "text-anchor": "middle" }, "observed loss, nats/token"),
    svg("text", { x: 10, y: hgt / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${hgt / 2})` }, "predicted")));
}
