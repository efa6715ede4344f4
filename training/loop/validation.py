"""Validation in a run: what is forgotten, what is learned, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        Whether these are the best weights so far, by the metric of `early_stop`.
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
    return bool(state["scores"][-1] == max(state["scores"]))


def has_fallen(scores: Sequence[float], settings: Optimisation) -> bool:
    """Whether training is to stop early (paper section 4.1: when instance mAP starts to fall).

    Args:
        scores: of each validation so far, the higher the better.
        settings: with the rule.
    """
    rule = None if settings.validation is None else settings.validation.early_stop
    if rule is None or len(scores) <= rule.patience:
        return False
    best = max(scores[: -rule.patience])
    return all(score < best - rule.margin for score in scores[-rule.patience :])


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
