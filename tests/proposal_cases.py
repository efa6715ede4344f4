"""A small model that proposes boxes, and proposals that are made up."""

from __future__ import annotations

import torch
from torch import Tensor

from samclip_sdk.image.proposals import UNITS_PX
from samclip_sdk.modeling.proposal_head import anchor_centres
from tests.tiny_config import PYRAMID_STUDENT

PROPOSING = PYRAMID_STUDENT.model_copy(
    update={
        "image_encoder": PYRAMID_STUDENT.image_encoder.model_copy(update={"proposals": True}),
        "mask_decoder": PYRAMID_STUDENT.mask_decoder.model_copy(update={"high_resolution": True}),
    }
)


def proposals_of(boxes: Tensor, objectness: Tensor) -> Tensor:
    """What the head says where each place has a box [B,6,h,w,4]: the inverse of `boxes_of`."""
    x, y = anchor_centres(*boxes.shape[2:4])
    left, top, right, bottom = boxes.unbind(dim=-1)
    units = torch.tensor(UNITS_PX)[:, None, None]
    sides = torch.stack([x - left, y - top, right - x, bottom - y], dim=1)
    values = torch.cat([objectness.unsqueeze(1), (sides / units).log()], dim=1)
    return torch.cat([values[:, :, :4].flatten(1, 2), values[:, :, 4:].flatten(1, 2)], dim=1)
