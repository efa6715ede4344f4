"""ONNX files as TensorRT networks: parsed, checked, with an optimisation profile for their axes.

Classic TensorRT 10 (`tensorrt`: JetPack's own, servers) and TensorRT for RTX (`tensorrt_rtx`) share
one code path, which uses only the features of both. Networks are strongly typed: the precision is
in the graph, and an engine computes exactly the ONNX file's operations.
"""

from __future__ import annotations

import functools
import importlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, RuntimeMissingError, VerificationError
from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.runtimes.tensor_checks import FileTensor, check_tensors
from samclip_sdk.runtimes.tensorrt.cuda import Gpu

RTX = "tensorrt_rtx"

Profile: TypeAlias = "Mapping[str, tuple[int, int, int]]"
"""Symbolic axis -> its smallest, usual and greatest length."""

PROFILE: Profile = {"num_texts": (1, 4, 16), "num_prompts": (1, 4, 16), "num_points": (1, 4, 16)}
"""An engine reserves memory for the greatest lengths and is tuned for the usual ones.

More than 16 texts or prompts run in several calls. A prompt has at most 16 points, including SAM's
padding and the corners of a box. The usual 4 are the padding and the three points that text-to-mask
chooses for a label.
"""

DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "UINT8": "uint8"}
"""TensorRT's name -> numpy's name, of the dtypes that inputs and outputs may have."""

_OLDEST = 10  # the first with strongly typed networks on every platform; JetPack 6.1 has 10.3
_KEPT_MESSAGES = 20
# Shapes or control flow that depend on values; and OneHot, with which decoder builds fail.
_FORBIDDEN = frozenset(
    {
        *("ONE_HOT", "NON_ZERO", "NMS"),
        *("TRIP_LIMIT", "RECURRENCE", "ITERATOR", "LOOP_OUTPUT"),
        *("CONDITION", "CONDITIONAL_INPUT", "CONDITIONAL_OUTPUT"),
    }
)


@dataclass(frozen=True)
class ParsedNetwork:
    """A network, and the builder and parser that must live as long: they refer to one another."""

    builder: Any
    network: Any
    parser: Any


def import_tensorrt() -> Any:
    """Imports the installed TensorRT, the classic one if both are installed.

    Raises:
        RuntimeMissingError: none is installed, or it is older than 10.
    """
    reasons, known = [], RUNTIMES["tensorrt"]
    for flavour in known.modules:
        try:
            module = importlib.import_module(flavour)
        except (ImportError, OSError) as error:  # OSError: its libraries do not load
            reasons.append(f"{flavour}: {error}")
            continue
        # TensorRT for RTX has version numbers of its own.
        if flavour == RTX or int(module.__version__.partition(".")[0]) >= _OLDEST:
            return module
        reasons.append(f"{flavour} {module.__version__} is older than {_OLDEST}")
    raise RuntimeMissingError(f"no TensorRT was found ({'; '.join(reasons)}): {known.install}")


@functools.cache
def tensorrt_log(trt: Any) -> Any:
    """The logger of a TensorRT module: one for the process, because TensorRT keeps the first one.

    It prints nothing. `log.reason()` returns TensorRT's last errors, each once.
    """

    class Log(trt.ILogger):  # type: ignore[misc]  # trt is Any
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: deque[str] = deque(maxlen=_KEPT_MESSAGES)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.messages.append(" ".join(message.split()))

        def reason(self) -> str:
            found = "; ".join(dict.fromkeys(self.messages))
            self.messages.clear()
            return found or "TensorRT gave no reason"

    return Log()


def parse_network(path: Path, *, spec: GraphSpec, trt: Any) -> ParsedNetwork:
    """Parses an ONNX file, whose external weights lie beside it, and checks the network.

    Args:
        path: the file's path.
        spec: the graph's contract.
        trt: from `import_tensorrt`.

    Raises:
        BundleError: TensorRT cannot parse it, or it has other inputs or outputs.
        VerificationError: the parsed network breaks a rule of `check_network`.
    """
    log = tensorrt_log(trt)
    builder = trt.Builder(log)
    # TensorRT for RTX has no other networks and takes the same flag.
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        reason = " ".join(errors[0].split()) if errors else log.reason()
        log.messages.clear()
        raise BundleError(f"TensorRT {trt.__version__} cannot parse {path}: {reason}")
    check_network(network, spec=spec, name=path.name)
    return ParsedNetwork(builder=builder, network=network, parser=parser)


def check_network(network: Any, *, spec: GraphSpec, name: str) -> None:
    """Checks a network for faults that TensorRT would build without an error.

    Args:
        network: an INetworkDefinition.
        spec: the graph's contract; fp16 may replace fp32.
        name: the file's name, for errors.

    Raises:
        VerificationError: a layer has a data-dependent shape or control flow or is a OneHot, or the
            values of an input decide on a shape. The message names the layer or tensor.
        BundleError: the inputs and outputs are not the contract's.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name in _FORBIDDEN:
            raise VerificationError(
                f"{name}: the layer {layer.name} is a {layer.type.name}; no layer may depend on "
                "values in its shape or control flow, nor be a OneHot"
            )
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    for tensors, specs in ((inputs, spec.inputs), (outputs, spec.outputs)):
        own = [
            file_tensor(each.name, dtype=each.dtype.name, shape=tuple(each.shape))
            for each in tensors
        ]
        check_tensors(own, specs=specs, where=name, open_axes=True)
    for tensor in inputs:
        if tensor.is_shape_tensor:
            consumer = _consumer(network, tensor=tensor.name)
            raise VerificationError(
                f"{name}: the input {tensor.name} of the layer {consumer} decides on a shape; "
                "shapes may follow from shapes only"
            )


def file_tensor(name: str, *, dtype: str, shape: Sequence[int]) -> FileTensor:
    """A network's or an engine's tensor as a `FileTensor`, for `check_tensors`.

    Args:
        name: the tensor's name.
        dtype: TensorRT's name of the dtype.
        shape: the lengths; -1 for an axis of any length. The profile sets it to the contract's
            length if the contract has one.
    """
    axes = tuple(None if length < 0 else length for length in shape)
    return FileTensor(name, DTYPES.get(dtype, dtype.lower()), axes)


def _consumer(network: Any, *, tensor: str) -> str:
    """The first layer that reads a tensor."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        read = [layer.get_input(input_index) for input_index in range(layer.num_inputs)]
        if any(each is not None and each.name == tensor for each in read):
            return str(layer.name)
    return "(none)"


def axis_lengths(spec: GraphSpec, *, profile: Profile) -> dict[str, tuple[int, int, int]]:
    """The part of a profile that a graph needs.

    Raises:
        ValueError: the graph has an axis that the profile does not have.
    """
    axes = {axis for each in spec.inputs for axis in each.shape if isinstance(axis, str)}
    unknown = axes - set(profile)
    if unknown:
        raise ValueError(f"the profile has no lengths for {', '.join(sorted(unknown))}")
    return {axis: profile[axis] for axis in sorted(axes)}


def builder_config(parsed: ParsedNetwork, *, spec: GraphSpec, profile: Profile, trt: Any) -> Any:
    """The builder's settings: the lengths of the axes, and fp32 without TF32.

    Raises:
        ValueError: the graph has an axis that the profile does not have.
    """
    config = parsed.builder.create_builder_config()
    # TF32 is on by default. Its products have ten-bit mantissas, so that a coordinate above 512 px
    # is off by half a pixel. For more speed there are verified graphs of lower precision.
    config.clear_flag(trt.BuilderFlag.TF32)
    lengths = axis_lengths(spec, profile=profile)
    network = parsed.network
    sizes = [size for at in range(network.num_inputs) for size in network.get_input(at).shape]
    if min(sizes) < 0:
        ranges = parsed.builder.create_optimization_profile()
        for tensor in spec.inputs:
            shapes = [
                [lengths[axis][index] if isinstance(axis, str) else axis for axis in tensor.shape]
                for index in range(3)
            ]
            ranges.set_shape(tensor.name, *shapes)
        config.add_optimization_profile(ranges)
    return config


def aim_at(config: Any, *, gpu: Gpu, trt: Any) -> None:
    """Makes TensorRT for RTX build for `gpu`; classic TensorRT builds for the GPU that it runs on.

    Raises:
        RuntimeMissingError: TensorRT for RTX does not support this GPU.
    """
    if trt.__name__ != RTX:
        return
    known = trt.ComputeCapability.__members__
    target = known.get(f"SM{gpu.compute_capability.replace('.', '')}")
    if target is None:
        names = ", ".join(name for name in known if name.startswith("SM"))
        raise RuntimeMissingError(
            f"TensorRT for RTX {trt.__version__} builds for {names}, not for the compute "
            f"capability {gpu.compute_capability} of {gpu.name}: use NVIDIA's classic TensorRT"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(target, 0)
