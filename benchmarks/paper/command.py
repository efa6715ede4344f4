"""`python -m benchmarks paper` reproduces what the paper shows, part by part."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.command import Output, Seed, Write, measurement
from benchmarks.paper.record import Part, Results, store_part
from benchmarks.paper.report import render
from benchmarks.record import read_record
from benchmarks.report import join_tables

TEACHERS = ("clip_teacher", "sam_teacher")
PartName = Enum("PartName", {name: name for name in Results.model_fields}, type=str)


def paper(
    runs: Annotated[
        Path, typer.Option(help="RUNS/CONFIG: teachers and stages, as training left them")
    ] = Path("runs/tiny"),
    only: Annotated[
        list[PartName] | None, typer.Option(help="measure this part; may be given again")
    ] = None,
    pictures: Annotated[int, typer.Option(help="composed single objects", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="composed scenes", min=1)] = 150,
    steps: Annotated[int, typer.Option(help="of wise_ft's and lambdas' trainings", min=1)] = 200,
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Reproduces the paper's tables on a small scale, on drawings that no training saw.

    Each part is stored in the record as soon as it is done, in place of an older one of it.
    """
    with measurement("paper", output=output, write=write) as measured:
        # Only here: they need torch, which the other commands do without.
        from benchmarks.paper import probing, short_trainings, text_to_mask, zero_shot
        from benchmarks.paper.inputs import open_inputs
        from training.inputs import check_trained

        measures = {
            "teachers": (zero_shot.measure_teachers, "stage3"),
            "text_to_mask": (text_to_mask.measure_text_to_mask, "stage3"),
            "probing": (probing.measure_probing, "stage3"),
            "resolutions": (zero_shot.measure_resolutions, "stage2", "stage3"),
            "wise_ft": (short_trainings.measure_wise_ft, "stage1", "stage3"),
            "lambdas": (short_trainings.measure_lambdas, "stage1"),
        }
        place = measured.place
        # Hours of measuring must not end at a file that is none.
        found = read_record(Results, place) if place.exists() else Results()
        names = [name.value for name in PartName if only is None or name in only]
        for name in names:
            for folder in (*TEACHERS, *measures[name][1:]):
                check_trained(runs / folder)
        inputs = open_inputs(runs, pictures=pictures, scenes=scenes, steps=steps, seed=seed)
        for name in names:
            measure, *stages = measures[name]
            weights, figures = inputs.weights((*TEACHERS, *stages)), measure(inputs)
            part = Part[type(figures)](
                **measured.run(),
                settings=inputs.settings,
                weights=weights,
                figures=figures,
            )
            found = store_part(place, name, part)
            typer.echo(f"{name}: stored in {place}", err=True)
        measured.finish(found, join_tables(render(found)))
