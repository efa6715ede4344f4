"""What is stored: goldens, vocabulary packs and image embeddings; damaged, edited, impossible."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samclip_sdk import ImageEmbedding
from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.device.goldens.schema import read_goldens
from tests.drawings import TINY_BUNDLE
from tests.fuzz.cases import (
    Damage,
    Edit,
    damage,
    damaged,
    edited,
    edits,
    fuzz,
    json_values,
    odd_texts,
    things,
)
from tests.fuzz.promises import World, holds

INDEX = json.loads((TINY_BUNDLE / GOLDEN_INDEX).read_bytes())
GOLDENS = {"index": GOLDEN_INDEX, "tensors": GOLDEN_TENSORS}
paths = things | st.sampled_from(("", "none", "/dev/null", "/", ".", "a\0b", "x" * 300))


def read_golden_files(world: World, **changed: bytes) -> None:
    folder = world.work / "goldens"
    (folder / GOLDEN_INDEX).parent.mkdir(parents=True, exist_ok=True)
    for name, path in GOLDENS.items():
        (folder / path).write_bytes(changed.get(name, (TINY_BUNDLE / path).read_bytes()))

    def run() -> None:
        index, tensors = read_goldens(folder)
        assert set(index.tensors()) <= set(tensors)

    world.judge(run)


LENGTHS = (0, 1, 7, 2**31, 2**32, 2**40, 2**63, 2**64 - 1)
sides = st.integers(-1, 300) | st.sampled_from((2**32, 2**63, 1.5, None))
header_values = st.one_of(
    json_values,
    st.sampled_from(("F64", "F32", "F16", "BF16", "I8", "U8", "I64", "BOOL", "F8_E4M3", "C64")),
    st.lists(sides, max_size=4) | st.just([1] * 40),
    st.lists(odd_texts, min_size=3, max_size=3).map(json.dumps),
    st.sampled_from(("[]", '["a"]', "[1, 2, 3]", '["dog", "dog", "cat"]', "[" * 100_000)),
)
RAW_HEADERS = (b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"a":' * 50_000, b"NaN")
Lie = tuple[str, Any]
lies: st.SearchStrategy[Lie] = st.one_of(
    *(st.tuples(st.just("header"), edits(header_values, depth=3)),) * 4,
    st.tuples(st.just("dtype"), st.sampled_from(("F64", "F32", "F16", "BF16", "I8", "U8", "C64"))),
    st.tuples(st.just("shape"), st.sampled_from(([-1], [1, -1], [-1, 1], [0, -1]))),
    st.tuples(st.just("length"), st.sampled_from(LENGTHS) | st.integers(-300, 300)),
    st.tuples(st.just("raw"), st.sampled_from(RAW_HEADERS)),
    st.tuples(st.just("values"), st.floats(width=32)),
    st.tuples(st.just("another"), st.sampled_from((0, 4, 4000))),
    st.tuples(st.just("renamed"), odd_texts),
)


def lying(content: bytes, lie: Lie) -> bytes:
    """A safetensors file with one lie in it: of its header, or what is in its first tensor."""
    kind, value = lie
    start = 8 + int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8:start]), content[start:]
    name = next(each for each in header if each != "__metadata__")
    tensor = header[name]
    first, last = tensor["data_offsets"]
    match kind:
        case "header":
            header = edited(header, value)
        case "dtype":  # and a shape that fits the number of bytes
            size = {"F64": 8, "C64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(value, 1)
            tensor.update(dtype=value, shape=[(last - first) // size])
        case "shape":
            tensor["shape"] = [math.prod(tensor["shape"]) if n < 0 else n for n in value]
        case "values":
            body = body[:first] + np.full((last - first) // 4, value, "<f4").tobytes() + body[last:]
        case "another":  # over the same bytes, or over more
            place = [len(body), len(body) + value] if value else tensor["data_offsets"]
            header["another"] = {**tensor, "dtype": "U8", "data_offsets": place}
            body += bytes(value)
        case "renamed":
            header[value] = header.pop(name)
    packed = value if kind == "raw" else json.dumps(header).encode()
    length = len(packed) + value if kind == "length" and value < 301 else len(packed)
    length = value if kind == "length" and value > 300 else max(length, 0)
    return length.to_bytes(8, "little") + packed + body


@fuzz(3, edit=edits())
def test_edited_goldens(world: World, edit: Edit) -> None:
    read_golden_files(world, index=json.dumps(edited(INDEX, edit)).encode())


@fuzz(2, ways=damage, name=st.sampled_from(sorted(GOLDENS)))
def test_damaged_goldens(world: World, ways: Damage, name: str) -> None:
    content = damaged((TINY_BUNDLE / GOLDENS[name]).read_bytes(), ways)
    read_golden_files(world, **{name: content})


@fuzz(3, examples=[{"lie": ("dtype", "BF16")}], lie=lies)
def test_goldens_that_lie(world: World, lie: Lie) -> None:
    read_golden_files(world, tensors=lying((TINY_BUNDLE / GOLDEN_TENSORS).read_bytes(), lie))


@pytest.fixture(scope="module")
def pack(world: World) -> Path:
    path = world.folder / "whole.safetensors"
    world.model.save_vocabulary(path, ["dog", "cat", "zebra"])
    return path


def load_pack(world: World, given: Any) -> None:
    if isinstance(given, bytes):
        path = world.work / "case.safetensors"
        path.write_bytes(given)
        given = path
    model = world.fresh_model()

    def run() -> object:
        names = model.load_vocabulary(given)
        return [model.classify(world.image, names), model.segment_text(world.image, names)]

    world.judge(run, check=holds)
    model.close()


@fuzz(4, examples=[{"lie": ("dtype", "BF16")}], lie=lies)
def test_packs_that_lie(world: World, pack: Path, lie: Lie) -> None:
    load_pack(world, lying(pack.read_bytes(), lie))


@fuzz(3, ways=damage)
def test_damaged_packs(world: World, pack: Path, ways: Damage) -> None:
    load_pack(world, damaged(pack.read_bytes(), ways))


@pytest.fixture(scope="module")
def embedding(world: World) -> Path:
    path = world.folder / "whole.npz"
    world.image.save(path)
    return path


def load_embedding(world: World, given: Any) -> None:
    model = world.model

    def run() -> object:
        image = ImageEmbedding.load(given)
        return [
            model.classify(image, ["dog", "cat"]),
            model.segment(image, points=[[0, 0]]),
            model.segment_text(image, ["dog", "cat"], threshold=0.0),
        ]

    world.judge(run, check=holds)


def written(world: World, content: bytes) -> Path:
    path = world.work / "case.npz"
    path.write_bytes(content)
    return path


@fuzz(4, ways=damage)
def test_damaged_embeddings(world: World, embedding: Path, ways: Damage) -> None:
    load_embedding(world, written(world, damaged(embedding.read_bytes(), ways)))


@fuzz(0.5, examples=[{"path": "/dev/zero"}], path=paths)
def test_paths_of_what_is_stored(world: World, path: Any) -> None:
    load_embedding(world, path)
    if not isinstance(path, bytes):
        load_pack(world, path)


kinds = st.sampled_from(("f8", "f4", "f2", "i4", "bool", "c8", "U9", "O", "i8"))
changes = st.one_of(
    st.none(),
    st.tuples(st.just("filled"), st.floats(width=32) | st.sampled_from((3e38, 0.0, 1e-30))),
    st.tuples(st.just("as"), kinds),
    st.tuples(st.just("shape"), st.sampled_from(("flat", "batch", "cut", "scalar"))),
    arrays.arrays("i8", 5, elements=st.integers(-1, 300) | st.sampled_from((2**31, 2**40))),
    arrays.arrays("f8", 5, elements=st.floats()),
    st.just(np.zeros((1, 0, 0, 0), np.float32)),
)


@fuzz(
    4,
    examples=[{"place": each, "change": ("filled", 3e38), "more": None} for each in range(5)],
    place=st.integers(0, 9),
    change=changes,
    more=st.sampled_from((*(None,) * 15, "other.npy", "../up.npy", "frame")),
)
def test_changed_embeddings(
    world: World, embedding: Path, place: int, change: Any, more: str | None
) -> None:
    with np.load(embedding) as stored:
        found: dict[str, np.ndarray] = dict(stored)
    name = sorted(found)[place % len(found)]
    array = found.pop(name)
    if change is not None:
        found[name] = change if isinstance(change, np.ndarray) else _changed(array, *change)
    content = io.BytesIO()
    np.savez(content, **found)
    if more is not None:
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(more, b"x")
    load_embedding(world, written(world, content.getvalue()))


def _changed(array: np.ndarray, kind: str, value: Any) -> np.ndarray:
    if kind == "filled":
        return np.full(array.shape, value, np.float32)
    if kind == "as":
        with np.errstate(all="ignore"):
            return array.astype(value) if array.dtype.kind in "fi" else np.zeros(1, value)
    shapes = {
        "flat": array.ravel(),
        "batch": np.stack([array, array]),
        "cut": array[..., :-1] if array.ndim else array,
        "scalar": np.asarray(np.float32(1)),
    }
    return shapes[value]
