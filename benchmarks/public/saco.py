"""SA-Co/Gold: images with one phrase each, whose thing may be absent, by several annotators."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_masks

from benchmarks.metrics.cgf1 import Rle, cgf1, judge
from benchmarks.public import files
from benchmarks.suite import Measuring, timed
from samclip_sdk import SamClip
from samclip_sdk.image.masks import mask_to_rle

_MAX = 200  # objects of a phrase

_IMAGE = files.shape(
    id=int,
    file_name=str,
    text_input=str,
    width=int,
    height=int,
    is_instance_exhaustive=(bool, True),
)
_OBJECT = files.shape(image_id=int, segmentation=Any, iscrowd=(int, 0))


@dataclass(frozen=True)
class PhrasedImages:
    """Images by id, path and phrase; and each annotator's masks by id, as COCO's RLE."""

    images: tuple[tuple[int, Path, str], ...]
    truths: tuple[dict[int, list[Rle]], ...]


def read_saco(root: Path) -> PhrasedImages:
    """Reads one subset of SA-Co/Gold: `gold_SUBSET_merged_a_release_test.json`, b, c, and images.

    They are below `images`, or in `root` itself. Data that an annotator did not mark to the last
    object are left out, as SA-Co's own evaluator does.
    """
    paths = sorted(root.glob("gold_*_merged_?_release_test.json"))
    if len({path.name.partition("_merged_")[0] for path in paths}) != 1:
        found = ", ".join(path.name for path in paths) or "nothing"
        expected = "gold_SUBSET_merged_a_release_test.json, b and c of one subset"
        raise files.DatasetError(f"{root} has {found}: expected {expected}")
    gold = files.shape(images=list[_IMAGE], annotations=list[_OBJECT])
    contents = [files.read_annotations(path, gold) for path in paths]
    partly = {one.id for own in contents for one in own.images if not one.is_instance_exhaustive}
    folder = files.find(root, "images", ".")
    asked = [each for each in contents[0].images if each.id not in partly]
    images = tuple((each.id, folder / each.file_name, each.text_input) for each in asked)
    sizes = {each.id: (each.height, each.width) for each in asked}
    return PhrasedImages(images, tuple(_masks(each, sizes) for each in contents))


def _masks(content: Any, sizes: dict[int, tuple[int, int]]) -> dict[int, list[Rle]]:
    found: dict[int, list[Rle]] = defaultdict(list)
    for each in content.annotations:
        if each.image_id in sizes and not each.iscrowd:
            found[each.image_id].append(_rle(each.segmentation, sizes[each.image_id]))
    return found


def _rle(segmentation: Any, size: tuple[int, int]) -> Rle:
    """Polygons, or counts as numbers, as COCO's compressed RLE."""
    if isinstance(segmentation, list):
        return coco_masks.merge(coco_masks.frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return coco_masks.frPyObjects(segmentation, *size)
    return dict(segmentation)


PHRASES: dict[str, Callable[[Path], PhrasedImages]] = {"sa-co": read_saco}
"""Set -> what reads it from its folder."""


def measure_phrases(
    measured: Measuring,
    model: SamClip,
    data: PhrasedImages,
    *,
    name: str,
    threshold: float,
    min_score: float = 0.0,
) -> None:
    """Looks for the objects of each phrase, and counts those with a score of `min_score` or more.

    SA-Co counts a prediction from .5 on, for SAM 3's scores are calibrated to that. Here a phrase
    is gated by its presence `threshold`.
    """
    measured.settings |= {"min_score": min_score}
    judged, took, last, image = [], [], None, None
    for number, path, phrase in measured.track(data.images, name):
        if last != path:  # an image has many phrases, one after the other
            last, image = path, model.encode_image(files.read_pixels(path))
        asked = {"threshold": threshold, "max_instances": _MAX, "min_score": min_score}
        found, ms = timed(partial(model.segment_instances, image, [phrase], **asked))
        took.append(ms)
        rles = [mask_to_rle(mask) for mask in found.masks]
        judged.append(judge(rles, [truth.get(number, []) for truth in data.truths]))
    side = model.manifest.tasks.segmentation.resolution
    more = {"milliseconds": round(float(np.mean(took)), 1), "resolution_px": side}
    measured.add(name, n=len(judged), **cgf1(judged), **more)
