"""Films whole, cut and damaged; folders; iterators that use what they have yielded again."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import pytest
from hypothesis import strategies as st

from samclip_sdk.errors import ImageError
from tests.fuzz.cases import Damage, damage, damaged, fuzz, noise, things
from tests.fuzz.promises import World, holds
from tests.fuzz.test_images import PATHS

FILMS = {"film.mp4": "mp4v", "film.avi": "MJPG"}
ENDINGS = (".mp4", ".avi", ".mkv", ".gif", ".jpg", "%03d.png", ".txt", "")
every = st.sampled_from((1, 2))


@pytest.fixture(scope="module")
def films(world: World) -> Path:
    """A folder."""
    for name, codec in FILMS.items():
        path = str(world.folder / name)
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec), 10, (64, 40))
        assert writer.isOpened(), codec
        for index in range(5):
            writer.write(noise(index, 40, 64))
        writer.release()
    return world.folder


def follow(world: World, source: Any, every: int) -> None:
    """The first frames of a stream, which is then closed."""

    def run() -> list[Any]:
        found = world.model.stream(source, ["dog", "cat"], threshold=0.0, encode_every=every)
        try:
            return [frame for frame, _ in zip(found, range(4), strict=False)]
        except ImageError:
            assert next(found, None) is None, "a stream goes on after its error"
            raise
        finally:
            found.close()

    def check(frames: list[Any]) -> None:
        holds(frames)
        assert [each.frame_index for each in frames] == list(range(len(frames)))
        assert len({each.size for each in frames}) < 2, "frames of several sizes"

    world.judge(run, check=check)


@fuzz(
    1.7,
    name=st.sampled_from(sorted(FILMS)),
    ways=damage | damage | st.just([]),
    ending=st.none() | st.sampled_from(ENDINGS),
    every=every,
)
def test_films(
    world: World,
    films: Path,
    name: str,
    ways: Damage,
    ending: str | None,
    every: int,
) -> None:
    source = world.work / f"case{Path(name).suffix if ending is None else ending}"
    source.write_bytes(damaged((films / name).read_bytes(), ways))
    follow(world, source, every)
    source.unlink()


@fuzz(
    0.2,
    heights=st.lists(st.sampled_from((20, 20, 20, 21)), max_size=3),
    odd=st.booleans(),
    every=every,
)
def test_folders_of_frames(world: World, heights: list[int], odd: bool, every: int) -> None:
    with TemporaryDirectory() as folder:
        for index, height in enumerate(heights):
            path = Path(folder) / f"frame {index}.png"
            assert cv2.imwrite(str(path), noise(index, height, 30))
        if odd:
            (Path(folder) / "frame 1.png").write_bytes(b"no image")
        follow(world, Path(folder), every)


numbers = st.sampled_from((-1, 10**9, 2**31, 2**63, 10**11))


@fuzz(0.2, source=st.sampled_from(PATHS) | things | numbers, every=every)
def test_sources_that_are_none(world: World, source: Any, every: int) -> None:
    follow(world, source, every)
