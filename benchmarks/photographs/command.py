"""`python -m benchmarks quality --photographs ROOT`, and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from benchmarks.record import describe_model
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


@dataclass(frozen=True)
class PhotographOptions:
    """What the command was told about photographs.

    `root` holds the sets, `held_out` is the list that training was given, `wordnet` the folder of
    WordNet; `folder` holds the user's own pictures, a sub-folder a class; `sheet` gets pictures
    with what was found; `teachers` is RUNS/CONFIG.
    """

    root: Path
    held_out: Path | None
    wordnet: Path
    folder: Path | None
    sheet: Path | None
    teachers: Path | None
    limit: int | None
    seed: int


def measure_quality_on_photographs(
    model: SamClip, options: PhotographOptions, measured: Measurement
) -> None:
    """Measures a model on the split "val", writes the record and its curve, and the sheet.

    Raises:
        TrainingError: there is no set with pictures in "val", no list of nouns, or no WordNet.
        DatasetError: the folder holds no classes.
    """
    photographs = Photographs(SetSettings(source="photographs", root=options.root), split="val")
    taught, held_out = _read_taught(photographs, options)
    if options.folder is not None:
        of_folder(options.folder)
    pictures = choose_pictures(photographs, limit=options.limit, seed=options.seed)
    pipeline = _open_pipeline(options)
    there = sorted(set(pictures.sets))
    complete = {each.name for each in photographs.sets if each.complete}
    settings = PhotographSettings(
        sets=tuple(there),
        complete=tuple(name for name in there if name in complete),
        limit=options.limit,
        held_out=held_out,
        seed=options.seed,
    )
    if options.sheet is not None:
        write_sheet(options.sheet, model, photographs, seed=options.seed)
    figures = measure_photographs(
        model,
        pictures,
        settings=settings,
        taught=taught,
        pipeline=pipeline,
        folder=options.folder,
    )
    record = PhotographQuality(
        **measured.run(),
        **dict(figures),
        model=describe_model(model.manifest, model.source),
        settings=settings,
    )
    if record.curves and not measured.write:  # a published one is on its page
        with atomic_file(measured.place.with_suffix(".svg")) as file:
            file.write(draw_curve(record))
    measured.finish(record, join_tables(render(record)))


def _read_taught(
    photographs: Photographs, options: PhotographOptions
) -> tuple[dict[str, Taught], int | None]:
    """How each name was taught, and how many nouns are held out; nothing without a list."""
    if options.held_out is None:
        return {}, None
    held_out = tuple(map(clean_name, read_labels(options.held_out)))
    taught = how_taught(photographs.names, held_out=held_out, wordnet=WordNet(options.wordnet))
    return taught, len(held_out)


def _open_pipeline(options: PhotographOptions) -> Pipeline | None:
    """The teachers, tuned on pictures of the split "calibration"."""
    if options.teachers is None:
        return None
    settings = SetSettings(source="photographs", root=options.root, held_out=options.held_out)
    tuning = tuning_pictures(Photographs(settings, split="calibration"), seed=options.seed)
    return Pipeline(open_teachers(find_pair(options.teachers)), tuning)
