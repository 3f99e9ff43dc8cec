"""Quantised networks: de-quantisation before, the straight-through estimator behind.

An operator on quantised numbers, such as QLinearConv, is replaced by DequantizeLinear, the same
operator in floating point, and QuantizeLinear. What it computes stays the same up to one step of
the quantisation, since sums are rounded in another place. Operators that only move such numbers
about, or take their maximum, are treated alike and stay exact.

Rounding has derivative zero almost everywhere. QuantizeLinear therefore has the straight-through
estimator of Bengio, Leonard and Courville (2013): that of x / scale where the result lies inside
the range of its type, and zero where it is clipped. Scales count as constants, those that
DynamicQuantizeLinear computes included. Gradients of integer tensors are those of real numbers
in their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper

from .backward import Refusal, Step
from .graph import Graph, Node, TensorType
from .rules import RULES, masked, rule

_MICROSOFT = "com.microsoft:"
_FLOAT = np.dtype(np.float32)
# Operators that give quantised numbers the scale of their first input.
MOVES = {
    *("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity"),
    *("DepthToSpace", "SpaceToDepth", "Expand", "Tile"),
}

RULES.integers |= {"QuantizeLinear", "DynamicQuantizeLinear"}


@rule("QuantizeLinear")
def _(s: Step, i: int) -> str:
    """Straight through inside the range of its type, zero where it clips. The scale must be constant."""
    if i:
        raise Refusal("its scale depends on the image")
    scale = _along_axis(s, s.value(1).astype(np.float64))
    dtype = s.graph.type(s.y).dtype
    if not np.issubdtype(dtype, np.integer):
        raise Refusal(f"it quantises to {dtype}")
    zero = _along_axis(s, s.value(2).astype(np.float64)) if s.has(2) else 0.0
    limits = np.iinfo(dtype)
    # rounding to the nearest, half a step beyond the range still rounds into it
    low, high = (scale * (limit - zero) for limit in (limits.min - 0.5, limits.max + 0.5))
    g = s.op("Div", s.g, s.const(scale))
    g = masked(s, s.op("GreaterOrEqual", s.x[0], s.const(low)), g)
    return masked(s, s.op("LessOrEqual", s.x[0], s.const(high)), g)


@rule("DequantizeLinear")
def _(s: Step, i: int) -> str:
    dtype = s.graph.type(s.x[1]).dtype
    if i:
        return _scale_gradient(s, dtype)
    if s.graph.constant(s.x[1]) is None:  # that of DynamicQuantizeLinear, for the whole tensor
        if math.prod(s.shape(s.x[1])) > 1:
            raise Refusal("its scales are computed at run time")
        return s.op("Mul", s.g, s.x[1])
    return s.op("Mul", s.g, s.const(_along_axis(s, s.value(1)), dtype))


def _scale_gradient(s: Step, dtype: np.dtype[Any]) -> str:
    zero = _along_axis(s, s.value(2)) if s.has(2) else 0
    steps = s.op("Cast", s.x[0], to=helper.np_dtype_to_tensor_dtype(dtype))
    product = s.op("Mul", s.g, s.op("Sub", steps, s.const(zero, dtype)))
    shape = s.shape(s.x[1])
    rank = len(s.shape(s.x[0]))
    others = [k for k in range(rank) if not shape or shape == (1,) or k != s.attr("axis", 1) % rank]
    total = s.op("ReduceSum", product, s.ints(others), keepdims=0, noop_with_empty_axes=1)
    return s.reshape(total, shape)


@rule("DynamicQuantizeLinear")
def _(s: Step, i: int) -> str | None:
    """Straight through; the scale that it computes counts as constant."""
    return None if s.grads[0] is None else s.op("Div", s.g, s.node.outputs[1])


def _along_axis(s: Step, value: np.ndarray) -> np.ndarray:
    """A parameter per tensor or per axis, in a shape that broadcasts over the tensor."""
    if value.size > 1 and s.attr("block_size", 0):
        raise Refusal("it quantises by blocks")
    return along_axis(value, s.attr("axis", 1), len(s.shape(s.x[0])))


def along_axis(value: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A parameter per tensor or per axis, in a shape that broadcasts over a tensor of that rank."""
    shape = [1] * rank
    if value.size > 1:
        shape[axis % rank] = value.size
    return value.reshape(shape)


# -- operators on quantised numbers


@dataclass(frozen=True)
class Scale:
    """The names of a scale and a zero point."""

    scale: str
    zero: str


class _Lowering:
    """Rewrites the nodes of a graph one by one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.scales: dict[str, Scale] = {}  # of the quantised tensors seen so far
        self.real: dict[str, str] = {}  # integer tensors whose float form exists

    def run(self) -> None:
        for node in self.graph.nodes:
            if node.op in LOWERED and self.lowers(node):
                continue
            if node.op == "Cast" and node.inputs[0] in self.real:
                self.add("Cast", [self.real[node.inputs[0]]], node.outputs[0], **node.attrs)
            elif node.op in MOVES and node.inputs[0] in self.scales and len(node.outputs) == 1:
                self.move(node)
            else:
                self.nodes.append(node)
                if node.op == "QuantizeLinear" and self.is_single(node.inputs[1]):
                    zero = node.inputs[2] if len(node.inputs) > 2 else self.constant(np.uint8(0))
                    self.scales[node.outputs[0]] = Scale(node.inputs[1], zero)
        self.graph.nodes = self.nodes

    def is_single(self, scale: str) -> bool:
        """Whether a scale is one for the whole tensor, and so that of its parts, however they are moved."""
        return math.prod(self.graph.shape(scale)) == 1

    def lowers(self, node: Node) -> bool:
        try:
            _LOWERINGS[node.op](self, node)
        except Refusal:  # it stays, and the walker refuses it by name if it lies on the path
            return False
        return True

    def constant(self, value: Any) -> str:
        return self.graph.add_constant(np.asarray(value))

    def add(self, op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        self.nodes.append(Node(op, inputs, [output], attrs, output))
        return output

    def made(self, op: str, inputs: list[str], like: str, **attrs: Any) -> str:
        """A float tensor of the shape of another."""
        name = self.graph.fresh(f"{like}/{op}")
        self.graph.types[name] = TensorType(self.graph.shape(like), _FLOAT)
        return self.add(op, inputs, name, **attrs)

    def dequantized(self, name: str, by: Scale, axis: int = 1) -> str:
        """The float form of a quantised tensor; a constant at once."""
        value, scale, zero = (self.graph.constant(n) for n in (name, by.scale, by.zero))
        if value is None or scale is None or zero is None:
            return self.made("DequantizeLinear", [name, by.scale, by.zero], name, axis=axis)
        scale, zero = (along_axis(a, axis, value.ndim) for a in (scale, zero))
        real = (value.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
        return self.constant(real.astype(np.float32))

    def quantized(self, node: Node, real: str, by: Scale) -> None:
        """Make the node's output of its float form."""
        self.add("QuantizeLinear", [real, by.scale, by.zero], node.outputs[0])
        self.scales[node.outputs[0]] = by

    def move(self, node: Node) -> None:
        by = self.scales[node.inputs[0]]
        real = self.dequantized(node.inputs[0], by)
        moved = self.made(node.op, [real, *node.inputs[1:]], node.outputs[0], **node.attrs)
        self.quantized(node, moved, by)


def _groups(names: list[str]) -> list[tuple[str, Scale]]:
    """(tensor, scale, zero point) three by three."""
    return [(names[k], Scale(names[k + 1], names[k + 2])) for k in range(0, len(names) - 2, 3)]


def _convolution(low: _Lowering, node: Node) -> None:
    (x, by), (w, by_w) = _groups(node.inputs[:6])
    inputs = [low.dequantized(x, by), low.dequantized(w, by_w, axis=0)]
    if len(node.inputs) > 8 and node.inputs[8]:
        inputs.append(_bias(low, node.inputs[8], by, by_w))
    real = low.made("Conv", inputs, node.outputs[0], **node.attrs)
    low.quantized(node, real, Scale(node.inputs[6], node.inputs[7]))


def _bias(low: _Lowering, name: str, by: Scale, by_w: Scale, alpha: float = 1.0) -> str:
    bias, scale, scale_w = (low.graph.constant(n) for n in (name, by.scale, by_w.scale))
    if bias is None or scale is None or scale_w is None:
        raise Refusal("its bias or scales are computed at run time")
    return low.constant((alpha * bias * (scale * scale_w)).astype(np.float32))


def _product(low: _Lowering, node: Node) -> None:
    (a, by_a), (b, by_b) = _groups(node.inputs[:6])
    inputs = [low.dequantized(a, by_a, axis=-2), low.dequantized(b, by_b, axis=-1)]
    real = low.made("MatMul", inputs, node.outputs[0])
    low.quantized(node, real, Scale(node.inputs[6], node.inputs[7]))


def _gemm(low: _Lowering, node: Node) -> None:
    (a, by_a), (b, by_b) = _groups(node.inputs[:6])
    transposed = node.attrs.get("transB", 0)
    inputs = [low.dequantized(a, by_a), low.dequantized(b, by_b, axis=0 if transposed else 1)]
    if len(node.inputs) > 6 and node.inputs[6]:
        inputs.append(_bias(low, node.inputs[6], by_a, by_b, node.attrs.get("alpha", 1.0)))
    real = low.made("Gemm", inputs, node.outputs[0], **node.attrs)
    if len(node.inputs) > 8:
        low.quantized(node, real, Scale(node.inputs[7], node.inputs[8]))
    else:
        low.add("Identity", [real], node.outputs[0])


def _pointwise(op: str, count: int) -> Callable[[_Lowering, Node], None]:
    """An operator whose quantised form takes triples of its inputs, then the scale of its output."""

    def lower(low: _Lowering, node: Node) -> None:
        given = _groups(node.inputs[: 3 * count])
        attrs = {k: v for k, v in node.attrs.items() if k != "channels_last"}
        if node.attrs.get("channels_last", 0):
            raise Refusal("its channels come last")
        real = low.made(op, [low.dequantized(x, by) for x, by in given], node.outputs[0], **attrs)
        low.quantized(node, real, Scale(*node.inputs[3 * count : 3 * count + 2]))

    return lower


def _concat(low: _Lowering, node: Node) -> None:
    inputs = [low.dequantized(x, by) for x, by in _groups(node.inputs[2:])]
    real = low.made("Concat", inputs, node.outputs[0], **node.attrs)
    low.quantized(node, real, Scale(*node.inputs[:2]))


def _integer(op: str) -> Callable[[_Lowering, Node], None]:
    """ConvInteger, MatMulInteger: in float32 the sums are exact up to 2^24, and are then rounded."""

    def lower(low: _Lowering, node: Node) -> None:
        zeros = [*node.inputs[2:], "", ""][:2]
        axes = (1, 0) if op == "Conv" else (-2, -1)  # zero points may be one for each row or output
        inputs = [_shifted(low, x, z, axis) for x, z, axis in zip(node.inputs[:2], zeros, axes, strict=True)]
        real = low.made(op, inputs, node.outputs[0], **node.attrs)
        low.real[node.outputs[0]] = real
        low.add("Cast", [real], node.outputs[0], to=6)  # int32, for other readers than Cast

    return lower


def _shifted(low: _Lowering, name: str, zero: str, axis: int) -> str:
    """A quantised tensor minus its zero point, in floating point."""
    value = low.graph.constant(name)
    at = np.zeros(1) if not zero else low.graph.constant(zero)
    if value is not None and at is not None:
        return low.constant(value.astype(np.float32) - along_axis(at.astype(np.float32), axis, value.ndim))
    real = low.made("Cast", [name], name, to=1)
    if not zero:
        return real
    shift = low.graph.fresh(f"{name}/zero")
    low.graph.types[shift] = TensorType(low.graph.shape(zero), _FLOAT)
    return low.made("Sub", [real, low.add("Cast", [zero], shift, to=1)], name)


_LOWERINGS: dict[str, Callable[[_Lowering, Node], None]] = {
    "QLinearConv": _convolution,
    "QLinearMatMul": _product,
    "ConvInteger": _integer("Conv"),
    "MatMulInteger": _integer("MatMul"),
    f"{_MICROSOFT}QGemm": _gemm,
    f"{_MICROSOFT}QLinearConcat": _concat,
    f"{_MICROSOFT}QLinearAdd": _pointwise("Add", 2),
    f"{_MICROSOFT}QLinearMul": _pointwise("Mul", 2),
    f"{_MICROSOFT}QLinearSigmoid": _pointwise("Sigmoid", 1),
    f"{_MICROSOFT}QLinearLeakyRelu": _pointwise("LeakyRelu", 1),
    f"{_MICROSOFT}QLinearAveragePool": _pointwise("AveragePool", 1),
    f"{_MICROSOFT}QLinearGlobalAveragePool": _pointwise("GlobalAveragePool", 1),
}
LOWERED = frozenset(_LOWERINGS)


def lower_quantized(graph: Graph) -> None:
    """Replace operators on quantised numbers by those on real ones, in place."""
    if any(node.op in LOWERED or node.op == "QuantizeLinear" for node in graph.nodes):
        _Lowering(graph).run()
        graph.prune()
