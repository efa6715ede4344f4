"""A disk that runs full: one clear error, nothing half-written, and a later run ends well."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.annotate.annotation_log import log_path
from samclip_sdk.annotate.annotation_run import AnnotationReport
from samclip_sdk.annotate.annotator import Annotator, annotate_folder
from samclip_sdk.errors import StorageError
from tests.fake_source import fake_client, sample_image
from tests.refusals import refused

ROOT = Path(__file__).parents[2]
IMAGES = 50
FULL = "No space left on device"
Mount = Callable[..., Path]


def fill(disk: Path, *, leave_kb: int = 0) -> Path:
    """A file of somebody else, which takes all but a little of a disk."""
    path = disk / "others"
    with path.open("wb", buffering=0) as file:
        free = os.statvfs(disk)
        file.write(os.urandom(max(0, free.f_bavail * free.f_frsize - 1024 * leave_kb)))
    return path


def names(disk: Path) -> set[str]:
    return {path.relative_to(disk).as_posix() for path in disk.rglob("*")}


def noise(height: int = 300, width: int = 400) -> np.ndarray:
    """What no codec makes small."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


SAVES: dict[str, Callable[[SamClip, Path], Any]] = {
    "a.png": lambda model, path: model.segment_text(noise(), ["dog"], threshold=0).save(path),
    "a.json": lambda model, path: model.segment(noise(), boxes=[5, 5, 90, 90]).save(path),
    "image.npz": lambda model, path: model.encode_image(noise()).save(path),
    "pack.safetensors": lambda model, path: model.save_vocabulary(
        path, [f"label {number}" for number in range(40)]
    ),
}


@pytest.mark.parametrize("name", SAVES)
@pytest.mark.parametrize("older", [False, True])
def test_what_is_saved_is_whole_or_as_it_was(
    tmp_path: Path, mount: Mount, name: str, older: bool
) -> None:
    disk, (model, _) = mount("size=2m"), fake_client(tmp_path)
    path = disk / name
    if older:
        path.write_bytes(b"older")
    others = fill(disk)
    before = names(disk)
    refused(lambda: SAVES[name](model, path), StorageError, name, FULL)
    assert names(disk) == before
    assert not older or path.read_bytes() == b"older"
    others.unlink()
    SAVES[name](model, path)
    assert path.stat().st_size > 5
    assert names(disk) == {name}
    if name == "image.npz":
        assert ImageEmbedding.load(path).frame.width_px == 400


def annotate(folder: Path, disk: Path) -> AnnotationReport:
    model, _ = fake_client(folder)
    annotator = Annotator(model, ["dog", "cat"])
    return annotate_folder(annotator, folder / "images", disk / "out.json")


@pytest.mark.parametrize("leave_kb", [0, 4, 24])
def test_annotate_goes_on_once_there_is_room(tmp_path: Path, mount: Mount, leave_kb: int) -> None:
    """The disk is full at the first line, in the middle of one, or at the output."""
    (tmp_path / "images").mkdir()
    for number in range(IMAGES):
        path = tmp_path / "images" / f"{number:02}.png"
        Image.fromarray(sample_image(40 + number % 9, 100)).save(path)
    whole = tmp_path / "whole"
    whole.mkdir()
    annotate(tmp_path, whole)
    assert log_path(whole / "out.json").stat().st_size > 16 * 1024
    disk = mount("size=256k")
    others = fill(disk, leave_kb=leave_kb)
    refused(lambda: annotate(tmp_path, disk), StorageError, FULL)
    assert names(disk) <= {"others", "out.progress.jsonl"}
    others.unlink()
    report = annotate(tmp_path, disk)
    assert report.images == IMAGES
    assert (report.resumed > 0) == (leave_kb > 0)
    assert names(disk) == {"out.json", "out.progress.jsonl"}
    found, expected = (json.loads((each / "out.json").read_bytes()) for each in (disk, whole))
    assert found["annotations"] == expected["annotations"]
    progress = [log_path(each / "out.json").read_bytes() for each in (disk, whole)]
    assert progress[0] == progress[1]
