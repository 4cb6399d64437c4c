#!/usr/bin/env python3
"""Take the files of `orchestrator export FILE --format wandb` to Weights & Biases.

    pip install wandb
    python scripts/wandb_import.py results/quickstart/export/wandb --project scaling

With WANDB_MODE=offline nothing is sent: runs are written to ./wandb, and `wandb sync` sends them.
A run keeps the id it has in the database, so that it is imported once: one that is there already is
an error of W&B's, unless --replace is given.
"""

import argparse
import json
import pathlib
import sys

import wandb

FORMAT, VERSION = "orchestrator run", 1


def lines(path):
    """Yield the lines of a file: the first says what the run is, the others are its history."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                sys.exit(f"{path}, line {number}: not JSON ({error})")


def take(path, arguments):
    """Import one run."""
    rows = lines(path)
    head = next(rows, {})
    if head.get("format") != FORMAT or head.get("format_version", 0) > VERSION:
        sys.exit(f"{path} is not a file of `orchestrator export --format wandb`, version {VERSION}")
    run = wandb.init(
        project=arguments.project,
        entity=arguments.entity,
        id=head["id"],
        name=head["name"],
        group=head["group"],
        job_type=head["job_type"],
        tags=head["tags"],
        config=head["config"],
        # An offline run cannot know what the server has.
        resume=None if arguments.replace else "never",
        # The machine that imports is not the one that trained.
        settings=wandb.Settings(x_disable_stats=True, console="off"),
    )
    for row in rows:
        run.log(row, step=row["step"])
    run.summary.update({name: value for name, value in head["summary"].items() if value is not None})
    run.finish(exit_code=0 if head["finished"] else 1)


def main():
    """Import every run of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="what `export --format wandb` wrote")
    parser.add_argument("--project", required=True, help="the project in W&B")
    parser.add_argument("--entity", help="the team or user [default: yours]")
    parser.add_argument("--replace", action="store_true", help="import again what is there already")
    arguments = parser.parse_args()
    files = sorted(arguments.folder.glob("*.jsonl"))
    if not files:
        sys.exit(f"{arguments.folder} holds no .jsonl files")
    for place, path in enumerate(files, 1):
        print(f"{place}/{len(files)} {path.stem}")
        take(path, arguments)


if __name__ == "__main__":
    main()
