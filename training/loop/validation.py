"""Validation in a run: what is forgotten, what is learned, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from training.errors import TrainingError
from training.loop.log import Log, over_processes
from training.loop.sharding import give_back
from training.loop_config import Optimisation
from training.tasks.tasks import Task


def check_validation(task: Task, settings: Optimisation) -> None:
    """Raises TrainingError if `early_stop` goes by a metric that the task does not measure."""
    rule = None if settings.validation is None else settings.validation.early_stop
    if rule is not None and rule.metric not in task.metrics:
        measured = ", ".join(task.metrics)
        raise TrainingError(f"early_stop.metric is {rule.metric!r}; this stage measures {measured}")


def validate(
    task: Task, settings: Optimisation, fabric: Fabric, log: Log, state: dict[str, Any]
) -> bool:
    """Validates where it is due, writes what was found, and notes the score in `state`.

    Returns:
        Whether these weights are to be kept: those of a run's last `True` are its result.
    """
    validation, metrics, held_out = settings.validation, task.metrics, task.validation
    if validation is None or held_out is None or state["step"] % validation.every_steps:
        return False
    sums, counts = dict.fromkeys(metrics, 0.0), dict.fromkeys(metrics, 0)
    sheet = None
    first = range(0, validation.batches, fabric.world_size)
    with _evaluating(task), torch.no_grad(), fabric.autocast():
        for index in (start + fabric.global_rank for start in first):
            # Shares are gathered by all processes at once: one without a batch repeats another's.
            batch = fabric.to_device(held_out[index % validation.batches])
            torch.manual_seed(index)
            for name, values in task.measure(batch).items():
                if index < validation.batches:
                    sums[name] += values.cpu().double().sum().item()
                    counts[name] += values.numel()
            if index == fabric.global_rank:
                sheet = task.draw(batch)
    give_back(task)
    totals = over_processes(fabric, [*sums.values(), *counts.values()], "sum")
    pairs = zip(metrics, totals[: len(metrics)], totals[len(metrics) :], strict=True)
    means = {name: total / count for name, total, count in pairs if count}
    log.write_validation(means, step=state["step"], sheet=sheet)
    if validation.early_stop is None:
        return False
    state["scores"].append(means[validation.early_stop.metric])
    return bool(state["scores"][-1] >= validation.early_stop.at_least)


def stays_below(scores: Sequence[float], settings: Optimisation) -> bool:
    """Whether training is to stop early: for too long, more was forgotten than may be.

    Args:
        scores: of each validation so far, the higher the better.
        settings: with the rule, and with the steps of all epochs.
    """
    validation = settings.validation
    rule = None if validation is None else validation.early_stop
    if validation is None or rule is None:
        return False
    below = list(takewhile(lambda score: score < rule.at_least, reversed(scores)))
    epochs = len(below) * validation.every_steps * settings.epochs / settings.steps
    return bool(below) and epochs >= rule.patience


def has_result(scores: Sequence[float], settings: Optimisation) -> bool:
    """Whether a run's result is in its `kept.pt`; if not, it is the last weights.

    Raises:
        TrainingError: it has none, for no validation reached the floor.
    """
    rule = None if settings.validation is None else settings.validation.early_stop
    if rule is None or not scores:
        return False
    if max(scores) < rule.at_least:
        raise TrainingError(
            f"{rule.metric} was {max(scores):.3g} at best, and early_stop.at_least is "
            f"{rule.at_least:g}: lower it, or the learning rate, and remove the run to start over"
        )
    return True


@contextmanager
def _evaluating(task: nn.Module) -> Iterator[None]:
    """Puts the whole task into eval mode, and each module back into the mode that it had."""
    modes = {module: module.training for module in task.modules()}
    task.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
