"""The CLIP head of a convolutional encoder: a classifier's last layers, and their correction.

The paper's head has a ViT's layers. A convolutional backbone that was trained as a classifier has
its own last layers, which are a better start than random ones: this head starts with them.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.config import ClassifierHeadConfig, PyramidConfig
from samclip_sdk.modeling.neck import LayerNorm2d


class ClassifierHead(nn.Module):
    """Maps a classifier's features to the joint space: pooled for the image, corrected per patch.

    Attributes:
        expand: the classifier's convolution before its pooling, with BatchNorm folded in.
        project: a linear map from the pooled features to the joint space.
        cells: the layers that correct each patch.
    """

    def __init__(
        self, encoder: PyramidConfig, head: ClassifierHeadConfig, *, embed_dim: int
    ) -> None:
        super().__init__()
        self.widths = encoder.widths
        self.expand = nn.Conv2d(encoder.widths[-1], head.features, kernel_size=1)
        self.project = nn.Conv2d(head.features, embed_dim, kernel_size=1)
        self.cells: nn.Module = CellHead(encoder.token_dim, head=head, embed_dim=embed_dim)

    def forward(self, image_tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds the image and each of its patches in CLIP's joint space.

        Args:
            image_tokens: [B,C,h,w], the backbone's features of strides 8, 16 and 32 at stride 16;
                h and w are even.
            token_mask: float [B,h,w], 1 where the patch holds any image pixel.

        Returns:
            patch_embeddings [B,h*w,E] and image_embedding [B,E], L2-normalised.
        """
        coarse, pooled = self.classified(image_tokens, token_mask)
        return self.cells(image_tokens, coarse), pooled

    def classified(self, image_tokens: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's own answers, before `cells`; the arguments are those of `forward`.

        Returns:
            That for each place, [B,E,h/2,w/2] of any length, and the image_embedding [B,E].
        """
        features = self.features(image_tokens)
        pooled = self.embed(pool_unpadded(features, token_mask))
        return self.project(features), pooled

    def features(self, image_tokens: Tensor) -> Tensor:
        """Maps tokens [B,C,g,g] to the features [B,F,g/2,g/2] that the classifier pools."""
        coarse = _once(image_tokens[:, -self.widths[-1] :])
        return F.relu6(self.expand(coarse))

    def embed(self, pooled: Tensor) -> Tensor:
        """Maps pooled features [B,F] to unit embeddings [B,E]."""
        return _unit(self.project(pooled[..., None, None])).flatten(1)

    def at_resolution(self, resolution: int, *, patch_size: int) -> ClassifierHead:
        """Returns a faster copy for export; it runs at any other resolution too."""
        baked = copy.deepcopy(self)
        assert isinstance(baked.cells, CellHead)
        baked.cells = PlaneCellHead(baked.cells, coarse_dim=self.widths[-1])
        return baked


class CellHead(nn.Module):
    """Corrects the classifier's answer for each cell by finer features and the neighbouring cells.

    It starts without any correction.
    """

    def __init__(self, token_dim: int, *, head: ClassifierHeadConfig, embed_dim: int) -> None:
        super().__init__()
        width, mlp_dim = head.hidden_dim, head.mlp_dim
        self.norm = LayerNorm2d(token_dim)
        self.inward = nn.Conv2d(token_dim + embed_dim, width, kernel_size=1)
        self.blocks = nn.Sequential(*(ContextBlock(width, mlp_dim=mlp_dim) for _ in range(2)))
        self.outward = nn.Conv2d(width, embed_dim, kernel_size=1)
        for parameter in self.outward.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens_bchw: Tensor, coarse_bchw: Tensor) -> Tensor:
        """Corrects the classifier's answer for each patch.

        Args:
            tokens_bchw: [B,C,g,g].
            coarse_bchw: the classifier's answer [B,E,g/2,g/2].

        Returns:
            Unit vectors [B,g*g,E].
        """
        plain = _unit(_twice(coarse_bchw))
        # The entries of a unit vector are small beside the output of a norm.
        seen = torch.cat([self.norm(tokens_bchw), plain * plain.shape[1] ** 0.5], dim=1)
        x = self.blocks(F.gelu(self.inward(seen)))
        return _to_tokens(_unit(plain + self.outward(x)))


class ContextBlock(nn.Module):
    """ConvNeXt's block: a wide depthwise convolution, then an MLP in each cell."""

    def __init__(self, width: int, *, mlp_dim: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.mlp = nn.Sequential(
            nn.Conv2d(width, mlp_dim, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(mlp_dim, width, kernel_size=1),
        )

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,g,g] to [B,C,g,g]."""
        y: Tensor = features_bchw + self.mlp(self.norm(self.around(features_bchw)))
        return y


class PlaneCellHead(nn.Module):
    """A CellHead with the same outputs in less time, for export.

    All is computed on maps [B,C,g,g], and no norm transposes them, see `NormedConv`. What is linear
    in the backbone's coarsest features, which fill four cells each, or in the classifier's answer
    is computed before they are spread: in a quarter of the places.

    Args:
        cells: the head to copy; `outward` and the convolutions `around` are shared.
        coarse_dim: how many of the tokens' channels are the coarsest features, the last ones.
    """

    def __init__(self, cells: CellHead, *, coarse_dim: int) -> None:
        super().__init__()
        weight, token_dim = cells.inward.weight.detach(), len(cells.norm.weight)
        self.coarse_dim = coarse_dim
        self.share_fine = ChannelSum(token_dim - coarse_dim, over=token_dim)
        self.share_coarse = ChannelSum(coarse_dim, over=token_dim)
        folded, bias = _folded(cells.norm, weight[:, :token_dim], bias=cells.inward.bias)
        self.inward_fine = _conv(folded[:, :-coarse_dim])
        self.inward_coarse = _conv(folded[:, -coarse_dim:])
        self.bias = nn.Parameter(bias)
        self.inward_answer = _conv(weight[:, token_dim:] * cells.outward.out_channels**0.5)
        self.blocks = nn.Sequential(*map(PlaneContextBlock, cells.blocks))
        self.outward = cells.outward
        self.sum = ChannelSum(cells.outward.out_channels, over=1)

    def forward(self, tokens_bchw: Tensor, coarse_bchw: Tensor) -> Tensor:
        """Corrects the classifier's answer for each patch; see `CellHead.forward`."""
        plain = _twice(coarse_bchw)
        over_length = self._over_length(plain)
        seen = _twice(self.inward_answer(coarse_bchw)) * over_length
        x = self.blocks(F.gelu(self._inward(tokens_bchw) + seen))
        moved = plain * over_length + self.outward(x)
        return _to_tokens(moved * self._over_length(moved))

    def _inward(self, tokens_bchw: Tensor) -> Tensor:
        fine = tokens_bchw[:, : -self.coarse_dim]
        coarse = _once(tokens_bchw[:, -self.coarse_dim :])
        mean, square = (
            self.share_fine(one) + _four(self.share_coarse(other))
            for one, other in ((fine, coarse), (fine * fine, coarse * coarse))
        )
        y: Tensor = self.inward_fine(fine) + _four(self.inward_coarse(coarse))
        return y * _over_deviation(mean, square) + self.bias

    def _over_length(self, features_bchw: Tensor) -> Tensor:
        """1 over the length of each place of [B,C,g,g]: [B,1,g,g]."""
        return torch.rsqrt(self.sum(features_bchw * features_bchw).clamp(min=1e-12))


class PlaneContextBlock(nn.Module):
    """A ContextBlock with the same outputs; see `PlaneCellHead`."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, ContextBlock)
        first, _, last = block.mlp
        self.around = block.around
        self.first = NormedConv(block.norm, first)
        self.last = last

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,g,g] to [B,C,g,g]."""
        y: Tensor = features_bchw + self.last(F.gelu(self.first(self.around(features_bchw))))
        return y


class NormedConv(nn.Module):
    """A LayerNorm2d and a 1 x 1 convolution in one.

    The convolution's weights subtract the mean, and its output is divided by the deviation.
    """

    def __init__(self, norm: LayerNorm2d, conv: nn.Module) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d)
        folded, bias = _folded(norm, conv.weight.detach(), bias=conv.bias)
        self.conv = _conv(folded)
        self.mean = ChannelSum(conv.in_channels, over=conv.in_channels)
        self.bias = nn.Parameter(bias)

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,g,g] to [B,c,g,g]."""
        y: Tensor = (
            self.conv(features_bchw)
            * _over_deviation(self.mean(features_bchw), self.mean(features_bchw * features_bchw))
            + self.bias
        )
        return y


class ChannelSum(nn.Module):
    """The sum over channels, divided by a number: as a convolution.

    Runtimes compute a convolution where the others are, in the same layout. XNNPACK, behind
    ExecuTorch, takes no other sum over channels.
    """

    weight: Tensor

    def __init__(self, channels: int, *, over: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((1, channels, 1, 1), 1 / over))

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,g,g] to [B,1,g,g]."""
        return F.conv2d(features_bchw, self.weight)


def pool_unpadded(features_bchw: Tensor, token_mask_bhw: Tensor) -> Tensor:
    """Averages features [B,F,g/2,g/2] to [B,F], without the padding: 0 in the mask [B,g,g]."""
    share = F.avg_pool2d(token_mask_bhw.unsqueeze(1), 2)
    total = (features_bchw.flatten(2) @ share.flatten(1).unsqueeze(2)).squeeze(2)  # of one pass
    return total / share.sum(dim=(2, 3))


def _to_tokens(features_bchw: Tensor) -> Tensor:
    """Maps [B,C,g,g] to [B,g*g,C]."""
    return features_bchw.flatten(2).transpose(1, 2)


def _folded(norm: LayerNorm2d, weight: Tensor, *, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weights [c,C,1,1] of a convolution behind a norm, and its bias [c,1,1].

    They take the norm's own weights and bias in, and the weights subtract the mean of the input.
    """
    scaled = weight.double() * norm.weight.detach().double()[:, None, None]
    moved = (weight[..., 0, 0].double() @ norm.bias.detach().double())[:, None, None]
    if bias is not None:
        moved = moved + bias.detach().double()[:, None, None]
    return (scaled - scaled.mean(dim=1, keepdim=True)).float(), moved.float()


def _conv(weight: Tensor) -> nn.Conv2d:
    """A 1 x 1 convolution of weights [c,C,1,1]."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], kernel_size=1, bias=False)
    conv.weight = nn.Parameter(weight.clone())
    return conv


def _over_deviation(mean: Tensor, square: Tensor) -> Tensor:
    """1 over the standard deviation of numbers with this mean, and this mean of squares."""
    return torch.rsqrt(square - mean * mean + 1e-6)


def _once(features_bchw: Tensor) -> Tensor:
    """Undoes `_four`: [B,C,g,g] to [B,C,g/2,g/2]."""
    return F.avg_pool2d(features_bchw, 2)


def _four(features_bchw: Tensor) -> Tensor:
    """Repeats each place in four: [B,C,g,g] to [B,C,2g,2g]."""
    return F.interpolate(features_bchw, scale_factor=2.0, mode="nearest")


def _twice(features_bchw: Tensor) -> Tensor:
    return F.interpolate(features_bchw, scale_factor=2.0, mode="bilinear")


def _unit(features_bchw: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(features_bchw.float(), dim=1, keepdim=True)
    unit: Tensor = features_bchw.float() / length.clamp(min=1e-6)
    return unit
