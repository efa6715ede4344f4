"""What tests keep on disk is made once, made anew when it must be, and never changed by a test."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.disk_cache import KEPT, fill, keep, key_of


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def make(self, folder: Path) -> None:
        self.asked += 1
        folder.mkdir()
        (folder / "file").write_text(f"number {self.asked}")


def test_workers_get_copies_of_what_one_of_them_makes(tmp_path: Path) -> None:
    maker = Maker()

    def work(number: int) -> str:
        folder = tmp_path / str(number)
        fill(folder, name="it", make=maker.make, cache=tmp_path / "cache")
        found = (folder / "file").read_text()
        (folder / "file").write_text("damaged")
        return found

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(work, range(6))) == {"number 1"}
    assert maker.asked == 1


def test_another_key_is_made_anew_and_the_last_used_stay(tmp_path: Path) -> None:
    maker = Maker()
    for number in range(KEPT + 2):
        kept = keep("it", make=maker.make, cache=tmp_path, key=f"key {number}")
        assert (kept / "file").read_text() == f"number {number + 1}"
    assert keep("it", make=maker.make, cache=tmp_path, key=f"key {KEPT + 1}") == kept
    assert maker.asked == KEPT + 2
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == KEPT


def test_a_key_is_of_names_and_contents(tmp_path: Path) -> None:
    path, other = tmp_path / "a.py", tmp_path / "b.py"
    path.write_text("x = 1")
    keys = [key_of([path]), key_of([path])]
    path.write_text("x = 2")
    keys.append(key_of([path]))
    path.rename(other)
    keys.append(key_of([other]))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        keep("it", make=fail, cache=tmp_path)
    folder = keep("it", make=Maker().make, cache=tmp_path)
    assert [path.name for path in folder.iterdir()] == ["file"]
