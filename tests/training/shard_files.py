"""Tar shards as img2dataset writes them, whose images tell their number by one flat colour."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.data_config import Shards, ShardSource
from training.real.records import Split, in_split, key_hash
from training.real.shards import ShardImages

HEIGHT_PX, WIDTH_PX = 30, 41


def image_bytes(number: int) -> bytes:
    """A PNG, flat: a crop of it has the same colour at any size."""
    colour = (number // 256, number % 256, 77)
    file = io.BytesIO()
    Image.new("RGB", (WIDTH_PX, HEIGHT_PX), colour).save(file, "png")
    return file.getvalue()


def write_tar(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """A tar file of these files, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_shard(path: Path, numbers: range, *, damaged: frozenset[int] = frozenset()) -> None:
    """One shard; the images of `damaged` numbers cannot be decoded."""
    files = []
    for number in numbers:
        image = image_bytes(number)
        whole = len(image) // (2 if number in damaged else 1)
        files += [(f"{number:09}.png", image[:whole]), (f"{number:09}.json", b"{}")]
    write_tar(path, files)


def open_shards(folder: Path, *sources: tuple[str, float], split: Split = "train") -> ShardImages:
    """The images of globs in a folder, with their weights; of all its shards without any."""
    given = [
        ShardSource(shards=str(folder / shards), weight=weight)
        for shards, weight in sources or [("*.tar", 1.0)]
    ]
    settings = Shards(
        source="shards",
        sources=given,
        resolutions=(16,),
        pixels_per_batch=16**2,
        index=folder / "tables",
    )
    return ShardImages(settings, split=split)


def held_out(numbers: range) -> set[int]:
    """Those of the numbers that are for validation."""
    hashes = np.array([key_hash(f"{number:09}") for number in numbers], np.uint64)
    return set(np.array(numbers)[in_split(hashes, "validation")].tolist())


def shown(images: Tensor) -> list[int]:
    """The numbers of flat images [B,3,S,S]."""
    assert torch.equal(images, images[..., :1, :1].expand_as(images))
    colours = images[..., 0, 0].int()
    assert (colours[:, 2] == 77).all()
    return (256 * colours[:, 0] + colours[:, 1]).tolist()
