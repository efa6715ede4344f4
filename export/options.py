"""What is asked of an export, and what speaks against it before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from export.tokenizer import check_vocabulary
from samclip_sdk.bundle.graph_spec import Precision
from samclip_sdk.bundle.manifest import MANIFEST_NAME, Crop
from samclip_sdk.errors import SamClipError, StorageError, one_line
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.runtimes.coreml.package import import_coremltools

WeightPrecision: TypeAlias = Literal["fp32", "fp16", "int8"]

ONNX_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
COREML_PRECISIONS: tuple[Precision, ...] = get_args(Precision)

MAX_RESOLUTION = 4096
"""65,536 patches, where each attends to all others."""

_BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "int8": 1, "palette6": 0.75}
"""Of a stored weight. Some weights of every precision are stored in more."""


class ExportError(SamClipError):
    """What was asked for cannot be exported."""


@dataclass(frozen=True)
class ExportOptions:
    """What a bundle holds.

    Attributes:
        onnx: the precisions of its ONNX files, the preferred one first.
        coreml: the precisions of its Core ML packages, likewise.
        resolutions: of image_encoder and clip_head, in pixels; those of the two tasks are added.
        weights: how ONNX files store theirs, whatever they compute in. In int8 the model's large
            weights are rounded before all else, so that every file holds the same ones.
        classification_crop: what classification sees of a raw picture.

    Raises:
        ExportError: there is no such precision, one is asked for twice, or none at all.
    """

    onnx: tuple[Precision, ...] = ("fp32",)
    coreml: tuple[Precision, ...] = ()
    resolutions: tuple[int, ...] = ()
    weights: WeightPrecision = "fp32"
    classification_crop: Crop = "letterbox"

    def __post_init__(self) -> None:
        if not self.onnx and not self.coreml:
            raise ExportError("a bundle needs graphs: ask for some of ONNX or Core ML")
        known_precisions(self.onnx, known=ONNX_PRECISIONS)
        known_precisions(self.coreml, known=COREML_PRECISIONS)

    @property
    def sets(self) -> int:
        """How many sets of artifacts there will be."""
        return len(self.onnx) + len(self.coreml)

    @property
    def mixed(self) -> bool:
        """Whether any graph computes in fp16, but for what a plan keeps in fp32."""
        return "fp16" in self.onnx or any(each != "fp32" for each in self.coreml)


def known_precisions(asked: Sequence[str], *, known: Sequence[Precision]) -> tuple[Precision, ...]:
    """The names `asked` as precisions.

    Raises:
        ExportError: one of them is not `known`, or comes twice.
    """
    for name in asked:
        if name not in known:
            raise ExportError(
                f"there is no precision {one_line(name)} here: use {', '.join(known)}"
            )
        if asked.count(name) > 1:
            raise ExportError(f"the precision {name} is asked for twice")
    return tuple(precision for name in asked for precision in known if precision == name)


def check_export(config: ModelConfig, out: Path, *, options: ExportOptions) -> Path:
    """Finds whatever can be known beforehand to stop an export.

    Args:
        config: of the model.
        out: the bundle's folder.
        options: what is asked for.

    Returns:
        The folder, links resolved: it is written through them.

    Raises:
        ExportError: the model does not run at one of the resolutions.
        StorageError: something other than a bundle is at `out`, or nothing can be written there.
        RuntimeMissingError: a package that the export needs is not installed.
    """
    for resolution in options.resolutions:
        if resolution > MAX_RESOLUTION:
            raise ExportError(
                f"resolution {one_line(resolution)} is above {MAX_RESOLUTION} px: attention over "
                "so many patches fits no memory"
            )
        try:
            config.check_resolution(resolution)
        except ValueError as error:
            raise ExportError(str(error)) from error
    check_vocabulary(config.text_encoder)
    if options.coreml:
        import_coremltools()
    return check_out(out)


def check_out(out: Path) -> Path:
    """Returns the folder that a bundle may be written to, links resolved.

    Raises:
        StorageError: something other than a bundle is there, or nothing can be written there.
    """
    try:
        folder = Path(os.path.realpath(out))
        taken = os.path.lexists(folder)
        above = next(each for each in folder.parents if os.path.lexists(each))
    except ValueError as error:  # NUL, or what no file system can encode
        raise StorageError(f"cannot write {one_line(out)}: {error}") from error
    if taken and not (folder / MANIFEST_NAME).is_file():
        raise StorageError(f"{one_line(out)} exists and is not a bundle: it is left as it is")
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise StorageError(f"cannot write {one_line(out)}: {above} is not a folder to write to")
    return folder


def check_space(folder: Path, *, parameters: int, options: ExportOptions) -> None:
    """Refuses an export whose weights alone do not fit on the disk.

    Args:
        folder: the bundle's.
        parameters: of the model.
        options: what is asked for.

    Raises:
        StorageError: they do not.
    """
    widths = [_BYTES[options.weights if each == "fp32" else each] for each in options.onnx]
    # ONNX files of several precisions share weights; each Core ML package has its own.
    width = max(widths, default=0) + sum(_BYTES[each] for each in options.coreml)
    above = next(each for each in folder.parents if each.is_dir())
    needed, free = parameters * width, shutil.disk_usage(above).free
    if free < needed:
        raise StorageError(
            f"the weights alone take {needed / 1e9:.2f} GB, and {above} has {free / 1e9:.2f} GB: "
            "free space there, give another folder, or ask for fewer precisions"
        )
