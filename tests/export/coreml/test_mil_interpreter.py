"""Each operation by itself against torch, through a package on the disk; and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from export.coreml.mil_interpreter import MilInterpreter
from export.coreml.mil_operations import OPERATIONS
from export.coreml.to_coreml import quiet
from samclip_sdk.runtimes.coreml.package import import_coremltools

Array = NDArray[np.generic]
rng = np.random.default_rng(0)


def noise(*shape: int) -> NDArray[np.float32]:
    return rng.normal(size=shape).astype(np.float32)


def save(
    path: Path, build: Callable[..., Any], inputs: Mapping[str, tuple[tuple[int, ...], Any]]
) -> Path:
    """Writes what `build(mb, name=var, ...)` makes of inputs of these shapes and types."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb

    def body(*given: Any) -> Any:
        return build(mb, *given)

    # The builder reads the inputs' names from the function.
    namespace: dict[str, Any] = {"body": body}
    exec(f"def main({', '.join(inputs)}):\n    return body({', '.join(inputs)})", namespace)
    specs = [mb.TensorSpec(shape=shape, dtype=dtype) for shape, dtype in inputs.values()]
    with quiet():
        program = mb.program(input_specs=specs, opset_version=ct.target.iOS17)(namespace["main"])
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            pass_pipeline=ct.PassPipeline.EMPTY,  # the operation must still be there
            skip_model_load=True,
        )
    model.save(str(path))
    return path


def fp32() -> Any:
    return _mil_type("fp32")


class Case(NamedTuple):
    """An operation: the program, its inputs, and torch's answer to them."""

    operation: str
    build: Callable[..., Any]
    inputs: dict[str, Array]
    expected: Callable[..., Any]


X, Y, IMAGE = noise(2, 3, 4), noise(2, 3, 4), noise(1, 4, 6, 8)
INTEGERS = np.array([[3, -1, 2], [0, 3, -2]], dtype=np.int32)
KERNEL, TURNED = noise(6, 2, 3, 3), noise(4, 5, 2, 2)
TABLE, GAMMA, BETA, BIAS = noise(7, 5), noise(4), noise(4), noise(5)
WEIGHT = noise(5, 4)


def unary(name: str, expected: Callable[..., Any], **parameters: Any) -> Case:
    return Case(name, lambda mb, x: getattr(mb, name)(x=x, **parameters), {"x": X}, expected)


def binary(name: str, expected: Callable[..., Any], a: Array = X, b: Array = Y) -> Case:
    def build(mb: Any, x: Any, y: Any) -> Any:
        result = getattr(mb, name)(x=x, y=y)
        # A boolean cannot leave a program.
        return mb.cast(x=result, dtype="int32") if name in COMPARISONS else result

    return Case(name, build, {"x": a, "y": b}, expected)


COMPARISONS = ("equal", "not_equal", "greater", "greater_equal", "less")

CASES = [
    Case(
        "linear",
        lambda mb, x: mb.linear(x=x, weight=WEIGHT, bias=BIAS),
        {"x": X},
        lambda x: F.linear(x, torch.tensor(WEIGHT), torch.tensor(BIAS)),
    ),
    Case(
        "matmul",
        lambda mb, x, y: mb.matmul(x=x, y=y, transpose_y=True),
        {"x": X, "y": Y},
        lambda x, y: x @ y.mT,
    ),
    Case(
        "matmul",
        lambda mb, x, y: mb.matmul(x=x, y=y, transpose_x=True),
        {"x": X, "y": Y},
        lambda x, y: x.mT @ y,
    ),
    Case(
        "conv",
        lambda mb, x: mb.conv(
            x=x,
            weight=KERNEL,
            strides=[2, 1],
            pad_type="custom",
            pad=[1, 0, 2, 1],
            dilations=[1, 2],
            groups=2,
        ),
        {"x": IMAGE},
        lambda x: F.conv2d(
            F.pad(x, (2, 1, 1, 0)), torch.tensor(KERNEL), stride=(2, 1), dilation=(1, 2), groups=2
        ),
    ),
    Case(
        "conv_transpose",
        lambda mb, x: mb.conv_transpose(
            x=x,
            weight=TURNED,
            bias=BIAS,
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 0, 0, 1],
            output_shape=[1, 5, 11, 15],
        ),
        {"x": IMAGE},
        lambda x: F.conv_transpose2d(x, torch.tensor(TURNED), torch.tensor(BIAS), stride=2)[
            :, :, 1:, :-1
        ],
    ),
    Case(
        "avg_pool",
        lambda mb, x: mb.avg_pool(x=x, kernel_sizes=[2, 3], strides=[2, 1], pad_type="valid"),
        {"x": IMAGE},
        lambda x: F.avg_pool2d(x, (2, 3), (2, 1)),
    ),
    Case(
        "max_pool",
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[2, 3], strides=[2, 1], pad_type="valid"),
        {"x": IMAGE},
        lambda x: F.max_pool2d(x, (2, 3), (2, 1)),
    ),
    unary(
        "layer_norm",
        lambda x: F.layer_norm(x, (4,), torch.tensor(GAMMA), torch.tensor(BETA), 1e-2),
        axes=[-1],
        gamma=GAMMA,
        beta=BETA,
        epsilon=np.float32(1e-2),
    ),
    unary("layer_norm", lambda x: F.layer_norm(x, (3, 4), eps=1e-5), axes=[1, 2]),
    unary("softmax", lambda x: x.softmax(1), axis=1),
    unary("gelu", F.gelu, mode="EXACT"),
    unary("gelu", lambda x: F.gelu(x, approximate="tanh"), mode="TANH_APPROXIMATION"),
    unary("relu", torch.relu),
    unary("relu6", lambda x: x.clamp(0, 6)),
    unary("silu", lambda x: x * x.sigmoid()),
    unary("sigmoid", torch.sigmoid),
    Case(
        "upsample_bilinear",
        lambda mb, x: mb.upsample_bilinear(
            x=x, scale_factor_height=2.0, scale_factor_width=3.0, align_corners=False
        ),
        {"x": IMAGE},
        lambda x: F.interpolate(x, scale_factor=(2.0, 3.0), mode="bilinear"),
    ),
    Case(
        "upsample_nearest_neighbor",
        lambda mb, x: mb.upsample_nearest_neighbor(
            x=x, scale_factor_height=2.0, scale_factor_width=3.0
        ),
        {"x": IMAGE},
        lambda x: F.interpolate(x, scale_factor=(2.0, 3.0), mode="nearest"),
    ),
    binary("add", torch.add, b=noise(3, 1)),
    binary("add", torch.add, a=INTEGERS, b=INTEGERS[:1]),
    binary("sub", torch.sub),
    binary("mul", torch.mul),
    binary("real_div", torch.div),
    binary("maximum", torch.maximum),
    binary("equal", torch.eq, a=INTEGERS, b=INTEGERS[::-1].copy()),
    binary("not_equal", torch.ne, a=INTEGERS, b=INTEGERS[::-1].copy()),
    binary("greater", torch.gt),
    binary("greater_equal", torch.ge, a=INTEGERS, b=INTEGERS[::-1].copy()),
    unary("sin", torch.sin),
    unary("cos", torch.cos),
    Case(
        "select",
        lambda mb, x, y: mb.select(cond=mb.greater(x=x, y=y), a=x, b=y),
        {"x": X, "y": Y},
        torch.maximum,
    ),
    unary("cast", lambda x: x.to(torch.int32), dtype="int32"),
    unary("floor", torch.floor),
    unary("clip", lambda x: x.clamp(-0.5, 0.25), alpha=-0.5, beta=0.25),
    binary("less", lambda x, y: (x < y).int()),
    binary("minimum", torch.minimum),
    unary("reduce_max", lambda x: x.amax((0, 2)), axes=[0, 2], keep_dims=False),
    unary("reduce_min", lambda x: x.amin((0, 2)), axes=[0, 2], keep_dims=False),
    unary("reduce_sum", lambda x: x.sum((0, 2)), axes=[0, 2], keep_dims=False),
    unary("reduce_sum", lambda x: x.sum().reshape(1, 1, 1), keep_dims=True),
    Case(
        "fill",
        lambda mb, x: mb.add(x=x, y=mb.fill(shape=[2, 3, 4], value=1.5)),
        {"x": X},
        lambda x: x + 1.5,
    ),
    unary("reduce_mean", lambda x: x.mean((0, 2)), axes=[0, 2], keep_dims=False),
    unary("reduce_l2_norm", lambda x: x.norm(dim=1, keepdim=True), axes=[1], keep_dims=True),
    unary("reduce_argmax", lambda x: x.argmax(1).int(), axis=1, keep_dims=False),
    unary("reshape", lambda x: x.reshape(4, 6), shape=[4, -1]),
    unary("transpose", lambda x: x.permute(2, 0, 1), perm=[2, 0, -2]),
    unary("expand_dims", lambda x: x[:, None, :, :, None], axes=[1, -1]),
    Case(
        "squeeze",
        lambda mb, x: mb.squeeze(x=x, axes=[0]),
        {"x": IMAGE},
        lambda x: x.squeeze(0),
    ),
    unary("tile", lambda x: x.repeat(2, 1, 3), reps=[2, 1, 3]),
    Case(
        "concat",
        lambda mb, x, y: mb.concat(values=[x, y], axis=1),
        {"x": X, "y": noise(2, 1, 4)},
        lambda x, y: torch.cat([x, y], 1),
    ),
    Case(
        "stack",
        lambda mb, x, y: mb.stack(values=[x, y], axis=1),
        {"x": X, "y": Y},
        lambda x, y: torch.stack([x, y], 1),
    ),
    unary("split", lambda x: x.split((1, 3), 2), split_sizes=[1, 3], axis=2),
    unary("split", lambda x: x.split(2, 2), num_splits=2, axis=2),
    unary(
        "slice_by_index",
        lambda x: x[1, :2, 1:4:2],
        begin=[1, 5, 1],
        end=[2, 2, 4],
        stride=[1, 1, 2],
        begin_mask=[False, True, False],
        squeeze_mask=[True, False, False],
    ),
    unary(
        "slice_by_index",
        lambda x: x[:, -2:],
        begin=[0, -2, 0],
        end=[0, 0, 4],
        end_mask=[True, True, False],
    ),
    Case(
        "pad",
        lambda mb, x: mb.pad(x=x, pad=[0, 0, 0, 0, 0, 2, 1, 3], mode="constant", constant_val=0.5),
        {"x": IMAGE},
        lambda x: F.pad(x, (1, 3, 0, 2), value=0.5),
    ),
    Case(
        "gather",
        lambda mb, x: mb.gather(
            x=TABLE,
            indices=mb.add(x=x, y=np.int32(3)),
            axis=0,
            batch_dims=0,
            validate_indices=False,
        ),
        {"x": INTEGERS},
        lambda x: torch.tensor(TABLE)[x + 3],
    ),
    Case(
        "constexpr_affine_dequantize",
        lambda mb, x: mb.add(
            x=x,
            y=mb.constexpr_affine_dequantize(
                quantized_data=np.array([[-128, 127, 3], [1, 2, -5]], dtype=np.int8),
                zero_point=np.array([1, -2, 0], dtype=np.int8),
                scale=np.array([0.5, 2, 0.25], dtype=np.float32),
                axis=1,
            ),
        ),
        {"x": noise(2, 3)},
        lambda x: x + torch.tensor([[-64.5, 258, 0.75], [0, 8, -1.25]]),
    ),
]


def run(path: Path, inputs: Mapping[str, Array]) -> list[Array]:
    interpreter = MilInterpreter(path)
    found = interpreter.predict(dict(inputs))
    return [found[tensor.name] for tensor in interpreter.outputs]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[list[Array]]:
    """What each case's operation gives; all are in one program, for each takes long to save."""
    types = {np.dtype("float32"): "fp32", np.dtype("int32"): "int32"}
    feed = {
        f"{name}_{number}": array
        for number, case in enumerate(CASES)
        for name, array in case.inputs.items()
    }
    counts: list[int] = []

    def build(mb: Any, *given: Any) -> tuple[Any, ...]:
        left = iter(given)
        results: list[Any] = []
        for case in CASES:
            result = case.build(mb, *itertools.islice(left, len(case.inputs)))
            several = result if isinstance(result, list | tuple) else [result]
            counts.append(len(several))
            results += several
        return tuple(results)

    path = save(
        tmp_path_factory.mktemp("operations") / "all.mlpackage",
        build,
        {name: (array.shape, _mil_type(types[array.dtype])) for name, array in feed.items()},
    )
    found = iter(run(path, feed))
    return [list(itertools.islice(found, count)) for count in counts]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.operation for case in CASES])
def test_operation(answers: list[list[Array]], number: int) -> None:
    case, found = CASES[number], answers[number]
    answer = case.expected(*(torch.tensor(array) for array in case.inputs.values()))
    expected = answer if isinstance(answer, tuple) else (answer,)
    assert len(found) == len(expected)
    for output, each in zip(found, expected, strict=True):
        wanted = each.int() if each.dtype == torch.bool else each
        assert output.shape == tuple(wanted.shape)
        assert output.dtype == wanted.numpy().dtype
        np.testing.assert_allclose(output, wanted.numpy(), rtol=1e-6, atol=1e-6)


def test_every_operation_has_a_case() -> None:
    assert {case.operation for case in CASES} | {"constexpr_lut_to_dense"} == set(OPERATIONS)


def _mil_type(name: str) -> Any:
    import_coremltools()
    from coremltools.converters.mil.mil import types

    return types.string_to_builtin(name)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_palettes(tmp_path: Path, bits: int) -> None:
    """Packed by hand: index after index, the lowest bit first."""
    palette = noise(1 << bits)
    indices = rng.integers(0, 1 << bits, size=(5, 7)).astype(np.uint8)
    stream = np.unpackbits(indices.reshape(-1, 1), axis=1, bitorder="little")[:, :bits]
    packed = np.packbits(stream.flatten(), bitorder="little")
    path = save(
        tmp_path / "one.mlpackage",
        lambda mb, x: mb.add(
            x=x,
            y=mb.constexpr_lut_to_dense(
                indices=packed, lut=palette, shape=np.array([5, 7], dtype=np.uint32)
            ),
        ),
        {"x": ((5, 7), fp32())},
    )
    (found,) = run(path, {"x": np.zeros((5, 7), dtype=np.float32)})
    np.testing.assert_array_equal(found, palette[indices])


def test_rounds_after_each_operation(tmp_path: Path) -> None:
    """As torch does in fp16: once per operation, and to infinity beyond 65504."""
    path = save(
        tmp_path / "half.mlpackage",
        lambda mb, x: mb.cast(
            x=mb.mul(x=mb.add(x=mb.cast(x=x, dtype="fp16"), y=np.float16(0.1)), y=np.float16(300)),
            dtype="fp32",
        ),
        {"x": ((64,), fp32())},
    )
    given = np.linspace(-300, 300, 64, dtype=np.float32)
    (found,) = run(path, {"x": given})
    step = torch.tensor(given).half() + torch.tensor(0.1).half()
    expected = (step * torch.tensor(300.0).half()).float().numpy()
    np.testing.assert_array_equal(found, expected)
    assert np.isinf(found).any()
    assert np.abs(found - (given + 0.1) * 300)[np.isfinite(found)].max() > 1
