"""The pictures that exported artifacts are compared on: scenes of drawings that no training saw."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quality.drawings import Drawings, load_drawings
from benchmarks.quality.record import HELDOUT, Settings
from samclip_sdk.atomic_file import atomic_file
from training.composed.scenes import Scene

_QUALITY = 90
_NARROW = 0.75  # of the long side; a square picture would hide a swapped axis and the padding
_MIN_SIDE_PX = 12


def write_held_out(folder: Path, *, nouns: int, pictures: int, seed: int) -> None:
    """Writes pictures as JPEG, and `index.json` with the boxes and nouns of what is in them.

    The vocabulary is all nouns that are in any of them.

    Args:
        folder: where they go; it must exist.
        nouns: how many the model was taught.
        pictures: how many.
        seed: of the scenes.

    Raises:
        OSError: the corpus cannot be read.
        StorageError: a file cannot be written.
    """
    settings = Settings(nouns=nouns, pictures=1, scenes=pictures, seed=seed)
    drawings = next(
        each for each in load_drawings(settings, openmoji=None)[0] if each.split == HELDOUT
    )
    entries: list[dict[str, object]] = []
    vocabulary: set[str] = set()
    for index, (scene, _) in enumerate(drawings.scenes()):
        name = f"{index:02}.jpg"
        image, boxes, labels = _cut(scene, drawings=drawings, wide=bool(index % 2))
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "JPEG", quality=_QUALITY)
        with atomic_file(folder / name) as file:
            file.write(encoded.getvalue())
        entries.append({"file": name, "boxes": boxes.tolist(), "labels": labels})
        vocabulary.update(labels)
    content = {"vocabulary": sorted(vocabulary), "pictures": entries}
    with atomic_file(folder / "index.json") as file:
        file.write(f"{json.dumps(content)}\n".encode())


def _cut(
    scene: Scene, *, drawings: Drawings, wide: bool
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The wide or tall part of a square scene, and the boxes and nouns of what is still in it."""
    side = len(scene.image)
    short = round(_NARROW * side)
    height, width = (short, side) if wide else (side, short)
    boxes = np.minimum(scene.boxes, [width, height, width, height])
    seen = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= _MIN_SIDE_PX
    names = dict.fromkeys(drawings.nouns[label] for label in scene.labels[seen])
    return scene.image[:height, :width], boxes[seen].astype(int), list(names)
