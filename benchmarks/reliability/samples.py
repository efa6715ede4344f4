"""Samples of what a process holds, and whether that grows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
import psutil

from benchmarks.record import Record

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
