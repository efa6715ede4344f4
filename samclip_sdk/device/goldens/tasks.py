"""The goldens of whole tasks: pictures, what is asked about them, and what eager torch answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from samclip_sdk.device.goldens.task_metrics import TaskAnswers, TaskPicture
from samclip_sdk.picture.image import load_image
from samclip_sdk.system.records import Record, RelativePath

Box = tuple[float, float, float, float]


class GoldenPicture(Record):
    """A picture of the bundle, the boxes in its pixels, and the labels whose masks are asked for.

    The masks are bits, of all boxes or labels in a row: `numpy.packbits` of bool [K,H,W].
    """

    path: RelativePath
    boxes: tuple[Box, ...] = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=1)
    box_masks: str
    text_masks: str


class GoldenTasks(Record):
    """`embeddings` [V,E] and `logits` [V,C] are of every picture and then of each of its boxes."""

    vocabulary: tuple[str, ...] = Field(min_length=2)
    pictures: tuple[GoldenPicture, ...] = Field(min_length=1)
    embeddings: str
    logits: str

    def tensors(self) -> Iterator[str]:
        """The keys of all tensors that it refers to."""
        yield from (self.embeddings, self.logits)
        for picture in self.pictures:
            yield from (picture.box_masks, picture.text_masks)

    def questions(self, root: Path) -> tuple[TaskPicture, ...]:
        """The pictures of the bundle at `root`, whose files are verified already."""
        return tuple(
            TaskPicture(
                image=load_image(root / each.path),
                boxes=np.array(each.boxes, dtype=np.float32),
                labels=each.labels,
            )
            for each in self.pictures
        )

    def answers(
        self, pictures: tuple[TaskPicture, ...], *, tensors: Mapping[str, NDArray[np.generic]]
    ) -> TaskAnswers:
        """The reference's answers about `pictures`."""
        pairs = list(zip(self.pictures, pictures, strict=True))
        return TaskAnswers(
            embeddings=tensors[self.embeddings].astype(np.float32),
            logits=tensors[self.logits].astype(np.float32),
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
    """Masks bool [K,H,W] of K and (H, W), from the bits of all in a row."""
    flat = np.unpackbits(bits.astype(np.uint8), count=count * math.prod(size))
    return flat.reshape(count, *size).astype(np.bool_)
