"""Everything in an image by the boxes that a model proposes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from export.graphs import build_graphs
from export.tokenizer import write_tokenizer
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle.manifest import ProposedObjectScore
from samclip_sdk.engine.options import default_min_score
from samclip_sdk.engine.regions import label_share
from samclip_sdk.image.frame import Frame
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from tests.device_bundle import IMAGE
from tests.fake_source import sample_image
from tests.proposal_cases import PROPOSING


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SamClip:
    folder = tmp_path_factory.mktemp("proposing")
    save_checkpoint(build_model(PROPOSING, seed=1), folder, provenance={})
    write_tokenizer(folder / "tokenizer.json", PROPOSING.text_encoder)
    return SamClip.load("torch", model=folder)


def test_each_box_gets_a_mask_the_likeliest_first(model: SamClip) -> None:
    found = model.segment_everything(IMAGE)
    assert 0 < len(found) <= 100
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores <= found.predicted_ious).all()
    asked = model.segment_everything(IMAGE, pred_iou_thresh=1.0)
    assert len(asked) == 0


def calibrated(model: SamClip, **changes: object) -> SamClip:
    calibration = model.manifest.calibration.model_copy(update=changes)
    source = copy.copy(model.source)
    source.manifest = model.manifest.model_copy(update={"calibration": calibration})
    return SamClip(source)


def test_they_are_objects_of_a_label_where_the_bundle_scores_them(model: SamClip) -> None:
    asked = {"threshold": 0, "min_score": 0, "max_instances": 1000}
    weights = {"label_score": 0.1, "predicted_iou": 1, "stability_score": 1, "bias": 0}
    score = ProposedObjectScore(**weights, proposal_score=9, label_share=0, min_score=0.4)
    # Of random weights all cells fit alike at this scale, and so no box is left out.
    parts = calibrated(model, scale=1.0).segment_instances(IMAGE, ["dog"], **asked)
    both = calibrated(model, scale=1.0, proposed_objects=score)
    found = both.segment_instances(IMAGE, ["dog"], **asked)
    assert len(found) > len(parts) > 0, "the masks of proposed boxes are among them"
    assert default_min_score(both.manifest.calibration, min_score=None) == 0.4


def test_the_share_of_a_label_is_of_its_cells() -> None:
    frame = Frame.fit(32, 64, resolution=64)  # the lower half is padding
    label_map = np.zeros((4, 4), np.float32)
    label_map[0], label_map[3] = [0.2, 0.2, 0.6, 0], 1
    mask = np.zeros((16, 16), bool)
    mask[:4, :8] = True
    assert label_share(label_map, mask=mask, frame=frame) == pytest.approx(0.4)


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
