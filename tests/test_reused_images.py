"""Whatever an iterator does with what it yields, the answers are those of a list of copies."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from samclip_sdk import SamClip
from samclip_sdk.image.loading import load_image, own_image
from tests.fake_source import HeadsDiffer
from tests.reused_images import REUSED, encoded

every_kind = pytest.mark.parametrize("kind", REUSED)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SamClip:
    return SamClip(HeadsDiffer(tmp_path_factory.mktemp("model")))


def noise(seed: int, *, count: int = 8, height: int = 24, width: int = 36) -> list[np.ndarray]:
    shape = (count, height, width, 3)
    return list(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def copies(kind: str, frames: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """What each image is when it is yielded."""
    return [load_image(each).copy() for each in REUSED[kind](frames, folder)]


@every_kind
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9))
def test_answers_are_those_of_copies(
    kind: str, model: SamClip, tmp_path: Path, seed: int, count: int
) -> None:
    frames = noise(seed, count=count)
    expected = model.embed_image(copies(kind, frames, tmp_path))
    found = list(model.embed_image(REUSED[kind](frames, tmp_path)))
    assert len(found) == len(expected) == count
    assert all(map(np.array_equal, found, expected))
    assert count < 2 or not np.array_equal(found[0], found[1])


@every_kind
def test_results_and_streams_know_their_own_image(
    kind: str, model: SamClip, tmp_path: Path
) -> None:
    frames = noise(0)
    expected = copies(kind, frames, tmp_path)
    reused = REUSED[kind]
    found = [
        *model.segment_text(reused(frames, tmp_path), ["dog"]),
        *model.stream(reused(frames, tmp_path), ["dog"]),
    ]
    for each, own in zip(found, [*expected, *expected], strict=True):
        np.testing.assert_array_equal(load_image(each.origin), own)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_one_image_that_is_not_loaded_yet_may_be_shared(kind: str, model: SamClip) -> None:
    """Pillow decodes at first use, and without a lock."""
    content = io.BytesIO()
    Image.fromarray(noise(0, count=1, height=300, width=400)[0]).save(content, kind)
    expected = model.embed_image(content.getvalue())
    for _ in range(5):
        found = model.embed_image([Image.open(io.BytesIO(content.getvalue()))] * 6)
        assert all(np.array_equal(each, expected) for each in found)
        shared = Image.open(io.BytesIO(content.getvalue()))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(model.embed_image, [shared] * 8))
        assert all(np.array_equal(each, expected) for each in found)


def test_what_stays_as_it_is_is_not_copied(model: SamClip) -> None:
    content = encoded(noise(0)[0])
    prepared = model.prepare_image(content)
    for each in ("a.png", Path("a.png"), content, prepared, model.encode_image(prepared), None, 3):
        assert own_image(each) is each
