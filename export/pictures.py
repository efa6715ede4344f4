"""The pictures of an export: drawn by rule, and photographs.

What is drawn are inputs of the parity gate and of the goldens that need no photograph. Of the
photographs, no training saw those that artifacts are accepted on; others, of training's own, give
int8 its ranges. Nothing is measured against the truth here: only against what eager torch answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from samclip_sdk.device.goldens.task_metrics import TaskPicture
from samclip_sdk.picture.image import load_image

_HELD_OUT = Path(__file__).with_name("photographs")
_CALIBRATION = Path(__file__).with_name("calibration_set")


def held_out_pictures() -> tuple[tuple[TaskPicture, ...], tuple[str, ...]]:
    """The pictures to accept artifacts on, and the vocabulary that they are classified with.

    Each is asked for the masks of what is in it, and of one word that is not.
    """
    index = _index(_HELD_OUT)
    vocabulary = tuple(index["vocabulary"])
    pictures = tuple(
        TaskPicture(
            image=load_image(_HELD_OUT / entry["file"]),
            boxes=np.array(entry["boxes"], dtype=np.float32),
            labels=(*entry["labels"], _absent(number, vocabulary, present=entry["labels"])),
        )
        for number, entry in enumerate(index["pictures"])
    )
    return pictures, vocabulary


def held_out_files() -> dict[str, bytes]:
    """Their files, by the paths that they have in a bundle, in order."""
    return {
        f"golden/held_out/{entry['file']}": (_HELD_OUT / entry["file"]).read_bytes()
        for entry in _index(_HELD_OUT)["pictures"]
    }


def calibration_pictures() -> tuple[tuple[NDArray[np.uint8], ...], tuple[str, ...]]:
    """Pictures uint8 [H,W,3] to take ranges from, and names of what is in them."""
    index = _index(_CALIBRATION)
    pictures = tuple(load_image(_CALIBRATION / entry["file"]) for entry in index["pictures"])
    return pictures, tuple(index["vocabulary"])


def draw_picture(height_px: int, width_px: int, *, seed: int) -> NDArray[np.uint8]:
    """A sky over a meadow with a few discs and boxes.

    Args:
        height_px: rows.
        width_px: columns.
        seed: of places, sizes and colours.

    Returns:
        uint8 [H,W,3], RGB.
    """
    rng = np.random.default_rng(seed)
    top, bottom = np.array([150.0, 195.0, 235.0]), np.array([95.0, 140.0, 70.0])
    blend = np.linspace(0, 1, height_px)[:, None, None]
    ground = np.broadcast_to(top * (1 - blend) + bottom * blend, (height_px, width_px, 3))
    picture = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for index in range(5):
        radius = rng.uniform(0.08, 0.22) * min(height_px, width_px)
        x, y = rng.uniform(0.15, 0.85, size=2) * (width_px, height_px)
        colour = tuple(int(level) for level in rng.integers(20, 236, size=3))
        shape = draw.ellipse if index % 2 else draw.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=colour)
    pixels: NDArray[np.uint8] = np.array(picture)
    return pixels


def _index(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return content


def _absent(number: int, vocabulary: tuple[str, ...], *, present: list[str]) -> str:
    """A word that is not in the picture, another one for each picture."""
    others = [word for word in vocabulary if word not in present]
    return others[7 * number % len(others)]
