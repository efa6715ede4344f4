"""Photographs drawn by hand, and a model that sees through their colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.training.photograph_files import HEIGHT, WIDTH, annotation, encode, rectangle, write_set

COLOURS = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220), "grey": (70, 70, 70)}
VAL = {"split": "val"}
LEFT, RIGHT = rectangle(0, 0, 64, 96), rectangle(64, 0, 128, 96)
LARGE, MIDDLE = rectangle(0, 0, 64, 32), rectangle(0, 40, 24, 64)  # 17 % and 5 % of a picture
SMALL, DUST = rectangle(80, 0, 90, 10), rectangle(120, 90, 125, 95)  # .8 % and .2 %


class FakeSamClip:
    """Boxes are masks, points the whole picture; a text finds what is its colour.

    Both heads find a colour's pixels, the CLIP head alone says that everything is everywhere.
    Presence is the colour's share of the picture; of grey it is one.
    """

    source = None

    def __init__(self, *, presence_threshold: float = 0.25, min_score: float | None = None) -> None:
        objects = None if min_score is None else SimpleNamespace(min_score=min_score)
        self.manifest = SimpleNamespace(
            calibration=SimpleNamespace(presence_threshold=presence_threshold, objects=objects)
        )
        self.encoded = 0

    def encode_image(self, source: np.ndarray) -> np.ndarray:
        self.encoded += 1
        return source

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        found = np.array([COLOURS[text] for text in texts], np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def classify(self, image: np.ndarray, labels: Sequence[str]) -> Any:
        shares = [self._mask(image, label).mean() for label in labels]
        return SimpleNamespace(logits=np.array(shares, np.float32))

    def segment(
        self,
        image: np.ndarray,
        *,
        multimask_output: bool,
        boxes: np.ndarray | None = None,
        points: np.ndarray | None = None,
    ) -> Any:
        count = len(points if boxes is None else boxes)
        masks = np.ones((count, *image.shape[:2]), bool)
        if boxes is not None:
            for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
                mask[:] = False
                mask[y0:y1, x0:x1] = True
        answers = 3 if multimask_output else 1
        index = np.repeat(np.arange(count), answers)
        scores = np.tile(np.arange(answers), count)
        # Of three, the last is trusted most; the others are wrong.
        right = np.repeat(masks, answers, axis=0) ^ (scores < answers - 1)[:, None, None]
        return SimpleNamespace(masks=right, scores=scores, prompt_index=index)

    def segment_text(
        self, image: np.ndarray, labels: Sequence[str], *, threshold: float, refine: bool
    ) -> Any:
        masks = [self._mask(image, label) for label in labels]
        presence = [
            1.0 if label == "grey" else mask.mean()
            for label, mask in zip(labels, masks, strict=True)
        ]
        whole = [np.ones(image.shape[:2], bool)] * len(labels)
        told = np.array(presence, np.float32)
        return SimpleNamespace(
            masks=masks if refine else whole, presence=told, asked=SimpleNamespace(presence=told)
        )

    def segment_instances(
        self,
        image: np.ndarray,
        labels: Sequence[str],
        *,
        threshold: float,
        max_instances: int,
        min_score: float,
    ) -> Any:
        masks = {place: self._mask(image, label) for place, label in enumerate(labels)}
        found = {place: mask for place, mask in masks.items() if mask.mean() >= threshold}
        return SimpleNamespace(
            label_index=np.array([*found], int),
            scores=np.array([mask.mean() for mask in found.values()]),
            masks=[*found.values()],
        )

    def _mask(self, image: np.ndarray, label: str) -> np.ndarray:
        return (image == COLOURS.get(label, (1, 1, 1))).all(axis=-1)


def painted(**masks: np.ndarray) -> bytes:
    """A white picture with what is of each colour."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for name, mask in masks.items():
        pixels[mask] = COLOURS[name]
    return encode(pixels)


def write_rooms(folder: Path) -> None:
    """A complete set: a picture that is labelled as it is painted, and a red one named blue."""
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    pictures = [
        (painted(red=LEFT, green=RIGHT), both, VAL),
        (painted(red=LEFT), [annotation(3, LEFT)], VAL),
    ]
    write_set(folder, pictures, categories=tuple(COLOURS), info={"complete": True})
