// What was claimed before the runs, and what they say of it.

import { h, put, empty } from "./dom.js";
import { MISSING, time } from "./format.js";

export function claimsTab(experiment) {
  const node = h("div");
  const update = () => put(node, experiment.claims ? table(experiment.claims) : empty("Its file claims nothing."));
  update();
  return { node, update };
}

function table({ claims, remarks }) {
  const quiet = text => h("p", { class: "quiet" }, text);
  const rows = claims.map(({ verdict, says, source, number, notes, registered_at: at }) => h("tr", null,
    h("th", { scope: "row" }, verdict),
    h("td", null, says, source && h("small", { class: "quiet" }, ` (${source})`)),
    h("td", null, number ?? MISSING, notes.map(quiet)),
    h("td", null, time(at))));
  return [
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Claims and verdicts" }, h("table", { class: "plain claims" },
      h("thead", null, h("tr", null, ["Verdict", "Claim", "Number, with its 95% interval", "Written down"].map(text => h("th", { scope: "col" }, text)))),
      h("tbody", null, rows))),
    remarks.map(quiet),
  ];
}
