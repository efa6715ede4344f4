"""Labels and texts: of any script, odd, long, twice, in odd containers; labels that are taught."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.oracle import Case, holds
from tests.fuzz.values import NUMBERS, THINGS, labels, shown, text
from tests.fuzz.world import SIZE, World


def subject(world: World) -> Callable[[Random], Case]:
    def draw(rng: Random) -> Case:
        names: Any = labels(rng)
        said = shown(names)
        model = world.model
        verb = rng.choice(
            ("classify", "segment_text", "embed_text", "save_vocabulary", "learn_label")
        )
        if verb == "learn_label":
            return _lesson(rng, world)
        calls: dict[str, tuple[Callable[[], object], Callable[[Any], None]]] = {
            "classify": (lambda: model.classify(world.image, names), holds),
            "segment_text": (
                lambda: model.segment_text(world.image, names, threshold=0.0),
                lambda answer: holds(answer, size=SIZE),
            ),
            "embed_text": (lambda: model.embed_text(names), holds),
            "save_vocabulary": (
                lambda: model.save_vocabulary(world.work / "pack.safetensors", names),
                lambda answer: None,
            ),
        }
        run, check = calls[verb]
        return Case(f"{verb} {said}", run, check=check, writes=("work/pack.safetensors",))

    return draw


def _lesson(rng: Random, world: World) -> Case:
    """Teaches a label by embeddings, most of them of unit length, and asks for it."""
    label: Any = rng.choice(THINGS) if rng.random() < 0.1 else text(rng)
    dim = world.model.manifest.model.embed_dim
    wanted, unwanted = _regions(rng, dim), _regions(rng, dim) if rng.random() < 0.5 else ()
    if rng.random() < 0.1:
        unwanted = wanted
    score: Any = rng.choice((0.95, 0.6, 0.999999, rng.choice(NUMBERS)))
    model = world.fresh_model()

    def run() -> object:
        learned = model.learn_label(label, wanted, negatives=unwanted, score=score)
        return [learned, model.embed_text(label), model.classify(world.image, [label, "zebra"])]

    regions = f"{np.shape(wanted)}, not {np.shape(unwanted)}"
    said = f"learn_label {shown(label)} by {regions}, {shown(score)}"
    return Case(said, run, check=holds)


def _regions(rng: Random, dim: int) -> Any:
    count = rng.choice((1, 1, 2, 5, 0))
    rows = np.random.default_rng(rng.getrandbits(32)).normal(size=(count, dim))
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    kind = rng.randrange(10)
    if kind == 0:
        return rows * rng.choice((0.0, 1.01, -1.0, 1e38, np.nan, np.inf))
    if kind == 1:
        return rng.choice((rows[:, :-1], rows.T, rows[None], rows.astype("U8"), [*rows, [1.0]]))
    return rows[0] if count and kind < 4 else rows.astype(rng.choice(("float32", "float64")))
