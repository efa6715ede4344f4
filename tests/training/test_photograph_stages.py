"""From labelled photographs to a dense CLIP teacher, and from two teachers to a student."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.modeling.config import ClassifierHeadConfig, ModelConfig, PyramidConfig
from tests.training.photograph_files import annotation, picture, rectangle, write_set
from training.config import (
    ClassifierClipConfig,
    DistillConfig,
    PhotographTeachers,
    SamTeacherConfig,
)
from training.data_config import LabelledPhotographs, PhotographPictures, PhotographScenes
from training.errors import TrainingError
from training.loop.train import build_fabric
from training.loop_config import Optimisation
from training.stages import Stages
from training.teachers.classifier_clip import load_classifier_clip
from training.teachers.efficientnet_lite import lite2_state
from training.teachers.photograph_pair import PhotographPair, narrowed
from training.teachers.small import SmallSam, load_teacher, save_teacher
from training.teachers.text_teacher import ClassifierSpace, TextTeacher, save_text_teacher

STEPS = Optimisation(steps=2, learning_rate=1e-3, workers=0, threads=1, precision="fp32")


def trained(**multipliers: float) -> Optimisation:
    return STEPS.model_copy(update={"multipliers": multipliers})


@pytest.fixture
def config(student_config: ModelConfig) -> ModelConfig:
    """The tests' student on a small pyramid."""
    pyramid = PyramidConfig(
        image_size_px=64, backbone="tf_efficientnet_lite2", widths=(48, 120, 352), embed_dim=16
    )
    changes = {
        "image_encoder": pyramid,
        "clip_head": ClassifierHeadConfig(features=1280, hidden_dim=16, mlp_dim=16),
        "segmentation_resolution": 64,
    }
    return ModelConfig.model_validate(student_config.model_dump() | changes)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    cat, dog = annotation(1, rectangle(10, 10, 90, 80)), annotation(2, rectangle(40, 5, 120, 90))
    pictures = [
        (picture(200, 40 * i, 90), [cat if i % 2 else dog], {"split": "train"}) for i in range(4)
    ]
    write_set(tmp_path / "photographs" / "pets", pictures, info={"complete": True})
    return tmp_path / "photographs"


@pytest.fixture
def runs(tmp_path: Path, config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a text teacher that knows nothing, and sentences that are random."""
    space = ClassifierSpace.of(lite2_state()["classifier.weight"], embed_dim=config.embed_dim)
    save_text_teacher(TextTeacher(space, hidden_dim=8), tmp_path / "text_teacher", provenance={})

    def embed(self: TextTeacher, texts: Sequence[str]) -> Tensor:
        generator = torch.Generator().manual_seed(len(texts))
        vectors = torch.randn(len(texts), config.embed_dim, generator=generator)
        return torch.nn.functional.normalize(vectors, dim=1)

    monkeypatch.setattr(TextTeacher, "embed", embed)
    return tmp_path


def test_from_photographs_to_a_student(runs: Path, photographs: Path, config: ModelConfig) -> None:
    stages = Stages(config, clip=None, runs=runs)
    fabric = build_fabric("fp32", accelerator="cpu")
    source = {"source": "photographs", "root": photographs}
    clip = ClassifierClipConfig(
        task="classifier_clip",
        optimisation=trained(cells=1.0, project=1.0, presence=1.0),
        photographs=LabelledPhotographs(**source, resolution=64, batch=2),
        resolution=64,
    )
    stages.train_teacher(clip, runs / "classifier_clip", fabric)
    pair = PhotographPair(config, runs=runs)
    assert pair.clip.head.cells.outward.weight.any(), "the head was trained"
    assert pair.clip.head.project.bias.any(), "the mean was taken off"

    sam = SamTeacherConfig(
        task="sam_teacher",
        backbone="efficientnet_lite2",
        optimisation=trained(mask_decoder=1.0),
        scenes=PhotographScenes(**source, resolution=64, batch=1, prompts=2),
    )
    stages.train_teacher(sam, runs / "sam_teacher", fabric)
    stem = "conv_stem.weight"
    assert torch.equal(pair.sam.image_encoder.backbone.state_dict()[stem], lite2_state()[stem])

    text_encoder = build_model(config, seed=7).text_encoder
    (runs / "text_encoder").mkdir()
    save_teacher(text_encoder, runs / "text_encoder" / "model.safetensors")
    (runs / "text_encoder" / "config.json").write_text("{}")
    student = pair.stage0(seed=3)
    torch.testing.assert_close(student.text_encoder.state_dict(), text_encoder.state_dict())
    head = student.clip_head
    assert len(pair.clip.head.cells.blocks[0].mlp[0].bias) == 32
    torch.testing.assert_close(head.state_dict(), narrowed(pair.clip.head.state_dict(), head))
    assert student.logit_scale == pair.clip.logit_scale

    distill = DistillConfig(
        task="distill",
        teachers=PhotographTeachers(kind="photographs"),
        starts_from="teachers",
        sam_weight=1.0,
        cell_weight=1.0,
        optimisation=trained(clip_head=1.0, image_encoder=1.0, mask_decoder=1.0),
        pictures=PhotographPictures(**source, resolutions=(64,), pixels_per_batch=2 * 64**2),
        scenes=PhotographScenes(**source, resolution=64, batch=1, prompts=2),
    )
    stages.distill(distill, runs / "stage1", fabric)
    merged = load_checkpoint(runs / "stage1").state_dict()
    provenance = read_provenance(runs / "stage1")
    assert provenance["stage"] == "stage1"
    assert set(provenance["photographs"]) == {"pets"}

    further = sam.model_copy(update={"backbone": None, "starts_from": runs / "stage1"})
    stages.train_teacher(further, runs / "further", fabric)
    load_teacher(found := SmallSam(build_model(config)), runs / "further" / "model.safetensors")
    for name, value in found.image_encoder.state_dict().items():
        torch.testing.assert_close(value, merged[f"image_encoder.{name}"])
    go_on = clip.model_copy(update={"starts_from": runs / "classifier_clip"})
    stages.train_teacher(go_on, runs / "further_clip", fabric)
    further_clip = load_classifier_clip(
        runs / "further_clip" / "model.safetensors", model=config, resolution=64
    )
    expand = further_clip.head.expand.weight  # does not learn
    torch.testing.assert_close(expand, pair.clip.head.expand.weight)


@pytest.mark.parametrize(
    ("teachers", "starts_from", "folder"),
    [
        (PhotographTeachers(kind="photographs"), "teachers", "runs/text_encoder"),
        (PhotographTeachers(kind="photographs"), "checkpoints/one", "checkpoints/one"),
    ],
)
def test_where_a_student_has_its_text_encoder_from(
    teachers: PhotographTeachers,
    starts_from: str,
    folder: str,
    config: ModelConfig,
) -> None:
    settings = DistillConfig.model_construct(teachers=teachers, starts_from=starts_from)
    assert Stages(config, clip=None, runs=Path("runs"))._start(settings) == Path(folder)


def test_a_clip_teacher_of_another_stage_is_told(tmp_path: Path, config: ModelConfig) -> None:
    folder = tmp_path / "classifier_clip"
    folder.mkdir()
    (folder / "config.json").write_text('{"task": "clip_teacher"}')
    pair = PhotographPair(config, runs=tmp_path)
    with pytest.raises(TrainingError, match="not what the stage classifier_clip wrote"):
        _ = pair.clip
