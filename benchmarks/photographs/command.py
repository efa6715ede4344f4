"""`python -m benchmarks quality --photographs ROOT`, and a sheet of pictures that shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.command import Measurement
from benchmarks.paper.text_to_mask import TwoModels, tuning_pictures
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
from benchmarks.public.files import by_turns
from benchmarks.quality.behind_api import find_teachers, open_teachers
from benchmarks.report import encode_figure, join_tables, new_figure
from samclip_sdk import SamClip
from samclip_sdk.system.atomic_file import atomic_file
from training.data_config import Photographs as SetSettings
from training.real.coco_layout import clean_name
from training.real.photograph_questions import read_photograph
from training.real.photographs import Photographs
from training.text.wordnet import WordNet

PICTURES = 24

_COLUMNS = 6
_MOST_NAMES = 6


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
    if folder is not None:
        of_folder(folder)  # what it lacks is told now
    photographs = Photographs(SetSettings(source="photographs", root=root), split="val")
    taught: dict[str, Taught] = {}
    nouns: tuple[str, ...] | None = None
    if held_out is not None:
        nouns = tuple(map(clean_name, held_out.read_text(encoding="utf-8").splitlines()))
        taught = how_taught(photographs.names, held_out=nouns, wordnet=WordNet(wordnet))
    pictures = choose_pictures(photographs, limit=limit, seed=seed)
    pipeline = None
    if teachers is not None:
        tuning = tuning_pictures(root, seed=seed)
        pipeline = TwoModels(open_teachers(find_teachers(teachers)), tuning)
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
    record = PhotographQuality(**measured.run(model), **dict(figures), settings=settings)
    if record.curves and not measured.write:  # a published one is on its page
        with atomic_file(measured.place.with_suffix(".svg")) as file:
            file.write(draw_curve(record))
    measured.finish(record, join_tables(render(record)))


def write_sheet(path: Path, model: SamClip, photographs: Photographs, *, seed: int) -> None:
    """Asks pictures of all sets for their own names, and writes what was found as PNG.

    Over each picture stand its set, then the names that were found, then those that were missed.
    """
    figure = new_figure(3 * _COLUMNS, 4 * PICTURES / _COLUMNS)
    panels = figure.subplots(PICTURES // _COLUMNS, _COLUMNS).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, picture in zip(panels, draw_evenly(photographs, seed=seed), strict=False):
        image = read_photograph(photographs, picture)
        names = sorted(right_names(photographs, picture))[:_MOST_NAMES]
        answer = model.segment_text(image, names)
        missed = ", ".join(name for name in names if name not in answer)
        lines = [photographs[picture].found.name, f"found: {', '.join(answer.labels)}"]
        title = "\n".join(line[:60] for line in (*lines, f"missed: {missed}"))
        axes.imshow(answer.plot(image))
        axes.set_title(title, fontsize=6, loc="left")
    with atomic_file(path) as file:
        file.write(encode_figure(figure))


def draw_evenly(photographs: Photographs, *, seed: int) -> list[int]:
    """Draws `PICTURES` pictures that show something with a name: one of each set, then another."""
    rng = np.random.default_rng(seed)
    of_set: dict[int, list[int]] = {}
    for picture in rng.permutation(len(photographs)).tolist():
        if right_names(photographs, picture):
            of_set.setdefault(int(photographs.owners[picture]), []).append(picture)
    return by_turns(of_set.values())[:PICTURES]
