"""How objects are followed through the made video: `python -m benchmarks video`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

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
    them, one after the other.
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
        slower = [other / own for own, other in zip(times_ms, took[0], strict=True)]
        measured.add(
            f"stream, encode_every={way}" if way else "segment_text",
            frames_per_second=over_rounds([1000 * len(made) / each for each in times_ms]),
            times_segment_text=over_rounds(slower),
            **score_answers(made, answers[way], cast),
        )


def score_answers(
    frames: Iterable[MadeFrame], answers: Iterable[Instances], cast: Sequence[Actor]
) -> dict[str, float | None]:
    """Compares an answer for each frame with what is true, object by object.

    Of the objects, in frames in which half of one or more can be seen, `found` is the share with a
    mask of its label of IoU 0.5 or more, `mean_iou` the mean IoU of the best such mask, 0 where
    there is none, and `ids_kept` the share found under the id that the object had when it was first
    found. `ids` are given in all.
    """
    ious, kept, given = list[float](), 0, 0
    first: dict[str, int] = {}
    for frame, answer in zip(frames, answers, strict=True):
        ids = answer.ids.tolist() if isinstance(answer, TrackedInstances) else []
        given = max([given, *ids])
        for actor in cast:
            visible = frame.visible[actor.name]
            if np.count_nonzero(visible) < SEEN * np.count_nonzero(actor.cutout[1]):
                continue
            own = [iou(item.mask, visible) * (item.label == actor.label) for item in answer]
            ious.append(max(own, default=0.0))
            if ids and ious[-1] >= FOUND_IOU:
                found = ids[int(np.argmax(own))]
                kept += first.setdefault(actor.name, found) == found
    found_share = float(np.mean(np.array(ious) >= FOUND_IOU))
    figures = {"found": found_share, "mean_iou": float(np.mean(ious))}
    return figures | ({"ids_kept": kept / len(ious), "ids": given} if given else {})
