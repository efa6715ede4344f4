"""Objects that were found in an image, on their way into `Instances`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image import Frame
from samclip_sdk.mask_selection import PackedMask
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
        label_index: the place of its label among those asked.
        label_score: how well that fits.
    """

    mask: PackedMask
    score: float
    predicted_iou: float
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


def compose_instances(
    found: Sequence[FoundObject], *, labels: Sequence[str], frame: Frame
) -> Instances:
    """Draws objects, one row each, in the order given.

    Args:
        found: none of them empty.
        labels: all that were asked.
        frame: of the image.
    """
    masks = np.zeros((len(found), frame.height_px, frame.width_px), dtype=bool)
    for each, mask in zip(found, masks, strict=True):
        each.mask.draw(mask)
    return Instances(
        labels=["" if each.label_index == NO_LABEL else labels[each.label_index] for each in found],
        scores=_floats([each.score for each in found]),
        boxes=_floats([each.mask.box for each in found]).reshape(-1, 4),
        masks=masks,
        label_index=np.array([each.label_index for each in found], dtype=np.int32),
        label_scores=_floats([each.label_score for each in found]),
        predicted_ious=_floats([each.predicted_iou for each in found]),
        stability_scores=_floats([each.mask.stability_score for each in found]),
    )


def _floats(values: Sequence[object]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)
