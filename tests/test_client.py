"""The client against a source whose answers are known; then against a tiny model, both runtimes."""

from __future__ import annotations

import io
import pickle
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samclip_sdk import BundleError, ImageEmbedding, ImageError, PromptError, SamClip
from samclip_sdk.errors import EmbeddingMismatchError, StorageError
from samclip_sdk.image.frame import Frame
from tests.fake_source import FakeSource, fake_client, sample_image
from tests.refusals import refused

LABELS = ["dog", "zebra", "cat", "green frog"]


def test_one_backbone_pass_serves_every_skill(both: tuple[SamClip, FakeSource]) -> None:
    model, source = both
    image = model.encode_image(sample_image())
    model.classify(image, LABELS)
    model.segment(image, points=[[10, 10]], point_labels=[1])
    model.segment_text(image, LABELS)
    model.embed_image(image)
    assert source.runs("image_encoder@64") == 1
    assert source.runs("clip_head@64") == 1
    assert source.runs("image_encoder@32") == 0
    assert set(image.speed) == {"load_image", "preprocess", "image_encoder"}


def test_the_clip_head_runs_anew_for_another_image(both: tuple[SamClip, FakeSource]) -> None:
    model, source = both
    image = model.encode_image(sample_image())
    vector = model.embed_image(image)
    kept = vector.copy()
    vector[:] = 0  # the caller's own
    np.testing.assert_array_equal(model.embed_image(image), kept)
    assert source.runs("clip_head@64") == 1
    model.embed_image(replace(image))
    assert source.runs("clip_head@64") == 2
    model.embed_image(image)
    assert source.runs("clip_head@64") == 3


def test_a_raw_image_is_classified_at_its_own_resolution(both: tuple[SamClip, FakeSource]) -> None:
    model, source = both
    result = model.classify(sample_image(), LABELS)
    assert source.runs("image_encoder@64") == 0
    feed = source.sessions["clip_head@32"].feeds[0]
    assert (feed["token_mask"] == 1).all()  # the classification task crops: nothing is padded
    assert result.top(1)[0][0] == "dog"
    assert result.probs.sum() == pytest.approx(1)
    assert result.logits[0] == pytest.approx(50, abs=1e-3)


ASK: dict[str, Any] = {
    "classify": {"labels": "dog"},
    "segment": {"boxes": [25, 12, 75, 38]},
    "segment_text": {"labels": LABELS},
    "segment_everything": {"labels": LABELS, "points_per_side": 2, "pred_iou_thresh": 0},
}


@pytest.mark.parametrize("skill", ASK)
def test_a_result_is_drawn_over_its_image_without_passing_it_again(
    model: SamClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    Image.fromarray(sample_image()).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    array, content = sample_image(), (tmp_path / "image.png").read_bytes()
    ask = getattr(model, skill)
    for image in (
        "image.png",
        array,
        io.BytesIO(content),
        model.encode_image("image.png"),
        model.encode_image(model.prepare_image(Path("image.png"))),
        model.encode_image(array),
    ):
        result = ask(image, **ASK[skill])
        np.testing.assert_array_equal(result.plot(), result.plot(array))
    assert np.shares_memory(ask(array, **ASK[skill]).origin, array)
    result = ask("image.png", **ASK[skill])
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(result.plot(), result.plot(array))


def test_three_masks_a_prompt_or_one(model: SamClip) -> None:
    points = [[[20, 20]], [[80, 30]]]
    three = model.segment(sample_image(), points=points, point_labels=[[1], [1]])
    assert three.prompt_index.tolist() == [0, 0, 0, 1, 1, 1]
    assert three.scores == pytest.approx([0.7, 0.8, 0.9] * 2)  # tokens 1 to 3
    one = model.segment(
        sample_image(), points=points, point_labels=[[1], [1]], multimask_output=False
    )
    assert one.prompt_index.tolist() == [0, 1]
    assert one.scores == pytest.approx([0.6, 0.6])  # token 0
    assert one.masks[0, 20, 20]
    assert not one.masks[0, 30, 80]
    assert one.masks[1, 30, 80]


def test_many_prompts_are_split_and_answered_as_if_alone(
    both: tuple[SamClip, FakeSource],
) -> None:
    model, source = both
    image = model.encode_image(sample_image())
    boxes = [[x, y, x + 30, y + 20] for x in range(0, 60, 6) for y in range(0, 28, 7)]
    result = model.segment(image, boxes=boxes, multimask_output=False)
    sizes = [len(feed["sparse_mask"]) for feed in source.sessions["mask_decoder"].feeds]
    assert sizes == [16, 16, 8]
    for index in (0, 17, 39):
        alone = model.segment(image, boxes=boxes[index], multimask_output=False)
        np.testing.assert_array_equal(alone.masks[0], result.masks[index])


def test_low_res_masks_are_a_mask_input(model: SamClip) -> None:
    image = model.encode_image(sample_image())
    first = model.segment(image, boxes=[25, 12, 75, 38], multimask_output=False)
    again = model.segment(image, mask_input=first.low_res_masks, multimask_output=False)
    np.testing.assert_array_equal(again.masks, first.masks)


def test_soft_masks_are_probabilities_of_which_the_masks_are_the_upper_half(
    model: SamClip,
) -> None:
    drawn = model.segment(sample_image(), boxes=[25, 12, 75, 38])
    for refine in (True, False):
        asked = {"refine": refine, "return_soft_masks": True, "mask_threshold": 0.0}
        found = model.segment_text(sample_image(), LABELS, **asked)
        assert len(found) == 2
        plain = model.segment_text(sample_image(), LABELS, refine=refine, mask_threshold=0.0)
        assert plain.soft_masks is plain[[0]].soft_masks is None
        np.testing.assert_array_equal(found["cat"].soft_masks, found.soft_masks[[1]])
        for result in (drawn, found):
            soft = result.soft_masks
            assert (soft.dtype, soft.shape) == (np.float32, result.masks.shape)
            assert 0 <= soft.min() < 0.1 < 0.9 < soft.max() <= 1
            sure = np.abs(soft - 0.5) > 1e-6
            np.testing.assert_array_equal((soft > 0.5)[sure], np.asarray(result.masks)[sure])


@pytest.mark.parametrize("refine", [True, False])
def test_text_finds_what_is_there_and_nothing_else(
    both: tuple[SamClip, FakeSource], refine: bool
) -> None:
    model, source = both
    result = model.segment_text(sample_image(), LABELS, refine=refine)
    assert result.labels == ("dog", "cat")
    assert (result.asked.presence[[1, 3]] < 0.1).all()
    assert set(result.absent) == {"zebra", "green frog"}
    assert (result.presence > 0.9).all()
    assert result.mask("dog")[:45, :45].mean() > 0.9
    assert not result.mask("dog")[:, 60:].any()
    assert result.mask("cat")[:20, 60:].mean() > 0.9
    assert not result.mask("zebra").any()
    assert result.class_map[5, 5] == 0
    assert result.class_map[5, 95] == 2
    assert result.class_map[45, 95] == -1
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(result)).class_map, result.class_map)
    # One call for both present labels, none where the CLIP head is alone.
    assert source.runs("mask_decoder") == int(refine)
    assert [len(each) for each in result.points] == ([3, 2] if refine else [0] * 2)
    assert all((each >= 0).all() and (each < (100, 50)).all() for each in result.points)


def test_threshold_decides_who_is_present(model: SamClip) -> None:
    assert model.segment_text(sample_image(), LABELS, threshold=0).labels == tuple(LABELS)
    assert model.segment_text(sample_image(), LABELS, threshold=1).labels == ()


@given(others=st.lists(st.sampled_from(["cat", "zebra", "a", "b", "c"]), unique=True))
def test_a_label_is_answered_as_if_alone(
    others: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model, _ = fake_client(tmp_path_factory.mktemp("model"))
    image = model.encode_image(sample_image())
    alone = model.segment_text(image, ["dog"], points_per_class=2)
    beside = model.segment_text(image, [*others, "dog"], points_per_class=2)
    np.testing.assert_array_equal(beside.mask("dog"), alone.masks[0])
    np.testing.assert_array_equal(beside.asked.score_maps[-1], alone.asked.score_maps[0])
    np.testing.assert_array_equal(beside["dog"].points[0], alone.points[0])
    assert beside["dog"].presence == alone.presence


def test_150_labels_on_12_megapixels_cost_no_gigabytes(model: SamClip) -> None:
    labels = [*LABELS, *(f"noun {index}" for index in range(146))]
    image = sample_image(3000, 4000)
    tracemalloc.start()
    result = model.segment_text(image, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(result.asked.labels) == 150
    assert peak < 400e6


@pytest.mark.parametrize("skill", [*ASK, "embed_image"])
def test_bad_images_fail_alike(model: SamClip, tmp_path: Path, skill: str) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    for image, word in (
        (tmp_path / "torn.png", "torn.png"),
        (tmp_path / "none.png", "none.png"),
        (np.zeros((1, 1, 3), np.uint8), "pixel"),
        (np.full((9, 9, 3), np.nan, np.float32), "float32"),
    ):
        refused(partial(getattr(model, skill), image, **ASK.get(skill, {})), ImageError, word)


@pytest.mark.parametrize(
    "skill", ["classify", "segment", "segment_text", "segment_instances", "segment_everything"]
)
def test_another_models_images_are_refused(
    both: tuple[SamClip, FakeSource], tmp_path: Path, skill: str
) -> None:
    """As they were encoded or prepared, and where their sizes are others."""
    model, source = both
    other, _ = fake_client(tmp_path, model_id="other")
    own = model.encode_image(sample_image())
    strange = np.zeros((1, 5, 4, 4), np.float32)
    for image, word in (
        (other.encode_image(sample_image()), "other"),
        (other.prepare_image(sample_image()), "other"),
        (replace(own, image_tokens=strange), "64 px"),
        (replace(own, image_embeddings=strange), "64 px"),
        (replace(own, frame=Frame.fit(50, 100, resolution=32)), "64 px"),
    ):
        given = ASK.get(skill, {"labels": "dog"})
        refused(partial(getattr(model, skill), image, **given), EmbeddingMismatchError, word)
    assert source.runs("clip_head@64") == 0


def test_masks_that_no_memory_holds_are_refused(
    model: SamClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model.manifest), "mask_side", lambda self, resolution: 2**24)
    boxes = [[5, 5, 25, 25], [1, 1, 9, 9]]
    refused(lambda: model.segment(sample_image(), boxes=boxes), PromptError, "2 prompts")


def test_a_vocabulary_that_cannot_be_read_or_written(model: SamClip, tmp_path: Path) -> None:
    path = tmp_path / "nouns.safetensors"
    model.save_vocabulary(path, "dog")
    other, _ = fake_client(tmp_path, revision="2")
    nowhere = tmp_path / "no folder" / "nouns.safetensors"
    call: Any
    for call, error, word in (
        (lambda: other.load_vocabulary(path), EmbeddingMismatchError, "fake 1"),
        (lambda: model.load_vocabulary("none\0.json"), BundleError, "none"),
        (lambda: model.load_vocabulary(tmp_path / "none.json"), BundleError, "none.json"),
        (lambda: model.load_vocabulary(None), BundleError, "None"),
        (lambda: model.load_vocabulary(5), BundleError, "5"),
        (lambda: model.save_vocabulary(None, "dog"), StorageError, "None"),
        (lambda: model.save_vocabulary(5, "dog"), StorageError, "5"),
        (lambda: model.save_vocabulary(nowhere, "dog"), StorageError, "no folder"),
    ):
        refused(call, error, word)


def test_a_saved_embedding_answers_the_same(model: SamClip, tmp_path: Path) -> None:
    """Of its image nothing is known."""
    image = model.encode_image(sample_image())
    image.save(tmp_path / "image.npz")
    loaded = ImageEmbedding.load(tmp_path / "image.npz")
    found, expected = model.segment_text(loaded, LABELS), model.segment_text(image, LABELS)
    np.testing.assert_array_equal(found.class_map, expected.class_map)
    refused(lambda: found.save(tmp_path / "a.png"), ImageError, "image=")
    found.save(tmp_path / "a.png", image=sample_image())


def test_embeddings_are_of_unit_length_and_texts_are_taken_as_they_are(model: SamClip) -> None:
    texts = model.embed_text(["a photo of a dog.", "dog"])
    image = model.embed_image(sample_image())
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    assert image.shape == (256,)
    assert (texts @ image)[0] == pytest.approx(1, abs=1e-5)
    assert (texts @ image)[1] < 0.5
    assert model.embed_text("dog").shape == (1, 256)


def test_closing_frees_the_graphs(both: tuple[SamClip, FakeSource]) -> None:
    model, source = both
    with model:
        model.classify(sample_image(), "dog")
        sessions = list(source.sessions.values())
    for session in sessions:
        with pytest.raises(ValueError, match="closed"):
            session.run({})
    assert model.classify(sample_image(), "dog").probs.tolist() == [1]
