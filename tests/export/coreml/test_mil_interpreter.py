"""Operations by themselves against torch, through a package on the disk: those of no tiny graph.

Other operations are compared by whole graphs, in test_to_coreml.py, in
test_every_part_on_every_runtime.py and, of `text_to_mask`, by the gate of each export.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
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


IMAGE = noise(1, 4, 6, 8)
KERNEL, TURNED, BIAS = noise(6, 2, 3, 3), noise(4, 5, 2, 2), noise(5)


def run(path: Path, inputs: Mapping[str, Array]) -> list[Array]:
    interpreter = MilInterpreter(path)
    found = interpreter.predict(dict(inputs))
    return [found[tensor.name] for tensor in interpreter.outputs]


def test_operations_that_no_tiny_graph_has(tmp_path: Path) -> None:
    """Convolutions with paddings, strides, dilations and groups; a constant; a sum of all."""
    path = save(
        tmp_path / "all.mlpackage",
        lambda mb, x: (
            mb.conv(
                x=x,
                weight=KERNEL,
                strides=[2, 1],
                pad_type="custom",
                pad=[1, 0, 2, 1],
                dilations=[1, 2],
                groups=2,
            ),
            mb.conv_transpose(
                x=x,
                weight=TURNED,
                bias=BIAS,
                strides=[2, 2],
                pad_type="custom",
                pad=[1, 0, 0, 1],
                output_shape=[1, 5, 11, 15],
            ),
            mb.add(x=x, y=mb.fill(shape=[1, 4, 6, 8], value=1.5)),
            mb.reduce_sum(x=x, keep_dims=True),
        ),
        {"x": (IMAGE.shape, fp32())},
    )
    x, kernel, turned = (torch.tensor(each) for each in (IMAGE, KERNEL, TURNED))
    padded = F.pad(x, (2, 1, 1, 0))
    wider = F.conv_transpose2d(x, turned, torch.tensor(BIAS), stride=2)
    expected = (
        F.conv2d(padded, kernel, stride=(2, 1), dilation=(1, 2), groups=2),
        wider[:, :, 1:, :-1],
        x + 1.5,
        x.sum().reshape(1, 1, 1, 1),
    )
    for found, wanted in zip(run(path, {"x": IMAGE}), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-5, strict=True)


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
