"""The loop: every stage's, and the teachers'. It knows a task and its settings, nothing else."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

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
            interrupted) and `log.jsonl`.

    Raises:
        FloatingPointError: a loss is not finite; its batch is in `run`/bad_batch.pt.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    parts = task.parts()
    optimizers = build_optimizers(parts, settings)
    trained = [p for part in parts.values() for p in part.parameters() if p.requires_grad]
    step = _resume(run, parts, optimizers)
    saved, logged = time.monotonic(), time.monotonic()
    sums: dict[str, float] = defaultdict(float)
    source = batches(task.dataset, start=step, stop=settings.steps, workers=settings.workers)
    # One context for all steps: autocast's cache of cast weights would outlive their updates.
    autocast = torch.autocast(
        "cpu", torch.bfloat16, enabled=settings.precision == "bf16", cache_enabled=False
    )
    with autocast, _progress() as progress:
        bar = progress.add_task(run.name, total=settings.steps, completed=step, note="")
        try:
            for batch in source:
                torch.manual_seed(settings.seed * 1_000_003 + step)
                rate = set_learning_rate(optimizers, settings, step=step)
                for name, loss in task.losses(batch, step=step):
                    if not torch.isfinite(loss):
                        torch.save(batch, run / "bad_batch.pt")
                        raise FloatingPointError(f"{name} is {loss.item()} at step {step}")
                    loss.backward()
                    sums[name] += loss.item()
                sums["gradient"] += float(nn.utils.clip_grad_norm_(trained, settings.clip_norm))
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
                step += 1
                if step % _LOG_EVERY == 0:
                    entry = {name: round(total / _LOG_EVERY, 5) for name, total in sums.items()}
                    entry |= {"step": step, "learning_rate": rate}
                    entry["step_ms"] = round((time.monotonic() - logged) * 1e3 / _LOG_EVERY)
                    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                        log.write(json.dumps(entry) + "\n")
                    progress.update(bar, note=" ".join(f"{k} {v:.4g}" for k, v in entry.items()))
                    logged, sums = time.monotonic(), defaultdict(float)
                progress.update(bar, completed=step)
                if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                    _save(run, parts, optimizers, step)
                    saved = time.monotonic()
        finally:
            _save(run, parts, optimizers, step)


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


def _resume(
    run: Path, parts: dict[str, nn.Module], optimizers: list[torch.optim.Optimizer]
) -> int:
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
