"""Mean IoU of geometric prompts: one box, or one point, for each object of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from benchmarks.quality.record import PromptIou
from training.composed.scenes import Scene

if TYPE_CHECKING:
    from samclip_sdk import SamClip
    from samclip_sdk.image_embedding import ImageEmbedding
    from samclip_sdk.results.prompt_masks import Masks


class PromptTally:
    """Collects the IoU of each object, scene by scene."""

    def __init__(self) -> None:
        self._ious: dict[str, list[float]] = {
            name: [] for name in ("box", "box_best", "point", "point_best")
        }

    def add(self, model: SamClip, embedding: ImageEmbedding, scene: Scene) -> None:
        """Asks for every object by its tight box, and by its innermost pixel."""
        points = np.array([innermost_pixel(mask) for mask in scene.masks], np.float32)
        prompts: dict[str, dict[str, Any]] = {
            "box": {"boxes": scene.boxes},
            "point": {"points": points[:, None]},
        }
        for name, prompt in prompts.items():
            single = model.segment(embedding, multimask_output=False, **prompt)
            self._ious[name] += best_ious(single, truth=scene.masks)
            several = model.segment(embedding, multimask_output=True, **prompt)
            self._ious[f"{name}_best"] += best_ious(several, truth=scene.masks)

    def row(self, *, who: Literal["model", "sam_teacher"], split: str) -> PromptIou:
        """The means over all objects so far."""
        means = {name: float(np.mean(ious)) for name, ious in self._ious.items()}
        return PromptIou(who=who, split=split, objects=len(self._ious["box"]), **means)


def innermost_pixel(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask, bool [H,W], that is farthest from all that is not the mask.

    The picture's border counts as outside. The first in reading order where several are as far.
    """
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def best_ious(result: Masks, *, truth: np.ndarray) -> list[float]:
    """For each object, the IoU of the mask that the model trusts most.

    Args:
        result: `Masks` of one or more masks for each of N prompts.
        truth: bool [N,H,W], what prompt n asks for.
    """
    ious = []
    for index, mask in enumerate(truth):
        answers = np.flatnonzero(result.prompt_index == index)
        best = answers[result.scores[answers].argmax()]
        ious.append(iou(result.masks[best], mask))
    return ious


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks, bool [H,W]; 0 where both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 0.0
