"""How objects are followed through the made video: measured, recorded, and its table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.metrics.masks import iou
from benchmarks.record import Model, Record, Run, Share, timed
from benchmarks.report import columns, percent
from benchmarks.video.made_video import LABELS, MadeFrame
from samclip_sdk import Instances, SamClip, TrackedInstances

SEEN = 0.5
"""The share of an object that must be in sight for it to count."""

FOUND_IOU = 0.5


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


_CELLS = {
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
    threads = f"{record.threads} threads" if record.threads != 1 else "one thread"
    return (
        f"{columns(record.ways, _CELLS, words=1)}\n\n{record.model.name} on {record.model.runtime} "
        f"{record.model.precision}, {threads}; {record.frames} frames with {record.objects} "
        f"objects, median of {record.rounds} rounds. {record.environment.footnote}\n"
    )


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

    Every round times all of them, one after the other. `names` is name -> label of each object.
    """
    pixels = [each.pixels for each in frames]

    def follow(encode_every: int) -> list[Instances]:
        if encode_every:
            return list(model.stream(iter(pixels), LABELS, encode_every=encode_every))
        return list(model.segment_instances(iter(pixels), LABELS))

    follow(0)  # what is opened and embedded at first use is not timed
    took: dict[int, list[float]] = {0: [], **{each: [] for each in every}}
    answers: dict[int, list[Instances]] = {}
    for count in range(rounds):
        for way in took:
            say(f"round {count + 1}: {f'every {way}' if way else 'segment_text'}")
            answers[way], ms = timed(lambda encode_every=way: follow(encode_every))
            took[way].append(ms / 1000)
    rows = []
    for way, seconds in took.items():
        score = score_answers(frames, answers[way], names=names)
        still = score_answers(frames, _left_still(answers[way]), names=names)
        tracked = [each for each in answers[way] if isinstance(each, TrackedInstances)]
        ids = [each.ids.max(initial=0) for each in tracked]
        ratios = [other / own for own, other in zip(seconds, took[0], strict=True)]
        rows.append(
            Followed(
                way="stream" if way else "segment_text",
                encode_every=max(1, way),
                frames_per_second=len(frames) / statistics.median(seconds),
                times_segment_text=statistics.median(ratios),
                found=score.found,
                mean_iou=score.mean_iou,
                still_iou=still.mean_iou,
                ids_kept=score.ids_kept if ids else None,
                ids=int(max(ids)) if ids else None,
            )
        )
    return rows


class Score(NamedTuple):
    """Of a way of following: see `Followed`."""

    found: float
    mean_iou: float
    ids_kept: float


def score_answers(
    frames: Iterable[MadeFrame], answers: Iterable[Instances], *, names: dict[str, str]
) -> Score:
    """Compares an answer for each frame with what is true, object by object."""
    ious: list[float] = []
    kept = 0
    first: dict[str, int] = {}
    for frame, answer in zip(frames, answers, strict=True):
        ids = answer.ids.tolist() if isinstance(answer, TrackedInstances) else [0] * len(answer)
        for name, label in names.items():
            visible = frame.visible[name]
            if np.count_nonzero(visible) < SEEN * frame.whole[name]:
                continue
            own = [iou(item.mask, visible) * (item.label == label) for item in answer]
            ious.append(max(own, default=0.0))
            if ious[-1] >= FOUND_IOU:
                found = ids[int(np.argmax(own))]
                kept += first.setdefault(name, found) == found
    found_share = float(np.mean(np.array(ious) >= FOUND_IOU))
    return Score(found_share, float(np.mean(ious)), kept / len(ious))


def _left_still(answers: Sequence[Instances]) -> list[Instances]:
    """For each frame the answer to the last one that the model looked at."""
    still: list[Instances] = []
    for answer in answers:
        moved = isinstance(answer, TrackedInstances) and not answer.encoded
        still.append(still[-1] if moved else answer)
    return still
