"""Validation in a run: what is learned, what is forgotten, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.errors import TrainingError
from training.loop.log import Log, over_processes
from training.loop_config import Optimisation
from training.tasks.tasks import Task


def check_validation(task: Task, settings: Optimisation) -> None:
    """Raises TrainingError if the task does not measure the metric of `early_stop`."""
    rule = settings.early_stop
    if rule is not None and rule.metric not in task.metrics:
        measured = ", ".join(task.metrics)
        raise TrainingError(f"early_stop.metric is {rule.metric!r}; this stage measures {measured}")


def validate(
    task: Task, settings: Optimisation, fabric: Fabric, log: Log, state: dict[str, Any]
) -> bool:
    """Validates if it is due, logs the means, and adds the score to `state`.

    Returns:
        Whether these weights are to be kept. The last kept ones are the result of the run.
    """
    validation, metrics = settings.validation, task.metrics
    if validation is None or task.validation is None or state["step"] % validation.every_steps:
        return False
    sums, counts = dict.fromkeys(metrics, 0.0), dict.fromkeys(metrics, 0)
    sheet = None
    mine = range(fabric.global_rank, validation.batches, fabric.world_size)
    for found, drawn in measure_batches(task, fabric, mine):
        for name, values in found.items():
            sums[name] += values.cpu().double().sum().item()
            counts[name] += values.numel()
        sheet = drawn if sheet is None else sheet
    totals = over_processes(fabric, [*sums.values(), *counts.values()], "sum")
    pairs = zip(metrics, totals[: len(metrics)], totals[len(metrics) :], strict=True)
    means = {name: total / count for name, total, count in pairs if count}
    log.write_validation(means, step=state["step"], sheet=sheet)
    if (rule := validation.early_stop) is None:
        return False
    state["scores"].append(means[rule.metric])
    return bool(means[rule.metric] >= rule.minimum)


def measure_batches(
    task: Task, fabric: Fabric, indices: Sequence[int]
) -> Iterator[tuple[dict[str, Tensor], np.ndarray | None]]:
    """Yields the measurements of each batch of the validation, and the first contact sheet."""
    held_out = task.validation
    assert held_out is not None
    with _evaluating(task), torch.no_grad(), fabric.autocast():
        for done, index in enumerate(indices):
            batch = fabric.to_device(held_out[index])
            torch.manual_seed(index)
            yield task.measure(batch), None if done else task.draw(batch)


def stays_below(scores: Sequence[float], settings: Optimisation) -> bool:
    """Returns whether training stops, for the last scores are below the limit for too long."""
    validation, rule = settings.validation, settings.early_stop
    if validation is None or rule is None:
        return False
    below = list(takewhile(lambda score: score < rule.minimum, reversed(scores)))
    epochs = len(below) * validation.every_steps * settings.epochs / settings.steps
    return bool(below) and epochs >= rule.patience


def has_result(scores: Sequence[float], settings: Optimisation) -> bool:
    """Returns whether a run's result is in its `kept.pt`. Otherwise it is the last weights.

    Raises TrainingError if no validation reached the limit.
    """
    rule = settings.early_stop
    if rule is None or not scores:
        return False
    if max(scores) < rule.minimum:
        raise TrainingError(
            f"{rule.metric} was {max(scores):.3g} at best, and early_stop.minimum is "
            f"{rule.minimum:g}: lower it, or the learning rate, and remove the run to start over"
        )
    return True


@contextmanager
def _evaluating(task: nn.Module) -> Iterator[None]:
    """Puts the whole task into eval mode, and afterwards each module back into its own mode."""
    modes = {module: module.training for module in task.modules()}
    task.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
