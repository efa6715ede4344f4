"""`samclip video` on the embedded bundle: what it writes, and what is left when it is stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.engine.video.sources import open_footage
from samclip_sdk.image.loading import load_image
from tests.command import fails, run
from tests.engine.video.made_films import write_film

DOG = Path(__file__).parents[2] / "examples" / "images" / "dog.jpg"
ONNX = ("--runtime", "onnx", "--threads", "1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four frames: the image of a dog, which goes to the left."""
    frames = tmp_path / "frames"
    frames.mkdir()
    pixels = load_image(DOG)[..., ::-1]
    for index in range(4):
        cv2.imwrite(str(frames / f"{index}.png"), pixels[:, 4 * index : 4 * index + 272])
    return frames


def test_it_follows_the_dog(folder: Path, tmp_path: Path) -> None:
    film, coco = tmp_path / "out.mp4", tmp_path / "out.json"
    result = run(
        "video", folder, "dog", "boat", "--encode-every", 2, *ONNX, "-o", film, "-o", coco, "--json"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    told = json.loads(result.stdout)
    assert told["frames"] == 4
    assert told["labels"] == {
        "dog": {"objects": 1, "frames": 4},
        "boat": {"objects": 0, "frames": 0},
    }
    found = json.loads(coco.read_text())
    assert found["videos"][0]["file_names"] == [f"{index}.png" for index in range(4)]
    (dog,) = found["annotations"]
    assert all(dog["segmentations"])
    assert open_footage(film).count == 4
    table = run("video", folder, "dog", "--frames", 1, *ONNX)
    assert "1 frames; " in table.stdout


def test_an_interrupt_leaves_what_was_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, coco = tmp_path / "out.webm", tmp_path / "out.json"
    add = CocoVideoWriter.add

    def interrupted(self: CocoVideoWriter, found: Any) -> None:
        if found.frame_index == 2:
            raise KeyboardInterrupt
        add(self, found)

    monkeypatch.setattr(CocoVideoWriter, "add", interrupted)
    result = run("video", folder, "dog", "--encode-every", 9, *ONNX, "-o", coco, "-o", film)
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted: frames, 2 of 4")
    assert json.loads(coco.read_text())["videos"][0]["length"] == 2
    assert open_footage(film).count == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["frames", "out.json", "out.webm"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("none.mp4", "dog"), 1, "none.mp4"),
        (("97", "dog"), 1, "camera 97"),
        (("{film}",), 2, "--labels-file"),
        (("{film}", "dog", "-o", "out.avi"), 2, "out.avi"),
        (("{film}", "dog", "-o", "{film}"), 2, "another name"),
        (("{film}", "--vocabulary", "nowhere.json", *ONNX), 1, "nowhere.json"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "film.mp4", 2)
    words = (each.replace("{film}", str(film)) for each in arguments)
    told = fails("video", *words, code=code)
    assert said in told
    assert told.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["film.mp4"]


def test_a_rate_without_end_is_refused(tmp_path: Path) -> None:
    assert "--fps" in fails("video", tmp_path, "dog", "--fps", "inf", code=2)
