"""Masks for things that a set has in boxes only, drawn by a model that was trained before.

A mask is kept where three looks at the image agree on it (as it is, mirrored, and smaller), where
the model thinks well of it, and where it fills the box that it was asked by.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.masks import mask_to_box, mask_to_rle
from samclip_sdk.system.atomic_folder import atomic_folder
from samclip_sdk.system.progress import OnProgress, no_progress
from training.errors import TrainingError
from training.real.coco_layout import IMAGES_FOLDER, INSTANCES_NAME, find_file
from training.real.records import BrokenRecord, decode_image

MADE = "made"
"""Field of an annotation: the name of the model that drew its mask."""

MIN_IOU = 0.8
"""The IoU that the model must predict of a mask that is kept, on average over the three looks."""

_AGREEMENT = 0.85  # IoU of each look's mask with what two of three say, at least
_FILLS = 0.7  # IoU of the mask's own box with the one that it was asked by, at least
_SMALLER = 1.5  # the canvas of the third look, by the image's sides
_MIN_PX = 8.0  # of a box's sides


def draw_boxed(
    model: SamClip, image: np.ndarray, boxes: np.ndarray, *, min_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a mask for each box of an image.

    Args:
        model: asked three times.
        image: uint8 RGB [H,W,3].
        boxes: float32 [K,4], XYXY in pixels.
        min_iou: that the model predicts on average, of a good mask.

    Returns:
        Masks bool [K,H,W], what two looks of three say, and which of them are good, bool [K].
    """
    height, width = image.shape[:2]
    turned = boxes[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([width, 0, width, 0])
    canvas = np.empty((round(_SMALLER * height), round(_SMALLER * width), 3), np.uint8)
    canvas[:] = PAD_COLOUR
    canvas[:height, :width] = image
    plain, mirrored, smaller = (
        model.segment(pixels, boxes=asked, multimask_output=False)
        for pixels, asked in (
            (image, boxes),
            (np.ascontiguousarray(image[:, ::-1]), turned),
            (canvas, boxes),
        )
    )
    looks = np.stack([plain.masks, mirrored.masks[..., ::-1], smaller.masks[:, :height, :width]])
    masks = looks.sum(axis=0) >= 2
    agreed = np.min([_iou(each, masks) for each in looks], axis=0)
    scores = np.mean([plain.scores, mirrored.scores, smaller.scores], axis=0)
    own = np.array([mask_to_box(mask) if mask.any() else np.zeros(4) for mask in masks])
    good = (agreed >= _AGREEMENT) & (scores >= min_iou) & (_box_iou(own, boxes) >= _FILLS)
    return masks, good


def mask_set(
    folder: Path,
    target: Path,
    model: SamClip,
    *,
    min_iou: float = MIN_IOU,
    on_progress: OnProgress = no_progress,
) -> Counter[str]:
    """Copies a set, with masks for what it has in boxes only, as far as they are good.

    Each such annotation says which model drew its mask, in the field `MADE`. The images of the
    copy are links, where the drive has them.

    Returns:
        How many masks are `kept` and `refused`, and how many images are `broken`.

    Raises:
        TrainingError: there is no such set, or its JSON file is damaged.
    """
    path = find_file(folder, INSTANCES_NAME)
    told: Counter[str] = Counter()
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        images, boxed = content["images"], _boxed(content["annotations"])
        with atomic_folder(target) as out:
            for done, image in enumerate(images):
                on_progress(f"drawing masks of {folder.name}", done, len(images))
                if entries := boxed.get(image["id"]):
                    told += _draw(model, folder, image["file_name"], entries, min_iou=min_iou)
            (out / INSTANCES_NAME).write_text(json.dumps(content, separators=(",", ":")))
            shutil.copytree(
                folder / IMAGES_FOLDER, out / IMAGES_FOLDER, copy_function=_link_or_copy
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path}: {type(error).__name__}: {error}") from error
    on_progress(f"drawing masks of {folder.name}", len(images), len(images))
    return told


def _boxed(annotations: list[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    """Returns the annotations of single things with a box and no mask, by image."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for each in annotations:
        _, _, width, height = each["bbox"]
        plain = not (each.get("segmentation") or each.get("iscrowd") or each.get("semantic"))
        if plain and min(width, height) >= _MIN_PX:
            found.setdefault(each["image_id"], []).append(each)
    return found


def _draw(
    model: SamClip, folder: Path, name: str, entries: list[dict[str, Any]], *, min_iou: float
) -> Counter[str]:
    """Gives the annotations of one image their masks."""
    try:
        image = decode_image((folder / IMAGES_FOLDER / name).read_bytes())
    except (OSError, BrokenRecord):
        return Counter(broken=1)
    corners = np.array([each["bbox"] for each in entries], np.float32)
    corners[:, 2:] += corners[:, :2]
    limits = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
    masks, good = draw_boxed(model, image, corners.clip(0, limits), min_iou=min_iou)
    for entry, mask, kept in zip(entries, masks, good.tolist(), strict=True):
        if kept:
            entry |= {"segmentation": mask_to_rle(mask), "area": int(mask.sum())}
            entry[MADE] = model.manifest.name
    return Counter(kept=int(good.sum()), refused=int((~good).sum()))


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the IoU of masks [K,H,W] with masks [K,H,W]: [K]."""
    shared, either = (x.sum(axis=(1, 2)) for x in (one & other, one | other))
    return np.asarray(shared / np.maximum(either, 1))


def _box_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the IoU of boxes [K,4] with boxes [K,4]: [K]."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = sum(np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (one, other))
    return np.asarray(shared / np.maximum(areas - shared, 1e-6))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
