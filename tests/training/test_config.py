from __future__ import annotations

import sys

import pytest

from samclip_sdk.modeling.config import PRESETS
from training.config import (
    CONFIGS,
    CalibrateConfig,
    ClipTeacherConfig,
    DistillConfig,
    Pictures,
    PublishConfig,
    SamTeacherConfig,
    load_stage,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TINY = CONFIGS / "tiny.toml"
KINDS = {
    "clip_teacher": ClipTeacherConfig,
    "sam_teacher": SamTeacherConfig,
    "stage1": DistillConfig,
    "stage2": DistillConfig,
    "stage3": DistillConfig,
    "publish": PublishConfig,
    "calibrate": CalibrateConfig,
}


def test_every_stage_loads_as_what_it_is() -> None:
    stages = tomllib.loads(TINY.read_text(encoding="utf-8"))
    assert {name: type(load_stage(TINY, name)) for name in stages} == KINDS


def test_a_config_is_of_a_preset() -> None:
    assert {path.stem for path in CONFIGS.glob("*.toml")} <= PRESETS.keys()


def test_stages_start_from_one_another() -> None:
    chain = [load_stage(TINY, name) for name in ("stage1", "stage2", "stage3")]
    assert [stage.starts_from for stage in chain if isinstance(stage, DistillConfig)] == [
        "teachers",
        "stage1",
        "stage2",
    ]


def test_the_papers_parts_are_trained() -> None:
    """Section 3.2: head alone, then head, backbone and SAM head, then head alone."""
    trained = [set(_distill(name).optimisation.multipliers) for name in ("stage1", "stage2")]
    assert trained == [{"clip_head"}, {"clip_head", "image_encoder", "mask_decoder"}]
    assert set(_distill("stage3").optimisation.multipliers) == {"clip_head"}
    assert DistillConfig.model_fields["sam_weight"].default == 10.0
    assert DistillConfig.model_fields["region_weight"].default == 0.0


def _distill(name: str) -> DistillConfig:
    settings = load_stage(TINY, name)
    assert isinstance(settings, DistillConfig)
    return settings


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
    "override",
    [
        "optimisation.stepz=7",
        "sam_wait=1",
        "optimisation.steps=0",
        'optimisation.optimizer="sgd"',
        'task="sam_teacher"',
        'task="cooking"',
        "optimisation.steps=seven",
        "sam_weight",
    ],
)
def test_what_is_unknown_or_out_of_range_fails(override: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_stage(TINY, "stage2", overrides=(override,))


def test_an_unknown_stage_names_the_known() -> None:
    with pytest.raises(ValueError, match="no stage 'stage9'; it has clip_teacher"):
        load_stage(TINY, "stage9")


def test_settings_survive_their_own_json() -> None:
    for name, kind in KINDS.items():
        settings = load_stage(TINY, name)
        assert kind.model_validate_json(settings.model_dump_json()) == settings


def test_a_batch_holds_the_pixels_of_its_budget() -> None:
    pictures = Pictures(resolutions=(96, 128), pixels_per_batch=128 * 128 * 10)
    assert [pictures.size(resolution) for resolution in (96, 128, 4096)] == [17, 10, 1]
