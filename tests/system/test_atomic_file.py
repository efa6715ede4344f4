from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file, check_target


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


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with full_disk(1000), pytest.raises(StorageError, match=r"cannot write .*a\.bin: "):
        write(tmp_path / "a.bin", bytes(5000))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"older")
    with full_disk(1000), pytest.raises(StorageError):
        write(path, bytes(5000))
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_writer_leaves_nothing_and_passes_through(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        write(tmp_path / "a.bin", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a\.bin: there is no folder .*missing"):
        write(tmp_path / "missing" / "a.bin", b"")


def test_a_folder_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(StorageError, match=r"a\.bin: it is a folder"):
        write(tmp_path / "a.bin", b"")
    assert [each.name for each in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path, linked: bool) -> None:
    """Nor a device, which is no regular file either: a test must not risk a real one."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    with pytest.raises(StorageError, match="it is a device or a pipe"):
        write(link if linked else pipe, b"data")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [link, pipe]


@pytest.mark.skipif(os.name != "posix", reason="standard streams of POSIX")
def test_a_piped_standard_output_is_refused() -> None:
    """It leads to no path at all, but to a pipe that a command reads."""
    code = "from samclip_sdk.system.atomic_file import check_target; check_target('/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cannot write /dev/stdout: it is a device or a pipe" in done.stderr


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300])
def test_a_name_that_no_file_can_have_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="cannot write") as caught:
        write(tmp_path / name, b"")
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_circle_of_links_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StorageError, match="levels of symbolic links"):
        write(tmp_path / "a", b"")


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_folder_that_cannot_be_written_is_found_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(StorageError, match=r"the folder .* cannot be written"):
        check_target(tmp_path / "a.bin")


def test_the_target_of_a_file_that_can_be_written(tmp_path: Path) -> None:
    assert check_target(tmp_path / "new.bin") == (tmp_path / "new.bin").resolve()
    (tmp_path / "old.bin").touch()
    assert check_target(str(tmp_path / "old.bin")) == (tmp_path / "old.bin").resolve()


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_keeps_to_the_umask_and_writes_through_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write(link, b"data")
    assert link.is_symlink()
    assert target.read_bytes() == b"data"
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
