"""Follows the objects of the made video, and compares with what is true."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.video.made_video import LABELS, MadeFrame
from benchmarks.video.record import Followed
from samclip_sdk import Instances, SamClip, TrackedInstances

SEEN = 0.5
"""The share of an object that must be in sight for it to count."""

FOUND_IOU = 0.5


@dataclass(frozen=True)
class Score:
    """Of a way of following: see `Followed`."""

    found: float
    mean_iou: float
    ids_kept: float


def measure_ways(
    model: SamClip,
    frames: Sequence[MadeFrame],
    *,
    names: dict[str, str],
    every: Sequence[int],
    rounds: int,
    say: Callable[[str], None],
) -> list[Followed]:
    """Measures segment_text on each frame, and the stream with each `encode_every`.

    Every round times all of them, one after the other.
    """
    pixels = [each.pixels for each in frames]

    def by_text() -> list[Instances]:
        return list(model.segment_text(iter(pixels), LABELS, instances=True))

    def by_stream(encode_every: int) -> list[Instances]:
        return list(model.stream(iter(pixels), LABELS, encode_every=encode_every))

    by_text()  # what is opened and embedded at first use is not timed
    seconds: dict[int, list[float]] = {0: [], **{each: [] for each in every}}
    answers: dict[int, list[Instances]] = {}
    for count in range(rounds):
        for way in seconds:
            say(f"round {count + 1}: {f'every {way}' if way else 'segment_text'}")
            start = time.perf_counter()
            answers[way] = by_stream(way) if way else by_text()
            seconds[way].append(time.perf_counter() - start)
    return [
        _row(frames, answers[way], names=names, encode_every=way, seconds=took, against=seconds[0])
        for way, took in seconds.items()
    ]


def _row(
    frames: Sequence[MadeFrame],
    answers: Sequence[Instances],
    *,
    names: dict[str, str],
    encode_every: int,
    seconds: Sequence[float],
    against: Sequence[float],
) -> Followed:
    score = score_answers(frames, answers, names=names)
    ids = [each.ids.max(initial=0) for each in answers if isinstance(each, TrackedInstances)]
    ratios = [other / own for own, other in zip(seconds, against, strict=True)]
    return Followed(
        way="stream" if encode_every else "segment_text",
        encode_every=max(1, encode_every),
        frames_per_second=len(frames) / statistics.median(seconds),
        times_segment_text=statistics.median(ratios),
        found=score.found,
        mean_iou=score.mean_iou,
        still_iou=score_answers(frames, _left_still(answers), names=names).mean_iou,
        ids_kept=score.ids_kept if ids else None,
        ids=int(max(ids)) if ids else None,
    )


def score_answers(
    frames: Iterable[MadeFrame], answers: Iterable[Instances], *, names: dict[str, str]
) -> Score:
    """Compares answers with what is true, object by object and frame by frame.

    Args:
        frames: the made video.
        answers: one for each frame.
        names: name -> label of each object.
    """
    ious: list[float] = []
    kept = 0
    first: dict[str, int] = {}
    for frame, answer in zip(frames, answers, strict=True):
        ids = answer.ids.tolist() if isinstance(answer, TrackedInstances) else [0] * len(answer)
        for name, label in names.items():
            visible = frame.visible[name]
            if np.count_nonzero(visible) < SEEN * frame.whole[name]:
                continue
            own = [_iou(item.mask, visible) * (item.label == label) for item in answer]
            ious.append(max(own, default=0.0))
            if ious[-1] >= FOUND_IOU:
                found = ids[int(np.argmax(own))]
                kept += first.setdefault(name, found) == found
    return Score(
        found=float(np.mean(np.array(ious) >= FOUND_IOU)),
        mean_iou=float(np.mean(ious)),
        ids_kept=kept / len(ious),
    )


def _left_still(answers: Sequence[Instances]) -> list[Instances]:
    """For each frame the answer to the last one that the model looked at."""
    still: list[Instances] = []
    for answer in answers:
        moved = isinstance(answer, TrackedInstances) and not answer.encoded
        still.append(still[-1] if moved else answer)
    return still


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(first & second) / max(np.count_nonzero(first | second), 1))
