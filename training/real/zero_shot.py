"""Labelled images of an ImageNet-style folder, to watch zero-shot accuracy while training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from open_clip import IMAGENET_CLASSNAMES
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import letterbox
from samclip_sdk.image.loading import load_image
from training.batches import PATCH_PX, Batch
from training.errors import TrainingError


class LabelledImages(Dataset[Batch]):
    """`images` uint8 [B,3,S,S], letterboxed; `token_mask` float32 [B,g,g]; `nouns` bool [B,N].

    Batches are drawn evenly from the folder, whose classes are its sub-folders. Training never
    sees them, and reads no label.

    Args:
        folder: one sub-folder a class. Of a thousand, in sorted order, the names are ImageNet's;
            else they are the sub-folders' own.

    Raises:
        TrainingError: there is no image.
    """

    def __init__(self, folder: Path, *, resolution: int, batch: int) -> None:
        try:
            found = ImageFolder(str(folder))
        except FileNotFoundError as error:
            raise TrainingError(f"{folder} is no folder of classes: {error}") from error
        self.samples = found.samples
        imagenet = len(found.classes) == len(IMAGENET_CLASSNAMES)
        self.classes = list(IMAGENET_CLASSNAMES) if imagenet else found.classes
        self.resolution = resolution
        self.batch = batch

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng(index)
        images, masks, nouns = [], [], torch.zeros(self.batch, len(self.classes), dtype=torch.bool)
        for row, sample in enumerate(rng.integers(len(self.samples), size=self.batch)):
            path, label = self.samples[sample]
            image, frame = letterbox(
                load_image(path), resolution=self.resolution, pad_colour=PAD_COLOUR
            )
            images.append(image)
            masks.append(frame.token_mask(patch_size=PATCH_PX))
            nouns[row, label] = True
        return {
            "images": torch.from_numpy(np.concatenate(images)),
            "token_mask": torch.from_numpy(np.concatenate(masks)),
            "nouns": nouns,
        }
