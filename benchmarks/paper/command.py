"""`python -m benchmarks paper` reproduces what the paper shows, part by part, of any run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.paper.words import PARTS
from benchmarks.suite import Measuring, Seed

if TYPE_CHECKING:
    from benchmarks.quality.drawings import Drawings
    from benchmarks.quality.photographs import ValPhotographs

PartName = Enum("PartName", {name: name for name in PARTS}, type=str)

_NOUNS = 150  # of drawings, where the run trained no CLIP that says how many


def paper_suite(asked: Mapping[str, Any]) -> str:
    """The table of what is asked for."""
    return "paper" if asked["photographs"] is None else "paper_photographs"


def shown_parts(suite: str) -> list[str]:
    """The templates of a table of these."""
    return [f"paper/{name}@{suite}" for name in PARTS]


def paper(
    measured: Measuring,
    runs: Annotated[
        Path, typer.Option(help="RUNS/CONFIG: teachers and stages, as training left them")
    ] = Path("runs/tiny"),
    photographs: Annotated[
        Path | None,
        typer.Option(help="ask the split val of the sets in this folder, not drawings"),
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="the stage that ships; the last if not given")
    ] = None,
    only: Annotated[
        list[PartName] | None, typer.Option(help="measure this part; may be given again")
    ] = None,
    pictures: Annotated[int, typer.Option(help="pictures that are named, at most", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="pictures with masks, at most", min=1)] = 150,
    steps: Annotated[int, typer.Option(help="of wise_ft's and lambdas' trainings", min=1)] = 200,
    seed: Seed = 0,
) -> None:
    """Reproduces the paper's tables on a small scale, on pictures that no training saw.

    These are composed drawings, or photographs, of which lambdas are measured only if they are
    asked for. Each part is stored as soon as it is done, in place of an older one of it.
    """
    # Only here: they need torch, which the other commands do without.
    from benchmarks.paper import probing, short_trainings, zero_shot
    from benchmarks.paper.run import choose_students, open_inputs

    measures = {
        "teachers": zero_shot.measure_teachers,
        "text_to_mask": zero_shot.measure_text_to_mask,
        "probing": probing.measure_probing,
        "resolutions": zero_shot.measure_resolutions,
        "wise_ft": short_trainings.measure_wise_ft,
        "lambdas": short_trainings.measure_lambdas,
    }
    students = choose_students(runs, student=student)
    counts = {"pictures": pictures, "scenes": scenes, "seed": seed}
    dataset, told = _open(runs, photographs, student=students[-1], counts=counts)
    inputs = open_inputs(runs, dataset, students=students, steps=steps, seed=seed)
    asked = {**measured.settings, **told}
    every = [name for name in PARTS if photographs is None or name != "lambdas"]
    for name in [each.value for each in only] if only else every:
        measured.settings = {**asked, "part": name}
        measures[name](measured, inputs)
        measured.settings["weights"] = inputs.weights(*_students(name, students))
        measured.save()
        measured.tell(f"{name}: stored in {measured.place}")


def _students(part: str, students: tuple[str, ...]) -> tuple[str, ...]:
    """Those whose weights a part depends on."""
    if part == "resolutions":
        return students
    trained_from = ("stage1",) if part in ("wise_ft", "lambdas") else ()
    return trained_from if part == "lambdas" else (*trained_from, students[-1])


def _open(
    run: Path, root: Path | None, *, student: str, counts: dict[str, int]
) -> tuple[Drawings | ValPhotographs, dict[str, Any]]:
    """What is asked, and what is told of it; drawings are as large as the student sees them."""
    from benchmarks.quality.drawings import load_drawings
    from benchmarks.quality.photographs import ValPhotographs
    from samclip_sdk.modeling.checkpoint import read_config
    from training.teachers.teacher_pair import read_clip_settings

    if root is not None:
        photographs = ValPhotographs(root, **counts)
        sets = photographs.sets
        return photographs, {"sets": len(sets), "complete": sum(sets.values())}
    clip = read_clip_settings(run)
    nouns = _NOUNS if clip is None else clip.nouns
    size_px = read_config(run / student).segmentation_resolution
    told = {"nouns": nouns, "size_px": size_px}
    (heldout, *_), _ = load_drawings(**told, **counts)
    return heldout, told
