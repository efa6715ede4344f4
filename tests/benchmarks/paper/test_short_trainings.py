"""Weights between SAM and CLIP, and lambdas."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks.paper import short_trainings
from benchmarks.paper.run import Inputs
from benchmarks.paper.short_trainings import (
    clip_alone_settings,
    distill,
    interpolate,
    joint_settings,
    measure_lambdas,
    measure_wise_ft,
)
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint
from tests.benchmarks.measured import measure
from tests.benchmarks.paper.conftest import STAGE2

SPLIT = "heldout_instance"


@pytest.fixture(autouse=True)
def own_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is as small as the data allows, and no config of the repository is."""
    monkeypatch.setattr(short_trainings, "load_stage", lambda path, stage: STAGE2)


def test_interpolation_ends_at_both_ends_to_the_bit(inputs: Inputs) -> None:
    config = inputs.student().config
    start, end = (build_model(config, seed=seed).image_encoder.state_dict() for seed in (0, 1))
    for alpha, expected in ((0.0, start), (1.0, end)):
        found = interpolate(start, end, alpha=alpha)
        assert found.keys() == expected.keys()
        for key, value in found.items():
            assert torch.equal(value, expected[key]), key
    half = interpolate(start, end, alpha=0.5)
    torch.testing.assert_close(half["pos_embed"], (start["pos_embed"] + end["pos_embed"]) / 2)
    with pytest.raises(ValueError, match="different modules"):
        interpolate({"a": torch.ones(1)}, {"b": torch.ones(1)}, alpha=0.5)


def test_lambdas_differ_in_nothing_else(inputs: Inputs) -> None:
    one, hundred = (joint_settings(inputs, sam_weight=weight) for weight in (1.0, 100.0))
    assert one.model_copy(update={"sam_weight": 100.0}) == hundred
    assert one.starts_from == "stage1"
    assert (one.optimisation.steps, one.optimisation.warmup_steps) == (inputs.steps, 0)
    assert one.scenes == STAGE2.scenes
    alone = clip_alone_settings(inputs)
    assert (alone.scenes, alone.sam_weight, alone.region_weight) == (None, 0, 0)
    assert set(alone.optimisation.multipliers) == {"clip_head", "image_encoder"}
    # What was changed by hand is still what a config could say.
    for each in (one, alone):
        assert type(each).model_validate(each.model_dump()) == each


@pytest.mark.slow
def test_weights_between_sam_and_clip(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_trainings, "ALPHAS", (0.0, 1.0))
    threads = torch.get_num_threads()
    found = measure(measure_wise_ft, inputs)
    assert torch.get_num_threads() == threads
    (run,) = (inputs.run / "paper").glob("wise_ft_2_steps_seed_0_*")
    trained = load_checkpoint(run)
    before = inputs.student("stage1")
    # SAM's own parts other than the encoder are as they were; so alpha 0 is SAM itself.
    for name in ("prompt_encoder", "mask_decoder", "text_encoder"):
        one, other = getattr(before, name).state_dict(), getattr(trained, name).state_dict()
        assert all(torch.equal(value, other[key]) for key, value in one.items()), name
    assert not torch.equal(before.image_encoder.pos_embed, trained.image_encoder.pos_embed)
    work = partial(inputs.add_prompts, model=inputs.teachers.sam, who="sam")
    teacher = measure(work).metrics("sam: prompts", SPLIT)
    start = found.metrics("wise_ft: 0.0: prompts", SPLIT)
    assert {name: row.value for name, row in start.items()} == {
        name: row.value for name, row in teacher.items()
    }
    assert found.value("wise_ft: joint: prompts", "box", SPLIT) is not None
    assert found.run.settings["training"]["sam_weight"] == 0
    assert found.run.settings["joint_steps"] == 2 * 9  # of stages 2 and 3
    # What was trained is found again; other weights to start from make another run.
    again = distill(inputs, clip_alone_settings(inputs), name="wise_ft")
    assert torch.equal(again.image_encoder.pos_embed, trained.image_encoder.pos_embed)
    assert len(list((inputs.run / "paper").glob("wise_ft_*"))) == 1


@pytest.mark.slow
def test_lambdas_are_trained_and_measured(inputs: Inputs) -> None:
    found = measure(measure_lambdas, replace(inputs, steps=1))
    subjects = [each for each in found.subjects if each.endswith("prompts")]
    assert subjects == [f"lambdas: {weight}: prompts" for weight in (1, 10, 100)]
    training = found.run.settings["training"]
    assert "sam_weight" not in training
    assert training["region_weight"] == 1
    runs = sorted(path.name for path in (inputs.run / "paper").glob("lambda_*"))
    assert [name.split("_steps")[0] for name in runs] == [
        "lambda_100_1",
        "lambda_10_1",
        "lambda_1_1",
    ]
    assert len({name.rpartition("_")[2] for name in runs}) == 1
