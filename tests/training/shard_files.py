"""Tar shards as img2dataset writes them, whose pictures tell their number by one flat colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from webdataset import TarWriter

from training.real.records import in_split, key_hash

HEIGHT_PX, WIDTH_PX = 30, 41


def picture_bytes(number: int) -> bytes:
    """A PNG, flat: a crop of it has the same colour at any size."""
    colour = (number // 256, number % 256, 77)
    file = io.BytesIO()
    Image.new("RGB", (WIDTH_PX, HEIGHT_PX), colour).save(file, "png")
    return file.getvalue()


def write_shard(
    path: Path,
    numbers: range,
    *,
    damaged: frozenset[int] = frozenset(),
    caption: Callable[[int], str] = lambda number: "a colour",
) -> None:
    """One shard; the pictures of `damaged` numbers cannot be decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for number in numbers:
            picture = picture_bytes(number)
            sample = {
                "__key__": f"{number:09}",
                "png": picture[: len(picture) // 2] if number in damaged else picture,
                "json": {"key": f"{number:09}"},
                "txt": caption(number),
            }
            writer.write(sample)


def held_out(numbers: range) -> set[int]:
    """Those of the numbers that are for validation."""
    hashes = np.array([key_hash(f"{number:09}") for number in numbers], np.uint64)
    return set(np.array(numbers)[in_split(hashes, "validation")].tolist())


def shown(images: Tensor) -> list[int]:
    """The numbers of flat pictures [B,3,S,S]."""
    assert torch.equal(images, images[..., :1, :1].expand_as(images))
    colours = images[..., 0, 0].int()
    assert (colours[:, 2] == 77).all()
    return (256 * colours[:, 0] + colours[:, 1]).tolist()
