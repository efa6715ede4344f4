"""What the graph asks the mask decoder is what the SDK's own functions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from export.apps.text_to_mask import AskLabels, TextToMask
from export.description import describe
from export.options import ExportOptions
from export.source import random_source
from samclip_sdk.bundle.contract import contract_app_graphs, graph_key
from samclip_sdk.bundle.manifest import ModelInfo
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.engine.label_points import best_points, part_corners
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.engine.label_search import find_parts, presence_of
from samclip_sdk.image.frame import Frame
from samclip_sdk.modeling.build import build_model
from tests.tiny_config import BUNDLED, TINY

SIDE, CELLS, MASK_SIDE = 64, 8, 32
CALIBRATION = {
    "scale": 5.0,
    "bias": 0.2,
    "mask_threshold_score": 0.3,
    "presence_threshold": 0.6,
    "prompt_scale": 1.5,
    "mask_bias": 0.5,
}


@pytest.fixture(scope="module")
def info() -> ModelInfo:
    info = describe(random_source(TINY, seed=1), options=ExportOptions())
    return info.model_copy(update={"calibration": info.calibration.model_copy(update=CALIBRATION)})


def patches_of(maps: Tensor, *, info: ModelInfo) -> tuple[Tensor, Tensor]:
    """Patches [1,h*h,E] and texts [K,E] whose scores are maps [K,h,h]."""
    own = info.calibration
    patches = torch.zeros(1, CELLS**2, info.model.embed_dim)
    patches[0, :, : len(maps)] = (maps.flatten(1) / own.scale + own.bias).T
    return patches, torch.eye(len(maps), info.model.embed_dim)


@pytest.mark.parametrize("size", [(64, 64), (37, 64), (64, 20), (3, 64), (64, 63)])
@pytest.mark.parametrize("seed", range(4))
def test_labels_are_asked_for_as_the_sdk_asks(
    info: ModelInfo, size: tuple[int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    maps = 4 * F.interpolate(torch.randn(5, 1, 4, 4), size=(CELLS, CELLS), mode="bilinear")[:, 0]
    ask = AskLabels(info, cells=CELLS, mask_side=MASK_SIDE)
    patches, texts = patches_of(maps, info=info)
    coords, kinds, masks, has_mask, presence = (
        each.numpy() for each in ask(patches, torch.tensor(size, dtype=torch.float32), texts)
    )
    own, frame = info.calibration, Frame.fit(*size, resolution=SIDE)
    assert (has_mask == 1).all()
    assert kinds.dtype == np.int32
    np.testing.assert_allclose(presence, presence_of(maps.numpy(), frame=frame), atol=1e-5)
    for label, score_map in enumerate(maps.numpy()):
        parts = find_parts(
            score_map,
            frame=frame,
            threshold=own.mask_threshold_score,
            presence_threshold=own.presence_threshold,
        )
        inside = np.where(parts > 0, score_map, -np.inf).astype(np.float32)
        points = best_points(inside, frame=frame, count=3, threshold=own.mask_threshold_score)
        asked = coords[label][:3][kinds[label][:3] == 1]
        np.testing.assert_allclose(asked, points, atol=1e-3)
        assert set(kinds[label][:3].tolist()) <= {1, -2}
        assert kinds[label][3:].tolist() == [2, 3]
        np.testing.assert_allclose(coords[label][3:], part_corners(parts > 0, frame=frame))
        wanted = mask_prompt(score_map, frame=frame, side=MASK_SIDE, scale=own.prompt_scale)
        np.testing.assert_allclose(masks[label, 0], wanted, atol=1e-4)


def test_of_equal_cells_the_first_are_asked_for(info: ModelInfo) -> None:
    maps = torch.full((1, CELLS, CELLS), -5.0)
    maps[0, 2, 5] = maps[0, 3, 1] = maps[0, 3, 2] = maps[0, 6, 6] = 3.0
    ask = AskLabels(info, cells=CELLS, mask_side=MASK_SIDE)
    coords, kinds, *_ = ask(
        patches_of(maps, info=info)[0], torch.tensor([64.0, 64.0]), patches_of(maps, info=info)[1]
    )
    cells = ((coords[0, :3] + 0.5) / 8 - 0.5).round().tolist()
    assert cells == [[5, 2], [1, 3], [2, 3]]
    assert kinds[0, :3].tolist() == [1, 1, 1]


def test_the_file_computes_what_the_module_computes(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    name = graph_key("text_to_mask", SIDE)
    assert bundle.manifest.text_to_mask is not None
    (file,) = bundle.graph_files(name, runtime="onnx")
    session = ort.InferenceSession(file.path, providers=["CPUExecutionProvider"])
    module = TextToMask(build_model(BUNDLED, seed=1), bundle.manifest).eval()
    spec = contract_app_graphs(BUNDLED, resolutions=[])[name]
    assert [each.name for each in session.get_inputs()] == [each.name for each in spec.inputs]
    generator = torch.Generator().manual_seed(3)
    for texts in (1, 4):
        shapes = [
            [texts if axis == "num_texts" else int(axis) for axis in each.shape]
            for each in spec.inputs
        ]
        tokens, embeddings, _, text = (torch.randn(shape, generator=generator) for shape in shapes)
        extent = torch.tensor([41.0, 64.0])
        feed = (tokens, embeddings, extent, F.normalize(text, dim=1))
        with torch.inference_mode():
            expected = module(*feed)
        inputs = {each.name: value.numpy() for each, value in zip(spec.inputs, feed, strict=True)}
        for found, wanted in zip(session.run(None, inputs), expected, strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), atol=1e-3)


def test_it_adds_no_weights_of_its_own(tiny_bundle: Path) -> None:
    graphs = open_bundle(tiny_bundle).manifest.graphs
    whole = graphs[graph_key("text_to_mask", SIDE)].artifacts[0]
    parts = (
        graphs[name].artifacts[0]
        for name in (f"clip_head@{SIDE}", "prompt_encoder", "mask_decoder")
    )
    assert {each.path for each in whole.weights} == {w.path for part in parts for w in part.weights}
    assert whole.size_bytes < 300_000
