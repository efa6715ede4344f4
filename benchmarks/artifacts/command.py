"""`python -m benchmarks artifacts`: what checkpoints become for each runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from benchmarks.artifacts.record import Artifacts, render
from benchmarks.command import Output, Write, measurement
from benchmarks.record import read_record

Precisions = Annotated[list[str], typer.Option(help="a precision; may be given again")]


def artifacts(
    checkpoints: Annotated[list[str], typer.Argument(help="folders, or random:vit_b")],
    onnx: Precisions = ["fp32", "fp16", "int8"],  # noqa: B006, as typer takes it
    coreml: Precisions = ["fp16", "int8", "palette6"],  # noqa: B006, as typer takes it
    weights: Annotated[
        Literal["fp16", "fp32"], typer.Option(help="of fp32 graphs, as stored")
    ] = "fp16",
    compute_capability: Annotated[str, typer.Option(help="of engines' GPU")] = "8.9",
    output: Output = None,
    write: Write = False,
) -> None:
    """Exports checkpoints for every runtime; tells sizes, build times, parity, task metrics.

    Other models that the record holds from an earlier run stay there.
    """
    with measurement("artifacts", output=output, write=write) as measured:
        # Only here: they need all that exporting needs.
        from benchmarks.artifacts.measure import measure_artifacts
        from export.options import ExportOptions

        place = measured.place
        known = read_record(Artifacts, place).models if place.exists() else ()
        options = ExportOptions(onnx=tuple(onnx), coreml=tuple(coreml), weights=weights)
        console = Console(stderr=True)
        with console.status("exporting") as status, tempfile.TemporaryDirectory() as at:
            found = [
                measure_artifacts(
                    checkpoint,
                    Path(at, str(number)),
                    options=options,
                    compute_capability=compute_capability,
                    on_progress=status.update,
                )
                for number, checkpoint in enumerate(checkpoints)
            ]
        names = {each.model.name for each in found}
        kept = [each for each in known if each.model.name not in names]
        record = Artifacts(models=(*kept, *found))
        measured.finish(record, render(record))
