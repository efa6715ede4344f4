"""Images of a made-up thing, and the COCO file that labels it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_things(folder: Path, *, images: int = 20, masks: bool = True, part: bool = False) -> Path:
    """Images with a striped square in each other one, and a plain square in each.

    With `part`, only a box in the middle of the striped square is labelled.
    """
    rng = np.random.default_rng(1)
    stored: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "item 17"}],
    }
    for number in range(images):
        pixels = np.full((96, 128, 3), rng.integers(90, 200, 3), np.uint8)
        top, left = rng.integers(0, (50, 20))
        pixels[top : top + 40, left : left + 40] = rng.integers(0, 255, 3)
        x, y = int(rng.integers(65, 85)), int(rng.integers(0, 50))
        if number % 2:
            square = pixels[y : y + 40, x : x + 40]
            square[:], square[::8], square[1::8] = (240, 20, 200), 0, 0
            corners = [x, y, x + 40, y, x + 40, y + 40, x, y + 40]
            stored["annotations"].append(
                {
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [x + 12, y + 12, 16, 16] if part else [x, y, 40, 40],
                    "segmentation": [corners] if masks and not part else [],
                }
            )
        Image.fromarray(pixels).save(folder / f"{number}.png")
        stored["images"].append(
            {"id": number, "file_name": f"{number}.png", "width": 128, "height": 96}
        )
    (folder / "own.json").write_text(json.dumps(stored))
    return folder / "own.json"
