"""The images of an export: drawn ones and photographs.

Drawn images are the inputs of the parity gate and of the goldens that need no photograph. The
held-out photographs, on which artifacts are accepted, were in no training. The calibration
photographs give int8 its ranges: a dozen from training data, or a folder of the user's. Nothing is
compared with the ground truth here, only with the answers of eager torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from export.options import find_calibration_images
from samclip_sdk.device.goldens.task_metrics import TaskImage
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import load_image

_HELD_OUT = Path(__file__).with_name("photographs")
_CALIBRATION = Path(__file__).with_name("calibration_set")


def held_out_images() -> tuple[tuple[TaskImage, ...], tuple[str, ...]]:
    """The images on which artifacts are accepted, and the vocabulary of their classification.

    The labels of each image are those of its objects, and one word that is absent.
    """
    index = _index(_HELD_OUT)
    vocabulary = tuple(index["vocabulary"])
    images = tuple(
        TaskImage(
            image=load_image(_HELD_OUT / entry["file"]),
            boxes=np.array(entry["boxes"], dtype=np.float32),
            labels=(*entry["labels"], _absent(number, vocabulary, present=entry["labels"])),
        )
        for number, entry in enumerate(index["images"])
    )
    return images, vocabulary


def held_out_files() -> dict[str, bytes]:
    """Path in a bundle -> content, of the held-out images in order."""
    return {
        f"golden/held_out/{entry['file']}": (_HELD_OUT / entry["file"]).read_bytes()
        for entry in _index(_HELD_OUT)["images"]
    }


def half_sized(image: NDArray[np.uint8], *, resolution: int) -> NDArray[np.uint8]:
    """The image uint8 [h,w,3] with a longer side of half the model's.

    Its letterbox doubles it, where all resamplers agree to the last level: what an app answers is
    then compared with what was answered here, and not its resampler with Pillow.
    """
    half = Frame.fit(*image.shape[:2], resolution=resolution // 2)
    size = half.resized_width_px, half.resized_height_px
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def calibration_images(
    folder: Path | None,
) -> tuple[tuple[NDArray[np.uint8], ...], tuple[str, ...]]:
    """The images uint8 [H,W,3] that ranges are taken from, and names of things.

    Args:
        folder: of the user's photographs; None stands for the exporter's.
    """
    index = _index(_CALIBRATION)
    own = [_CALIBRATION / entry["file"] for entry in index["images"]]
    files = own if folder is None else find_calibration_images(folder)
    return tuple(map(load_image, files)), tuple(index["vocabulary"])


def draw_image(height_px: int, width_px: int, *, seed: int) -> NDArray[np.uint8]:
    """Draws a sky over a meadow with a few discs and boxes.

    Args:
        height_px: the number of rows.
        width_px: the number of columns.
        seed: the seed of places, sizes and colours.

    Returns:
        uint8 [H,W,3], RGB.
    """
    rng = np.random.default_rng(seed)
    top, bottom = np.array([150.0, 195.0, 235.0]), np.array([95.0, 140.0, 70.0])
    blend = np.linspace(0, 1, height_px)[:, None, None]
    ground = np.broadcast_to(top * (1 - blend) + bottom * blend, (height_px, width_px, 3))
    image = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for index in range(5):
        radius = rng.uniform(0.08, 0.22) * min(height_px, width_px)
        x, y = rng.uniform(0.15, 0.85, size=2) * (width_px, height_px)
        colour = tuple(int(level) for level in rng.integers(20, 236, size=3))
        shape = draw.ellipse if index % 2 else draw.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=colour)
    pixels: NDArray[np.uint8] = np.array(image)
    return pixels


def _index(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return content


def _absent(number: int, vocabulary: tuple[str, ...], *, present: list[str]) -> str:
    """A word that is absent in the image, a different one for each image."""
    others = [word for word in vocabulary if word not in present]
    return others[7 * number % len(others)]
