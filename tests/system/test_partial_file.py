"""What a killed process leaves of a file goes when it is next written; a living one's stays."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from samclip_sdk import StorageError
from samclip_sdk.system import partial_file
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.partial_file import SLOTS, PartialFile
from tests.half_written import writing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")

WRITES = """
import sys
from samclip_sdk.system.atomic_file import atomic_file

with atomic_file(sys.argv[1]) as file:
    file.write(b"theirs")
    file.flush()
    print("half is written", flush=True)
    sys.stdin.read()
"""


def write(path: Path, content: bytes = b"ours") -> None:
    with atomic_file(path) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_next_write_removes_what_killed_ones_left(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with writing(WRITES, path), writing(WRITES, path):
        assert len(names(tmp_path)) == 2
    assert len(names(tmp_path)) == 2
    write(tmp_path / "another.bin")
    assert len(names(tmp_path)) == 3  # of another file nothing is touched
    write(path)
    assert names(tmp_path) == ["a.bin", "another.bin"]


def test_a_failed_write_removes_them_too(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with writing(WRITES, path):
        pass
    with pytest.raises(ZeroDivisionError), atomic_file(path):
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_living_process_keeps_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with writing(WRITES, path) as process:
        write(path)
        assert path.read_bytes() == b"ours"
        assert process.stdin is not None
        process.stdin.close()  # it goes on, and finishes
        assert process.wait() == 0
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.bin"]


def test_threads_of_one_process_do_not_share_a_file(tmp_path: Path) -> None:
    files = [PartialFile(tmp_path / "a.bin") for _ in range(SLOTS)]
    assert len({each.path for each in files}) == SLOTS
    with pytest.raises(StorageError, match=r"cannot write .*a\.bin: 16 others are writing it"):
        write(tmp_path / "a.bin")
    for each in files:
        each.close()
    assert names(tmp_path) == []


def test_a_file_that_another_process_took_for_a_dead_ones_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It locks, and removes, what this one has just made and not locked yet."""
    lock, calls = partial_file._lock, []

    def be_late(descriptor: int) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            (made,) = tmp_path.iterdir()
            made.unlink()
        return lock(descriptor)

    monkeypatch.setattr(partial_file, "_lock", be_late)
    write(tmp_path / "a.bin")
    assert len(calls) == 2
    assert (tmp_path / "a.bin").read_bytes() == b"ours"
    assert names(tmp_path) == ["a.bin"]


def test_on_a_drive_without_locks_it_writes_and_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    with writing(WRITES, path):
        pass
    before = names(tmp_path)

    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    write(path)
    assert path.read_bytes() == b"ours"
    assert names(tmp_path) == sorted([*before, "a.bin"])


def test_a_planted_link_is_neither_followed_nor_written(tmp_path: Path) -> None:
    """In a folder where others may write, the name of the hidden file can be foreseen."""
    path, precious = tmp_path / "a.bin", tmp_path / "precious"
    precious.write_bytes(b"precious")
    foreseen = PartialFile(path)
    foreseen.close()
    foreseen.path.symlink_to(precious)
    write(path)
    assert precious.read_bytes() == b"precious"
    assert foreseen.path.is_symlink()
