"""EfficientNet-Lite2's own answer to a photograph, which a student of its backbone is to keep."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.batch_norm import fold_batch_norm
from samclip_sdk.modeling.classifier_head import ClassifierHead
from training.teachers.efficientnet_lite import LITE2, lite2_state

_PIXEL_MEAN, _PIXEL_STD = 127.0, 128.0
_RESOLUTION = 288  # at which it looks at a picture; its weights were trained at 260


class ImageNetClassifier(nn.Module):
    """The published classifier, frozen, without BatchNorm, in the layout that is fastest on a CPU.

    Raises:
        TrainingError: the package with its weights is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        network: Any = timm.create_model(LITE2)
        network.load_state_dict(lite2_state(), strict=False)
        network.eval().requires_grad_(False)
        fold_batch_norm(network, example=torch.zeros(1, 3, 64, 64))
        self.network: Any = network.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> ImageNetClassifier:
        """Stays as it is."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, token_mask: Tensor) -> Tensor:
        """Probabilities [B,1000] of letterboxed pictures [B,3,S,S], RGB 0..255.

        What is padding, by a mask [B,g,g] of cells, is not pooled.
        """
        x = (images.float() - _PIXEL_MEAN) / _PIXEL_STD
        side = (_RESOLUTION, _RESOLUTION)
        x = F.interpolate(x, size=side, mode="bilinear", antialias=True)
        features = self.network.forward_features(x)
        weights = F.interpolate(token_mask.unsqueeze(1), size=features.shape[2:], mode="area")
        pooled = (features * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3))
        logits: Tensor = self.network.classifier(pooled)
        return logits.float().softmax(dim=-1)

    @torch.no_grad()
    def start(self, head: ClassifierHead, *, axes: Tensor, centre: Tensor) -> None:
        """Gives a CLIP head the classifier's last convolution, and a map of what is pooled.

        Args:
            head: whose `expand` and `project` begin so.
            axes: [E,F], of the `ClassifierSpace`.
            centre: [F], what is pooled on average.
        """
        head.expand.load_state_dict(self.network.conv_head.state_dict())
        head.project.load_state_dict({"weight": axes[..., None, None], "bias": -axes @ centre})
