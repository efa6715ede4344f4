"""The paper's ViT-B: its export, made once for all tests, and a quarter of its layers.

What a converter or a compiler makes of one layer, windowed or global, it makes of the next ones.
Tests of memory, and of the export as a whole, take all layers.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from samclip_sdk.modeling.config import VIT_B, ModelConfig
from tests.disk_cache import ROOT, keep


def _few_layers() -> ModelConfig:
    encoder = {"depth": 3, "global_attn_indexes": (2,)}
    return VIT_B.model_copy(
        update={
            "image_encoder": VIT_B.image_encoder.model_copy(update=encoder),
            "text_encoder": VIT_B.text_encoder.model_copy(update={"depth": 3}),
        }
    )


FEW_LAYERS = _few_layers()


def vit_b_bundle() -> Path:
    """The bundle of ViT-B at 336 and 1024 px with random weights of seed 0; change nothing in it.

    It is made by the command, whose own gate it has passed.
    """
    return keep("vit_b", make=_export_vit_b)


def _export_vit_b(folder: Path) -> None:
    sizes = ("--resolution", "1024", "--resolution", "336")
    command = [sys.executable, "-m", "export", "random:vit_b", str(folder), *sizes]
    # The limit is against a hang: two busy cores take some ten minutes.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
