// What was claimed before the runs, and what they say of it.

import { h, put, empty } from "./dom.js";
import { MISSING, number, time } from "./format.js";

export function claimsTab(experiment) {
  const node = h("div");
  const update = () => put(node, experiment.claims ? table(experiment.claims) : empty("Its file claims nothing."));
  update();
  return { node, update };
}

function table({ claims, dropped, runs_left: left }) {
  const verdict = ({ verdict }) => verdict.replaceAll("_", " ");
  const measured = ({ what, estimate, interval }) => what === null ? MISSING
    : `${what}: ${number(estimate)} [${number(interval[0])}, ${number(interval[1])}]`;
  const rows = claims.map(claim => h("tr", null,
    h("th", { scope: "row" }, verdict(claim)),
    h("td", null, claim.says, claim.source && h("small", { class: "quiet" }, ` (${claim.source})`)),
    h("td", null, measured(claim), claim.open && h("p", { class: "quiet" }, claim.open),
      claim.lost > 0 && h("p", { class: "quiet" }, `${claim.lost} runs ended without the quantity and are not in it: diverged, failed, or not asked`)),
    h("td", null, time(claim.registered_at),
      claim.runs_ended > 0 && h("p", { class: "quiet" }, `when ${claim.runs_ended} runs had ended: it may have been made for them`))));
  return [
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Claims and verdicts" }, h("table", { class: "plain claims" },
      h("thead", null, h("tr", null, ["Verdict", "Claim", "Number, with its 95% interval", "Written down"].map(text => h("th", { scope: "col" }, text)))),
      h("tbody", null, rows))),
    left > 0 && h("p", { class: "quiet" },
      `${left} runs have not ended: whoever looks again and again until a verdict is there is wrong more often than 5%.`),
    claims.length > 1 && h("p", { class: "quiet" },
      `Verdicts are corrected for ${claims.length} claims (Holm): the chance that any is wrong is at most 5%. Intervals are each claim's own.`),
    dropped.length > 0 && h("p", { class: "quiet" }, `Claimed once and then changed or taken out: ${dropped.join(", ")}.`),
  ];
}
