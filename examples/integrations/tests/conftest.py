"""What the tests of the integrations share: the shipped model, and photographs to show it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samclip_sdk import SamClip

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
IMAGES = Path(__file__).parents[2] / "images"
ORIENTATION = 0x0112


@pytest.fixture(scope="session", autouse=True)
def user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What packages keep for a user stays out of the real user's home."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(folder / name))
        yield folder


@pytest.fixture(scope="session")
def model() -> Iterator[SamClip]:
    """The model that the package brings, as each of the modules loads it too."""
    with SamClip.load("onnx") as loaded:
        yield loaded


@pytest.fixture(scope="session")
def dog() -> Path:
    """A photograph of a dog, 288 x 384."""
    return IMAGES / "dog.jpg"


@pytest.fixture(scope="session")
def images(dog: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The dog in files that must be read alike: upright, turned by its EXIF, and both in grey."""
    folder = tmp_path_factory.mktemp("images")
    with Image.open(dog) as photograph:
        upright = photograph.convert("RGB")
    grey = upright.convert("L")
    paths = {name: folder / f"{name}.png" for name in ("upright", "turned", "grey", "grey_turned")}
    upright.save(paths["upright"])
    grey.save(paths["grey"])
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # Whoever shows it turns it by 90 degrees clockwise.
    for name, image in (("turned", upright), ("grey_turned", grey)):
        image.transpose(Image.Transpose.ROTATE_90).save(paths[name], exif=exif)
    return paths


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """The intersection over union of two masks."""
    return float((one & other).sum() / (one | other).sum())
