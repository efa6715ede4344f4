"""What a killed process left half-done goes with a later write; what a living one writes stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.leftovers import hidden_path, sweep, sweep_once
from tests.half_written import writing

WEEK_S = 7 * 24 * 3600

WRITES = """
import sys
from samclip_sdk.system.atomic_file import atomic_file

with atomic_file(sys.argv[1]) as file:
    file.write(b"theirs")
    file.flush()
    print("half is written", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    """As if this process had written nowhere yet."""
    sweep_once.cache_clear()
    return iter([None])


def write(path: Path, content: bytes = b"ours") -> None:
    with atomic_file(path) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_next_write_removes_what_killed_ones_left(tmp_path: Path) -> None:
    with writing(WRITES, tmp_path / "a.bin"), writing(WRITES, tmp_path / "b.bin"):
        pass
    assert len(names(tmp_path)) == 2
    write(tmp_path / "c.bin")
    assert names(tmp_path) == ["c.bin"]


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
    path = tmp_path / "a.bin"
    with atomic_file(path) as first:
        first.write(b"first")
        write(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a.bin"]


def test_what_another_machine_left_goes_after_a_week(tmp_path: Path) -> None:
    """Nobody can tell from here whether its process lives: it may be in a container."""
    new, old, folder = (
        tmp_path / f".01234567.1.0123456789abcde{number}.partial{ending}"
        for number, ending in enumerate(("", ".mp4", ""))
    )
    new.touch()
    old.touch()
    (folder / "new").mkdir(parents=True)
    for path in (old, folder):
        os.utime(path, (0, time.time() - WEEK_S - 60))
    sweep(tmp_path)
    assert names(tmp_path) == [new.name]


def test_a_process_of_another_user_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hidden_path(tmp_path / "a.bin")
    path.touch()

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    sweep(tmp_path)
    assert path.exists()


def of_a_dead_process(target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 9_999_999)  # more than a kernel gives
        return hidden_path(target)


def test_what_another_user_made_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder where others may write, a name of ours can be made up."""
    path = of_a_dead_process(tmp_path / "a.bin", monkeypatch)
    path.touch()
    uid = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: uid + 1)
        sweep(tmp_path)
    assert path.exists()
    sweep(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("within", ["", "replaced"])
def test_a_planted_link_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"precious")
    planted = of_a_dead_process(tmp_path / "a.bin", monkeypatch)
    if within:
        planted.mkdir()
    (planted / within).symlink_to(tmp_path / "precious")
    write(tmp_path / "b.bin")
    assert names(tmp_path) == ["b.bin", "precious"]
    assert (tmp_path / "precious" / "file").read_bytes() == b"precious"
