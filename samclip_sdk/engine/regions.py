"""A region of one image, given as a box, a point or a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.engine import Array
from samclip_sdk.engine.label_search import score_maps
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.objects import model_masks
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.errors import PromptError, one_line
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.image_prompts import ImagePrompts, image_prompts
from samclip_sdk.image.masks import mask_to_model
from samclip_sdk.image.model_prompts import Prompts
from samclip_sdk.image.upscale import sigmoid
from samclip_sdk.text.unit_length import normalize


@dataclass(frozen=True)
class Region:
    """A region, with all checks done that need no image.

    Attributes:
        asked: the mask, bool [H,W] of the upright image and not empty; or the one prompt for the
            mask decoder, a box or a foreground point.
        ambiguous: whether it is a point, which may mean an object or a part of it.
    """

    asked: NDArray[np.bool_] | ImagePrompts
    ambiguous: bool = False

    def check_size(self, frame: Frame) -> None:
        """Refuses a mask of another image.

        Raises:
            PromptError: the mask's size is not the image's.
        """
        size = (frame.height_px, frame.width_px)
        if isinstance(self.asked, np.ndarray) and self.asked.shape != size:
            raise PromptError(
                f"the mask is {list(self.asked.shape)}; of this image it must be {list(size)}"
            )


def one_region(*, box: ArrayLike | None, mask: ArrayLike | None, point: ArrayLike | None) -> Region:
    """Checks the region that a caller gives.

    Args:
        box: [4], XYXY in pixels of the upright image.
        mask: bool [H,W] of the upright image.
        point: [2], (x, y) in pixels of the upright image.

    Raises:
        PromptError: none or several of the three, another shape, an empty mask or box.
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
        raise PromptError(f"the mask is not a bool array [H,W]: {one_line(error)}") from error
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


def pool_over_mask(patches_bnc: Array, *, mask_hw: NDArray[np.bool_] | Array) -> Array:
    """The mean of the patches under a mask, each weighted by the share that the mask covers.

    Args:
        patches_bnc: [1,h*h,E], unit length.
        mask_hw: bool [s,s] in the model frame, s a multiple of h, or float32, the covered share of
            each pixel; empty in the padding.

    Returns:
        float32 [E], unit length; zeros for an empty mask.
    """
    patches = patches_bnc[0]
    side = math.isqrt(len(patches))
    shares = cv2.resize(mask_hw.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return normalize((shares.ravel() @ patches).astype(np.float32))


def label_share(label_map: Array, *, mask: NDArray[np.bool_], frame: Frame) -> float:
    """Of what a label scores in an image, the share that a mask covers.

    Args:
        label_map: [h,h], the label's score of each patch, 0..1.
        mask: bool [s,s] in the model frame, s a multiple of h; empty in the padding.
        frame: where the image lies; its padding does not count.
    """
    side = len(label_map)
    rows, columns = covered_cells(frame, side=side)
    covered = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    scores = label_map[:rows, :columns]
    return float((scores * covered[:rows, :columns]).sum() / scores.sum())


def score_labels(embedding: Array, *, text: LabelVectors, calibration: Calibration) -> Array:
    """Scores how well each label fits a pooled embedding.

    Args:
        embedding: [E], unit length.
        text: of K labels.
        calibration: the calibration of the scores.

    Returns:
        float32 [K], 0..1: the sigmoid of the calibrated cosine.
    """
    maps = score_maps(embedding[None, None], text=text, calibration=calibration)
    return sigmoid(maps.ravel())


def embed_region(one: Pass, region: Region) -> Array:
    """Embeds a region in CLIP's joint space: [E], unit length.

    Raises:
        PromptError: the region does not fit the image, which is found before the backbone runs; or
            the mask decoder draws nothing for its prompt.
    """
    region.check_size(one.frame)
    mask: NDArray[np.bool_] | Array
    if isinstance(region.asked, ImagePrompts):
        prompts = region.asked.in_model(one.frame, mask_side=one.mask_side)
        mask = _draw(one, prompts, ambiguous=region.ambiguous)
    else:
        mask = mask_to_model(region.asked, frame=one.frame)
    return pool_over_mask(one.patches, mask_hw=mask)


def _draw(one: Pass, prompts: Prompts, *, ambiguous: bool) -> NDArray[np.bool_]:
    """Draws the mask [4g,4g] of one prompt; of an ambiguous prompt, the best of three masks."""
    low_res, scores = one.decode(prompts, tokens=slice(1, 4) if ambiguous else slice(0, 1))
    mask = model_masks(
        low_res[0, int(scores[0].argmax())],
        frame=one.frame,
        mask_threshold=one.manifest.masks.mask_threshold,
    )
    if not mask.any():
        raise PromptError("the mask decoder draws nothing there: give another box, or a mask")
    return mask
