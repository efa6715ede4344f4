"""`python -m benchmarks paper` reproduces what the paper shows, part by part."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.command import Output, Seed, Write, measurement
from benchmarks.paper.record import Part, Results, store_part
from benchmarks.paper.report import render
from benchmarks.record import read_record
from benchmarks.report import join_tables

if TYPE_CHECKING:
    from benchmarks.paper.inputs import Inputs, Stages

PartName = Enum("PartName", {name: name for name in Results.model_fields}, type=str)


def paper(
    runs: Annotated[
        Path, typer.Option(help="RUNS/CONFIG: teachers and stages, as training left them")
    ] = Path("runs/tiny"),
    photographs: Annotated[
        Path | None,
        typer.Option(help="ask the split val of the sets in this folder, not drawings"),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="the run that ships, with --photographs; the last stage if not given"),
    ] = None,
    only: Annotated[
        list[PartName] | None, typer.Option(help="measure this part; may be given again")
    ] = None,
    pictures: Annotated[int, typer.Option(help="pictures that are named, at most", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="pictures with masks, at most", min=1)] = 150,
    steps: Annotated[int, typer.Option(help="of wise_ft's and lambdas' trainings", min=1)] = 200,
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Reproduces the paper's tables on a small scale, on pictures that no training saw.

    These are composed drawings, or photographs. Each part is stored in the record as soon as it is
    done, in place of an older one of it.
    """
    record = "paper" if photographs is None else "paper_photographs"
    with measurement(record, output=output, write=write) as measured:
        # Only here: they need torch, which the other commands do without.
        from benchmarks.paper.inputs import DRAWINGS, photograph_stages

        drawn, place = photographs is None, measured.place
        if drawn and student is not None:
            raise ValueError("--student goes with --photographs: of drawings it is stage3")
        stages = DRAWINGS if drawn else photograph_stages(runs, student=student)
        measures = _measures(stages, drawn=drawn)
        # Hours of measuring must not end at a file that is none.
        found = read_record(Results, place) if place.exists() else Results()
        names = [each.value for each in only] if only else list(measures)
        if missing := set(names) - set(measures):
            raise ValueError(f"{', '.join(sorted(missing))} is measured on drawings alone")
        needed = (*stages.teachers, *(each for name in names for each in measures[name][1:]))
        asked = {"pictures": pictures, "scenes": scenes, "seed": seed}
        asked |= {"steps": steps} if drawn else {"root": photographs, "student": student}
        inputs = _open(runs, needed, asked)
        for name in names:
            measure, *students = measures[name]
            weights, figures = inputs.weights((*stages.teachers, *students)), measure(inputs)
            made = {**measured.run(), "settings": inputs.asked.settings, "weights": weights}
            found = store_part(place, name, Part[type(figures)](**made, figures=figures))
            typer.echo(f"{name}: stored in {place}", err=True)
        measured.finish(found, join_tables(render(found)))


def _open(runs: Path, folders: Iterable[str], asked: dict[str, Any]) -> Inputs:
    """What is asked, of drawings or of photographs, and who answers, whose models are there."""
    from benchmarks.paper.inputs import open_drawings
    from benchmarks.paper.photographed import open_photographs
    from training.inputs import check_trained

    for folder in folders:
        check_trained(runs / folder)
    return open_photographs(runs, **asked) if "root" in asked else open_drawings(runs, **asked)


def _measures(stages: Stages, *, drawn: bool) -> dict[str, Any]:
    """Part -> what measures it, and the students that it needs."""
    from benchmarks.paper import probing, text_to_mask, zero_shot

    shipped = stages.shipped
    found: dict[str, Any] = {
        "teachers": (zero_shot.measure_teachers, shipped),
        "text_to_mask": (text_to_mask.measure_text_to_mask, shipped),
        "probing": (probing.measure_probing, shipped),
        "resolutions": (zero_shot.measure_resolutions, *stages.students),
    }
    if not drawn:
        return found | {"wise_ft": (zero_shot.measure_backbones, shipped)}
    return found | {
        "wise_ft": (zero_shot.measure_wise_ft, "stage1", shipped),
        "lambdas": (zero_shot.measure_lambdas, "stage1"),
    }
