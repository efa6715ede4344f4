"""Two models in a row: SAM in everything-mode, and CLIP for each of its segments (appendix C.1).

Everything-mode is that of segment-anything's automatic mask generator, over one grid of points
and without crops. A segment is shown to CLIP as the box around it, made square, as the student's
training shows it regions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
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

    K masks, bool [K,S,S], none of them empty, which may overlap, and embeddings, float32 [K,E] of
    unit length.
    """

    masks: np.ndarray
    embeddings: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Every mask that SAM proposes in one picture; CLIP sees one when it is first chosen.

    M masks, bool [M,S,S], none of them empty, boxes float [M,4] XYXY around them, SAM's predicted
    IoU and the `stability` of each. `embed` makes unit embeddings [K,E] of boxes [K,4].
    """

    masks: np.ndarray
    boxes: Tensor
    predicted_iou: Tensor
    stability: Tensor
    embed: Callable[[Tensor], Tensor]
    embed_dim: int
    _known: dict[int, Tensor] = field(default_factory=dict)

    @torch.inference_mode()
    def choose(self, settings: Everything) -> Segments:
        """Keeps what passes the filters, and of masks in nearly the same box the best."""
        good = self.predicted_iou >= settings.predicted_iou
        good &= self.stability >= settings.stability
        rows = good.nonzero().squeeze(1)
        rows = rows[nms(self.boxes[rows], self.predicted_iou[rows], settings.nms_iou)].tolist()
        if new := [row for row in rows if row not in self._known]:
            self._known.update(zip(new, self.embed(self.boxes[new]), strict=True))
        embeddings = torch.empty(len(rows), self.embed_dim)
        for place, row in enumerate(rows):
            embeddings[place] = self._known[row]
        return Segments(self.masks[rows], embeddings.numpy())


@dataclass(frozen=True)
class TwoModels:
    """SAM and CLIP, one after the other. Thresholds of `settings` are for `Candidates.choose`."""

    sam: SamClip
    clip: ClipTeacher
    settings: Everything

    def look(self, image: np.ndarray) -> Candidates:
        """Proposes segments of a square picture, uint8 RGB [S,S,3], in one pass of SAM's backbone.

        What is chosen of them takes one of CLIP's each.
        """
        points = point_grid(self.settings.points_per_side, size_px=len(image))
        found = self.sam.segment(
            self.sam.encode_image(image), points=points[:, None], multimask_output=True
        )
        seen = found.masks.any(axis=(1, 2))
        picture = torch.from_numpy(image).permute(2, 0, 1)[None].float()

        def embed(boxes: Tensor) -> Tensor:
            rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
            crops = roi_align(picture, rois, self.clip.resolution, aligned=True)
            return self.clip.embed_images(crops)

        steady = stability(found.low_res_masks[seen], offset=self.settings.stability_offset)
        return Candidates(
            found.masks[seen],
            boxes=torch.from_numpy(found.boxes[seen]).float(),
            predicted_iou=torch.from_numpy(found.scores[seen]),
            stability=torch.from_numpy(steady),
            embed=embed,
            embed_dim=self.clip.embed_dim,
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

    Classes are embeddings [K,E] of all nouns, `nothing` [N,E] of names for a place without an
    object.
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
                masks = name_segments(segments, rivals, labels=len(labels))
                tallies[choice, free].add(masks, question=question, scene=scene)
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


def name_segments(segments: Segments, classes: np.ndarray, *, labels: int) -> list[np.ndarray]:
    """The mask of each label that was asked, bool [S,S], as `paint` gives them."""
    class_map = paint(segments, classes, labels=labels)
    return [class_map == label for label in range(labels)]


def paint(segments: Segments, classes: np.ndarray, *, labels: int) -> np.ndarray:
    """Names each segment by its nearest class, and paints it: large ones first, small ones over.

    Of the classes, float32 [L,E] of unit length, the first are the labels that were asked; a
    segment of a later one is painted as background.

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
