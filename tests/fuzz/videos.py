"""What a stream is given: films whole, cut and damaged, folders, things that are no videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import cv2

from samclip_sdk.errors import ImageError
from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case, holds
from tests.fuzz.pictures import PATHS
from tests.fuzz.values import THINGS, pixels, shown
from tests.fuzz.world import World

FRAME = (40, 64)
FILMS = {"film.mp4": "mp4v", "film.avi": "MJPG"}
ENDINGS = (".mp4", ".avi", ".mkv", ".gif", ".jpg", "%03d.png", ".txt", "")


def subject(world: World) -> Callable[[Random], Case]:
    films = {name: _film(world.folder / name, codec) for name, codec in FILMS.items()}

    def draw(rng: Random) -> Case:
        source: Any
        kind = rng.randrange(10)
        if kind < 7:
            name = rng.choice(sorted(films))
            way, content = damaged(films[name], rng) if kind else ("whole", films[name])
            source = world.work / f"case{rng.choice((Path(name).suffix, rng.choice(ENDINGS)))}"
            source.write_bytes(content)
            said = f"{name}, {way}, as {source.name}"
        elif kind == 7:
            source = _folder(rng, world)
            said = "a folder"
        else:
            source = rng.choice((*PATHS, *THINGS, -1, 10**9, 2**31, 2**63, 10**11))
            said = shown(source)
        every = rng.choice((1, 2))
        return Case(
            f"stream {said}, every {every}", lambda: _follow(world, source, every), check=_moves
        )

    return draw


def _follow(world: World, source: Any, every: int) -> list[Any]:
    """The first frames of a stream, which is then closed."""
    found = world.model.stream(source, ["dog", "cat"], threshold=0.0, encode_every=every)
    try:
        return [frame for frame, _ in zip(found, range(4), strict=False)]
    except ImageError:
        assert next(found, None) is None, "a stream goes on after its error"
        raise
    finally:
        found.close()


def _moves(frames: list[Any]) -> None:
    holds(frames)
    assert [each.frame_index for each in frames] == list(range(len(frames)))
    assert len({each.size for each in frames}) < 2, "frames of several sizes"


def _film(path: Path, codec: str) -> bytes:
    height, width = FRAME
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10, (width, height))
    assert writer.isOpened(), codec
    for index in range(5):
        writer.write(pixels(Random(index), height, width))
    writer.release()
    content = path.read_bytes()
    path.unlink()
    return content


def _folder(rng: Random, world: World) -> Path:
    folder = world.work / "frames"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for index in range(rng.randrange(4)):
        height = rng.choice((20, 20, 20, 21))
        assert cv2.imwrite(str(folder / f"frame {index}.png"), pixels(rng, height, 30))
    if rng.random() < 0.3:
        (folder / "frame 1.png").write_bytes(damaged(b"no picture", rng)[1])
    return folder
