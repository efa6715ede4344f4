"""Iterators that use what they have yielded again, or close it: the answers are those of copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from samclip_sdk.picture.image import load_image
from tests.fuzz.oracle import Case
from tests.fuzz.values import pixels
from tests.fuzz.world import World
from tests.reused_pictures import REUSED

BROKEN_SHARE = 0.15  # of the cases: one item is no image, and the call is refused


def subject(world: World) -> Callable[[Random], Case]:
    def draw(rng: Random) -> Case:
        kind, verb = rng.choice(sorted(REUSED)), rng.choice((_embed, _stream))
        height, width = rng.randrange(2, 60), rng.randrange(2, 60)
        frames = [pixels(rng, height, width) for _ in range(rng.randrange(1, 9))]
        if rng.random() < BROKEN_SHARE:
            broken = rng.randrange(len(frames))
            return Case(
                f"{verb.__name__} {len(frames)} of {kind}, no image before item {broken}",
                lambda: _ask_broken(world, verb, kind, frames, broken),
                check=_never,
            )
        return Case(
            f"{verb.__name__} {len(frames)} of {kind}, {height}x{width}",
            lambda: _ask(world, verb, kind, frames),
            check=_same,
        )

    return draw


def _ask(
    world: World, verb: Callable[[World, Any], list[Any]], kind: str, frames: list[np.ndarray]
) -> tuple[list[Any], list[Any]]:
    """The answers of an iterator, and those of a list of copies."""
    with TemporaryDirectory() as name:
        reused: Iterable[Any] = REUSED[kind](frames, Path(name))
        copies = [load_image(each).copy() for each in reused]
        return verb(world, REUSED[kind](frames, Path(name))), verb(world, copies)


def _ask_broken(
    world: World,
    verb: Callable[[World, Any], list[Any]],
    kind: str,
    frames: list[np.ndarray],
    broken: int,
) -> list[Any]:
    """The answers of an iterator that gives what is no image before its item `broken`."""
    with TemporaryDirectory() as name:
        reused: Iterable[Any] = REUSED[kind](frames, Path(name))
        return verb(world, _with_none_at(reused, broken))


def _with_none_at(items: Iterable[Any], broken: int) -> Iterator[Any]:
    for index, item in enumerate(items):
        if index == broken:
            yield None
        yield item


def _never(answers: list[Any]) -> None:
    raise AssertionError(f"{len(answers)} answers of what is no image")


def _same(answers: tuple[list[Any], list[Any]]) -> None:
    found, expected = answers
    assert found == expected, "another picture's answer"


def _embed(world: World, pictures: Any) -> list[Any]:
    return [each.tolist() for each in world.model.embed_image(pictures)]


def _stream(world: World, pictures: Any) -> list[Any]:
    found = [each.to_dict() for each in world.model.stream(pictures, ["dog"], threshold=0.0)]
    return [{key: value for key, value in each.items() if key != "speed"} for each in found]
