"""What a few bytes can ask for is counted before an image is decoded."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from samclip_sdk.errors import ImageError
from samclip_sdk.image.limits import MAX_COMMENTS, MAX_HEADER_BYTES, MAX_SCANS
from samclip_sdk.image.loading import load_image
from tests.costly_images import jpeg_of_scans, ppm_of_comments, segment, tiff_of_one_tile
from tests.refusals import refused

THUMBNAIL = segment(0xE1, b"Exif\0\0" + b"\xff\xda" * 2 * MAX_SCANS)


def refused_undecoded(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: object
) -> None:
    """A file, bytes, and what Pillow has opened."""
    path = tmp_path / "image"
    path.write_bytes(content)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("it is decoded"))
    for source in (path, content, Image.open(io.BytesIO(content))):
        refused(partial(load_image, source), ImageError, word)


@pytest.mark.parametrize("before", [b"", THUMBNAIL, segment(0xFE, bytes(65_000)) * 20])
def test_scans_of_a_jpeg(before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_image(jpeg_of_scans(MAX_SCANS, before=before)).shape == (40, 40, 3)
    refused_undecoded(jpeg_of_scans(MAX_SCANS + 1, before=before), tmp_path, monkeypatch, MAX_SCANS)


def test_what_follows_a_jpeg_is_no_part_of_it() -> None:
    """Phones put a second image there, or a film."""
    content = jpeg_of_scans(8)
    expected = load_image(content)
    np.testing.assert_array_equal(load_image(content + b"\xff\xda\0\2" * 2 * MAX_SCANS), expected)


@pytest.mark.parametrize("where", range(-6, 6))
def test_scans_are_counted_wherever_blocks_end(where: int) -> None:
    """A file is read in blocks of powers of two: its first scan begins around such a place."""
    start = jpeg_of_scans(MAX_SCANS).index(b"\xff\xda")
    missing = 2**20 - start + where
    full, rest = divmod(missing, 65_000)
    before = segment(0xFE, bytes(65_000 - 4)) * full + segment(0xFE, bytes(rest - 4))
    assert len(before) == missing
    load_image(jpeg_of_scans(MAX_SCANS, before=before))
    content = jpeg_of_scans(MAX_SCANS + 1, before=before)
    refused(lambda: load_image(content), ImageError, MAX_SCANS)


def test_comments_of_a_ppm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_image(ppm_of_comments(MAX_COMMENTS)).max() == 7
    refused_undecoded(ppm_of_comments(MAX_COMMENTS + 1), tmp_path, monkeypatch, MAX_COMMENTS)


def test_what_looks_like_comments_in_the_pixels_of_a_ppm() -> None:
    hashes = np.full((90, 90, 3), ord("#"), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(hashes).save(content, "PPM")
    np.testing.assert_array_equal(load_image(content.getvalue()), hashes)


@pytest.mark.parametrize(
    ("kind", "index"),
    [(kind, index) for kind in (b"P3", b"P6", b"P5") for index in range(3)]
    + [(b"P4", index) for index in range(2)],  # a bitmap has no third number
)
def test_a_header_without_an_end(kind: bytes, index: int, tmp_path: Path) -> None:
    numbers = [b"9", b"9", b"255"][: 2 if kind == b"P4" else 3]
    fits = [*numbers[:index], b"#" + b"a" * 1000 + b"\n" + numbers[index], *numbers[index + 1 :]]
    pixels = b"7 " * 243
    assert load_image(b"\n".join([kind, *fits, pixels])).shape == (9, 9, 3)
    long = b"#" + b"a" * MAX_HEADER_BYTES + b"\n"
    content = b"\n".join([kind, *numbers[:index], long + numbers[index], *numbers[index + 1 :]])
    (tmp_path / "a.ppm").write_bytes(content + b"\n" + pixels)
    for source in (tmp_path / "a.ppm", content + b"\n" + pixels):
        refused(partial(load_image, source), ImageError, MAX_HEADER_BYTES)


def test_tiles_of_a_tiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile may be larger than the image, but not than any image may be."""
    assert load_image(tiff_of_one_tile(512, 256)).shape == (64, 64, 3)
    refused_undecoded(tiff_of_one_tile(26_000, 26_000), tmp_path, monkeypatch, "26000 x 26000")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    refused(lambda: load_image(tmp_path / "a.jpg"), ImageError, "a.jpg", "pipe")
