"""The gate: an ONNX file's names, axes, types and values, against the contract and eager torch."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from export.external_weights import WeightPrecision
from export.graphs import Graph
from export.probes import Probe
from samclip_sdk.errors import VerificationError
from samclip_sdk.goldens import golden_error
from samclip_sdk.manifest import Measurement, Parity, TensorSpec

Pair: TypeAlias = "tuple[NDArray[np.generic], NDArray[np.generic]]"

MAX_ERROR: dict[WeightPrecision, float] = {"fp32": 1e-4, "fp16": 1e-2}
"""Bound of max|output - reference| / max|reference|, for every output."""
MIN_COSINE: dict[WeightPrecision, float] = {"fp32": 0.99999, "fp16": 0.9999}
"""Bound of the cosine between an embedding and its reference."""
MIN_IOU: dict[WeightPrecision, float] = {"fp32": 0.999, "fp16": 0.99}
"""Bound of the mean IoU of the masks and their reference at low resolution. Of trained weights
only: random ones draw noise, which is all edge."""

EMBEDDINGS = frozenset({"patch_embeddings", "image_embedding", "text_embeddings"})
_ONNX_TYPES = {
    "uint8": "tensor(uint8)",
    "int32": "tensor(int32)",
    "float32": "tensor(float)",
}


def check_parity(
    path: Path,
    *,
    graph: Graph,
    probes: Sequence[Probe],
    weights: WeightPrecision,
    random_weights: bool,
) -> Parity:
    """Runs an ONNX file in onnxruntime on the CPU and compares it with eager torch.

    Args:
        path: of the .onnx file, its external data beside it.
        graph: what it must be.
        probes: inputs and eager torch's outputs.
        weights: how the file stores them; decides the bounds.
        random_weights: numeric gates only.

    Returns:
        What was measured, and the bounds that it kept.

    Raises:
        VerificationError: a name, axis, type, shape or value is not what it must be.
    """
    session = _open(path)
    _check_signature(session.get_inputs(), expected=graph.inputs, name=graph.name)
    _check_signature(session.get_outputs(), expected=graph.outputs, name=graph.name)
    pairs: dict[str, list[Pair]] = {spec.name: [] for spec in graph.outputs}
    for probe in probes:
        found = session.run(list(pairs), dict(probe.feed))
        for name, output in zip(pairs, found, strict=True):
            expected = probe.expected[name]
            if output.shape != expected.shape or output.dtype != expected.dtype:
                raise VerificationError(
                    f"{graph.name}: {name} is {output.dtype}{list(output.shape)}, "
                    f"eager torch gives {expected.dtype}{list(expected.shape)}"
                )
            pairs[name].append((output, expected))
    measured = []
    for name, outputs in pairs.items():
        error = max(golden_error(output, expected=wanted, step=1) for output, wanted in outputs)
        measured.append(_accept(f"max_error/{name}", error, bound=MAX_ERROR[weights], graph=graph))
        if name in EMBEDDINGS:
            cosine = min(_min_cosine(pair) for pair in outputs)
            measured.append(
                _accept(f"min_cosine/{name}", cosine, bound=MIN_COSINE[weights], graph=graph)
            )
        if name == "low_res_masks" and not random_weights:
            iou = float(np.mean([_mean_iou(pair) for pair in outputs]))
            measured.append(_accept(f"mean_iou/{name}", iou, bound=MIN_IOU[weights], graph=graph))
    return Parity(measured_on=_machine(), measurements=tuple(measured))


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # half the peak memory of a 1024-px encoder
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _check_signature(
    found: Sequence[ort.NodeArg], *, expected: Sequence[TensorSpec], name: str
) -> None:
    has = [(node.name, node.type, tuple(node.shape)) for node in found]
    wants = [(spec.name, _ONNX_TYPES[spec.dtype], spec.shape) for spec in expected]
    if has != wants:
        raise VerificationError(f"{name} has the tensors {has}, its contract says {wants}")


def _accept(metric: str, measured: float, *, bound: float, graph: Graph) -> Measurement:
    better: Literal["lower", "higher"] = "lower" if metric.startswith("max_error") else "higher"
    kept = measured <= bound if better == "lower" else measured >= bound
    if not kept:
        raise VerificationError(
            f"{graph.name} in onnxruntime is not eager torch: {metric} is {measured:.3g}, "
            f"its bound {bound:g}"
        )
    return Measurement(metric=metric, measured=measured, bound=bound, better=better)


def _min_cosine(pair: Pair) -> float:
    """The least cosine between rows of unit length."""
    output, expected = pair
    return min(
        1.0, float((output.astype(np.float64) * expected.astype(np.float64)).sum(axis=-1).min())
    )


def _mean_iou(pair: Pair) -> float:
    """Mean IoU over the masks [K,4,H,W] of two sets of logits; 1 where both are empty."""
    output, expected = (logits.astype(np.float32) > 0 for logits in pair)
    intersection = (output & expected).sum(axis=(2, 3))
    union = (output | expected).sum(axis=(2, 3))
    return float(np.mean(np.where(union > 0, intersection / np.maximum(union, 1), 1.0)))


def _machine() -> str:
    system = f"{platform.system()} {platform.machine()}"
    return f"onnxruntime {ort.__version__} CPUExecutionProvider, {system}"
