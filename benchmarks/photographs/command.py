"""`python -m benchmarks quality --photographs ROOT`, and a sheet of pictures that shows it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.command import Measurement
from benchmarks.photographs.figures import how_taught
from benchmarks.photographs.measure import choose_pictures, measure_photographs
from benchmarks.photographs.naming import of_folder, right_names
from benchmarks.photographs.record import (
    PhotographQuality,
    PhotographSettings,
    Taught,
    draw_curve,
    render,
)
from benchmarks.photographs.two_models import Pipeline, find_pair, tuning_pictures
from benchmarks.quality.behind_api import open_teachers
from benchmarks.report import join_tables
from samclip_sdk import SamClip
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.results.overlay import draw_overlay
from training.data_config import Photographs as SetSettings
from training.real.captioned_pictures import read_labels
from training.real.coco_layout import clean_name
from training.real.photograph_questions import read_photograph
from training.real.photographs import Photographs
from training.text.wordnet import WordNet

PICTURES = 24

_COLUMNS, _CELL_PX, _LINE_PX = 6, 320, 20
_MOST_NAMES = 6
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


def measure_quality_on_photographs(
    model: SamClip,
    measured: Measurement,
    *,
    root: Path,
    held_out: Path | None,
    wordnet: Path,
    folder: Path | None,
    sheet: Path | None,
    teachers: Path | None,
    limit: int | None,
    seed: int,
) -> None:
    """Measures a model on the split "val", writes the record and its curve, and the sheet.

    The sets are in `root`; `held_out` is the list of nouns that training was given, `folder` the
    user's own pictures, a sub-folder a class. SAM and CLIP in a row are RUNS/CONFIG's teachers.
    """
    photographs = Photographs(SetSettings(source="photographs", root=root), split="val")
    taught: dict[str, Taught] = {}
    nouns: tuple[str, ...] | None = None
    if held_out is not None:
        nouns = tuple(map(clean_name, read_labels(held_out)))
        taught = how_taught(photographs.names, held_out=nouns, wordnet=WordNet(wordnet))
    if folder is not None:
        of_folder(folder)  # what it lacks is told now
    pictures = choose_pictures(photographs, limit=limit, seed=seed)
    pipeline = None
    if teachers is not None:
        tuned = SetSettings(source="photographs", root=root, held_out=held_out)
        tuning = tuning_pictures(Photographs(tuned, split="calibration"), seed=seed)
        pipeline = Pipeline(open_teachers(find_pair(teachers)), tuning)
    complete = {each.name for each in photographs.sets if each.complete}
    settings = PhotographSettings(
        sets=tuple(sorted(set(pictures.sets))),
        complete=tuple(sorted(complete.intersection(pictures.sets))),
        limit=limit,
        held_out=None if nouns is None else len(nouns),
        seed=seed,
    )
    if sheet is not None:
        write_sheet(sheet, model, photographs, seed=seed)
    figures = measure_photographs(
        model, pictures, settings=settings, taught=taught, pipeline=pipeline, folder=folder
    )
    record = PhotographQuality(
        **measured.run(model),
        **dict(figures),
        settings=settings,
    )
    if record.curves and not measured.write:  # a published one is on its page
        with atomic_file(measured.place.with_suffix(".svg")) as file:
            file.write(draw_curve(record))
    measured.finish(record, join_tables(render(record)))


def write_sheet(path: Path, model: SamClip, photographs: Photographs, *, seed: int) -> None:
    """Asks pictures of all sets for their own names, and writes what was found as PNG.

    Below each picture stand its set, then the names that were found, then those that were missed.
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
    """A cell of the sheet: the picture in the middle of a square, and three lines of text."""
    image = read_photograph(photographs, picture)
    names = sorted(right_names(photographs, picture))[:_MOST_NAMES]
    answer = model.segment_text(image, names)
    found = answer.present_index.tolist()
    shown = [names[place] for place in found]
    masks = [answer.masks[place] for place in found]
    drawn = draw_overlay(image, masks=masks, captions=shown, colours=found)
    scale = _CELL_PX / max(drawn.shape[:2])
    size = tuple(max(1, round(side * scale)) for side in drawn.shape[1::-1])
    small = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    cell = np.full((_CELL_PX + 3 * _LINE_PX, _CELL_PX, 3), _WHITE, np.uint8)
    top, left = ((_CELL_PX - side) // 2 for side in small.shape[:2])
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    missed = ", ".join(name for name in names if name not in shown)
    lines = (photographs[picture].found.name, f"found: {', '.join(shown)}", f"missed: {missed}")
    for number, text in enumerate(lines, 1):
        plain = text.encode("ascii", "replace").decode()[:52]
        place = (4, _CELL_PX + number * _LINE_PX - 6)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(cell, plain, place, font, 0.38, _BLACK, 1, cv2.LINE_AA)
    return cell
