"""The repository's photographs, as often as needed, none of them like another."""

from __future__ import annotations

import io
import itertools

import numpy as np
from PIL import Image, ImageOps

from benchmarks.pages import ROOT
from samclip_sdk.picture.image import load_image

LONG_SIDE_PX = 1024


def distinct_pictures(count: int) -> list[bytes]:
    """JPEG files, each with other pixels."""
    files = itertools.cycle(sorted((ROOT / "examples" / "images").glob("*.jpg")))
    found = []
    for number, path in zip(range(count), files, strict=False):
        image = ImageOps.contain(Image.fromarray(load_image(path)), (LONG_SIDE_PX, LONG_SIDE_PX))
        pixels = np.array(image)
        pixels[:8, :8] = np.random.default_rng(number).integers(0, 256, (8, 8, 3))
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, format="JPEG", quality=90)
        found.append(content.getvalue())
    return found
