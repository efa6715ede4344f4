"""`python -m benchmarks quality --photographs ROOT`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import Measurement
from benchmarks.photographs.measure import choose_pictures, measure_photographs
from benchmarks.photographs.naming import of_folder
from benchmarks.photographs.record import PhotographQuality, PhotographSettings, Taught
from benchmarks.photographs.report import draw_curve, render
from benchmarks.photographs.sheet import write_sheet
from benchmarks.photographs.taught import how_taught
from benchmarks.photographs.two_models import Pipeline, find_pair, tuning_pictures
from benchmarks.quality.behind_api import open_teachers
from benchmarks.record import describe_model
from benchmarks.report import join_tables
from samclip_sdk import SamClip
from samclip_sdk.atomic_file import atomic_file
from training.data_config import Photographs as SetSettings
from training.real.captioned_pictures import read_labels
from training.real.coco_layout import clean_name
from training.real.photographs import Photographs
from training.text.wordnet import WordNet


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
