"""The files that an .onnx file names as its external data.

onnxruntime, OpenVINO and TensorRT open them by themselves. So the names must be known before, and
without the package onnx: the file is a protobuf message, and a few of its fields lead to the names.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from samclip_sdk.bundle.graph_spec import Artifact
from samclip_sdk.errors import BundleError, one_line

_VARINT, _BYTES = 0, 2
_WIDTHS = {1: 8, 5: 4}
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto
_LOCATION = b"location"
_LAST_FIELD = (1 << 29) - 1  # protobuf may drop the first bits of a larger one
_MAX_VARINT_BITS = 64
_MAX_NESTED = 100  # the limit of protobuf itself
_SEARCHED_BYTES = 4096  # of nested messages, all would be searched for each that they are in

# Kind of message -> field -> kind of the messages in it: all ways that lead to a TensorProto's
# external_data, in onnx.proto of ONNX 1.19. Messages that are not listed hold no tensor.
_WAYS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}


def check_named_files(path: Path, *, artifact: Artifact) -> None:
    """Checks that an .onnx file reads no other file than the weights that the manifest lists.

    Args:
        path: the file.
        artifact: its entry in the manifest.

    Raises:
        BundleError: the file names another file, is no ONNX file, or cannot be read.
    """
    listed = {weights.path for weights in artifact.weights}
    folder = PurePosixPath(artifact.path).parent
    for name in sorted(named_files(path)):
        if str(folder / name) not in listed:
            raise BundleError(
                f"{path} reads {one_line(name)}, which the manifest does not list among its "
                "weights: nothing vouches for that file; export the bundle again"
            )


def named_files(path: Path) -> frozenset[str]:
    """The places of all external data in an .onnx file, as it spells them: relative to itself.

    Args:
        path: the file; it is walked, and weights in it are skipped.

    Raises:
        BundleError: the file is no ONNX file, or cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return frozenset(offset.decode("utf-8") for offset in _locations(data))
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # an empty one, too, and a place that is no UTF-8
        raise BundleError(f"{path} is no ONNX file: {error}") from error


def _locations(data: mmap.mmap) -> Iterator[bytes]:
    """The values of the key `location` of external data.

    Raises:
        ValueError: the bytes are no such message.
    """
    open_messages = [("model", _fields(data, 0, len(data)))]
    while open_messages:
        kind, fields = open_messages[-1]
        field, start, end = next(fields, (0, 0, 0))
        inner = _WAYS[kind].get(field)
        if inner == "entry":
            entry = {field: data[first:last] for field, first, last in _fields(data, start, end)}
            if entry.get(_KEY) == _LOCATION:
                yield entry.get(_VALUE, b"")
        elif inner is not None and _may_name(data, start, end):
            open_messages.append((inner, _fields(data, start, end)))
            if len(open_messages) > _MAX_NESTED:
                raise ValueError(f"it has more than {_MAX_NESTED} messages in each other")
        elif not field:
            open_messages.pop()


def _may_name(data: mmap.mmap, start: int, end: int) -> bool:
    """Whether a message may hold a location: it is large, or has the word. Few nodes have it."""
    return end - start > _SEARCHED_BYTES or data.find(_LOCATION, start, end) >= 0


def _fields(data: mmap.mmap, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that hold bytes: number, begin and end of each."""
    while offset < end:
        tag, offset = _varint(data, offset, end)
        field, kind, start = tag >> 3, tag & 7, offset
        if kind == _BYTES:
            size, start = _varint(data, offset, end)
            offset = start + size
        elif kind == _VARINT:
            _, offset = _varint(data, offset, end)
        elif kind in _WIDTHS:
            offset += _WIDTHS[kind]
        else:
            raise ValueError(f"a field of the type {kind} before byte {offset}")
        if offset > end or not 0 < field <= _LAST_FIELD:
            raise ValueError(f"a field {field} that cannot be, before byte {start}")
        if kind == _BYTES:
            yield field, start, offset


def _varint(data: mmap.mmap, offset: int, end: int) -> tuple[int, int]:
    """A number, and the offset behind it."""
    value = shift = 0
    while offset < end and shift < _MAX_VARINT_BITS:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset
    raise ValueError(f"a number without an end before byte {offset}")
