"""How objects are followed through the made video: measured, recorded, and its table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import Model, Record, Run, Share
from benchmarks.report import columns, percent
from benchmarks.video.made_video import LABELS, MadeFrame
from samclip_sdk import Instances, SamClip, TrackedInstances


class Followed(Record):
    """The made video by one way of following.

    `way` is "segment_text" on each frame, or "stream"; `encode_every` is its option, 1 of
    segment_text. `frames_per_second` is the median over the rounds, `times_segment_text` the
    median of the ratio to segment_text in the same round. Of the objects, in frames in which half
    of one or more can be seen: `found` is the share with a mask of its label of IoU 0.5 or more,
    `mean_iou` the mean IoU of the best such mask, 0 where there is none, and `ids_kept` the share
    found under the id that the object had when it was first found; null without ids. `still_iou`
    is `mean_iou` where masks stay where the model last saw them.
    """

    way: str
    encode_every: int
    frames_per_second: float
    times_segment_text: float
    found: Share
    mean_iou: Share
    still_iou: Share
    ids_kept: Share | None
    ids: int | None


class VideoQuality(Run):
    """The whole of video.json; `threads` are the runtime's, 0 for its own choice."""

    model: Model
    threads: int
    frames: int
    objects: int
    rounds: int
    ways: tuple[Followed, ...]


_CELLS: dict[str, Callable[[Followed], str]] = {
    "": lambda row: row.way if row.ids is None else f"{row.way}, encode_every={row.encode_every}",
    "frames/s": lambda row: f"{row.frames_per_second:.1f}",
    "times segment_text": lambda row: f"{row.times_segment_text:.2f}",
    "found, %": lambda row: percent(row.found),
    "mean IoU, %": lambda row: percent(row.mean_iou),
    "masks left still": lambda row: percent(row.still_iou),
    "ids kept, %": lambda row: percent(row.ids_kept),
    "ids given": lambda row: "–" if row.ids is None else str(row.ids),
}


def render(record: VideoQuality) -> str:
    """The table, and under it how it was made."""
    where = record.environment
    threads = f"{record.threads} threads" if record.threads != 1 else "one thread"
    return (
        f"{columns(record.ways, _CELLS, words=1)}\n\n{record.model.name} on {record.model.runtime} "
        f"{record.model.precision}, {threads}; {record.frames} frames with {record.objects} "
        f"objects, median of {record.rounds} rounds. {where.cpu}, {where.cores} cores, "
        f"{where.date[:10]}. Measured by `{where.command}`.\n"
    )


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
