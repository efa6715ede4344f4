"""CLIP's skill and SAM's, of modules in eager torch, in batches: top-1, and IoU of prompts.

The figures are those that `benchmarks.quality` takes through the public API. A reproduction asks
for them dozens of times, so pictures go in batches here, and a scene's boxes and points together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional as F

from benchmarks.paper.record import Accuracy
from benchmarks.quality.class_embeddings import Embed, embed_classes, rank_pictures
from benchmarks.quality.drawings import Material
from benchmarks.quality.object_prompts import innermost_pixel, iou
from benchmarks.quality.ranking import Rank, measure_classification
from benchmarks.record import PromptIou
from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image import letterbox
from samclip_sdk.modeling.build import SamClipModel
from training.composed.scenes import Scene
from training.teachers.small import SamTeacher

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Shows how far one is in an iterable of known length, under a line of text."""

_BOX, _POINT = (2, 3), (1, -1)  # labels of a prompt's two points, as SAM's predictor gives them


def new_progress() -> Progress:
    """Progress bars on the terminal; the result alone goes to standard output."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def tracker(progress: Progress) -> Track:
    """Tracks with a bar of `progress` for each iterable."""

    def track(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
        return progress.track(items, total=total, description=description)

    return track


def resize(images: Tensor, *, resolution: int) -> Tensor:
    """Resizes square pictures uint8 [B,3,S,S] as the public API does: uint8 [B,3,R,R]."""
    if images.shape[-1] == resolution:
        return images
    pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
    squares = [letterbox(each, resolution=resolution, pad_colour=PAD_COLOUR) for each in pictures]
    return torch.from_numpy(np.concatenate([square for square, _ in squares]))


def student_embedder(student: SamClipModel, *, resolution: int) -> Embed:
    """Embeds pictures with the student's CLIP head, at a resolution.

    Raises:
        ValueError: the student does not run at that resolution.
    """
    student.config.check_resolution(resolution)
    grid = resolution // student.config.image_encoder.patch_size

    def embed(images: Tensor) -> Tensor:
        tokens, _ = student.image_encoder(resize(images, resolution=resolution))
        embeddings: Tensor = student.clip_head(tokens, torch.ones(len(images), grid, grid))[1]
        return embeddings

    return embed


def student_accuracy(
    student: SamClipModel,
    material: Material,
    *,
    resolution: int,
    classes: np.ndarray | None = None,
    name: str,
    track: Track,
) -> Accuracy:
    """Zero-shot classification by the student.

    Args:
        student: in eval mode.
        material: the split, of K nouns.
        resolution: at which it sees the pictures.
        classes: class embeddings [K,E], if they are known already.
        name: for the progress bar.
        track: shows progress.
    """
    if classes is None:
        classes = embed_classes(student.text_encoder, material.nouns)
    embed = student_embedder(student, resolution=resolution)
    return accuracy(rank_pictures(embed, classes=classes), material, name=name, track=track)


def accuracy(rank: Rank, material: Material, *, name: str, track: Track) -> Accuracy:
    """Top-1 and top-5 of a classifier over a split's nouns, on clean and on composed pictures."""
    clean, composed = measure_classification(
        rank,
        material,
        who="model",
        track=lambda pictures, total: track(pictures, total, f"{name}: pictures"),
    )
    return Accuracy.of(clean, composed)


def prompt_ious(
    sam: SamTeacher,
    material: Material,
    *,
    resolution: int,
    who: Literal["model", "sam_teacher"],
    name: str,
    track: Track,
) -> PromptIou:
    """Mean IoU of one box and of one point for each object of a split's scenes.

    Args:
        sam: SAM's parts, of whatever model.
        material: the split.
        resolution: at which they see the scenes.
        who: they are of.
        name: for the progress bar.
        track: shows progress.
    """
    found: dict[str, list[float]] = {key: [] for key in ("box", "box_best", "point", "point_best")}
    for scene, _ in track(material.scenes(), material.settings.scenes, f"{name}: scenes"):
        for key, value in _scene_ious(sam, scene, resolution=resolution):
            found[key].append(value)
    means = {key: float(np.mean(values)) for key, values in found.items()}
    return PromptIou(who=who, split=material.split, objects=len(found["box"]), **means)


def _scene_ious(sam: SamTeacher, scene: Scene, *, resolution: int) -> Iterator[tuple[str, float]]:
    """The IoUs of a scene's objects, each by the name of what was asked."""
    coords, labels = scene_prompts(scene)
    scale = resolution / len(scene.image)
    image = torch.from_numpy(scene.image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        embeddings = sam.encode(resize(image, resolution=resolution))
        logits, scores = sam.decode(embeddings, coords * scale, labels, None)
        masks = upscale(logits, resolution=resolution, size_px=len(scene.image)) > 0
    best = 1 + scores[:, 1:].argmax(dim=1)
    for row, truth in enumerate(np.concatenate([scene.masks, scene.masks])):
        key = "box" if row < len(scene.masks) else "point"
        yield key, iou(masks[row, 0].numpy(), truth)
        yield f"{key}_best", iou(masks[row, best[row]].numpy(), truth)


def scene_prompts(scene: Scene) -> tuple[Tensor, Tensor]:
    """Asks for each of N objects by its box, then for each by its innermost pixel.

    Returns:
        float [2N,2,2] in pixels of the scene, and labels int [2N,2].
    """
    count = len(scene.masks)
    boxes = scene.boxes.reshape(count, 2, 2)
    points = np.zeros((count, 2, 2), np.float32)
    points[:, 0] = [innermost_pixel(mask) for mask in scene.masks]
    kinds = np.repeat(np.array([_BOX, _POINT], np.int32), count, axis=0)
    return torch.from_numpy(np.concatenate([boxes, points])), torch.from_numpy(kinds)


def upscale(logits: Tensor, *, resolution: int, size_px: int) -> Tensor:
    """SAM's two steps for a square picture: logits [K,T,h,h] to R x R, then to S x S."""
    for side in (resolution, size_px):
        if logits.shape[-1] != side:
            logits = F.interpolate(logits, size=(side, side), mode="bilinear")
    return logits
