"""Objects that were found in an image, on their way into `Instances`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.picture.packed_masks import PackedMask, PackedMasks
from samclip_sdk.picture.tiles import Sight, Window, merge_sights
from samclip_sdk.results.instances import Instances

NO_LABEL = -1
"""In the place of a label's, where there are no labels."""


@dataclass(frozen=True)
class FoundObject:
    """One row of `Instances`; see there.

    Attributes:
        mask: in the image.
        score: how good the object is.
        predicted_iou: of the mask.
        stability_score: of the mask.
        label_index: the place of its label among those asked.
        label_score: how well that fits.
    """

    mask: PackedMask
    score: float
    predicted_iou: float
    stability_score: float
    label_index: int = NO_LABEL
    label_score: float = 0.0


@dataclass(frozen=True)
class Sighting:
    """An object of a label, and what tells it in another image.

    Attributes:
        found: the object.
        low_res: float32 [4g,4g], the logits of its mask in the model frame.
        embedding: float32 [E], what is inside the mask, of unit length.
    """

    found: FoundObject
    low_res: NDArray[np.float32]
    embedding: NDArray[np.float32]


def in_whole(found: FoundObject, *, view: Window) -> FoundObject:
    """The same object in the image that it was seen in a part of."""
    return replace(found, mask=found.mask.moved(top=view.rows.start, left=view.columns.start))


def merge_objects(
    found: Sequence[tuple[FoundObject, Window]], *, size: tuple[int, int]
) -> list[FoundObject]:
    """The objects of one label, from those that the whole image and its tiles show.

    Args:
        found: each in the whole image, with where it was seen.
        size: height and width of the image.

    Returns:
        What `merge_sights` keeps, with the numbers of its largest part.
    """
    sights = [Sight(each.mask, each.score, view) for each, view in found]
    return [
        replace(found[each.place][0], mask=each.mask) for each in merge_sights(sights, size=size)
    ]


def compose_instances(
    found: Sequence[FoundObject], *, labels: Sequence[str], size: tuple[int, int]
) -> Instances:
    """Makes a row of each object, in the order given.

    Args:
        found: none of them empty.
        labels: all that were asked.
        size: height and width of the image.
    """
    return Instances(
        labels=["" if each.label_index == NO_LABEL else labels[each.label_index] for each in found],
        scores=_floats([each.score for each in found]),
        boxes=_floats([each.mask.box for each in found]).reshape(-1, 4),
        masks=PackedMasks(size, tuple(each.mask for each in found)),
        label_index=np.array([each.label_index for each in found], dtype=np.int32),
        label_scores=_floats([each.label_score for each in found]),
        predicted_ious=_floats([each.predicted_iou for each in found]),
        stability_scores=_floats([each.stability_score for each in found]),
    )


def _floats(values: Sequence[object]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)
