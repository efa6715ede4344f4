"""A Core ML package on the disk: its inputs and outputs; and the import of coremltools."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samclip_sdk.errors import BundleError
from samclip_sdk.system.packages import import_runtime

MANIFEST = "Manifest.json"


@dataclass(frozen=True)
class ProgramTensor:
    """An input or output of an ML program.

    Attributes:
        name: the name by which it is bound.
        dtype: "float32", "float16", "int32", or "image" (RGB, 8 bits a channel).
        shape: the shape; [1,3,height,width] for an image.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


def import_coremltools() -> Any:
    """Imports coremltools without its warnings about packages that are not needed here.

    On import it warns about every untested version and every missing library of the Mac; in a
    conversion it warns about each constant that it does not change. To see the warnings, set the
    level of the logger "coremltools" first.

    Raises:
        RuntimeMissingError: coremltools is not installed.
    """
    logger = logging.getLogger("coremltools")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
    return import_runtime("coremltools", extra="coreml")


def read_tensors(package: Path) -> tuple[tuple[ProgramTensor, ...], tuple[ProgramTensor, ...]]:
    """Reads the inputs and the outputs of a package, without its weights.

    Raises:
        RuntimeMissingError: coremltools is not installed.
        BundleError: the package is missing, truncated or not an ML program.
    """
    coremltools = import_coremltools()
    if not (package / MANIFEST).is_file():
        raise BundleError(f"{package} is not a Core ML package: it has no {MANIFEST}")
    try:
        spec = coremltools.utils.load_spec(str(package))
        if spec.WhichOneof("Type") != "mlProgram":
            raise ValueError("it holds no ML program")
        array = coremltools.proto.FeatureTypes_pb2.ArrayFeatureType
        dtypes = {array.FLOAT32: "float32", array.FLOAT16: "float16", array.INT32: "int32"}
        return (
            _tensors(spec.description.input, dtypes=dtypes),
            _tensors(spec.description.output, dtypes=dtypes),
        )
    except Exception as error:  # errors of protobuf, the operating system or coremltools
        raise BundleError(f"{package} cannot be read: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of an exception's message; its type's name if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _tensors(features: Iterable[Any], *, dtypes: dict[int, str]) -> tuple[ProgramTensor, ...]:
    return tuple(_tensor(feature, dtypes=dtypes) for feature in features)


def _tensor(feature: Any, *, dtypes: dict[int, str]) -> ProgramTensor:
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        if image.colorSpace != image.RGB:
            raise ValueError(f"{feature.name} is not an RGB image")
        return ProgramTensor(feature.name, dtype="image", shape=(1, 3, image.height, image.width))
    array = feature.type.multiArrayType
    if array.dataType not in dtypes:
        raise ValueError(f"{feature.name} has no type that this package knows")
    return ProgramTensor(feature.name, dtype=dtypes[array.dataType], shape=tuple(array.shape))
