"""What runs that do nothing cost elsewhere: Optuna on SQLite, and pueue where it is installed.

    python -m venv peers && peers/bin/pip install optuna
    peers/bin/python benches/peer/overhead.py

Beside `cargo bench --bench overhead`, on the same machine, one after the other. A trial of Optuna is
a function call unless it starts a process itself: both are measured.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path


def optuna_trials(folder, trials, jobs, objective, name):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{folder}/{name.replace(' ', '-')}.db",
        sampler=optuna.samplers.RandomSampler(seed=0),
        study_name="nothing",
    )
    start = time.perf_counter()
    study.optimize(objective, n_trials=trials, n_jobs=jobs)
    seconds = time.perf_counter() - start
    assert len(study.trials) == trials
    print(f"optuna {optuna.__version__}, {name}, {jobs} at once: {trials} trials in "
          f"{seconds:.2f} s: {trials / seconds:.0f} trials/s")
    return study


def call(trial):
    return trial.suggest_float("x", 0, 1)


def process(trial):
    subprocess.run(["true"], check=True)
    return trial.suggest_float("x", 0, 1)


def optuna_rows(folder, rows):
    """Measurements: intermediate values of one trial."""

    def objective(trial):
        start = time.perf_counter()
        for step in range(rows):
            trial.report(1.0 / (step + 1), step)
        seconds = time.perf_counter() - start
        print(f"optuna, intermediate values: {rows / seconds:.0f} rows/s")
        return 0.0

    import optuna

    study = optuna.create_study(storage=f"sqlite:///{folder}/rows.db")
    study.optimize(objective, n_trials=1)


def optuna_status(folder, name):
    import optuna

    start = time.perf_counter()
    study = optuna.load_study(
        storage=f"sqlite:///{folder}/{name.replace(' ', '-')}.db", study_name="nothing"
    )
    count = len(study.get_trials(deepcopy=False))
    print(f"optuna, all trials of a stored study of {count}: {time.perf_counter() - start:.2f} s")


def pueue(tasks):
    if not (shutil.which("pueue") and shutil.which("pueued")):
        print("pueue is not installed: not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pueue.yml"
        config.write_text(
            f"shared: {{pueue_directory: {folder}, runtime_directory: {folder}, "
            f"use_unix_socket: true}}\nclient: {{}}\ndaemon: {{}}\n"
        )
        client = ["pueue", "-c", str(config)]
        daemon = subprocess.Popen(["pueued", "-c", str(config)], stdout=subprocess.DEVNULL)
        try:
            while subprocess.run([*client, "parallel", "2"], capture_output=True).returncode:
                time.sleep(0.1)
            start = time.perf_counter()
            for _ in range(tasks):
                subprocess.run([*client, "add", "--", "true"], check=True, capture_output=True)
            added = time.perf_counter() - start
            subprocess.run([*client, "wait", "--quiet"], check=True, capture_output=True)
            seconds = time.perf_counter() - start
            print(f"pueue, 2 at once: {tasks} tasks in {seconds:.2f} s: "
                  f"{tasks / seconds:.0f} tasks/s ({added:.2f} s of it adding them)")
        finally:
            subprocess.run([*client, "shutdown"], capture_output=True)
            daemon.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        optuna_trials(folder, arguments.trials, 1, call, "a function call each")
        optuna_trials(folder, arguments.trials, 2, process, "a process each")
        optuna_rows(folder, arguments.trials)
        optuna_status(folder, "a function call each")
    pueue(min(arguments.trials, 300))


if __name__ == "__main__":
    main()
