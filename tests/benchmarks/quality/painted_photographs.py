"""Photographs drawn by hand, for a model that sees their colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.benchmarks.public.painted import BLUE, GREEN, GREY, RED
from tests.training.photograph_files import HEIGHT, WIDTH, annotation, encode, rectangle, write_set

COLOURS = {"red": RED, "green": GREEN, "blue": BLUE, "grey": GREY}
VAL = {"split": "val"}
LEFT, RIGHT = rectangle(0, 0, 64, 96), rectangle(64, 0, 128, 96)
LARGE, MIDDLE = rectangle(0, 0, 64, 32), rectangle(0, 40, 24, 64)  # 17 % and 5 % of an image
SMALL, DUST = rectangle(80, 0, 90, 10), rectangle(120, 90, 125, 95)  # .8 % and .2 %


def painted(**masks: np.ndarray) -> bytes:
    """A white image with what is of each colour."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for name, mask in masks.items():
        pixels[mask] = COLOURS[name]
    return encode(pixels)


def write_rooms(folder: Path) -> None:
    """A complete set: an image that is labelled as it is painted, and a red one named blue."""
    both = [annotation(1, LEFT), annotation(2, RIGHT)]
    images = [
        (painted(red=LEFT, green=RIGHT), both, VAL),
        (painted(red=LEFT), [annotation(3, LEFT)], VAL),
    ]
    write_set(folder, images, categories=tuple(COLOURS), info={"complete": True})
