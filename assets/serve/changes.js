// What can be asked of runs, where the server allows it.

import { h, put, confirmed } from "./dom.js";
import { ask, path } from "./data.js";
import { status } from "./format.js";

const RETRIED = ["failed", "cancelled"];

/** The buttons for what can be asked, and what came of it. */
export class Changes {
  /** Calls `after` when something was asked. */
  constructor(after = () => {}) {
    this.after = after;
    this.buttons = h("div", { class: "chips" });
    this.said = h("p", { class: "quiet", role: "status" });
    this.node = h("div", { class: "changes" }, this.buttons, this.said);
    this.offered = "";
    this.busy = false;
  }

  /** Offers what suits a run. */
  ofRun(place, run) {
    const state = status(run);
    const open = run.state === "pending" || run.state === "running";
    this.#offer([
      open && {
        text: "Cancel", label: `Cancel run ${run.id}`, path: path("runs", place, run.id, "cancel"),
        question: state === "running" ? `Cancel run ${run.id}? It stops at a checkpoint.` : `Cancel run ${run.id}? It will not start.`,
        done: "It is cancelled.",
      },
      RETRIED.includes(state) && {
        text: "Retry", label: `Retry run ${run.id}`, path: path("runs", place, run.id, "retry"),
        done: "It is eligible again: the next `orchestrator run` trains it.",
      },
    ]);
  }

  /** Offers what suits an experiment. */
  ofExperiment({ place, name, runs }) {
    const failed = runs.filter(run => RETRIED.includes(status(run))).length;
    this.#offer([failed > 0 && {
      text: `Retry all ${failed} failed`, label: `Retry all ${failed} runs that failed or were cancelled`,
      path: path("experiments", place, name, "retry"),
      done: "They are eligible again: the next `orchestrator run` trains them.",
    }]);
  }

  #offer(offers) {
    const now = offers.filter(Boolean);
    const key = JSON.stringify(now);
    if (key === this.offered) return;
    this.offered = key;
    const focused = this.buttons.contains(document.activeElement);
    put(this.buttons, now.map(offer => h("button", {
      type: "button", "aria-label": offer.label, onclick: () => this.#take(offer),
    }, offer.text)));
    // Whoever has pressed a button stays where it was.
    if (focused) (this.buttons.querySelector("button") ?? document.getElementById("main")).focus({ preventScroll: true });
  }

  async #take({ path: to, question, text, done }) {
    if (this.busy || (question && !await confirmed(question, `${text} it`))) return;
    this.busy = true;
    try {
      const { runs, asked } = await ask(to, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
      });
      this.said.textContent = !runs.length ? "There is nothing left to retry." : asked ? `Asked ${asked}.` : done;
      this.after();
    } catch (error) {
      this.said.textContent = error.message;
    } finally {
      this.busy = false;
    }
  }
}
