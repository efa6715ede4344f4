"""A head that proposes the boxes of things of any kind, for the mask decoder to be asked with.

It tells things of one name apart where they touch, which a label's score map cannot. Its
anchors and losses are FCOS's (arXiv:1904.01355), without classes, as in OLN (arXiv:2108.06753).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.image.proposals import MAX_EXPONENT, UNITS_PX
from samclip_sdk.modeling.neck import LayerNorm2d

_VALUES = 5  # of a box: its objectness and four distances
_WIDTH, _FINE_WIDTH = 128, 64
_RARE = -4.6  # objectness of 1 %: at first nothing is a thing


class ProposalHead(nn.Module):
    """Maps the backbone's features of stride 8 and the fused ones to boxes and their objectness.

    All of it is convolutions of fixed sizes, one mean and two bilinear doublings. Its features of
    stride 16 know those around them at stride 32, and those of stride 8 know both.

    Args:
        fine: channels of the features of stride 8.
        fused: channels of the fused features.
    """

    def __init__(self, *, fine: int, fused: int) -> None:
        super().__init__()
        self.enter_16 = nn.Conv2d(fused, _WIDTH, kernel_size=1)
        self.coarse = nn.Sequential(_Block(_WIDTH, 7), _Block(_WIDTH, 7))
        self.middle = _Block(_WIDTH, 7)
        self.enter_8 = nn.Conv2d(fine, _FINE_WIDTH, kernel_size=1)
        self.down = nn.Conv2d(_WIDTH, _FINE_WIDTH, kernel_size=1)
        self.fine = nn.Sequential(_Block(_FINE_WIDTH, 5), _Block(_FINE_WIDTH, 5))
        self.leave_16 = _leave(_WIDTH, anchors=2)
        self.leave_8 = _leave(_FINE_WIDTH, anchors=1)

    def forward(self, fine_bchw: Tensor, fused_bchw: Tensor) -> Tensor:
        """Proposes boxes.

        Args:
            fine_bchw: [B,c,2h,2w], the backbone's features of stride 8.
            fused_bchw: [B,C,h,w], those of stride 16; h and w are even.

        Returns:
            proposals [B,30,h,w]. See `boxes_of`, which reads them.
        """
        x = self.enter_16(fused_bchw)
        around = self.coarse(F.avg_pool2d(x, 2))
        x = self.middle(x + F.interpolate(around, scale_factor=2.0, mode="bilinear"))
        finer = F.interpolate(self.down(x), scale_factor=2.0, mode="bilinear")
        finer = self.leave_8(self.fine(self.enter_8(fine_bchw) + finer))
        return torch.cat([F.pixel_unshuffle(finer, 2), self.leave_16(x)], dim=1)


class _Block(nn.Module):
    """ConvNeXt's block: a wide depthwise convolution, and an MLP of each anchor."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(dim, dim, kernel_size=kernel, padding=kernel // 2, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.mlp = nn.Sequential(
            nn.Conv2d(dim, 2 * dim, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(2 * dim, dim, kernel_size=1),
        )

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,H,W] to [B,C,H,W]."""
        y: Tensor = features_bchw + self.mlp(self.norm(self.around(features_bchw)))
        return y


def _leave(dim: int, *, anchors: int) -> nn.Conv2d:
    """The last convolution, value by value; at first boxes are two units wide, and no things."""
    leave = nn.Conv2d(dim, _VALUES * anchors, kernel_size=1)
    start = torch.zeros(_VALUES * anchors)
    start[:anchors] = _RARE
    with torch.no_grad():
        leave.weight.mul_(0.1)
        leave.bias = nn.Parameter(start)
    return leave


def by_anchor(proposals_bchw: Tensor) -> Tensor:
    """Sorts proposals [B,30,h,w] by value and anchor: [B,5,6,h,w].

    Channels 0 to 19 are five values of the four anchors of stride 8 (0, 1 above 2, 3), channels 20
    to 29 five values of the middle and the large anchor: each time 4 or 2 channels of the
    objectness, then as many of the distance to the left side, to the top, the right and the bottom.
    """
    batch, _, *size = proposals_bchw.shape
    fine = proposals_bchw[:, :20].reshape(batch, 5, 4, *size)
    return torch.cat([fine, proposals_bchw[:, 20:].reshape(batch, 5, 2, *size)], dim=2)


def anchor_centres(height: int, width: int) -> Tensor:
    """The middles of the anchors of h x w cells, in pixels of the input: float32 [2,6,h,w], x, y.

    An anchor of stride 8 is in the middle of its own 8 pixels, the others in that of the cell.
    """
    own = torch.tensor([[4.0, 12, 4, 12, 8, 8], [4.0, 4, 12, 12, 8, 8]])
    x, y = 16.0 * torch.arange(width), 16.0 * torch.arange(height)
    cells = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    return own[:, :, None, None] + cells[:, None]


def boxes_of(proposals_bchw: Tensor) -> tuple[Tensor, Tensor]:
    """Reads proposals: the boxes of all anchors, and how likely each is one thing.

    A side of the value v is unit * exp(min(v, 4)) pixels from the middle of the anchor, with a unit
    of 16 pixels for the anchors of stride 8, of 48 for the middle and of 160 for the large one. A
    score is the sigmoid of the objectness. Boxes may leave the image; who reads them clips them,
    and takes no place in the padding.

    Args:
        proposals_bchw: [B,30,h,w].

    Returns:
        Boxes [B,6,h,w,4], XYXY in pixels of the input, and scores [B,6,h,w].
    """
    values = by_anchor(proposals_bchw.float())
    centres = anchor_centres(*proposals_bchw.shape[2:]).to(values.device)
    units = torch.tensor(UNITS_PX, device=values.device)[:, None, None]
    left, top, right, bottom = (units * values[:, 1:].clamp(max=MAX_EXPONENT).exp()).unbind(dim=1)
    x, y = centres
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)
    return boxes, values[:, 0].sigmoid()
