"""Where frames come from, and what is said where none come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from samclip_sdk import ImageError
from samclip_sdk.engine.video.capture import quiet_opencv
from samclip_sdk.engine.video.sources import open_footage
from samclip_sdk.errors import VideoCutShortWarning
from samclip_sdk.image.loading import load_image
from tests.engine.video.made_films import moving, write_film, write_folder
from tests.fake_source import sample_image
from tests.own_process import run_program
from tests.refusals import refused


def test_a_film(tmp_path: Path) -> None:
    footage = open_footage(write_film(tmp_path / "a.mp4", 14))
    assert (footage.count, footage.fps, footage.live) == (14, 12.5, False)
    frames = list(footage.frames)
    assert [each.name for each in frames] == [str(index) for index in range(14)]
    first = load_image(frames[0].image)
    assert first.shape == (50, 100, 3)
    bgr = moving(14)[0].astype(float)
    assert np.abs(first - bgr[..., ::-1]).mean() < np.abs(first - bgr).mean()
    assert open_footage(footage) is footage


def test_a_folder_goes_by_the_numbers_in_names(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "frames", 12)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    footage = open_footage(str(folder))
    assert [each.name for each in footage.frames] == [f"frame {n}.png" for n in range(12)]
    assert footage.count == 12


def test_images_one_after_the_other() -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for index in range(3):
            taken.append(index)
            yield sample_image()

    footage = open_footage(images())
    assert footage.count is None
    assert taken == []
    assert next(footage.frames).name == "0"
    assert taken == [0]
    assert open_footage([sample_image()] * 3).count == 3


class Camera:
    """Stands in for `cv2.VideoCapture`: so many frames, then none."""

    def __init__(self, frames: int) -> None:
        self.left, self.released = frames, False

    def __call__(self, number: int) -> Camera:
        assert number == 3
        return self

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, sample_image()) if self.left >= 0 else (False, None)

    def get(self, asked: int) -> float:
        return 30.0

    def set(self, asked: int, value: float) -> bool:
        return asked == cv2.CAP_PROP_BUFFERSIZE

    def release(self) -> None:
        self.released = True


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(5)
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    footage = open_footage(3)
    assert (footage.live, footage.count, footage.fps) == (True, None, 30)
    frames: Any = footage.frames
    assert [next(frames).name for _ in range(5)] == list("01234")
    refused(lambda: next(frames), ImageError, "camera 3", "after 5")
    assert camera.released
    monkeypatch.setattr(cv2, "VideoCapture", camera := Camera(5))
    frames = open_footage(3).frames
    next(frames)
    frames.close()
    assert camera.released


def test_opencv_speaks_again_once_nobody_keeps_it_quiet() -> None:
    logging: Any = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    first, second = quiet_opencv(), quiet_opencv()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logging.getLogLevel() == 0
    second.__exit__(None, None, None)
    assert logging.getLogLevel() == before


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


LIST = b"ffconcat version 1.0\nfile 'ok.mp4'\n"
BAD: list[tuple[Callable[[Path], Any], str]] = [
    (lambda at: at / "none.mp4", "none.mp4"),
    (lambda at: "a\0b", r"a\x00b"),
    (lambda at: write_bytes(at / "a.mp4", b""), "0 bytes"),
    (lambda at: write_bytes(at / "a.mp4", b"none" * 99), "a.mp4"),
    (lambda at: cut(write_film(at / "a.mp4", 30), 0.6), "cut off"),
    (lambda at: write_film(at / "a.mp4", 0), "a.mp4"),
    (lambda at: write_folder(at / "f", 0), ".jpg"),
    (lambda at: 97, "camera 97"),
    (lambda at: 10**11, "2147483647"),
    (lambda at: -1, "-1"),
    (lambda at: make_pipe(at / "a.mp4"), "pipe"),
    (lambda at: write_bytes(at / "a%03d.png", b""), "a%03d.png"),
    (lambda at: write_film(at / "a.mp4", 3).rename(at / "caf\udce9.mp4"), "caf\\udce9.mp4"),
    (lambda at: "http://127.0.0.1:1/caf\udce9.mp4", "caf\\udce9.mp4"),
    (lambda at: write_bytes(at / "a.mp4", LIST), "list of other files"),
    (lambda at: write_bytes(at / "a.mp4", b"#EXTM3U\n"), "list of other files"),
    (lambda at: sample_image(), "ndarray"),
    (lambda at: Image.fromarray(sample_image()), "Image"),
    (lambda at: b"film", "bytes"),
    (lambda at: None, "NoneType"),
    (lambda at: True, "bool"),
]


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(("make", "word"), BAD)
def test_what_gives_no_frames_is_told_in_one_line(
    make: Callable[[Path], Any], word: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path)
    capfd.readouterr()
    refused(lambda: open_footage(source), ImageError, word)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "mp4v")])
def test_a_film_that_ends_early_warns_after_its_last_frame(
    name: str, codec: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = cut(write_film(tmp_path / name, 40, codec=codec), 0.6)
    capfd.readouterr()
    footage = open_footage(path)
    with pytest.warns(VideoCutShortWarning, match=f"{name} .*40 frames") as told:
        frames = list(footage.frames)
    assert 10 < len(frames) < 38
    assert str(len(frames)) in str(told[0].message)
    assert told[0].filename == __file__
    assert capfd.readouterr().err == ""


def test_a_fresh_process_prints_nothing_of_a_damaged_film_and_keeps_its_environment(
    tmp_path: Path,
) -> None:
    """FFmpeg reads how much it may say once, at its first film; here others came before."""
    path = cut(write_film(tmp_path / "a.mp4", 30), 0.6)
    program = (
        "import os, sys, cv2; before = dict(os.environ)\n"
        "from samclip_sdk.engine.video.sources import open_footage\n"
        "try: open_footage(sys.argv[1])\nexcept Exception as error: print(error)\n"
        "assert dict(os.environ) == before"
    )
    done = run_program(program, path)
    assert done.stderr == ""
    assert "cut off" in done.stdout


@pytest.mark.parametrize("name", ["50% off.avi", "a%s.avi"])
def test_a_percent_sign_alone_is_no_fault(tmp_path: Path, name: str) -> None:
    path = write_film(tmp_path / "a.avi", 3, codec="MJPG").rename(tmp_path / name)
    assert open_footage(path).count == 3
