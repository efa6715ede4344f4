"""A bundle of a convolutional model: its ONNX graphs take images without their padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import save_checkpoint
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.runtimes.torch.session import Checkpoint
from tests.device_bundle import IMAGE
from tests.tiny_config import BUNDLED

SIDE = BUNDLED.segmentation_resolution


def test_they_answer_as_torch_does(tiny_bundle: Path, tmp_path: Path) -> None:
    save_checkpoint(build_model(BUNDLED, seed=1), tmp_path / "torch", provenance={})
    (tmp_path / "torch/tokenizer.json").write_bytes((tiny_bundle / "tokenizer.json").read_bytes())
    image = IMAGE[:30]  # of 30 x 96 pixels
    onnx = Engine(
        BundleSource(open_bundle(tiny_bundle), runtime="onnx", precision="fp32", warn=False)
    )
    found = []
    for engine in (onnx, Engine(Checkpoint(tmp_path / "torch"))):
        one = Pass(engine, image)
        assert one.embedding.cells == (2, 4)
        found.append((one.embedding.image_embeddings, *one.head))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_text_to_mask_in_one_graph_takes_them_too(tiny_bundle: Path) -> None:
    engine = Engine(
        BundleSource(open_bundle(tiny_bundle), runtime="onnx", precision="fp32", warn=False)
    )
    texts = np.eye(2, BUNDLED.embed_dim, dtype=np.float32)
    for whole_square in (False, True):
        one = Pass(engine, IMAGE[:30], whole_square=whole_square)
        seen = one.embedding
        feed = {
            "image_tokens": seen.image_tokens,
            "image_embeddings": seen.image_embeddings,
            "extent": seen.frame.extent(),
            "text_embeddings": texts,
        }
        answer = one.run(graph_key("text_to_mask", SIDE), feed)
        assert answer["mask_logits"].shape == (2, SIDE, SIDE)
        patches = one.patches[0].reshape(4, 4, -1)[:2]
        own = engine.manifest.calibration
        best = (patches @ texts.T).max(axis=(0, 1))
        presence = 1 / (1 + np.exp(-own.scale * (best - own.bias)))
        np.testing.assert_allclose(answer["presence"], presence, atol=1e-4)
