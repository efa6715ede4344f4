"""How many of the objects of an image are among the first masks of `segment_everything`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np

from benchmarks.intervals import Bootstrap, ratio
from benchmarks.quality.held_out import HeldOutImages
from benchmarks.suite import Measuring
from samclip_sdk import SamClip
from samclip_sdk.image.masks import mask_ious
from training.object_scores import SAME_IOU
from training.real.records import BrokenRecord

FIRST = 30
"""Masks of an image that are looked at, the best first."""


def measure_everything(
    measured: Measuring,
    model: SamClip,
    chosen: HeldOutImages,
    images: Sequence[int],
    bootstrap: Bootstrap,
) -> None:
    """Asks for everything in images; an object is found if a mask has an IoU of a half with it.

    The objects are those that `chosen.asked` gives, of half a percent of the image or more.
    """
    splits, hits, wanted = list[tuple[str, ...]](), list[int](), list[int]()
    masks, seconds = list[int](), list[float]()
    for image in measured.track(images, "everything"):
        try:
            shown = chosen.asked.objects(image)
        except BrokenRecord:
            continue
        start = time.process_time()
        found = model.segment_everything(shown.image)
        seconds.append(time.process_time() - start)
        masks.append(len(found))
        first = np.array([each.mask for each in found[:FIRST]], bool)
        ious = mask_ious(first.reshape(-1, *shown.image.shape[:2]), shown.masks)
        hits.append(int((ious.max(axis=0, initial=0) >= SAME_IOU).sum()))
        wanted.append(len(shown.masks))
        splits.append(chosen.splits(image))
    for split in dict.fromkeys(each for own in splits for each in own):
        own = np.flatnonzero([split in each for each in splits])
        recall = ratio(np.array(hits)[own], np.array(wanted)[own])
        measured.add(
            "model: everything",
            split,
            n=len(own),
            recall=bootstrap.estimate(recall, owners=np.arange(len(own))),
            masks=float(np.array(masks)[own].mean()),
            cpu_s=median(np.array(seconds)[own].tolist()),
            wanted=int(np.array(wanted)[own].sum()),
        )
