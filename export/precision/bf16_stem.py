"""Finds how much of an image encoder's beginning must stay in fp32 where the rest is in bf16.

The first convolutions see the image itself, with few channels: what bf16 rounds away there is
nowhere else. It shows most where an image has little contrast from pixel to pixel, as in the
enlarged crop of a small object.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.functional import cosine_similarity, interpolate
from torch.utils._pytree import tree_leaves, tree_map_only

from export.graphs import Arrays, Graph
from export.precision.mixed_precision import operation_of
from export.precision.program_interpreter import ProgramInterpreter
from export.precision.program_rewriter import fold_constants
from export.steps import Steps

MIN_COSINE = 0.999
"""Of each output with its value in fp32, over all images and their enlarged middles, where it is
several times farther from 1."""

_TRIED = 16  # images, of those that int8 takes its ranges from; emulating takes long

MAX_STEMS = 24
"""So many of the shortest are tried: an error that these leave is not the stem's."""


def find_bf16_stems(
    graphs: Sequence[Graph],
    *,
    programs: Mapping[str, ExportedProgram],
    feeds: Mapping[str, Sequence[Arrays]],
    steps: Steps,
) -> dict[str, str | None]:
    """The stem of each image encoder, by the name of its graph; see `find_bf16_stem`."""
    stems = {}
    for name in (graph.name for graph in graphs if graph.part == "image_encoder"):
        steps.begin(f"finding what bf16 is too coarse for in {name}")
        stems[name] = find_bf16_stem(programs[name], feeds=feeds[name])
    return stems


def find_bf16_stem(program: ExportedProgram, *, feeds: Sequence[Arrays]) -> str | None:
    """Finds the shortest stem that is enough. All that follows it reads its last value alone.

    bf16 is emulated: each operation reads and gives rounded numbers, and sums in fp32, as CPUs do.

    Args:
        program: fp32.
        feeds: `image`, uint8 [1,3,S,S]. Some are tried; the middle of each too, enlarged.

    Returns:
        The name of the value that the stem ends with, in the ONNX file too. None if there need be
        no stem. If none is enough, it is the best one: whether it will do, the gates tell.
    """
    some = feeds[:: -(-len(feeds) // _TRIED)]
    images = [torch.tensor(feed["image"]) for feed in some]
    inputs = [[each] for each in (*map(_enlarged_middle, images), *images)]
    expected = [_outputs(ProgramInterpreter(program), each) for each in inputs]
    best: Node | None = None
    best_cosine = -math.inf
    for stem in (None, *_stems(program)):
        rounded = _Bf16Interpreter(program, in_fp32=_ancestors(stem))
        minimum = math.inf
        for given, wanted in zip(inputs, expected, strict=True):
            minimum = min(minimum, _min_cosine(_outputs(rounded, given), wanted))
            if minimum <= best_cosine:
                break
        else:
            best, best_cosine = stem, minimum
        if best_cosine >= MIN_COSINE:
            break
    return None if best is None else best.name


class _Bf16Interpreter(ProgramInterpreter):
    """Computes in bf16, except for some nodes."""

    def __init__(self, program: ExportedProgram, *, in_fp32: Set[Node]) -> None:
        super().__init__(program)
        self._in_fp32 = in_fp32

    def run_node(self, n: Node) -> Any:
        if operation_of(n) is None or n in self._in_fp32:
            return super().run_node(n)
        args, kwargs = tree_map_only(Tensor, _rounded, self.fetch_args_kwargs_from_env(n))
        return tree_map_only(Tensor, _rounded, self.call_function(n.target, args, kwargs))


def _enlarged_middle(image: Tensor) -> Tensor:
    side = image.shape[-1]
    start, size = side // 2 - side // 16, side // 8
    middle = image[..., start : start + size, start : start + size].float()
    return interpolate(middle, size=(side, side), mode="bilinear").round().to(image.dtype)


def _stems(program: ExportedProgram) -> Iterator[Node]:
    """Yields the ends of stems, the shortest first."""
    constants = fold_constants(program)
    found = (node for node in program.graph.nodes if operation_of(node) and node not in constants)
    waists = (node for node in found if _is_waist(node, constants=constants))
    yield from islice(waists, MAX_STEMS)


def _is_waist(node: Node, *, constants: Container[Node]) -> bool:
    """Whether nothing before the node is read behind it, save parameters and constants."""
    before = _ancestors(node) - {node}
    computed = (each for each in before if each.op == "call_function" and each not in constants)
    return all(user in before or user is node for each in computed for user in each.users)


def _ancestors(node: Node | None) -> Set[Node]:
    """A node and all that it is computed from."""
    waiting, found = [] if node is None else [node], set[Node]()
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += each.all_input_nodes
    return found


def _outputs(interpreter: ProgramInterpreter, inputs: Sequence[Tensor]) -> list[Tensor]:
    for node, value in interpreter.steps(inputs):
        if node.op == "output":
            return [each for each in tree_leaves(value) if isinstance(each, Tensor)]
    raise AssertionError("a program ends with its outputs")


def _min_cosine(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    pairs = zip(found, wanted, strict=True)
    return min(float(cosine_similarity(x.flatten(), y.flatten(), dim=0)) for x, y in pairs)


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.bfloat16().float() if tensor.dtype == torch.float32 else tensor
