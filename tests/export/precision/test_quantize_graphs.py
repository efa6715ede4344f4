"""The model's own graphs in int8: their contract, what they share, and TensorRT's builds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from export.graphs import Graph, build_graphs
from export.precision.quantize import Quantized, quantize
from export.to_onnx import to_onnx
from samclip_sdk.bundle.contract import file_stem
from samclip_sdk.modeling.build import build_model
from tests.export.precision.test_quantize import (
    PAIR,
    RNG,
    accept,
    build_engine,
    check_pairs,
    constants,
    run,
)
from tests.export.tiny_programs import tiny_graphs

ROOT = Path(__file__).parents[3]


def random_feeds(graph: Graph) -> list[dict[str, NDArray[np.generic]]]:
    example = graph.example()
    return [
        {
            name: RNG.integers(0, 256, size=tensor.shape).astype(np.uint8)
            if str(tensor.dtype) == "torch.uint8"
            else RNG.normal(size=tensor.shape).astype(np.float32)
            for name, tensor in example.items()
        }
        for _ in range(2)
    ]


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


def test_fp32_graph_is_left_as_it_is(quantized: dict[str, tuple[ir.Model, Quantized]]) -> None:
    fp32, _ = quantized["mask_decoder"]
    assert not {node.op_type for node in fp32.graph} & set(PAIR)
    assert all(array.dtype != np.int8 for array in constants(fp32).values())


@pytest.mark.parametrize("name", ["image_encoder@64", "mask_decoder"])
def test_tensorrt_parses_and_builds(
    quantized: dict[str, tuple[ir.Model, Quantized]], tmp_path: Path, name: str
) -> None:
    assert build_engine(quantized[name][1].model, folder=tmp_path) > 0


VIT_B_SCRIPT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, onnx_ir as ir
from export.precision.quantize import quantize

feed = {"image": np.random.default_rng(0).integers(0, 256, (1, 3, 1024, 1024)).astype(np.uint8)}
found = quantize(ir.load(sys.argv[2]), graph="vit_b", feeds=[feed], accept=lambda path: None)
print(len(found.layers), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_vit_b_at_1024_px_takes_less_than_6_gb(tmp_path: Path) -> None:
    from samclip_sdk.modeling.config import VIT_B

    (graph,) = (
        each
        for each in build_graphs(build_model(VIT_B), resolutions=(336, 1024))
        if each.name == "image_encoder@1024"
    )
    model = to_onnx(graph.trace(), inputs=graph.traced_inputs(), outputs=graph.outputs)
    ir.save(model, tmp_path / "vit_b.onnx")
    answer = subprocess.run(
        [sys.executable, "-c", VIT_B_SCRIPT, str(ROOT), str(tmp_path / "vit_b.onnx")],
        capture_output=True,
        text=True,
        check=True,
    )
    layers, peak_kb = map(int, answer.stdout.split())
    assert layers == 12 * 4 + 1 + 2
    assert peak_kb < 6e6
