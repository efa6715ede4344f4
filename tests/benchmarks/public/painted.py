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

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
YELLOW, CYAN, MAGENTA = (200, 200, 0), (0, 200, 200), (200, 0, 200)
BLACK = (0, 0, 0)
COLOURS = {
    "red": RED,
    "green": GREEN,
    "blue": BLUE,
    "yellow": YELLOW,
    "cyan": CYAN,
    "magenta": MAGENTA,
}
CELLS = 4


class Painted:
    """What `SamClip` promises, as far as the protocols ask.

    A picture's embedding is its mean colour; a text's is the colour of the first label in it, and
    lies opposite to all of them without one. A label is where its colour is, in `CELLS` x `CELLS`
    patches for the CLIP head alone, to the pixel for both heads. A box is its own mask, but only
    if the surest of three masks comes back with it.
    """

    def __init__(self, colours: Mapping[str, tuple[int, int, int]] = COLOURS) -> None:
        self._colours = colours
        self.asked: list[dict[str, Any]] = []
        self.manifest = SimpleNamespace(
            tasks=SimpleNamespace(
                classification=SimpleNamespace(resolution=32, crop="center_crop"),
                segmentation=SimpleNamespace(resolution=16, crop="letterbox"),
            ),
            text=SimpleNamespace(templates=("a photo of a {}.", "the {}")),
            calibration=SimpleNamespace(presence_threshold=0.5, head_only_threshold=0.6),
        )

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._text(text) for text in texts])

    embed_labels = embed_text

    def _text(self, text: str) -> NDArray[np.float32]:
        for label, colour in self._colours.items():
            if label in text:
                return unit(colour)
        return unit((-1, -1, -1))

    def embed_image(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return unit(image.reshape(-1, 3).mean(axis=0))

    def encode_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

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
        if not refine:
            step = len(pixels) // CELLS
            assert pixels.shape == (16, 16, 3)
            cells = pixels[step // 2 :: step, step // 2 :: step]
            maps = [np.where(self._shown(cells, label), 5, -5) for label in labels]
            asked = SimpleNamespace(score_maps=np.stack(maps).astype(np.float32))
            return SimpleNamespace(asked=asked)
        # Where nothing is shown, the first label is the likeliest, though below the threshold.
        forced = mask_threshold is not None and mask_threshold < -5
        class_map = np.full(pixels.shape[:2], 0 if forced else -1, np.int16)
        for index, label in enumerate(labels):
            class_map[self._shown(pixels, label)] = index
        return SimpleNamespace(class_map=class_map)

    def _shown(self, pixels: NDArray[np.uint8], label: str) -> NDArray[np.bool_]:
        return (pixels == self._colours.get(label, (1, 2, 3))).all(axis=-1)

    def segment(
        self,
        image: NDArray[np.uint8],
        *,
        boxes: NDArray[np.float32],
        multimask_output: bool,
        mask_input: NDArray[np.float32] | None = None,
    ) -> Any:
        masks = np.zeros((len(boxes), *image.shape[:2]), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        index = np.arange(len(boxes))
        if multimask_output:
            assert mask_input is None
            marks = 10 * np.repeat(index, 3) + np.tile(np.arange(3), len(boxes))
            return SimpleNamespace(
                masks=~np.repeat(masks, 3, axis=0),
                scores=np.tile(np.array([0.2, 0.9, 0.4], np.float32), len(boxes)),
                low_res_masks=np.full((3 * len(boxes), 2, 2), 1, np.float32) * marks[:, None, None],
                prompt_index=np.repeat(index, 3),
            )
        assert mask_input is not None
        assert mask_input[:, 0, 0].tolist() == (10 * index + 1).tolist()
        return SimpleNamespace(masks=masks, prompt_index=index)


def unit(colour: Any) -> NDArray[np.float32]:
    vector = np.array(colour, np.float32)
    return vector / np.linalg.norm(vector)


def paint(path: Path, *colours: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Path:
    """Writes a picture of one colour, or of four, by quarters in reading order.

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
