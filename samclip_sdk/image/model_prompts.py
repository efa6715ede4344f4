"""The prompt encoder's inputs, with the tokens that SAM adds to points.

The rule that most deployments get wrong: SAM adds exactly one padding token (label -1, which takes
part in attention) when points come without a box, and none otherwise. Filler (label -2) evens out
prompts of different lengths and takes no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = 2, 3
NOT_A_POINT, FILLER = -1, -2

MAX_POINTS = 1000
"""The most points of a prompt, and of one run of the decoder: memory grows with their square."""

_OUTSIDE = np.float32(-10)
"""What the logits of a box's mask are at most, where they are outside the box."""

_VALUE_PX = 4  # of a low-resolution mask: the side of a value, in the model's pixels


@dataclass(frozen=True)
class Prompts:
    """K prompts, as the prompt encoder takes them.

    Attributes:
        point_coords: float32 [K,P,2], (x, y) in model pixels.
        point_labels: int32 [K,P].
        mask_input: float32 [K,1,4g,4g], logits in the model frame.
        has_mask_input: float32 [K].
    """

    point_coords: NDArray[np.float32]
    point_labels: NDArray[np.int32]
    mask_input: NDArray[np.float32]
    has_mask_input: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.point_labels)

    def within(self, rows: int, columns: int) -> Prompts:
        """The same for the upper left of the square: so many cells, of 4 x 4 pixels of a mask."""
        return replace(self, mask_input=self.mask_input[..., : 4 * rows, : 4 * columns])

    def keep_in_boxes(self, low_res: NDArray[np.float32], *, margin: float) -> None:
        """Lowers the logits of each prompt's masks outside its box, if it has one.

        A box is grown by a margin; a value that it touches is inside.

        Args:
            low_res: the decoder's logits [K,T,4g,4g], which are changed.
            margin: a share of the box's width and height, on each side.
        """
        rows = zip(low_res, self.point_coords, self.point_labels, strict=True)
        for masks, coords, kinds in rows:
            if BOX_TOP_LEFT not in kinds:
                continue
            (first,), (second,) = coords[kinds == BOX_TOP_LEFT], coords[kinds == BOX_BOTTOM_RIGHT]
            grown = margin * (second - first)
            left, top = np.maximum((first - grown) // _VALUE_PX, 0).astype(int)
            right, bottom = np.ceil((second + grown) / _VALUE_PX).astype(int)
            outside = np.ones(masks.shape[1:], dtype=bool)
            outside[top:bottom, left:right] = False
            np.minimum(masks, _OUTSIDE, out=masks, where=outside)

    def batches(self, size: int) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Yields the inputs of at most `size` prompts at a time, by name; of fewer long ones."""
        size = max(1, min(size, MAX_POINTS // self.point_labels.shape[1]))
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield {
                "point_coords": self.point_coords[part],
                "point_labels": self.point_labels[part],
                "mask_input": np.ascontiguousarray(self.mask_input[part]),
                "has_mask_input": self.has_mask_input[part],
            }


def text_prompts(
    points: Sequence[NDArray[np.float32]],
    *,
    corners: NDArray[np.float32] | None,
    mask_input: NDArray[np.float32],
) -> Prompts:
    """Makes prompts of foreground points [n,2], masks [K,4g,4g] and, if given, boxes [K,2,2].

    All coordinates are in model pixels; see `assemble_prompts`.
    """
    longest = max(len(each) for each in points)
    coords = np.zeros((len(points), longest, 2), dtype=np.float32)
    kinds = np.full((len(points), longest), FILLER, dtype=np.int32)
    for row, each in enumerate(points):
        coords[row, : len(each)] = each
        kinds[row, : len(each)] = 1
    return assemble_prompts(
        coords, kinds, corners=corners, mask_input=mask_input[:, None], has_mask=True
    )


def assemble_prompts(
    coords: NDArray[np.float32],
    kinds: NDArray[np.int32],
    *,
    corners: NDArray[np.float32] | None,
    mask_input: NDArray[np.float32],
    has_mask: bool,
) -> Prompts:
    """Adds the tokens that follow the points.

    Args:
        coords: float32 [K,n,2], (x, y) in model pixels.
        kinds: int32 [K,n], their labels.
        corners: the corners of boxes, float32 [K,2,2]; if None, SAM's padding token is added to
            points without a box.
        mask_input: float32 [K,1,4g,4g].
        has_mask: whether the decoder uses `mask_input`.
    """
    count = len(kinds)
    if corners is None:
        extra = np.zeros((count, 1, 2), dtype=np.float32)
        is_point = (kinds == 0) | (kinds == 1)
        alone = is_point.any(axis=1) & ~(kinds >= BOX_TOP_LEFT).any(axis=1)
        extra_kinds = np.where(alone, NOT_A_POINT, FILLER)[:, None]
    else:
        extra = corners
        extra_kinds = np.tile([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], (count, 1))
    return Prompts(
        point_coords=np.concatenate([coords, extra], axis=1),
        point_labels=np.concatenate([kinds, extra_kinds], axis=1).astype(np.int32),
        mask_input=mask_input,
        has_mask_input=np.full(count, has_mask, dtype=np.float32),
    )
