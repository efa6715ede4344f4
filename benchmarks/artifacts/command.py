"""Runs `python -m benchmarks runtimes` and writes what it found."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks.artifacts.measure import Runtimes, measure_runtimes
from benchmarks.artifacts.report import render
from benchmarks.quality.report import insert_table
from benchmarks.record import describe_environment
from export.options import ExportOptions, WeightPrecision
from samclip_sdk.atomic_file import atomic_file


def run_runtimes(
    checkpoints: Sequence[str],
    *,
    onnx: tuple[str, ...],
    coreml: tuple[str, ...],
    weights: WeightPrecision,
    compute_capability: str,
    output: Path,
    page: Path | None,
) -> None:
    """Measures, writes the JSON, and the tables into `page` between its markers.

    Other models that an earlier run left in `output` stay there.

    Raises:
        VerificationError: an artifact is below a gate.
        ValueError: a page without markers.
        SamClipError: anything else that an export may raise.
    """
    if page is not None:
        insert_table(page.read_text(encoding="utf-8"), "", name="runtimes")  # before any work
    known = Runtimes.model_validate_json(output.read_bytes()).models if output.exists() else ()
    options = ExportOptions(onnx=onnx, coreml=coreml, weights=weights)
    environment = describe_environment(sys.argv[1:])
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as scratch:
        models = tuple(
            measure_runtimes(
                checkpoint,
                Path(scratch) / str(number),
                options=options,
                compute_capability=compute_capability,
                environment=environment,
                console=console,
            )
            for number, checkpoint in enumerate(checkpoints)
        )
    names = {model.name for model in models}
    found = Runtimes(models=(*(each for each in known if each.name not in names), *models))
    with atomic_file(output) as file:
        file.write(f"{found.model_dump_json(indent=1)}\n".encode())
    table = render(found)
    if page is not None:
        text = insert_table(page.read_text(encoding="utf-8"), table, name="runtimes")
        with atomic_file(page) as file:
            file.write(text.encode())
    Console().print(Markdown(table))
