"""What the loop and the settings do to a model: fifty steps teach it, and BatchNorm stays."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS, ModelConfig
from tests.batch_norms import batch_norms
from tests.training.toy_task import logged
from training.batches import VALIDATION_SEED, Joined
from training.composed.corpus import Corpus
from training.composed.datasets import PictureBatches, SceneBatches
from training.config_file import find_config, load_stage
from training.data_config import Pictures, Scenes
from training.loop.optimizer import choose_trained
from training.loop.train import build_fabric, train
from training.loop_config import Optimisation
from training.stages.joint import JointConfig
from training.tasks.distill import DistillTask
from training.teachers.small import SmallClip, SmallSam

PICTURES = Pictures(resolutions=(64,), pixels_per_batch=8 * 64 * 64)
SCENES = Scenes(resolution=64, batch=2, prompts=3)
SETTINGS = Optimisation.model_validate(
    {
        "steps": 50,
        "learning_rate": 2e-3,
        "warmup_steps": 5,
        "precision": "fp32",
        "threads": 1,
        "workers": 0,
        "multipliers": {"clip_head": 1.0, "image_encoder": 1.0, "mask_decoder": 1.0},
        "validation": {"every_steps": 10, "batches": 2},
    }
)


def test_fifty_steps_of_the_merge_learn(
    tmp_path: Path, student_config: ModelConfig, corpus: Corpus
) -> None:
    """Both losses fall, and what the student imitates comes nearer."""
    torch.manual_seed(0)

    def data(seed: int) -> Joined:
        return Joined(
            {
                "pictures": PictureBatches(corpus, PICTURES, num_nouns=8, seed=seed),
                "scenes": SceneBatches(corpus, SCENES, seed=seed),
            }
        )

    task = DistillTask(
        build_model(student_config, seed=2),
        data(0),
        clip=SmallClip(student_config, image_tower="test_resnet", resolution=32).eval(),
        sam=SmallSam(build_model(student_config, seed=1)).requires_grad_(False),
        sam_weight=1.0,
        region_weight=0.0,
        dense_weight=0.0,
        validation=data(VALIDATION_SEED),
        classes=None,
    )
    task.clip.requires_grad_(False)
    train(task, SETTINGS, tmp_path, fabric=build_fabric("fp32", accelerator="cpu"))
    entries = logged(tmp_path)
    losses = [entry for entry in entries if "clip" in entry]
    for name in ("clip", "scenes"):
        assert losses[-1][name] < 0.8 * losses[0][name], name
    cosines = [x["validation/clip_cosine"] for x in entries if "validation/clip_cosine" in x]
    assert cosines[-1] > cosines[0]


def test_no_batch_norm_trains_under_the_multipliers_of_mobile() -> None:
    """They name blocks of the backbone one by one, and once woke the BatchNorm in them."""
    joint = load_stage(find_config("mobile"), "joint")
    assert isinstance(joint, JointConfig)
    student = build_model(PRESETS["mobile"], seed=0)
    parts = {**dict(student.named_children()), "presence": torch.nn.Linear(1, 1)}
    choose_trained(parts, joint.optimisation)
    norms = batch_norms(student.image_encoder)
    before = [{name: x.clone() for name, x in norm.named_buffers()} for norm in norms]
    student.image_encoder(torch.randint(0, 256, (2, 3, 64, 64)).byte())
    assert norms
    for norm, kept in zip(norms, before, strict=True):
        assert not norm.training
        for name, x in norm.named_buffers():
            assert torch.equal(x, kept[name]), name
    blocks = student.image_encoder.backbone.blocks  # type: ignore[union-attr]
    trained = [any(x.requires_grad for x in block.parameters()) for block in blocks]
    assert trained == [False] * 3 + [True] * 4


@pytest.mark.parametrize(
    ("config", "weights", "trained"),
    [("vit_b", 762, 117), ("vit_l", 1216, 352), ("vit_h", 1895, 702)],
)
def test_the_page_tells_the_weights_of_stage_2(config: str, weights: int, trained: int) -> None:
    """In millions, with both teachers; and GB of a trained weight's 20 bytes and another's 4."""
    settings = load_stage(find_config(config), "stage2")
    with torch.device("meta"):
        clip = open_clip.create_model("ViT-L-14", device="meta")
        student = build_model(PRESETS[config])
    parts = dict(student.named_children())
    del parts["text_encoder"]
    student.text_encoder.requires_grad_(False)
    choose_trained(parts, settings.optimisation)
    own = sum(x.numel() for x in student.parameters() if x.requires_grad)
    everything = sum(
        x.numel() for each in (student, SmallSam(student), clip) for x in each.parameters()
    )
    assert (round(everything / 1e6), round(own / 1e6)) == (weights, trained)
    gigabytes = (20 * own + 4 * (everything - own)) / 1e9
    page = (find_config(config).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    assert f"| `{config}` | {weights:,} | {trained} | {gigabytes:.1f} |" in page
