"""Work that goes on for long: memory and file handles must stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.record import Model, Run
from benchmarks.reliability.samples import Sample, take_sample
from samclip_sdk import SamClip
from samclip_sdk.annotate.annotator import Annotator, annotate_folder

SAMPLES = 100
WARM_UP = 0.1
"""The share of the work after which the first sample is taken."""


class LongRun(Run):
    """What a process held over a long work; the samples' `at` counts `unit`."""

    work: str
    unit: str
    model: Model
    samples: tuple[Sample, ...]


def run_annotate(
    model: SamClip,
    pictures: Path,
    output: Path,
    *,
    labels: tuple[str, ...],
    on_progress: Callable[[int, int], None],
) -> list[Sample]:
    """Annotates a folder in this process, and samples it on the way; goes on where it stopped.

    Args:
        model: in this process.
        pictures: the folder.
        output: the COCO JSON.
        labels: of the categories.
        on_progress: told how many pictures are done, of how many.
    """
    process, samples = psutil.Process(), []

    def note(message: str, done: int, total: int) -> None:
        if done >= WARM_UP * total and done % max(1, total // SAMPLES) == 0:
            samples.append(take_sample(process, at=done))
        on_progress(done, total)

    annotate_folder(Annotator(model, labels, threshold=0), pictures, output, on_progress=note)
    return samples
