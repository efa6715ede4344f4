"""Films that are written: what is in them, and what is left when a run does not come to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from samclip_sdk.engine.video.film_writer import FilmWriter
from samclip_sdk.engine.video.sources import open_footage
from samclip_sdk.errors import StorageError
from samclip_sdk.image.loading import load_image
from tests.engine.video.made_films import moving
from tests.refusals import refused


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with FilmWriter(path, fps=12.5) as film:
        for pixels in moving(6):
            film.add(pixels)
        assert not path.exists()
    footage = open_footage(path)
    assert (footage.count, footage.fps) == (6, 12.5)
    pairs = zip(footage.frames, moving(6), strict=True)
    assert all(np.abs(load_image(a.image) - b.astype(float)).mean() < 12 for a, b in pairs)
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_what_browsers_play(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with FilmWriter(tmp_path / "a.webm", fps=12.5) as film:
        for pixels in moving(6):
            film.add(pixels)
    assert film.codec == "VP80"
    assert (tmp_path / "a.webm").read_bytes()[:4] == b"\x1aE\xdf\xa3", "Matroska's first bytes"
    footage = open_footage(tmp_path / "a.webm")
    assert (len(list(footage.frames)), footage.fps) == (6, 12.5)
    assert capfd.readouterr() == ("", "")


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "a.mp4") as film:
        film.add(moving(1)[0][:49, :99])
    (frame,) = open_footage(tmp_path / "a.mp4").frames
    assert load_image(frame.image).shape == (48, 98, 3)


def test_nothing_is_left_of_nothing(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "a.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


class Writing:
    """An OpenCV without FFmpeg, or on a full disk, of which it says nothing."""

    fourcc = cv2.VideoWriter.fourcc
    real = cv2.VideoWriter
    frames = 0

    def __init__(self, *arguments: Any) -> None:
        self.film, self.left = self.real(*arguments), self.frames
        self.release = self.film.release

    def isOpened(self) -> bool:
        return bool(self.frames) and self.film.isOpened()

    def write(self, pixels: np.ndarray) -> None:
        if self.left:
            self.film.write(pixels)
            self.left -= 1


@pytest.mark.parametrize(("frames", "word"), [(0, "FFmpeg"), (1, "1 of 3")])
def test_a_film_that_lacks_frames_is_no_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, word: str
) -> None:
    monkeypatch.setattr(Writing, "frames", frames)
    monkeypatch.setattr(cv2, "VideoWriter", Writing)

    def write() -> None:
        with FilmWriter(tmp_path / "a.mp4") as film:
            for pixels in moving(3):
                film.add(pixels)

    refused(write, StorageError, word)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    refused(lambda: FilmWriter(folder / "a.mp4"), StorageError, "a.mp4", "UTF-8")


@pytest.mark.parametrize("name", ["a.avi", "none/a.mp4"])
def test_what_cannot_be_written(tmp_path: Path, name: str) -> None:
    refused(lambda: FilmWriter(tmp_path / name), StorageError, Path(name).name)
