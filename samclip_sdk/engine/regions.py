"""A region of one picture, as a caller names it: by a box, by a point, or by its mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.errors import PromptError, one_line
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.image_prompts import ImagePrompts, image_prompts


@dataclass(frozen=True)
class Region:
    """Checked in all that needs no picture.

    Attributes:
        asked: the mask, bool [H,W] of the upright image and not empty; or the one prompt that the
            mask decoder is to draw it for, a box or a foreground point.
        ambiguous: whether it is a point, which may mean a thing or a part of it.
    """

    asked: NDArray[np.bool_] | ImagePrompts
    ambiguous: bool = False

    def check_size(self, frame: Frame) -> None:
        """Refuses a mask of another picture.

        Raises:
            PromptError: its size is not the image's.
        """
        size = (frame.height_px, frame.width_px)
        if isinstance(self.asked, np.ndarray) and self.asked.shape != size:
            raise PromptError(
                f"the mask is {list(self.asked.shape)}; of this image it must be {list(size)}"
            )


def one_region(*, box: ArrayLike | None, mask: ArrayLike | None, point: ArrayLike | None) -> Region:
    """Checks how a caller names a region.

    Args:
        box: [4], XYXY in pixels of the upright image.
        mask: bool [H,W] of the upright image.
        point: [2], (x, y) in pixels of the upright image.

    Raises:
        PromptError: none or several of them, another shape, an empty mask or box.
    """
    given = {"box": box, "mask": mask, "point": point}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        said = " and ".join(names) or "nothing"
        raise PromptError(f"a region is a box, a mask or a point, one of the three, not {said}")
    if box is not None:
        return Region(_one(image_prompts(boxes=box), shape=np.shape(box), wanted=(4,)))
    if point is not None:
        asked = image_prompts(cast("ArrayLike", [point]))  # a point is a prompt of one
        return Region(_one(asked, shape=np.shape(point), wanted=(2,)), ambiguous=True)
    try:
        array = np.asarray(mask)
    except ValueError as error:  # rows of different lengths
        raise PromptError(f"the mask is no bool array [H,W]: {one_line(error)}") from error
    return Region(_mask(array))


def _one(prompts: ImagePrompts, *, shape: tuple[int, ...], wanted: tuple[int]) -> ImagePrompts:
    if shape != wanted:
        raise PromptError(
            f"a region's prompt has the shape {list(shape)}, it must be {list(wanted)}; ask once "
            "for each region"
        )
    return prompts


def _mask(mask: NDArray[np.generic]) -> NDArray[np.bool_]:
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise PromptError(f"the mask is {mask.dtype} {list(mask.shape)}; it must be bool [H,W]")
    if not mask.any():
        raise PromptError("the mask is empty: a region has one pixel at least")
    return mask.astype(bool)
