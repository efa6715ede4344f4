"""Images in HEIC, the format of iPhones."""

from __future__ import annotations

import io
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.errors import ImageError
from samclip_sdk.image.loading import load_image
from tests.refusals import refused


def heic(pixels: NDArray[np.uint8]) -> bytes:
    pillow_heif.register_heif_opener()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="HEIF", quality=95)
    return content.getvalue()


def test_heic_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.full((40, 60, 3), (200, 80, 20), np.uint8)
    (tmp_path / "phone.heic").write_bytes(heic(pixels))
    monkeypatch.delitem(Image.OPEN, "HEIF")
    found = load_image(tmp_path / "phone.heic")
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).max() < 8
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for source in (tmp_path / "phone.heic", (tmp_path / "phone.heic").read_bytes()):
        refused(partial(load_image, source), ImageError, 'pip install "samclip-sdk[heic]"')
