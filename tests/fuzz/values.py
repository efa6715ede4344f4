"""Values as users, other programs and attackers give them: numbers, texts, things of every kind."""

from __future__ import annotations

import io
import math
from pathlib import Path
from random import Random

import numpy as np

NUMBERS: tuple[object, ...] = (
    *(math.nan, math.inf, -math.inf, 0, -0.0, 1, -1, 2, 0.5, 1.0000001, 1e-320, 1e-45, 1e38, -1e38),
    *(1e300, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**30, 10**400, -30.0, 1e10, 3.0, 2.5),
    *(True, False, None, "1", "0.5", "", 1j, [0], (1,), b"1"),
    *(np.float32(0), np.float64(0.5), np.int64(2), np.uint64(2**64 - 1), np.array(0.5)),
    *(np.array([0.5, 0.5]), np.array(2), np.array([2]), np.bool_(True), np.float16(0.3)),
)
TEXTS: tuple[str, ...] = (
    *(
        "",
        " ",
        "\t\n",
        "\0",
        "a\0b",
        "\ud800",
        "a\udfffb",
        "🐶",
        "👨‍👩‍👧‍👦",
        "كلب",
        "‮dog",
        "犬",
        "é",
        "e\u0301",
    ),
    *("ﬁ", "\u200b", "\ufeff", "\u2028", "&amp;", "&lt;b&gt;", "&#0;", "&#x110000;", "&nbsp;"),
    *("<start_of_text>", "<end_of_text>", "dog<end_of_text>cat", "<|endoftext|>", "{}", "{label}"),
    *("{0}", "%s", "Ã©", "â€œ", "\x1b[31mred", "\r\ndog", "!" * 100, "0", "\uffff", "\U0010ffff"),
    *("\x7f\x80\x9f", "[red]x[/red]", "ẞ", "i̇", "∂∆", "-x", "--json", "'", '"', "../x", "dog,cat"),
)
WORDS = ("dog", "cat", "apple", "tree", "a red car", "piano", "sky", "person", "the the", "x")
THINGS: tuple[object, ...] = (
    *(
        None,
        5,
        5.5,
        True,
        math.nan,
        "",
        "abc",
        "\0",
        "\ud800",
        b"",
        b"abc",
        bytearray(b"x"),
        [],
        (),
    ),
    *([[]], [None], ["a"], [["1", "2"]], [[1, 2], [3]], {"a": 1}, {1, 2}, object(), range(3)),
    *(np.zeros((0, 2)), np.zeros((3, 2), object), np.zeros((1, 1, 1, 2)), np.zeros(3, complex)),
    *(np.array([["1", "2"]]), np.array([1, 2], dtype="M8[s]"), memoryview(b"abc"), Path("none")),
    *(float, len, io.StringIO("x"), Ellipsis, NotImplemented, slice(1), 1j, 10**400),
)


def odd_number(rng: Random, low: float, high: float) -> float:
    """A number at or beyond the ends of a range, or one that is none."""
    beyond = (low, high, low - 1, high + 1, 1e38, 1e300, 1e-45, -0.0)
    return rng.choice((math.nan, math.inf, -math.inf, *beyond))


def text(rng: Random) -> str:
    """A word, an odd text, letters from anywhere in Unicode, or a long one."""
    kind = rng.randrange(8)
    if kind < 4:
        return rng.choice(WORDS)
    if kind < 6:
        return rng.choice(TEXTS)
    if kind < 7:
        top = rng.choice((0x7F, 0x3000, 0x110000))
        return "".join(chr(rng.randrange(0x20, top)) for _ in range(rng.randrange(1, 30)))
    return rng.choice((*WORDS, "😀", "a", "&amp;")) * rng.choice((10, 300, 5000))


def labels(rng: Random) -> object:
    """Some texts in some container, at times something else."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice(THINGS)
    some: list[object] = [text(rng) for _ in range(rng.choice((1, 1, 2, 3, 5)))]
    if kind == 1:
        some.append(rng.choice((*THINGS, some[0])))
    if kind < 7:
        return some
    return rng.choice((tuple(some), iter(some), str(some[0]), np.array(some[:1], dtype=object)))


def pixels(rng: Random, height: int, width: int, channels: int = 3) -> np.ndarray:
    """A picture of noise, uint8 [H,W,C]."""
    noise = np.random.default_rng(rng.getrandbits(32))
    return noise.integers(0, 256, (height, width, channels), dtype=np.uint8)


def shown(thing: object) -> str:
    """A value in a few letters, whatever it is."""
    try:
        said = ascii(thing)
    except Exception as error:  # a number with too many digits, for instance
        said = f"{type(thing).__name__} ({type(error).__name__})"
    return " ".join(said.split())[:200]
