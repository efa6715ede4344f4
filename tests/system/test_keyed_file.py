"""What was kept for a key is found again by that key alone, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.system.keyed_file import KeyedFile
from tests.refusals import refused

KEY = {"sha256": "a" * 64, "axes": {"rows": (1, 4)}, "version": "1.0"}
CONTENT = b"line\n\x00another\n"


def kept(folder: Path, **changes: object) -> KeyedFile:
    return KeyedFile(folder / "cache", name="image_encoder_256.blob", key={**KEY, **changes})


def test_a_content_comes_back(tmp_path: Path) -> None:
    assert kept(tmp_path).read() is None
    kept(tmp_path).write(CONTENT)
    assert kept(tmp_path).read() == CONTENT
    assert kept(tmp_path).path.name.startswith("image_encoder_256-")
    assert kept(tmp_path).path.suffix == ".blob"


@pytest.mark.parametrize(
    "changes", [{"sha256": "b" * 64}, {"axes": {"rows": (1, 5)}}, {"more": 1}, {"version": "2.0"}]
)
def test_another_key_finds_nothing(tmp_path: Path, changes: dict[str, object]) -> None:
    kept(tmp_path).write(CONTENT)
    assert kept(tmp_path, **changes).read() is None


def test_another_version_takes_the_place(tmp_path: Path) -> None:
    kept(tmp_path).write(CONTENT)
    kept(tmp_path, version="2.0").write(b"new")
    assert kept(tmp_path).read() is None
    assert kept(tmp_path, version="2.0").read() == b"new"
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_any_damage_is_found(tmp_path: Path) -> None:
    kept(tmp_path).write(CONTENT)
    path = kept(tmp_path).path
    whole = path.read_bytes()
    for index in range(len(whole)):
        path.write_bytes(whole[:index])
        assert kept(tmp_path).read() is None
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert kept(tmp_path).read() is None
    path.write_bytes(whole + b"\n")
    assert kept(tmp_path).read() is None


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    assert kept(tmp_path).read() is None
    refused(lambda: kept(tmp_path).write(CONTENT), StorageError, "cache")
