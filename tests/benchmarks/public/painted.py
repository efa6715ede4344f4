"""A model that sees by colour: each label has one, so that every figure is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RED, GREEN, BLUE = (220, 0, 0), (0, 220, 0), (0, 0, 220)
YELLOW, CYAN, MAGENTA = (220, 220, 0), (0, 220, 220), (220, 0, 220)
GREY, BLACK = (70, 70, 70), (0, 0, 0)
COLOURS = {
    "red": RED,
    "green": GREEN,
    "blue": BLUE,
    "yellow": YELLOW,
    "cyan": CYAN,
    "magenta": MAGENTA,
    "grey": GREY,
}
CELLS = 4


class Painted:
    """What `SamClip` promises, as far as the benchmarks ask: a label is where its colour is.

    An image's embedding is its mean colour; a text's is the colour of the first label in it, and
    lies opposite to all of them without one. The CLIP head alone sees `CELLS` x `CELLS` patches,
    and its masks fill the image. Presence is the colour's share of the image; of grey it is
    one. A box is its own mask, a point the whole image; of three masks the second is trusted
    most, and the others are wrong.
    """

    source = None

    def __init__(
        self,
        colours: Mapping[str, tuple[int, int, int]] = COLOURS,
        *,
        presence_threshold: float = 0.25,
        min_score: float | None = None,
    ) -> None:
        self._colours = colours
        self.asked: list[dict[str, Any]] = []
        self.encoded = self.refined = 0
        objects = None if min_score is None else SimpleNamespace(min_score=min_score)
        self.manifest = SimpleNamespace(
            tasks=SimpleNamespace(
                classification=SimpleNamespace(resolution=32, crop="center_crop"),
                segmentation=SimpleNamespace(resolution=16, crop="letterbox"),
            ),
            text=SimpleNamespace(templates=("a photo of a {}.", "the {}")),
            calibration=SimpleNamespace(
                presence_threshold=presence_threshold, head_only_threshold=0.6, objects=objects
            ),
        )

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = ([own for label, own in self._colours.items() if label in text] for text in texts)
        return np.stack([unit(own[0] if own else (-1, -1, -1)) for own in found])

    embed_labels = embed_text

    def embed_image(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return unit(image.reshape(-1, 3).mean(axis=0))

    def encode_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.encoded += 1
        return image

    def classify(self, image: NDArray[np.uint8], labels: Sequence[str]) -> Any:
        shares = [self._mask(image, label).mean() for label in labels]
        return SimpleNamespace(logits=np.array(shares, np.float32))

    def segment_text(
        self,
        image: Any,
        labels: Sequence[str],
        *,
        refine: bool = True,
        threshold: float | None = None,
        mask_threshold: float | None = None,
    ) -> Any:
        pixels = np.asarray(image)
        self.asked.append({"shape": pixels.shape, "labels": list(labels), "threshold": threshold})
        masks = [self._mask(pixels, label) for label in labels]
        shares = [
            1.0 if name == "grey" else mask.mean() for name, mask in zip(labels, masks, strict=True)
        ]
        step = max(1, len(pixels) // CELLS)
        cells = pixels[step // 2 :: step, step // 2 :: step]
        maps = [np.where(self._mask(cells, label), 5, -5) for label in labels]
        # Where nothing is shown, the first label is the likeliest, though below the threshold.
        forced = mask_threshold is not None and mask_threshold < -5
        class_map = np.full(pixels.shape[:2], 0 if forced else -1, np.int16)
        for index, mask in enumerate(masks):
            class_map[mask] = index
        presence = np.array(shares, np.float32)
        return SimpleNamespace(
            masks=masks if refine else [np.ones_like(mask) for mask in masks],
            presence=presence,
            class_map=class_map,
            asked=SimpleNamespace(presence=presence, score_maps=np.array(maps, np.float32)),
        )

    def segment_instances(
        self, image: NDArray[np.uint8], labels: Sequence[str], *, threshold: float, **maximum: float
    ) -> Any:
        masks = {index: self._mask(image, label) for index, label in enumerate(labels)}
        found = {index: mask for index, mask in masks.items() if mask.mean() >= threshold}
        return SimpleNamespace(
            label_index=np.array([*found], int),
            scores=np.array([mask.mean() for mask in found.values()]),
            masks=[*found.values()],
        )

    def segment(
        self,
        image: NDArray[np.uint8],
        *,
        boxes: NDArray[np.float32] | None = None,
        points: NDArray[np.float32] | None = None,
        multimask_output: bool,
        mask_input: NDArray[np.float32] | None = None,
    ) -> Any:
        count = len(points if boxes is None else boxes)
        masks = np.ones((count, *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(
            masks, () if boxes is None else boxes.astype(int), strict=False
        ):
            mask[:] = False
            mask[y0:y1, x0:x1] = True
        if mask_input is not None:  # the surest masks come back
            assert mask_input[:, 0, 0].tolist() == [10 * index + 1 for index in range(count)]
            self.refined += count
        each = np.arange(3 if multimask_output else 1)
        trusted = 1 if multimask_output else 0
        marks = (10 * np.arange(count)[:, None] + each).ravel().astype(np.float32)
        wrong = np.tile(each != trusted, count)[:, None, None]
        return SimpleNamespace(
            masks=np.repeat(masks, len(each), axis=0) ^ wrong,
            scores=np.tile(1.0 / (1 + np.abs(each - trusted)), count),
            low_res_masks=np.ones((len(marks), 2, 2), np.float32) * marks[:, None, None],
            prompt_index=np.repeat(np.arange(count), len(each)),
        )

    def _mask(self, pixels: NDArray[np.uint8], label: str) -> NDArray[np.bool_]:
        return (pixels == self._colours.get(label, (1, 2, 3))).all(axis=-1)


def unit(colour: Any) -> NDArray[np.float32]:
    vector = np.array(colour, np.float32)
    return vector / np.linalg.norm(vector)


def paint(path: Path, *colours: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Path:
    """Writes an image of one colour, or of four, by quarters in reading order.

    Always as PNG, whatever the name: JPEG would change the colours.
    """
    width, height = size
    quarters = colours * 4 if len(colours) == 1 else colours
    pixels = np.zeros((height, width, 3), np.uint8)
    for index, colour in enumerate(quarters):
        row, column = divmod(index, 2)
        rows = slice(row * height // 2, (row + 1) * height // 2)
        pixels[rows, column * width // 2 : (column + 1) * width // 2] = colour
    return write_png(path, Image.fromarray(pixels))


def paint_indices(path: Path, indices: Any, *, palette: bool = False) -> Path:
    """Writes a label map."""
    image = Image.fromarray(np.array(indices, np.uint8))
    if palette:
        image = image.convert("P")
        image.putdata(np.array(indices).ravel().tolist())
    return write_png(path, image)


def write_png(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG")
    return path


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
