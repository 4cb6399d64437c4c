// One run: what it is, how far it is, what happened.

import { h, put, problem, empty } from "./dom.js";
import { ask, path, watch } from "./data.js";
import { Changes } from "./changes.js";
import { Curves } from "./curves.js";
import { STATES, status, described, axis, count, fixed, power, number, time, duration, MISSING } from "./format.js";

export function runView(place, id, params, keep) {
  const body = h("div", null, h("p", { class: "note" }, "Loading the run…"));
  const crumbs = [["experiments", "#/"], [`run ${id}`]];
  const curves = new Curves(place, params, more => {
    for (const [key, value] of Object.entries(more)) value ? params.set(key, value) : params.delete(key);
    keep(params);
  });
  const head = h("div", { class: "head" });
  const changes = new Changes(() => load());
  const parts = h("div", { class: "columns" });
  const events = h("div");
  const log = h("div");
  let version = null;
  let shown = false;

  async function load() {
    try {
      const answer = await ask(path("runs", place, id));
      show(answer);
    } catch (error) {
      if (!shown) put(body, problem(error, load));
    }
  }

  function show({ run, spec, scores, attempts, experiments, folder, events: lines, log: text, allows_changes: allowed }) {
    const name = status(run);
    put(head, h("h1", { id: "title" }, "Run ", h("span", { class: "id" }, id)),
      h("p", null, h("span", { class: "sign", "data-state": name, "aria-hidden": "true" }, STATES[name].sign), described(run)),
      h("p", { class: "quiet" }, experiments.map(({ name: of, wanted }, i) => [i > 0 && ", ",
        h("a", { href: `#/x/${encodeURIComponent(place)}/${encodeURIComponent(of)}` }, of), !wanted && " (no longer asked for)"])));
    if (allowed) changes.ofRun(place, run);
    put(parts,
      facts("Reached", [
        ["Loss", "nats/token", fixed(4)(run.loss)],
        ["Bits per byte", "", fixed(4)(run.bits_per_byte)],
        ["Spent", "FLOPs", power(run.flops)],
        ["Planned", "FLOPs", power(run.planned_flops)],
        ["Realised R", "tokens/concept", fixed(3)(run.realised_ratio)],
        ["Concept gain", "nats/token", fixed(4)(run.concept_gain)],
        ["Boundary gain", "nats/token", fixed(4)(run.boundary_gain)],
      ]),
      facts("Settings", [
        ["Kind", "", run.part === "whole" ? run.kind : `${run.kind}, ${run.part}`],
        ["N", "parameters", `${count(run.params)} (${run.params})`],
        ["D", "tokens", `${count(run.tokens)} (${run.tokens})`],
        run.kind !== "dense" && ["P", "as built", fixed(4)(run.concept_share)],
        run.kind !== "dense" && ["Declared R", "tokens/concept", number(run.compression_ratio)],
        ["Seed", "", run.seed],
        run.start_run && ["Goes on from", "", h("a", { class: "id", href: `#/run/${encodeURIComponent(place)}/${run.start_run}` }, run.start_run)],
        ...Object.entries(run.axes).map(([key, value]) => [axis(key), "as written", value]),
      ]));
    if (run.message) parts.append(h("section", { class: "wide" }, h("h2", null, "Message"), h("pre", { class: "log", tabindex: "0", "aria-label": "Message" }, run.message)));
    const answers = scores.tasks.length + scores.texts.length > 0;
    put(events, answers && [h("h2", null, "Tasks and texts"), scoreTable(scores)], h("h2", null, "Attempts"), attempts.length ? attemptTable(attempts) : empty("It has not been started."),
      h("h2", null, "Events"), lines.length ? eventList(lines) : empty("Its journal is empty, or not on this machine."),
      h("h2", null, "Specification"), h("details", null, h("summary", null, "Everything that determines its result"),
        h("pre", { class: "log", tabindex: "0", "aria-label": "Specification" }, JSON.stringify(spec, null, 2))),
      h("p", { class: "quiet" }, "Folder: ", h("code", null, folder)));
    const before = log.querySelector("pre");
    const atEnd = !before || before.scrollTop + before.clientHeight >= before.scrollHeight - 4;
    const pre = text ? h("pre", { class: "log tail", tabindex: "0", "aria-label": "Log" }, text)
      : empty(text === "" ? "The last process has said nothing." : "There is no log on this machine.");
    put(log, h("h2", null, "Log of the last attempt"), pre);
    if (text && atEnd) pre.scrollTop = pre.scrollHeight;
    else if (text && before) pre.scrollTop = before.scrollTop;
    if (!shown) {
      shown = true;
      put(body, head, allowed && changes.node, parts, h("section", { "aria-label": "Curves" }, h("h2", null, "Curves"), curves.node), events, log);
      curves.show([{ ids: [id], label: id }]);
      if (pre.scrollHeight) pre.scrollTop = pre.scrollHeight;
      performance.mark("drawn");
    }
  }

  load();
  const stop = watch({
    place,
    version: () => version,
    stale: () => again(),
    changed: message => {
      version = message.to;
      if (message.runs.some(run => run.id === id)) again();
    },
  });
  // Versions are of the whole database: the first beat tells the one to count from.
  const beats = watch({ place: null, version: versions => { if (versions) version ??= versions[place] ?? null; }, stale() {}, changed() {} });

  async function again() {
    version = null;
    await load();
    await curves.grow(new Set([id]));
  }
  return {
    node: h("section", { class: "page", "aria-labelledby": "title" }, body), title: `run ${id}`, crumbs,
    dispose() {
      stop();
      beats();
      curves.dispose();
    },
  };
}

function facts(title, rows) {
  return h("section", null, h("h2", null, title), h("dl", null, rows.filter(Boolean).map(([name, unit, value]) => h("div", null,
    h("dt", null, name, unit && h("small", null, unit)), h("dd", { class: "num" }, value)))));
}

function attemptTable(attempts) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Attempts" }, h("table", { class: "plain" },
    h("thead", null, h("tr", null, ["#", "Started", "Took", "Ended as", "Host", "Device", "Threads", "Program"].map(text => h("th", { scope: "col" }, text)))),
    h("tbody", null, attempts.map(attempt => [h("tr", null,
      h("th", { scope: "row" }, attempt.number),
      h("td", null, time(attempt.started_at)),
      h("td", { class: "num" }, attempt.ended_at ? duration(Math.max(0, attempt.ended_at - attempt.started_at)) : MISSING),
      h("td", null, attempt.outcome?.replaceAll("_", " ") ?? "running",
        attempt.exit_code !== null && ` (status ${attempt.exit_code})`, attempt.signal !== null && ` (signal ${attempt.signal})`),
      h("td", null, attempt.host, attempt.pid && h("small", null, ` process ${attempt.pid}`)),
      h("td", null, attempt.device, attempt.hardware && h("small", null, ` ${attempt.hardware}`)),
      h("td", { class: "num" }, attempt.threads),
      h("td", null, attempt.program_version, attempt.git_commit && h("small", null, ` ${attempt.git_commit.slice(0, 10)}`))),
    attempt.message && h("tr", null, h("td", { colspan: 8 }, h("pre", { class: "log" }, attempt.message)))]))));
}

// An accuracy within two standard errors of guessing is said to be so, and not shown as a number to compare.
function scoreTable({ tasks, texts }) {
  const mean = value => value ? [fixed(3)(value.mean), value.standard_error !== null && h("small", null, ` ± ${fixed(3)(value.standard_error)}`)] : MISSING;
  const row = (name, kind, cells) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, kind.replaceAll("_", " ")),
    cells.map(cell => h("td", { class: "num" }, cell)));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Tasks and texts" }, h("table", { class: "plain" },
    h("thead", null, h("tr", null, ["Name", "Kind", "Items", "Bits per byte", "Accuracy", "Chance", "Tokens per concept"].map(text => h("th", { scope: "col" }, text)))),
    h("tbody", null,
      tasks.map(task => row(task.task, task.kind, [task.items, mean(task.bits_per_byte),
        task.at_chance ? "at chance" : mean(task.accuracy), fixed(3)(task.chance), MISSING])),
      texts.map(text => row(text.text, "text", [MISSING, mean(text.bits_per_byte), MISSING, MISSING, fixed(2)(text.realised_ratio)])))));
}

function eventList(lines) {
  const many = lines.length > 200;
  return [many && h("p", { class: "quiet" }, `The last 200 of ${lines.length}.`),
    h("ol", { class: "events" }, lines.slice(-200).map(line => h("li", null, h("time", null, time(line.time)), " ", told(line))))];
}

function told(line) {
  switch (line.event) {
    case "started": return `started: process ${line.pid} on ${line.host}, ${line.device}${line.resumed_step ? `, from step ${line.resumed_step}` : ""}`;
    case "checkpointed": return `checkpoint after step ${line.step}`;
    case "diverged": return `diverged at step ${line.step}${line.loss === null ? "" : `, loss ${number(line.loss)}`}`;
    case "interrupted": return `interrupted after step ${line.step}`;
    case "scored": return `answered ${line.task}: ${fixed(3)(line.bits_per_byte.mean)} bits per byte`;
    case "read": return `read ${line.text}: ${fixed(3)(line.bits_per_byte.mean)} bits per byte`;
    case "failed": return `failed: ${line.message}`;
    default: return line.event;
  }
}
