"""The options of an export, and the checks before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from export.converter import import_executorch_converter, import_litert_converter
from export.tokenizer import check_vocabulary
from samclip_sdk.bundle.graph_spec import Precision
from samclip_sdk.bundle.manifest import MANIFEST_NAME, Crop
from samclip_sdk.errors import SamClipError, StorageError, one_line
from samclip_sdk.image.loading import IMAGE_ENDINGS
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.runtimes.coreml.package import import_coremltools

WeightPrecision: TypeAlias = Literal["fp32", "fp16", "int8"]

ONNX_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
COREML_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LITERT_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
EXECUTORCH_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")

MAX_RESOLUTION = 4096
"""At this resolution there are 65,536 patches, and each attends to all others."""

_BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "int8": 1, "palette6": 0.75}
"""The bytes of a stored weight. In every precision some weights take more."""


class ExportError(SamClipError):
    """The export cannot be made as requested."""


@dataclass(frozen=True)
class ExportOptions:
    """The contents of a bundle.

    Attributes:
        onnx: the precisions of its ONNX files, the preferred one first.
        coreml: the precisions of its Core ML packages, the preferred one first.
        litert: the precisions of its LiteRT files, the preferred one first. fp16 is that of the
            stored weights; a CPU computes in fp32.
        executorch: the precisions of its ExecuTorch programs, the preferred one first.
        resolutions: the resolutions of image_encoder and clip_head in pixels; those of the two
            tasks are added.
        weights: the precision in which ONNX files store their weights, independent of the precision
            that they compute in. With int8 the model's large weights are rounded first, so that
            every file has the same weights.
        classification_crop: the part of an image that classification uses.
        calibration_set: a folder of photographs that int8 takes its ranges from; None stands for
            the dozen of the exporter's.

    Raises:
        ExportError: a precision is unknown or given twice, or there is none.
    """

    onnx: tuple[Precision, ...] = ("fp32",)
    coreml: tuple[Precision, ...] = ()
    litert: tuple[Precision, ...] = ()
    executorch: tuple[Precision, ...] = ()
    resolutions: tuple[int, ...] = ()
    weights: WeightPrecision = "fp32"
    classification_crop: Crop = "letterbox"
    calibration_set: Path | None = None

    def __post_init__(self) -> None:
        if not self.sets:
            raise ExportError(
                "a bundle needs graphs: ask for some of ONNX, Core ML, LiteRT or ExecuTorch"
            )
        known_precisions(self.onnx, known=ONNX_PRECISIONS)
        known_precisions(self.coreml, known=COREML_PRECISIONS)
        known_precisions(self.litert, known=LITERT_PRECISIONS)
        known_precisions(self.executorch, known=EXECUTORCH_PRECISIONS)

    @property
    def sets(self) -> int:
        """The number of sets of artifacts."""
        return sum(map(len, (self.onnx, self.coreml, self.litert, self.executorch)))

    @property
    def runnable_sets(self) -> tuple[tuple[str, Precision], ...]:
        """The runtime and precision of each set that can run where it is exported."""
        runnable = {"onnx": self.onnx, "litert": self.litert, "executorch": self.executorch}
        return tuple((runtime, each) for runtime, sets in runnable.items() for each in sets)

    @property
    def mixed(self) -> bool:
        """Whether any graph computes in fp16, with a plan of the operations that stay in fp32."""
        return "fp16" in self.onnx or any(each != "fp32" for each in self.coreml)


def known_precisions(asked: Sequence[str], *, known: Sequence[Precision]) -> tuple[Precision, ...]:
    """The names `asked` as precisions.

    Raises:
        ExportError: a name is not in `known`, or is given twice.
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
    """Makes all checks of an export that need no work beforehand.

    Args:
        config: the model's config.
        out: the bundle's folder.
        options: the options of the export.

    Returns:
        The folder, with links resolved, because their target is written.

    Raises:
        ExportError: the model does not run at one of the resolutions, or the calibration set has
            no image.
        StorageError: `out` exists and is not a bundle, or cannot be written.
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
    if options.calibration_set is not None:
        find_calibration_images(options.calibration_set)
    if options.coreml:
        import_coremltools()
    if options.litert:
        import_litert_converter()
    if options.executorch:
        import_executorch_converter()
    return check_out(out)


def find_calibration_images(folder: Path) -> tuple[Path, ...]:
    """The images in a folder and in those below it, by name; opens none of them.

    Raises:
        ExportError: there is no image, or no such folder.
    """
    found = sorted(each for each in folder.rglob("*") if each.suffix.lower() in IMAGE_ENDINGS)
    if not found:
        raise ExportError(f"the calibration set {one_line(folder)} holds no image")
    return tuple(found)


def check_out(out: Path) -> Path:
    """Returns the folder that a bundle may be written to, with links resolved.

    Raises:
        StorageError: `out` exists and is not a bundle, or cannot be written.
    """
    try:
        folder = Path(os.path.realpath(out))
        taken = os.path.lexists(folder)
        above = next(each for each in folder.parents if os.path.lexists(each))
    except ValueError as error:  # NUL, or a name that no file system can encode
        raise StorageError(f"cannot write {one_line(out)}: {error}") from error
    if taken and not (folder / MANIFEST_NAME).is_file():
        raise StorageError(f"{one_line(out)} exists and is not a bundle: it is left as it is")
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise StorageError(f"cannot write {one_line(out)}: {above} is not a folder to write to")
    return folder


def check_space(folder: Path, *, parameters: int, options: ExportOptions) -> None:
    """Refuses an export whose weights alone do not fit on the disk.

    Args:
        folder: the bundle's folder.
        parameters: the number of the model's parameters.
        options: the options of the export.

    Raises:
        StorageError: the weights do not fit.
    """
    widths = [_BYTES[options.weights if each == "fp32" else each] for each in options.onnx]
    # ONNX files of several precisions share weights; all other artifacts have their own.
    own = (*options.coreml, *options.litert, *options.executorch)
    width = max(widths, default=0) + sum(_BYTES[each] for each in own)
    above = next(each for each in folder.parents if each.is_dir())
    needed, free = parameters * width, shutil.disk_usage(above).free
    if free < needed:
        raise StorageError(
            f"the weights alone take {needed / 1e9:.2f} GB, and {above} has {free / 1e9:.2f} GB: "
            "free space there, give another folder, or ask for fewer precisions"
        )
