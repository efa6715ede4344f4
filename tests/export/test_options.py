"""Whatever can be known before an export stops it before any work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from export import options as options_module
from export.options import ExportError, ExportOptions, check_export, check_out, check_space
from samclip_sdk.errors import RuntimeMissingError, StorageError
from samclip_sdk.modeling.config import ModelConfig


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda: ExportOptions(onnx=("int4",)), "no precision int4 here: use fp32, fp16, int8"),  # type: ignore[arg-type]  # on purpose
        (lambda: ExportOptions(onnx=("palette6",)), "no precision palette6 here"),
        (lambda: ExportOptions(coreml=("bf16",)), "use fp32, fp16, int8, palette6"),  # type: ignore[arg-type]  # on purpose
        (lambda: ExportOptions(onnx=("fp32", "fp16", "fp32")), "fp32 is asked for twice"),
        (lambda: ExportOptions(onnx=()), "needs graphs"),
    ],
)
def test_precisions_that_cannot_be(asked: Callable[[], ExportOptions], told: str) -> None:
    with pytest.raises(ExportError, match=told):
        asked()


@pytest.mark.parametrize("resolution", [33, 0, -64, 10**30])
def test_resolutions_that_cannot_be(
    tiny_config: ModelConfig, tmp_path: Path, resolution: int
) -> None:
    asked = ExportOptions(resolutions=(64, resolution))
    with pytest.raises(ExportError, match=f"resolution {resolution}"):
        check_export(tiny_config, tmp_path / "out", options=asked)


@pytest.mark.parametrize("taken", ["file", "folder", "dangling link", "pipe"])
def test_a_place_that_is_taken(tmp_path: Path, taken: str) -> None:
    out = tmp_path / "out"
    if taken == "file":
        out.touch()
    elif taken == "folder":
        out.mkdir()
    elif taken == "pipe":
        os.mkfifo(out)
    else:
        out.symlink_to(out)
    with pytest.raises(StorageError, match="is not a bundle: it is left as it is"):
        check_out(out)


def test_a_place_for_a_bundle(tmp_path: Path) -> None:
    """Nothing there, with or without a folder above; a bundle; or a link to one of these."""
    assert check_out(tmp_path / "deep" / "er") == tmp_path.resolve() / "deep" / "er"
    old = tmp_path / "old"
    old.mkdir()
    (old / "manifest.json").touch()
    (tmp_path / "link").symlink_to(old)
    assert check_out(old) == check_out(tmp_path / "link") == old.resolve()


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "file/out"])
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write") as caught:
        check_out(tmp_path / name)
    assert str(caught.value).isprintable()


def test_a_folder_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(StorageError, match="is not a folder to write to"):
        check_out(tmp_path / "out")


@pytest.mark.parametrize(
    ("asked", "bytes_each"),
    [
        (ExportOptions(), 4),
        (ExportOptions(weights="fp16"), 2),
        (ExportOptions(onnx=("int8", "fp16")), 2),
        (ExportOptions(onnx=(), coreml=("fp16", "palette6")), 2.75),
        (ExportOptions(onnx=("fp32",), coreml=("fp32",)), 8),
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


def test_a_package_that_is_missing(
    tiny_config: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise RuntimeMissingError('pip install "samclip-sdk[coreml]"')

    monkeypatch.setattr(options_module, "import_coremltools", missing)
    check_export(tiny_config, tmp_path / "out", options=ExportOptions())
    with pytest.raises(RuntimeMissingError):
        check_export(tiny_config, tmp_path / "out", options=ExportOptions(coreml=("fp16",)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r"samclip-sdk\[export\]"):
        check_export(tiny_config, tmp_path / "out", options=ExportOptions())
