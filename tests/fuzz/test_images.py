"""Images: arrays of every kind, Pillow's modes, files whole and damaged, things that are none."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tests.fuzz.cases import Damage, damage, damaged, fuzz, noise, seeds, things
from tests.fuzz.image_files import image_files
from tests.fuzz.promises import World, holds

SIZES = (
    *((1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1), (3, 3000), (1, 257), (255, 256), (16, 16)),
    *((33, 7), (0, 5), (5, 0), (0, 0), (600, 800)),
)
MODES = (
    *("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX"),
    *("RGBa", "La", "I;16", "I;16B", "I;16L"),
)
VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "reversed": lambda base: base[::-1, ::-1],
    "bgr": lambda base: base[..., ::-1],
    "transposed": lambda base: base.transpose(1, 0, 2),
    "strided": lambda base: base[::3, ::2],
    "fortran": np.asfortranarray,
    "broadcast": lambda base: np.broadcast_to(base[:1, :1], (40, 50, 3)),
    "masked": lambda base: np.ma.masked_array(base, mask=base > 100),
    "recarray": lambda base: base.view(np.recarray),
    "some channels": lambda base: np.tile(base, 3)[..., 2:5],
    "grey": lambda base: base[..., 0],
}
PATHS = (
    *("", " ", "\0", "a\0b", "none.jpg", "/dev/null", "/", ".", "/proc/self/mem", "\ud800", "~"),
    *("x" * 5000, "http://example.com/a.jpg", "file:///etc/passwd", b"none.jpg"),
)
VERBS: dict[str, Callable[[Any, Any], object]] = {
    "segment_text": lambda model, image: model.segment_text(image, ["apple", "dog"], threshold=0.0),
    "classify": lambda model, image: model.classify(image, ["apple", "dog"]),
    "prepare_image": lambda model, image: model.prepare_image(image),
    "segment": lambda model, image: model.segment(image, points=[[0, 0]]),
}
verbs = st.sampled_from(("segment_text", *VERBS))


def ask(world: World, verb: str, image: object, *, size: tuple[int, int] | None = None) -> None:
    check = partial(holds, size=None if verb == "classify" else size)
    world.judge(lambda: VERBS[verb](world.model, image), check=check)


shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8) | st.builds(
    lambda channels: (8, 8, channels), st.integers(0, 5)
)


@fuzz(1.5, seed=seeds, size=st.sampled_from(SIZES), channels=st.sampled_from((3, 1, 4)), verb=verbs)
def test_arrays(world: World, seed: int, size: tuple[int, int], channels: int, verb: str) -> None:
    ask(world, verb, noise(seed, *size, channels), size=size)


@fuzz(
    1.5,
    image=arrays.arrays(arrays.scalar_dtypes(), shapes, fill=st.nothing())
    | st.builds(np.zeros, shapes, st.sampled_from(("O", "U1", "S1", "V3", "M8[s]", "longdouble"))),
    verb=verbs,
)
def test_arrays_of_any_kind(world: World, image: np.ndarray, verb: str) -> None:
    ask(world, verb, image)


@fuzz(1.5, seed=seeds, view=st.sampled_from(sorted(VIEWS)), verb=verbs)
def test_views(world: World, seed: int, view: str, verb: str) -> None:
    image = VIEWS[view](noise(seed, 64, 80))
    ask(world, verb, image, size=image.shape[:2])


@fuzz(
    1.5,
    mode=st.sampled_from(MODES),
    size=st.sampled_from(((1, 2), (17, 9), (200, 300))),
    turned=st.sampled_from((None, None, 1, 3, 6, 8, 9, -1, "x")),
    closed=st.integers(0, 19),
    verb=verbs,
)
def test_pillow(
    world: World, mode: str, size: tuple[int, int], turned: object, closed: int, verb: str
) -> None:
    height, width = size
    image = Image.new(mode, (width, height))
    if mode in ("1", "L", "RGB"):
        image.paste(Image.fromarray(noise(0, height, width)).convert(mode), (0, 0))
    if turned is not None:
        image.getexif()[0x0112] = turned
    if closed == 0:
        image.close()
    ask(world, verb, image, size=(width, height) if turned in (6, 8) else size)


@fuzz(
    1,
    examples=[{"thing": "/proc/self/mem", "before": None, "verb": each} for each in VERBS],
    thing=things | st.sampled_from((*PATHS, noise(0, 3, 3).tolist())) | st.builds(io.BytesIO),
    # Many images are their own kind of call, with answers in a list or an iterator.
    before=st.sampled_from((None, None, [], [noise(0, 9, 9)])),
    verb=verbs,
)
def test_things(world: World, thing: object, before: list[object] | None, verb: str) -> None:
    ask(world, verb, thing if before is None else [*before, thing])


@fuzz(
    5,
    name=st.sampled_from(sorted(image_files())),
    ways=damage | damage | st.just([]),
    given_as=st.sampled_from(("path", "name", "bytes", "file")),
    verb=verbs,
)
def test_files(world: World, name: str, ways: Damage, given_as: str, verb: str) -> None:
    content = damaged(image_files()[name], ways)
    path = world.work / f"case.{name.rpartition('.')[2]}"
    path.write_bytes(content)
    images = {"path": path, "name": str(path), "bytes": content, "file": io.BytesIO(content)}
    ask(world, verb, images[given_as])
    path.unlink()
