"""Safetensors files whose header lies: lengths, offsets, dtypes, shapes, metadata."""

from __future__ import annotations

import json
import math
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.values import NUMBERS, TEXTS, shown

DTYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I8",
    "U8",
    "I64",
    "BOOL",
    "F8_E4M3",
    "C64",
    "X",
    "",
    None,
    5,
)
SHAPES: tuple[object, ...] = (
    *([], [0], [3], [-1, 5], [2**63, 2], [2**32, 2**32], [3, 0], [1] * 40, [1.5, 2], "3", None),
)
LENGTHS = (0, 1, 7, 2**31, 2**32, 2**40, 2**63, 2**64 - 1)


def lying(content: bytes, rng: Random) -> tuple[str, bytes]:
    """A safetensors file with one lie in it, and the word for it."""
    start = 8 + int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8:start]), content[start:]
    lie = rng.choice((_length, _offsets, _dtype, _shape, _metadata, _header, _values, _tensors))
    said, header, body = lie(header, body, rng)
    packed = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8", "replace")
    length = len(packed)
    if lie is _length:
        length = rng.choice((*LENGTHS, length - 1, length + 1, length + len(body) + 1))
        said = f"a header of {length} bytes"
    return f"{lie.__name__.lstrip('_')}: {said}", length.to_bytes(8, "little") + packed + body


def _length(header: Any, body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    return "", header, body


def _tensor(header: dict[str, Any], rng: Random) -> dict[str, Any]:
    tensor: dict[str, Any] = header[rng.choice([each for each in header if each != "__metadata__"])]
    return tensor


def _offsets(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    ends = (0, 1, len(body) - 1, len(body), len(body) + 1, 2**63, 2**64, -1, 1.5, "0", None)
    offsets: object = [rng.choice(ends) for _ in range(rng.choice((2, 2, 2, 1, 3)))]
    _tensor(header, rng)["data_offsets"] = offsets
    return shown(offsets), header, body


def _dtype(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    tensor = _tensor(header, rng)
    tensor["dtype"] = rng.choice(DTYPES)
    if rng.random() < 0.5:  # so that the number of bytes fits
        size = tensor["data_offsets"][1] - tensor["data_offsets"][0]
        tensor["shape"] = [size // {"F64": 8, "I64": 8, "F32": 4, "F16": 2}.get(tensor["dtype"], 1)]
    return shown(tensor), header, body


def _shape(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    tensor = _tensor(header, rng)
    same = math.prod(tensor["shape"])
    tensor["shape"] = rng.choice((*SHAPES, [same], [1, same], [same, 1], tensor["shape"][::-1]))
    return shown(tensor), header, body


def _metadata(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    metadata = dict(header.get("__metadata__", {}))
    labels = json.dumps([rng.choice(TEXTS) for _ in range(3)])
    odd = (None, 5, [], {}, "", "[]", "x", '["a"]', "[1, 2, 3]", labels, labels, '"abc"', "\0" * 5)
    name = rng.choice([*metadata, "other"])
    metadata[name] = rng.choice((*odd, '["dog", "dog", "cat"]', "[" * 100_000))
    if rng.random() < 0.1:
        del metadata[name]
    header["__metadata__"] = rng.choice((metadata, metadata, metadata, None, [], "x"))
    return f"{name} {shown(metadata.get(name))}", header, body


def _header(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    raw: tuple[object, ...] = (
        *(b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"NaN"),
        *(list(header), {**header, "": {}}, {"__metadata__": header.get("__metadata__")}),
    )
    odd = rng.choice(raw)
    return shown(odd), odd, body


def _values(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    tensor = _tensor(header, rng)
    start, end = tensor["data_offsets"]
    count = (end - start) // 4
    values = np.frombuffer(body[start : start + 4 * count], dtype="<f4").copy()
    number = rng.choice((np.nan, np.inf, 0.0, 1e38, -1.0, 1e-30))
    values[rng.choice((slice(None), slice(0, 1)))] = number
    return str(number), header, body[:start] + values.tobytes() + body[start + 4 * count :]


def _tensors(header: dict[str, Any], body: bytes, rng: Random) -> tuple[str, Any, bytes]:
    tensor = dict(_tensor(header, rng))
    kind = rng.randrange(3)
    if kind == 0:
        header["another"] = tensor  # over the same bytes
        return "two over the same bytes", header, body
    if kind == 1:
        size = rng.choice((4, 4000))
        place = [len(body), len(body) + size]
        header["another"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": place}
        return "one more", header, body + bytes(size)
    for name in [each for each in header if each != "__metadata__"][:1]:
        header[str(rng.choice(NUMBERS))[:20]] = header.pop(name)
    return "one of another name", header, body
