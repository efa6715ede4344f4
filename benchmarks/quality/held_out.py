"""The pictures that exported artifacts are compared on: scenes of drawings that no training saw."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quality.drawings import load_drawings
from benchmarks.quality.record import Settings
from samclip_sdk.atomic_file import atomic_file

_QUALITY = 90
_NARROW = 0.75  # of the long side; a square picture would hide a swapped axis and the padding
_MIN_SIDE_PX = 12


def write_held_out(folder: Path, *, nouns: int, pictures: int, seed: int) -> None:
    """Writes pictures as JPEG, and `index.json` with the boxes and nouns of what is in them.

    Pictures are the tall, then the wide part of square scenes. The vocabulary is all nouns that
    are in any of them.

    Raises:
        OSError: the corpus cannot be read.
        StorageError: a file cannot be written.
    """
    settings = Settings(nouns=nouns, pictures=1, scenes=pictures, seed=seed)
    (drawings, *_), _ = load_drawings(settings, openmoji=None)
    short, entries, vocabulary = round(_NARROW * settings.size_px), [], set[str]()
    for index, (scene, _) in enumerate(drawings.scenes()):
        width, height = (settings.size_px, short) if index % 2 else (short, settings.size_px)
        boxes = np.minimum(scene.boxes, [width, height, width, height])
        seen = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= _MIN_SIDE_PX
        labels = list(dict.fromkeys(drawings.nouns[label] for label in scene.labels[seen]))
        encoded = io.BytesIO()
        Image.fromarray(scene.image[:height, :width]).save(encoded, "JPEG", quality=_QUALITY)
        name = f"{index:02}.jpg"
        with atomic_file(folder / name) as file:
            file.write(encoded.getvalue())
        boxes_seen = boxes[seen].astype(int).tolist()
        entries.append({"file": name, "boxes": boxes_seen, "labels": labels})
        vocabulary.update(labels)
    content = {"vocabulary": sorted(vocabulary), "pictures": entries}
    with atomic_file(folder / "index.json") as file:
        file.write(f"{json.dumps(content)}\n".encode())
