#!/usr/bin/env python3
"""Take the tables of a published ladder of runs from a clone of OLMo-ladder.

    git clone https://github.com/allenai/OLMo-ladder
    python3 scripts/olmo_ladder.py OLMo-ladder OUT_DIR

The runs are those of "Establishing Task Scaling Laws via Compute-Efficient Model Ladders"
(arXiv 2412.04403), which says in two steps how good a large model will be at a task: from size and
tokens to the task's loss in bits per byte, from that loss to accuracy. Two tables are written:

- ladder.csv, a row a run: the 16 small runs, which laws are fitted to (split `train`), and two large
  ones, which they are to foretell (split `target`). For each task: its loss and its accuracy, both the
  mean of a run's last five checkpoints. Of 7B-4T they give the last one alone, which is taken as it is.
- checkpoints.csv, a row a checkpoint of the small runs: what the second step is fitted to. The first
  tenth of a run is left out, and every value is a mean with up to four checkpoints before it. Its last
  row, of the run `anchor`, is the point that the authors add: accuracy 1 at loss 0.

A run's size counts no embeddings. The numbers are theirs, under the Apache License 2.0 of their
repository. Nothing of it is kept in this project: the tables are made anew from a clone.
"""

import argparse
import csv
import json
import math
import pathlib
import sys

CONFIG = "src/scripts/paper/configs/final.json"
WINDOW = 5
SKIPPED = 0.1

# A task is the weighted mean of sets of questions. MMLU's weights are those of src/scaling/task_utils.py.
TASKS = {
    "mmlu": {
        "mmlu_stem_test": 0.215,
        "mmlu_humanities_test": 0.335,
        "mmlu_social_sciences_test": 0.219,
        "mmlu_other_test": 0.231,
    },
    "hellaswag": {"hellaswag_val": 1.0},
    "arc_challenge": {"arc_challenge_test": 1.0},
    "arc_easy": {"arc_easy_test": 1.0},
    "piqa": {"piqa_val": 1.0},
    "csqa": {"csqa_val": 1.0},
    "socialiqa": {"socialiqa_val": 1.0},
    "openbookqa": {"openbookqa_test": 1.0},
}
METRICS = {
    "bpb": "eval/downstream_bpb/{}_rc_5shot_bpb",
    "accuracy": "eval/downstream/{}_rc_5shot_len_norm",
}
COLUMNS = [f"{task}_{metric}" for task in TASKS for metric in METRICS]


def checkpoint(row):
    """What a row of their logs says: tokens seen, then a number for each of COLUMNS."""
    tokens = row.get("throughput/total_tokens")
    if tokens is None:
        tokens = int(float(row["_step"])) * int(float(row["batch_size_in_tokens"]))
    values = [int(float(tokens))]
    for sets in TASKS.values():
        for column in METRICS.values():
            total = sum(weight * float(row[column.format(name)]) for name, weight in sets.items())
            values.append(total / sum(sets.values()))
    return values


def smoothed(rows):
    """Every row with its numbers averaged over itself and the rows before it, WINDOW at the most."""
    for end in range(1, len(rows) + 1):
        window = rows[max(0, end - WINDOW) : end]
        yield [rows[end - 1][0]] + [math.fsum(column) / len(window) for column in list(zip(*window))[1:]]


def write(path, header, rows):
    """Write a table, and say so."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print(f"{path}: {len(rows)} rows")


def main():
    """Make both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=pathlib.Path, help="a clone of github.com/allenai/OLMo-ladder")
    parser.add_argument("out", type=pathlib.Path, help="the folder to write to")
    arguments = parser.parse_args()
    if not (arguments.clone / CONFIG).is_file():
        sys.exit(f"{arguments.clone} is not a clone of OLMo-ladder: it has no {CONFIG}")

    runs, checkpoints = [], []
    for model, config in json.loads((arguments.clone / CONFIG).read_text(encoding="utf-8")).items():
        train = config["mode"] == "train"
        for name in config["paths"]:
            with open(arguments.clone / name, encoding="utf-8", newline="") as file:
                rows = [checkpoint(row) for row in csv.DictReader(file)]
            # Their files call the models of 1.3B parameters 1B; their figures and the paper do not.
            run = f"{model}-{pathlib.Path(name).stem.split('-')[1]}" if train else model
            last = list(smoothed(rows))[-1]
            runs.append([run, "train" if train else "target", config["n"], *last])
            if train:
                kept = rows[math.ceil(SKIPPED * len(rows)) :]
                checkpoints += [[run, config["n"], *row] for row in smoothed(kept)]

    anchor = [0.0 if column.endswith("_bpb") else 1.0 for column in COLUMNS]
    checkpoints.append(["anchor", "", "", *anchor])

    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "ladder.csv", ["run", "split", "params", "tokens", *COLUMNS], runs)
    write(arguments.out / "checkpoints.csv", ["run", "params", "tokens", *COLUMNS], checkpoints)


if __name__ == "__main__":
    main()
