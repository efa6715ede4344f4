"""Records of real data sets: their side of the split, and what becomes of broken ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from samclip_sdk.errors import ImageError
from samclip_sdk.image.loading import load_image
from training.errors import TrainingError

Split = Literal["train", "validation"]

KINDS = ("record", "image", "annotations", "mask", "embedding")
"""What can be broken: bytes that cannot be read; an image that cannot be decoded; a JSON file
without annotations; one mask (damaged, or without a pixel); a teacher's embedding that is missing.
A batch's `broken` counts them in this order."""

_HELD_OUT_OF = 100  # one record in so many is held out (paper, section 4.1)
_ENOUGH = 500  # records, of which none is held out in one case of 150
_TRIES = 100

T = TypeVar("T")


class BrokenRecord(Exception):
    """A record that cannot be used; `kind` is one of `KINDS`."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind = kind


def key_hash(key: str) -> int:
    """Hashes a record's key to 64 bits, the same on every machine and in every version."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def in_split(hashes: np.ndarray, split: Split) -> np.ndarray:
    """Tells which records are on a side of the split, by uint64 [N] of `key_hash`: bool [N].

    `validation` is 1 %, `train` the rest.
    """
    held_out: np.ndarray = hashes % np.uint64(_HELD_OUT_OF) == 0
    return held_out if split == "validation" else ~held_out


def explain_lack(split: Split) -> str:
    """Why a small data set may have nothing on a side of the split, and what to do about it."""
    if split == "train":
        return f"all are held out, which one in {_HELD_OUT_OF} is: give more of them"
    return (
        f"one in {_HELD_OUT_OF} is held out, by a hash of its name: give {_ENOUGH} or more, or "
        "take `validation` out of the stage's optimisation"
    )


def decode_image(data: bytes) -> np.ndarray:
    """Decodes an image file to uint8 RGB [H,W,3], upright; raises BrokenRecord if it is none."""
    try:
        return load_image(data)
    except ImageError as error:
        raise BrokenRecord("image", str(error)) from error


def read_or_replace(
    sample: int,
    read: Callable[[int], T],
    *,
    among: range,
    rng: np.random.Generator,
    broken: Counter[str],
) -> tuple[int, T]:
    """Reads a sample; in place of a broken one, another at random.

    Args:
        sample: the one that is wanted.
        read: raises `BrokenRecord` for a broken one.
        among: the samples that may replace it.
        rng: draws them. It is not touched if the sample is good.
        broken: counts the broken ones by kind.

    Returns:
        The sample that was read, and what `read` made of it.

    Raises:
        TrainingError: a hundred in a row are broken.
    """
    for _ in range(_TRIES):
        try:
            return sample, read(sample)
        except BrokenRecord as error:
            broken[error.kind] += 1
            last = error
            sample = among[int(rng.integers(len(among)))]
    raise TrainingError(f"{_TRIES} records in a row cannot be used, the last for its {last}")


def count_tensor(broken: Counter[str]) -> Tensor:
    """Counts by kind as int64 [len(KINDS)], to travel with a batch."""
    return torch.tensor([broken[kind] for kind in KINDS])
