"""Zero-shot semantic segmentation: the sets, and mIoU of the CLIP head alone and of both heads."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.metrics.masks import Confusion, mean_iou
from benchmarks.public import files
from benchmarks.suite import Measuring
from samclip_sdk import SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import Manifest, ModelInfo
from samclip_sdk.device.opening import open_source
from samclip_sdk.image.loading import open_image
from samclip_sdk.runtimes.source import ModelSource

Truth = NDArray[np.int16]
Pairs = tuple[tuple[Path, Path], ...]
"""Path of each image, and of its truth."""

IGNORED = -1
"""In a truth: a pixel that is not judged. Labels are 0 to K-1, and K is the background."""

_VOID = 255
_CITYSCAPES_IDS = 34
_NEVER = -2  # a value that the set does not have: another set, or another layout
_MATERIAL = re.compile(r"(wall|floor|ceiling)-(brick|concrete|marble|panel|stone|tile|wood)")
_LAST_THING = 90  # of COCO's category ids, stuff comes after


@dataclass(frozen=True)
class SemanticSet:
    """Images with a label for each pixel, by path of the image and of its truth.

    There are K labels, as they are asked. `background` is whether pixels of none of them are
    judged, as a class of their own; `read_truth` makes int16 [H,W] of a path, see `IGNORED`.
    """

    labels: tuple[str, ...]
    images: Pairs
    read_truth: Callable[[Path], Truth]
    background: bool = False


def read_pascal_voc(root: Path) -> SemanticSet:
    """Reads VOC 2012: `ImageSets/Segmentation/val.txt`, 20 labels and the background."""
    folder = files.find(root, "VOCdevkit/VOC2012", "VOC2012", ".")
    return _read_voc(folder, "pascal_voc.txt", context="", background=True)


def read_pascal_voc_20(root: Path) -> SemanticSet:
    """Reads VOC 2012 likewise, with 0 not judged: the 20 labels alone."""
    return replace(read_pascal_voc(root), background=False, read_truth=_from_one(20, zero=IGNORED))


def read_pascal_context(root: Path) -> SemanticSet:
    """Reads Pascal-Context as mmsegmentation stores it: 59 labels, 0 is not judged."""
    folder = files.find(root, "VOCdevkit/VOC2010", "VOC2010", ".")
    return _read_voc(folder, "pascal_context.txt", context="Context", background=False)


def read_pascal_context_60(root: Path) -> SemanticSet:
    """Reads Pascal-Context likewise, with 0 judged as the background: 60 classes."""
    return replace(read_pascal_context(root), background=True, read_truth=_from_one(59, zero=59))


def _read_voc(folder: Path, names: str, *, context: str, background: bool) -> SemanticSet:
    labels = files.read_labels(names)
    listing = files.find(folder, f"ImageSets/Segmentation{context}/val.txt")
    image_folder = files.find(folder, "JPEGImages")
    masks = files.find(folder, f"SegmentationClass{context}")
    images = _with_masks(
        (image_folder / f"{name}.jpg" for name in files.list_lines(listing)), masks=masks
    )
    read_truth = _from_one(len(labels), zero=len(labels) if background else IGNORED)
    return SemanticSet(tuple(labels), images, read_truth, background=background)


def read_ade20k(root: Path) -> SemanticSet:
    """Reads ADEChallengeData2016: the labels of `objectInfo150.txt`, the first name of each."""
    folder = files.find(root, "ADEChallengeData2016", ".")
    table = files.find(folder, "objectInfo150.txt")
    _, *rows = files.list_lines(table)  # apart by tabs, the names last
    labels = tuple(row.rpartition("\t")[2].partition(",")[0].strip() for row in rows)
    image_folder = files.find(folder, "images/validation")
    masks = files.find(folder, "annotations/validation")
    images = _with_masks(files.list_images(image_folder), masks=masks)
    return SemanticSet(labels, images, _from_one(len(rows), zero=IGNORED))


def read_cityscapes(root: Path) -> SemanticSet:
    """Reads Cityscapes' val: `leftImg8bit/val/CITY`, and `gtFine/val/CITY` with its labelIds.

    The 19 labels of its benchmark are judged, all else is not.
    """
    image_folder, masks = files.find(root, "leftImg8bit/val"), files.find(root, "gtFine/val")
    rows = [line.partition(" ") for line in files.read_labels("cityscapes.txt")]
    values = dict.fromkeys(range(_CITYSCAPES_IDS), IGNORED) | {_VOID: IGNORED}
    values |= {int(value): index for index, (value, _, _) in enumerate(rows)}
    images = sorted(image_folder.glob("*/*_leftImg8bit.png"))
    names = (each.name.replace("_leftImg8bit", "_gtFine_labelIds") for each in images)
    pairs = [(each, masks / each.parent.name / n) for each, n in zip(images, names, strict=True)]
    labels = tuple(name for _, _, name in rows)
    return SemanticSet(labels, tuple(pairs), partial(_read_map, values=values))


def read_coco_stuff(root: Path) -> SemanticSet:
    """Reads COCO-Stuff's val2017: 171 labels, stored as COCO's category id less 1."""
    subfolders = ("stuffthingmaps", "stuffthingmaps_trainval2017", "annotations")
    image_folder = files.find(root, "val2017", "images/val2017")
    masks = files.find(root, *(f"{subfolder}/val2017" for subfolder in subfolders))
    names = _stuff_names()
    values = {value: index for index, value in enumerate(names)} | {_VOID: IGNORED}
    labels = tuple(map(spoken, names.values()))
    images = _with_masks(files.list_images(image_folder), masks=masks)
    return SemanticSet(labels, images, partial(_read_map, values=values))


def read_coco_object(root: Path) -> SemanticSet:
    """Reads COCO-Stuff's val2017 with its 80 things as labels, all else as the background."""
    names = _stuff_names()
    things = {value: name for value, name in names.items() if value < _LAST_THING}
    values = dict.fromkeys([*names, _VOID], len(things))
    values |= {value: index for index, value in enumerate(things)}
    read_truth, labels = partial(_read_map, values=values), tuple(things.values())
    return replace(read_coco_stuff(root), labels=labels, background=True, read_truth=read_truth)


SEMANTIC: dict[str, Callable[[Path], SemanticSet]] = {
    "pascal-voc": read_pascal_voc,
    "pascal-voc-20": read_pascal_voc_20,
    "pascal-context": read_pascal_context,
    "pascal-context-60": read_pascal_context_60,
    "cityscapes": read_cityscapes,
    "ade20k": read_ade20k,
    "coco-stuff": read_coco_stuff,
    "coco-object": read_coco_object,
}
"""Set -> what reads it from its folder.

Open-vocabulary segmentation is told by the mean of these eight: three have a background."""


def spoken(name: str) -> str:
    """A COCO category as words: "wall-brick" is a brick wall."""
    plain = re.sub(r"(-other|-stuff)+$", "", name)
    return _MATERIAL.sub(r"\2 \1", plain).replace("-", " ")


def _from_one(labels: int, *, zero: int) -> Callable[[Path], Truth]:
    """What reads a label map that counts so many labels from 1."""
    values = {0: zero, **{each + 1: each for each in range(labels)}, _VOID: IGNORED}
    return partial(_read_map, values=values)


def _read_map(path: Path, *, values: Mapping[int, int]) -> Truth:
    """Reads a label map, a palette or grey PNG, with these values, and refuses any other."""
    table = np.full(256, _NEVER, np.int16)
    with open_image(path) as image:
        stored = np.asarray(image)
    table[list(values)] = list(values.values())
    wrong = stored[table[stored] == _NEVER]
    if wrong.size:
        raise files.DatasetError(f"{path} holds the label {wrong[0]}, which the set does not have")
    return table[stored]


def _stuff_names() -> dict[int, str]:
    """Name by stored value."""
    rows = (line.partition(" ") for line in files.read_labels("coco_stuff.txt"))
    return {int(value): name for value, _, name in rows}


def _with_masks(images: Iterable[Path], *, masks: Path) -> Pairs:
    return tuple((image, masks / f"{image.stem}.png") for image in images)


HEAD_RESOLUTION_PX = 448
"""Of the paper's figures for the CLIP head alone."""


def measure_segmentation(
    measured: Measuring,
    data: SemanticSet,
    models: Mapping[str, SamClip],
    *,
    name: str,
    threshold: float,
) -> None:
    """Measures the models of "clip_head" and "both_heads" that are given.

    Below its calibrated threshold the CLIP head says background, in a set that has one. Below
    `threshold`, 0..1, both heads count a label as absent. With 0 every label is drawn and every
    pixel takes the highest, as the paper words it, at the price of a full-size mask for each label.
    """
    for heads, model in models.items():
        predict = partial(_ask_both_heads, model, data, threshold)
        if heads == "clip_head":
            minimum = model.manifest.calibration.head_only_threshold if data.background else None
            measured.settings |= {"background_threshold": minimum}
            predict = partial(_ask_clip_head, model, data.labels, minimum)
        _judge(measured, predict, data, model, subject=f"{name}: {heads}")


def _ask_both_heads(
    model: SamClip, data: SemanticSet, threshold: float, pixels: NDArray[np.uint8]
) -> NDArray[np.int16]:
    """The label of each pixel, K for none, by both heads at full resolution (paper section 4.4)."""
    # Without a background, every pixel takes the highest of the labels that are present.
    lowest = None if data.background else float(np.finfo(np.float32).min)
    asked = {"threshold": threshold, "mask_threshold": lowest}
    found = model.segment_text(pixels, data.labels, **asked).class_map
    return np.where(found < 0, np.int16(len(data.labels)), found)


def _ask_clip_head(
    model: SamClip, labels: Sequence[str], minimum: float | None, pixels: NDArray[np.uint8]
) -> NDArray[np.int16]:
    """The CLIP head alone (paper section 4.2): the highest upscaled logit of each pixel.

    The image is squeezed into the square input, as in the paper, and each label's logits are
    upscaled linearly to the image, one label at a time. The best must exceed the least score.
    """
    side = model.manifest.tasks.segmentation.resolution
    squeezed = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    # The highest threshold: no label's own mask is needed, only the maps are.
    maps = model.segment_text(squeezed, labels, refine=False, threshold=1.0).asked.score_maps
    answer = np.full(pixels.shape[:2], len(labels), np.int16)
    lowest = -math.inf if minimum is None else math.log(minimum / (1 - minimum))
    best = np.full(pixels.shape[:2], lowest, np.float32)
    for index, scores in enumerate(maps):
        logits = cv2.resize(scores, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        answer[logits > best] = index
        np.maximum(best, logits, out=best)
    return answer


def _judge(
    measured: Measuring,
    predict: Callable[[NDArray[np.uint8]], NDArray[np.int16]],
    data: SemanticSet,
    model: SamClip,
    *,
    subject: str,
) -> None:
    """Compares every image: mIoU, the IoU of each class, and pixels that got no label."""
    confusion = Confusion(len(data.labels) + 1)
    for image, mask in measured.track(data.images, subject):
        pixels, truth = files.read_pixels(image), data.read_truth(mask)
        if truth.shape != pixels.shape[:2]:
            sizes = [f"{width} x {height}" for height, width in (truth.shape, pixels.shape[:2])]
            raise files.DatasetError(f"{mask} has {sizes[0]} pixels, its image {sizes[1]}")
        confusion.add(predict(pixels), truth=truth)
    names = [*data.labels, "background"] if data.background else data.labels
    ious = confusion.ious()[: len(names)]
    unanswered = None if data.background else confusion.share_answered(len(data.labels))
    side = model.manifest.tasks.segmentation.resolution
    figures = {"miou": mean_iou(ious), "unanswered": unanswered, "resolution_px": side}
    measured.add(subject, n=len(data.images), **figures)
    for label, iou in zip(names, ious, strict=True):
        measured.add(subject, label, iou=iou)


def source_at(source: ModelSource, *, resolution_px: int) -> ModelSource:
    """A source whose images are encoded at another resolution; prompts do not work on them."""
    changed, tasks = copy.copy(source), source.manifest.tasks
    task = tasks.segmentation.model_copy(update={"resolution": resolution_px})
    tasks = tasks.model_copy(update={"segmentation": task})
    changed.id = f"{source.id}@{resolution_px}"
    changed.manifest = source.manifest.model_copy(update={"tasks": tasks})
    return changed


def load_at(
    runtime: str, *, model: str, max_px: int = HEAD_RESOLUTION_PX
) -> tuple[SamClip, SamClip]:
    """Loads a model as `SamClip.load` does, and the same for its CLIP head alone.

    The second one runs at the paper's resolution if the model is a larger one and runs at it: a
    bundle that has the graphs, or a checkpoint that can.
    """
    source = open_source(runtime, model=model, precision=None)
    larger = max_px < source.manifest.tasks.segmentation.resolution
    runs = larger and _runs_at(source.manifest, max_px)
    head = source_at(source, resolution_px=max_px) if runs else source
    return SamClip(source), SamClip(head)


def _runs_at(manifest: ModelInfo, resolution_px: int) -> bool:
    if isinstance(manifest, Manifest):
        return graph_key("clip_head", resolution_px) in manifest.graphs
    with suppress(ValueError):
        manifest.model.check_resolution(resolution_px)
        return True
    return False
