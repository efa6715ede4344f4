"""Averaged weights (EMA): what a run's steps lead to, without the noise of the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.loop_config import Optimisation
from training.tasks.tasks import Task


def average_of(task: Task, settings: Optimisation) -> AveragedModel | None:
    """What averages the parts of a task, if its settings ask for that."""
    if not settings.averaging:
        return None
    return AveragedModel(task.parts, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging))  # type: ignore[no-untyped-call]


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
