"""int8 graphs hold the numbers computed by hand, run everywhere, and keep what matters in float."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.precision.quantize import KeptInFloat, quantize
from export.precision.quantized_layers import insert_pairs
from samclip_sdk.bundle.contract import file_stem
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.runtimes.onnx.session import EXACT_INT8
from tests.graph_feeds import draw_feed

PAIR = ("QuantizeLinear", "DequantizeLinear")
WEIGHT = np.array([[127, 1, 0], [-64, -0.5, 0]], dtype=np.float32)
BIAS = np.array([0.25, 1e-3, -3], dtype=np.float32)
RNG = np.random.default_rng(0)


def model_of(graph: str, constants: dict[str, NDArray[np.generic]]) -> ir.Model:
    """A graph in ONNX's own textual form."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> graph {graph}')
    for name, array in constants.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def linear() -> ir.Model:
    """One product and its bias."""
    return model_of(
        """(float[n, 4, 2] x) => (float[n, 4, 3] y) {
            [MatMul_0] product = MatMul(x, "lin.weight")
            y = Add(product, "lin.bias")
        }""",
        {"lin.weight": WEIGHT, "lin.bias": BIAS},
    )


def chain(scale: float) -> ir.Model:
    """Three layers; `scale` stretches one channel of what goes into the second one."""
    stretch = np.ones(8, dtype=np.float32)
    stretch[3] = scale
    first, second, third = (normal(8, 8) for _ in range(3))
    second[3] /= scale
    return model_of(
        """(float[16, 8] x) => (float[16, 8] y) {
            [a] a = MatMul(x, "a.weight")
            wide = Mul(a, stretch)
            [b] b = MatMul(wide, "b.weight")
            positive = Relu(b)
            [c] y = MatMul(positive, "c.weight")
        }""",
        {"a.weight": first, "stretch": stretch, "b.weight": second, "c.weight": third},
    )


def normal(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def accept(path: Path) -> None:
    """Accepts whatever onnxruntime loads."""
    open_session(path)


def open_session(model: Path | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.add_session_config_entry(EXACT_INT8, "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(model: ir.Model, feed: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
    content = ir.to_proto(model).SerializeToString()
    return open_session(content).run(None, feed)


def constants(model: ir.Model) -> dict[str, NDArray[np.generic]]:
    return {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }


def error_gate(model: ir.Model, *, feed: dict[str, NDArray[np.generic]], bound: float) -> object:
    """A gate on the root of the mean squared error, relative to the outputs."""
    wanted = run(model, feed)

    def check(path: Path) -> str | None:
        session = open_session(path)
        for found, expected in zip(session.run(None, feed), wanted, strict=True):
            error = np.sqrt(np.square(found - expected).mean() / np.square(expected).mean())
            if not error <= bound:
                return f"error {error:.3g} exceeds {bound:g}"
        return None

    return check


def check_pairs(model: ir.Model) -> None:
    """Every pair is S8S8, symmetric, its scale known; weights are scaled by channel."""
    values = constants(model)
    pairs = [node for node in model.graph if node.op_type in PAIR]
    assert pairs
    for node in pairs:
        scale, zero_point = (values[value.name] for value in node.inputs[1:])
        assert scale.dtype == np.float32
        assert (scale > 0).all()
        assert zero_point.dtype == np.int8
        assert zero_point.shape == scale.shape
        assert not zero_point.any()
        weight = node.inputs[0].is_initializer()
        assert weight == (scale.ndim == 1) == ("axis" in node.attributes)
        if weight:
            assert values[node.inputs[0].name].dtype == np.int8
            assert len(scale) == node.inputs[0].shape[node.attributes["axis"].value]


def test_matmul_is_what_hands_compute() -> None:
    quantized = quantize(linear(), graph="linear", feeds=[feed_of(linear())], accept=accept)
    assert quantized.layers == ("lin",)
    assert quantized.kept_in_float == ()
    values = constants(quantized.model)
    assert values["x_scale"] == 1
    x = np.zeros((1, 4, 2), dtype=np.float32)
    x[0, :3] = [[127, -127], [2.5, 3.5], [300, -0.4]]  # halves go to even, 300 beyond the range
    steps = np.array([[127, -127], [2, 4], [127, 0], [0, 0]])
    rounded = np.array([[127, 1, 0], [-64, -64 / 127, 0]])
    np.testing.assert_allclose(
        run(quantized.model, {"x": x})[0][0], steps @ rounded + BIAS, rtol=1e-5
    )


def feed_of(model: ir.Model) -> dict[str, NDArray[np.generic]]:
    """One feed, whose greatest magnitude is 127."""
    feed = {
        value.name: RNG.normal(size=[3 if not isinstance(n, int) else n for n in value.shape])
        for value in model.graph.inputs
    }
    return {n: (x * 127 / np.abs(x).max()).astype(np.float32) for n, x in feed.items()}


def test_bias_stays_float_and_the_product_is_int8_in_onnxruntime(tmp_path: Path) -> None:
    quantized = quantize(linear(), graph="linear", feeds=[feed_of(linear())], accept=accept)
    values = constants(quantized.model)
    np.testing.assert_array_equal(values["lin.bias_3d"], BIAS[None, None], strict=True)
    ir.save(quantized.model, tmp_path / "graph.onnx")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that such a file is for this machine only
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(tmp_path / "graph.onnx", options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "MatMulIntegerToFloat" in operators
    assert not {"MatMul", "Gemm", "DequantizeLinear"} & operators


def test_layers_that_share_a_weight_load_on_every_processor() -> None:
    """Without VNNI onnxruntime rewrites each layer's weight, and once found the second one gone."""
    model = model_of(
        """(float[n, 4, 2] x) => (float[n, 4, 3] first, float[n, 4, 3] second) {
            [first] first = MatMul(x, "lin.weight")
            positive = Relu(x)
            [second] second = MatMul(positive, "lin.weight")
        }""",
        {"lin.weight": WEIGHT},
    )
    quantized = insert_pairs(
        model, layers=["lin", "lin:second"], ranges={"lin": 1.0, "lin:second": 1.0}
    )
    operators = [node.op_type for node in quantized.graph]
    assert operators.count("DequantizeLinear") == 4
    feed = {"x": RNG.uniform(-1, 1, (2, 4, 2)).astype(np.float32)}
    for found, expected in zip(run(quantized, feed), run(model, feed), strict=True):
        np.testing.assert_allclose(found, expected, atol=2)


def test_planted_outlier_stays_in_float() -> None:
    model = chain(1000.0)
    feed = feed_of(model)
    gate = error_gate(model, feed=feed, bound=0.03)
    found = quantize(model, graph="chain", feeds=[feed], accept=gate)
    assert found.layers == ("a", "c")
    (kept,) = found.kept_in_float
    assert kept.layer == "b"
    assert kept.error is not None
    assert kept.error > 0.1
    assert quantize(chain(1.0), graph="chain", feeds=[feed], accept=lambda path: None).layers == (
        "a",
        "b",
        "c",
    )


def test_asked_layers_stay_in_float() -> None:
    model = chain(1.0)
    found = quantize(model, graph="chain", feeds=[feed_of(model)], accept=accept, keep=["b"])
    assert found.layers == ("a", "c")
    assert found.kept_in_float == (KeptInFloat("b", error=None),)


def test_layer_that_calibration_never_reached_stays_in_float() -> None:
    model = chain(1.0)
    values = model.graph.initializers
    values["a.weight"].const_value = ir.Tensor(-np.abs(constants(model)["a.weight"]))
    values["b.weight"].const_value = ir.Tensor(np.abs(constants(model)["b.weight"]))
    feed = {"x": np.abs(feed_of(model)["x"])}
    found = quantize(model, graph="chain", feeds=[feed], accept=accept)
    assert found.kept_in_float == (KeptInFloat("c", error=None),)


def random_feeds(inputs: Sequence[TensorSpec]) -> list[dict[str, NDArray[np.generic]]]:
    lengths = {"num_prompts": 2, "num_points": 3}
    return [draw_feed(inputs, seed=seed, **lengths) for seed in range(2)]


@pytest.mark.parametrize("name", ["image_encoder@64", "mask_decoder"])
def test_real_graph_keeps_its_contract(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    stored = ir.load(tiny_bundle / "onnx" / f"{file_stem(name)}.onnx")
    spec = open_bundle(tiny_bundle).manifest.graphs[name]
    fp32, feeds = ir.external_data.load_to_model(stored), random_feeds(spec.inputs)
    found = quantize(fp32, graph=name, feeds=feeds, accept=accept)
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
    pairs = zip(run(found.model, feeds[0]), run(fp32, feeds[0]), strict=True)
    for output, expected in pairs:
        error = np.sqrt(np.square(output - expected).mean() / np.square(expected).mean())
        assert 0 < error < 0.2
