"""Operations by themselves against torch, through a package on the disk: those of no tiny graph.

Other operations are compared by whole graphs, in test_to_coreml.py, in
test_every_part_on_every_runtime.py and, of `text_to_mask`, by the gate of each export.
"""

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
from export.quiet import quiet
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
    import_coremltools()
    from coremltools.converters.mil.mil import types

    return types.fp32


class Case(NamedTuple):
    """An operation: the program, its inputs, and torch's answer to them."""

    operation: str
    build: Callable[..., Any]
    inputs: dict[str, Array]
    expected: Callable[..., Any]


X, Y, IMAGE = noise(2, 3, 4), noise(2, 3, 4), noise(1, 4, 6, 8)
KERNEL, TURNED, BIAS = noise(6, 2, 3, 3), noise(4, 5, 2, 2), noise(5)


def unary(name: str, expected: Callable[..., Any], **parameters: Any) -> Case:
    return Case(name, lambda mb, x: getattr(mb, name)(x=x, **parameters), {"x": X}, expected)


CASES = [
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
        "fill",
        lambda mb, x: mb.add(x=x, y=mb.fill(shape=[2, 3, 4], value=1.5)),
        {"x": X},
        lambda x: x + 1.5,
    ),
    unary("floor", torch.floor),
    unary("clip", lambda x: x.clamp(-0.5, 0.25), alpha=-0.5, beta=0.25),
    Case("minimum", lambda mb, x, y: mb.minimum(x=x, y=y), {"x": X, "y": Y}, torch.minimum),
    unary("reduce_min", lambda x: x.amin((0, 2)), axes=[0, 2], keep_dims=False),
    unary("reduce_sum", lambda x: x.sum((0, 2)), axes=[0, 2], keep_dims=False),
    unary("reduce_sum", lambda x: x.sum().reshape(1, 1, 1), keep_dims=True),
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
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[Array]:
    """What each case's operation gives; all are in one program, for each takes long to save."""
    feed = {
        f"{name}_{number}": array
        for number, case in enumerate(CASES)
        for name, array in case.inputs.items()
    }

    def build(mb: Any, *given: Any) -> tuple[Any, ...]:
        left = iter(given)
        return tuple(case.build(mb, *itertools.islice(left, len(case.inputs))) for case in CASES)

    path = save(
        tmp_path_factory.mktemp("operations") / "all.mlpackage",
        build,
        {name: (array.shape, fp32()) for name, array in feed.items()},
    )
    return run(path, feed)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.operation for case in CASES])
def test_operation(answers: list[Array], number: int) -> None:
    case, found = CASES[number], answers[number]
    expected = case.expected(*(torch.tensor(array) for array in case.inputs.values())).numpy()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


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
