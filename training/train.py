"""The loop: every stage's, and the teachers'. It knows a task and its settings, nothing else."""

from __future__ import annotations

import json
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from training.config import Optimisation
from training.data import batches
from training.optimizer import build_optimizers, set_learning_rate
from training.tasks import Task

_LOG_EVERY = 50


def train(task: Task, settings: Optimisation, run: Path) -> None:
    """Trains `task` to the end, from wherever `run` stopped.

    Args:
        task: model, data and losses.
        settings: how to step.
        run: folder of the run: `last.pt` (parts, optimizers, step; every few minutes and when
            stopped) and `log.jsonl`.

    Raises:
        FloatingPointError: a loss is not finite; its batch is in `run`/bad_batch.pt.
        SystemExit: SIGTERM or SIGINT came; the step in hand was finished, and saved.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    parts = task.parts()
    optimizers = build_optimizers(parts, settings)
    step = _resume(run, parts, optimizers)
    # Before the signals are held: a worker that inherited that could not be terminated.
    source = batches(task.dataset, start=step, stop=settings.steps, workers=settings.workers)
    # One context for all steps: autocast's cache of cast weights would outlive their updates.
    autocast = torch.autocast(
        "cpu", torch.bfloat16, enabled=settings.precision == "bf16", cache_enabled=False
    )
    log = _Log(run / "log.jsonl")
    saved = time.monotonic()
    with _held_signals() as signals, autocast, _progress() as progress:
        bar = progress.add_task(run.name, total=settings.steps, completed=step, note="")
        try:
            for batch in source:
                log.add(_step(task, batch, settings, optimizers, step=step, run=run))
                step += 1
                if step % _LOG_EVERY == 0:
                    progress.update(bar, note=log.write(step))
                progress.update(bar, completed=step)
                if signals:
                    raise SystemExit(128 + signals[0])
                if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                    _save(run, parts, optimizers, step)
                    saved = time.monotonic()
        finally:
            _save(run, parts, optimizers, step)


def _step(
    task: Task,
    batch: Any,
    settings: Optimisation,
    optimizers: list[torch.optim.Optimizer],
    *,
    step: int,
    run: Path,
) -> dict[str, float]:
    """Makes one step; what is random in it depends on the seed and `step` alone."""
    torch.manual_seed(settings.seed * 1_000_003 + step)
    rate = set_learning_rate(optimizers, settings, step=step)
    values = {}
    for name, loss in task.losses(batch, step=step):
        if not torch.isfinite(loss):
            torch.save(batch, run / "bad_batch.pt")
            raise FloatingPointError(f"{name} is {loss.item()} at step {step}")
        loss.backward()
        values[name] = loss.item()
    trained = [p for part in task.parts().values() for p in part.parameters() if p.requires_grad]
    values["gradient"] = float(nn.utils.clip_grad_norm_(trained, settings.clip_norm))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return values | {"learning_rate": rate}


class _Log:
    """Means of what steps reported, a line of JSON at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, list[float]] = defaultdict(list)
        self.steps = 0
        self.started = time.monotonic()

    def add(self, values: dict[str, float]) -> None:
        self.steps += 1
        for name, value in values.items():
            self.values[name].append(value)

    def write(self, step: int) -> str:
        """Writes the means since the last line, and returns them to be shown."""
        entry = {name: round(sum(x) / len(x), 6) for name, x in self.values.items()}
        entry["step"] = step
        entry["step_ms"] = round((time.monotonic() - self.started) * 1e3 / self.steps)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        self.values, self.steps, self.started = defaultdict(list), 0, time.monotonic()
        return " ".join(f"{name} {value:.4g}" for name, value in entry.items())


@contextmanager
def _held_signals() -> Iterator[list[int]]:
    """Notes SIGTERM and SIGINT in the list it yields, so that no step is cut in two.

    Where SIGINT is ignored, as by a shell's background jobs, it stays so.
    """
    received: list[int] = []
    held = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        held.append(signal.SIGINT)
    before = {each: signal.signal(each, lambda number, _: received.append(number)) for each in held}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _save(
    run: Path, parts: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer], step: int
) -> None:
    state = {
        "step": step,
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    temporary = run / "last.pt.tmp"
    torch.save(state, temporary)
    temporary.replace(run / "last.pt")


def _resume(run: Path, parts: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]) -> int:
    """Loads what an earlier call saved in `run`; returns the step to go on from."""
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "last.pt").exists():
        return 0
    state = torch.load(run / "last.pt", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    for optimizer, content in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(content)
    step: int = state["step"]
    return step


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
