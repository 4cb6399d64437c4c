// The runs as a table that is drawn as far as it is looked at: ten thousand rows cost no more than fifty.

import { h, put, calmly } from "./dom.js";
import { STATES, status, described, axis, brief, byValue, count, fixed, power, written, MISSING } from "./format.js";

const ROW = 28;
const BEYOND = 12;

const COLUMNS = [
  { key: "id", text: "Run", width: 8.6, get: run => run.id },
  { key: "state", text: "State", width: 7.8, get: status },
  { key: "kind", text: "Kind", width: 7.8, get: run => (run.part === "whole" ? run.kind : `${run.kind} ${run.part}`) },
  { key: "params", text: "N", unit: "params", width: 5, get: run => run.params, say: count },
  { key: "tokens", text: "D", unit: "tokens", width: 5, get: run => run.tokens, say: count },
  { key: "concept_share", text: "P", width: 4.2, get: run => (run.kind === "dense" ? null : run.concept_share), say: fixed(3) },
  { key: "compression_ratio", text: "Declared R", width: 5.4, get: run => (run.kind === "dense" ? null : run.compression_ratio), say: count },
  { key: "realised_ratio", text: "Realised R", width: 5.4, get: run => run.realised_ratio, say: fixed(2) },
  { key: "seed", text: "Seed", width: 4.2, get: run => run.seed, say: String },
  { key: "loss", text: "Loss", unit: "nats/token", width: 6, get: run => run.loss, say: fixed(4) },
  { key: "bits_per_byte", text: "Bits", unit: "bits/byte", width: 5.6, get: run => run.bits_per_byte, say: fixed(4) },
  { key: "flops", text: "Spent", unit: "FLOPs", width: 6, get: run => run.flops, say: power },
  { key: "planned_flops", text: "Planned", unit: "FLOPs", width: 6, get: run => run.planned_flops, say: power },
  { key: "concept_gain", text: "Concept gain", unit: "nats/token", width: 6.6, get: run => run.concept_gain, say: fixed(3) },
  { key: "concept_worth", text: "Concept worth", unit: "nats/token", width: 6.8, get: run => run.concept_worth, say: fixed(3) },
  { key: "boundary_gain", text: "Boundary gain", unit: "nats/token", width: 6.8, get: run => run.boundary_gain, say: fixed(3) },
  { key: "retries", text: "Retries", width: 4.6, get: run => run.retries, say: String },
  { key: "message", text: "Message", width: 22, get: run => run.message },
];

export function tableTab(experiment, params, remember) {
  const own = new Set(COLUMNS.map(column => column.key));
  const varied = name => new Set(experiment.runs.map(run => run.axes[name])).size > 1;
  const more = experiment.axes.filter(name => !own.has(name) && varied(name)).map(name => ({
    key: name, text: brief(name), width: 7, get: run => run.axes[name], written: true,
  }));
  const all = [...COLUMNS.slice(0, 9), ...more, ...COLUMNS.slice(9)];
  let columns = [];
  let query = params.get("q") ?? "";
  let [sortKey, down] = [params.get("sort") ?? "", params.get("down") === "1"];
  let rows = [];
  let drawn = null;

  const words = h("p", { class: "quiet", role: "status" });
  const filter = h("input", {
    type: "search", id: "filter", value: query, placeholder: "finished loss<3.2 concept_share=0.5",
    "aria-describedby": "filter-help", autocomplete: "off", spellcheck: "false",
    oninput: calmly(() => {
      query = filter.value;
      sift();
      remember({ q: query });
    }),
  });
  const chips = h("div", { class: "chips", role: "group", "aria-label": "States" });
  const selection = h("div", { class: "chips" });
  const head = h("tr", { "aria-rowindex": "1" });
  const body = h("tbody");
  const above = h("tr", { "aria-hidden": "true" }, h("td", { colspan: all.length + 1 }));
  const below = above.cloneNode(true);
  const group = h("colgroup");
  const table = h("table", { class: "runs" },
    h("caption", { class: "hidden" }, "Runs"),
    group,
    h("thead", null, head), body);
  const scroll = h("div", {
    class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Table of runs",
    onscroll: () => draw(),
  }, table);
  const node = h("div", null,
    h("div", { class: "controls" },
      h("label", { class: "field grow" }, h("span", null, "Filter"), filter), chips, selection),
    h("p", { class: "quiet hint", id: "filter-help" },
      "Words are sought in id, state, kind, axes and message; ", h("code", null, "column<value"),
      " with <, >, =, != compares, as in ", h("code", null, "params>=1M outcome=diverged"), "."),
    words, scroll);

  /** Leaves out the columns of which nothing is known yet. */
  function layout() {
    const known = all.filter(column => column.key === "loss" || experiment.runs.some(run => (column.get(run) ?? null) !== null));
    if (known.length === columns.length) return;
    columns = known;
    put(group, h("col", { style: { width: "2.2em" } }), columns.map(c => h("col", { style: { width: `${c.width}em` } })));
    table.style.width = `${columns.reduce((sum, c) => sum + c.width, 2.2)}em`;
  }

  function header() {
    const picked = rows.length > 0 && rows.every(run => experiment.selected.has(run.id));
    const focused = head.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    put(head,
      h("th", { scope: "col", class: "pick" }, h("input", {
        type: "checkbox", checked: picked, "aria-label": "Select the first 50 runs that are shown", "data-key": "*",
        onchange: event => {
          // So many curves cannot be told apart.
          for (const run of rows.slice(0, 50)) {
            if (event.target.checked) experiment.selected.add(run.id);
            else experiment.selected.delete(run.id);
          }
          selected();
        },
      })),
      columns.map(column => h("th", {
        scope: "col", class: column.say ? "num" : null,
        "aria-sort": column.key === sortKey ? (down ? "descending" : "ascending") : null,
      }, h("button", {
        type: "button", "data-key": column.key, title: column.written ? axis(column.key) : `Sort by ${column.text}`,
        onclick: () => {
          if (sortKey === column.key && down) [sortKey, down] = ["", false];
          else [sortKey, down] = [column.key, sortKey === column.key];
          sift();
          remember({ sort: sortKey, down: down ? "1" : "" });
        },
      }, column.text, column.key === sortKey && h("span", { "aria-hidden": "true" }, down ? " ▾" : " ▴"),
      column.unit && h("small", null, column.unit)))));
    if (focused) head.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  function sift() {
    layout();
    const keep = matcher(query);
    rows = experiment.runs.filter(keep);
    const column = columns.find(c => c.key === sortKey);
    if (column) {
      const sign = down ? -1 : 1;
      const value = new Map(rows.map(run => [run, column.get(run)]));
      const missing = v => v === null || v === undefined;
      rows.sort((a, b) => {
        const [x, y] = [value.get(a), value.get(b)];
        // What is missing comes last, whichever way.
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        return sign * (typeof x === "number" ? x - y : column.written ? byValue(x, y) : x.localeCompare(y));
      });
    }
    table.setAttribute("aria-rowcount", rows.length + 1);
    words.textContent = rows.length === experiment.runs.length ? `${rows.length} runs`
      : rows.length ? `${rows.length} of ${experiment.runs.length} runs` : "No run fits the filter.";
    header();
    states();
    draw(true);
  }

  function states() {
    const counts = {};
    for (const run of experiment.runs) counts[status(run)] = (counts[status(run)] ?? 0) + 1;
    const focused = chips.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    put(chips, Object.keys(STATES).filter(name => counts[name]).map(name => {
      const term = `state=${name}`;
      const on = query.split(/\s+/).includes(term);
      return h("button", {
        type: "button", class: "chip", "aria-pressed": String(on), "data-key": name,
        onclick: () => {
          const rest = query.split(/\s+/).filter(word => word && !word.startsWith("state="));
          query = (on ? rest : [...rest, term]).join(" ");
          filter.value = query;
          sift();
          remember({ q: query });
        },
      }, h("span", { class: "sign", "data-state": name, "aria-hidden": "true" }, STATES[name].sign), ` ${name} `, h("b", null, counts[name]));
    }));
    if (focused) chips.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  function selected() {
    remember();
    picked();
    header();
    draw(true);
  }

  function picked() {
    const n = experiment.selected.size;
    put(selection, n > 0 && [h("button", {
      type: "button", class: "chip", onclick: () => {
        experiment.selected.clear();
        selected();
      },
    }, `Clear ${n} selected`)]);
  }

  function draw(again) {
    const height = scroll.clientHeight || 600;
    const top = Math.max(0, Math.floor(scroll.scrollTop / ROW) - BEYOND);
    const bottom = Math.min(rows.length, Math.ceil((scroll.scrollTop + height) / ROW) + BEYOND);
    if (!again && drawn && drawn[0] <= Math.max(0, top + BEYOND - 2) && drawn[1] >= Math.min(rows.length, bottom - BEYOND + 2)) return;
    drawn = [top, bottom];
    above.firstChild.style.height = `${top * ROW}px`;
    below.firstChild.style.height = `${(rows.length - bottom) * ROW}px`;
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    put(body, top > 0 && above, rows.slice(top, bottom).map((run, i) => line(run, top + i)), bottom < rows.length && below);
    if (focused) body.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  function line(run, index) {
    const state = status(run);
    return h("tr", { "aria-rowindex": index + 2, "aria-selected": experiment.selected.has(run.id) ? "true" : null },
      h("td", { class: "pick" }, h("input", {
        type: "checkbox", checked: experiment.selected.has(run.id), "aria-label": `Select run ${run.id}`, "data-key": `pick-${run.id}`,
        onchange: event => {
          if (event.target.checked) experiment.selected.add(run.id);
          else experiment.selected.delete(run.id);
          selected();
        },
      })),
      columns.map(column => {
        if (column.key === "id") {
          return h("th", { scope: "row" }, h("a", { href: `#/run/${encodeURIComponent(experiment.place)}/${run.id}`, class: "id", "data-key": run.id }, run.id));
        }
        if (column.key === "state") {
          return h("td", { title: described(run) }, h("span", { class: "sign", "data-state": state, "aria-hidden": "true" }, STATES[state].sign),
            state === "failed" ? run.outcome?.replaceAll("_", " ") ?? "failed" : state);
        }
        const value = column.get(run);
        const text = value === null || value === undefined ? MISSING : column.say ? column.say(value) : value;
        return h("td", { class: column.say ? "num" : null, title: column.key === "message" ? value : null }, text);
      }));
  }

  sift();
  picked();
  const resized = new ResizeObserver(() => draw(true));
  resized.observe(scroll);
  return { node, update: sift, shown: () => draw(true), dispose: () => resized.disconnect() };
}

/** What a filter keeps: every word must be found, every comparison hold. */
function matcher(query) {
  const terms = query.trim().split(/\s+/).filter(Boolean).map(word => {
    const match = /^([\w.]+)(<=|>=|!=|<|>|=)(.*)$/.exec(word);
    return match ? compared(match[1].toLowerCase(), match[2], match[3]) : sought(word.toLowerCase());
  });
  return run => terms.every(term => term(run));
}

function sought(word) {
  return run => [run.id, status(run), run.outcome, run.kind, run.part, run.message, ...Object.values(run.axes)]
    .some(text => text && String(text).toLowerCase().includes(word));
}

const BUILT = ["params", "tokens", "concept_share", "compression_ratio", "seed"];
const SHORT = { n: "params", d: "tokens", p: "concept_share", r: "compression_ratio", c: "flops" };

function compared(name, sign, text) {
  const key = SHORT[name] ?? name;
  const wanted = written(text);
  return run => {
    const own = key === "state" ? status(run) : run[key];
    const isAxis = run.axes[key] !== undefined || own === undefined;
    // An axis is meant as it is written: the shape that was built is never quite what was asked for.
    const value = isAxis && (sign === "=" || sign === "!=") ? run.axes[key] : own ?? run.axes[key];
    if (text === "none" || text === "") {
      // Every run has a size and a seed: of these only the axis can be missing.
      const measured = BUILT.includes(key) ? null : own ?? null;
      return (run.axes[key] === undefined && measured === null) === (sign === "=");
    }
    if (value === undefined || value === null) return sign === "!=";
    const number = typeof value === "number" ? value : written(value);
    if (Number.isNaN(number) || Number.isNaN(wanted)) {
      const same = String(value).toLowerCase() === text.toLowerCase();
      return sign === "=" ? same : sign === "!=" ? !same : false;
    }
    const close = Math.abs(number - wanted) <= 1e-9 * Math.max(Math.abs(number), Math.abs(wanted));
    return { "<": number < wanted && !close, ">": number > wanted && !close, "<=": number < wanted || close,
      ">=": number > wanted || close, "=": close, "!=": !close }[sign];
  };
}
