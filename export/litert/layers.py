"""The layers of a LiteRT file that can be stored in fp16 or computed in int8."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from export.converter import import_litert_converter

OPERATORS = {3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 9: "FULLY_CONNECTED"}
"""The schema's number of an operator that multiplies by a constant -> the quantizer's name."""

MAX_AXES = 4
"""The GPUs of phones take tensors of at most four axes."""


@dataclass(frozen=True)
class Place:
    """A layer in one signature of the file.

    Attributes:
        operator: one of `OPERATORS`.
        scope: a pattern that the quantizer finds this operator by, and no other.
        input: the name of the activation that is multiplied.
        output: the name of the product.
    """

    operator: str
    scope: str
    input: str
    output: str


@dataclass(frozen=True)
class Layer:
    """A product of an activation and a constant weight, which all signatures share.

    Attributes:
        name: the name of its module, "backbone.blocks.0.conv_pw" for instance.
        places: the layer in each signature.
    """

    name: str
    places: tuple[Place, ...]


def find_layers(content: bytes) -> tuple[Layer, ...]:
    """Lists the layers of a .tflite file, in the graph's order."""
    places: dict[int, list[Place]] = {}
    model = _read(content)
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = OPERATORS.get(_code(model, operator))
            weight = graph.tensors[operator.inputs[1]] if kind else None
            if kind is None or weight is None or model.buffers[weight.buffer].data is None:
                continue
            given, product = (
                graph.tensors[each].name.decode()
                for each in (operator.inputs[0], operator.outputs[0])
            )
            place = Place(kind, scope=f"^{re.escape(product)};$", input=given, output=product)
            places.setdefault(weight.buffer, []).append(place)
    names: dict[str, int] = {}
    layers = []
    for found in places.values():
        name = _module_path(found[0].output)
        names[name] = names.get(name, 0) + 1
        unique = name if names[name] == 1 else f"{name}:{names[name]}"
        layers.append(Layer(unique, places=tuple(found)))
    return tuple(layers)


def many_axes(content: bytes) -> Iterator[str]:
    """Yields the tensors of a .tflite file that have more axes than a phone's GPU takes."""
    for graph in _read(content).subgraphs:
        for tensor in graph.tensors:
            if tensor.shape is not None and len(tensor.shape) > MAX_AXES:
                yield f"{tensor.name.decode()} {list(map(int, tensor.shape))}"


def _read(content: bytes) -> Any:
    schema = import_litert_converter("ai_edge_litert.schema_py_generated")
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _code(model: Any, operator: Any) -> int:
    entry = model.operatorCodes[operator.opcodeIndex]
    return int(max(entry.builtinCode, entry.deprecatedBuiltinCode))


def _module_path(tensor: str) -> str:
    """The path of the module that made a tensor.

    The converter names a tensor by its modules, each with its class before its own name:
    "to_litert._ByName/timm.EfficientNet_part/torch.nn.Sequential_0/torch.nn.Conv2d_stem;1".
    """
    steps = [step.rpartition(".")[2] for step in tensor.partition(";")[0].split("/")[2:]]
    return ".".join(step.lstrip("_").partition("_")[2] for step in steps) or tensor
