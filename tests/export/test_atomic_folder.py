"""A folder takes its place whole, or what was there stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from export.atomic_folder import atomic_folder
from samclip_sdk.errors import StorageError


def test_an_older_folder_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        with atomic_folder(out) as folder:
            (folder / content).write_text(content)
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_the_older_folder_stays(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt

    def work() -> None:
        with atomic_folder(out) as folder:
            (folder / "new").write_text("new")
            raise error

    with pytest.raises(expected):
        work()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "old").read_text() == "old"


def test_a_failed_rename_puts_the_older_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    rename = os.rename

    def fail_for_new(source: Path, target: Path) -> None:
        if source.suffix == ".partial":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_new)
    with pytest.raises(StorageError, match="Input/output error"), atomic_folder(out):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "old").exists()
