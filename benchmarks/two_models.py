"""SAM and CLIP, one after the other: the paper's pipeline from texts to masks (appendix C.1).

SAM segments everything: the mode is that of segment-anything's automatic mask generator, over one
grid of points and without crops. A segment is shown to CLIP as the box around it, made square, as
the student's training shows it regions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product, starmap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor
from torchvision.ops import roi_align

from benchmarks.metrics.texts import TEXT_ROW, judge_texts
from benchmarks.suite import timed
from benchmarks.teachers import Teachers, open_run
from samclip_sdk import ImageEmbedding, SamClip
from training.asked_images import AskedImage
from training.teachers.captions import EMPTY_NAMES

_PREDICTED_IOUS = (0.88, 0.7, 0.5, 0.3)  # to choose from; below, CLIP has hundreds to look at
_STABILITIES = (0.95, 0.8, 0.6, 0.3)
_CROPS = 8  # that CLIP sees at a time

Found = tuple[int, float, np.ndarray]
"""An object: the index of its name among those asked, its score, its mask bool [H,W]."""

Detect = Callable[[np.ndarray, Sequence[str]], list[Found]]
"""An image, uint8 RGB [H,W,3], and names, to the objects of these names."""

Given = tuple[str, np.ndarray, int, float]
"""How segments were named, the masks of the labels, CLIP's passes, and milliseconds."""


GRID = {"points_per_side": 16, "box_nms_thresh": 0.7}


class Thresholds(NamedTuple):
    """Of SAM's everything-mode: a mask stays that reaches both."""

    predicted_iou: float = 0.88
    stability: float = 0.95


class Segments(NamedTuple):
    """K masks bool [K,H,W], what CLIP makes of each, unit float32 [K,E], and SAM's own ious [K]."""

    masks: np.ndarray
    embeddings: np.ndarray
    ious: np.ndarray


class TwoModels:
    """SAM and CLIP, one after the other, of both `teachers`.

    Of a CLIP are asked its `resolution`, the side S of a crop, the width `embed_dim` of an
    embedding, and `embed_images`: of crops [B,3,S,S], RGB 0..255. Thresholds are chosen on
    `tuning`, images that are not measured; without any they are as given, or SAM's own.
    """

    def __init__(
        self,
        teachers: Teachers,
        tuning: Sequence[AskedImage],
        *,
        thresholds: Thresholds = Thresholds(),  # noqa: B008, it is frozen
    ) -> None:
        self._teachers, self.tuned_on = teachers, len(tuning)
        self._nothing = teachers.classes(EMPTY_NAMES)
        self.thresholds = self._tune(tuning, thresholds)

    def look(
        self,
        image: np.ndarray,
        thresholds: Thresholds,
        *,
        encoded: ImageEmbedding | None = None,
        seen: dict[tuple[float, ...], np.ndarray] | None = None,
    ) -> Segments:
        """Segments an image, uint8 RGB [H,W,3]: a pass of SAM's backbone, and of CLIP's for each.

        What SAM names by itself is not used. `seen` has the embeddings of boxes that were seen
        before, and gets those of others.
        """
        found = self._teachers.sam.segment_everything(
            image if encoded is None else encoded,
            pred_iou_thresh=thresholds.predicted_iou,
            stability_score_thresh=thresholds.stability,
            **GRID,
        )
        clip, seen = self._teachers.clip, {} if seen is None else seen
        boxes = [tuple(box) for box in found.boxes.tolist()]
        new = [box for box in dict.fromkeys(boxes) if box not in seen]
        image_bchw = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        # Few at a time: a hundred at once would need gigabytes, and take longer.
        for start in range(0, len(new), _CROPS):
            few = new[start : start + _CROPS]
            with torch.inference_mode():
                crops = roi_align(image_bchw, [torch.tensor(few)], clip.resolution, aligned=True)
                seen.update(zip(few, clip.embed_images(crops).numpy(), strict=True))
        embeddings = [seen[box] for box in boxes] or np.empty((0, clip.embed_dim), np.float32)
        return Segments(np.asarray(found.masks), np.array(embeddings), found.predicted_ious)

    def ask(self, question: AskedImage) -> Iterator[Given]:
        """Names segments among the labels alone, and among these and names for nothing.

        The paper does not say what its pipeline does with the background.
        """
        labels = len(question.labels)
        rivals = self._rivals(question.labels)
        found, looking = timed(lambda: self.look(question.image, self.thresholds))
        for name, known in rivals.items():
            named, ms = timed(partial(name_segments, *found[:2], known, labels=labels))
            yield name, named, len(found.masks), looking + ms

    def detect(self, pixels: np.ndarray, labels: Sequence[str], *, maximum: int) -> list[Found]:
        """So many objects at most, the surest first: predicted IoU times probability of the name.

        That is among the names asked and names for nothing.
        """
        masks, embeddings, ious = self.look(pixels, self.thresholds)
        classes = np.concatenate([self._teachers.classes(labels), self._nothing])
        logits = self._teachers.sam.manifest.text.logit_scale * embeddings @ classes.T
        found = [
            (int(row.argmax()), float(row.max() * iou), mask)
            for row, iou, mask in zip(softmax(logits, axis=1), ious, masks, strict=True)
            if row.argmax() < len(labels)
        ]
        return sorted(found, key=lambda each: -each[1])[:maximum]

    def _rivals(self, labels: Sequence[str]) -> dict[str, np.ndarray]:
        classes = self._teachers.classes(labels)
        both = np.concatenate([classes, self._nothing])
        return {"two_models": classes, "two_models_or_nothing": both}

    def _tune(self, tuning: Sequence[AskedImage], usual: Thresholds) -> Thresholds:
        """Finds the thresholds whose mIoU is best, in the better of both ways of naming segments.

        A small SAM rarely predicts an IoU of 0.88 for its own masks, so that with SAM's own
        thresholds the two models would find next to nothing. The student's thresholds are
        calibrated on images that are not measured; these are chosen on such images too.
        """
        rows: dict[tuple[Thresholds, str], list[tuple[object, ...]]] = defaultdict(list)
        for asked in tuning:
            rivals = self._rivals(asked.labels)
            encoded = self._teachers.sam.encode_image(asked.image)
            seen: dict[tuple[float, ...], np.ndarray] = {}
            for choice in starmap(Thresholds, product(_PREDICTED_IOUS, _STABILITIES)):
                found = self.look(asked.image, choice, encoded=encoded, seen=seen)
                for name, known in rivals.items():
                    masks = name_segments(*found[:2], known, labels=len(asked.labels))
                    presence = np.ones(len(masks))
                    rows[choice, name] += judge_texts(0, asked, masks=masks, presence=presence)
        mious = {}
        for key, own in rows.items():
            table = np.array(own, TEXT_ROW)
            asked_or_false = table["present"] | table["mask"]
            mious[key] = table["iou"].sum() / max(1, asked_or_false.sum())
        return max(mious, key=mious.__getitem__, default=(usual, ""))[0]


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
        pixels = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = [self._model.embed_image(np.ascontiguousarray(each)) for each in pixels]
        return torch.from_numpy(np.stack(found))


def by_two_models(
    model: SamClip,
    tuning: Sequence[AskedImage],
    *,
    names: Sequence[str],
    run: Path | None,
    maximum: int,
) -> Detect:
    """The pipeline: of the teachers of RUNS/CONFIG, or of the model's own two halves without any.

    All `names` that will be asked are embedded now. Without images for `tuning`, thresholds are
    those that the bundle of the SAM was calibrated with.
    """
    pair = open_run(run) if run else Teachers(OwnClip(model), model)
    pair.classes(names)
    own = pair.sam.manifest.calibration
    thresholds = Thresholds(own.pred_iou_thresh, own.stability_score_thresh)
    return partial(TwoModels(pair, tuning, thresholds=thresholds).detect, maximum=maximum)
