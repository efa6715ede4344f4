"""Points, boxes and masks: numbers, shapes and dtypes that fit, that nearly fit, and others."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.oracle import Case, holds
from tests.fuzz.values import NUMBERS, THINGS, odd_number, shown
from tests.fuzz.world import SIZE, World

HEIGHT, WIDTH = SIZE
DTYPES = (*("float64",) * 8, "float32", "float16", "int64", "int32", "uint8", ">f4", "object")


def subject(world: World) -> Callable[[Random], Case]:
    side = 4 * world.image.image_embeddings.shape[-1]

    def draw(rng: Random) -> Case:
        if rng.random() < 0.25:
            region = _region(rng)
            return Case(
                f"embed_region {shown(region)}",
                lambda: world.model.embed_region(world.image, **region),
                check=holds,
            )
        asked = _prompts(rng, side=side)
        return Case(
            f"segment {shown(asked)}",
            lambda: world.model.segment(world.image, **asked),
            check=lambda answer: holds(answer, size=SIZE),
        )

    return draw


def _prompts(rng: Random, *, side: int) -> dict[str, Any]:
    count, length = rng.choice((1, 1, 2, 3, 17)), rng.choice((1, 1, 2, 3, 9))
    asked: dict[str, Any] = {}
    if rng.random() < 0.7:
        asked["points"] = _points(rng, count=count, length=length)
        if rng.random() < 0.6:
            asked["point_labels"] = _labels(rng, points=asked["points"])
    if rng.random() < 0.4 or not asked:
        asked["boxes"] = _boxes(rng, count=count)
    if rng.random() < 0.15:
        asked["mask_input"] = _logits(rng, side=side, count=count)
    if rng.random() < 0.5:
        asked["multimask_output"] = rng.choice((True, False, False, None, 1, "yes", np.bool_(True)))
    if rng.random() < 0.2:
        asked["mask_threshold"] = rng.choice((*NUMBERS, rng.uniform(-20, 20)))
    if rng.random() < 0.1:
        asked[rng.choice(sorted(asked))] = rng.choice(THINGS)
    return asked


def _points(rng: Random, *, count: int, length: int) -> object:
    fitting = ((length, 2), (count, length, 2), (count, length, 2), (2,))
    return _filled(
        rng, rng.choice(fitting if rng.random() < 0.85 else ((length, 3), (1, 1, 1, 2), (0, 2)))
    )


def _labels(rng: Random, *, points: object) -> object:
    shape = np.shape(np.asarray(points, dtype=object))[:-1]
    low, high = rng.choice(((0, 2), (0, 2), (-1, 2), (-1, 4), (-3, 6)))
    labels = np.array([rng.randrange(low, high) for _ in range(math.prod(shape))]).reshape(shape)
    typed = labels.astype(rng.choice(("int64", "int32", "int64", "float32", "bool", "object")))
    return rng.choice((typed, typed, labels.tolist(), labels.ravel(), labels.ravel()[:1]))


def _boxes(rng: Random, *, count: int) -> object:
    boxes = _filled(rng, rng.choice(((4,), *((count, 4),) * 9, (count, 2, 2), (count, 5))))
    if isinstance(boxes, np.ndarray) and boxes.size % 4 == 0 and rng.random() < 0.9:
        corners = np.sort(boxes.astype(float).reshape(-1, 2, 2), axis=1)
        return corners.reshape(boxes.shape)
    return boxes


def _filled(rng: Random, shape: tuple[int, ...]) -> object:
    """Coordinates in the picture, at times one that is not, as an array or as lists."""
    flat = [rng.uniform(0, HEIGHT) for _ in range(math.prod(shape))]
    if flat and rng.random() < 0.15:
        flat[rng.randrange(len(flat))] = odd_number(rng, 0, WIDTH)
    array = np.array(flat, dtype=object).reshape(shape)
    with np.errstate(all="ignore"), suppress(OverflowError, ValueError):
        array = array.astype(rng.choice(DTYPES))
    return array.tolist() if rng.random() < 0.2 else array


def _logits(rng: Random, *, side: int, count: int) -> object:
    shapes = ((side, side), (count, side, side), (count, 1, side, side), (side, side + 1), (0,))
    scale = rng.choice((1, 10, 1e3, 1e30, 1e300, math.inf, math.nan))
    noise = np.random.default_rng(rng.getrandbits(32)).normal(size=rng.choice(shapes))
    with np.errstate(all="ignore"):
        return (noise * scale).astype(
            rng.choice(("float32", "float64", "float16", "bool", "uint8"))
        )


def _region(rng: Random) -> dict[str, Any]:
    """A box, a point or a mask in the picture; at times none, two, or something else."""
    mask = np.zeros(rng.choice((*(SIZE,) * 9, SIZE[::-1], (1, *SIZE), (0, 0))), dtype=bool)
    if rng.random() < 0.8:
        mask[..., rng.randrange(60) :, rng.randrange(90) :] = True
    dtype = rng.choice(("bool", "bool", "bool", "uint8", "float32", "object"))
    regions: dict[str, object] = {
        "box": np.ravel(_boxes(rng, count=1)),
        "point": _filled(rng, rng.choice((*((2,),) * 6, (1, 2), (3,)))),
        "mask": mask.astype(dtype),
    }
    names = rng.sample(sorted(regions), rng.choice((*(1,) * 10, 2, 0)))
    chosen: dict[str, object] = {name: regions[name] for name in names}
    if chosen and rng.random() < 0.1:
        chosen[rng.choice(names)] = rng.choice(THINGS)
    return chosen
