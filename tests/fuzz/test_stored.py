"""What is stored: goldens, vocabulary packs and image embeddings; damaged, edited, impossible."""

from __future__ import annotations

import io
import json
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

INDEX, TENSORS = ((TINY_BUNDLE / path).read_bytes() for path in (GOLDEN_INDEX, GOLDEN_TENSORS))
paths = things | st.sampled_from(("", "none", "/dev/null", "/", ".", "a\0b", "x" * 300))
sides = st.integers(-1, 300) | st.sampled_from((2**32, 2**63, 1.5, None))
header_values = st.one_of(
    json_values,
    st.sampled_from(("F64", "F32", "F16", "BF16", "I8", "U8", "I64", "BOOL", "F8_E4M3", "C64")),
    st.lists(sides, max_size=4) | st.just([1] * 40),
    st.lists(odd_texts, min_size=3, max_size=3).map(json.dumps),
    st.sampled_from(("[]", '["a"]', "[1, 2, 3]", '["dog", "dog", "cat"]', "[" * 100_000)),
)
headers = edits(header_values, depth=3)


def with_header(content: bytes, edit: Edit) -> bytes:
    """A safetensors file whose header says something else."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(edited(json.loads(content[8:start]), edit)).encode()
    return len(header).to_bytes(8, "little") + header + content[start:]


def read_golden_files(world: World, *, index: bytes = INDEX, tensors: bytes = TENSORS) -> None:
    folder = world.work / "goldens"
    for path, content in ((GOLDEN_INDEX, index), (GOLDEN_TENSORS, tensors)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)

    def run() -> None:
        found, read = read_goldens(folder)
        assert set(found.tensors()) <= set(read)

    world.judge(run)


@fuzz(3, edit=edits())
def test_edited_goldens(world: World, edit: Edit) -> None:
    read_golden_files(world, index=json.dumps(edited(json.loads(INDEX), edit)).encode())


@fuzz(3, edit=headers)
def test_tensors_of_goldens(world: World, edit: Edit) -> None:
    read_golden_files(world, tensors=with_header(TENSORS, edit))


@fuzz(2, ways=damage, of_index=st.booleans())
def test_damaged_goldens(world: World, ways: Damage, of_index: bool) -> None:
    if of_index:
        read_golden_files(world, index=damaged(INDEX, ways))
    else:
        read_golden_files(world, tensors=damaged(TENSORS, ways))


@pytest.fixture(scope="module")
def pack(world: World) -> bytes:
    path = world.folder / "whole.safetensors"
    world.model.save_vocabulary(path, ["dog", "cat", "zebra"])
    return path.read_bytes()


def load_pack(world: World, given: Any) -> None:
    if isinstance(given, bytes):
        path = world.work / "case.safetensors"
        path.write_bytes(given)
        given = path
    model = world.fresh_model()

    def run() -> object:
        names = model.load_vocabulary(given)
        return [model.classify(world.embedding, names), model.segment_text(world.embedding, names)]

    world.judge(run, check=holds)
    model.close()


@fuzz(4, edit=headers)
def test_edited_packs(world: World, pack: bytes, edit: Edit) -> None:
    load_pack(world, with_header(pack, edit))


@fuzz(3, ways=damage)
def test_damaged_packs(world: World, pack: bytes, ways: Damage) -> None:
    load_pack(world, damaged(pack, ways))


@pytest.fixture(scope="module")
def embedding(world: World) -> Path:
    path = world.folder / "whole.npz"
    world.embedding.save(path)
    return path


def load_embedding(world: World, given: Any) -> None:
    if isinstance(given, bytes):
        path = world.work / "case.npz"
        path.write_bytes(given)
        given = path
    model = world.model

    def run() -> object:
        image = ImageEmbedding.load(given)
        return [
            model.classify(image, ["dog", "cat"]),
            model.segment(image, points=[[0, 0]]),
            model.segment_text(image, ["dog", "cat"], threshold=0.0),
        ]

    world.judge(run, check=holds)


@fuzz(4, ways=damage)
def test_damaged_embeddings(world: World, embedding: Path, ways: Damage) -> None:
    load_embedding(world, damaged(embedding.read_bytes(), ways))


@fuzz(
    4,
    examples=[{"index": each, "instead": 3e38} for each in range(5)],
    index=st.integers(0, 9),
    instead=st.floats(width=32) | arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes()),
)
def test_changed_embeddings(
    world: World, embedding: Path, index: int, instead: float | np.ndarray
) -> None:
    """One of its arrays is another, or has one number everywhere."""
    with np.load(embedding) as stored:
        found: dict[str, np.ndarray] = dict(stored)
    name = sorted(found)[index % len(found)]
    if isinstance(instead, float):
        instead = np.full(found[name].shape, instead, np.float32)
    content = io.BytesIO()
    np.savez(content, **found | {name: instead})
    load_embedding(world, content.getvalue())


@fuzz(0.5, examples=[{"path": "/dev/zero"}], path=paths)
def test_paths_of_what_is_stored(world: World, path: Any) -> None:
    if not isinstance(path, bytes):
        load_embedding(world, path)
        load_pack(world, path)
