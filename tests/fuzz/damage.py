"""Bytes as disks, networks and attackers leave them."""

from __future__ import annotations

from random import Random

WAYS = ("flip", "many", "cut", "zero", "insert", "head", "tail", "repeat", "append")


def damaged(content: bytes, rng: Random) -> tuple[str, bytes]:
    """A file's content with some damage, and the word for it; an empty one may get longer alone."""
    data, way = bytearray(content), rng.choice(WAYS) if content else "append"
    size = max(len(data), 1)
    if way == "flip":
        data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif way == "many":
        for _ in range(rng.randrange(2, 40)):
            data[rng.randrange(size)] = _byte(rng)
    elif way == "cut":
        del data[rng.randrange(size) :]
    elif way == "zero":
        start = rng.randrange(size)
        end = min(start + rng.randrange(1, 200), size)
        data[start:end] = bytes(end - start)
    elif way == "insert":
        place = rng.randrange(size)
        data[place:place] = bytes(_byte(rng) for _ in range(rng.randrange(1, 20)))
    elif way == "head":
        for _ in range(4):
            data[rng.randrange(min(64, size))] = _byte(rng)
    elif way == "tail":
        for _ in range(4):
            data[size - 1 - rng.randrange(min(300, size))] = _byte(rng)
    elif way == "repeat":
        first, last = sorted((rng.randrange(size), rng.randrange(size)))
        data = data[:last] + data[first:]
    else:
        data += bytes(_byte(rng) for _ in range(rng.randrange(1, 100)))
    return way, bytes(data)


def _byte(rng: Random) -> int:
    return rng.choice((0, 255, 127, 128, rng.randrange(256)))
