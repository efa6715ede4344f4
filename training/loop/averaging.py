"""Averaged weights (EMA): what a run's steps lead to, without the noise of the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from training.loop_config import Optimisation
from training.tasks.tasks import Task

Weights: TypeAlias = "tuple[torch.Tensor, ...] | list[torch.Tensor]"


def average_of(task: Task, settings: Optimisation) -> AveragedModel | None:
    """Returns the average of a task's parts, if its settings ask for one."""
    if not settings.averaging:
        return None
    return AveragedModel(task.parts, multi_avg_fn=_moving_average(settings.averaging))


def _moving_average(decay: float) -> Callable[[Weights, Weights, torch.Tensor | int], None]:
    """Returns a moving average that begins short: the first steps' weights are soon forgotten.

    After n steps the decay is (1 + n) / (10 + n), until that reaches the one that is asked for.
    With that alone from the start, weights that began at random would be a third of the average
    after 1,000 steps of .999.
    """

    def update(average: Weights, newest: Weights, count: torch.Tensor | int) -> None:
        steps = int(count)
        own = min(decay, (1 + steps) / (10 + steps))
        for mine, theirs in zip(average, newest, strict=True):
            mine.lerp_(theirs, 1 - own)

    return update


@contextmanager
def averaged(task: Task, average: AveragedModel | None) -> Iterator[None]:
    """Gives a task its averaged weights for a while, if there are any."""
    if average is None:
        yield
        return
    _swap(task.parts, average.module)
    try:
        yield
    finally:
        _swap(task.parts, average.module)


@torch.no_grad()
def _swap(one: nn.Module, other: nn.Module) -> None:
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        mine.data, theirs.data = theirs.data, mine.data
