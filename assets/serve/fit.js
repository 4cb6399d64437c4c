// The fit: the stored one at once, in the report's words; other laws, fewer runs, another budget on demand.

import { h, svg, put, markup, problem, choice, empty } from "./dom.js";
import { ask, path } from "./data.js";
import { fixed, time } from "./format.js";

const LAWS = { all: "All laws, as orchestrator fit", dlcm: "DLCM law", chinchilla: "Chinchilla, dense runs", kaplan: "Kaplan, dense runs" };

export function fitTab(experiment, params, remember) {
  const memory = experiment.fits;
  memory.running ??= null;
  memory.out ??= new Set((params.get("out") ?? "").split(",").filter(Boolean));
  memory.law ??= params.get("law") ?? "all";
  memory.draws ??= params.get("draws") ?? "200";
  memory.budget ??= params.get("budget") ?? "";
  const out = memory.out;
  const at = path("experiments", experiment.place, experiment.name);
  const which = h("p", { class: "which", role: "status" }, "Loading the stored fit…");
  const files = h("div");
  const law = h("div");
  const budget = h("input", {
    type: "text", inputmode: "decimal", value: memory.budget, size: 9, placeholder: "as stated",
    oninput: () => { memory.budget = budget.value.trim(); },
  });
  const takeBack = h("button", { type: "button", onclick: () => { out.clear(); fit(); } });
  const controls = h("form", { class: "controls", "aria-label": "Fit again", onsubmit: event => { event.preventDefault(); fit(); } },
    law, h("label", { class: "field" }, h("span", null, "Budget, training FLOPs"), budget),
    choice("Resamples", memory.draws, [["0", "none"], ["200", "200"], ["1000", "1000"]], value => { memory.draws = value; }),
    h("button", { type: "submit", class: "primary" }, "Fit again"), takeBack);
  // Whoever reads by ear is told once that it works, and when it has ended.
  const passed = h("span", { class: "num", "aria-hidden": "true" });
  const working = h("div", { class: "working", hidden: true }, h("progress", { "aria-label": "Fitting" }), passed,
    h("button", { type: "button", onclick: () => memory.running?.controller.abort() }, "Cancel"));
  const said = h("div", { role: "status" });
  const result = h("div", { class: "analysis" });
  const node = h("div", null, which, files, controls, working, said, result);
  let gone = false;

  function form(possible) {
    const laws = possible.includes(memory.law) ? possible : [memory.law, ...possible];
    put(law, choice("Law", memory.law, laws.map(name => [name, LAWS[name] ?? name]), value => { memory.law = value; }));
  }

  /** Shows the newest stored fit. */
  async function load() {
    let shown;
    try {
      shown = await experiment.storedFit();
    } catch (error) {
      if (!gone) put(which, problem(error, load));
      return;
    }
    if (gone) return;
    form(shown.possible);
    written(shown);
    if (memory.fitted) return;
    memory.now = shown.stored;
    if (shown.stored) tell(shown.stored);
    else put(which, "No fit is stored. ", h("b", null, "Fit again"), " makes one here; ", h("code", null, "orchestrator fit"), " stores one.");
    draw();
    performance.mark("fit");
  }

  /** The report and the figures that there are. */
  function written({ report, figures }) {
    const link = (file, text) => h("a", { href: `${at}/${file}`, target: "_blank", rel: "noopener" }, text);
    put(files, h("p", { class: "files" }, report ? link("report.html", "Report") : "No report is written yet: orchestrator report writes one."),
      figures.length > 0 && h("details", null, h("summary", null, `Figures (${figures.length})`),
        h("ul", null, figures.map(([name, title]) => h("li", null, link(`figures/${name}.svg`, title))))));
  }

  function tell({ at: made, since }) {
    put(which, `The stored fit, made ${time(made)}`, since
      ? [": ", h("b", { class: "moved" }, `${since}.`), " ", h("b", null, "Fit again"), " takes that in."]
      : "; no run was added or has changed since.");
  }

  async function fit() {
    const flops = memory.budget === "" ? null : Number(memory.budget);
    if (flops !== null && !(flops > 0)) {
      put(said, problem(new Error("A budget is a number of FLOPs above zero, such as 1e18.")));
      return;
    }
    memory.running?.controller.abort();
    const controller = new AbortController();
    const work = { controller, started: Date.now() };
    work.ended = ask(`${at}/fit`, {
      method: "POST", headers: { "Content-Type": "application/json" }, signal: controller.signal,
      body: JSON.stringify({ law: memory.law, exclude: [...out], budget: flops, draws: Number(memory.draws) }),
    }).then(fitted => {
      memory.before = memory.now;
      memory.now = memory.fitted = fitted;
    }).finally(() => { if (memory.running === work) memory.running = null; });
    memory.running = work;
    remember({ law: memory.law === "all" ? "" : memory.law, draws: memory.draws, budget: memory.budget, out: [...out].join(",") });
    excluded();
    follow(work);
  }

  /** Shows that a fit works, which goes on while other views are looked at, and then what came of it. */
  async function follow(work) {
    put(said, h("span", { class: "hidden" }, "Fitting…"));
    const say = () => { passed.textContent = `Fitting… ${Math.round((Date.now() - work.started) / 1000)} s`; };
    say();
    working.hidden = false;
    const clock = setInterval(say, 1000);
    try {
      await work.ended;
      put(said);
      fresh();
      draw();
    } catch (error) {
      if (!memory.running) put(said, work.controller.signal.aborted ? "Cancelled: what is shown is what it was." : problem(error));
    }
    clearInterval(clock);
    working.hidden = memory.running === null;
  }

  /** Says of a fit that was made here what it is. */
  function fresh() {
    put(which, `Fitted here in ${memory.fitted.seconds.toFixed(1)} s; nothing is stored. `, h("button", {
      type: "button", onclick: () => {
        memory.fitted = memory.before = null;
        load();
      },
    }, "Show the stored fit"));
  }

  function excluded() {
    takeBack.hidden = out.size === 0;
    takeBack.textContent = `Take back ${out.size} excluded`;
  }

  function exclude(run, keep) {
    if (keep) out.delete(run);
    else out.add(run);
    fit();
  }

  function draw() {
    const now = memory.now;
    if (!now) {
      put(result);
      return;
    }
    const answer = h("section", { "aria-labelledby": "answer" }, h("h2", { id: "answer" }, "Question and answer"), markup(now.answer));
    if (memory.fitted && memory.before) mark(answer, h("div", null, markup(memory.before.answer)));
    put(result, answer,
      now.laws.map(law => lawSection(law, experiment, exclude)),
      h("section", { "aria-labelledby": "warnings" }, h("h2", { id: "warnings" }, "Warnings"), markup(now.warnings)),
      out.size > 0 && h("section", null, h("h2", null, "Excluded here"), h("ul", { class: "chips" }, [...out].map(id => h("li", null,
        h("button", { type: "button", class: "chip", onclick: () => exclude(id, true) }, `${id} – take back`))))),
      now.left_out.length > 0 && h("section", null, h("h2", null, "Not fitted"), h("ul", null,
        now.left_out.map(({ rows, why }) => h("li", null, `${rows}: ${why}`)))));
  }

  form(["all"]);
  excluded();
  if (memory.fitted) {
    fresh();
    draw();
  }
  load();
  if (memory.running) follow(memory.running);
  return {
    node,
    update(changed) {
      const ended = changed && [...changed].some(id => experiment.byId.get(id)?.state === "ended");
      if (!ended && changed !== null) return;
      if (memory.fitted) put(said, "Runs have changed since this fit.");
      else load();
    },
    dispose() { gone = true; },
  };
}

/** Marks the numbers of tables that were others in the fit before, and says what they were. */
function mark(now, before) {
  const tables = of => new Map([...of.querySelectorAll("[role=region]")].map(region => [region.getAttribute("aria-label"), region.querySelector("table")]));
  const heads = table => [...table.tHead.rows[0].cells].map(cell => cell.textContent).join("|");
  const then = tables(before);
  for (const [label, table] of tables(now)) {
    const other = then.get(label);
    if (!other || heads(other) !== heads(table) || other.rows.length !== table.rows.length) continue;
    [...table.tBodies[0].rows].forEach((row, y) => [...row.cells].forEach((cell, x) => {
      const was = other.tBodies[0].rows[y].cells[x].textContent;
      if (cell.classList.contains("num") && was !== cell.textContent) cell.append(h("small", { class: "moved" }, `was ${was}`));
    }));
  }
}

function lawSection({ title, about, rows }, experiment, exclude) {
  // Of many runs the table is made when it is wanted.
  const details = h("details", { class: "grow", open: rows.length <= 12, ontoggle: () => {
    if (details.open && !details.querySelector("table")) details.append(residuals(rows, experiment, exclude));
  } }, h("summary", null, `Runs and residuals (${rows.length})`));
  return h("section", null, h("h2", null, `Law: ${title}`), markup(about),
    rows.length > 0 && h("div", { class: "columns" }, scatter(rows, title), details));
}

function residuals(rows, experiment, exclude) {
  const off = row => 100 * Math.log(row.predicted / row.observed);
  const sorted = [...rows].sort((a, b) => Math.abs(off(b)) - Math.abs(off(a)));
  const shown = sorted.slice(0, 200);
  return h("div", { class: "scroll short", tabindex: "0", role: "region", "aria-label": "Residuals" }, h("table", { class: "plain" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Use"), h("th", { scope: "col" }, "Run"), h("th", { scope: "col", class: "num" }, "Loss"),
      h("th", { scope: "col", class: "num" }, "Predicted"), h("th", { scope: "col", class: "num" }, "Off by"), h("th", { scope: "col" }, "Axes"))),
    h("tbody", null, shown.map(row => h("tr", null,
      h("td", null, row.trained && h("input", { type: "checkbox", checked: true, "aria-label": `Use run ${row.label}`, "data-exclude": row.label,
        onchange: event => exclude(row.label, event.target.checked) })),
      h("th", { scope: "row" }, row.trained ? h("a", { class: "id", href: `#/run/${encodeURIComponent(experiment.place)}/${row.label}` }, row.label) : row.label),
      h("td", { class: "num" }, fixed(4)(row.observed)), h("td", { class: "num" }, fixed(4)(row.predicted)),
      h("td", { class: "num" }, `${fixed(2)(off(row))}%`),
      h("td", { class: "quiet" }, Object.entries(experiment.byId.get(row.label)?.axes ?? {}).map(([k, v]) => `${k}=${v}`).join(" ")))))),
  rows.length > shown.length && h("p", { class: "quiet" }, `The ${shown.length} that are farthest off.`));
}

/** Predicted against observed loss: on the line the law is right. */
function scatter(rows, law) {
  const [w, hgt, pad] = [310, 240, 52];
  const values = rows.flatMap(row => [row.observed, row.predicted]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || 1) * 0.06;
  const [from, to] = [low - room, high + room];
  const x = v => pad + ((v - from) / (to - from)) * (w - pad - 8);
  const y = v => hgt - pad + 8 - ((v - from) / (to - from)) * (hgt - pad - 4);
  const ticks = [low, (low + high) / 2, high];
  const text = `Predicted against observed loss of ${rows.length} runs by the ${law} law, from ${fixed(2)(low)} to ${fixed(2)(high)} nats/token`;
  return h("figure", null, svg("svg", { viewBox: `0 0 ${w} ${hgt}`, width: w, height: hgt, role: "img", "aria-label": text },
    svg("path", { d: `M${x(from)} ${y(from)}L${x(to)} ${y(to)}`, class: "rule" }),
    rows.slice(0, 2000).map(row => svg("circle", { cx: x(row.observed).toFixed(1), cy: y(row.predicted).toFixed(1), r: 3, class: "point" },
      svg("title", null, `${row.label}: ${row.observed.toFixed(4)}, predicted ${row.predicted.toFixed(4)}`))),
    ticks.map(v => [svg("text", { x: x(v), y: hgt - 18, "text-anchor": "middle" }, v.toFixed(2)), svg("text", { x: pad - 6, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(2))]),
    svg("text", { x: (w + pad) / 2, y: hgt - 3, "text-anchor": "middle" }, "observed loss, nats/token"),
    svg("text", { x: 10, y: hgt / 2, "text-anchor": "middle", transform: `rotate(-90 10 ${hgt / 2})` }, "predicted")));
}
