"""Operators that onnxruntime's optimiser fuses several into, replaced by those.

A file that was saved after that optimisation holds them, in the domain com.microsoft. What an operator of
the kind computes is what its parts compute, up to rounding. Where the user has entered a gradient rule for
one, it stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backward import Refusal
from ..builder import Builder, Value, sigmoid, sqrt, tanh
from ..graph import Graph, Node
from ..rules import RULES

_MICROSOFT = "com.microsoft"

# The names of the numbers in ``activation_params`` of a FusedConv.
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max")}
_WITHOUT_PARAMETERS = {"Relu", "Tanh", "Sigmoid", "HardSwish"}
# What a FusedGemm may end with; its numbers are ``activation_alpha`` and so on.
_OF_GEMM = {
    *("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "HardSigmoid", "Selu", "Softplus", "Softsign"),
    *("ThresholdedRelu", "Celu"),
}


class _Parts(Builder):
    """Appends what stands for one node; results of the same name as the node's take its place."""

    def __init__(self, graph: Graph, node: Node) -> None:
        super().__init__(graph, node.outputs[0], graph.type(node.outputs[0]).dtype)
        self.node = node

    def given(self, i: int) -> Value | None:
        """Input `i`, or None where it is left out."""
        inputs = self.node.inputs
        return self.named(inputs[i]) if i < len(inputs) and inputs[i] else None

    def input(self, i: int) -> Value:
        """Input `i`, which has to be there."""
        return self.named(self.node.inputs[i])

    def attr(self, name: str, default: Any) -> Any:
        """An attribute, text decoded."""
        value = self.node.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def without(self, *names: str) -> dict[str, Any]:
        """The other attributes."""
        return {k: v for k, v in self.node.attrs.items() if k not in names}


def _convolution(p: _Parts) -> Value:
    """Conv, then the sum with Z, then the activation."""
    inputs = [p.input(0), p.input(1), *([] if p.given(2) is None else [p.input(2)])]
    y = p.op("Conv", *inputs, **p.without("activation", "activation_params"))
    if (z := p.given(3)) is not None:
        y = y + z
    name, numbers = p.attr("activation", ""), list(p.attr("activation_params", ()))
    if not name:
        return y
    if name in _WITHOUT_PARAMETERS:
        return p.op(name, y)
    if name not in _PARAMETERS or len(numbers) != len(_PARAMETERS[name]):
        raise Refusal(f"its activation is {name}")
    if name == "Clip":
        return p.op("Clip", y, *numbers)
    return p.op(name, y, **dict(zip(_PARAMETERS[name], numbers, strict=True)))


def _gemm(p: _Parts) -> Value:
    of_activation = {k: v for k, v in p.node.attrs.items() if k.startswith("activation")}
    y = p.op("Gemm", *p.node.inputs, **p.without(*of_activation))
    name = p.attr("activation", "")
    if name and name not in _OF_GEMM:
        raise Refusal(f"its activation is {name}")
    numbers = {k.removeprefix("activation_"): v for k, v in of_activation.items() if k != "activation"}
    return p.op(name, y, **numbers) if name else y


def _product(p: _Parts) -> Value:
    """MatMul of operands that may be transposed, and whose first axis may come last of the leading ones."""
    a, b = (_operand(p, k) for k in range(2))
    y = p.op("MatMul", a, b)
    alpha = p.attr("alpha", 1.0)
    return y if alpha == 1 else y * alpha


def _operand(p: _Parts, i: int) -> Value:
    x, which = p.input(i), "AB"[i]
    rank = len(x.shape)
    order = list(range(rank))
    if p.attr(f"transBatch{which}", 0) and rank > 2:
        order = [*order[1:-1], 0, rank - 1]
    if p.attr(f"trans{which}", 0) and rank > 1:
        order[-2:] = order[:-3:-1]
    return x if order == list(range(rank)) else p.op("Transpose", x, perm=order)


def _gelu(p: _Parts) -> Value:
    """By Erf, of the sum with a bias if there is one."""
    x = _with_bias(p)
    return x * 0.5 * (1 + p.op("Erf", x * np.sqrt(0.5)))


def _fast_gelu(p: _Parts) -> Value:
    """By Tanh, of the sum with a bias if there is one."""
    x = _with_bias(p)
    return x * 0.5 * (1 + tanh((x + x * x * x * 0.044715) * np.sqrt(2 / np.pi)))


def _quick_gelu(p: _Parts) -> Value:
    (x, alpha) = p.input(0), p.attr("alpha", 1.702)
    return x * sigmoid(x * alpha if alpha != 1 else x)


def _with_bias(p: _Parts) -> Value:
    bias = p.given(1)
    return p.input(0) if bias is None else p.input(0) + bias


def _skipped(p: _Parts, bias: int) -> Value:
    """The sum that is normalised, which the last output gives away."""
    if any(p.node.outputs[1:3]):
        raise Refusal("its statistics are outputs")
    total = p.input(0) + p.input(1)
    if (shift := p.given(bias)) is not None:
        total = total + shift
    if len(p.node.outputs) > 3 and p.node.outputs[3]:
        p.graph.add("Identity", [total], output=p.node.outputs[3])
    return total


def _skip_layer_normalization(p: _Parts) -> Value:
    total, shift = _skipped(p, 4), p.given(3)
    inputs = [total, p.input(2), *([] if shift is None else [shift])]
    return p.op("LayerNormalization", *inputs, axis=-1, epsilon=p.attr("epsilon", 1e-12))


def _skip_root_mean_square(p: _Parts) -> Value:
    return _root_mean_square(p, _skipped(p, 3), p.input(2), [-1], p.attr("epsilon", 1e-12))


def _simplified_layer_normalization(p: _Parts) -> Value:
    if any(p.node.outputs[1:]):
        raise Refusal("its statistics are an output")
    x, rank = p.input(0), len(p.input(0).shape)
    axes = list(range(p.attr("axis", -1) % rank, rank))
    return _root_mean_square(p, x, p.input(1), axes, p.attr("epsilon", 1e-5))


def _root_mean_square(p: _Parts, x: Value, scale: Value, axes: list[int], epsilon: float) -> Value:
    return x / sqrt(p.mean(x * x, axes, keepdims=True) + epsilon) * scale


_LOWERINGS: dict[str, Callable[[_Parts], Value]] = {
    f"{_MICROSOFT}:FusedConv": _convolution,
    f"{_MICROSOFT}:FusedGemm": _gemm,
    f"{_MICROSOFT}:FusedMatMul": _product,
    f"{_MICROSOFT}:TransposeMatMul": _product,
    f"{_MICROSOFT}:Gelu": _gelu,
    f"{_MICROSOFT}:BiasGelu": _gelu,
    f"{_MICROSOFT}:FastGelu": _fast_gelu,
    f"{_MICROSOFT}:QuickGelu": _quick_gelu,
    f"{_MICROSOFT}:SkipLayerNormalization": _skip_layer_normalization,
    f"{_MICROSOFT}:SkipSimplifiedLayerNormalization": _skip_root_mean_square,
    # onnxruntime writes it into ONNX's own domain, where no opset defines it
    "SimplifiedLayerNormalization": _simplified_layer_normalization,
}
FUSED = frozenset(_LOWERINGS)


def unfuse(graph: Graph) -> None:
    """Replace fused operators by their parts, in place."""
    if not any(node.op in FUSED for node in graph.nodes):
        return
    nodes, graph.nodes = graph.nodes, []
    for node in nodes:
        if node.op not in FUSED or node.op in RULES.entries or not _lowers(graph, node):
            graph.nodes.append(node)
    graph.infer_types()


def _lowers(graph: Graph, node: Node) -> bool:
    """Append what stands for a node; False, and nothing appended, where that is not known."""
    start = len(graph.nodes)
    try:
        result = _LOWERINGS[node.op](_Parts(graph, node))
    except Refusal:  # it stays, and the walker refuses it by name if it lies on the path
        del graph.nodes[start:]
        return False
    last = graph.nodes[-1]
    assert last.outputs == [result]
    last.outputs, last.name = [node.outputs[0]], node.name or node.outputs[0]
    return True
