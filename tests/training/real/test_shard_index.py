from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.refusals import refused
from tests.training.shard_files import held_out, image_bytes, write_shard, write_tar
from training.errors import TrainingError
from training.real.records import BrokenRecord
from training.real.shard_index import ShardIndex


def open_index(folder: Path) -> ShardIndex:
    shards = sorted(folder.glob("*.tar"))
    return ShardIndex(shards, cache=folder / "tables", split="train")


def images(index: ShardIndex) -> list[bytes]:
    return [index.read(sample) for sample in range(len(index))]


def test_both_sides_of_the_split_make_up_the_shards(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000.tar", range(300))
    sides = {
        split: ShardIndex([tmp_path / "00000.tar"], cache=tmp_path, split=split)
        for split in ("train", "validation")
    }
    validation = held_out(range(300))
    assert len(validation) == 5
    assert images(sides["validation"]) == [image_bytes(number) for number in sorted(validation)]
    assert images(sides["train"]) == [
        image_bytes(number) for number in range(300) if number not in validation
    ]
    assert sides["train"].digest() != sides["validation"].digest()


def test_shards_are_scanned_once(tmp_path: Path) -> None:
    def tables() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tables").iterdir()}

    write_shard(tmp_path / "00000.tar", range(5))
    shard = tmp_path / "00001.tar"
    write_shard(shard, range(5, 10))
    before, first = images(open_index(tmp_path)), tables()
    assert len(first) == 2, "no temporary file stays"
    assert images(open_index(tmp_path)) == before
    assert tables() == first
    # Of the same size, but changed.
    size, changed = shard.stat().st_size, shard.stat().st_mtime_ns
    write_shard(shard, range(20, 25))
    os.utime(shard, ns=(changed, changed + 1_000_000_000))
    assert shard.stat().st_size == size
    after = images(open_index(tmp_path))
    assert after == [image_bytes(number) for number in (*range(5), *range(20, 25))]
    assert first.items() < tables().items()


@pytest.mark.parametrize("missing", [1, 600, 1536, 2048, 5000])
def test_a_truncated_shard_gives_what_is_whole(tmp_path: Path, missing: int) -> None:
    """Cut within data, within a header, and just where a header begins."""
    path = tmp_path / "00000.tar"
    write_shard(path, range(10))
    with tarfile.open(path) as tar:
        end = max(member.offset_data for member in tar) + 512  # the last member's data
    data = path.read_bytes()[: end - missing]
    path.write_bytes(data)
    index = open_index(tmp_path)
    assert index.faults["truncated"] == 1
    assert 5 < len(index) <= 10
    assert images(index) == [image_bytes(number) for number in range(len(index))]


def test_damage_in_the_middle_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "00000.tar"
    write_shard(path, range(10))
    with tarfile.open(path) as tar:
        fifth = tar.getmember("000000005.json").offset
    data = bytearray(path.read_bytes())
    data[fifth : fifth + 512] = b"x" * 512
    path.write_bytes(data)
    index = open_index(tmp_path)
    assert index.faults["truncated"] == 1
    assert images(index)[:5] == [image_bytes(number) for number in range(5)]
    assert len(index) < 7


def test_a_shard_that_shrinks_or_goes_gives_broken_records(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000.tar", range(5))
    index = open_index(tmp_path)
    (tmp_path / "00000.tar").write_bytes(b"")
    refused(lambda: index.read(0), BrokenRecord, "record:", "has become shorter")
    (tmp_path / "00000.tar").unlink()
    refused(lambda: index.read(0), BrokenRecord, "record:", "No such file")


def test_what_else_is_in_a_shard(tmp_path: Path) -> None:
    """A key without an image, two images of one key, capital letters, folders."""
    files = [("a.json", b"{}"), ("folder/b.JPG", b"one"), ("folder/b.txt", b"b")]
    files += [("c.png", b"two"), ("c.webp", b"three"), ("d.mp3", b"four")]
    write_tar(tmp_path / "00000.tar", files)
    index = open_index(tmp_path)
    assert images(index) == [b"one", b"two"]
    assert dict(index.faults) == {"truncated": 0, "without_image": 2}


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "00000.tar").write_bytes(np.random.default_rng(0).bytes(4096))
    (tmp_path / "00001.tar").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"no image for train in 2 shards \(2 of them trunc"):
        open_index(tmp_path)
