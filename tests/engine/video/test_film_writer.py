"""Films that are written: what is in them, and what is left when a run does not come to its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import StorageError
from samclip_sdk.engine.video import film_writer
from samclip_sdk.engine.video.film_writer import FilmWriter
from samclip_sdk.engine.video.sources import open_footage
from samclip_sdk.picture.image import load_image
from tests.engine.video.made_films import moving


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with FilmWriter(path, fps=12.5) as film:
        for pixels in moving(6):
            film.add(pixels)
        assert not path.exists()
    footage = open_footage(path)
    assert (footage.count, footage.fps) == (6, 12.5)
    pairs = zip(footage.frames, moving(6), strict=True)
    assert all(np.abs(load_image(a.picture) - b.astype(float)).mean() < 12 for a, b in pairs)
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "a.mp4") as film:
        film.add(moving(1)[0][:49, :99])
    (frame,) = open_footage(tmp_path / "a.mp4").frames
    assert load_image(frame.picture).shape == (48, 98, 3)


def test_an_interrupt_leaves_a_film_that_can_be_played(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"an older one")

    def run() -> None:
        with FilmWriter(path) as film:
            for pixels in moving(3):
                film.add(pixels)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert open_footage(path).count == 3
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]


def test_nothing_is_left_of_nothing(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "a.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_lacks_frames_is_no_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV says nothing of a full disk."""
    monkeypatch.setattr(film_writer, "_count_frames", lambda path: 1)
    film = FilmWriter(tmp_path / "a.mp4")
    for pixels in moving(3):
        film.add(pixels)
    with pytest.raises(StorageError, match="1 of 3 frames are in it; is the disk full"):
        film.close()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="must end in"):
        FilmWriter(tmp_path / "a.avi")
    with pytest.raises(StorageError, match="there is no folder"):
        FilmWriter(tmp_path / "none" / "a.mp4")
    monkeypatch.setattr(film_writer.cv2, "VideoWriter", Refusing)
    with pytest.raises(StorageError, match="OpenCV was built without FFmpeg here"):
        FilmWriter(tmp_path / "a.mp4").add(moving(1)[0])
    assert list(tmp_path.iterdir()) == []


class Refusing:
    """An OpenCV without FFmpeg."""

    fourcc = staticmethod(lambda *letters: 0)

    def __init__(self, *arguments: object) -> None:
        pass

    def isOpened(self) -> bool:
        return False
