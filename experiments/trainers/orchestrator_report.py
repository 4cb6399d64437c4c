"""Reports of a training run to `orchestrator`: copy this file beside your trainer.

    from orchestrator_report import checkpoint_folder, report, should_stop

    for step in range(first, steps):
        loss = train_step()
        report(step=step + 1, tokens=seen, loss=loss)
        if should_stop():
            save(checkpoint_folder())
            sys.exit(4)
    report(step=steps, tokens=seen, validation_loss=validate(), final=True)

Without `orchestrator` nothing is written and nothing stops: the trainer runs as it always did. With several
processes those of rank 0 alone report (`RANK`, as torchrun sets it). Needs nothing but Python 3.9.
"""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Optional, Union

_asked = threading.Event()
_watched = False


def report(
    *,
    step: int,
    tokens: Optional[int] = None,
    loss: Optional[float] = None,
    validation_loss: Optional[float] = None,
    bits_per_byte: Optional[float] = None,
    flops: Optional[float] = None,
    params: Optional[int] = None,
    learning_rate: Optional[float] = None,
    checkpoint: Optional[int] = None,
    final: bool = False,
    **metrics: Union[int, float],
) -> None:
    """Appends a report. Losses are in `trainer.loss_unit`; `checkpoint` is the step of one that is safely on
    disk; `final` belongs to the last report, which has the held-out loss. What is not known is left out."""
    path = os.environ.get("ORCHESTRATOR_REPORT")
    if not path or not _is_first():
        return
    known = {
        "step": step,
        "tokens": tokens,
        "loss": loss,
        "validation_loss": validation_loss,
        "bits_per_byte": bits_per_byte,
        "flops": flops,
        "params": params,
        "learning_rate": learning_rate,
        "checkpoint": checkpoint,
        **metrics,
    }
    line = {name: _plain(value) for name, value in known.items() if value is not None}
    if final:
        line["final"] = True
    # One write a line: a kill tears at most the last one.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def should_stop() -> bool:
    """Says whether the run is asked to stop: save a checkpoint, and exit with status 4 (or 0).

    From the first call on, SIGTERM asks instead of killing; call it between steps."""
    global _watched
    if not _watched and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: _asked.set())
        _watched = True
    return _asked.is_set()


def checkpoint_folder() -> Path:
    """The folder for this run's checkpoints, the same in every attempt; `checkpoints` without `orchestrator`."""
    folder = Path(os.environ.get("ORCHESTRATOR_CHECKPOINTS", "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def resume_step() -> Optional[int]:
    """The step of the newest checkpoint that was reported in an earlier attempt."""
    step = os.environ.get("ORCHESTRATOR_RESUME_STEP")
    return int(step) if step else None


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _plain(value: object) -> object:
    """A number of NumPy or PyTorch as one of Python."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value
