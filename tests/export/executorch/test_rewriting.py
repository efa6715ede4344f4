"""A graph in operators that XNNPACK takes computes what it did, in every bucket; in torch alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from export.executorch.rewriting import Rewritten
from export.executorch.to_executorch import trace_buckets
from export.graphs import Graph, build_graphs
from samclip_sdk.modeling.build import build_model
from tests.tiny_config import MOBILE, STUDENT

pytestmark = pytest.mark.slow

PARTS = ("image_encoder", "clip_head", "text_encoder", "prompt_encoder", "mask_decoder")


def graph_of(config: str, part: str) -> Graph:
    model = build_model({"mobile": MOBILE, "vit": STUDENT}[config], seed=1)
    torch.manual_seed(2)
    for parameter in model.parameters():
        if not parameter.any():  # zeros would hide faults
            nn.init.normal_(parameter, std=0.1)
    return next(each for each in build_graphs(model, resolutions=[64]) if each.part == part)


def drawn(example: tuple[Tensor, ...]) -> list[Tensor]:
    torch.manual_seed(3)
    return [
        torch.randn(each.shape)
        if each.is_floating_point()
        else torch.randint(0, 3, each.shape).to(each.dtype)
        for each in example
    ]


@pytest.mark.parametrize(
    ("config", "part"),
    [
        *(("mobile", part) for part in PARTS),
        *(("vit", part) for part in PARTS[:3]),
    ],
)
def test_computes_the_same(config: str, part: str) -> None:
    for program in trace_buckets(graph_of(config, part)).values():
        module = program.module(check_guards=False)
        assert isinstance(module, fx.GraphModule)
        example, _ = program.example_inputs
        feed = drawn(example)
        with torch.inference_mode():
            wanted, found = module(*feed), Rewritten(module, int8={})(*feed)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
