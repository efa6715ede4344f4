"""A folder takes its place whole, or what was there stays, whatever happens to the process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_folder import atomic_folder, scratch_folder
from tests.own_process import run_program
from tests.refusals import refused

DIES_BETWEEN_THE_RENAMES = """
import os, signal, sys
from pathlib import Path
from samclip_sdk.system.atomic_folder import atomic_folder

rename = os.rename

def die_before_the_second(source, target):
    if Path(source).name == "new":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.rename = die_before_the_second
with atomic_folder(Path(sys.argv[1])):
    pass
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def replace(out: Path, content: str) -> None:
    with atomic_folder(out) as folder:
        (folder / content).write_text(content)


def test_an_older_folder_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        replace(out, content)
    assert names(out) == ["new"]
    assert names(out.parent) == ["out"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_after_an_error_the_older_folder_stays(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out"
    replace(out, "old")
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt

    def work() -> None:
        with atomic_folder(out) as folder:
            (folder / "new").write_text("new")
            raise error

    with pytest.raises(expected):
        work()
    assert names(tmp_path) == ["out"]
    assert names(out) == ["old"]


def test_a_failed_rename_puts_the_older_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replace(out, "old")
    rename = os.rename

    def fail_for_new(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_for_new)
    refused(lambda: replace(out, "content"), StorageError, "Input/output error")
    assert names(tmp_path) == ["out"]
    assert names(out) == ["old"]


def test_what_cannot_be_put_back_is_not_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replace(out, "old")
    rename = os.rename

    def fail_towards_out(source: Path, target: Path) -> None:
        if target == out:
            raise OSError(5, "Input/output error")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail_towards_out)
        refused(lambda: replace(out, "content"), StorageError)

    def ended(pid: int, signal: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", ended)  # as a later process finds it
    with scratch_folder(tmp_path / "other"):
        assert names(out) == ["old"]


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    replace(tmp_path / "elsewhere", "precious")
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    replace(tmp_path / "out", "new")
    assert not (tmp_path / "out").is_symlink()
    assert names(tmp_path / "elsewhere") == ["precious"]
    assert names(tmp_path) == ["elsewhere", "out"]


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    replace(out, "old")
    assert run_program(DIES_BETWEEN_THE_RENAMES, out).returncode == -signal.SIGKILL
    assert not out.exists()
    with scratch_folder(tmp_path / "another"):
        assert names(out) == ["old"]
    assert names(tmp_path) == ["out"]


def test_folders_that_only_look_like_ours_stay(tmp_path: Path) -> None:
    for name in ("photos.partial", ".photos.partial", ".01234567.99.0123456789abcdeg.partial"):
        (tmp_path / name).mkdir()
    before = names(tmp_path)
    replace(tmp_path / "out", "new")
    assert names(tmp_path) == sorted([*before, "out"])
