"""Objects that were found in an image, before they become rows of a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import Array
from samclip_sdk.engine.object_score import Numbers
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.packed_masks import PackedMask, PackedMasks
from samclip_sdk.image.tiles import TileMask, Window, merge_tile_masks
from samclip_sdk.image.upscale import upscale_above
from samclip_sdk.results.instances import Instances
from samclip_sdk.results.named_masks import NamedMasks

Rows = TypeVar("Rows", Instances, NamedMasks)

NO_LABEL = -1
"""The label index of an object without a label."""


@dataclass(frozen=True)
class FoundObject:
    """One row of `Instances` or `NamedMasks`, which explain the numbers.

    Attributes:
        mask: the mask in the image.
        score: how good the object is.
        predicted_iou: the mask's predicted IoU.
        stability_score: the mask's stability score.
        label_index: its label's index among all that were asked.
        label_score: how well the label fits.
        proposal_score: see `Numbers`.
        label_share: see `Numbers`.
    """

    mask: PackedMask
    score: float
    predicted_iou: float
    stability_score: float
    label_index: int = NO_LABEL
    label_score: float = 0.0
    proposal_score: float = 0.0
    label_share: float = 0.0

    @property
    def numbers(self) -> Numbers:
        """What the score is made of."""
        return Numbers(
            self.label_score,
            self.predicted_iou,
            self.stability_score,
            self.proposal_score,
            self.label_share,
        )


@dataclass(frozen=True)
class Detection:
    """An object of a label, with the data that recognises it in another image.

    Attributes:
        found: the object.
        low_res: float32 [4g,4g], the logits of its mask in the model frame.
        embedding: float32 [E], the mean of the patches inside the mask, unit length.
    """

    found: FoundObject
    low_res: NDArray[np.float32]
    embedding: NDArray[np.float32]


def in_whole_image(found: FoundObject, *, view: Window) -> FoundObject:
    """Moves an object from a view into the whole image."""
    return replace(found, mask=found.mask.moved(top=view.rows.start, left=view.columns.start))


def merge_objects(
    found: Sequence[tuple[FoundObject, Window]], *, size: tuple[int, int]
) -> list[FoundObject]:
    """Merges the objects of one label that the whole image and its tiles show.

    Args:
        found: each object in the whole image, with the view that shows it.
        size: height and width of the image.

    Returns:
        The objects that `merge_tile_masks` keeps, each with the numbers of its largest part.
    """
    tile_masks = [TileMask(each.mask, each.score, view) for each, view in found]
    merged = merge_tile_masks(tile_masks, size=size)
    return [replace(found[index][0], mask=mask) for index, mask in merged.items()]


def compose_rows(
    result: type[Rows],
    found: Sequence[FoundObject],
    *,
    labels: Sequence[str],
    size: tuple[int, int],
) -> Rows:
    """Makes a row of each object, in the order given.

    Args:
        result: the class of the result.
        found: the objects, none of them empty.
        labels: all labels that were asked.
        size: height and width of the image.
    """
    return result(
        labels=["" if each.label_index == NO_LABEL else labels[each.label_index] for each in found],
        scores=_shares([each.score for each in found]),
        boxes=_floats([each.mask.box for each in found]).reshape(-1, 4),
        masks=PackedMasks(size, tuple(each.mask for each in found)),
        label_index=np.array([each.label_index for each in found], dtype=np.int32),
        label_scores=_floats([each.label_score for each in found]),
        predicted_ious=_shares([each.predicted_iou for each in found]),
        stability_scores=_floats([each.stability_score for each in found]),
    )


def _floats(values: Sequence[object]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _shares(values: Sequence[object]) -> NDArray[np.float32]:
    """Predicted IoUs, which a network may put a little above 1."""
    return _floats(values).clip(max=np.float32(1))


def upscale_and_pack(
    low_res: Array, *, frame: Frame, mask_threshold: float, stability_offset: float
) -> tuple[PackedMask, float]:
    """Upscales a mask's logits to the image, thresholds them, and measures the mask's stability.

    The stability score, 0..1, is segment-anything's: the IoU of the masks at `mask_threshold` plus
    and minus `stability_offset`, and 0 if both are empty.

    Args:
        low_res: logits [4g,4g] in the model frame.
        frame: the image's frame.
        mask_threshold: the logit that a pixel must exceed.
        stability_offset: 0 or more.
    """
    low, high = mask_threshold - stability_offset, mask_threshold + stability_offset
    (rows, columns), logits = upscale_above(low_res, frame=frame, threshold=low)
    union = np.count_nonzero(logits > np.float32(low))
    stability = np.count_nonzero(logits > np.float32(high)) / union if union else 0.0
    inside = logits > np.float32(mask_threshold)
    return PackedMask.pack(inside, top=rows.start, left=columns.start), stability


def model_masks(low_res: Array, *, frame: Frame, mask_threshold: float) -> NDArray[np.bool_]:
    """Thresholds logits [...,s,s] at their own size; the padding is empty."""
    rows, columns = covered_cells(frame, side=low_res.shape[-1])
    masks: NDArray[np.bool_] = low_res > np.float32(mask_threshold)
    masks[..., rows:, :] = False
    masks[..., columns:] = False
    return masks
