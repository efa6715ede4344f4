"""Vocabulary packs: bytes damaged, headers that lie, embeddings and labels that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case, holds
from tests.fuzz.safetensors_files import lying
from tests.fuzz.values import THINGS, shown
from tests.fuzz.world import World

LABELS = ["dog", "cat", "zebra"]


def subject(world: World) -> Callable[[Random], Case]:
    path = world.folder / "whole.safetensors"
    world.model.save_vocabulary(path, LABELS)
    whole = path.read_bytes()

    def draw(rng: Random) -> Case:
        given: Any = world.work / "case.safetensors"
        if rng.random() < 0.03:
            given = rng.choice((*THINGS, "", "none", "/dev/null", "/", ".", "a\0b"))
            said = shown(given)
        else:
            said, content = rng.choice((damaged, lying, lying))(whole, rng)
            given.write_bytes(content)
        return Case(f"a pack: {said}", lambda: _use(world, given), check=holds)

    return draw


def _use(world: World, path: Any) -> object:
    model = world.fresh_model()
    labels = model.load_vocabulary(path)
    answers = [model.classify(world.image, labels), model.segment_text(world.image, labels)]
    model.close()
    return answers
