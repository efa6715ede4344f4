"""`python -m export CHECKPOINT OUT`: what ships of a checkpoint; options make other bundles."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from export.bundle_writer import write_bundle
from export.options import (
    COREML_PRECISIONS,
    EXECUTORCH_PRECISIONS,
    LITERT_PRECISIONS,
    ONNX_PRECISIONS,
    ExportOptions,
    WeightPrecision,
    check_export,
    known_precisions,
)
from export.source import find_config, find_source, is_random
from samclip_sdk.bundle.graph_spec import Precision
from samclip_sdk.bundle.manifest import Crop
from samclip_sdk.cli.options import grouped
from samclip_sdk.cli.terminal import elapsed, working

Checkpoint = Annotated[
    str, typer.Argument(help="a checkpoint folder, or random: and a preset, such as random:vit_b")
]
Resolution = Annotated[
    list[int] | None,
    typer.Option(
        help="side of the image encoder's input in pixels; repeatable. The tasks' own resolutions "
        "are always there."
    ),
]
Weights = Annotated[
    WeightPrecision | None,
    typer.Option(
        help="how weights are stored; what files compute in stays [default: int8, as in the "
        "package; of random weights fp32]"
    ),
]
CalibrationSet = Annotated[
    Path | None,
    typer.Option(help="folder of photographs for int8's ranges [default: twelve of its own]"),
]


@dataclass(frozen=True)
class FormatOptions:
    """The precisions of each format's files."""

    onnx: Annotated[
        list[str] | None,
        typer.Option(
            help="precision of the ONNX files; repeatable, the preferred one first [default: fp32, "
            "fp16 and int8, as the package has them; of random weights fp32]"
        ),
    ] = None
    coreml: Annotated[
        list[str] | None,
        typer.Option(help="precision of the Core ML packages; repeatable. Alone, no ONNX is made."),
    ] = None
    litert: Annotated[
        list[str] | None,
        typer.Option(help="precision of the LiteRT files; repeatable. Alone, no ONNX is made."),
    ] = None
    executorch: Annotated[
        list[str] | None,
        typer.Option(
            help="precision of the ExecuTorch programs; repeatable. Alone, no ONNX is made."
        ),
    ] = None

    def precisions(self, *, random: bool) -> dict[str, tuple[Precision, ...]]:
        """Those of each format; without any, of ONNX what ships, and of random weights fp32.

        Raises:
            ExportError: a precision is unknown, or given twice.
        """
        onnx = self.onnx or []
        if not (onnx or self.coreml or self.litert or self.executorch):
            onnx = ["fp32"] if random else list(ONNX_PRECISIONS)
        return {
            "onnx": known_precisions(onnx, known=ONNX_PRECISIONS),
            "coreml": known_precisions(self.coreml or [], known=COREML_PRECISIONS),
            "litert": known_precisions(self.litert or [], known=LITERT_PRECISIONS),
            "executorch": known_precisions(self.executorch or [], known=EXECUTORCH_PRECISIONS),
        }


@grouped
def main(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Argument(help="the bundle folder to make")],
    *,
    resolution: Resolution = None,
    formats: FormatOptions,
    weights: Weights = None,
    classification_crop: Annotated[
        Crop, typer.Option(help="what classification sees of a raw image")
    ] = "letterbox",
    calibration_set: CalibrationSet = None,
) -> None:
    """Export a checkpoint as a verified bundle."""
    began = time.monotonic()
    random = is_random(checkpoint)
    with working("loading the model") as display:
        options = ExportOptions(
            **formats.precisions(random=random),
            resolutions=tuple(resolution or ()),
            weights=weights or ("fp32" if random else "int8"),
            classification_crop=classification_crop,
            calibration_set=calibration_set,
        )
        check_export(find_config(checkpoint), out, options=options)
        manifest = write_bundle(
            find_source(checkpoint), out, options=options, on_progress=display.show
        )
    size = sum(file.size_bytes for file in manifest.stored_files())
    took = elapsed(time.monotonic() - began)
    typer.echo(f"{out}: {manifest.name} {manifest.revision}, {size / 1e6:.2f} MB, in {took}")


if __name__ == "__main__":
    typer.run(main)
