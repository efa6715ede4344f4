"""The log of a run: JSON lines, the same as TensorBoard scalars, and contact sheets."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from samclip_sdk.system.atomic_file import atomic_file

_EVERY = 50  # steps a line


class Walked(NamedTuple):
    """The numbers of one step.

    Attributes:
        values: the losses, and the gradient's norm: of all weights, and of each part.
        bad: the index of a batch with a loss that is not finite, or None.
        images: number of images in this process's batches.
        broken: number of broken records that were replaced in them.
    """

    values: dict[str, float]
    bad: int | None
    images: int
    broken: int


class Log:
    """Means of what steps reported, and results of validations; the first process writes them.

    `run`/log.jsonl holds a line each, `run`/tensorboard the same numbers, `run`/validation the
    contact sheets.

    Attributes:
        message: the run's name, and what was written last.
    """

    def __init__(self, run: Path, fabric: Fabric) -> None:
        self.run = run
        self.fabric = fabric
        self.board = SummaryWriter(str(run / "tensorboard")) if fabric.is_global_zero else None
        self.message = run.name
        self._restart()

    def _restart(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.rate = 0.0
        self.steps = 0
        self.images = 0
        self.broken = 0
        self.started = time.monotonic()

    def add(self, walked: Walked, *, rate: float, step: int) -> None:
        """Counts one step of this process in; writes a line after the first and every 50."""
        self.steps += 1
        self.rate = rate
        self.images += walked.images
        self.broken += walked.broken
        for name, value in walked.values.items():
            self.sums[name] += value
        if step == 1 or step % _EVERY == 0:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Writes the means since the last line, over all processes, if there was a step since."""
        if not self.steps:
            return
        means = over_processes(self.fabric, [x / self.steps for x in self.sums.values()], "mean")
        seconds = time.monotonic() - self.started
        images, broken = over_processes(self.fabric, [self.images, self.broken], "sum")
        entry = dict(zip(self.sums, means, strict=True))
        entry |= {
            "learning_rate": self.rate,
            "step_ms": 1e3 * seconds / self.steps,
            "images_per_s": images / seconds,
            "broken": broken,
        }
        self._keep(entry, step=step)
        self._restart()
        shown = [f"{name} {value:.3g}" for name, value in entry.items() if "/" not in name]
        self.message = f"{self.run.name}: {' '.join(shown)}"

    def write_validation(
        self, values: Mapping[str, float], *, step: int, sheet: np.ndarray | None
    ) -> None:
        """Writes what a validation found, and its contact sheet uint8 RGB [H,W,3]."""
        self._keep({f"validation/{name}": value for name, value in values.items()}, step=step)
        if self.board is None or sheet is None:
            return
        self.board.add_image("validation/masks", sheet, step, dataformats="HWC")
        target = self.run / "validation" / f"{step:07d}.png"
        target.parent.mkdir(exist_ok=True)
        with atomic_file(target) as file:
            Image.fromarray(sheet).save(file, "PNG")

    def close(self) -> None:
        """Writes out what TensorBoard still holds."""
        if self.board is not None:
            self.board.close()

    def _keep(self, entry: Mapping[str, float], *, step: int) -> None:
        if self.board is None:
            return
        for name, value in entry.items():
            self.board.add_scalar(name, value, step)
        line: dict[str, Any] = {name: float(f"{value:.6g}") for name, value in entry.items()}
        with (self.run / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {"step": step}) + "\n")


def over_processes(fabric: Fabric, values: Sequence[float], reduction: str) -> list[float]:
    """Reduces each of `values` over all processes: "mean", "sum" or "max"."""
    # Apple's GPUs have no doubles.
    dtype = torch.float32 if fabric.device.type == "mps" else torch.float64
    reduced = fabric.all_reduce(torch.tensor(values, dtype=dtype), reduce_op=reduction)
    assert isinstance(reduced, torch.Tensor)
    numbers: list[float] = reduced.tolist()
    return numbers
