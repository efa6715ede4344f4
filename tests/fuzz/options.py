"""Options of text-to-mask, of everything and of streams, alone and together."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.oracle import Case, holds
from tests.fuzz.values import NUMBERS, THINGS, WORDS, pixels, shown
from tests.fuzz.world import SIZE, World

TEXT: dict[str, tuple[object, ...]] = {
    "threshold": (None, 0.0, 0.5, 1.0),
    "mask_threshold": (None, 0, -5, 5.5),
    "points_per_class": (None, 1, 3, 1000),
    "refine": (True, False),
    "tiles": (
        None,
        (1, 2),
        100,
        (2, 1),
        (1, 1),
        [1, 2],
        (0, 1),
        (99, 99),
        3,
        (10**9, 1),
        (1, 10**30),
    ),
    "tile_overlap": (None, 0.1, 0.5, 0.25),
}
GRID: dict[str, tuple[object, ...]] = {
    "labels": (None, ["dog", "cat"], [], [""], "dog"),
    "points_per_side": (1, 2, 4, 5),
    "pred_iou_thresh": (None, 0.0, 0.5, 1.0),
    "stability_score_thresh": (None, 0.0, 0.95, 1.0),
    "stability_score_offset": (0.0, 1.0, 5.0),
    "box_nms_thresh": (0.0, 0.7, 1.0),
    "tiles": (None, None, (1, 2), 100),
    "tile_overlap": (None, None, 0.1),
}
STREAM: dict[str, tuple[object, ...]] = {
    "threshold": (None, 0.0, 0.5),
    "mask_threshold": (None, 0, 5.5),
    "max_instances": (1, 50),
    "encode_every": (1, 2, 5),
}


def subject(world: World) -> Callable[[Random], Case]:
    def draw(rng: Random) -> Case:
        verb = rng.choice((_text, _text, _text, _everything, _stream))
        return verb(rng, world)

    return draw


def _text(rng: Random, world: World) -> Case:
    options = _some(rng, TEXT)
    verb = rng.choice(("segment_text", "segment_instances"))
    if verb == "segment_instances":
        options.pop("refine", None)
        options |= _some(rng, {"max_instances": (1, 50)})
    # Tiles need the picture itself.
    image = world.picture if options.get("tiles") is not None else world.image
    names = rng.sample(WORDS, rng.randrange(1, 4))
    return Case(
        f"{verb} {names} {shown(options)}",
        lambda: getattr(world.model, verb)(image, names, **options),
        check=lambda answer: holds(answer, size=SIZE),
    )


def _everything(rng: Random, world: World) -> Case:
    options = {"points_per_side": 2, **_some(rng, GRID)}
    image = world.picture if options.get("tiles") is not None else world.image
    points = options["points_per_side"]
    if isinstance(points, int) and points > 5:
        options["points_per_side"] = 3
    return Case(
        f"segment_everything {shown(options)}",
        lambda: world.model.segment_everything(image, **options),
        check=lambda answer: holds(answer, size=SIZE),
    )


def _stream(rng: Random, world: World) -> Case:
    options = _some(rng, STREAM)
    frames: list[Any] = [pixels(rng, 20, 30) for _ in range(rng.randrange(4))]
    if rng.random() < 0.2:
        frames.insert(rng.randrange(len(frames) + 1), rng.choice((*THINGS, pixels(rng, 21, 30))))
    source: Any = rng.choice((frames, iter(frames), tuple(frames)))
    return Case(
        f"stream of {len(frames)} frames {shown(options)}",
        lambda: list(world.model.stream(source, ["dog", "cat"], **options)),
        check=lambda answer: holds(answer, size=(20, 30)),
    )


def _some(rng: Random, options: dict[str, tuple[object, ...]]) -> dict[str, Any]:
    """Some of the options with values that they may have; at times one with another."""
    names = [name for name in options if rng.random() < 0.4]
    chosen = {name: rng.choice(options[name]) for name in names}
    if names and rng.random() < 0.35:
        chosen[rng.choice(names)] = rng.choice((*NUMBERS, *THINGS))
    return chosen
