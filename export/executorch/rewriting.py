"""Computes a traced graph in other operators, and some of its layers in int8.

Traced again, the new module is a program in these operators. It runs in torch too, where it gives
the numbers of the int8 layers without being lowered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from export.executorch.operators import TABLE

INT8_MIN, INT8_MAX = -128, 127
WEIGHT_MAX = 127

_FUSED = frozenset(
    {
        torch.ops.aten.relu.default,
        torch.ops.aten.relu6.default,
        torch.ops.aten.hardtanh.default,
    }
)
"""Activations that XNNPACK computes with the layer before them."""

_PRODUCTS = frozenset({torch.ops.aten.conv2d.default, torch.ops.aten.linear.default})


@dataclass(frozen=True)
class Layer:
    """A product of an activation and a constant weight.

    Attributes:
        product: the node that multiplies.
        end: the node whose value is rounded: the product, or the activation after it.
    """

    product: fx.Node
    end: fx.Node

    @property
    def input(self) -> fx.Node:
        """The node of the activation that is multiplied."""
        node = self.product.args[0]
        assert isinstance(node, fx.Node)
        return node


@dataclass(frozen=True)
class Grid:
    """The numbers that 8 bits hold: (step - zero_point) x scale, for steps of -128 to 127."""

    scale: float
    zero_point: int

    @classmethod
    def spanning(cls, lowest: float, highest: float) -> Grid:
        """The grid of a range, which is widened until it holds 0."""
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        scale = (highest - lowest) / (INT8_MAX - INT8_MIN) or 1.0
        return cls(scale, zero_point=round(INT8_MIN - lowest / scale))

    def steps(self, x: Tensor) -> Tensor:
        """Rounds numbers to steps, int8."""
        found: Tensor = torch.ops.quantized_decomposed.quantize_per_tensor.default(
            x, self.scale, self.zero_point, INT8_MIN, INT8_MAX, torch.int8
        )
        return found

    def numbers(self, steps: Tensor) -> Tensor:
        """The numbers of steps, float32."""
        found: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor.default(
            steps, self.scale, self.zero_point, INT8_MIN, INT8_MAX, torch.int8
        )
        return found


@dataclass(frozen=True)
class Int8Layer:
    """How a layer computes in int8.

    Attributes:
        weight: int8; -128 is not used.
        scales: float32, one for each output channel, the weight's first axis.
        bias: float32, if there is one. XNNPACK rounds it for this layer's input, so that no other
            layer may share it.
        input: the grid of the activation that is multiplied.
        output: the grid of the product, or of the activation after it.
    """

    weight: Tensor
    scales: Tensor
    bias: Tensor | None
    input: Grid
    output: Grid


def find_layers(module: fx.GraphModule) -> dict[str, Layer]:
    """Lists the layers of a traced graph: the name of a module -> its product.

    A module that is called again has a number after its name.
    """
    found: dict[str, Layer] = {}
    for node in module.graph.nodes:
        if node.target not in _PRODUCTS or not all(map(_is_weight, node.args[1:3])):
            continue
        users = list(node.users)
        fused = len(users) == 1 and users[0].target in _FUSED
        path = next(reversed((node.meta.get("nn_module_stack") or {"": ("", None)}).values()))[0]
        name = path.partition("@")[0] or node.name
        unique = name if name not in found else f"{name}:{node.name}"
        found[unique] = Layer(node, end=users[0] if fused else node)
    return found


class Rewritten(nn.Module):
    """A traced graph that is computed by `TABLE`, with some layers in int8.

    What depends on no input is computed beforehand.

    Args:
        module: the traced graph.
        int8: layer -> how it computes in int8; the others compute in float.
    """

    def __init__(self, module: fx.GraphModule, *, int8: Mapping[str, Int8Layer]) -> None:
        super().__init__()
        self.module = module
        self._constants: dict[fx.Node, str] = {}
        for node, value in _constants(module).items():
            self._constants[node] = f"constant_{node.name}"
            self.register_buffer(self._constants[node], value)
        self._layers = {
            layer.product: (f"int8_{layer.product.name}", int8[name])
            for name, layer in find_layers(module).items()
            if name in int8
        }
        self._ends = {
            layer.end: int8[name].output
            for name, layer in find_layers(module).items()
            if name in int8
        }
        for name, layer in self._layers.values():
            self.register_buffer(f"{name}_weight", layer.weight)
            self.register_buffer(f"{name}_scales", layer.scales)
            if layer.bias is not None:  # torch.export miscounts buffers that are None
                self.register_buffer(f"{name}_bias", layer.bias)
            self.register_buffer(f"{name}_zeros", torch.zeros(len(layer.scales), dtype=torch.int64))

    def forward(self, *feed: Tensor) -> Any:
        """Computes the graph; inputs and outputs are the traced one's."""
        return _Interpreter(self).run(*feed)

    def constant(self, node: fx.Node) -> Tensor | None:
        """The value of a node that depends on no input; None if it depends on some."""
        return getattr(self, self._constants[node]) if node in self._constants else None

    def multiply(self, node: fx.Node, given: Tensor, rest: tuple[Any, ...]) -> Any:
        """Computes the product of a layer in int8 from an activation that is on its grid."""
        name, _ = self._layers[node]
        weight = torch.ops.quantized_decomposed.dequantize_per_channel.default(
            getattr(self, f"{name}_weight"),
            getattr(self, f"{name}_scales"),
            getattr(self, f"{name}_zeros"),
            0,
            -WEIGHT_MAX,
            WEIGHT_MAX,
            torch.int8,
        )
        assert callable(node.target)
        return node.target(given, weight, getattr(self, f"{name}_bias", None), *rest)

    def input_grid(self, node: fx.Node) -> Grid | None:
        """The grid that a node's input is rounded to; None if the node is no layer in int8."""
        return self._layers[node][1].input if node in self._layers else None

    def output_grid(self, node: fx.Node) -> Grid | None:
        """The grid that a node's value is rounded to; None if it is not rounded."""
        return self._ends.get(node)


def _is_weight(value: Any) -> bool:
    """Whether an argument is a tensor of the model as it is, or None."""
    return value is None or (isinstance(value, fx.Node) and value.op == "get_attr")


def _constants(module: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """Computes the nodes that depend on no input, and are no weight as it is."""
    values: dict[fx.Node, Any] = {}
    interpreter = fx.Interpreter(module)
    interpreter.env = values
    with torch.no_grad():
        for node in module.graph.nodes:
            fixed = node.op == "get_attr" or (
                node.op == "call_function" and all(each in values for each in node.all_input_nodes)
            )
            # Expanded at run time: else its copies would be stored.
            if fixed and node.target is not torch.ops.aten.expand.default:
                values[node] = interpreter.run_node(node)
    return {
        node: value.contiguous()
        for node, value in values.items()
        if node.op != "get_attr"
        and isinstance(value, Tensor)
        and any(user not in values for user in node.users)
    }


class _Interpreter(fx.Interpreter):
    """Runs the graph of a `Rewritten`."""

    def __init__(self, owner: Rewritten) -> None:
        super().__init__(owner.module)
        self._owner = owner
        self._steps: dict[fx.Node, tuple[Grid, Tensor]] = {}

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return super().call_function(TABLE.get(target, target), args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        constant = self._owner.constant(n)
        if constant is not None:
            return constant
        grid = self._owner.input_grid(n)
        if grid is None:
            value = super().run_node(n)
        else:
            args, _ = self.fetch_args_kwargs_from_env(n)
            source = n.args[0]
            assert isinstance(source, fx.Node)
            # Rounded once, and read from its steps by each layer, as XNNPACK's patterns ask for.
            grid, steps = self._steps.setdefault(source, (grid, grid.steps(args[0])))
            value = self._owner.multiply(n, grid.numbers(steps), args[3:])
        end = self._owner.output_grid(n)
        if end is not None:
            self._steps[n] = (end, end.steps(value))
        return value

    def map_nodes_to_values(self, args: Any, n: fx.Node) -> Any:
        """What a node reads: of rounded values, numbers of its own.

        XNNPACK cannot lay out one that a convolution reads, and a reader of another layout, too.
        """

        def load(node: fx.Node) -> Any:
            if self._owner.output_grid(node) is None:
                return self.env[node]
            grid, steps = self._steps[node]
            return grid.numbers(steps)

        return fx.node.map_arg(args, load)
