"""How objects are followed through the made video: `python -m benchmarks video`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.intervals import over_rounds
from benchmarks.metrics.masks import iou
from benchmarks.suite import Measuring, ModelName, Rounds, Runtime, Threads
from benchmarks.video.made_video import LABELS, Actor, MadeFrame, actors, make_frames
from samclip_sdk import Instances, SamClip, TrackedInstances
from samclip_sdk.bundle.open import DEFAULT_MODEL

ENCODE_EVERY = (1, 2, 3, 4)

SEEN = 0.5
"""The share of an object that must be in sight for it to count."""

FOUND_IOU = 0.5


def video(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    threads: Threads = 0,
    rounds: Rounds = 3,
) -> None:
    """Follows objects through a made video with occlusion: frames a second, masks and ids.

    segment_text on each frame, and the stream with each `encode_every`; every round times all of
    them, one after the other. `still_iou` is `mean_iou` where masks stay where the model last saw
    them.
    """
    cast = [each for each in actors() if each.label]
    made = [*make_frames(actors())]
    measured.settings |= {"objects": len(cast), "frames": len(made)}
    pixels = [each.pixels for each in made]
    answers: dict[int, list[Instances]] = {}
    with SamClip.load(runtime, model=model, threads=threads) as samclip:
        measured.of(samclip)

        def follow(way: int) -> None:
            if way:
                answers[way] = list(samclip.stream(iter(pixels), LABELS, encode_every=way))
            else:
                answers[way] = list(samclip.segment_instances(iter(pixels), LABELS))

        ways = {way: partial(follow, way) for way in (0, *ENCODE_EVERY)}
        took = measured.in_turn(ways, "following", rounds=rounds)
    for way, times_ms in took.items():
        score = score_answers(made, answers[way], cast)
        still = score_answers(made, _left_still(answers[way]), cast)
        ids = [each.ids.max(initial=0) for each in answers[way] if hasattr(each, "ids")]
        measured.add(
            f"stream, encode_every={way}" if way else "segment_text",
            frames_per_second=over_rounds([1000 * len(made) / each for each in times_ms]),
            times_segment_text=over_rounds(
                [other / own for own, other in zip(times_ms, took[0], strict=True)]
            ),
            found=score.found,
            mean_iou=score.mean_iou,
            still_iou=still.mean_iou,
            ids_kept=score.ids_kept if ids else None,
            ids=int(max(ids)) if ids else None,
        )


class Score(NamedTuple):
    """Of the objects, in frames in which half of one or more can be seen.

    `found` is the share with a mask of its label of IoU 0.5 or more, `mean_iou` the mean IoU of the
    best such mask, 0 where there is none, and `ids_kept` the share found under the id that the
    object had when it was first found.
    """

    found: float
    mean_iou: float
    ids_kept: float


def score_answers(
    frames: Iterable[MadeFrame], answers: Iterable[Instances], cast: Sequence[Actor]
) -> Score:
    """Compares an answer for each frame with what is true, object by object."""
    ious: list[float] = []
    kept = 0
    first: dict[str, int] = {}
    for frame, answer in zip(frames, answers, strict=True):
        ids = answer.ids.tolist() if isinstance(answer, TrackedInstances) else [0] * len(answer)
        for actor in cast:
            visible = frame.visible[actor.name]
            if np.count_nonzero(visible) < SEEN * np.count_nonzero(actor.cutout[1]):
                continue
            own = [iou(item.mask, visible) * (item.label == actor.label) for item in answer]
            ious.append(max(own, default=0.0))
            if ious[-1] >= FOUND_IOU:
                found = ids[int(np.argmax(own))]
                kept += first.setdefault(actor.name, found) == found
    found_share = float(np.mean(np.array(ious) >= FOUND_IOU))
    return Score(found_share, float(np.mean(ious)), kept / len(ious))


def _left_still(answers: Sequence[Instances]) -> list[Instances]:
    """For each frame the answer to the last one that the model looked at."""
    still: list[Instances] = []
    for answer in answers:
        moved = isinstance(answer, TrackedInstances) and not answer.encoded
        still.append(still[-1] if moved else answer)
    return still
