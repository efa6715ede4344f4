"""Many calls of one verb: does the process hold more afterwards?"""

from __future__ import annotations

import gc
from collections.abc import Callable

import psutil

from benchmarks.record import Model, Run
from benchmarks.reliability.questions import ask, make_subjects
from benchmarks.reliability.samples import Sample, take_sample
from samclip_sdk import SamClip

PICTURES = 4
SAMPLES = 50


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
    """Calls a verb over and over, on a few pictures in turn.

    Args:
        model: in this process.
        verb: of `VERBS`.
        calls: how many, after the warm-up.
        warm_up: calls that are not sampled: memory pools fill, caches too.
        seed: of the pictures.
        on_progress: told how many calls are done, of how many.

    Returns:
        Samples, evenly spread, the first of them after the warm-up.
    """
    subjects = make_subjects(model, pictures=PICTURES, seed=seed)
    process, samples = psutil.Process(), []
    every = max(1, calls // SAMPLES)
    for number in range(-warm_up, calls + 1):
        if number >= 0 and number % every == 0:
            gc.collect()  # what only waits for that is no leak
            samples.append(take_sample(process, at=number))
            on_progress(number, calls)
        if number < calls:
            ask(model, verb, subjects[number % PICTURES])
    return samples
