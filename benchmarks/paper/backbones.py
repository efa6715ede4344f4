"""Three frozen backbones as feature maps: the SAM teacher's, the CLIP teacher's, the student's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.paper.inputs import Inputs
from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image import letterbox
from samclip_sdk.modeling.image_encoder import ImageEncoder
from training.teachers.small import SmallClip

_BATCH = 16  # pictures

Encode = Callable[[Tensor], Tensor]
"""Pictures, uint8 [B,3,R,R], to a feature map [B,D,g,g]."""


@dataclass(frozen=True)
class Backbone:
    """A frozen image encoder, and the resolutions at which features and maps are probed."""

    name: Literal["sam_teacher", "clip_teacher", "student"]
    encode: Encode
    classification_px: int
    segmentation_px: int

    @torch.inference_mode()
    def pooled(self, images: Iterable[np.ndarray]) -> Tensor:
        """The mean and the maximum over the map of each picture, uint8 [S,S,3]: [N,2D]."""
        maps = torch.cat(list(self._maps(images, resolution=self.classification_px)))
        return torch.cat([maps.mean(dim=(-2, -1)), maps.amax(dim=(-2, -1))], dim=1)

    @torch.inference_mode()
    def patches(self, images: Iterable[np.ndarray]) -> Tensor:
        """The map of each picture, uint8 [S,S,3], channels last: [N,g,g,D]."""
        maps = self._maps(images, resolution=self.segmentation_px)
        return torch.cat([each.permute(0, 2, 3, 1) for each in maps])

    def _maps(self, images: Iterable[np.ndarray], *, resolution: int) -> Iterator[Tensor]:
        source = iter(images)
        while batch := list(islice(source, _BATCH)):
            # As the public API resizes them; a square one has no padding.
            sized = (
                letterbox(each, resolution=resolution, pad_colour=PAD_COLOUR) for each in batch
            )
            pictures = np.concatenate([square for square, _ in sized])
            yield self.encode(torch.from_numpy(pictures)).float()


def open_backbones(inputs: Inputs) -> tuple[Backbone, ...]:
    """The three, each at resolutions that it was trained at.

    CLIP's segmentation is the exception: at its own resolution its map would be a few cells wide,
    so it sees scenes as large as the others do.
    """
    large = inputs.model.segmentation_resolution
    student = inputs.student("stage3").image_encoder
    return (
        Backbone("sam_teacher", tokens_of(inputs.pair.sam.image_encoder), large, large),
        Backbone("clip_teacher", tower_of(inputs.pair.clip), inputs.pair.clip.resolution, large),
        Backbone("student", tokens_of(student), large, large),
    )


def tokens_of(encoder: ImageEncoder) -> Encode:
    """The tokens before the neck, which the CLIP head reads too."""
    return lambda images: encoder(images)[0]


def tower_of(clip: SmallClip) -> Encode:
    """The last map of the image tower, before it is pooled."""
    return lambda images: clip.visual.forward_features(clip.normalise(images))


def label_shares(class_map: np.ndarray, *, classes: int, grid: int) -> Tensor:
    """The share of each class in each cell of a class map, int [S,S]: float [g,g,C]."""
    size = len(class_map)
    along = np.arange(size) * grid // size
    cells = along[:, None] * grid + along
    pairs = cells.ravel() * classes + class_map.ravel()
    counts = np.bincount(pairs, minlength=grid * grid * classes)
    counts = counts.reshape(grid, grid, classes).astype(np.float32)
    return torch.from_numpy(counts / counts.sum(axis=-1, keepdims=True))
