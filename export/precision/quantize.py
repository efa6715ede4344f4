"""Quantizes as many layers of a graph to int8 as its gate accepts.

Layers with large errors stay in float, the worst first, until the caller accepts the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.graphs import Arrays
from export.precision.activation_ranges import collect_ranges, open_session
from export.precision.quantized_layers import insert_pairs
from export.precision.search import fewest_in_float
from samclip_sdk.errors import VerificationError

_MEASURED_FEEDS = 4  # enough to find the worst layers; the graph runs on all of them per layer

Accept = Callable[[Path], "str | None"]
"""Returns None for an accepted ONNX file, or the reason why it is refused."""


@dataclass(frozen=True)
class KeptInFloat:
    """A layer that stays in float.

    Attributes:
        layer: its name, `blocks.3.attn.qkv` for instance.
        error: the error of the graph's outputs if only this layer is in int8, see `layer_errors`.
            None if it was not measured, because the caller asked to keep the layer or calibration
            gave it only zeros.
    """

    layer: str
    error: float | None


@dataclass(frozen=True)
class Quantized:
    """A graph in int8.

    Attributes:
        model: the graph with the inputs and outputs of the fp32 graph; its weights are int8.
        layers: the names of the layers in int8, in the graph's order.
        kept_in_float: the other layers, the most sensitive first.
    """

    model: ir.Model
    layers: tuple[str, ...]
    kept_in_float: tuple[KeptInFloat, ...]


def quantize(
    model: ir.Model,
    *,
    graph: str,
    feeds: Sequence[Arrays],
    accept: Accept,
    keep: Collection[str] = (),
) -> Quantized:
    """Quantizes as many layers of a graph as the caller accepts.

    Args:
        model: the fp32 graph with the shapes of its values; it is not changed.
        graph: its name, for messages.
        feeds: realistic calibration inputs.
        accept: the gate. It is called with a file in a temporary folder.
        keep: layers that always stay in float, for instance those that the same part needs at
            another resolution, so that both share all of their weights.

    Returns:
        The accepted graph with the fewest layers in float.

    Raises:
        ValueError: there is no feed, or one holds a number that is not finite.
        VerificationError: the graph is refused even if all layers stay in float.
    """
    ranges = collect_ranges(model, graph=graph, feeds=feeds)
    names = [name for name, peak in ranges.items() if peak > 0 and name not in keep]
    left_out = tuple(KeptInFloat(name, error=None) for name in ranges if name not in names)
    if not names:
        raise VerificationError(f"{graph} has no layer that int8 could compute")
    quantized = insert_pairs(model, layers=names, ranges=ranges)
    refusal = _refusal(quantized, accept=accept)
    if refusal is None:
        return Quantized(quantized, layers=tuple(names), kept_in_float=left_out)
    some = feeds[:: -(-len(feeds) // _MEASURED_FEEDS)]
    errors = layer_errors(model, layers=names, ranges=ranges, feeds=some)
    worst_first = sorted(names, key=errors.__getitem__, reverse=True)
    quantized, count = fewest_in_float(
        worst_first,
        graph=graph,
        build=lambda layers: insert_pairs(model, layers=layers, ranges=ranges),
        refuse=lambda built: _refusal(built, accept=accept),
        refusal=refusal,
    )
    kept = tuple(KeptInFloat(name, error=errors[name]) for name in worst_first[:count])
    layers = tuple(name for name in names if name not in worst_first[:count])
    return Quantized(quantized, layers=layers, kept_in_float=kept + left_out)


def layer_errors(
    model: ir.Model,
    *,
    layers: Sequence[str],
    ranges: Mapping[str, float],
    feeds: Sequence[Arrays],
) -> dict[str, float]:
    """Measures the error of each layer when only this layer is in int8.

    The error is measured at the graph's outputs, not at the layer's. On a trained model the two
    orders had little in common, and only the first found the layers that mattered.

    Returns:
        Layer -> root of the mean squared error over all feeds, relative to the output's own root
        mean square; the largest of all outputs.
    """
    with TemporaryDirectory() as folder:
        expected = list(_run(model, feeds=feeds, folder=Path(folder)))
        power = np.sum([_power(outputs) for outputs in expected], axis=0)
        errors: dict[str, float] = {}
        for layer in layers:
            alone = insert_pairs(model, layers=(layer,), ranges=ranges)
            lost = np.zeros_like(power)
            runs = _run(alone, feeds=feeds, folder=Path(folder))
            for found, wanted in zip(runs, expected, strict=True):
                lost += _power([a - b for a, b in zip(found, wanted, strict=True)])
            errors[layer] = float(np.sqrt(lost / np.maximum(power, 1e-30)).max())
    return errors


def _refusal(model: ir.Model, *, accept: Accept) -> str | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        ir.save(model, path)
        return accept(path)


def _run(
    model: ir.Model, *, feeds: Sequence[Arrays], folder: Path
) -> Iterator[list[NDArray[np.float32]]]:
    """Yields the graph's outputs for each feed."""
    session = open_session(model, folder=folder)
    for feed in feeds:
        yield session.run(None, dict(feed))


def _power(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The sum of squares of each output."""
    return np.array([np.square(output, dtype=np.float64).sum() for output in outputs])
