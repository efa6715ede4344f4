"""Zero-shot semantic segmentation: mIoU of the CLIP head alone and of both heads."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.progress import track
from benchmarks.public.files import DatasetError, read_pixels
from benchmarks.public.record import ClassIou, Segmentation
from benchmarks.public.semantic_sets import SemanticSet
from benchmarks.quality.scores import Confusion, mean_iou
from samclip_sdk import SamClip
from samclip_sdk.auto.opening import open_source
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import Manifest, ModelInfo
from samclip_sdk.model_source import ModelSource

Predict = Callable[[NDArray[np.uint8]], NDArray[np.int16]]
"""A picture, uint8 RGB [H,W,3], to the label of each pixel, int16 [H,W]; K is none of the K."""

HEAD_RESOLUTION_PX = 448
"""Of the paper's figures for the CLIP head alone."""


def measure_segmentation(
    data: SemanticSet,
    *,
    clip_head: SamClip | None,
    both_heads: SamClip | None,
    background_threshold: float | None = None,
    presence_threshold: float | None = None,
) -> Iterator[Segmentation]:
    """Measures each of the two settings for which a model is given, one after the other.

    Thresholds, 0..1, are the models' calibrated ones where they are None. Below the first, the
    CLIP head says background, in a set that has one; below the second, both heads count a label as
    absent. With 0 every label is drawn and every pixel takes the highest, as the paper words it, at
    the price of a full-size mask for each label.
    """
    if clip_head is not None:
        threshold: float | None = None
        if data.background:
            own = clip_head.manifest.calibration.head_only_threshold
            threshold = own if background_threshold is None else background_threshold
        predict = ask_clip_head(clip_head, data.labels, background_threshold=threshold)
        yield _judge(predict, data, clip_head, heads="clip_head", thresholds=(threshold, None))
    if both_heads is not None:
        present = both_heads.manifest.calibration.presence_threshold
        present = present if presence_threshold is None else presence_threshold
        predict = ask_both_heads(
            both_heads, data.labels, background=data.background, presence_threshold=present
        )
        yield _judge(predict, data, both_heads, heads="both_heads", thresholds=(None, present))


def ask_clip_head(
    model: SamClip, labels: Sequence[str], *, background_threshold: float | None
) -> Predict:
    """The CLIP head alone (paper section 4.2): the highest upscaled logit of each pixel.

    The picture is squeezed into the square input, as in the paper, and each label's logits are
    upscaled linearly to the picture, one label at a time. The best must exceed the threshold.
    """
    side = model.manifest.tasks.segmentation.resolution
    lowest = -math.inf
    if background_threshold is not None:
        lowest = math.log(background_threshold / (1 - background_threshold))

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
        squeezed = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
        # The highest threshold: no label's own mask is needed, only the maps are.
        maps = model.segment_text(squeezed, labels, refine=False, threshold=1.0).score_maps
        height, width = pixels.shape[:2]
        answer = np.full((height, width), len(labels), np.int16)
        best = np.full((height, width), lowest, np.float32)
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
    lowest = None if background else float(np.finfo(np.float32).min)

    def predict(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
        found = model.segment_text(
            pixels, labels, threshold=presence_threshold, mask_threshold=lowest
        ).class_map
        return np.where(found < 0, np.int16(len(labels)), found)

    return predict


def _judge(
    predict: Predict,
    data: SemanticSet,
    model: SamClip,
    *,
    heads: Literal["clip_head", "both_heads"],
    thresholds: tuple[float | None, float | None],
) -> Segmentation:
    """Compares every picture; the thresholds are of background and presence."""
    confusion = Confusion(len(data.labels) + 1)
    for picture, mask in track(data.pictures, heads.replace("_", " ")):
        pixels, truth = read_pixels(picture), data.read_truth(mask)
        if truth.shape != pixels.shape[:2]:
            sizes = [f"{width} x {height}" for height, width in (truth.shape, pixels.shape[:2])]
            raise DatasetError(f"{mask} has {sizes[0]} pixels, its picture {sizes[1]}")
        confusion.add(predict(pixels), truth=truth)
    names = [*data.labels, "background"] if data.background else data.labels
    ious = confusion.ious()[: len(names)]
    return Segmentation(
        heads=heads,
        resize="square" if heads == "clip_head" else "letterbox",
        resolution_px=model.manifest.tasks.segmentation.resolution,
        background_threshold=thresholds[0],
        presence_threshold=thresholds[1],
        pictures=len(data.pictures),
        miou=mean_iou(ious),
        unanswered=0.0 if data.background else confusion.share_answered(len(data.labels)),
        classes=tuple(ClassIou(label=n, iou=iou) for n, iou in zip(names, ious, strict=True)),
    )


def source_at(source: ModelSource, *, resolution_px: int) -> ModelSource:
    """A source whose pictures are encoded at another resolution; prompts do not work on them."""
    changed, tasks = copy.copy(source), source.manifest.tasks
    task = tasks.segmentation.model_copy(update={"resolution": resolution_px})
    tasks = tasks.model_copy(update={"segmentation": task})
    changed.id = f"{source.id}@{resolution_px}"
    changed.manifest = source.manifest.model_copy(update={"tasks": tasks})
    return changed


def load_at(
    runtime: str, *, model: str, precision: str | None, head_resolution_px: int | None
) -> tuple[SamClip, SamClip]:
    """Loads a model as `SamClip.load` does, and the same for its CLIP head alone.

    The second one runs at `head_resolution_px`; if that is None at the paper's resolution if the
    model is a larger one and runs at it, else at the model's own.

    Raises:
        SamClipError: the model cannot be loaded.
        ValueError: it does not run at the resolution.
    """
    source = open_source(runtime, model=model, precision=precision)
    own = source.manifest.tasks.segmentation.resolution
    if head_resolution_px is None:
        at_most = min(own, HEAD_RESOLUTION_PX)
        head_resolution_px = at_most if _has_resolution(source.manifest, at_most) else own
    if not _has_resolution(source.manifest, head_resolution_px):
        raise ValueError(
            f"the model {source.manifest.name} does not run at {head_resolution_px} px: its "
            f"segmentation resolution is {own}"
        )
    return SamClip(source), SamClip(source_at(source, resolution_px=head_resolution_px))


def _has_resolution(manifest: ModelInfo, resolution_px: int) -> bool:
    """Whether a bundle has the graphs for it, or a checkpoint can run at it."""
    if isinstance(manifest, Manifest):
        parts = ("image_encoder", "clip_head")
        return all(graph_key(part, resolution_px) in manifest.graphs for part in parts)
    try:
        manifest.model.check_resolution(resolution_px)
    except ValueError:
        return False
    return True
