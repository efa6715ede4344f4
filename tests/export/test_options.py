"""Whatever can be known before an export stops it before any work."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from export.options import (
    ExportError,
    ExportOptions,
    check_export,
    check_out,
    check_space,
    find_calibration_images,
)
from samclip_sdk.errors import StorageError
from tests.tiny_config import TINY


def test_a_place_for_a_bundle(tmp_path: Path) -> None:
    """Nothing there, with or without a folder above; a bundle; or a link to one of these."""
    assert check_out(tmp_path / "deep" / "er") == tmp_path.resolve() / "deep" / "er"
    old = tmp_path / "old"
    old.mkdir()
    (old / "manifest.json").touch()
    (tmp_path / "link").symlink_to(old)
    assert check_out(old) == check_out(tmp_path / "link") == old.resolve()


@pytest.mark.parametrize(
    ("asked", "bytes_each"),
    [
        (ExportOptions(), 4),
        (ExportOptions(weights="fp16"), 2),
        (ExportOptions(onnx=("int8", "fp16")), 2),
        (ExportOptions(onnx=(), coreml=("fp16", "palette6")), 2.75),
        (ExportOptions(onnx=("fp32",), coreml=("fp32",)), 8),
        (ExportOptions(onnx=(), litert=("fp32", "fp16", "int8")), 7),
        (ExportOptions(onnx=(), executorch=("fp32", "int8")), 5),
    ],
)
def test_a_disk_without_the_space_for_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: ExportOptions, bytes_each: float
) -> None:
    parameters = 10**9
    for free in (parameters * bytes_each, parameters * bytes_each - 1):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if free == parameters * bytes_each:
            check_space(tmp_path / "new" / "out", parameters=parameters, options=asked)
        else:
            with pytest.raises(StorageError, match=f"the weights alone take {bytes_each:.2f} GB"):
                check_space(tmp_path / "new" / "out", parameters=parameters, options=asked)


def test_a_calibration_set_without_images_is_refused(tmp_path: Path) -> None:
    """Before any work; with some, they are found in folders below it too."""
    options = ExportOptions(onnx=("int8",), calibration_set=tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ExportError, match=f"{tmp_path} holds no image"):
        check_export(TINY, tmp_path / "out", options=options)
    (tmp_path / "some").mkdir()
    image = tmp_path / "some" / "a.jpg"
    image.touch()
    assert find_calibration_images(tmp_path) == (image,)
    check_export(TINY, tmp_path / "out", options=options)
