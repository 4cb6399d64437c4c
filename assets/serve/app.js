// The page: which view an address means, and the signs of life of the server.

import { h, put, problem } from "./dom.js";
import { listen } from "./data.js";
import { experimentsView } from "./experiments.js";
import { experimentView } from "./experiment.js";
import { runView } from "./run.js";

const main = document.getElementById("main");
const crumbs = document.getElementById("crumbs");
let current = null;
let first = true;

/** Reads `#/x/place/name/tab?params`. */
function address() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { parts, params: new URLSearchParams(query ?? "") };
}

/** Keeps a view's choices in the address, so that it can be shared and gone back to. */
function keep(params) {
  const [path] = location.hash.split("?");
  const query = params.toString();
  history.replaceState(null, "", query ? `${path || "#/"}?${query}` : path || "#/");
}

function go() {
  current?.dispose?.();
  current = null;
  const { parts, params } = address();
  const [kind, place, name, tab] = parts;
  let view;
  try {
    if (!kind) view = experimentsView();
    else if (kind === "x" && name) view = experimentView(place, name, tab ?? "grid", params, keep);
    else if (kind === "run" && name) view = runView(place, name, params, keep);
    else view = { node: problem(new Error("There is nothing at this address.")), title: "not found", crumbs: [] };
  } catch (error) {
    view = { node: problem(error), title: "error", crumbs: [] };
  }
  current = view;
  document.title = view.title ? `${view.title} · orchestrator` : "orchestrator";
  put(crumbs, h("ol", null, view.crumbs.map(([text, href]) =>
    h("li", null, href ? h("a", { href }, text) : h("span", { "aria-current": "page" }, text)))));
  put(main, view.node);
  // Whoever reads by ear is told that the page has changed; the first page announces itself.
  if (!first) main.focus({ preventScroll: true });
  first = false;
}

const live = document.getElementById("live");
const liveText = document.getElementById("live-text");
listen(state => {
  if (live.dataset.state === state) return;
  live.dataset.state = state;
  liveText.textContent = state === "live" ? "live" : "server gone – trying again";
});

document.getElementById("skip").addEventListener("click", event => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", go);
go();
