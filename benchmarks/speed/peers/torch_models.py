"""SAM and CLIP of their own packages, with random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor, nn

from benchmarks.speed.peers.forced import SEED


def build_sam(name: str) -> Sam:
    """Builds a model of segment-anything's registry in evaluation mode."""
    torch.manual_seed(SEED)
    sam = sam_model_registry[name]()
    # SAM's positions start at zero, which no trained model has: an exporter may drop them.
    for parameter_name, parameter in sam.named_parameters():
        if "pos_embed" in parameter_name or "rel_pos" in parameter_name:
            nn.init.trunc_normal_(parameter, std=0.02)
    return sam.eval().requires_grad_(False)


def load_clip(
    name: str, *, in_bfloat16: bool = False
) -> tuple[nn.Module, Callable[[Image.Image], Tensor]]:
    """Builds an open_clip model and its preprocessing of one picture.

    Args:
        name: of an open_clip architecture, or the path of a JSON file of open_clip's kind.
        in_bfloat16: all of its parameters, and the pictures that it takes.

    Raises:
        RuntimeError: open_clip has no such architecture.
    """
    with _hidden("transformers"):
        import open_clip
    torch.manual_seed(SEED)
    if name.endswith(".json"):
        open_clip.add_model_config(name)
        name = Path(name).stem
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, precision="pure_bf16" if in_bfloat16 else "fp32"
    )
    return model.eval().requires_grad_(False), preprocess


def run_in_bfloat16(module: nn.Module) -> None:
    """Casts a module of one input and one output to bfloat16; what goes in and out is float32."""
    module.to(torch.bfloat16)
    module.register_forward_pre_hook(lambda _module, given: (given[0].to(torch.bfloat16),))
    module.register_forward_hook(lambda _module, _given, answer: answer.float())


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    """Hides an optional dependency that another peer brought: it would count as this one's load."""
    if package in sys.modules:
        yield
        return
    modules: dict[str, Any] = sys.modules
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
