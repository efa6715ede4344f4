from __future__ import annotations

from pathlib import Path

import pytest

from training.config import (
    CalibrateConfig,
    ClipTeacherConfig,
    DistillConfig,
    SamTeacherConfig,
)
from training.config_file import CONFIGS, find_config, load_model, load_stage, stage_names
from training.errors import TrainingError

TINY = CONFIGS / "tiny.toml"
KINDS = {
    "clip_teacher": ClipTeacherConfig,
    "sam_teacher": SamTeacherConfig,
    "stage1": DistillConfig,
    "stage2": DistillConfig,
    "stage3": DistillConfig,
    "calibrate": CalibrateConfig,
}


def test_every_stage_loads_as_what_it_is() -> None:
    assert {name: type(load_stage(TINY, name)) for name in stage_names(TINY)} == KINDS


def test_a_model_is_a_preset_and_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "vit_b"\nembed_dim = 512\ntext_encoder = { width = 516 }\n')
    model = load_model(path)
    assert (model.embed_dim, model.text_encoder.width, model.text_encoder.depth) == (512, 516, 12)
    assert stage_names(path) == []
    path.write_text("[model]\nembed_dim = 512\n")
    with pytest.raises(
        TrainingError, match=r"mine\.toml: model\.preset is None, not one of vit_b, vit_l, vit_h"
    ):
        load_model(path)


def test_an_unknown_config_names_the_known() -> None:
    assert find_config(str(TINY)) == find_config("tiny")
    with pytest.raises(
        TrainingError, match="give one of mobile, tiny, tiny_vit, vit_b, vit_h, vit_l,"
    ):
        find_config("huge")


def test_overrides_reach_into_tables() -> None:
    settings = load_stage(
        TINY,
        "stage2",
        overrides=(
            "optimisation.steps=7",
            "optimisation.multipliers.prompt_encoder=0.5",
            'optimisation.precision="fp32"',
            "pictures.resolutions=[64]",
            "sam_weight=10",
        ),
    )
    assert isinstance(settings, DistillConfig)
    assert settings.optimisation.steps == 7
    assert settings.optimisation.multipliers["prompt_encoder"] == 0.5
    assert settings.optimisation.multipliers["clip_head"] == 1.0
    assert settings.optimisation.precision == "fp32"
    assert settings.pictures.resolutions == (64,)
    assert settings.sam_weight == 10.0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimisation.stepz=7", "there is no key optimisation.stepz"),
        ("sam_wait=1", "there is no key sam_wait"),
        ("pictures.size=1", "there is no key pictures.size"),
        ('pictures={source="shards",sources=[{}]}', "pictures.sources.0.shards is missing"),
        ("optimisation.steps=0", "give either steps or epochs"),
        (
            "optimisation.steps=-3",
            "optimisation.steps is -3: Input should be greater than or equal",
        ),
        (
            'optimisation.optimizer="sgd"',
            "optimisation.optimizer is 'sgd': Input should be 'adamw'",
        ),
        ('task="sam_teacher"', "there is no key sam_weight"),
        ('task="cooking"', "'cooking'"),
        ("foo", "--set foo: give it as KEY=VALUE, such as optimisation.steps=100"),
        ("=7", "--set =7: give it as KEY=VALUE"),
        (
            "task=distill",
            "--set task=distill: 'distill' is no value in TOML's syntax, where a text",
        ),
        ("task.name=1", "--set task.name=1: task is no table"),
    ],
)
def test_what_is_unknown_or_out_of_range_is_one_line(override: str, message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        load_stage(TINY, "stage2", overrides=(override,))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'model = "tiny"\n[stage1]\ntask = "distill"\npictures = { source = "shards" }\n'
    )
    with pytest.raises(TrainingError) as caught:
        load_stage(path, "stage1")
    assert str(caught.value) == (
        "mine.toml, stage stage1: optimisation is missing; pictures.sources is missing; "
        "pictures.resolutions is missing; and 3 more"
    )


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe"])
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"mine\.toml is no TOML file: "):
        load_model(path)


def test_sizes_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "tiny"\nembed_dim = 0\n')
    with pytest.raises(TrainingError, match=r"mine\.toml, model: embed_dim is 0: Input should be"):
        load_model(path)


def test_an_unknown_stage_names_the_known() -> None:
    with pytest.raises(TrainingError, match="no stage 'stage9'; it has clip_teacher"):
        load_stage(TINY, "stage9")
