"""What tests keep on disk is made once, made anew when it must be, and never changed by a test."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests import disk_cache
from tests.disk_cache import KEPT, ROOT, code_of, fill


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def make(self, folder: Path) -> None:
        self.asked += 1
        folder.mkdir()
        (folder / "file").write_text(f"number {self.asked}")


def test_is_made_once(tmp_path: Path) -> None:
    maker = Maker()
    for name in "abc":
        folder = fill(tmp_path / name, name="it", make=maker.make, cache=tmp_path / "cache")
        assert (folder / "file").read_text() == "number 1"
    assert maker.asked == 1


def test_a_changed_copy_changes_no_other(tmp_path: Path) -> None:
    maker = Maker()
    first = fill(tmp_path / "a", name="it", make=maker.make, cache=tmp_path / "cache")
    (first / "file").write_text("damaged")
    second = fill(tmp_path / "b", name="it", make=maker.make, cache=tmp_path / "cache")
    assert (second / "file").read_text() == "number 1"


def test_is_made_anew_for_other_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source, a package's version: either is another key; the last used editions stay."""
    maker = Maker()
    cache = tmp_path / "cache"
    for number in range(KEPT + 2):
        monkeypatch.setattr(disk_cache, "_environment", lambda number=number: bytes([number]))
        folder = fill(tmp_path / f"a{number}", name="it", make=maker.make, cache=cache)
        assert (folder / "file").read_text() == f"number {number + 1}"
    fill(tmp_path / "b", name="it", make=maker.make, cache=cache)
    assert maker.asked == KEPT + 2
    assert len([path for path in cache.iterdir() if path.is_dir()]) == KEPT


def test_the_key_holds_every_source_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "export").mkdir()
    data, code = (tmp_path / "export" / name for name in ("tokens.json", "settings.py"))
    data.write_text("[1]")
    code.write_text("x = 1")
    monkeypatch.setattr(disk_cache, "ROOT", tmp_path)
    monkeypatch.setattr(disk_cache, "SOURCES", ("export", "export/settings.py"))
    read = disk_cache._environment.__wrapped__
    keys = [read(), read()]
    data.write_text("[2]")
    keys.append(read())
    code.write_text("x = 2")
    keys.append(read())
    data.rename(data.with_name("other.json"))
    keys.append(read())
    monkeypatch.setattr(disk_cache, "PACKAGES", ("numpy",))
    keys.append(read())
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_the_key_holds_the_code_that_makes_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is imported, lazily or by way of others."""
    found = {str(path.relative_to(ROOT)) for path in code_of(ROOT / "tests/conftest.py")}
    assert {"samclip_sdk/__init__.py", "samclip_sdk/modeling/build.py"} <= found
    assert {"export/bundle_writer.py", "export/coreml/mil_operations.py"} <= found
    assert {"samclip_sdk/device/verify.py", "samclip_sdk/runtimes/onnx/session.py"} <= found
    assert not found & {"samclip_sdk/cli/app.py", "export/__main__.py"}
    traced = {
        str(path.relative_to(ROOT)) for path in code_of(ROOT / "tests/export/tiny_programs.py")
    }
    assert {"export/program.py", "samclip_sdk/modeling/vit_det_encoder.py"} <= traced < found
    code = tmp_path / "code.py"
    code.write_text("x = 1")
    monkeypatch.setattr(disk_cache, "code_of", lambda _: [code])
    before = disk_cache._key(Maker().make)
    assert disk_cache._key(Maker().make) == before
    code.write_text("x = 2")
    assert disk_cache._key(Maker().make) != before


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fill(tmp_path / "a", name="it", make=fail, cache=tmp_path / "cache")
    maker = Maker()
    folder = fill(tmp_path / "b", name="it", make=maker.make, cache=tmp_path / "cache")
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert not (tmp_path / "a").exists()


def test_workers_wait_for_one_another(tmp_path: Path) -> None:
    maker = Maker()
    threads = [
        threading.Thread(
            target=fill,
            args=(tmp_path / str(number),),
            kwargs={"name": "it", "make": maker.make, "cache": tmp_path / "cache"},
        )
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert maker.asked == 1
    assert {(tmp_path / str(number) / "file").read_text() for number in range(6)} == {"number 1"}
