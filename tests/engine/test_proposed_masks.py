"""Everything in an image by the boxes that a model proposes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.graphs import build_graphs
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.device_bundle import IMAGE
from tests.fake_source import sample_image
from tests.proposal_cases import PROPOSING


@pytest.fixture(scope="module")
def model(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> SamClip:
    folder = tmp_path_factory.mktemp("proposing")
    save_checkpoint(build_model(PROPOSING, seed=1), folder, provenance={})
    (folder / "tokenizer.json").write_bytes((tiny_bundle / "tokenizer.json").read_bytes())
    return SamClip.load("torch", model=folder)


def test_each_box_gets_a_mask_the_likeliest_first(model: SamClip) -> None:
    found = model.segment_everything(IMAGE)
    assert 0 < len(found) <= 100
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores <= found.predicted_ious).all()
    asked = model.segment_everything(IMAGE, pred_iou_thresh=1.0)
    assert len(asked) == 0


def test_a_grid_is_another_question(model: SamClip) -> None:
    found = model.segment_everything(
        IMAGE, points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0
    )
    assert len(found) <= 12
    assert found.scores == pytest.approx(found.predicted_ious)


def test_they_are_kept_with_an_embedding(model: SamClip, tmp_path: Path) -> None:
    embedding = model.encode_image(IMAGE)
    assert embedding.proposals is not None
    embedding.save(tmp_path / "image.npz")
    loaded = ImageEmbedding.load(tmp_path / "image.npz")
    assert loaded.proposals is not None
    np.testing.assert_array_equal(loaded.proposals, embedding.proposals)
    np.testing.assert_array_equal(
        model.segment_everything(loaded).masks, model.segment_everything(embedding).masks
    )


def test_a_model_without_them_gets_a_grid(tiny_bundle: Path) -> None:
    plain = SamClip.load("onnx", model=tiny_bundle)
    assert plain.encode_image(sample_image()).proposals is None
    by_default, asked = (
        plain.segment_everything(sample_image(), points_per_side=n) for n in (None, 32)
    )
    np.testing.assert_array_equal(by_default.masks, asked.masks)


def test_they_are_an_output_of_the_graph() -> None:
    side = PROPOSING.segmentation_resolution
    graphs = build_graphs(build_model(PROPOSING, seed=1), resolutions=[side])
    (encoder,) = (each for each in graphs if each.part == "image_encoder")
    square = np.zeros((1, 3, side, side), dtype=np.uint8)
    answer = encoder.reference({"image": square})
    assert answer["proposals"].shape == (1, 30, side // 16, side // 16)
    traced = encoder.trace().module()
    for found, wanted in zip(traced(*encoder.example().values()), answer.values(), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), wanted, atol=1e-4)
