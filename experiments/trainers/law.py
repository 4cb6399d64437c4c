"""A trainer that trains nothing: its losses follow a stated law, so that what is fitted to them can be
checked to its known parameters. Needs nothing but Python 3.9.

The held-out loss of N parameters after D tokens is

    L(N, D) = 1.69 + 406.4 / N^0.34 + 410.7 / D^0.28

times exp(0.002 z), z a standard normal number that the seed, N and D determine. (Hoffmann et al., arXiv
2203.15556, table A3: the law of Chinchilla, method 3.)
"""

import argparse
import json
import math
import os
import random
import sys
import time

from orchestrator_report import checkpoint_folder, report, should_stop

E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28
NOISE = 0.002


def loss(params: float, tokens: float) -> float:
    return E + A / params**ALPHA + B / tokens**BETA


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=float, required=True)
    parser.add_argument("--tokens", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.0, help="that the whole run takes at least")
    arguments = parser.parse_args()
    noise = math.exp(NOISE * random.Random(f"{arguments.seed} {arguments.params} {arguments.tokens}").gauss(0, 1))

    # As a real trainer does: go on from the newest checkpoint.
    state = checkpoint_folder() / "state.json"
    first = json.loads(state.read_text())["step"] if state.exists() else 0
    for step in range(first + 1, arguments.steps + 1):
        time.sleep(arguments.seconds / arguments.steps)
        seen = arguments.tokens * step / arguments.steps
        value = loss(arguments.params, seen) * noise
        report(step=step, tokens=round(seen), loss=value)
        if step % 5 == 0 or should_stop():
            # Whole or not at all.
            unfinished = state.with_suffix(f".{os.getpid()}")
            unfinished.write_text(json.dumps({"step": step}))
            unfinished.rename(state)
            report(step=step, checkpoint=step)
        if should_stop():
            sys.exit(4)
    report(
        step=arguments.steps,
        tokens=round(arguments.tokens),
        validation_loss=loss(arguments.params, arguments.tokens) * noise,
        final=True,
    )


if __name__ == "__main__":
    main()
