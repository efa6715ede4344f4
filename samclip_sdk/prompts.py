"""Points, boxes and masks of a caller to the prompt encoder's inputs, checked.

The rule that most deployments get wrong: SAM adds exactly one padding token (label -1, which takes
part in attention) when points come without a box, and none otherwise. Filler (label -2) evens out
prompts of different lengths and takes no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.errors import PromptError
from samclip_sdk.image import Frame

BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = 2, 3
NOT_A_POINT, FILLER = -1, -2


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

    def batches(self, size: int) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Yields the inputs of at most `size` prompts at a time, by name."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield {
                "point_coords": self.point_coords[part],
                "point_labels": self.point_labels[part],
                "mask_input": np.ascontiguousarray(self.mask_input[part]),
                "has_mask_input": self.has_mask_input[part],
            }


def text_prompts(
    points: Sequence[NDArray[np.float32]], *, mask_input: NDArray[np.float32]
) -> Prompts:
    """Prompts of foreground points [n,2] in model pixels and a mask [K,4g,4g] for each label."""
    longest = max(len(each) for each in points)
    coords = np.zeros((len(points), longest, 2), dtype=np.float32)
    kinds = np.full((len(points), longest), FILLER, dtype=np.int32)
    for row, each in enumerate(points):
        coords[row, : len(each)] = each
        kinds[row, : len(each)] = 1
    return _assemble(coords, kinds, corners=None, mask_input=mask_input[:, None], has_mask=True)


def geometric_prompts(
    points: ArrayLike | None,
    *,
    labels: ArrayLike | None,
    boxes: ArrayLike | None,
    mask_input: ArrayLike | None,
    frame: Frame,
    mask_side: int,
) -> Prompts:
    """Checks a caller's prompts and moves them to the model frame.

    Args:
        points: [n,2] for one prompt or [K,n,2], (x, y) in pixels of the upright image.
        labels: [n] or [K,n]: 1 foreground, 0 background, 2 and 3 a box's top-left and bottom-right
            corner, -1 a slot without a point; all foreground if None.
        boxes: [4] for one prompt or [K,4], XYXY in pixels of the upright image.
        mask_input: [4g,4g] for one prompt, [K,4g,4g] or [K,1,4g,4g]: logits in the model frame.
        frame: of the image.
        mask_side: 4g.

    Raises:
        PromptError: a shape, a label or a coordinate that cannot be, or nothing to prompt with.
    """
    coords, kinds = _points(points, labels=labels, frame=frame)
    corners = _boxes(boxes, frame=frame)
    masks = _masks(mask_input, side=mask_side)
    given = {"points": coords, "boxes": corners, "mask_input": masks}
    counts = {name: len(value) for name, value in given.items() if value is not None}
    if not counts:
        raise PromptError("nothing to segment: give points, boxes or mask_input")
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise PromptError(f"the numbers of prompts differ: {said}")
    count = next(iter(counts.values()))
    if coords is None or kinds is None:
        coords = np.zeros((count, 0, 2), dtype=np.float32)
        kinds = np.zeros((count, 0), dtype=np.int32)
    _check_corners(coords, kinds, boxes_given=corners is not None)
    if corners is None and masks is None and not (kinds >= 0).any(axis=1).all():
        raise PromptError("a prompt has no point: every label of it is -1; leave it out")
    # One zero, seen K times: a thousand boxes need no thousand empty masks.
    no_masks = np.broadcast_to(np.float32(0), (count, 1, mask_side, mask_side))
    return _assemble(
        np.where(kinds[..., None] >= 0, frame.to_model(coords), 0).astype(np.float32),
        kinds,
        corners=None if corners is None else frame.to_model(corners).astype(np.float32),
        mask_input=no_masks if masks is None else masks,
        has_mask=masks is not None,
    )


def _assemble(
    coords: NDArray[np.float32],
    kinds: NDArray[np.int32],
    *,
    corners: NDArray[np.float32] | None,
    mask_input: NDArray[np.float32],
    has_mask: bool,
) -> Prompts:
    """Appends box corners [K,2,2], or SAM's padding token where points come without a box."""
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


def _points(
    points: ArrayLike | None, *, labels: ArrayLike | None, frame: Frame
) -> tuple[NDArray[np.float32] | None, NDArray[np.int32] | None]:
    """Points [K,n,2] in image pixels and labels [K,n], -1 turned into filler."""
    if points is None:
        if labels is not None:
            raise PromptError("labels come without points")
        return None, None
    coords = _floats(points, name="points")
    if coords.ndim not in (2, 3) or coords.shape[-1] != 2 or coords.size == 0:
        raise PromptError(
            f"points have shape {list(coords.shape)}; one prompt is [n,2], many are [K,n,2]"
        )
    kinds = np.ones(coords.shape[:-1], dtype=np.int32) if labels is None else np.asarray(labels)
    if kinds.shape != coords.shape[:-1]:
        raise PromptError(
            f"labels have shape {list(kinds.shape)}, points {list(coords.shape)}: "
            f"labels must be {list(coords.shape[:-1])}"
        )
    if kinds.dtype.kind not in "iub":
        raise PromptError(f"labels are {kinds.dtype}; they must be integers")
    wrong = kinds[(kinds < -1) | (kinds > BOX_BOTTOM_RIGHT)]
    if wrong.size:
        raise PromptError(
            f"label {wrong.flat[0]} means nothing: 1 is foreground, 0 background, 2 and 3 are a "
            "box's corners, -1 is no point"
        )
    used = kinds >= 0
    _check_inside(coords[used], frame=frame, name="point")
    kinds = np.where(used, kinds, FILLER).astype(np.int32)
    return (coords, kinds) if coords.ndim == 3 else (coords[None], kinds[None])


def _boxes(boxes: ArrayLike | None, *, frame: Frame) -> NDArray[np.float32] | None:
    """Boxes as corners [K,2,2] in image pixels."""
    if boxes is None:
        return None
    corners = _floats(boxes, name="boxes")
    if corners.ndim not in (1, 2) or corners.shape[-1] != 4 or corners.size == 0:
        raise PromptError(f"boxes have shape {list(corners.shape)}; one is [4], many are [K,4]")
    corners = corners.reshape(-1, 2, 2)
    for (x0, y0), (x1, y1) in corners.tolist():
        _check_box(x0, y0, x1, y1, frame=frame)
    return corners


def _check_box(x0: float, y0: float, x1: float, y1: float, *, frame: Frame) -> None:
    box = f"box [{x0:g}, {y0:g}, {x1:g}, {y1:g}]"
    if not (x0 < x1 and y0 < y1):
        raise PromptError(
            f"{box} is empty or reversed; a box is [x0, y0, x1, y1], x0 < x1, y0 < y1"
        )
    width, height = frame.width_px, frame.height_px
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise PromptError(f"{box} leaves the image of {width} x {height} pixels")


def _check_corners(
    coords: NDArray[np.float32], kinds: NDArray[np.int32], *, boxes_given: bool
) -> None:
    """Labels 2 and 3 must come as one pair, in order, and not beside `boxes`."""
    for row, kind in zip(coords, kinds, strict=True):
        top_left, bottom_right = row[kind == BOX_TOP_LEFT], row[kind == BOX_BOTTOM_RIGHT]
        if not len(top_left) and not len(bottom_right):
            continue
        if boxes_given:
            raise PromptError("labels 2 and 3 are a box's corners: give them or boxes, not both")
        if len(top_left) != 1 or len(bottom_right) != 1:
            raise PromptError("labels 2 and 3 are the two corners of one box: give one of each")
        if not (top_left < bottom_right).all():
            raise PromptError("the corner labelled 2 must be left of and above the one labelled 3")


def _masks(mask_input: ArrayLike | None, *, side: int) -> NDArray[np.float32] | None:
    """Mask prompts as [K,1,4g,4g]."""
    if mask_input is None:
        return None
    masks = _floats(mask_input, name="mask_input")
    shape = list(masks.shape)
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    elif masks.ndim == 2:
        masks = masks[None]
    if masks.ndim != 3 or masks.shape[1:] != (side, side) or not len(masks):
        raise PromptError(
            f"mask_input has shape {shape}; it must be logits [{side},{side}] or "
            f"[K,{side},{side}], such as the low_res_masks of an earlier result"
        )
    return masks[:, None]


def _floats(value: ArrayLike, *, name: str) -> NDArray[np.float32]:
    """A finite float32 array, or a PromptError that names what was given."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise PromptError(f"{name} are not one array of numbers: {error}") from error
    if array.dtype.kind not in "iuf":
        raise PromptError(f"{name} have dtype {array.dtype}; they must be numbers")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise PromptError(f"{name} hold NaN or infinity")
    return array


def _check_inside(coords: NDArray[np.float32], *, frame: Frame, name: str) -> None:
    """Every point [n,2] must be on a pixel of the image."""
    width, height = frame.width_px, frame.height_px
    outside = ((coords < 0) | (coords >= (width, height))).any(axis=-1)
    if outside.any():
        x, y = coords[outside][0].tolist()
        raise PromptError(
            f"{name} ({x:g}, {y:g}) is outside the image of {width} x {height} pixels"
        )
