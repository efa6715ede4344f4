from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from samclip_sdk.modeling.config import PRESETS
from training.config import (
    CalibrateConfig,
    ClassifierClipConfig,
    ClipTeacherConfig,
    DistillConfig,
    SamTeacherConfig,
    start_folder,
)
from training.config_file import CONFIGS, find_config, load_model, load_stage, stage_names
from training.data_config import Pictures, Shards
from training.errors import TrainingError
from training.loop_config import Optimisation
from training.step_size import batches_in_step

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
    "calibrate": CalibrateConfig,
}


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
    assert {each.pictures_per_step for each in optimisation} == {2048}
    assert joint.scenes.batch * batches_in_step(joint, processes=1) == 32
    assert joint.scenes.prompts == 32
    assert joint.teachers.clip == "ViT-L-14"
    assert joint.teachers.pretrained == "datacomp_xl_s13b_b90k"


def test_tiny_vit_is_trained_as_vit_b_is() -> None:
    """By the same recipe, from other teachers; the smaller model keeps what it computes."""
    for name in ("stage1", "stage2", "stage3"):
        ours, papers = (load_stage(find_config(each), name) for each in ("tiny_vit", "vit_b"))
        assert isinstance(ours, DistillConfig)
        assert (ours.teachers.sam, ours.teachers.clip) == ("vit_t", "ViT-B-16")
        changes = {"teachers": ours.teachers, "grad_checkpointing": False}
        assert ours == papers.model_copy(update=changes)


@pytest.mark.parametrize("name", ["vit_l", "vit_h"])
def test_larger_encoders_are_trained_as_vit_b_is(name: str) -> None:
    """From the larger SAM; the stage that trains the backbone is sharded."""
    for stage in ("stage1", "stage2", "stage3"):
        ours, papers = (load_stage(find_config(each), stage) for each in (name, "vit_b"))
        assert isinstance(ours, DistillConfig)
        assert (ours.teachers.sam, ours.teachers.clip) == (name, "ViT-L-14")
        sharding = "full" if stage == "stage2" else "none"
        assert ours.optimisation == papers.optimisation.model_copy(update={"sharding": sharding})
        changes = {"teachers": ours.teachers, "optimisation": ours.optimisation}
        assert ours == papers.model_copy(update=changes)


@pytest.mark.parametrize(
    ("stage", "override", "message"),
    [
        ("stage1", "sam_weight=10.0", "need scenes"),
        ("stage2", "scenes.random_regions=0", "with random_regions"),
        ("stage2", "region_weight=0.0", "dense_weight needs region_weight"),
    ],
)
def test_weights_without_their_data_are_refused(stage: str, override: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load_stage(TINY, stage, overrides=(override,))


PADDED = (
    'pictures={source="photographs",root="data",resolutions=[224],pixels_per_batch=50176}',
    'pictures={source="composed",resolutions=[224],pixels_per_batch=50176}',
    """pictures={source="mixed",parts=[
        {of={source="photographs",root="data",resolutions=[224],pixels_per_batch=50176}}]}""",
)


BACKBONE = 'backbone="efficientnet_lite2"'


@pytest.mark.parametrize("pictures", PADDED)
def test_an_openclip_does_not_embed_the_padding_of_pictures(pictures: str) -> None:
    """It has no mask of what is padding; pictures of shards are cropped."""
    with pytest.raises(TrainingError, match="teachers of the kind foundation need pictures of the"):
        load_stage(find_config("vit_b"), "stage1", overrides=(pictures,))


def test_a_sam_teacher_has_one_start() -> None:
    with pytest.raises(TrainingError, match="starts_from brings all weights"):
        load_stage(TINY, "sam_teacher", overrides=('starts_from="runs/other"', BACKBONE))


@pytest.mark.parametrize("values", [{}, {"steps": 5, "epochs": 1}])
def test_steps_or_epochs_and_not_both(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="either steps or epochs"):
        Optimisation.model_validate({"learning_rate": 1e-3} | values)


def test_teachers_that_were_published_before_are_read() -> None:
    """Their settings have `accumulate`, 1: a batch a process, as without `pictures_per_step`."""
    for kind, path in (
        (SamTeacherConfig, "tiny/sam_teacher"),
        (ClassifierClipConfig, "mobile/classifier_clip"),
    ):
        written = CONFIGS.parent / "checkpoints" / path / "config.json"
        settings = kind.model_validate_json(written.read_text(encoding="utf-8"))
        assert settings.optimisation.pictures_per_step is None
    with pytest.raises(TrainingError, match=r"there is no key optimisation\.accumulate"):
        load_stage(TINY, "stage1", overrides=("optimisation.accumulate=4",))


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


def test_settings_survive_their_own_json() -> None:
    for name, kind in KINDS.items():
        settings = load_stage(TINY, name)
        assert kind.model_validate_json(settings.model_dump_json()) == settings


def test_a_batch_holds_the_pixels_of_its_budget() -> None:
    pictures = Pictures(resolutions=(96, 128), pixels_per_batch=128 * 128 * 10)
    assert [pictures.size(resolution) for resolution in (96, 128, 4096)] == [17, 10, 1]


def test_calibration_is_on_scenes_or_on_pictures_of_the_merge() -> None:
    vit_b = load_stage(find_config("vit_b"), "calibrate", overrides=('pictures.labels="x"',))
    assert isinstance(vit_b, CalibrateConfig)
    assert vit_b.pictures is not None
    stage1 = load_stage(find_config("vit_b"), "stage1")
    assert isinstance(stage1, DistillConfig)
    assert isinstance(stage1.pictures, Shards)
    assert (vit_b.pictures.sources, vit_b.pictures.index) == (
        stage1.pictures.sources,
        stage1.pictures.index,
    )
    assert vit_b.pictures.labels == Path("x")
    for override, message in (
        ("scenes=5", "calibrate: give one of scenes"),
        ("most_false=1.0", "calibrate: most_false is 1.0: Input should be less than 1"),
        ("pictures.count=0", "calibrate: pictures.count is 0: Input should be"),
        ("pictures.resolutions=[64]", "calibrate: there is no key pictures.resolutions"),
    ):
        with pytest.raises(TrainingError, match=message):
            load_stage(find_config("vit_b"), "calibrate", overrides=(override,))


def test_the_pages_tables_of_photographs_are_settings() -> None:
    page = (CONFIGS.parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
    tables = [each for each in re.findall(r"```toml\n(.*?)```", page, re.S) if "scenes" in each]
    assert len(tables) == 2
    for table in tables:
        scenes = tomllib.loads(table)["sam_teacher"]["scenes"]
        settings = load_stage(TINY, "sam_teacher").model_dump() | {"scenes": scenes}
        assert SamTeacherConfig.model_validate(settings).scenes.source == scenes["source"]


PHOTOGRAPHS = 'scenes={source="photographs",root="data",resolution=64,batch=1,prompts=1%s}'


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        ('scenes={source="sa1b"}', "source must be composed, photographs or mixed"),
        (PHOTOGRAPHS % ",paste=2", "scenes.paste is 2: Input should be less than or equal to 1"),
        (PHOTOGRAPHS % ',terms="free"', "scenes.terms is 'free'"),
        (PHOTOGRAPHS % ",sets={coco={cap=0}}", "scenes.sets.coco.cap is 0"),
        (PHOTOGRAPHS % ",sets={coco={caps=1}}", "there is no key scenes.sets.coco.caps"),
        ('scenes={source="mixed",parts=[]}', "scenes.parts is"),
    ],
)
def test_settings_of_photographs_are_checked(scenes: str, message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        load_stage(TINY, "sam_teacher", overrides=(scenes,))
    assert message in str(caught.value)


def test_regions_need_scenes_that_have_them() -> None:
    regions = ("region_weight=1.0", "dense_weight=0.0")
    for scenes in (
        'scenes={source="sa1b",folder="data",resolution=64,batch=1,prompts=1}',
        PHOTOGRAPHS % "",
    ):
        with pytest.raises(TrainingError, match="region_weight needs scenes with random_regions"):
            load_stage(TINY, "stage1", overrides=(scenes, *regions))
    load_stage(TINY, "stage1", overrides=(PHOTOGRAPHS % ",random_regions=1", *regions))


def test_a_stage_starts_from_another_or_from_a_folder(tmp_path: Path) -> None:
    assert start_folder("stage3", runs=tmp_path) == tmp_path / "stage3"
    assert start_folder("some/folder", runs=tmp_path) == Path("some/folder")
