"""What gpu-check.sh runs: see there."""

import csv
import json
import os
import pathlib
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

PROGRAM, DEVICE, OUT = sys.argv[1:]
HERE = pathlib.Path(__file__).resolve().parent
PEER = HERE.parent / "benches" / "peer" / "dlcm_torch.py"
SHAPES = os.environ.get("SHAPES", "tiny,small,base,large").split(",")
PRECISIONS = os.environ.get("PRECISIONS", "f32,tf32,bf16").split(",")
STEPS = os.environ.get("STEPS", "10")
PARTS = os.environ.get("PARTS", "numbers,resume,plan,speed,packing,precision").split(",")
PEERS = [peer for peer in os.environ.get("PEERS", "eager,compiled").split(",") if peer]
PEER_SECONDS = float(os.environ.get("PEER_SECONDS", 300))
RUNS = [int(count) for count in os.environ.get("RUNS", "1,2,4,8").split(",")]
# How far the loss after a few steps may be from that of the CPU in single precision, as a share.
TOLERANCE = {"f32": 1e-4, "tf32": 2e-3, "bf16": 1e-2}

GRID = """
name: check
grid: {params: 60000, tokens: %d, concept_share: [0.3, 0.5], compression_ratio: [3, 4]}
baselines: {params: 50000, tokens: %d, seed: [0, 1, 2, 3]}
model: {seq_len: 64, token_window: 8}
data: {synthetic: {document_tokens: 64, document_words: 6}}
training: {batch: 8, validations: 2, validation_tokens: 4096, precision: %s}
execution: {per_device: %d, parallel: %d, checkpoint_every: 1s, threads: 1}
"""

# Whether bf16's losses differ from those of single precision by more than seeds do.
SEEDS = """
name: precision
grid: {params: 60000, tokens: %d, concept_share: 0.4, compression_ratio: 4, seed: [0, 1, 2, 3]}
model: {seq_len: 64, token_window: 8}
data: {synthetic: {document_tokens: 64, document_words: 6}}
training: {batch: 8, validations: 2, validation_tokens: 32768, precision: [f32, bf16]}
execution: {per_device: 8, parallel: 8, threads: 1}
"""

# Models of several sizes, whose time and memory are planned.
PLANNED = """
name: planned
grid: {params: [0.1M, 1M], tokens: %d, concept_share: [0.3, 0.5], compression_ratio: 4, seed: [0, 1]}
baselines: {params: [0.1M, 1M], tokens: %d}
training: {batch: 8, validations: 2, validation_tokens: 16384}
execution: {per_device: %d, parallel: %d, threads: 1}
analysis: {bootstrap: 10}
"""

results = {"device": DEVICE, "checks": [], "speed": [], "packing": []}


def save():
    """After every part: a check that is cut short leaves what it found."""
    pathlib.Path(OUT).write_text(json.dumps(results, indent=1))


def call(*arguments, **settings):
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], capture_output=True, text=True, **settings
    )
    return done.returncode, done.stdout, done.stderr


def check(name, passed, found):
    results["checks"].append({"name": name, "passed": bool(passed), "found": found})
    print(f"{'ok  ' if passed else 'FAIL'}  {name}: {found}", flush=True)


def bench(device, shape, precision, steps, warmup):
    code, said, errors = call(
        "bench", shape, "--model", "dlcm", "--device", device, "--precision", precision,
        "--steps", steps, "--warmup", warmup, "--json",
    )
    if code:
        return None, errors.strip().splitlines()[-1:]
    said = json.loads(said)
    return said, said["models"][0]


def numbers():
    """The same loss after six steps as on the CPU."""
    for shape in SHAPES[:2]:
        _, cpu = bench("cpu", shape, "f32", 3, 3)
        for precision in PRECISIONS:
            ran, device = bench(DEVICE, shape, precision, 3, 3)
            if ran is None:
                check(f"loss of {shape} in {precision}", False, device)
                continue
            off = abs(device["loss"] / cpu["loss"] - 1)
            found = f"{device['loss']:.6f} for {cpu['loss']:.6f}, off by {off:.1e}"
            check(f"loss of {shape} in {precision}", off < TOLERANCE[precision], found)


def peer(architecture, precision, compiled):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(architecture, file)
        file.flush()
        device = DEVICE.removeprefix("tch:")
        command = [sys.executable, PEER, "--architecture", file.name, "--device", device]
        command += ["--precision", precision, "--steps", STEPS, "--threads", str(os.cpu_count())]
        # The concept axis as here: cuDNN and torch.compile prepare every size anew.
        command += ["--room", "32", "--warmup", "10"] + ["--compile"] * compiled
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_SECONDS)
        except subprocess.TimeoutExpired:
            return {"error": f"no end after {PEER_SECONDS:.0f} s"}
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-12:]}
    said = json.loads(done.stdout.splitlines()[-1])
    tokens = 8 * architecture["seq_len"]
    return {"tokens_per_second": tokens / statistics.median(said["seconds_per_step"])}


def speed():
    """Tokens a second beside PyTorch's, one after the other on the same card."""
    rows = []
    for shape in SHAPES:
        for precision in PRECISIONS:
            ran, ours = bench(DEVICE, shape, precision, STEPS, 5)
            row = {"shape": shape, "precision": precision}
            results["speed"].append(row)
            if ran is None:
                row["error"] = ours
                continue
            row |= {
                "tokens_per_second": ours["tokens_per_second"],
                "model_flop_utilisation": ours["share_of_peak"],
            }
            rows.append((row, ours["architecture"]))
    save()
    if "compiled" in PEERS:
        # What torch.compile makes stays in its cache: made at once, timed one after another.
        with ThreadPoolExecutor(max(1, os.cpu_count() // 2)) as pool:
            list(pool.map(lambda made: peer(made[1], made[0]["precision"], True), rows))
    for row, architecture in rows:
        for name in PEERS:
            row[name] = peer(architecture, row["precision"], name == "compiled")
        print(json.dumps(row), flush=True)
        save()


def grid(folder, tokens, precision, per_device):
    file = folder / "check.yaml"
    file.write_text(GRID % (tokens, tokens, precision, per_device, per_device))
    return ["run", file, "--device", DEVICE, "--results", folder / "results"]


def runs(folder, name):
    """The table of an experiment's runs."""
    code, _, _ = call("export", folder / f"{name}.yaml", "--results", folder / "results",
                      "--format", "csv", "--output", folder / "table", cwd=folder)
    if code:
        return []
    with open(next((folder / "table").rglob("runs.csv"))) as file:
        return list(csv.DictReader(file))


def losses(folder):
    return {row["id"]: row["loss"] for row in runs(folder, "check")}


def plan():
    """The seconds that a grid was planned to take, and those it took."""
    tokens = int(os.environ.get("GRID_TOKENS", 1_000_000))
    count = int(os.environ.get("PLANNED_AT_ONCE", 4))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        file = folder / "planned.yaml"
        file.write_text(PLANNED % (tokens, tokens, count, count))
        settings = ["--device", DEVICE, "--results", folder / "results"]
        environment = os.environ | {"ORCHESTRATOR_CACHE": str(folder / "cache")}
        code, said, errors = call("plan", file, *settings, "--json", env=environment)
        planned = json.loads(said)["seconds"] if code == 0 else None
        code, _, errors = call("run", file, *settings, env=environment) if planned else (1, "", errors)
        if code:
            check("a grid takes as long as planned, within 20%", False, errors[-300:])
            return
        database = sqlite3.connect(folder / "results" / "orchestrator.db")
        [(began, ended)] = database.execute("SELECT min(started_at), max(ended_at) FROM attempts")
        took = ended - began
    results["planned"] = {"planned": planned, "took": took}
    check("a grid takes as long as planned, within 20%", abs(planned / took - 1) < 0.2,
          f"{planned:.1f} s planned, {took:.1f} s taken")


def precision():
    """The same runs in bf16, over seeds."""
    tokens = int(os.environ.get("GRID_TOKENS", 1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "precision.yaml").write_text(SEEDS % tokens)
        code, _, errors = call("run", folder / "precision.yaml", "--device", DEVICE,
                               "--results", folder / "results")
        found = {"f32": [], "bf16": []}
        recipes = {file.parent.name: json.loads(file.read_text())["recipe"]
                   for file in folder.rglob("run.json")}
        for row in runs(folder, "precision") if code == 0 else []:
            found[recipes[row["id"]].get("precision", "f32")].append(float(row["loss"]))
    results["precision"] = found
    if any(len(losses) < 2 for losses in found.values()):
        check("bf16 within the noise of seeds", False, errors[-300:])
        return
    mean = {name: statistics.mean(losses) for name, losses in found.items()}
    noise = statistics.stdev(found["f32"])
    check("bf16 within the noise of seeds", abs(mean["bf16"] - mean["f32"]) < 2 * noise,
          f"{mean['bf16']:.4f} for {mean['f32']:.4f}, a seed's deviation {noise:.4f}")


def packing():
    """A grid of eight small runs, so many at once on the card."""
    tokens = int(os.environ.get("GRID_TOKENS", 1_000_000))
    for count in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            code, _, errors = call(*grid(pathlib.Path(folder), tokens, "f32", count))
            seconds = time.perf_counter() - began
            row = {"at_once": count, "seconds": seconds, "tokens_per_second": 8 * tokens / seconds}
            results["packing"].append(row if code == 0 else {"at_once": count, "error": errors[-500:]})
            print(json.dumps(row), flush=True)
            if code == 0 and "grid_eager" not in results:
                runs = pathlib.Path(folder).rglob("run.json")
                shapes = [json.loads(run.read_text())["architecture"] for run in runs]
                rates = [peer(shape, "f32", False)["tokens_per_second"] for shape in shapes[:2]]
                results["grid_eager"] = statistics.mean(rates)


def resume():
    """A grid that is stopped and goes on gives the numbers of one that is not."""
    tokens = int(os.environ.get("GRID_TOKENS", 1_000_000))
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as parts:
        whole, parts = pathlib.Path(whole), pathlib.Path(parts)
        code, _, errors = call(*grid(whole, tokens, "f32", 2))
        check("a grid from end to end, each run checked for causality", code == 0,
              (errors.strip().splitlines() or [""])[-1])
        command = [PROGRAM, *map(str, grid(parts, tokens, "f32", 2))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(float(os.environ.get("STOP_AFTER", 8)))
        process.send_signal(signal.SIGINT)
        stopped = process.wait()
        code, _, _ = call(*grid(parts, tokens, "f32", 2))
        first, second = losses(whole), losses(parts)
        check("the second grid was stopped on the way", stopped == 1, f"exit {stopped}")
        same = first.keys() == second.keys()
        off = max((abs(float(first[run]) / float(second[run]) - 1) for run in first), default=1.0) \
            if same else 1.0
        check("stopped and resumed", code == 0 and same and off < 1e-3, f"largest difference {off:.1e}")


def table():
    print(f"\n{'shape':<7}{'':<6}{'tokens/s':>12}{'eager':>12}{'compiled':>12}{'MFU':>8}")
    rate = lambda row: f"{row['tokens_per_second']:,.0f}" if "tokens_per_second" in row else "failed"
    for row in results["speed"]:
        share = row.get("model_flop_utilisation")
        print(f"{row['shape']:<7}{row['precision']:<6}{rate(row):>12}"
              f"{rate(row.get('eager', {})):>12}{rate(row.get('compiled', {})):>12}"
              + (f"{share:>8.1%}" if share is not None else ""))
    print(f"\n{'runs at once':<14}{'tokens/s, all together':>24}")
    for row in results["packing"]:
        print(f"{row['at_once']:<14}{rate(row):>24}")
    if "grid_eager" in results:
        print(f"{'eager PyTorch':<14}{results['grid_eager']:>24,.0f}   steps alone, one run after another")


def main():
    code, said, errors = call("devices", "--json")
    results["devices"] = json.loads(said) if code == 0 else errors
    names = [device["name"] for device in results["devices"].get("devices", [])] if code == 0 else []
    check("the device is there", DEVICE in names, ", ".join(names) or errors)
    parts = {"numbers": numbers, "resume": resume, "plan": plan, "speed": speed, "packing": packing,
             "precision": precision}
    for part in PARTS if DEVICE in names else []:
        parts[part]()
        save()
    table()
    save()
    sys.exit(0 if all(check["passed"] for check in results["checks"]) else 1)


main()
