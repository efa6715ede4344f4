from __future__ import annotations

from pathlib import Path

import pytest

from training.config_file import CONFIGS, find_config, load_model, load_stage, stage_names
from training.errors import TrainingError
from training.stages.distill import DistillConfig

TINY = CONFIGS / "tiny.toml"


def test_a_model_is_a_preset_and_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "vit_b"\nembed_dim = 512\ntext_encoder = { width = 516 }\n')
    model = load_model(path)
    assert (model.embed_dim, model.text_encoder.width, model.text_encoder.depth) == (512, 516, 12)
    assert stage_names(path) == []
    path.write_text("[model]\nembed_dim = 512\n")
    with pytest.raises(TrainingError, match=r"vit_b, vit_l, vit_h"):
        load_model(path)


def test_a_file_has_what_differs_from_its_base(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        f'base = "{TINY}"\nmodel = "vit_b"\n'
        "[stage2]\nsam_weight = 3.0\noptimisation = { steps = 7 }\n"
    )
    assert load_model(path).name == "samclip-vit-b"
    assert stage_names(path) == stage_names(TINY)
    own, shared = load_stage(path, "stage2"), load_stage(TINY, "stage2")
    steps = shared.optimisation.model_copy(update={"steps": 7})
    assert own == shared.model_copy(update={"sam_weight": 3.0, "optimisation": steps})
    assert load_stage(path, "stage1") == load_stage(TINY, "stage1")


@pytest.mark.parametrize(("base", "told"), [("huge", "'huge'"), ("vit_l", "vit_b"), ("", "''")])
def test_a_base_is_a_config_that_has_none_itself(tmp_path: Path, base: str, told: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "{base}"\n')
    with pytest.raises(TrainingError, match=told):
        load_model(path)


def test_an_unknown_config_names_the_known() -> None:
    assert find_config(str(TINY)) == find_config("tiny")
    with pytest.raises(TrainingError, match="mobile, tiny, tiny_vit, vit_b, vit_h, vit_l"):
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
        ("optimisation.stepz=7", "no key optimisation.stepz"),
        ("sam_wait=1", "no key sam_wait"),
        ("pictures.size=1", "no key pictures.size"),
        ('pictures={source="shards",sources=[{}]}', "pictures.sources.0.shards is missing"),
        ("optimisation.steps=-3", "optimisation.steps is -3"),
        ('optimisation.optimizer="sgd"', "optimisation.optimizer is 'sgd'"),
        ('task="sam_teacher"', "no key sam_weight"),
        ('task="cooking"', "'cooking'"),
        ("foo", "--set foo: give it as KEY=VALUE"),
        ("=7", "--set =7: give it as KEY=VALUE"),
        ("task=distill", "'distill' is no value"),
        ("task.name=1", "task is no table"),
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
    for missing in ("optimisation", "pictures.sources", "pictures.resolutions"):
        assert f"{missing} is missing" in str(caught.value)


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe"])
def test_what_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"mine\.toml"):
        load_model(path)


def test_sizes_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "tiny"\nembed_dim = 0\n')
    with pytest.raises(TrainingError, match="embed_dim is 0"):
        load_model(path)


def test_an_unknown_stage_names_the_known() -> None:
    with pytest.raises(TrainingError, match=r"'stage9'.*clip_teacher"):
        load_stage(TINY, "stage9")
