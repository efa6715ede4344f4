"""Prompts, texts and options: what fits, what nearly fits, and other things."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.fuzz.cases import WORDS, fuzz, noise, numbers, odd_texts, seeds, some, texts, things
from tests.fuzz.promises import SIZE, World, holds

HEIGHT, WIDTH = SIZE
KINDS = (*("float64",) * 8, "float32", "float16", "int64", "int32", "uint8", ">f4", "object")
holds_size = partial(holds, size=SIZE)


@st.composite
def coordinates(draw: st.DrawFn, *shapes: tuple[int, ...]) -> object:
    """Coordinates in the image, at times one that is not, as an array or as lists."""
    shape = draw(st.sampled_from(shapes))
    array = np.random.default_rng(draw(seeds)).uniform(0, HEIGHT, shape)
    if array.size and draw(st.integers(0, 6)) == 0:
        odd = st.sampled_from((0, WIDTH, WIDTH + 1, -1, 1e38, 1e300, 1e-45, -0.0)) | st.floats()
        array.flat[draw(st.integers(0, array.size - 1))] = draw(odd)
    if len(shape) > 1 and shape[-1] == 4 and draw(st.booleans()):
        array = np.sort(array.reshape(-1, 2, 2), axis=1).reshape(shape)
    with np.errstate(all="ignore"):
        array = array.astype(draw(st.sampled_from(KINDS)))
    return draw(st.sampled_from((array, array, array, array.tolist())))


@st.composite
def logits(draw: st.DrawFn, count: int) -> object:
    side = 4 * 16  # of the small model's mask prompt
    shapes = ((side, side), (count, side, side), (count, 1, side, side), (side, side + 1), (0,))
    values = np.random.default_rng(draw(seeds)).normal(size=draw(st.sampled_from(shapes)))
    scale = draw(st.sampled_from((1, 10, 1e3, 1e30, 1e300, np.inf, np.nan)))
    with np.errstate(all="ignore"):
        return (values * scale).astype(draw(st.sampled_from(("f4", "f8", "f2", "bool", "u1"))))


@st.composite
def prompts(draw: st.DrawFn) -> dict[str, Any]:
    """Options of `segment`."""
    count, length = draw(st.sampled_from((1, 1, 2, 3, 17))), draw(st.sampled_from((1, 1, 2, 3, 9)))
    fitting = ((length, 2), (count, length, 2), (count, length, 2), (2,))
    points = coordinates(*fitting, *fitting, (length, 3), (1, 1, 1, 2), (0, 2))
    labels = st.builds(
        lambda found, kind: found.astype(kind),
        arrays.arrays(
            "i8",
            st.sampled_from(((length,), (count, length), (count, length), (1,))),
            elements=st.integers(0, 1) if draw(st.booleans()) else st.integers(-3, 5),
        ),
        st.sampled_from(("int64", "int32", "float32", "bool", "object")),
    )
    asked = draw(
        some(
            points=points,
            point_labels=labels | labels.map(np.ndarray.tolist),
            boxes=coordinates((4,), *((count, 4),) * 6, (count, 2, 2), (count, 5)),
            mask_input=logits(count),
            multimask_output=st.sampled_from((True, False, False, None, 1, "yes", np.bool_(True))),
            mask_threshold=st.floats(-20, 20) | numbers,
        )
    )
    if not {"points", "boxes", "mask_input"} & set(asked):
        asked["points"] = draw(points)
    return asked


@fuzz(9, asked=prompts())
def test_segment(world: World, asked: dict[str, Any]) -> None:
    world.judge(lambda: world.model.segment(world.embedding, **asked), check=holds_size)


masks = st.builds(
    lambda shape, top, left, kind: _mask(shape, top, left).astype(kind),
    st.sampled_from((*(SIZE,) * 9, SIZE[::-1], (1, *SIZE), (0, 0))),
    st.integers(0, 60),
    st.integers(0, 130),
    st.sampled_from(("bool", "bool", "bool", "uint8", "float32", "object")),
)
regions = {"box": coordinates((4,), (1, 4)), "point": coordinates((2,), (2,), (3,)), "mask": masks}
one_region = st.one_of(*(st.fixed_dictionaries({name: value}) for name, value in regions.items()))


def _mask(shape: tuple[int, ...], top: int, left: int) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[..., top:, left:] = True
    return mask


@fuzz(
    3.2,
    examples=[{"region": {"mask": [[True], [True, False]]}}],
    region=one_region | one_region | some(**regions),
)
def test_embed_region(world: World, region: dict[str, Any]) -> None:
    world.judge(lambda: world.model.embed_region(world.embedding, **region), check=holds)


many = st.lists(texts, min_size=1, max_size=5)
labels = st.one_of(
    *(many, many, many, many.map(tuple), many.map(iter), texts, things),
    st.builds(lambda first, thing: [*first, thing], many, things),
    many.map(lambda first: [*first, first[0]]),
    st.builds(lambda text: np.array([text], dtype=object), texts),
)
TEXT_VERBS = {
    "classify": lambda world, names: world.model.classify(world.embedding, names),
    "segment_text": lambda world, names: world.model.segment_text(
        world.embedding, names, threshold=0
    ),
    "embed_text": lambda world, names: world.model.embed_text(names),
}


@fuzz(2, names=labels, verb=st.sampled_from(sorted(TEXT_VERBS)))
def test_texts(world: World, names: Any, verb: str) -> None:
    world.judge(lambda: TEXT_VERBS[verb](world, names), check=holds)


@fuzz(0.5, names=labels)
def test_save_vocabulary(world: World, names: Any) -> None:
    path = world.work / "pack.safetensors"
    writes = ("work/pack.safetensors",)
    world.judge(lambda: world.model.save_vocabulary(path, names), writes=writes)


@st.composite
def lessons(draw: st.DrawFn, dim: int = 192) -> Any:
    """Embeddings, most of them of unit length."""
    shape = (draw(st.sampled_from((1, 1, 2, 5, 0))), dim)
    rows = np.random.default_rng(draw(seeds)).normal(size=shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    odd = (rows[:, :-1], rows.T, rows[None], rows.astype("U8"), [*rows, [1.0]], rows[:1].ravel())
    scaled = tuple(rows * scale for scale in (0.0, 1.01, -1.0, 1e38, np.nan, np.inf))
    return draw(st.sampled_from((*(rows.astype("f4"),) * 20, *odd, *scaled)))


@fuzz(
    1,
    label=texts | texts | things,
    wanted=lessons(),
    unwanted=lessons() | st.just(()),
    score=st.sampled_from((0.95, 0.95, 0.6, 0.999999)) | numbers,
)
def test_learn_label(world: World, label: Any, wanted: Any, unwanted: Any, score: Any) -> None:
    model = world.fresh_model()

    def run() -> object:
        learned = model.learn_label(label, wanted, negatives=unwanted, score=score)
        return [learned, model.embed_text(label), model.classify(world.embedding, [label, "zebra"])]

    world.judge(run, check=holds)


shares = st.sampled_from((None, 0.0, 0.5, 0.95, 1.0))
cells = st.sampled_from(((1, 2), (2, 1), (1, 1), [1, 2], 100, 3))
odd_cells = st.sampled_from(((0, 1), (99, 99), (10**9, 1), (1, 10**30)))
overlaps = st.sampled_from((None, 0.1, 0.25, 0.5))
text_options: dict[str, st.SearchStrategy[Any]] = {
    "threshold": shares,
    "mask_threshold": st.sampled_from((None, 0, -5, 5.5)),
    "points_per_class": st.sampled_from((None, 1, 3, 1000)),
    "tiles": st.none() | cells | odd_cells,
    "tile_overlap": overlaps,
}
some_words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True)


def ask(world: World, verb: str, *names: Any, asked: dict[str, Any]) -> None:
    # Tiles need the image itself.
    image = world.image if asked.get("tiles") is not None else world.embedding
    call = partial(getattr(world.model, verb), image, *names, **asked)
    world.judge(call, check=holds_size)


@fuzz(
    5,
    examples=[
        {"names": ["dog"], "asked": {"refine": NotImplemented}},
        {"names": ["dog"], "asked": {"threshold": 1.0, "tiles": (1, 2)}},
    ],
    names=some_words,
    asked=some(**text_options, refine=st.booleans()),
)
def test_options_of_texts(world: World, names: list[str], asked: dict[str, Any]) -> None:
    ask(world, "segment_text", names, question=asked)


@fuzz(2, names=some_words, asked=some(**text_options, max_instances=st.sampled_from((1, 50))))
def test_options_of_instances(world: World, names: list[str], asked: dict[str, Any]) -> None:
    ask(world, "segment_instances", names, question=asked)


grids = some(
    labels=st.sampled_from((None, ["dog", "cat"], [], [""], "dog")) | many | odd_texts,
    pred_iou_thresh=shares,
    stability_score_thresh=shares,
    stability_score_offset=st.sampled_from((0.0, 1.0, 5.0)),
    box_nms_thresh=st.sampled_from((0.0, 0.7, 1.0)),
    tiles=st.none() | cells,
    tile_overlap=overlaps,
)


@fuzz(2, points=st.sampled_from((1, 2, 2, 2, 4, 5, 0, -1, None, 2.0, "2")), asked=grids)
def test_options_of_everything(world: World, points: Any, asked: dict[str, Any]) -> None:
    ask(world, "segment_everything", question={**asked, "points_per_side": points})


@fuzz(
    1.5,
    seed=seeds,
    count=st.integers(0, 3),
    odd=st.none() | st.tuples(st.integers(0, 3), things | st.just(noise(0, 21, 30))),
    container=st.sampled_from((list, tuple, iter)),
    asked=some(
        threshold=shares,
        mask_threshold=st.sampled_from((None, 0, 5.5)),
        max_instances=st.sampled_from((1, 50)),
        encode_every=st.sampled_from((1, 2, 5)),
    ),
)
def test_options_of_streams(
    world: World, seed: int, count: int, odd: Any, container: Any, asked: dict[str, Any]
) -> None:
    frames: list[Any] = [noise(seed + index, 20, 30) for index in range(count)]
    if odd is not None:
        frames.insert(odd[0], odd[1])
    stream = partial(world.model.stream, container(frames), ["dog", "cat"], **asked)
    size = (20, 30) if odd is None else None
    world.judge(lambda: list(stream()), check=partial(holds, size=size))
