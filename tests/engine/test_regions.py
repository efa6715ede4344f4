"""Regions and labels taught by them: against a source whose answers are known, and a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk import PromptError, SamClip
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import mask_to_model
from tests.fake_source import FakeSource, fake_client, sample_image
from tests.refusals import refused

# In an image of 50 x 100 pixels, a patch of the fake's has 25 x 25.
DOG: dict[str, Any] = {"box": [0, 0, 50, 50]}
CAT: dict[str, Any] = {"box": [50, 0, 100, 25]}


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((50, 100), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_a_region_is_what_is_in_it(both: tuple[SamClip, FakeSource]) -> None:
    model, source = both
    image = model.encode_image(sample_image())
    dog, cat = source.vector("dog"), source.vector("cat")
    for region in (DOG, {"point": (25, 25)}, {"mask": rectangle(0, 0, 50, 50)}):
        found = model.embed_region(image, **region)
        assert (found.dtype, found.shape) == (np.float32, (256,))
        np.testing.assert_allclose(found, dog, atol=1e-5)
    np.testing.assert_allclose(model.embed_region(image, **CAT), cat, atol=1e-5)
    halves = model.embed_region(image, mask=rectangle(25, 0, 75, 25))
    np.testing.assert_allclose(halves, (dog + cat) / np.linalg.norm(dog + cat), atol=1e-5)
    partly = model.embed_region(image, mask=rectangle(25, 0, 60, 25))  # 0.4 of a patch of the cat
    expected = dog + 0.4 * cat
    np.testing.assert_allclose(partly, expected / np.linalg.norm(expected), atol=0.01)
    assert source.runs("image_encoder@64") == source.runs("clip_head@64") == 1
    assert source.runs("mask_decoder") == 3
    assert len(source.sessions["mask_decoder"].feeds[0]["sparse_mask"]) == 1


def test_a_pixel_of_100_million_is_still_a_region() -> None:
    large = Frame.fit(10_000, 10_000, resolution=64)
    speck = np.zeros((10_000, 10_000), dtype=bool)
    speck[5000, 2000] = True
    shares = mask_to_model(speck, frame=large)
    assert shares[32, 12] == shares.sum() == 1


def test_nothing_is_drawn(model: SamClip) -> None:
    box = [1, 1, 1.5, 1.5]
    refused(lambda: model.embed_region(sample_image(), box=box), PromptError, "nothing")


def test_a_taught_label_is_found(model: SamClip) -> None:
    image = model.encode_image(sample_image())
    assert not model.segment_text(image, "pet").labels
    learned = model.learn_label("pet", model.embed_region(image, **DOG))
    found = model.segment_text(image, ["pet", "dog"])
    assert found.presence[0] == pytest.approx(0.95, abs=1e-3)
    assert found.masks[0].any()
    np.testing.assert_allclose(np.linalg.norm(learned), 1, atol=1e-6)
    learned[:] = 0  # the caller's own
    assert model.segment_text(image, " Pet ").presence[0] == found.presence[0]
    assert model.classify(image, ["boat", "pet"]).top(1)[0][0] == "pet"
    things = model.segment_everything(
        image, "pet", points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0
    )
    assert max(things.label_scores) == pytest.approx(0.95, abs=1e-3)


def test_a_taught_label_is_kept_in_a_pack(model: SamClip, tmp_path: Path) -> None:
    model.learn_label("pet", model.embed_region(sample_image(), **DOG))
    model.save_vocabulary(tmp_path / "pets.safetensors", ["cat", "pet"])
    expected = model.segment_text(sample_image(), ["cat", "pet"])
    user, source = fake_client(tmp_path)
    assert user.load_vocabulary(tmp_path / "pets.safetensors") == ("cat", "pet")
    found = user.segment_text(sample_image(), ["cat", "pet"])
    np.testing.assert_array_equal(found.asked.score_maps, expected.asked.score_maps)
    assert "text_encoder" not in source.sessions
    # In a pack without the text encoder, it is taught further.
    user.learn_label("pet", user.embed_region(sample_image(), **CAT))
    assert user.segment_text(sample_image(), "pet").presence[0] == pytest.approx(0.95, abs=1e-3)


def test_a_bundles_nouns_may_have_their_own_thresholds(tmp_path: Path) -> None:
    maker, source = fake_client(tmp_path)
    maker.learn_label("dog", source.vector("dog"), threshold=0.97)
    maker.save_vocabulary(tmp_path / "nouns.safetensors", ["dog", "cat"])
    model, source = fake_client(tmp_path)
    (usual,) = model.label_thresholds("cat")
    source.nouns_path = tmp_path / "nouns.safetensors"
    assert SamClip(source).label_thresholds(["cat", " Dog ", "sofa"]) == (usual, 0.97, usual)
    with SamClip(source) as user:
        user.save_vocabulary(tmp_path / "dog.safetensors", ["dog"])
        user.learn_label("dog", source.vector("dog"))  # another dog, with the bundle's threshold
        assert user.label_thresholds("dog") == (usual,)
        user.load_vocabulary(tmp_path / "dog.safetensors")
        assert user.label_thresholds("dog") == (0.97,)


def test_a_label_keeps_its_own_threshold(model: SamClip, tmp_path: Path) -> None:
    """In every verb, unless a call gives another, and in a pack."""
    region, path = model.embed_region(sample_image(), **DOG), tmp_path / "pets.safetensors"
    model.learn_label("pet", region, threshold=0.97)  # its presence is .95
    by_default = model.label_thresholds("dog")[0]
    assert model.label_thresholds(["dog", "pet"]) == (by_default, 0.97)
    model.save_vocabulary(path, ["dog", "pet"])
    user, _ = fake_client(tmp_path)
    user.load_vocabulary(path)
    for each in (model, user):
        assert each.segment_text(sample_image(), ["dog", "pet"]).labels == ("dog",)
        assert each.segment_text(sample_image(), ["dog", "pet"], tiles=(1, 2)).labels == ("dog",)
        assert each.segment_text(sample_image(), ["dog", "pet"], threshold=0.9).labels == (
            "dog",
            "pet",
        )
        assert "pet" not in each.segment_instances(sample_image(), ["pet", "dog"]).labels
        assert "pet" in each.segment_instances(sample_image(), ["pet", "dog"], threshold=0.9).labels
        assert not next(each.stream([sample_image()], ["pet"])).labels
        everything = each.segment_everything(
            sample_image(), "pet", points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0
        )
        assert not any(everything.labels)
    digest = model.label_digests("pet")
    assert digest == user.label_digests("pet")
    model.learn_label("pet", region)  # a new embedding has no old threshold
    assert model.segment_text(sample_image(), "pet").labels == ("pet",)
    assert model.label_digests("pet") != digest
