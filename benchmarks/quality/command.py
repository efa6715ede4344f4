"""`python -m benchmarks quality`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.command import (
    Measurement,
    ModelName,
    Output,
    Runtime,
    Seed,
    Write,
    measurement,
    one_line_errors,
)
from benchmarks.quality.drawings import load_drawings
from benchmarks.quality.measure import measure_quality
from benchmarks.quality.record import Quality, Settings, render
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL
from training.text.wordnet import WORDNET

HeldOutSets = Annotated[
    Path | None,
    typer.Option(help="the sets of benchmarks/photographs/held_out_sets.json: measure on these"),
]

_NOUNS = 150  # of samclip-tiny, where a bundle does not say


def quality(
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    openmoji: Annotated[
        Path | None, typer.Option(help="heldout_openmoji.zip, its .csv beside it", exists=True)
    ] = None,
    teachers: Annotated[
        Path | None, typer.Option(help="RUNS/CONFIG: measure its teachers too", exists=True)
    ] = None,
    nouns: Annotated[
        int | None, typer.Option(help="how many nouns it was taught; else as its provenance says")
    ] = None,
    pictures: Annotated[int, typer.Option(help="composed single objects a split", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="composed scenes a split", min=1)] = 150,
    photographs: Annotated[
        Path | None, typer.Option(help="sets in COCO's layout: measure on their split val instead")
    ] = None,
    held_out_sets: HeldOutSets = None,
    held_out: Annotated[
        Path | None, typer.Option(help="the nouns that training left out, a line each")
    ] = None,
    wordnet: Annotated[Path, typer.Option(help="WordNet, for --held-out")] = WORDNET,
    folder: Annotated[
        Path | None, typer.Option(help="your own photographs, a sub-folder a class")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="gets 24 photographs with what was found, PNG")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="photographs a part, at most", min=1)] = None,
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Measures zero-shot accuracy, prompts and text-to-mask on drawings that no training saw.

    With --photographs, on photographs that no training saw, each figure with an interval; with
    --held-out-sets, on whole sets of which no training saw a picture.
    """
    with measurement(_record(photographs, held_out_sets), output=output, write=write) as measured:
        samclip = SamClip.load(runtime, model=model)
        if held_out_sets is not None:
            # Only here: photographs are read with torch, which drawings do not need.
            from benchmarks.photographs.held_out import measure_held_out_sets as measure_sets

            measure_sets(samclip, measured, root=held_out_sets, limit=limit, seed=seed)
        elif photographs is not None:
            from benchmarks.photographs.command import measure_quality_on_photographs as measure

            more = {"wordnet": wordnet, "folder": folder, "sheet": sheet, "teachers": teachers}
            more |= {"held_out": held_out, "limit": limit, "seed": seed}
            measure(samclip, measured, root=photographs, **more)
        else:
            taught = nouns or _taught(samclip)
            settings = Settings(nouns=taught, pictures=pictures, scenes=scenes, seed=seed)
            _on_drawings(samclip, settings, measured, openmoji=openmoji, teachers=teachers)


def _record(photographs: Path | None, held_out_sets: Path | None) -> str:
    """The name of the record of what is asked for."""
    with one_line_errors():
        if photographs is not None and held_out_sets is not None:
            raise ValueError("--photographs and --held-out-sets are two measurements: give one")
    if held_out_sets is not None:
        return "held_out_sets"
    return "quality" if photographs is None else "quality_photographs"


def _taught(samclip: SamClip) -> int:
    """How many nouns a bundle was taught; it quotes the checkpoint that it was exported from."""
    provenance = samclip.manifest.provenance
    return int(provenance.get("checkpoint", provenance).get("nouns", _NOUNS))


def _on_drawings(
    samclip: SamClip,
    settings: Settings,
    measured: Measurement,
    *,
    openmoji: Path | None,
    teachers: Path | None,
) -> None:
    splits, train = load_drawings(settings, openmoji=openmoji)
    pair = None
    if teachers is not None:
        # Only here: the teachers need torch and timm, which a measured bundle does not.
        from benchmarks.quality.behind_api import find_teachers, open_teachers

        pair = open_teachers(find_teachers(teachers))
    found = measure_quality(samclip, splits=splits, cutouts=train.clean(), teachers=pair)
    record = Quality(**measured.run(samclip), **dict(found), settings=settings)
    measured.finish(record, render(record))
