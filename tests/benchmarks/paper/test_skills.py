"""Batches in eager torch give what the public API gives, one picture at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.resolutions import measure_resolutions
from benchmarks.paper.skills import (
    accuracy,
    prompt_ious,
    scene_prompts,
    student_accuracy,
    student_embedder,
    upscale,
)
from benchmarks.paper.teachers import measure_teachers
from benchmarks.quality.class_embeddings import embed_classes
from benchmarks.quality.object_prompts import PromptTally
from benchmarks.quality.ranking import one_by_one
from samclip_sdk import SamClip
from training.composed.scenes import Scene
from training.teachers.small import SmallSam


def untracked(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
    return items


@pytest.fixture(scope="module")
def api(inputs: Inputs) -> SamClip:
    return SamClip.load("torch", model=inputs.run / "stage3")


def test_accuracy_is_that_of_the_public_api(inputs: Inputs, api: SamClip) -> None:
    material, student = inputs.heldout, inputs.student("stage3")
    rank = one_by_one(lambda image: api.classify(image, list(material.nouns)).logits)
    theirs = accuracy(rank, material, name="api", track=untracked)
    ours = student_accuracy(student, material, resolution=64, name="student", track=untracked)
    assert ours == theirs
    assert ours.labels == 12
    assert 0 < ours.clean_top5 < 1


@pytest.mark.parametrize("size_px", [64, 96])
def test_pictures_are_resized_as_by_the_public_api(
    inputs: Inputs, api: SamClip, size_px: int
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, size_px, size_px, 3), np.uint8)
    embed = student_embedder(inputs.student("stage3"), resolution=64)
    with torch.inference_mode():
        found = embed(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    expected = np.stack([api.embed_image(image) for image in images])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_resolution_that_the_student_has_not(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="100 is not a positive multiple of 16"):
        measure_resolutions(inputs, resolutions=[100])


def test_prompts_are_those_of_the_public_api(inputs: Inputs, api: SamClip) -> None:
    material = inputs.heldout
    tally = PromptTally()
    for scene, _ in material.scenes():
        tally.add(api, api.encode_image(scene.image), scene)
    found = prompt_ious(
        SmallSam(inputs.student("stage3")),
        material,
        resolution=64,
        who="model",
        name="student",
        track=untracked,
    )
    expected = tally.row(who="model", split=material.split)
    assert found.objects == expected.objects
    for name in ("box", "box_best", "point", "point_best"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=2e-3)


def test_prompts_of_a_scene() -> None:
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :3, :3] = masks[1, 4:7, 2:7] = True
    scene = Scene(
        image=np.zeros((8, 8, 3), np.uint8),
        masks=masks,
        labels=np.array([0, 1]),
        boxes=np.array([[0, 0, 3, 3], [2, 4, 7, 7]], np.float32),
        unlabelled=np.empty(0, np.int64),
    )
    coords, labels = scene_prompts(scene)
    assert labels.tolist() == [[2, 3], [2, 3], [1, -1], [1, -1]]
    assert coords[:2].tolist() == [[[0, 0], [3, 3]], [[2, 4], [7, 7]]]
    assert coords[2:, 0].tolist() == [[1, 1], [3, 5]]


def test_upscaling_goes_by_the_models_input() -> None:
    logits = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    assert upscale(logits, resolution=64, size_px=64).shape == (1, 4, 64, 64)
    assert upscale(logits, resolution=64, size_px=100).shape == (1, 4, 100, 100)
    assert torch.equal(upscale(logits, resolution=16, size_px=16), logits)


def test_no_noun_is_no_embedding(inputs: Inputs) -> None:
    assert embed_classes(inputs.clip.text_encoder, []).shape == (0, 16)


def test_teachers_and_student_are_all_measured(inputs: Inputs) -> None:
    figures = measure_teachers(inputs)
    assert figures.clip_teacher.labels == figures.student_accuracy.labels == 12
    assert (figures.sam_teacher.who, figures.student_prompts.who) == ("sam_teacher", "model")
    assert figures.sam_teacher.objects == figures.student_prompts.objects >= 2
    assert figures.sam_teacher != figures.student_prompts


def test_every_resolution_before_and_after(inputs: Inputs) -> None:
    rows = measure_resolutions(inputs, resolutions=[48, 64]).rows
    assert [(row.stage, row.resolution_px) for row in rows] == [
        ("stage2", 48),
        ("stage2", 64),
        ("stage3", 48),
        ("stage3", 64),
    ]
