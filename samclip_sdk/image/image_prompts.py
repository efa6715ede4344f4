"""Checks a caller's points, boxes and masks, and moves them to the model frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.errors import PromptError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.model_prompts import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FILLER,
    MAX_POINTS,
    Prompts,
    assemble_prompts,
)

_IN_PIXELS = "are in pixels of the upright image: multiply shares of it by its width and height"


@dataclass(frozen=True)
class ImagePrompts:
    """A caller's K prompts in image pixels, with all checks done that need no image.

    Attributes:
        points: float32 [K,n,2], (x, y); n is 0 if only boxes or masks were given.
        point_labels: int32 [K,n], filler where there is no point.
        boxes: float32 [K,2,2], the corners; or None.
        mask_input: float32 [K,1,s,s], logits in the model frame; or None.
    """

    points: NDArray[np.float32]
    point_labels: NDArray[np.int32]
    boxes: NDArray[np.float32] | None
    mask_input: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.point_labels)

    @property
    def ambiguous(self) -> bool:
        """Whether each prompt is a single point, which may mean an object or a part of it."""
        one_point = np.count_nonzero(self.point_labels >= 0, axis=1) == 1
        return bool(one_point.all()) and self.boxes is None and self.mask_input is None

    @property
    def combined(self) -> bool:
        """Whether each prompt is several points, or points and a box, without a mask."""
        points = np.count_nonzero(self.point_labels >= 0, axis=1)
        several = points >= (2 if self.boxes is None else 1)
        return bool(several.all()) and self.mask_input is None

    def in_model(self, frame: Frame, *, mask_side: int) -> Prompts:
        """Moves the prompts to the model frame.

        The part of a box outside the image is cut off: detectors overshoot by fractions of a pixel.

        Args:
            frame: the image's frame.
            mask_side: 4g.

        Raises:
            PromptError: a point or a whole box outside the image, or a mask of another size.
        """
        used = self.point_labels >= 0
        _check_inside(self.points[used], frame=frame)
        masks, count = self.mask_input, len(self)
        if masks is not None and masks.shape[2:] != (mask_side, mask_side):
            raise PromptError(
                f"mask_input has {masks.shape[2]} x {masks.shape[3]} values a mask; this model "
                f"takes {mask_side} x {mask_side}, such as the low_res_masks of an earlier result"
            )
        # All prompts share one zero: a thousand boxes need no thousand empty masks.
        no_masks = np.broadcast_to(np.float32(0), (count, 1, mask_side, mask_side))
        return assemble_prompts(
            np.where(used[..., None], frame.to_model(self.points), 0).astype(np.float32),
            self.point_labels,
            corners=None if self.boxes is None else _corners_in_model(self.boxes, frame=frame),
            mask_input=no_masks if masks is None else masks,
            has_mask=masks is not None,
        )


def image_prompts(
    points: ArrayLike | None = None,
    *,
    point_labels: ArrayLike | None = None,
    boxes: ArrayLike | None = None,
    mask_input: ArrayLike | None = None,
) -> ImagePrompts:
    """Checks a caller's prompts.

    Args:
        points: [n,2] for one prompt or [K,n,2], (x, y) in pixels of the upright image.
        point_labels: [n] or [K,n]: 1 foreground, 0 background, 2 and 3 a box's top-left and
            bottom-right corner, -1 a slot without a point; all foreground if None.
        boxes: [4] for one prompt or [K,4], XYXY in pixels of the upright image.
        mask_input: [s,s] for one prompt, [K,s,s] or [K,1,s,s]: logits in the model frame.

    Raises:
        PromptError: an invalid shape, label or number, or no prompt at all.
    """
    coords, kinds = _points(points, point_labels=point_labels)
    corners, masks = _boxes(boxes), _masks(mask_input)
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
    _check_pixels(coords, kinds)
    if corners is None and masks is None and not (kinds >= 0).any(axis=1).all():
        raise PromptError("a prompt has no point: every point label of it is -1; leave it out")
    return ImagePrompts(coords, point_labels=kinds, boxes=corners, mask_input=masks)


def _points(
    points: ArrayLike | None, *, point_labels: ArrayLike | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.int32] | None]:
    """Checks points [K,n,2] in image pixels and labels [K,n]; -1 becomes filler."""
    if points is None:
        if point_labels is not None:
            raise PromptError("point_labels come without points")
        return None, None
    coords = _floats(points, name="points")
    if coords.ndim not in (2, 3) or coords.shape[-1] != 2 or coords.size == 0:
        raise PromptError(
            f"points have shape {list(coords.shape)}; one prompt is [n,2], many are [K,n,2]"
        )
    if coords.shape[-2] > MAX_POINTS:
        raise PromptError(
            f"a prompt has {coords.shape[-2]} points; at most {MAX_POINTS} are supported: give "
            "fewer, or the masks of an earlier result as mask_input"
        )
    kinds = np.ones(coords.shape[:-1], dtype=np.int32)
    if point_labels is not None:
        kinds = _point_labels(point_labels, shape=coords.shape[:-1])
    return (coords, kinds) if coords.ndim == 3 else (coords[None], kinds[None])


def _point_labels(point_labels: ArrayLike, *, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Checks the labels of points; -1 becomes filler."""
    kinds = _array(point_labels, name="point_labels")
    if kinds.shape != shape:
        raise PromptError(
            f"point_labels have shape {list(kinds.shape)}; of these points it must be {list(shape)}"
        )
    if kinds.dtype.kind not in "iub":
        raise PromptError(f"point_labels are {kinds.dtype}; they must be integers")
    wrong = kinds[(kinds < -1) | (kinds > BOX_BOTTOM_RIGHT)]
    if wrong.size:
        raise PromptError(
            f"the point label {wrong.flat[0]} means nothing: 1 is foreground, 0 background, 2 and "
            "3 are a box's corners, -1 is no point"
        )
    return np.where(kinds >= 0, kinds, FILLER).astype(np.int32)


def _boxes(boxes: ArrayLike | None) -> NDArray[np.float32] | None:
    """Checks boxes, and makes them corners [K,2,2] in image pixels."""
    if boxes is None:
        return None
    corners = _floats(boxes, name="boxes")
    if corners.ndim not in (1, 2) or corners.shape[-1] != 4 or corners.size == 0:
        raise PromptError(f"boxes have shape {list(corners.shape)}; one is [4], many are [K,4]")
    corners = corners.reshape(-1, 2, 2)
    wrong = corners[~_has_area(corners)]
    if len(wrong):
        raise PromptError(
            f"{_box_text(wrong[0])} is empty or reversed; a box is [x0, y0, x1, y1], x0 < x1, "
            "y0 < y1"
        )
    shares = corners[
        (corners.max(axis=(1, 2)) <= 1) & (np.diff(corners, axis=1).min(axis=(1, 2)) < 1)
    ]
    if len(shares):
        raise PromptError(f"{_box_text(shares[0])} lies within one pixel; boxes {_IN_PIXELS}")
    return corners


def _corners_in_model(boxes: NDArray[np.float32], *, frame: Frame) -> NDArray[np.float32]:
    """Cuts boxes [K,2,2] to the image, and moves them to model pixels."""
    width, height = frame.width_px, frame.height_px
    inside = np.clip(boxes, 0, np.array((width, height), dtype=np.float32))
    gone = boxes[~_has_area(inside)]
    if len(gone):
        raise PromptError(f"{_box_text(gone[0])} is outside the image of {width} x {height} pixels")
    return frame.to_model(inside).astype(np.float32)


def _has_area(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tells which boxes [K,2,2] have their first corner to the left of and above the second."""
    before = boxes[:, 0] < boxes[:, 1]
    return before[:, 0] & before[:, 1]


def _box_text(corners: NDArray[np.float32]) -> str:
    return f"box [{', '.join(f'{edge:g}' for edge in corners.ravel().tolist())}]"


def _check_corners(
    coords: NDArray[np.float32], kinds: NDArray[np.int32], *, boxes_given: bool
) -> None:
    """Checks that labels 2 and 3 are one pair, in order, and not given together with `boxes`."""
    for row, kind in zip(coords, kinds, strict=True):
        top_left, bottom_right = row[kind == BOX_TOP_LEFT], row[kind == BOX_BOTTOM_RIGHT]
        if not len(top_left) and not len(bottom_right):
            continue
        if boxes_given:
            raise PromptError(
                "point_labels 2 and 3 are a box's corners: give them or boxes, not both"
            )
        if len(top_left) != 1 or len(bottom_right) != 1:
            raise PromptError(
                "point_labels 2 and 3 are the two corners of one box: give one of each"
            )
        if not (top_left < bottom_right).all():
            raise PromptError("the corner labelled 2 must be left of and above the one labelled 3")


def _check_pixels(coords: NDArray[np.float32], kinds: NDArray[np.int32]) -> None:
    """Refuses points that are shares of an image: all of a prompt's in its first pixel.

    Points of whole numbers, such as (0, 1), may be pixels.
    """
    for row, kind in zip(coords, kinds, strict=True):
        points = row[kind >= 0]
        inside = ((points >= 0) & (points <= 1)).all(axis=1)
        shares = points[(points % 1 != 0).any(axis=1)]
        if len(shares) and inside.all():
            x, y = shares[0].tolist()
            raise PromptError(f"point ({x:g}, {y:g}) lies within one pixel; points {_IN_PIXELS}")


def _masks(mask_input: ArrayLike | None) -> NDArray[np.float32] | None:
    """Checks mask prompts, and makes them [K,1,s,s]."""
    if mask_input is None:
        return None
    masks = _floats(mask_input, name="mask_input")
    shape = list(masks.shape)
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    elif masks.ndim == 2:
        masks = masks[None]
    if masks.ndim != 3 or not len(masks):
        raise PromptError(
            f"mask_input has shape {shape}; one mask of logits is [s,s], many are [K,s,s], such as "
            "the low_res_masks of an earlier result"
        )
    return masks[:, None]


def _floats(value: ArrayLike, *, name: str) -> NDArray[np.float32]:
    """A finite float32 array, or a PromptError that names the argument."""
    array = _array(value, name=name)
    if array.dtype.kind not in "iuf":
        raise PromptError(f"{name} have dtype {array.dtype}; they must be numbers")
    with np.errstate(over="ignore"):  # Numbers that are too large become infinity: refused below.
        numbers: NDArray[np.float32] = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise PromptError(f"{name} hold NaN or infinity")
    return numbers


def _array(value: ArrayLike, *, name: str) -> NDArray[Any]:
    """An array of any dtype; rows of different lengths are an error."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise PromptError(f"{name} are not one array of numbers: {error}") from error


def _check_inside(points: NDArray[np.float32], *, frame: Frame) -> None:
    """Checks that every point [n,2] is on a pixel of the image."""
    width, height = frame.width_px, frame.height_px
    outside = ((points < 0) | (points >= (width, height))).any(axis=-1)
    if outside.any():
        x, y = points[outside][0].tolist()
        raise PromptError(f"point ({x:g}, {y:g}) is outside the image of {width} x {height} pixels")
