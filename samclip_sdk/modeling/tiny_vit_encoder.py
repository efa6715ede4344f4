"""MobileSAM's image encoder: TinyViT, whose last stage keeps stride 16, and SAM's neck.

Modules have MobileSAM's names, so that its checkpoints load like SAM's. MobileSAM's ImageNet
classifier is left out, because it is never called.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from samclip_sdk.modeling.attention import window_partition, window_unpartition
from samclip_sdk.modeling.batch_norm import fold_batch_norm, freeze_batch_norm
from samclip_sdk.modeling.config import TinyViTConfig
from samclip_sdk.modeling.neck import build_neck
from samclip_sdk.modeling.vit_det_encoder import PIXEL_MEAN, PIXEL_STD

_EXPANSION = 4  # of a convolutional block's channels


class TinyViTEncoder(nn.Module):
    """Maps an image to tokens for the CLIP head and, by the neck, to embeddings for SAM's.

    It runs at any resolution that is a multiple of 16. BatchNorm is frozen: training changes
    neither its statistics nor its weights.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: TinyViTConfig, *, out_chans: int) -> None:
        super().__init__()
        dims = config.embed_dims
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)
        self.patch_embed = PatchEmbed(dims[0])
        merges = [
            PatchMerging(dims[0], dims[1], stride=2),
            PatchMerging(dims[1], dims[2], stride=2),
            PatchMerging(dims[2], dims[3], stride=1),
            None,
        ]
        convolutional = nn.ModuleList(ConvBlock(dims[0]) for _ in range(config.depths[0]))
        self.layers = nn.ModuleList([Stage(convolutional, downsample=merges[0])])
        for stage in (1, 2, 3):
            blocks = nn.ModuleList(
                AttentionBlock(
                    dims[stage],
                    num_heads=config.stage_heads[stage],
                    mlp_ratio=config.mlp_ratio,
                    window_size=config.window_sizes[stage],
                )
                for _ in range(config.depths[stage])
            )
            self.layers.append(Stage(blocks, downsample=merges[stage]))
        self.neck = build_neck(dims[3], out_chans=out_chans)
        self.grad_checkpointing = False
        freeze_batch_norm(self)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes letterboxed images.

        Args:
            image: [B,3,S,S], RGB 0..255, uint8 or float.

        Returns:
            image_tokens [B,C,g,g] and image_embeddings [B,out_chans,g,g], g = S / 16.
        """
        x = (image.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        x = self.patch_embed(x)
        for stage in self.layers:
            if self.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
        return x, self.neck(x)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Turns gradient checkpointing of the stages on or off: less memory, more time."""
        self.grad_checkpointing = enable

    def at_resolution(self, resolution: int) -> TinyViTEncoder:
        """Returns a copy for export, with BatchNorm folded. It runs at any other resolution too."""
        folded = copy.deepcopy(self).eval()
        fold_batch_norm(folded, example=self.pixel_mean.new_zeros(1, 3, 64, 64))
        return folded


class Stage(nn.Module):
    """Blocks, then a downsampling to the next stage's channels and stride."""

    def __init__(self, blocks: nn.ModuleList, *, downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = blocks
        self.downsample = downsample

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,s,s] to the next stage's [B,D,t,t]."""
        for block in self.blocks:
            features_bchw = block(features_bchw)
        return features_bchw if self.downsample is None else self.downsample(features_bchw)


class ConvNorm(nn.Sequential):
    """A convolution without bias, padded to keep the side at stride 1, and a BatchNorm."""

    def __init__(
        self, in_chans: int, out_chans: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.c = nn.Conv2d(
            in_chans, out_chans, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_chans)


class PatchEmbed(nn.Module):
    """Two convolutions to stride 4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            ConvNorm(3, dim // 2, kernel=3, stride=2),
            nn.GELU(),
            ConvNorm(dim // 2, dim, kernel=3, stride=2),
        )

    def forward(self, image_bchw: Tensor) -> Tensor:
        """Maps [B,3,S,S] to [B,C,S/4,S/4]."""
        y: Tensor = self.seq(image_bchw)
        return y


class ConvBlock(nn.Module):
    """MobileNet's inverted residual."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = _EXPANSION * dim
        self.conv1 = ConvNorm(dim, hidden)
        self.conv2 = ConvNorm(hidden, hidden, kernel=3, groups=hidden)
        self.conv3 = ConvNorm(hidden, dim)
        self.act = nn.GELU()

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,s,s] to [B,C,s,s]."""
        hidden = self.act(self.conv2(self.act(self.conv1(features_bchw))))
        y: Tensor = self.act(features_bchw + self.conv3(hidden))
        return y


class PatchMerging(nn.Module):
    """Downsampling to the next stage: other channels, and half the side if the stride is 2."""

    def __init__(self, dim: int, out_dim: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(dim, out_dim)
        self.conv2 = ConvNorm(out_dim, out_dim, kernel=3, stride=stride, groups=out_dim)
        self.conv3 = ConvNorm(out_dim, out_dim)
        self.act = nn.GELU()

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,s,s] to [B,D,t,t]."""
        y: Tensor = self.conv3(self.act(self.conv2(self.act(self.conv1(features_bchw)))))
        return y


class AttentionBlock(nn.Module):
    """Attention in windows, a depthwise convolution, and an MLP."""

    def __init__(self, dim: int, *, num_heads: int, mlp_ratio: float, window_size: int) -> None:
        super().__init__()
        self.attn = WindowAttention(dim, num_heads=num_heads, window_size=window_size)
        self.local_conv = ConvNorm(dim, dim, kernel=3, groups=dim)
        self.mlp = NormMlp(dim, int(dim * mlp_ratio))

    def forward(self, features_bchw: Tensor) -> Tensor:
        """Maps [B,C,s,s] to [B,C,s,s]."""
        tokens = features_bchw.permute(0, 2, 3, 1)
        tokens = tokens + self.attn(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        y: Tensor = (tokens + self.mlp(tokens)).permute(0, 3, 1, 2)
        return y


class NormMlp(nn.Module):
    """LayerNorm, linear, exact GELU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [...,C] to [...,C]."""
        y: Tensor = self.fc2(self.act(self.fc1(self.norm(x))))
        return y


class WindowAttention(nn.Module):
    """Multi-head attention in windows, with a bias for each distance between two tokens.

    MobileSAM fills the last windows with zeros before its LayerNorm. So a padded token's query, key
    and value are the projection of the LayerNorm's bias.
    """

    bias_index: Tensor

    def __init__(self, dim: int, *, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.scale = (dim // num_heads) ** -0.5
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size**2))
        self.register_buffer("bias_index", _distances(window_size), persistent=False)

    def forward(self, tokens_bhwc: Tensor) -> Tensor:
        """Maps [B,s,s,C] to [B,s,s,C]."""
        side, size = tokens_bhwc.shape[1], self.window_size
        qkv = self.qkv(self.norm(tokens_bhwc))
        windows = window_partition(qkv, size, fill=self.qkv(self.norm.bias)).flatten(1, 2)
        # A head's query, key and value are adjacent channels.
        heads = windows.reshape(*windows.shape[:2], self.num_heads, -1).transpose(1, 2)
        q, k, v = heads.chunk(3, dim=-1)
        logits = (q * self.scale) @ k.transpose(-2, -1) + self.attention_biases[:, self.bias_index]
        y = self.proj((logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        return window_unpartition(y.reshape(-1, size, size, y.shape[-1]), size, side=side)


def _distances(size: int) -> Tensor:
    """The index of the bias for each pair of a window's tokens, int64 [size**2,size**2].

    Each distance (down, across) has one bias, in the order in which the pairs first have it.
    """
    tokens = list(itertools.product(range(size), repeat=2))
    number: dict[tuple[int, int], int] = {}
    rows = [
        [number.setdefault((abs(a - c), abs(b - d)), len(number)) for c, d in tokens]
        for a, b in tokens
    ]
    return torch.tensor(rows)
