"""`python -m benchmarks quality`: on drawings, on photographs, and on held-out sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.charts import encode_figure, new_figure
from benchmarks.intervals import Bootstrap
from benchmarks.quality import held_out
from benchmarks.quality.dataset import ALL, Dataset
from benchmarks.quality.drawings import UNSEEN, load_drawings
from benchmarks.quality.floor import NearestCutout
from benchmarks.quality.measure import (
    Classify,
    add_names,
    add_prompts,
    add_texts,
    all_ways,
    ask_masks,
)
from benchmarks.quality.photographs import ValPhotographs, draw_evenly, right_names, tuning_images
from benchmarks.suite import Measuring, ModelName, Runtime, Seed
from benchmarks.teachers import by_logits, open_run
from benchmarks.two_models import TwoModels
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.system.atomic_file import atomic_file
from training.composed.scenes import clean_image
from training.real.photograph_questions import read_photograph
from training.real.photographs import Photographs

SHEET_IMAGES = 24

_NOUNS = 150  # of samclip-tiny, where a bundle does not say
_SIZE_PX = 256  # of drawings
_COLUMNS = 6
_MAX_NAMES = 6


def quality_suite(options: Mapping[str, Any]) -> str:
    """The table of what is asked for."""
    if options["photographs"] is not None and options["held_out_sets"] is not None:
        raise ValueError("--photographs and --held-out-sets are two measurements: give one")
    if options["held_out_sets"] is not None:
        return "held_out_sets"
    return "quality" if options["photographs"] is None else "quality_photographs"


@dataclass(frozen=True)
class DrawingOptions:
    """The drawings that are measured on, if no photographs are."""

    openmoji: Annotated[
        Path | None, typer.Option(help="heldout_openmoji.zip, its .csv beside it", exists=True)
    ] = None
    images: Annotated[int, typer.Option(help="composed single objects a split", min=1)] = 500
    scenes: Annotated[int, typer.Option(help="composed scenes a split", min=1)] = 150


@dataclass(frozen=True)
class PhotographOptions:
    """The photographs that are measured on."""

    photographs: Annotated[
        Path | None, typer.Option(help="sets in COCO's layout: measure on their split val instead")
    ] = None
    held_out_sets: Annotated[
        Path | None,
        typer.Option(help="the sets of benchmarks/quality/held_out_sets.json: measure on these"),
    ] = None
    folder: Annotated[
        Path | None, typer.Option(help="your own photographs, a sub-folder a class")
    ] = None
    sheet: Annotated[
        Path | None, typer.Option(help="gets 24 photographs with what was found, PNG")
    ] = None


def quality(
    measured: Measuring,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    *,
    drawn: DrawingOptions,
    shown: PhotographOptions,
    teachers: Annotated[
        Path | None, typer.Option(help="RUNS/CONFIG: measure its teachers too", exists=True)
    ] = None,
    seed: Seed = 0,
) -> None:
    """Measures zero-shot accuracy, prompts and text-to-mask on drawings that no training saw.

    With --photographs, on photographs that no training saw; with --held-out-sets, on whole sets of
    which no training saw an image. Each figure has an interval.
    """
    samclip = measured.of(SamClip.load(runtime, model=model))
    if shown.held_out_sets is not None:
        _on_held_out_sets(measured, samclip, root=shown.held_out_sets, seed=seed)
    elif shown.photographs is not None:
        dataset = ValPhotographs(shown.photographs, seed, folder=shown.folder)
        _on_photographs(measured, samclip, dataset, teachers=teachers, sheet=shown.sheet)
    else:
        # A bundle quotes the checkpoint that it was exported from.
        told = samclip.manifest.provenance
        taught = int(told.get("checkpoint", told).get("nouns", _NOUNS))
        size = {"nouns": taught, "size_px": _SIZE_PX}
        size |= {"images": drawn.images, "scenes": drawn.scenes}
        measured.settings |= size
        splits, corpus = load_drawings(
            samclip.embed_text, openmoji=drawn.openmoji, **size, seed=seed
        )
        cutouts = [clean_image(corpus, i, size_px=_SIZE_PX) for i in range(len(corpus.labels))]
        floor = NearestCutout(cutouts, labels=corpus.labels, num_nouns=taught)
        for drawings in splits:
            # Beside a floor where the nouns were taught.
            others = {} if drawings.split == UNSEEN else {"floor": lambda _: floor.scores}
            more = {"seed": seed, "teachers": teachers, "others": others}
            measure_dataset(measured, samclip, drawings, **more)


def measure_dataset(
    measured: Measuring,
    model: SamClip,
    dataset: Dataset,
    *,
    seed: int,
    teachers: Path | None = None,
    others: Mapping[str, Classify] | None = None,
    two: TwoModels | None = None,
) -> None:
    """All figures of a model, beside those of its teachers, of others that name, of two models."""
    bootstrap, classifiers = Bootstrap(seed=seed), {"model": partial(by_logits, model)}
    classifiers |= others or {}
    answers = ask_masks(measured, model, dataset, ways=all_ways(model), pipeline=two)
    threshold = model.manifest.calibration.presence_threshold
    add_texts(measured, answers, bootstrap, threshold=threshold)
    add_prompts(measured, answers, bootstrap, who="model")
    if teachers is not None:
        pair = open_run(teachers)
        classifiers["clip_teacher"] = pair.rank
        sam = ask_masks(measured, pair.sam, dataset, ways={}, doing="masks: SAM teacher")
        add_prompts(measured, sam, bootstrap, who="sam_teacher")
    for who, classify in classifiers.items():
        add_names(measured, dataset, classify, bootstrap, who=who, broken=answers.broken)
    measured.settings |= {"resamples": bootstrap.resamples, "broken": dict(answers.broken)}


def _on_photographs(
    measured: Measuring,
    model: SamClip,
    dataset: ValPhotographs,
    *,
    teachers: Path | None,
    sheet: Path | None,
) -> None:
    """On the split "val" of sets; RUNS/CONFIG's teachers are two models in a row."""
    dataset.namings()  # what is wrong with a folder is told now
    complete = [name for name, complete in dataset.sets.items() if complete]
    measured.settings |= {"sets": list(dataset.sets), "complete": complete}
    if sheet is not None:
        write_sheet(sheet, model, dataset.photographs, seed=dataset.seed)
    two = None
    if teachers is not None:
        two = TwoModels(open_run(teachers), tuning_images(dataset.root, seed=dataset.seed))
    measure_dataset(measured, model, dataset, seed=dataset.seed, two=two)


def _on_held_out_sets(measured: Measuring, model: SamClip, *, root: Path, seed: int) -> None:
    """On the sets of the committed list below `root`."""
    source = model.source
    path = source.nouns_path if isinstance(source, BundleSource) else None
    taught = () if path is None else model.load_vocabulary(path)
    chosen = held_out.choose_held_out(root, held_out.read_list(), seed=seed, taught=taught)
    measured.settings |= {"images": chosen.counts()}
    splits = Counter(split for image in chosen.sets for split in chosen.splits(image))
    for split in sorted(splits, key=lambda split: split == ALL):
        measured.add("images", split, asked=splits[split])
    measure_dataset(measured, model, chosen, seed=seed)


def write_sheet(path: Path, model: SamClip, photographs: Photographs, *, seed: int) -> None:
    """Asks images of all sets for their own names, and writes what was found as PNG.

    Over each image stand its set, then the names that were found, then those that were missed.
    """
    figure = new_figure(3 * _COLUMNS, 4 * SHEET_IMAGES / _COLUMNS)
    panels = figure.subplots(SHEET_IMAGES // _COLUMNS, _COLUMNS).ravel()
    for axes in panels:
        axes.set_axis_off()
    chosen = draw_evenly(photographs, seed=seed)[:SHEET_IMAGES]
    for axes, image in zip(panels, chosen, strict=False):
        pixels = read_photograph(photographs, image)
        names = sorted(right_names(photographs, image))[:_MAX_NAMES]
        answer = model.segment_text(pixels, names)
        missed = ", ".join(name for name in names if name not in answer)
        lines = [photographs[image].found.name, f"found: {', '.join(answer.labels)}"]
        title = "\n".join(line[:60] for line in (*lines, f"missed: {missed}"))
        axes.imshow(answer.plot(pixels))
        axes.set_title(title, fontsize=6, loc="left")
    with atomic_file(path) as file:
        file.write(encode_figure(figure))
