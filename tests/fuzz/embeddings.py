"""Saved image embeddings: bytes damaged, arrays left out, of other shapes, dtypes and values."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from samclip_sdk import ImageEmbedding
from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case, holds
from tests.fuzz.values import THINGS, shown
from tests.fuzz.world import World


def subject(world: World) -> Callable[[Random], Case]:
    path = world.folder / "whole.npz"
    world.image.save(path)
    whole = path.read_bytes()
    with np.load(path) as stored:
        arrays = dict(stored)

    def draw(rng: Random) -> Case:
        given: Any = world.work / "case.npz"
        kind = rng.randrange(30)
        if kind == 0:
            given = rng.choice((*THINGS, "", "none.npz", "/dev/null", "/", "a\0b"))
            said = shown(given)
        else:
            said, content = damaged(whole, rng) if kind < 15 else _changed(arrays, rng)
            given.write_bytes(content)
        return Case(f"an embedding: {said}", lambda: _use(world, given), check=holds)

    return draw


def _use(world: World, path: Any) -> object:
    image = ImageEmbedding.load(path)
    model = world.model
    return [
        model.classify(image, ["dog", "cat"]),
        model.segment(image, points=[[0, 0]]),
        model.segment_text(image, ["dog", "cat"], threshold=0.0),
    ]


def _changed(arrays: dict[str, np.ndarray], rng: Random) -> tuple[str, bytes]:
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    changed: dict[str, object] = {
        "left out": None,
        "NaN": np.full(array.shape, np.nan),
        "infinite": np.full(array.shape, np.inf, np.float32),
        "huge": np.full(array.shape, 3e38, np.float32),
        "zero": np.zeros(array.shape, array.dtype),
        "as text": array.astype("U9"),
        "as objects": np.array([array], dtype=object),
        "flat": array.ravel(),
        "in a batch": np.stack([array, array]),
        "cut": array[..., :-1] if array.ndim else array,
        "a scalar": np.float32(1),
        "empty": np.zeros((1, 0, 0, 0), np.float32),
        "a frame": np.array(
            [rng.choice((0, -1, 1, 60, 96, 130, 256, 2**31, 2**40)) for _ in "12345"]
        ),
        "floats": np.array([96, 130, 256, 189, 256.5]),
    }
    for dtype in ("float64", "float16", "int32", "bool", "complex64"):
        if array.dtype.kind in "fi":
            changed[f"as {dtype}"] = array.astype(dtype)
    what = rng.choice(sorted(changed))
    new = {**arrays, name: changed[what]}
    content = io.BytesIO()
    np.savez(content, **{key: each for key, each in new.items() if each is not None})
    if rng.random() < 0.05:
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr(rng.choice(("other.npy", "../up.npy", "frame")), b"x")
    return f"{name} {what}", content.getvalue()
