"""The CLIP teacher for photographs: an ImageNet classifier that answers in its own weights' space.

A picture is what the classifier sees of it, pooled; a cell is what it sees there, corrected by a
small head that was taught where things are. Texts come into the same space by `TextTeacher`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.neck import LayerNorm2d
from training.errors import TrainingError
from training.teachers.efficientnet_lite import LITE2, lite2_state
from training.teachers.text_teacher import ClassifierSpace
from training.teachers.weights import give_weights, read_weights, save_weights

_PIXEL_MEAN, _PIXEL_STD = 127.0, 128.0
_LEVELS = (2, 3, 4)  # of timm's: strides 8, 16 and 32
_BACKBONE = "backbone."
_LOGIT_SCALE = 20.0


class ClassifierClip(nn.Module):
    """A CLIP made of EfficientNet-Lite2, a `DenseClipTeacher`.

    Args:
        space: of the classifier's weights.
        resolution: side of a picture that is embedded as a whole.
        hidden_dim: of the head for cells.

    Attributes:
        centre: float32 [F], which is taken off pooled features: their mean over photographs.
        cells: the head for cells.
        logit_scale: logarithm of what cosines are multiplied by.

    Raises:
        TrainingError: the classifier's package is not installed.
    """

    centre: Tensor
    logit_scale: Tensor

    def __init__(self, space: ClassifierSpace, *, resolution: int, hidden_dim: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.space = space
        self.embed_dim, features = space.axes.shape
        self.backbone = _classifier()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("logit_scale", torch.tensor(_LOGIT_SCALE).log())
        widths = [self.backbone.feature_info[level]["num_chs"] for level in _LEVELS]
        self.cells = CellHead(widths, embed_dim=self.embed_dim, hidden_dim=hidden_dim)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ClassifierClip:
        """Sets the head's mode; the classifier stays as it is."""
        super().train(mode)
        self.backbone.eval()
        return self

    def embed_images(self, images: Tensor) -> Tensor:
        """Embeds pictures [B,3,S,S], RGB 0..255, uint8 or float, as unit vectors [B,E]."""
        features, _ = self.see(images)
        embeddings: Tensor = self.space(features.mean(dim=(2, 3)) - self.centre)
        return embeddings

    def embed_with_cells(self, images: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embeds letterboxed pictures, and each of their cells of 16 x 16 pixels.

        Args:
            images: [B,3,S,S], RGB 0..255, uint8 or float.
            token_mask: float [B,g,g], g = S / 16, 1 where a cell holds any pixel of the picture.

        Returns:
            Unit vectors [B,E] of the pictures without their padding, and [B,E,g,g] of the cells.
        """
        features, maps = self.see(images)
        pooled = pool_unpadded(features, token_mask)
        centred = features - self.centre.view(-1, 1, 1)
        plain = torch.einsum("bfhw,ef->behw", centred, self.space.axes)
        plain = F.interpolate(plain, size=token_mask.shape[-2:], mode="bilinear")
        return self.space(pooled - self.centre), self.cells(maps, plain)

    @torch.no_grad()
    def see(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What the classifier pools, [B,F,S/32,S/32], and its maps at strides 8, 16 and 32."""
        x = (images.float() - _PIXEL_MEAN) / _PIXEL_STD
        features: Tensor
        features, maps = self.backbone.forward_intermediates(x, indices=list(_LEVELS))
        return features, maps


class CellHead(nn.Module):
    """Corrects what a classifier says of each cell by its finer maps and by what is around.

    It starts as no correction at all.
    """

    def __init__(self, widths: Sequence[int], *, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(LayerNorm2d(width) for width in widths)
        self.inward = nn.Conv2d(sum(widths) + embed_dim, hidden_dim, kernel_size=1)
        self.blocks = nn.Sequential(*(ContextBlock(hidden_dim) for _ in range(2)))
        self.outward = nn.Conv2d(hidden_dim, embed_dim, kernel_size=1)
        for parameter in self.outward.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Sequence[Tensor], plain: Tensor) -> Tensor:
        """Maps feature maps [B,C,...] and the plain answer [B,E,g,g] to unit vectors [B,E,g,g]."""
        side = plain.shape[-1]
        plain = F.normalize(plain, dim=1)
        seen = [_resize(norm(each), side=side) for norm, each in zip(self.norms, maps, strict=True)]
        # The entries of a unit vector are small beside what a norm leaves.
        hidden = self.inward(torch.cat([*seen, plain * plain.shape[1] ** 0.5], dim=1))
        return F.normalize(plain + self.outward(self.blocks(F.gelu(hidden))), dim=1)


class ContextBlock(nn.Module):
    """ConvNeXt's block: a wide convolution in each channel, then an MLP in each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.mlp = nn.Sequential(
            nn.Conv2d(width, 2 * width, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(2 * width, width, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B,C,g,g] to [B,C,g,g]."""
        y: Tensor = x + self.mlp(self.norm(self.around(x)))
        return y


def pool_unpadded(features: Tensor, token_mask: Tensor) -> Tensor:
    """Averages features [B,F,h,w] over what a mask [B,g,g] says is no padding: [B,F]."""
    share = F.interpolate(token_mask.unsqueeze(1), size=features.shape[-2:], mode="area")
    return (features * share).sum(dim=(2, 3)) / share.sum(dim=(2, 3))


def save_classifier_clip(clip: ClassifierClip, path: Path) -> None:
    """Writes a teacher's weights but for the classifier's, which its package holds."""
    state = clip.state_dict()
    save_weights({key: x for key, x in state.items() if not key.startswith(_BACKBONE)}, path)


def load_classifier_clip(
    path: Path, *, embed_dim: int, resolution: int, hidden_dim: int
) -> ClassifierClip:
    """Loads what `save_classifier_clip` wrote, frozen, in eval mode.

    Raises:
        TrainingError: the file is missing or damaged, or of a teacher of other sizes; or the
            classifier's package is not installed.
    """
    state = read_weights(path)
    axes, directions = (state.get(f"space.{name}") for name in ("axes", "class_directions"))
    if axes is None or directions is None or len(axes) != embed_dim:
        raise TrainingError(f"{path} is no CLIP teacher with {embed_dim} dimensions")
    space = ClassifierSpace(classes=len(directions), features=axes.shape[1], embed_dim=embed_dim)
    clip = ClassifierClip(space, resolution=resolution, hidden_dim=hidden_dim)
    own = {key: x for key, x in clip.state_dict().items() if key.startswith(_BACKBONE)}
    give_weights(clip, own | state, path)
    return clip


def _classifier() -> Any:
    """EfficientNet-Lite2 with the package's weights, in the layout that is fastest on a CPU."""
    backbone: Any = timm.create_model(LITE2)
    backbone.load_state_dict(lite2_state(), strict=False)
    return backbone.to(memory_format=torch.channels_last)


def _resize(x: Tensor, *, side: int) -> Tensor:
    """Feature maps [B,C,h,h] at another side: averaged when they shrink, else interpolated."""
    return F.interpolate(x, size=(side, side), mode="area" if x.shape[-1] > side else "bilinear")
