"""A convolutional image encoder: a timm backbone's strides 8, 16 and 32, fused to stride 16.

The paper names such backbones as its next step (appendix E). The interface is the ViT's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.modeling.batch_norm import fold_batch_norm, freeze_batch_norm
from samclip_sdk.modeling.config import PyramidConfig
from samclip_sdk.modeling.neck import LayerNorm2d, build_neck
from samclip_sdk.modeling.proposal_head import ProposalHead

STRIDES = (8, 16, 32)
FINEST = 4


class PyramidEncoder(nn.Module):
    """Maps an image to the backbone's features for the CLIP head and to embeddings for SAM's.

    It runs at any resolution that is a multiple of 32. The backbone's BatchNorm is frozen: training
    changes neither its statistics nor its weights.

    Attributes:
        backbone: timm's network; the state dict has timm's own names for it.

    Raises:
        ValueError: timm has no such backbone, or it does not have the three strides.
        RuntimeMissingError: timm is not installed.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self, config: PyramidConfig, *, out_chans: int, high_resolution: bool = False
    ) -> None:
        super().__init__()
        dim = config.embed_dim
        for name, values in (("pixel_mean", config.pixel_mean), ("pixel_std", config.pixel_std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.backbone: Any = _create_backbone(config.backbone)
        info = self.backbone.feature_info
        self._indices = tuple(info.reduction().index(each) for each in STRIDES)
        fine, middle, coarse = found = tuple(info.channels()[each] for each in self._indices)
        if found != config.widths:
            raise ValueError(
                f"the backbone {config.backbone} has the widths {found} at strides 8, 16 and 32, "
                f"not {config.widths}"
            )
        freeze_batch_norm(self.backbone)
        # On a CPU this makes its convolutions a third faster, forward and backward.
        self.backbone.to(memory_format=torch.channels_last)
        # Stride 8 enters with all four of its cells, not with their average: edges need it.
        self.lateral_8 = nn.Conv2d(fine, dim, kernel_size=2, stride=2)
        self.lateral_16 = nn.Conv2d(middle, dim, kernel_size=1)
        self.lateral_32 = nn.Conv2d(coarse, dim, kernel_size=1)
        self.mix = nn.Sequential(
            LayerNorm2d(dim),
            nn.Conv2d(dim, dim, kernel_size=3, padding=1),
            nn.GELU(),
            nn.Conv2d(dim, dim, kernel_size=1),
        )
        self.neck = build_neck(dim, out_chans=out_chans)
        self.high_resolution: nn.Module | None = None
        if high_resolution:
            if FINEST not in info.reduction():
                raise ValueError(f"the backbone {config.backbone} has no features of stride 4")
            self._finest = info.reduction().index(FINEST)
            widths = info.channels()[self._finest], fine
            self.high_resolution = HighResolution(*widths, out_chans=out_chans)
        self.proposal_head: ProposalHead | None = None
        if config.proposals:
            self.proposal_head = ProposalHead(fine=fine, fused=dim)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encodes letterboxed images, and proposes boxes of things if there is a head for it.

        Args:
            image: [B,3,S,S], RGB 0..255, uint8 or float.

        Returns:
            image_tokens [B,C,g,g], where C is the channels of all three strides, and
            image_embeddings [B,out_chans,g,g], g = S / 16; with high resolution
            [B,4*out_chans,g,g], see `HighResolution`. With a proposal head also proposals
            [B,30,g,g], see `proposal_head.boxes_of`.
        """
        features = self._features(image)
        strides = [features[each] for each in self._indices]
        fused = self.fuse(*strides)
        outputs = self._outputs(features, strides, fused)
        if self.proposal_head is None:
            return outputs
        return (*outputs, self.proposal_head(strides[0], fused))

    def propose(self, image: Tensor, *, frozen: bool = False) -> Tensor:
        """Proposes boxes of things alone: [B,30,g,g]; frozen, only the head gets a gradient."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            features = self._features(image)
            strides = [features[each] for each in self._indices]
            fused = self.fuse(*strides)
        if self.proposal_head is None:
            raise ValueError("the image encoder has no proposal head: set image_encoder.proposals")
        proposals: Tensor = self.proposal_head(strides[0], fused)
        return proposals

    def _features(self, image: Tensor) -> Sequence[Tensor]:
        """All of the backbone's features."""
        x = (image.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        features: Sequence[Tensor] = self.backbone(x)
        return features

    def _outputs(
        self, features: Sequence[Tensor], strides: Sequence[Tensor], fused: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The image's tokens and its embeddings."""
        embeddings = self.neck(fused)
        if self.high_resolution is not None:
            finer = self.high_resolution(features[self._finest], strides[0])
            embeddings = torch.cat([embeddings, finer], dim=1)
        return join_strides(*strides), embeddings

    def fuse(self, fine_bchw: Tensor, middle_bchw: Tensor, coarse_bchw: Tensor) -> Tensor:
        """Fuses the backbone's features at strides 8, 16 and 32, [B,c,S/8,S/8] and so on.

        Returns:
            The fused features [B,embed_dim,S/16,S/16].
        """
        upsampled = F.interpolate(self.lateral_32(coarse_bchw), scale_factor=2.0, mode="bilinear")
        x = self.lateral_8(fine_bchw) + self.lateral_16(middle_bchw) + upsampled
        fused: Tensor = x + self.mix(x)
        return fused

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turns gradient checkpointing of the stages on or off: less memory, more time."""
        self.backbone.set_grad_checkpointing(enable)

    def at_resolution(self, resolution: int) -> PyramidEncoder:
        """Returns a copy for export, with branches merged and BatchNorm folded.

        It runs at any other resolution too.
        """
        from timm.utils.model import reparameterize_model

        folded = copy.deepcopy(self).eval()
        folded.backbone = reparameterize_model(folded.backbone, inplace=True)
        fold_batch_norm(folded.backbone, example=self.pixel_mean.new_zeros(1, 3, 64, 64))
        _fix_padding(folded.backbone)
        return folded


class HighResolution(nn.Module):
    """Features of strides 4 and 8 for the mask decoder's two upscaling steps: ours, as in SAM 2.

    They are stored at stride 16, with neighbouring cells in consecutive channels, so that an
    embedding stays one tensor. They start as zeros, which change nothing.
    """

    def __init__(self, finest: int, fine: int, *, out_chans: int) -> None:
        super().__init__()
        # The widths of the decoder's steps: a quarter and an eighth of its own width.
        self.stride_4 = nn.Conv2d(finest, 4 * (out_chans // 8), kernel_size=2, stride=2)
        self.stride_8 = nn.Conv2d(fine, 4 * (out_chans // 4), kernel_size=2, stride=2)
        self.start()

    def start(self) -> None:
        """Sets all weights to zero, so that nothing changes."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, finest_bchw: Tensor, fine_bchw: Tensor) -> Tensor:
        """Maps features [B,c,S/4,S/4] and [B,C,S/8,S/8] to [B,3*out_chans,S/16,S/16].

        The first `out_chans` channels are the features of stride 8.
        """
        return torch.cat(
            [self.stride_8(fine_bchw), F.pixel_unshuffle(self.stride_4(finest_bchw), 2)], dim=1
        )


class _HalvingConv(nn.Conv2d):
    """A convolution of stride 2 with TensorFlow's padding "same", a constant for even sizes.

    timm's own computes it from the size, which torch.export cannot do for an open one.
    """

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,H,W] to [B,c,H/2,W/2]."""
        around = self.kernel_size[0] - 2
        features_bchw = F.pad(features_bchw, (around // 2, around - around // 2) * 2)
        y: Tensor = self._conv_forward(features_bchw, self.weight, self.bias)
        return y


def _fix_padding(backbone: nn.Module) -> None:
    """Makes the padding of convolutions a constant."""
    from timm.layers.conv2d_same import Conv2dSame

    for layer in backbone.modules():
        if isinstance(layer, Conv2dSame):
            layer.__class__ = _HalvingConv  # type: ignore[assignment]  # both are nn.Conv2d


def join_strides(fine_bchw: Tensor, middle_bchw: Tensor, coarse_bchw: Tensor) -> Tensor:
    """Joins features of strides 8, 16 and 32 at stride 16: averaged, unchanged and repeated."""
    repeated = F.interpolate(coarse_bchw, scale_factor=2.0, mode="nearest")
    return torch.cat([F.avg_pool2d(fine_bchw, 2), middle_bchw, repeated], dim=1)


def _create_backbone(name: str) -> Any:
    """Makes a timm network that returns its features, with timm's random weights: no download."""
    try:
        import timm
    except ImportError as error:
        raise RuntimeMissingError(
            f'timm cannot be imported ({error}): pip install "samclip-sdk[torch]"'
        ) from error
    if not timm.is_model(name):
        raise ValueError(f"timm has no backbone {name!r}: timm.list_models() tells them")
    try:
        backbone: Any = timm.create_model(name, pretrained=False, features_only=True)
    except (RuntimeError, AttributeError, AssertionError, KeyError) as error:
        raise ValueError(f"the backbone {name} has no features by stride: {error}") from error
    strides = backbone.feature_info.reduction()
    if missing := [each for each in STRIDES if each not in strides]:
        raise ValueError(
            f"the backbone {name} has no features of stride {', '.join(map(str, missing))}: its "
            f"strides are {', '.join(map(str, strides))}"
        )
    return backbone
