from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from training.errors import TrainingError
from training.real.records import (
    BrokenRecord,
    decode_image,
    in_split,
    key_hash,
    read_or_replace,
)

HELD_OUT = [81, 177, 205, 272, 288, 306, 378]  # of the keys 000000000 to 000000499


def test_one_in_a_hundred_is_held_out_and_the_split_never_changes() -> None:
    """These numbers are a contract: another hash would train on what was held out."""
    assert key_hash("sa_223750") == 17806560928574775007
    hashes = np.array([key_hash(f"{number:09}") for number in range(20_000)], np.uint64)
    validation, train = in_split(hashes, "validation"), in_split(hashes, "train")
    np.testing.assert_array_equal(validation, ~train)
    assert np.flatnonzero(validation[:500]).tolist() == HELD_OUT
    assert 150 < validation.sum() < 250


def test_nothing_readable_is_an_error() -> None:
    def read(sample: int) -> int:
        raise BrokenRecord("image", f"sample {sample} is noise")

    with pytest.raises(TrainingError, match=r"100 records in a row .* image: sample \d is noise"):
        read_or_replace(
            0, read, among=range(9), rng=np.random.default_rng(0), broken=Counter[str]()
        )


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (5, 3)).save(file, "tiff")
    assert decode_image(file.getvalue()).shape == (3, 5, 3)
