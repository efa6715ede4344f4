"""`python -m benchmarks paper` reproduces what the paper shows, part by part, of any run."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.paper.probing import measure_probing
from benchmarks.paper.run import measure_teachers, measure_text_to_mask, open_inputs
from benchmarks.paper.words import PARTS
from benchmarks.quality.photographs import ValPhotographs
from benchmarks.suite import Measuring, Seed

MEASURES = {
    "teachers": measure_teachers,
    "text_to_mask": measure_text_to_mask,
    "probing": measure_probing,
}
PartName = Enum("PartName", {name: name for name in MEASURES}, type=str)


def paper(
    measured: Measuring,
    photographs: Annotated[
        Path, typer.Option(help="sets in COCO's layout: their split val is asked")
    ],
    runs: Annotated[
        Path, typer.Option(help="RUNS/CONFIG: teachers and stages, as training left them")
    ],
    only: Annotated[
        list[PartName] | None, typer.Option(help="measure this part; may be given again")
    ] = None,
    images: Annotated[int, typer.Option(help="images that are named, at most", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="images with masks, at most", min=1)] = 150,
    seed: Seed = 0,
) -> None:
    """Reproduces the paper's tables on a small scale, on photographs that no training saw.

    Each part is stored as soon as it is done, in place of an older one of it.
    """
    dataset = ValPhotographs(photographs, images=images, scenes=scenes, seed=seed)
    inputs = open_inputs(runs, dataset)
    told = {"sets": len(dataset.sets), "complete": sum(dataset.sets.values())}
    asked = {**measured.settings, **told, "weights": inputs.weights()}
    for name in [each.value for each in only] if only else PARTS:
        measured.settings = {**asked, "part": name}
        MEASURES[name](measured, inputs)
        measured.save()
        measured.tell(f"{name}: stored in {measured.path}")
