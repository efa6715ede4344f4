from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file, check_target
from tests.own_process import run_program
from tests.refusals import refused


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """Lets the operating system refuse any file larger than `free_bytes`, for real."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for data in (b"first", b"second, longer"):
        write(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("older", [None, b"older"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, older: bytes | None) -> None:
    path = tmp_path / "a.bin"
    if older is not None:
        path.write_bytes(older)
    with full_disk(1000):
        refused(lambda: write(path, bytes(5000)), StorageError, "a.bin")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([older] if older else [])


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("missing/a.bin", "missing"),
        ("folder", "it is a folder"),
        ("circle", "symbolic links"),
        ("a\0b", ""),
        ("\ud800", ""),
        ("x" * 300, ""),
    ],
)
def test_a_place_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, name: str, word: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    error = refused(lambda: write(tmp_path / name, b""), StorageError, "cannot write", word)
    assert str(error).isprintable()
    refused(lambda: write(tmp_path / "a.bin", "text"), TypeError, "bytes-like")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["circle", "folder"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path, linked: bool) -> None:
    """Nor a device, which is no regular file either: a test must not risk a real one."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    refused(lambda: write(link if linked else pipe, b"data"), StorageError, "pipe")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [link, pipe]


def test_a_piped_standard_output_is_refused() -> None:
    """It leads to no path at all, but to a pipe that a command reads."""
    code = "from samclip_sdk.system.atomic_file import check_target; check_target('/dev/stdout')"
    assert "cannot write /dev/stdout" in run_program(code).stderr


def test_a_folder_that_cannot_be_written_is_found_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    refused(lambda: check_target(tmp_path / "a.bin"), StorageError, tmp_path.name)


def test_the_target_of_a_file_that_can_be_written(tmp_path: Path) -> None:
    assert check_target(tmp_path / "new.bin") == (tmp_path / "new.bin").resolve()
    (tmp_path / "old.bin").touch()
    assert check_target(str(tmp_path / "old.bin")) == (tmp_path / "old.bin").resolve()


def test_keeps_to_the_umask_and_writes_through_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write(link, b"data")
    assert link.is_symlink()
    assert target.read_bytes() == b"data"
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
