"""Zero-shot semantic segmentation: mIoU of the CLIP head alone and of both heads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import Progress

from benchmarks.public.files import DatasetError, read_pixels
from benchmarks.public.record import ClassIou, Segmentation
from benchmarks.public.semantic_sets import IGNORED, SemanticSet

if TYPE_CHECKING:
    from samclip_sdk import SamClip

Predict = Callable[[NDArray[np.uint8]], NDArray[np.int16]]
"""A picture, uint8 RGB [H,W,3], to the label of each pixel, int16 [H,W]; K is none of the K."""

_LOWEST = float(np.finfo(np.float32).min)


class Confusion:
    """Counts, over a set, how often each true label was answered with each.

    Args:
        labels: K; the background, or no answer, is one more.
    """

    def __init__(self, labels: int) -> None:
        self._size = labels + 1
        self._counts = np.zeros((self._size, self._size), np.int64)

    def add(self, answer: NDArray[np.int16], *, truth: NDArray[np.int16]) -> None:
        """Counts the pixels of one picture; both are [H,W], 0..K, and `truth` may be `IGNORED`."""
        judged = truth != IGNORED
        pairs = self._size * truth[judged].astype(np.int64) + answer[judged]
        counts = np.bincount(pairs, minlength=self._size**2)
        self._counts += counts.reshape(self._size, self._size)

    def ious(self, *, background: bool) -> list[float | None]:
        """The IoU of each label, and last of the background if it is judged.

        None for a label that is in no truth and no answer: it has no part in the mean.
        """
        count = self._size if background else self._size - 1
        hits = self._counts.diagonal()
        unions = self._counts.sum(axis=0) + self._counts.sum(axis=1) - hits
        return [float(hits[k] / unions[k]) if unions[k] else None for k in range(count)]

    def share_answered(self, label: int) -> float:
        """The share of the judged pixels that were answered with a label; 0 of none."""
        return float(self._counts[:, label].sum() / max(1, self._counts.sum()))


def measure_segmentation(
    data: SemanticSet,
    *,
    clip_head: SamClip | None,
    both_heads: SamClip | None,
    background_threshold: float | None,
    presence_threshold: float | None,
    progress: Progress,
) -> Iterator[Segmentation]:
    """Measures each of the two settings for which a model is given, one after the other.

    Args:
        data: the set.
        clip_head: the model whose CLIP head is asked, at its segmentation resolution.
        both_heads: the model whose mask decoder refines.
        background_threshold: 0..1, below it the CLIP head says background, in a set that has
            one; the model's calibrated threshold if None.
        presence_threshold: 0..1, below it both heads count a label as absent; the model's
            calibrated threshold if None. With 0 every label is drawn and every pixel takes the
            highest, as the paper words it, at the price of a full-size mask for each label.
        progress: shows how far it is.

    Raises:
        DatasetError: a picture or a truth cannot be read, or they are not of one size.
    """
    if clip_head is not None:
        threshold: float | None = None
        if data.background:
            own = clip_head.manifest.calibration.head_only_threshold
            threshold = own if background_threshold is None else background_threshold
        confusion = _judge(
            ask_clip_head(clip_head, data.labels, background_threshold=threshold),
            data,
            progress=progress,
            description="CLIP head alone",
        )
        yield _figures(
            confusion,
            data,
            heads="clip_head",
            resize="square",
            resolution_px=clip_head.manifest.tasks.segmentation.resolution,
            background_threshold=threshold,
            presence_threshold=None,
        )
    if both_heads is not None:
        present = both_heads.manifest.calibration.presence_threshold
        present = present if presence_threshold is None else presence_threshold
        predict = ask_both_heads(
            both_heads, data.labels, background=data.background, presence_threshold=present
        )
        confusion = _judge(predict, data, progress=progress, description="both heads")
        yield _figures(
            confusion,
            data,
            heads="both_heads",
            resize="letterbox",
            resolution_px=both_heads.manifest.tasks.segmentation.resolution,
            background_threshold=None,
            presence_threshold=present,
        )


def ask_clip_head(
    model: SamClip, labels: Sequence[str], *, background_threshold: float | None
) -> Predict:
    """The CLIP head alone (paper section 4.2): the highest upscaled logit of each pixel.

    The picture is squeezed into the square input, as in the paper, and each label's logits are
    upscaled linearly to the picture, one label at a time.

    Args:
        model: what is asked.
        labels: K.
        background_threshold: 0..1, the score that a pixel's best label must exceed; None: any.
    """
    side = model.manifest.tasks.segmentation.resolution
    floor = -math.inf
    if background_threshold is not None:
        floor = math.log(background_threshold / (1 - background_threshold))

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
        squeezed = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
        # The highest threshold: no label's own mask is needed, only the maps are.
        maps = model.segment_text(squeezed, labels, refine=False, threshold=1.0).score_maps
        height, width = pixels.shape[:2]
        answer = np.full((height, width), len(labels), np.int16)
        best = np.full((height, width), floor, np.float32)
        for index, scores in enumerate(maps):
            logits = cv2.resize(scores, (width, height), interpolation=cv2.INTER_LINEAR)
            answer[logits > best] = index
            np.maximum(best, logits, out=best)
        return answer

    return predict


def ask_both_heads(
    model: SamClip, labels: Sequence[str], *, background: bool, presence_threshold: float
) -> Predict:
    """Both heads, at full resolution (paper section 4.4), as `SamClip.segment_text` joins them.

    Labels below the presence threshold are left out. Without a background, every pixel takes the
    highest of the others; with one, those that none of them exceeds the mask threshold in are it.
    """
    lowest = None if background else _LOWEST

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
        found = model.segment_text(
            pixels, labels, threshold=presence_threshold, mask_threshold=lowest
        ).class_map
        return np.where(found < 0, np.int16(len(labels)), found)

    return predict


def _judge(
    predict: Predict, data: SemanticSet, *, progress: Progress, description: str
) -> Confusion:
    confusion = Confusion(len(data.labels))
    for picture, mask in progress.track(data.pictures, description=description):
        pixels, truth = read_pixels(picture), data.read_truth(mask)
        if truth.shape != pixels.shape[:2]:
            sizes = [f"{width} x {height}" for height, width in (truth.shape, pixels.shape[:2])]
            raise DatasetError(f"{mask} has {sizes[0]} pixels, its picture {sizes[1]}")
        confusion.add(predict(pixels), truth=truth)
    return confusion


def _figures(
    confusion: Confusion,
    data: SemanticSet,
    *,
    heads: str,
    resize: str,
    resolution_px: int,
    background_threshold: float | None,
    presence_threshold: float | None,
) -> Segmentation:
    ious = confusion.ious(background=data.background)
    names = [*data.labels, "background"][: len(ious)]
    counted = [each for each in ious if each is not None]
    return Segmentation.model_validate(
        {
            "heads": heads,
            "resize": resize,
            "resolution_px": resolution_px,
            "background_threshold": background_threshold,
            "presence_threshold": presence_threshold,
            "pictures": len(data.pictures),
            "miou": float(np.mean(counted)) if counted else 0.0,
            "unanswered": 0.0 if data.background else confusion.share_answered(len(data.labels)),
            "classes": [
                ClassIou(label=name, iou=value) for name, value in zip(names, ious, strict=True)
            ],
        }
    )
