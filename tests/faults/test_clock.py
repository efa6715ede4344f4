"""A clock that jumps, back and forth, changes nothing but the dates in files."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from samclip_sdk.annotate.annotator import Annotator, annotate_folder
from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.system.timing import Stopwatch, repeat
from tests.fake_source import fake_client, sample_image

HOURS = 3600.0


@pytest.fixture(autouse=True)
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is half a day before or after the last one."""
    start, jumps = time.time(), itertools.cycle([0, 40 * HOURS, -30 * HOURS, -(10**9), 10**9])
    monkeypatch.setattr(time, "time", lambda: start + next(jumps))
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (start + next(jumps))))


def test_times_are_measured_by_another_clock() -> None:
    clock = Stopwatch()
    with clock.step("sleep"):
        time.sleep(0.02)
    assert 15 < clock.ms["sleep"] < 5000
    assert len(repeat(lambda: 1.0, seconds=0.01, min_runs=2, max_runs=10_000_000)) >= 2


def test_a_folder_is_annotated_and_gone_on_with(tmp_path: Path) -> None:
    """An image from the future, and one from before, are images like others."""
    for index in range(4):
        path = tmp_path / "images" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sample_image(40 + index, 60)).save(path)
        os.utime(path, (index * 2**31, index * 2**31))
    output = tmp_path / "out.json"
    for resumed in (0, 4):
        model, _ = fake_client(tmp_path)
        report = annotate_folder(Annotator(model, ["dog"]), tmp_path / "images", output)
        assert (report.images, report.resumed) == (4, resumed)
        assert 0 <= report.seconds < 60
        assert len(json.loads(output.read_bytes())["images"]) == 4


def test_a_video_is_not_written_at_every_frame(tmp_path: Path) -> None:
    model, _ = fake_client(tmp_path)
    path = tmp_path / "out.json"
    with CocoVideoWriter(path, labels=["dog"], name="film") as writer:
        for found in model.stream([sample_image()] * 3, ["dog"]):
            writer.add(found)
            assert not path.exists()  # half a minute has not passed
    assert json.loads(path.read_bytes())["videos"][0]["length"] == 3
