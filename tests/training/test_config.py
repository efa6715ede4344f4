"""The recipes in training/configs, and what settings refuse."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from samclip_sdk.modeling.config import PRESETS
from tests.refusals import refused
from training.config_file import CONFIGS, find_config, load_model, load_stage, stage_names
from training.errors import TrainingError
from training.stage import TrainedSettings
from training.stages.distill import DistillConfig
from training.stages.small_teachers import SamTeacherConfig

STAGES = ("stage1", "stage2", "stage3")


def stage(config: str, name: str, *overrides: str) -> TrainedSettings:
    settings = load_stage(find_config(config), name, overrides=overrides)
    assert isinstance(settings, TrainedSettings)
    return settings


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_config_is_of_the_preset_it_is_named_after(path: Path) -> None:
    own = "mobile" if path.stem == "finetune" else path.stem  # it teaches the default model
    assert load_model(path) == PRESETS[own]
    for name in stage_names(path):
        settings = load_stage(path, name)
        assert settings == type(settings).model_validate_json(settings.model_dump_json())


@pytest.mark.parametrize("processes", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("name", STAGES)
def test_a_step_of_the_papers_recipe_is_2048_images_on_any_machine(
    name: str, processes: int
) -> None:
    settings = stage("vit_b", name)
    assert settings.batches_in_step(processes) * processes * settings.images_in_batch == 2048


@pytest.mark.parametrize(
    ("config", "name", "override", "images"),
    [
        ("tiny", "clip_teacher", "images={resolutions=[64,32],pixels_per_batch=4096}", 4),
        ("tiny", "sam_teacher", "scenes.batch=7", 7),
        ("tiny", "stage2", "images.pixels_per_batch=50000", 5),
        ("vit_b", "stage1", "images.pixels_per_batch=6422528", 128),
        ("mobile", "joint", "photographs.batch=5", 5),
    ],
)
def test_a_batch_has_so_many_images(config: str, name: str, override: str, images: int) -> None:
    """At the lowest resolution; at others it has as many pixels."""
    settings = stage(config, name, override)
    assert settings.images_in_batch == images
    if settings.optimisation.images_per_step is None:
        assert settings.batches_in_step(3) == 1


COMPOSED = 'images={source="composed",resolutions=[224],pixels_per_batch=50176}'
SA1B = 'scenes={source="sa1b",folder="data",resolution=64,batch=1,prompts=1}'


@pytest.mark.parametrize(
    ("config", "name", "overrides", "told"),
    [
        ("tiny", "stage1", ["sam_weight=10.0"], "need scenes"),
        ("tiny", "stage2", ["scenes.random_regions=0"], "random_regions"),
        ("tiny", "stage1", [SA1B, "region_weight=1.0"], "random_regions"),
        ("tiny", "stage2", ["region_weight=0.0"], "dense_weight"),
        ("tiny", "stage1", ["optimisation.accumulate=4"], "optimisation.accumulate"),
        ("tiny", "stage1", ["optimisation.epochs=1"], "steps or epochs"),
        ("tiny", "calibrate", ["scenes=0"], "one of scenes"),
        ("tiny", "calibrate", ["labels_stay=true"], "labels_stay needs photographs"),
        ("vit_b", "calibrate", ["max_false=1.0"], "max_false is 1.0"),
        ("vit_b", "calibrate", ["photographs.balance=2"], "photographs.balance is 2"),
        ("vit_b", "stage1", [COMPOSED], "foundation"),  # OpenCLIP would embed the padding, too
        ("mobile", "joint", ["photographs.paste=2"], "photographs.paste is 2"),
        ("mobile", "joint", ["photographs.resolution=392"], "photographs.resolution is 392"),
        ("mobile", "joint", ['photographs.terms="free"'], "photographs.terms is 'free'"),
        ("mobile", "joint", ["photographs.sets={coco={cap=0}}"], "photographs.sets.coco.cap is 0"),
        ("mobile", "joint", ["photographs.sets={coco={caps=1}}"], "photographs.sets.coco.caps"),
        ("mobile", "text_encoder", ["layers=[]"], "starts_from"),
        ("mobile", "text_refinement", ["names_share=0"], "taught_share"),
        ("tiny", "stage2", ["optimisation.stepz=7"], "no key optimisation.stepz"),
        (
            "tiny",
            "stage2",
            ['images={source="shards",sources=[{}]}'],
            "images.sources.0.shards is missing",
        ),
        ("tiny", "stage2", ["optimisation.steps=-3"], "optimisation.steps is -3"),
        ("tiny", "stage2", ['optimisation.optimizer="sgd"'], "optimisation.optimizer is 'sgd'"),
        ("tiny", "stage2", ['task="sam_teacher"'], "no key sam_weight"),
        ("tiny", "stage2", ['task="cooking"'], "'cooking'"),
        ("tiny", "stage2", ["foo"], "--set foo: give it as KEY=VALUE"),
        ("tiny", "stage2", ["task=distill"], "'distill' is no value"),
        ("tiny", "stage2", ["task.name=1"], "task is no table"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    config: str, name: str, overrides: list[str], told: str
) -> None:
    load = partial(load_stage, find_config(config), name, overrides=tuple(overrides))
    refused(load, TrainingError, told)


@pytest.mark.parametrize(
    ("config", "name", "images", "processes", "told"),
    [
        ("vit_b", "stage2", 2048, 3, "192"),
        ("vit_b", "stage2", 2048, 64, "4096"),
        ("vit_b", "stage2", 2000, 1, "64"),
        ("mobile", "text_encoder", 8, 1, "has no images"),
    ],
)
def test_steps_that_cannot_be_shared_are_refused(
    config: str, name: str, images: int, processes: int, told: str
) -> None:
    settings = load_stage(
        find_config(config), name, overrides=(f"optimisation.images_per_step={images}",)
    )
    with pytest.raises(TrainingError, match=told):
        settings.check_processes(processes)


def test_a_published_teacher_is_read() -> None:
    """Its settings have two that are no longer there: `accumulate` and `sharding`."""
    written = CONFIGS.parent / "checkpoints/tiny/sam_teacher/config.json"
    settings = SamTeacherConfig.model_validate_json(written.read_text(encoding="utf-8"))
    assert settings.optimisation.images_per_step is None


def test_the_tables_of_the_page_are_settings(tmp_path: Path) -> None:
    page = (CONFIGS.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    tables = re.findall(r"```toml\n(.*?)```", page, re.S)
    loaded = []
    for number, table in enumerate(tables):
        path = tmp_path / f"{number}.toml"
        base = "mobile" if "photographs" in table else "vit_b"
        path.write_text(table if "base" in table else f'base = "{base}"\n{table}')
        load_model(path)
        loaded += [load_stage(path, name) for name in stage_names(path)]
    assert len(tables) == 3
    assert any(isinstance(each, DistillConfig) for each in loaded)
