"""Stores the weights of a LiteRT file in fp16, or computes as many layers in int8 as accepted.

int8 is symmetric for weights, with a scale for each output channel; activations have one scale and
zero point, from the smallest and the largest value that calibration saw. Layers with large errors
stay in float, the worst first, with weights in fp16.

Depthwise convolutions keep their weights in fp32. They have a twentieth of all, and with BatchNorm
folded in, those of some channels are so large that fp16 costs more there than anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from export.buckets import bucket_axes, bucket_name
from export.converter import import_litert_converter
from export.graphs import Arrays, Graph
from export.litert.layers import Layer, find_layers
from export.precision.search import Found, most_in_int8
from export.quiet import quiet
from samclip_sdk.runtimes.buckets import Buckets
from samclip_sdk.runtimes.tensor_checks import check_feed

Ranges = Mapping[str, Mapping[str, Any]]
"""Tensor -> its smallest and its largest value."""
Run = Callable[[bytes], "Sequence[Arrays]"]
"""Runs a .tflite file on some feeds."""

_TABLE = "EMBEDDING_LOOKUP"
_DEPTHWISE = "DEPTHWISE_CONV_2D"


def store_half(content: bytes) -> bytes:
    """Stores the weights of every layer and the table of tokens in fp16."""
    return _write(content, layers=find_layers(content), in_int8=(), ranges=None)


def quantize(
    content: bytes,
    *,
    graph: Graph,
    feeds: Sequence[Arrays],
    refuse: Callable[[bytes], str | None],
    run: Run,
    worst_first: Sequence[str],
) -> Found[bytes]:
    """Computes as many layers of a graph in int8 as the caller accepts.

    Args:
        content: the .tflite file in fp32.
        graph: the graph that it was made from.
        feeds: realistic calibration inputs.
        refuse: returns the reason why a file is refused, or None.
        run: runs a file on the feeds by which the layers are compared.
        worst_first: the order in which layers stay in float, if it is known; empty if it is to be
            measured.

    Raises:
        VerificationError: the graph is refused even if all but one of its layers stay in float.
    """
    layers = find_layers(content)
    ranges = _collect_ranges(content, layers=layers, feeds=_bucket_feeds(graph, feeds))
    return most_in_int8(
        [layer.name for layer in layers],
        graph=graph.name,
        build=lambda names: _write(content, layers=layers, in_int8=names, ranges=ranges),
        refuse=refuse,
        run=run,
        expected=lambda: run(content),
        worst_first=worst_first,
    )


def _write(
    content: bytes, *, layers: Sequence[Layer], in_int8: Collection[str], ranges: Ranges | None
) -> bytes:
    """Writes a file with some layers in int8, and the weights of most others in fp16."""
    recipe = _recipe()
    half = import_litert_converter(
        "ai_edge_quantizer.algorithm_manager"
    ).AlgorithmName.FLOAT_CASTING
    recipe.add_weight_only_config(".*", _TABLE, 16, algorithm_key=half)
    for layer in layers:
        for place in layer.places:
            if layer.name in in_int8:
                recipe.add_static_config(place.scope, place.operator, 8, 8)
            elif place.operator != _DEPTHWISE:
                recipe.add_weight_only_config(place.scope, place.operator, 16, algorithm_key=half)
    module = import_litert_converter("ai_edge_quantizer.quantizer")
    quantizer = module.Quantizer(memoryview(content), recipe.get_quantization_recipe())
    given = dict(ranges) if in_int8 and ranges else None
    with quiet():
        return bytes(quantizer.quantize(given, enable_progress_report=False).quantized_model)


def _collect_ranges(
    content: bytes, *, layers: Sequence[Layer], feeds: Mapping[str, Sequence[Arrays]]
) -> Ranges:
    """Runs every signature on its feeds; a layer has the same ranges in all of them."""
    recipe = _recipe()
    for place in (place for layer in layers for place in layer.places):
        recipe.add_static_config(place.scope, place.operator, 8, 8)
    module = import_litert_converter("ai_edge_quantizer.calibrator")
    update = import_litert_converter("ai_edge_quantizer.utils.qsv_utils").min_max_update
    with quiet():
        calibrator = module.Calibrator(memoryview(content), num_threads=1, qsv_update_func=update)
        calibrator.calibrate(feeds, recipe)
    ranges: dict[str, Any] = calibrator.get_model_qsvs()
    for layer in layers:
        places = layer.places
        for names in ([each.input for each in places], [each.output for each in places]):
            lowest = min(float(np.min(ranges[name]["min"])) for name in names)
            highest = max(float(np.max(ranges[name]["max"])) for name in names)
            for name in names:  # the arrays have one number, and as many axes as the tensor
                seen = ranges[name]
                ranges[name] = {
                    **seen,
                    "min": np.full_like(seen["min"], lowest),
                    "max": np.full_like(seen["max"], highest),
                }
    return ranges


def _bucket_feeds(graph: Graph, feeds: Sequence[Arrays]) -> dict[str, list[Arrays]]:
    """Signature -> all feeds, cut and padded to its lengths."""
    found: dict[str, list[Arrays]] = {}
    for axes in bucket_axes(graph):
        bucket = Buckets(graph.contract(), lengths=[axes], where=graph.name)
        found[bucket_name(axes)] = [
            bucket.pad(part)
            for feed in feeds
            for part in bucket.calls(feed, axes=check_feed(feed, inputs=graph.inputs))
        ]
    return found


def _recipe() -> Any:
    return import_litert_converter("ai_edge_quantizer.recipe_manager").RecipeManager()
