"""How many cases there are, of what; and values as users, disks and attackers give them."""

from __future__ import annotations

import copy
import faulthandler
import functools
import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, note, seed, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

CASES = int(os.environ.get("FUZZ_CASES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
RUNS = Path(__file__).parents[2] / "runs" / "fuzz"
LIMIT_S = 60.0
"""Of a case. One takes milliseconds; on a machine with other work a hang must not be guessed."""


def fuzz(
    percent: float,
    *,
    examples: Sequence[dict[str, Any]] = (),
    **strategies: st.SearchStrategy[Any],
) -> Callable[[Any], Any]:
    """Gives a test so much of all cases, and before them those that have once failed.

    One that crashes or hangs ends the process. What it was given is in runs/fuzz then, in a file of
    the test's name.
    """

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def watched(**arguments: Any) -> None:
            RUNS.mkdir(parents=True, exist_ok=True)
            path = RUNS / f"{test.__name__}.txt"
            drawn = {name: arguments[name] for name in strategies}
            with path.open("w") as file:
                print(shown(drawn, letters=100_000), file=file, flush=True)
                note(shown(drawn, letters=2000))
                faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=file)
                try:
                    test(**arguments)
                finally:
                    faulthandler.cancel_dump_traceback_later()
            path.unlink()

        fuzzed = given(**strategies)(watched)
        for each in examples:
            fuzzed = example(**each)(fuzzed)
        # Of strategies that hold long texts, as it tells what has been drawn.
        quiet = pytest.mark.filterwarnings("ignore:Generating overly large repr")
        return quiet(seed(SEED)(_settings(percent)(fuzzed)))

    return decorate


def _settings(percent: float) -> settings:
    """Those of a campaign begin with what has failed the last time."""
    database = None
    if "FUZZ_CASES" in os.environ:
        database = DirectoryBasedExampleDatabase(RUNS / "examples")
    return settings(
        max_examples=max(4, round(CASES * percent / 100)),
        derandomize=False,  # the seed decides
        database=database,
        deadline=None,
        print_blob=True,
        phases=set(Phase) - {Phase.explain},
        suppress_health_check=list(HealthCheck),
    )


def shown(thing: object, *, letters: int = 200) -> str:
    """A value in a few letters, whatever it is."""
    try:
        said = ascii(thing)
    except Exception as error:  # a number with too many digits, for instance
        said = f"{type(thing).__name__} ({type(error).__name__})"
    return " ".join(said.split())[:letters]


WORDS = ("dog", "cat", "apple", "tree", "a red car", "piano", "sky", "person", "the the", "x")
ODD_TEXTS = (
    *("", " ", "\t\n", "\0", "a\0b", "\ud800", "👨‍👩‍👧‍👦", "كلب", "‮dog", "e\u0301", "ﬁ", "\ufeff"),
    *("&lt;b&gt;", "&#0;", "&#x110000;", "<start_of_text>", "dog<end_of_text>cat", "{}", "{label}"),
    *("%s", "Ã©", "\x1b[31mred", "\r\ndog", "!" * 100, "\x7f\x80\x9f", "[red]x[/red]", "İ", "ẞ"),
    *("-x", "--json", "'", '"', "../x", "dog,cat", "1", "{0}"),
)
ANY_LETTERS = st.text(st.characters(exclude_categories=()), max_size=30)
"""Halves of characters among them."""

words = st.sampled_from(WORDS)
odd_texts = st.sampled_from(ODD_TEXTS) | ANY_LETTERS
long_texts = st.builds(
    lambda text, times: text * times,
    st.sampled_from(("dog ", "😀", "a", "&amp;")),
    st.sampled_from((10, 300, 5000)),
)
texts = words | words | odd_texts | long_texts

LARGE: tuple[Any, ...] = (2**31, 2**32 - 1, 2**63, -(2**63), 2**64, 10**30, 1e38, 1e300, 1e-320)
json_values = st.one_of(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.sampled_from(LARGE),
    odd_texts,
    st.sampled_from(("../../etc/passwd", "/etc/passwd", "a\\b", "manifest.json", "x" * 20_000)),
    st.builds(list) | st.builds(dict) | st.just([None]) | st.just(["a"] * 300) | st.just([[[[1]]]]),
)
numbers = st.one_of(
    st.floats() | st.integers() | st.floats(-30, 30),
    st.sampled_from((*LARGE, 10**400, 1j, "1", "0.5", b"1", None, True, [0], (1,))),
    st.sampled_from((np.float32(0), np.int64(2), np.uint64(2**64 - 1), np.array([0.5, 0.5]))),
    st.sampled_from((np.array(0.5), np.array([2]), np.bool_(True), np.float16(0.3))),
)
things = st.sampled_from(
    (
        *(None, 5, 5.5, True, math.nan, "", "abc", "\0", "\ud800", b"", b"abc", bytearray(b"x")),
        *([], (), [[]], [None], ["a"], [["1", "2"]], [[1, 2], [3]], {"a": 1}, {1, 2}, object()),
        *(np.zeros((0, 2)), np.zeros((3, 2), object), np.zeros((1, 1, 1, 2)), np.zeros(3, complex)),
        *(np.array([["1", "2"]]), np.array([1, 2], dtype="M8[s]"), memoryview(b"abc"), range(3)),
        *(Path("none"), float, len, io.StringIO("x"), Ellipsis, NotImplemented, slice(1), 10**400),
    )
)
seeds = st.integers(0, 2**32 - 1)


def some(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the options with values that they may have; at times one with another."""
    fitting = st.fixed_dictionaries({}, optional=options)
    odd = st.dictionaries(
        st.sampled_from(sorted(options)), numbers | things, min_size=1, max_size=1
    )
    return fitting | fitting | st.builds(lambda first, second: {**first, **second}, fitting, odd)


def noise(seed: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """An image, uint8 [H,W,C]."""
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


WAYS = ("flip", "put", "head", "tail", "zero", "cut", "insert", "repeat", "append")
Damage: TypeAlias = Sequence[tuple[str, int, bytes]]
"""Where content is damaged, and how, one after the other."""

damage: st.SearchStrategy[Damage] = st.lists(
    st.tuples(
        st.sampled_from(WAYS),
        st.integers(0, 2**24),
        st.binary(min_size=1, max_size=20) | st.sampled_from((b"\xff" * 4, b"\0" * 4, b"\x7f")),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content: bytes, ways: Damage) -> bytes:
    """Content as disks, networks and attackers leave it."""
    data = bytearray(content)
    for way, number, piece in ways:
        size = max(len(data), 1)
        index = number % size
        match way:
            case "flip":
                data[index : index + 1] = bytes(each ^ 1 << number % 8 for each in data[index:][:1])
            case "put":
                data[index : index + len(piece)] = piece
            case "head":
                index = number % min(64, size)
                data[index : index + 1] = piece[:1]
            case "tail":
                index = size - 1 - number % min(300, size)
                data[index : index + 1] = piece[:1]
            case "zero":
                count = min(1 + number % 200, len(data) - index)
                data[index : index + count] = bytes(count)
            case "cut":
                del data[index:]
            case "insert":
                data[index:index] = piece
            case "repeat":
                data = data[:index] + data[piece[0] * size // 256 :]
            case _:
                data += piece
    return bytes(data)


GONE = Ellipsis
Edit: TypeAlias = tuple[Sequence[int], Any]
"""A way down into JSON, and what stands at its end afterwards, `GONE` for nothing."""


def edits(
    values: st.SearchStrategy[Any] = json_values, *, depth: int = 9
) -> st.SearchStrategy[Edit]:
    """A way of one to `depth` steps, and one of the values."""
    way = st.lists(st.integers(0, 5000), min_size=1, max_size=depth)
    return st.tuples(way, values | values | values | st.just(GONE))


def edited(tree: Any, edit: Edit) -> Any:
    """A copy of JSON with another value somewhere, or without it."""
    way, value = edit
    tree = copy.deepcopy(tree)
    parent, key, node = None, None, tree
    for step in way:
        if not isinstance(node, (dict, list)) or not node:
            break
        parent = node
        key = sorted(node)[step % len(node)] if isinstance(node, dict) else step % len(node)
        node = parent[key]
    assert parent is not None, "nothing to edit"
    if value is GONE:
        del parent[key]
    else:
        parent[key] = copy.deepcopy(value)
    return tree
