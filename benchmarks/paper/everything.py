"""Two models in a row: SAM in everything-mode, and CLIP for each of its segments (appendix C.1).

Everything-mode is that of segment-anything's automatic mask generator, over one grid of points
and without crops. A segment is shown to CLIP as the box around it, made square, as the student's
training shows it regions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms, roi_align

from benchmarks.paper.record import Everything
from benchmarks.quality.scores import TextTally
from samclip_sdk import SamClip
from training.composed.label_questions import Question
from training.composed.scenes import Scene
from training.teachers.small import ClipTeacher

BACKGROUND = -1
PREDICTED_IOUS = (0.88, 0.7, 0.5, 0.3, 0.0)
STABILITIES = (0.95, 0.8, 0.6, 0.3, 0.0)


@dataclass(frozen=True)
class Segments:
    """What SAM finds in a picture without being asked, and what CLIP makes of it.

    Attributes:
        masks: bool [K,S,S], in pixels of the picture, none of them empty. They may overlap.
        embeddings: float32 [K,E], unit length.
    """

    masks: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True)
class PaintedMasks:
    """A class map's masks, bool [S,S] each, one for each label that was asked."""

    masks: Sequence[np.ndarray]

    @classmethod
    def of(cls, class_map: np.ndarray, *, labels: int) -> PaintedMasks:
        """Takes a class map, int16 [S,S], apart."""
        return cls([class_map == label for label in range(labels)])


class Candidates:
    """Every mask that SAM proposes in one picture; CLIP sees one when it is first chosen.

    Args:
        masks: bool [M,S,S], none of them empty.
        boxes: float [M,4], XYXY around each.
        predicted_iou: [M].
        stability: [M], see `stability`.
        embed: boxes [K,4] of the picture to unit embeddings [K,E].
        embed_dim: E.
    """

    def __init__(
        self,
        masks: np.ndarray,
        *,
        boxes: Tensor,
        predicted_iou: Tensor,
        stability: Tensor,
        embed: Callable[[Tensor], Tensor],
        embed_dim: int,
    ) -> None:
        self._masks = masks
        self._boxes = boxes
        self._predicted_iou = predicted_iou
        self._stability = stability
        self._embed = embed
        self._embeddings = torch.zeros(len(masks), embed_dim)
        self._embedded = torch.zeros(len(masks), dtype=torch.bool)

    @torch.inference_mode()
    def choose(self, settings: Everything) -> Segments:
        """Keeps what passes the filters, and of masks in nearly the same box the best."""
        good = self._predicted_iou >= settings.predicted_iou
        good &= self._stability >= settings.stability
        rows = good.nonzero().squeeze(1)
        rows = rows[nms(self._boxes[rows], self._predicted_iou[rows], settings.nms_iou)]
        new = rows[~self._embedded[rows]]
        if len(new):
            self._embeddings[new] = self._embed(self._boxes[new])
            self._embedded[new] = True
        return Segments(self._masks[rows.numpy()], self._embeddings[rows].numpy())


class TwoModels:
    """SAM and CLIP, one after the other.

    Args:
        sam: finds the segments.
        clip: embeds them.
        settings: of SAM; its thresholds are for `Candidates.choose`.

    Attributes:
        settings: of SAM.
    """

    def __init__(self, sam: SamClip, clip: ClipTeacher, *, settings: Everything) -> None:
        self._sam = sam
        self._clip = clip
        self.settings = settings

    def look(self, image: np.ndarray) -> Candidates:
        """Proposes segments of a square picture, uint8 RGB [S,S,3], in one pass of SAM's backbone.

        What is chosen of them takes one of CLIP's each.
        """
        points = point_grid(self.settings.points_per_side, size_px=len(image))
        found = self._sam.segment(
            self._sam.encode_image(image), points=points[:, None], multimask_output=True
        )
        seen = found.masks.any(axis=(1, 2))
        picture = torch.from_numpy(image).permute(2, 0, 1)[None].float()

        def embed(boxes: Tensor) -> Tensor:
            rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
            crops = roi_align(picture, rois, self._clip.resolution, aligned=True)
            return self._clip.embed_images(crops)

        steady = stability(found.low_res_masks[seen], offset=self.settings.stability_offset)
        return Candidates(
            found.masks[seen],
            boxes=torch.from_numpy(found.boxes[seen]).float(),
            predicted_iou=torch.from_numpy(found.scores[seen]),
            stability=torch.from_numpy(steady),
            embed=embed,
            embed_dim=self._clip.embed_dim,
        )


def tune(
    two: TwoModels,
    asked: Iterable[tuple[Scene, Question]],
    *,
    classes: np.ndarray,
    nothing: np.ndarray,
) -> Everything:
    """Finds the thresholds whose mIoU is best, in the better of both ways of naming segments.

    A small SAM rarely predicts an IoU of 0.88 for its own masks, so that with SAM's own thresholds
    the two models would find next to nothing. The student's thresholds are calibrated on training
    scenes; these are chosen on such scenes too.

    Args:
        two: the models.
        asked: scenes of training drawings, with what each is asked.
        classes: embeddings [K,E] of all nouns.
        nothing: embeddings [N,E] of names for a place without an object.
    """
    tallies: dict[tuple[Everything, bool], TextTally] = defaultdict(TextTally)
    choices = [
        two.settings.model_copy(update={"predicted_iou": predicted, "stability": steady})
        for predicted, steady in product(PREDICTED_IOUS, STABILITIES)
    ]
    for scene, question in asked:
        labels = classes[[*question.present, *question.absent]]
        candidates = two.look(scene.image)
        for choice in choices:
            segments = candidates.choose(choice)
            for free in (False, True):
                rivals = np.concatenate([labels, nothing]) if free else labels
                answer = name_segments(segments, rivals, labels=len(labels))
                tallies[choice, free].add(answer, question=question, scene=scene)
    best, _ = max(tallies, key=lambda key: tallies[key].row(heads="two_models", split="train").miou)
    return best


def point_grid(per_side: int, *, size_px: int) -> np.ndarray:
    """The centres of per_side x per_side equal cells, (x, y), float32 [per_side^2,2], by rows."""
    centres = (np.arange(per_side, dtype=np.float32) + 0.5) * size_px / per_side
    # SAM's coordinates name a pixel's corner; its prompt encoder adds the half pixel.
    return np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2) - np.float32(0.5)


def stability(logits: np.ndarray, *, offset: float) -> np.ndarray:
    """How little masks [M,h,h] change when the threshold moves by `offset` either way: [M], 0..1.

    The area of the smaller over that of the larger; 0 for a mask that is empty at both.
    """
    inner, outer = ((logits > each).sum(axis=(1, 2)) for each in (offset, -offset))
    steady: np.ndarray = inner / np.maximum(outer, 1)
    return steady


def name_segments(segments: Segments, classes: np.ndarray, *, labels: int) -> PaintedMasks:
    """The masks of the labels that were asked, as `paint` gives them."""
    return PaintedMasks.of(paint(segments, classes, labels=labels), labels=labels)


def paint(segments: Segments, classes: np.ndarray, *, labels: int) -> np.ndarray:
    """Names each segment by its nearest class, and paints it: large ones first, small ones over.

    Args:
        segments: of a picture.
        classes: float32 [L,E], unit length.
        labels: how many of the classes are labels that were asked; a segment of a later one is
            painted as background.

    Returns:
        The class map, int16 [S,S], `BACKGROUND` where no label is.
    """
    class_map = np.full(segments.masks.shape[1:], BACKGROUND, np.int16)
    nearest = (segments.embeddings @ classes.T).argmax(axis=1)
    nearest[nearest >= labels] = BACKGROUND
    areas = segments.masks.sum(axis=(1, 2))
    for index in np.argsort(-areas, kind="stable"):
        class_map[segments.masks[index]] = nearest[index]
    return class_map
