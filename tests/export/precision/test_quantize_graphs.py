"""The model's own graphs in int8: their contract, what they share, and TensorRT's builds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from export.graphs import Graph
from export.precision.quantize import Quantized, quantize
from samclip_sdk.bundle.contract import file_stem
from tests.export.precision.test_quantize import (
    accept,
    check_pairs,
    constants,
    run,
)
from tests.export.tiny_programs import tiny_graphs
from tests.graph_feeds import draw_feed


def random_feeds(graph: Graph) -> list[dict[str, NDArray[np.generic]]]:
    lengths = {"num_prompts": 2, "num_points": 3}
    return [draw_feed(graph.inputs, seed=seed, **lengths) for seed in range(2)]


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return tiny_graphs()


@pytest.fixture(scope="module")
def quantized(graphs: dict[str, Graph], tiny_bundle: Path) -> dict[str, tuple[ir.Model, Quantized]]:
    found = {}
    for name in ("image_encoder@32", "image_encoder@64", "mask_decoder"):
        stored = ir.load(tiny_bundle / "onnx" / f"{file_stem(name)}.onnx")
        model = ir.external_data.load_to_model(stored)
        feeds = random_feeds(graphs[name])
        found[name] = model, quantize(model, graph=name, feeds=feeds, accept=accept)
    return found


@pytest.mark.parametrize("name", ["image_encoder@64", "mask_decoder"])
def test_real_graph_keeps_its_contract(
    graphs: dict[str, Graph],
    quantized: dict[str, tuple[ir.Model, Quantized]],
    tmp_path: Path,
    name: str,
) -> None:
    fp32, found = quantized[name]
    assert found.kept_in_float == ()
    check_pairs(found.model)
    for side in ("inputs", "outputs"):
        assert [
            (value.name, value.dtype, value.shape) for value in getattr(found.model.graph, side)
        ] == [(value.name, value.dtype, value.shape) for value in getattr(fp32.graph, side)]
    ir.save(found.model, tmp_path / "graph.onnx")
    onnx.checker.check_model(tmp_path / "graph.onnx", full_check=True)
    sizes = [
        sum(array.nbytes for array in constants(model).values()) for model in (found.model, fp32)
    ]
    assert sizes[0] < 0.7 * sizes[1]
    feed = random_feeds(graphs[name])[0]
    for output, expected in zip(run(found.model, feed), run(fp32, feed), strict=True):
        error = np.sqrt(np.square(output - expected).mean() / np.square(expected).mean())
        assert 0 < error < 0.2


def test_resolutions_share_their_int8_weights(
    quantized: dict[str, tuple[ir.Model, Quantized]],
) -> None:
    weights = [
        sorted(
            array.tobytes()
            for array in constants(quantized[f"image_encoder@{at}"][1].model).values()
            if array.dtype == np.int8 and array.ndim > 1
        )
        for at in (32, 64)
    ]
    assert len(weights[0]) == 2 * 4 + 1 + 2  # two blocks, the patch embedding, the neck
    assert weights[0] == weights[1]
