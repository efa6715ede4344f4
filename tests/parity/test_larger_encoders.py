"""The presets of SAM's larger encoders have segment-anything's own weights, name by name."""

from __future__ import annotations

import pytest
import torch
from segment_anything import sam_model_registry
from torch import nn

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import PRESETS

PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
OWN = {"mask_decoder.pe_layer.positional_encoding_gaussian_matrix"}  # a copy, for its own graph
PARAMETERS = {"vit_b": 89_670_912, "vit_l": 308_278_272, "vit_h": 637_026_048}


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    state = model.state_dict()
    return {name: state[name].shape for name in state if name.startswith(PARTS)}


@pytest.mark.parametrize("name", PARAMETERS)
def test_sam_parts_are_of_segment_anythings_shapes(name: str) -> None:
    with torch.device("meta"):
        ours, sam = SamClipModel(PRESETS[name]), sam_model_registry[name]()
    found = shapes(ours)
    assert {key: found[key] for key in found.keys() - OWN} == shapes(sam)
    for model in (ours, sam):
        encoder = sum(each.numel() for each in model.image_encoder.parameters())
        assert encoder == PARAMETERS[name]
