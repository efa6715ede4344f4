"""Goldens of a bundle: an index that is edited, tensors whose header lies."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.device.goldens.schema import read_goldens
from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case
from tests.fuzz.safetensors_files import lying
from tests.fuzz.values import NUMBERS, shown
from tests.fuzz.world import World


def subject(world: World) -> Callable[[Random], Case]:
    index = (world.bundle / GOLDEN_INDEX).read_bytes()
    tensors = (world.bundle / GOLDEN_TENSORS).read_bytes()
    folder = world.work / "goldens"
    (folder / GOLDEN_INDEX).parent.mkdir(parents=True)

    def draw(rng: Random) -> Case:
        kind = rng.choice(("index", "index", "damage", "tensors", "tensors"))
        new_index, new_tensors = index, tensors
        if kind == "index":
            said, new_index = _edited(index, rng)
        elif kind == "damage":
            said, new_index = damaged(index, rng)
        else:
            said, new_tensors = rng.choice((damaged, lying))(tensors, rng)
        (folder / GOLDEN_INDEX).write_bytes(new_index)
        (folder / GOLDEN_TENSORS).write_bytes(new_tensors)
        return Case(f"goldens, {kind}: {said}", lambda: _read(folder))

    return draw


def _read(folder: Path) -> None:
    index, tensors = read_goldens(folder)
    assert set(index.tensors()) <= set(tensors)


def _edited(content: bytes, rng: Random) -> tuple[str, bytes]:
    index = copy.deepcopy(json.loads(content))
    name = rng.choice(sorted(index))
    place: object = index
    key: object = name
    while isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.8:
        place = place[key]
        key = rng.choice(sorted(place)) if isinstance(place, dict) else rng.randrange(len(place))
    plain = [each for each in NUMBERS if isinstance(each, (int, float, str, list, type(None)))]
    place[key] = rng.choice(plain)
    return f"{name} ... {key} is {shown(place[key])}", json.dumps(index).encode()
