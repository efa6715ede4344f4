"""A smoke run: a few steps, and how long the whole training will take."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

from samclip_sdk.system.timing import peak_rss_bytes
from training.loop.log import over_processes
from training.loop.optimizer import set_learning_rate
from training.loop.train import begin, indexed_batches, update, walk_backward
from training.loop.validation import measure_batches
from training.loop_config import Optimisation
from training.tasks.tasks import Task


@dataclass(frozen=True)
class Pace:
    """The result of a smoke run.

    Attributes:
        whole: what the hours are for, such as "12,500 steps".
        images_per_s: images a second in all processes; None for a stage without images.
        peak_bytes: the highest use of memory: the GPU's if there is one, else the process's own;
            None if the system does not say.
        hours: how long the whole stage takes.
        validation_hours: the part of the hours that validations take.
    """

    whole: str
    images_per_s: float | None
    peak_bytes: int | None
    hours: float
    validation_hours: float = 0.0

    def __str__(self) -> str:
        told = [] if self.images_per_s is None else [f"{self.images_per_s:.1f} images/s"]
        if self.peak_bytes is not None:
            told.append(f"{self.peak_bytes / 1e9:.2f} GB of memory at most")
        hours = f"{self.hours:.2f} hours for {self.whole}"
        if self.validation_hours:
            hours += f", of which {self.validation_hours:.2f} for validations"
        return ", ".join([*told, hours])


def measure_pace(
    task: Task, settings: Optimisation, *, fabric: Fabric, accumulate: int, steps: int
) -> Pace:
    """Trains a few steps and measures a batch of the validation. Writes nothing.

    The first step is not timed, for it is slower than the others. The task is changed; the settings
    have the steps of the whole training, at most so many of which are taken.
    """
    state = begin(task, settings, fabric)
    source = indexed_batches(task, settings, fabric, accumulate, start=0)
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(fabric.device)
    count = min(steps, settings.steps)
    began, images, timed = time.monotonic(), 0, 0
    for step in range(count):
        set_learning_rate(state["optimizer"], settings, step=step)
        walked = walk_backward(fabric, state, source, settings, accumulate)
        update(state, settings)
        images, timed = images + walked.images, timed + 1
        if step == 0 < count - 1:
            began, images, timed = time.monotonic(), 0, 0
    seconds = time.monotonic() - began
    validations = _validation_seconds(task, settings, fabric)
    total, seconds = over_processes(fabric, [images], "sum")[0], seconds / timed
    return Pace(
        whole=f"{settings.steps:,} steps",
        images_per_s=total / timed / seconds,
        peak_bytes=peak_bytes(fabric),
        hours=(settings.steps * seconds + validations) / 3600,
        validation_hours=validations / 3600,
    )


def peak_bytes(fabric: Fabric) -> int | None:
    """Returns the highest use of memory in this process so far; None if the system does not say."""
    if fabric.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(fabric.device))
    return peak_rss_bytes()


def _validation_seconds(task: Task, settings: Optimisation, fabric: Fabric) -> float:
    """Returns the time of all validations, by the time of one batch."""
    validation = settings.validation
    if validation is None or task.validation is None:
        return 0.0
    began = time.monotonic()
    list(measure_batches(task, fabric, [0]))
    batches = -(-validation.batches // fabric.world_size)
    return (settings.steps // validation.every_steps) * batches * (time.monotonic() - began)
