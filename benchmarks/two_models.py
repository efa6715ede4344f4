"""SAM and CLIP, one after the other: the paper's pipeline from texts to masks (appendix C.1).

SAM segments everything: the mode is that of segment-anything's automatic mask generator, over one
grid of points and without crops. A segment is shown to CLIP as the box around it, made square, as
the student's training shows it regions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field

from benchmarks.metrics.texts import TEXT_ROW, judge_texts
from benchmarks.suite import timed
from samclip_sdk import SamClip
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.system.records import Record
from training.asked_pictures import AskedPicture

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.teachers import Teachers
    from training.teachers.small import ClipTeacher

_PREDICTED_IOUS = (0.88, 0.7, 0.5, 0.3)  # to choose from; below, CLIP has hundreds to look at
_STABILITIES = (0.95, 0.8, 0.6, 0.3)
_CROPS = 8  # that CLIP sees at a time

Found = tuple[int, float, np.ndarray]
"""An object: the place of its name among those asked, its score, its mask bool [H,W]."""

Detect = Callable[[np.ndarray, Sequence[str]], list[Found]]
"""A picture, uint8 RGB [H,W,3], and names, to the objects of these names."""

Given = tuple[str, np.ndarray, int, float]
"""How segments were named, the masks of the labels, CLIP's passes, and milliseconds."""


class Everything(Record):
    """SAM's everything-mode: a grid of points, three masks each, filtered.

    A mask stays whose predicted IoU and stability reach the thresholds, which are SAM's own unless
    a small SAM, whose masks rarely reach them, has others. Its stability is the area
    above a logit of `stability_offset` over that above its negative. Of masks whose boxes overlap
    by more than `nms_iou` the one with the highest predicted IoU stays.
    """

    points_per_side: int = Field(default=16, gt=0)
    predicted_iou: float = 0.88
    stability: float = 0.95
    stability_offset: float = 1.0
    nms_iou: float = 0.7


class Segments(NamedTuple):
    """K masks bool [K,H,W], what CLIP makes of each, unit float32 [K,E], and SAM's own ious [K]."""

    masks: np.ndarray
    embeddings: np.ndarray
    ious: np.ndarray


class Candidates:
    """Every mask that SAM proposes in one picture; CLIP sees one when it is first chosen.

    Of what SAM `found`, masks that are empty are left out.
    """

    def __init__(
        self, image: np.ndarray, found: Masks, clip: ClipTeacher, *, offset: float
    ) -> None:
        seen = found.masks.any(axis=(1, 2))
        self._image, self._masks, self._boxes = image, found.masks[seen], found.boxes[seen]
        self._clip, self._ious, logits = clip, found.scores[seen], found.low_res_masks[seen]
        inner, outer = ((logits > each).sum(axis=(-2, -1)) for each in (offset, -offset))
        self._stability = inner / np.maximum(outer, 1)
        self._embeddings = np.full((len(self._masks), clip.embed_dim), math.nan, np.float32)

    def choose(self, settings: Everything) -> Segments:
        """Keeps what passes the filters, and of masks in nearly the same box the best."""
        # Only here: a peer that names its own segments does without torch.
        import torch
        from torchvision.ops import nms, roi_align

        good = self._ious >= settings.predicted_iou
        rows = np.flatnonzero(good & (self._stability >= settings.stability))
        boxes, ious = (torch.from_numpy(each[rows]).float() for each in (self._boxes, self._ious))
        rows = rows[nms(boxes, ious, settings.nms_iou).numpy()]
        new = rows[np.isnan(self._embeddings[rows]).any(axis=1)]
        picture = torch.from_numpy(self._image).permute(2, 0, 1)[None].float()
        # Few at a time: a hundred at once would need gigabytes, and take longer.
        for start in range(0, len(new), _CROPS):
            few = new[start : start + _CROPS]
            rois = torch.from_numpy(np.pad(self._boxes[few], ((0, 0), (1, 0)))).float()
            with torch.inference_mode():
                crops = roi_align(picture, rois, self._clip.resolution, aligned=True)
                self._embeddings[few] = self._clip.embed_images(crops).numpy()
        return Segments(self._masks[rows], self._embeddings[rows], self._ious[rows])


class TwoModels:
    """SAM and CLIP, one after the other, of both `teachers`.

    Of a CLIP are asked its `resolution`, the side S of a crop, the width `embed_dim` of an
    embedding, and `embed_images`: of crops [B,3,S,S], RGB 0..255. Thresholds, `settings`, are
    chosen on `tuning`, pictures that are not measured; without any they are as given.
    """

    def __init__(
        self,
        teachers: Teachers,
        tuning: Sequence[AskedPicture],
        *,
        settings: Everything = Everything(),  # noqa: B008, it is frozen
    ) -> None:
        # Only here: it needs torch.
        from training.teachers.captions import EMPTY_NAMES

        self.settings, self._teachers, self.tuned_on = settings, teachers, len(tuning)
        self._nothing = teachers.classes(EMPTY_NAMES)
        self.settings = self._tune(tuning)

    def look(self, image: np.ndarray) -> Candidates:
        """Proposes segments of a picture, uint8 RGB [H,W,3], in one pass of SAM's backbone.

        What is chosen of them takes one of CLIP's each.
        """
        side, sam = self.settings.points_per_side, self._teachers.sam
        places = (np.arange(side) + 0.5) / side
        grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
        # SAM's coordinates name a pixel's corner; its prompt encoder adds the half pixel.
        points = (grid * image.shape[1::-1] - 0.5)[:, None]
        found = sam.segment(sam.encode_image(image), points=points, multimask_output=True)
        offset = self.settings.stability_offset
        return Candidates(image, found, self._teachers.clip, offset=offset)

    def ask(self, asked: AskedPicture) -> Iterator[Given]:
        """Names segments among the labels alone, and among these and names for nothing.

        The paper does not say what its pipeline does with the background.
        """
        labels = len(asked.labels)
        rivals = self._rivals(asked.labels)
        found, looking = timed(lambda: self.look(asked.image).choose(self.settings))
        for name, known in rivals.items():
            named, ms = timed(partial(name_segments, *found[:2], known, labels=labels))
            yield name, named, len(found.masks), looking + ms

    def detect(self, pixels: np.ndarray, asked: Sequence[str], *, most: int) -> list[Found]:
        """So many objects at most, the surest first: predicted IoU times probability of the name.

        That is among the names asked and names for nothing.
        """
        masks, embeddings, ious = self.look(pixels).choose(self.settings)
        classes = np.concatenate([self._teachers.classes(asked), self._nothing])
        logits = self._teachers.sam.manifest.text.logit_scale * embeddings @ classes.T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds /= odds.sum(axis=1, keepdims=True)
        found = [
            (int(row.argmax()), float(row.max() * iou), mask)
            for row, iou, mask in zip(odds, ious, masks, strict=True)
            if row.argmax() < len(asked)
        ]
        return sorted(found, key=lambda each: -each[1])[:most]

    def _rivals(self, labels: Sequence[str]) -> dict[str, np.ndarray]:
        classes = self._teachers.classes(labels)
        both = np.concatenate([classes, self._nothing])
        return {"two_models": classes, "two_models_or_nothing": both}

    def _tune(self, tuning: Sequence[AskedPicture]) -> Everything:
        """Finds the thresholds whose mIoU is best, in the better of both ways of naming segments.

        A small SAM rarely predicts an IoU of 0.88 for its own masks, so that with SAM's own
        thresholds the two models would find next to nothing. The student's thresholds are
        calibrated on pictures that are not measured; these are chosen on such pictures too.
        """
        rows: dict[tuple[Everything, str], list[tuple[object, ...]]] = defaultdict(list)
        for asked in tuning:
            rivals, candidates = self._rivals(asked.labels), self.look(asked.image)
            for predicted, steady in product(_PREDICTED_IOUS, _STABILITIES):
                changed = {"predicted_iou": predicted, "stability": steady}
                choice = self.settings.model_copy(update=changed)
                found = candidates.choose(choice)
                for name, known in rivals.items():
                    masks = name_segments(*found[:2], known, labels=len(asked.labels))
                    presence = np.ones(len(masks))
                    rows[choice, name] += judge_texts(0, asked, masks=masks, presence=presence)
        mious = {key: _miou(np.array(own, TEXT_ROW)) for key, own in rows.items()}
        return max(mious, key=mious.__getitem__, default=(self.settings, ""))[0]


def _miou(table: np.ndarray) -> float:
    """An absent label that got a mask counts as an IoU of 0."""
    return float(table["iou"].sum() / max(1, (table["present"] | table["mask"]).sum()))


def name_segments(
    masks: np.ndarray, embeddings: np.ndarray, classes: np.ndarray, *, labels: int
) -> np.ndarray:
    """Names each mask by its nearest class, and paints it: large ones first, small ones over.

    Of masks bool [K,H,W] and their unit embeddings float32 [K,E]. Of the classes, float32 [L,E] of
    unit length, the first are the labels that were asked; a mask of a later one is painted as
    background. The answer is the mask of each label, bool [labels,H,W]; no two overlap.
    """
    class_map = np.full(masks.shape[1:], len(classes), np.int16)
    nearest = (embeddings @ classes.T).argmax(axis=1)
    areas = masks.sum(axis=(1, 2))
    for index in np.argsort(-areas, kind="stable"):
        class_map[masks[index]] = nearest[index]
    return class_map == np.arange(labels)[:, None, None]


class OwnClip:
    """The CLIP in a merged model, a `ClipTeacher`: a backbone pass for each crop."""

    def __init__(self, model: SamClip) -> None:
        self._model = model
        self.resolution = model.manifest.tasks.classification.resolution
        self.embed_dim = model.manifest.model.embed_dim

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings [B,E] of crops [B,3,S,S], RGB 0..255."""
        import torch

        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = [self._model.embed_image(np.ascontiguousarray(each)) for each in pixels]
        return torch.from_numpy(np.stack(found))


def by_two_models(
    model: SamClip,
    tuning: Sequence[AskedPicture],
    *,
    names: Sequence[str],
    run: Path | None,
    most: int,
) -> Detect:
    """The pipeline: of the teachers of RUNS/CONFIG, or of the model's own two halves without any.

    All `names` that will be asked are embedded now. Without pictures for `tuning`, thresholds are
    those that the bundle of the SAM was calibrated with.
    """
    # Only here: it needs torch.
    from benchmarks.teachers import Teachers, open_run

    pair = open_run(run) if run else Teachers(OwnClip(model), model)
    pair.classes(names)
    own = pair.sam.manifest.calibration
    settings = Everything(predicted_iou=own.pred_iou_thresh, stability=own.stability_score_thresh)
    return partial(TwoModels(pair, tuning, settings=settings).detect, most=most)
