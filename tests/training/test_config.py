from __future__ import annotations

from pathlib import Path

import pytest

from samclip_sdk.modeling.config import PRESETS
from training.config import (
    CONFIGS,
    CalibrateConfig,
    ClipTeacherConfig,
    DistillConfig,
    Optimisation,
    Pictures,
    PublishConfig,
    SamTeacherConfig,
    find_config,
    load_model,
    load_stage,
    stage_names,
)

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
    assert {name: type(load_stage(TINY, name)) for name in stage_names(TINY)} == KINDS


def test_every_config_is_of_the_preset_it_is_named_after() -> None:
    for path in CONFIGS.glob("*.toml"):
        assert load_model(path) == PRESETS[path.stem]
        for name in stage_names(path):
            load_stage(path, name)


def test_vit_b_is_the_papers_recipe() -> None:
    """Section 3.2 and appendix A."""
    vit_b = find_config("vit_b")
    stages = [load_stage(vit_b, f"stage{number}") for number in (1, 2, 3)]
    assert all(isinstance(stage, DistillConfig) for stage in stages)
    optimisation = [stage.optimisation for stage in stages]
    assert [each.epochs for each in optimisation] == [20, 20, 3]
    assert [each.learning_rate for each in optimisation] == [8e-4, 4e-5, 8e-4]
    assert {each.optimizer for each in optimisation} == {"adamw"}
    assert [each.multipliers for each in optimisation] == [
        {"clip_head": 1.0},
        {"clip_head": 1.0, "image_encoder": 0.1, "mask_decoder": 0.1},
        {"clip_head": 1.0},
    ]
    assert [stage.pictures.resolutions for stage in stages] == [
        (224, 448),
        (224, 448),
        (224, 448, 1024),
    ]
    joint = stages[1]
    assert joint.sam_weight == 10.0
    assert (stages[0].sam_weight, stages[2].sam_weight) == (0.0, 0.0)
    assert not any(stage.region_weight or stage.dense_weight for stage in stages)
    assert joint.optimisation.validation.early_stop.metric == "box_miou"
    processes = 32
    assert joint.scenes.batch * processes == 32
    assert joint.scenes.prompts == 32
    assert joint.pictures.pixels_per_batch // 224**2 * processes == 2048
    assert joint.teachers.clip == "ViT-L-14"
    assert joint.teachers.pretrained == "datacomp_xl_s13b_b90k"


def test_a_model_is_a_preset_and_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "vit_b"\nembed_dim = 512\ntext_encoder = { width = 516 }\n')
    model = load_model(path)
    assert (model.embed_dim, model.text_encoder.width, model.text_encoder.depth) == (512, 516, 12)
    assert stage_names(path) == []
    path.write_text("[model]\nembed_dim = 512\n")
    with pytest.raises(
        ValueError, match=r"mine\.toml: model\.preset is None, not one of vit_b, tiny"
    ):
        load_model(path)


def test_an_unknown_config_names_the_known() -> None:
    assert find_config(str(TINY)) == find_config("tiny")
    with pytest.raises(ValueError, match="no config 'huge': give one of tiny, vit_b, or a TOML"):
        find_config("huge")


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("stage1", "sam_weight=10.0", "need scenes"),
        ("stage2", "scenes.random_regions=0", "with random_regions"),
        ("stage2", "region_weight=0.0", "dense_weight needs region_weight"),
    ],
)
def test_weights_without_their_data_are_refused(stage: str, override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_stage(TINY, stage, overrides=(override,))


@pytest.mark.parametrize("values", [{}, {"steps": 5, "epochs": 1}])
def test_steps_or_epochs_and_not_both(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either steps or epochs"):
        Optimisation.model_validate({"learning_rate": 1e-3} | values)


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
