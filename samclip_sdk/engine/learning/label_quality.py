"""How well labels are found in labelled images: found, false and mIoU of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.learning.coco_file import Labelled, LabelledImage, LabelledImages
from samclip_sdk.engine.learning.given_regions import fit_to_given, takes_the_whole
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import PromptQuery, TextQuery
from samclip_sdk.engine.segment import segment
from samclip_sdk.engine.text_to_mask import segment_text
from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.image.masks import mask_ious
from samclip_sdk.image.packed_masks import union
from samclip_sdk.system.progress import OnProgress


@dataclass(frozen=True)
class LabelQuality:
    """How well a label is found in images.

    Attributes:
        images: the number of images that show the label.
        others: the number of images that do not.
        found: 0..1, the share of the former in which it is found; NaN without any.
        false: 0..1, the share of the latter in which it is found; NaN without any.
        miou: 0..1, the mean IoU of its mask with the masks or boxes that were given, as
            `fit_to_given` compares them; a label that is not found counts as 0. NaN without any.
        whole: 0..1, of the images in which it is found, the share in which its mask covers what
            was given and is far larger, as `takes_the_whole` decides. NaN without any.
    """

    images: int
    others: int
    found: float
    false: float
    miou: float
    whole: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON, with None for NaN."""
        return {name: None if math.isnan(value) else value for name, value in vars(self).items()}


SAME_MASK = 0.75
"""The mean IoU from which two labels mask the same."""

COMPARED = ("label", "images", "others", "found", "false", "mIoU")


def compare(
    before: Mapping[str, LabelQuality], after: Mapping[str, LabelQuality]
) -> list[tuple[str, ...]]:
    """A row of text for each label, with the columns `COMPARED`."""
    rows = []
    for label, now in after.items():
        then = before[label]
        cells = [
            f"{_shown(getattr(then, name))} -> {_shown(getattr(now, name))}"
            for name in ("found", "false", "miou")
        ]
        rows.append((label, str(now.images), str(now.others), *cells))
    return rows


def _shown(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


def measure_labels(
    engine: Engine,
    labelled: LabelledImages,
    *,
    labels: Sequence[str],
    message: str,
    on_progress: OnProgress,
) -> dict[str, LabelQuality]:
    """Looks for labels in images, as `segment_text` does, and compares with what was given.

    Args:
        engine: runs the graphs.
        labelled: the images.
        labels: the labels to look for.
        message: what the progress says.
        on_progress: called after each image.

    Raises:
        ImageError: an image cannot be read.
        StorageError: an image has another size than its entry says.
    """
    query = TextQuery(labels=labels)
    ious: dict[str, list[float]] = {label: [] for label in labels}
    wholes: dict[str, list[bool]] = {label: [] for label in labels}
    seen: dict[str, list[bool]] = {label: [] for label in labels}
    false: dict[str, list[bool]] = {label: [] for label in labels}
    on_progress(message, 0, len(labelled.images))
    for done, image in enumerate(labelled.images, 1):
        found = segment_text(encode_labelled(engine, image), query)
        masks = dict(zip(found.labels, found.masks, strict=True))
        for label in labels:
            own = image.objects.get(label)
            if own is None:
                false[label].append(label in masks)
                continue
            seen[label].append(label in masks)
            ious[label].append(fit_to_given(masks[label], own) if label in masks else 0.0)
            if label in masks:
                wholes[label].append(takes_the_whole(masks[label], own))
        on_progress(message, done, len(labelled.images))
    return {
        label: LabelQuality(
            images=len(seen[label]),
            others=len(false[label]),
            found=_mean(seen[label]),
            false=_mean(false[label]),
            miou=_mean(ious[label]),
            whole=_mean(wholes[label]),
        )
        for label in labels
    }


def same_mask(
    engine: Engine, labelled: LabelledImages, *, label: str, words: Sequence[str]
) -> str | None:
    """The word whose mask is the same as a label's, in the images where the label is found.

    Args:
        engine: runs the graphs.
        labelled: the images.
        label: the label.
        words: the words to compare it with, the likeliest first.

    Raises:
        ImageError: an image cannot be read.
        StorageError: an image has another size than its entry says.
    """
    asked = [label, *words]
    ious: list[NDArray[np.float32]] = []
    for image in labelled.images:
        if label in image.objects:
            found = segment_text(encode_labelled(engine, image), TextQuery(labels=asked))
            if label in found.labels:
                masks = np.stack([found.mask(each) for each in asked])
                ious.append(mask_ious(masks[:1], masks[1:])[0])
    if not ious or not words:
        return None
    means = np.mean(ious, axis=0)
    return words[int(means.argmax())] if means.max() >= SAME_MASK else None


def encode_labelled(engine: Engine, image: LabelledImage) -> Pass:
    """Runs the backbone on an image.

    Raises:
        ImageError: it cannot be read.
        StorageError: it has another size than its entry says.
    """
    one = Pass(engine, image.path)
    if one.size != image.size:
        raise StorageError(
            f"{one_line(image.path)} is {one.size[1]} x {one.size[0]} pixels upright, its entry "
            f"says {image.size[1]} x {image.size[0]}"
        )
    return one


def true_mask(one: Pass, own: Labelled) -> NDArray[np.bool_]:
    """The mask [H,W] of all objects of a label; the mask decoder draws those with a box only."""
    mask = np.zeros(one.size, dtype=bool)
    union(own.masks).draw(mask)
    if own.boxes:
        query = PromptQuery(boxes=np.array(own.boxes), multimask_output=False)
        for each in segment(one, query).masks:
            mask |= each
    return mask


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
