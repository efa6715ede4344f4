from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.paper import zero_shot
from benchmarks.paper.inputs import Inputs
from benchmarks.paper.zero_shot import (
    clip_alone_settings,
    distill,
    interpolate,
    joint_settings,
    measure_lambdas,
    measure_wise_ft,
)
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint


def test_interpolation_ends_at_both_ends_to_the_bit(inputs: Inputs) -> None:
    start, end = (
        build_model(inputs.pair.model, seed=seed).image_encoder.state_dict() for seed in (0, 1)
    )
    for alpha, expected in ((0.0, start), (1.0, end)):
        found = interpolate(start, end, alpha=alpha)
        assert found.keys() == expected.keys()
        for key, value in found.items():
            assert torch.equal(value, expected[key]), key
    half = interpolate(start, end, alpha=0.5)
    key = "pos_embed"
    torch.testing.assert_close(half[key], (start[key] + end[key]) / 2)


def test_other_tensors_are_not_interpolated() -> None:
    with pytest.raises(ValueError, match="different modules"):
        interpolate({"a": torch.ones(1)}, {"b": torch.ones(1)}, alpha=0.5)


def test_lambdas_differ_in_nothing_else(inputs: Inputs) -> None:
    one, hundred = (joint_settings(inputs, sam_weight=weight) for weight in (1.0, 100.0))
    assert one.model_copy(update={"sam_weight": 100.0}) == hundred
    assert one.starts_from == "stage1"
    assert one.optimisation.steps == inputs.asked.settings.steps
    assert one.optimisation.warmup_steps == 0
    assert one.scenes == inputs.stage2.scenes
    alone = clip_alone_settings(inputs)
    assert (alone.scenes, alone.sam_weight, alone.region_weight) == (None, 0, 0)
    assert set(alone.optimisation.multipliers) == {"clip_head", "image_encoder"}
    # What was changed by hand is still what a config could say.
    for each in (one, alone):
        assert type(each).model_validate(each.model_dump()) == each


@pytest.mark.slow
def test_weights_between_sam_and_clip(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_shot, "ALPHAS", (0.0, 1.0))
    threads = torch.get_num_threads()
    found = measure_wise_ft(inputs)
    assert torch.get_num_threads() == threads
    assert [point.alpha for point in found.points] == [0.0, 1.0]
    (run,) = (inputs.pair.runs / "paper").glob("wise_ft_2_steps_seed_0_*")
    trained = load_checkpoint(run)
    before = inputs.student("stage1")
    # SAM's own parts other than the encoder are as they were; so alpha 0 is SAM itself.
    for name in ("prompt_encoder", "mask_decoder", "text_encoder"):
        one, other = getattr(before, name).state_dict(), getattr(trained, name).state_dict()
        assert all(torch.equal(value, other[key]) for key, value in one.items()), name
    assert not torch.equal(before.image_encoder.pos_embed, trained.image_encoder.pos_embed)
    teacher = inputs.asked.prompts(inputs.teachers.sam, who="model", name="SAM")
    assert found.points[0].prompts == teacher
    assert found.training["sam_weight"] == 0
    assert found.joint_steps == 2 * 9  # of stages 2 and 3
    # What was trained is found again; other weights to start from make another run.
    again = distill(inputs, clip_alone_settings(inputs), name="wise_ft")
    assert torch.equal(again.image_encoder.pos_embed, trained.image_encoder.pos_embed)
    assert len(list((inputs.pair.runs / "paper").glob("wise_ft_*"))) == 1


@pytest.mark.slow
def test_lambdas_are_trained_and_measured(inputs: Inputs) -> None:
    few = inputs.asked.settings.model_copy(update={"steps": 1})
    found = measure_lambdas(replace(inputs, asked=replace(inputs.asked, settings=few)))
    assert [row.sam_weight for row in found.rows] == [1, 10, 100]
    assert "sam_weight" not in found.training
    assert found.training["region_weight"] == 1
    runs = sorted(path.name for path in (inputs.pair.runs / "paper").glob("lambda_*"))
    assert [name.split("_steps")[0] for name in runs] == [
        "lambda_100_1",
        "lambda_10_1",
        "lambda_1_1",
    ]
    digests = {Path(name).name.rpartition("_")[2] for name in runs}
    assert len(digests) == 1
