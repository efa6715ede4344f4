"""What the loop and the settings do to a model: fifty steps teach it, and BatchNorm stays."""

from __future__ import annotations

import open_clip
import pytest
import torch

from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import PRESETS
from training.config_file import find_config, load_stage
from training.loop.optimizer import choose_trained
from training.teachers.small import SmallSam


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
