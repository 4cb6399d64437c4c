#!/usr/bin/env python3
"""Training steps of this program and of eager PyTorch, in turns on the same machine.

    cargo build --release
    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.9.0
    /tmp/torch/bin/python benches/peer/compare.py target/release/orchestrator --rounds 5

Both train the same shapes on the same tokens and boundaries (see dlcm_torch.py), one after the
other, so that whatever else the machine does falls on both. Prints every round, then the medians.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

PEER = pathlib.Path(__file__).with_name("dlcm_torch.py")


def ours(args, shape, steps, warmup):
    command = [args.program, "bench", shape, "--model", "dlcm", "--batch", str(args.batch)]
    command += ["--threads", str(args.threads), "--steps", str(steps), "--warmup", str(warmup)]
    said = json.loads(subprocess.check_output(command + ["--json"]))
    return said, said["models"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--shapes", default="tiny,small,base")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    print("shape  round  ours tok/s  torch tok/s  ratio  of peak  ours MB  torch MB")
    for shape in args.shapes.split(","):
        architecture = ours(args, shape, steps=1, warmup=0)[1]["architecture"]
        rows = []
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(architecture, file)
            file.flush()
            for turn in range(args.rounds):
                said, model = ours(args, shape, args.steps, 3)
                command = [sys.executable, PEER, "--architecture", file.name, "--warmup", "3"]
                command += ["--batch", str(args.batch), "--threads", str(args.threads)]
                command += ["--steps", str(args.steps)]
                peer = json.loads(subprocess.check_output(command))
                row = (
                    model["tokens_per_second"],
                    peer["tokens_per_second"],
                    model["tokens_per_second"] / peer["tokens_per_second"],
                    100 * model["share_of_peak"],
                    said["peak_memory_bytes"] / 1e6,
                    peer["peak_memory_bytes"] / 1e6,
                )
                rows.append(row)
                show(shape, turn + 1, row)
        show(shape, "median", [statistics.median(column) for column in zip(*rows)])


def show(shape, turn, row):
    ours, torch, ratio, peak, memory, torch_memory = row
    print(
        f"{shape:<6} {turn:>6} {ours:>11.0f} {torch:>12.0f} {ratio:>6.2f} {peak:>7.1f}%"
        f" {memory:>8.0f} {torch_memory:>9.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
