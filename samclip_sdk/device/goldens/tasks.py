"""The goldens of whole tasks: images, the questions about them, and the answers of eager torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from samclip_sdk.device.goldens.task_metrics import TaskAnswers, TaskImage
from samclip_sdk.image.loading import load_image
from samclip_sdk.system.records import Record, RelativePath

Box = tuple[float, float, float, float]


class GoldenImage(Record):
    """An image of the bundle, boxes in its pixels, and the labels for text-to-mask.

    The masks are bits of all boxes or labels in one row: `numpy.packbits` of bool [K,H,W].
    """

    path: RelativePath
    boxes: tuple[Box, ...] = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=1)
    box_masks: str
    text_masks: str


class GoldenTasks(Record):
    """The questions and answers of whole tasks.

    `embeddings` [V,E] and `logits` [V,C] are of every image, each followed by its boxes.
    """

    vocabulary: tuple[str, ...] = Field(min_length=2)
    pictures: tuple[GoldenImage, ...] = Field(min_length=1)
    embeddings: str
    logits: str

    def tensors(self) -> Iterator[str]:
        """The keys of all tensors that the record refers to."""
        yield from (self.embeddings, self.logits)
        for image in self.pictures:
            yield from (image.box_masks, image.text_masks)

    def first(self, count: int) -> GoldenTasks:
        """The questions about the first images only; their answers are the first, too."""
        return GoldenTasks(
            vocabulary=self.vocabulary,
            pictures=self.pictures[:count],
            embeddings=self.embeddings,
            logits=self.logits,
        )

    def questions(self, root: Path) -> tuple[TaskImage, ...]:
        """Reads the images of the bundle at `root`, whose files are verified already."""
        return tuple(
            TaskImage(
                image=load_image(root / each.path),
                boxes=np.array(each.boxes, dtype=np.float32),
                labels=each.labels,
            )
            for each in self.pictures
        )

    def answers(
        self, images: tuple[TaskImage, ...], *, tensors: Mapping[str, NDArray[np.generic]]
    ) -> TaskAnswers:
        """The reference's answers about `images`."""
        pairs = list(zip(self.pictures, images, strict=True))
        views = sum(1 + len(golden.boxes) for golden in self.pictures)
        return TaskAnswers(
            embeddings=tensors[self.embeddings][:views].astype(np.float32),
            logits=tensors[self.logits][:views].astype(np.float32),
            box_masks=tuple(
                unpack_masks(
                    tensors[golden.box_masks], count=len(asked.boxes), size=asked.image.shape[:2]
                )
                for golden, asked in pairs
            ),
            text_masks=tuple(
                unpack_masks(
                    tensors[golden.text_masks], count=len(asked.labels), size=asked.image.shape[:2]
                )
                for golden, asked in pairs
            ),
        )


def unpack_masks(
    bits: NDArray[np.generic], *, count: int, size: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Unpacks K masks bool [K,H,W] of `size` (H, W) from the bits of all masks in one row."""
    flat = np.unpackbits(bits.astype(np.uint8), count=count * math.prod(size))
    return flat.reshape(count, *size).astype(np.bool_)
