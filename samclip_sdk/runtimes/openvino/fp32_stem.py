"""Keeps the beginning of a graph in fp32 where the rest of it is computed in bf16.

Marks of single operations cannot be set from Python: they are written into the graph's own format,
from which OpenVINO reads them back.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from samclip_sdk.system.packages import import_openvino

_MARK = {"name": "precise", "version": "0"}
_STORED = frozenset({"Const", "Parameter", "Result"})


def read_with_fp32_stem(core: Any, path: Path, *, until: str, folder: Path) -> Any:
    """Reads an ONNX graph and marks what computes one of its values: it stays in fp32.

    Args:
        core: OpenVINO's Core.
        path: the .onnx file.
        until: the name of the value. If there is none of that name, nothing is marked.
        folder: an empty folder. It gets a copy of the graph, which the result reads.

    Raises:
        RuntimeError: OpenVINO cannot read the file.
    """
    model = core.read_model(str(path))
    kept = {each.get_friendly_name() for each in _computes(model, until)}
    if not kept:
        return model
    graph, weights = folder / "graph.xml", folder / "graph.bin"
    import_openvino().serialize(model, str(graph), str(weights))
    tree = ET.parse(graph)
    for layer in tree.iterfind("./layers/layer"):
        if layer.get("name") in kept and layer.get("type") not in _STORED:
            _mark(layer)
    tree.write(graph)
    return core.read_model(str(graph), str(weights))


def _computes(model: Any, value: str) -> list[Any]:
    """The operations that a value comes from, the one that gives it included."""
    found: list[Any] = []
    waiting = [
        node
        for node in model.get_ordered_ops()
        if any(value in output.get_names() for output in node.outputs())
    ]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in seen:
            seen.add(node.get_friendly_name())
            found.append(node)
            waiting += [each.get_source_output().get_node() for each in node.inputs()]
    return found


def _mark(layer: ET.Element) -> None:
    info = layer.find("rt_info")
    if info is None:
        info = ET.Element("rt_info")
        layer.insert(0 if layer.find("data") is None else 1, info)
    ET.SubElement(info, "attribute", _MARK)
