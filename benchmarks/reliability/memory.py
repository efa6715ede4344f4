"""What a process holds over many calls of one verb, and over a long work, and how that grows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from benchmarks.record import Model, Record, Run
from benchmarks.reliability.questions import ask, make_subjects
from samclip_sdk import SamClip
from samclip_sdk.annotate import Annotator, annotate_folder

PICTURES = 4
CALL_SAMPLES = 50
SAMPLES = 100
WARM_UP = 0.1
"""The share of a long work after which the first sample is taken."""

_ENDS = 0.1  # the share of the samples, first and last, that growth is told from


class Sample(Record):
    """What a process holds after `at` calls, pictures or minutes. MB are of 10^6 bytes."""

    at: float
    rss_mb: float
    handles: int
    threads: int


def take_sample(process: psutil.Process, *, at: float, with_children: bool = False) -> Sample:
    """What a process holds now, and its children if asked; `handles` are open files and others."""
    all_of_it = [process, *(process.children(recursive=True) if with_children else ())]
    return Sample(
        at=round(at, 3),
        rss_mb=round(sum(each.memory_info().rss for each in all_of_it) / 1e6, 2),
        handles=sum(each.num_handles() if psutil.WINDOWS else each.num_fds() for each in all_of_it),
        threads=sum(each.num_threads() for each in all_of_it),
    )


def growth_mb(samples: Sequence[Sample]) -> float:
    """The median of the last tenth of the samples less that of the first."""
    count = max(1, int(_ENDS * len(samples)))
    first, last = ([each.rss_mb for each in part] for part in (samples[:count], samples[-count:]))
    return median(last) - median(first)


def slope_mb(samples: Sequence[Sample]) -> float:
    """How memory grows with `at`, in MB for each of it, by least squares."""
    places = np.array([each.at for each in samples])
    if len(samples) < 2 or np.ptp(places) == 0:
        return 0.0
    return float(np.polyfit(places, [each.rss_mb for each in samples], 1)[0])


def more_handles(samples: Sequence[Sample]) -> int:
    """How many more handles there are at the end than at the beginning."""
    return samples[-1].handles - samples[0].handles


def more_threads(samples: Sequence[Sample]) -> int:
    """How many more threads there are at the end than at the beginning."""
    return samples[-1].threads - samples[0].threads


class VerbMemory(Run):
    """What a process holds over `calls` calls of a verb, after `warm_up` of them."""

    model: Model
    verb: str
    calls: int
    warm_up: int
    seed: int
    samples: tuple[Sample, ...]


def measure_memory(
    model: SamClip,
    verb: str,
    *,
    calls: int,
    warm_up: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> list[Sample]:
    """Calls a verb over and over, on a few pictures in turn: samples, evenly spread.

    Calls of the warm-up, in which memory pools and caches fill, are not sampled. `on_progress` is
    told how many calls are done, of how many.
    """
    subjects = make_subjects(model, pictures=PICTURES, seed=seed)
    process, samples = psutil.Process(), []
    every = max(1, calls // CALL_SAMPLES)
    for number in range(-warm_up, calls + 1):
        if number >= 0 and number % every == 0:
            gc.collect()  # what only waits for that is no leak
            samples.append(take_sample(process, at=number))
            on_progress(number, calls)
        if number < calls:
            ask(model, verb, subjects[number % PICTURES])
    return samples


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
    """Annotates a folder in this process, and samples it on the way; goes on where it stopped."""
    process, samples = psutil.Process(), []

    def note(message: str, done: int, total: int) -> None:
        if done >= WARM_UP * total and done % max(1, total // SAMPLES) == 0:
            samples.append(take_sample(process, at=done))
        on_progress(done, total)

    annotate_folder(Annotator(model, labels, threshold=0), pictures, output, on_progress=note)
    return samples
