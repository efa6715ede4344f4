"""Two models in a row: SAM in everything-mode, and CLIP for each of its segments (appendix C.1).

Everything-mode is that of segment-anything's automatic mask generator, over one grid of points
and without crops. A segment is shown to CLIP as the box around it, made square, as the student's
training shows it regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes, nms, roi_align

from benchmarks.paper.record import Everything
from benchmarks.paper.skills import resize, upscale
from training.teachers.small import ClipTeacher, SamTeacher

BACKGROUND = -1
_POINTS_A_CALL = 64


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
        predicted_iou: [M].
        stability: [M], see `stability`.
        embed: boxes XYXY [K,4] of the picture to unit embeddings [K,E].
        embed_dim: E.
    """

    def __init__(
        self,
        masks: Tensor,
        *,
        predicted_iou: Tensor,
        stability: Tensor,
        embed: Callable[[Tensor], Tensor],
        embed_dim: int,
    ) -> None:
        self._masks = masks
        self._predicted_iou = predicted_iou
        self._stability = stability
        self._embed = embed
        self._boxes = torch.zeros(0, 4)
        if len(masks):
            self._boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
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
        return Segments(self._masks[rows].numpy(), self._embeddings[rows].numpy())


class TwoModels:
    """SAM and CLIP, one after the other.

    Args:
        sam: finds the segments.
        clip: embeds them.
        resolution: at which SAM sees pictures.
        settings: of SAM; its thresholds are for `Candidates.choose`.

    Attributes:
        settings: of SAM.
    """

    def __init__(
        self, sam: SamTeacher, clip: ClipTeacher, *, resolution: int, settings: Everything
    ) -> None:
        self._sam = sam
        self._clip = clip
        self._resolution = resolution
        self.settings = settings

    @torch.inference_mode()
    def look(self, image: np.ndarray) -> Candidates:
        """Proposes segments of a square picture, uint8 RGB [S,S,3], in one pass of SAM's backbone.

        What is chosen of them takes one of CLIP's each.
        """
        picture = torch.from_numpy(image).permute(2, 0, 1)[None]
        logits, predicted = self._ask_grid(resize(picture, resolution=self._resolution))
        sized = upscale(logits[:, None], resolution=self._resolution, size_px=len(image))
        masks = sized[:, 0] > 0
        seen = masks.flatten(1).any(dim=1)

        def embed(boxes: Tensor) -> Tensor:
            rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
            crops = roi_align(picture.float(), rois, self._clip.resolution, aligned=True)
            return self._clip.embed_images(crops)

        return Candidates(
            masks[seen],
            predicted_iou=predicted[seen],
            stability=stability(logits[seen], offset=self.settings.stability_offset),
            embed=embed,
            embed_dim=self._clip.embed_dim,
        )

    def _ask_grid(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [M,h,h] and predicted IoUs [M] of three masks for each point of the grid."""
        embeddings = self._sam.encode(image)
        points = point_grid(self.settings.points_per_side, size_px=image.shape[-1])
        masks, predicted = [], []
        for coords in points.split(_POINTS_A_CALL):
            # With SAM's padding point, which comes with every point that has no box.
            prompts = torch.stack([coords, torch.zeros_like(coords)], dim=1)
            kinds = torch.tensor([[1, -1]], dtype=torch.int32).expand(len(coords), -1)
            logits, scores = self._sam.decode(embeddings, prompts, kinds, None)
            masks.append(logits[:, 1:].flatten(0, 1))
            predicted.append(scores[:, 1:].flatten())
        return torch.cat(masks), torch.cat(predicted)


def point_grid(per_side: int, *, size_px: int) -> Tensor:
    """The centres of per_side x per_side equal cells, (x, y), float [per_side^2,2], by rows."""
    centres = (torch.arange(per_side, dtype=torch.float32) + 0.5) * size_px / per_side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    # SAM's coordinates name a pixel's corner; its prompt encoder adds the half pixel.
    return torch.stack([x, y], dim=-1).reshape(-1, 2) - 0.5


def stability(logits: Tensor, *, offset: float) -> Tensor:
    """How little masks [M,h,h] change when the threshold moves by `offset` either way: [M], 0..1.

    The area of the smaller over that of the larger; 0 for a mask that is empty at both.
    """
    inner = (logits > offset).flatten(1).sum(dim=1)
    outer = (logits > -offset).flatten(1).sum(dim=1)
    return inner / outer.clamp(min=1)


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
