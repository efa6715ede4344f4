"""`python -m benchmarks paper` reproduces what the paper shows, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

        drawn = photographs is None
        if drawn and student is not None:
            raise ValueError("--student goes with --photographs: of drawings it is stage3")
        stages = DRAWINGS if drawn else photograph_stages(runs, student=student)
        measures = _measures(stages, drawn=drawn)
        place = measured.place
        # Hours of measuring must not end at a file that is none.
        found = read_record(Results, place) if place.exists() else Results()
        names = [each.value for each in only] if only else list(measures)
        _check_parts(names, measures, runs=runs, teachers=stages.teachers)
        asked = {"pictures": pictures, "scenes": scenes, "seed": seed}
        inputs = _open(runs, photographs=photographs, student=student, asked=asked, steps=steps)
        for name in names:
            measure, *students = measures[name]
            weights, figures = inputs.weights((*stages.teachers, *students)), measure(inputs)
            made = {**measured.run(), "settings": inputs.settings, "weights": weights}
            part = Part[type(figures)](**made, figures=figures)
            found = store_part(place, name, part)
            typer.echo(f"{name}: stored in {place}", err=True)
        measured.finish(found, join_tables(render(found)))


def _check_parts(
    names: Sequence[str], measures: Mapping[str, Any], *, runs: Path, teachers: Sequence[str]
) -> None:
    """Makes sure that parts can be measured, and that their models are there."""
    from training.inputs import check_trained

    if missing := set(names) - set(measures):
        raise ValueError(f"{', '.join(sorted(missing))} is measured on drawings alone")
    for name in names:
        for folder in (*teachers, *measures[name][1:]):
            check_trained(runs / folder)


def _open(
    runs: Path,
    *,
    photographs: Path | None,
    student: str | None,
    asked: dict[str, int],
    steps: int,
) -> Inputs:
    """What is asked, of drawings or of photographs, and who answers."""
    from benchmarks.paper.inputs import open_drawings
    from benchmarks.paper.photographed import open_photographs

    if photographs is None:
        return open_drawings(runs, **asked, steps=steps)
    return open_photographs(runs, root=photographs, student=student, **asked)


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
