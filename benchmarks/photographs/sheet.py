"""Photographs with the masks that a model found for their own names, on one sheet, to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.photographs.naming import right_names
from samclip_sdk import SamClip
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.results.overlay import draw_overlay
from training.real.photograph_questions import read_photograph
from training.real.photographs import Photographs

PICTURES = 24

_COLUMNS, _CELL_PX, _LINE_PX = 6, 320, 20
_MOST_NAMES = 6
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def write_sheet(path: Path, model: SamClip, photographs: Photographs, *, seed: int) -> None:
    """Asks pictures of all sets for their own names, and writes what was found as PNG.

    Below each picture stand its set, then the names that were found, then those that were missed.

    Raises:
        BrokenRecord: a picture cannot be read.
        StorageError: the file cannot be written.
    """
    cells = [_draw(model, photographs, picture) for picture in draw_evenly(photographs, seed=seed)]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % _COLUMNS)
    rows = [np.hstack(cells[start : start + _COLUMNS]) for start in range(0, len(cells), _COLUMNS)]
    with atomic_file(path) as file:
        Image.fromarray(np.vstack(rows)).save(file, "png")


def draw_evenly(photographs: Photographs, *, seed: int) -> list[int]:
    """Draws `PICTURES` pictures that show something with a name: one of each set, then another."""
    rng = np.random.default_rng(seed)
    waiting: dict[int, list[int]] = {}
    for picture in rng.permutation(len(photographs)).tolist():
        if right_names(photographs, picture):
            waiting.setdefault(int(photographs.owners[picture]), []).append(picture)
    chosen: list[int] = []
    while waiting and len(chosen) < PICTURES:
        for owner in rng.permutation(sorted(waiting)).tolist():
            chosen.append(waiting[owner].pop())
            if not waiting[owner]:
                del waiting[owner]
    return chosen[:PICTURES]


def _draw(model: SamClip, photographs: Photographs, picture: int) -> np.ndarray:
    image = read_photograph(photographs, picture)
    names = sorted(right_names(photographs, picture))[:_MOST_NAMES]
    answer = model.segment_text(image, names)
    found = answer.present_index.tolist()
    drawn = draw_overlay(
        image,
        masks=[answer.masks[place] for place in found],
        captions=[names[place] for place in found],
        colours=found,
    )
    missed = ", ".join(name for place, name in enumerate(names) if place not in found)
    shown = ", ".join(names[place] for place in found)
    lines = [photographs[picture].found.name, f"found: {shown}", f"missed: {missed}"]
    return np.vstack([_fit(drawn), *_lines(lines)])


def _fit(image: np.ndarray) -> np.ndarray:
    """A picture in the middle of a white square."""
    scale = _CELL_PX / max(image.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cell = np.full((_CELL_PX, _CELL_PX, 3), _WHITE, np.uint8)
    top, left = ((_CELL_PX - side) // 2 for side in small.shape[:2])
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    return cell


def _lines(texts: list[str]) -> Iterator[np.ndarray]:
    for text in texts:
        line = np.full((_LINE_PX, _CELL_PX, 3), _WHITE, np.uint8)
        place = (4, _LINE_PX - 6)
        plain = text.encode("ascii", "replace").decode()[:52]
        yield cv2.putText(
            line, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, _BLACK, 1, cv2.LINE_AA
        )
