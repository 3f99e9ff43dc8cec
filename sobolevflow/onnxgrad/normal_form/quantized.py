"""Operators on quantised numbers, replaced by the same on real ones.

An operator on quantised numbers, such as QLinearConv, is replaced by DequantizeLinear, the same
operator in floating point, and QuantizeLinear. What it computes stays the same up to one step of
the quantisation, since sums are rounded in another place. Operators that only move such numbers
about, or take their maximum, are treated alike and stay exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backward import Refusal
from ..graph import Graph, Node, TensorType
from ..scales import along_axis

_MICROSOFT = "com.microsoft:"
_FLOAT = np.dtype(np.float32)
_SOFTMAX_ALONG_AXIS = 13  # the opset from which on Softmax is along one axis, not over all from that on
# Operators that give quantised numbers the scale of their first input.
MOVES = {
    *("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity"),
    *("DepthToSpace", "SpaceToDepth", "Expand", "Tile"),
}


@dataclass(frozen=True)
class Scale:
    """The names of a scale and a zero point."""

    scale: str
    zero: str


class _Lowering:
    """Rewrites the nodes of a graph one by one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.scales: dict[str, Scale] = {}  # of the quantised tensors seen so far
        self.real: dict[str, str] = {}  # integer tensors whose float form exists

    def run(self) -> None:
        nodes, self.graph.nodes = self.graph.nodes, []
        for node in nodes:
            if node.op in LOWERED and self.lowers(node):
                continue
            if node.op == "Cast" and node.inputs[0] in self.real:
                self.graph.add("Cast", [self.real[node.inputs[0]]], output=node.outputs[0], **node.attrs)
            elif node.op in MOVES and node.inputs[0] in self.scales and len(node.outputs) == 1:
                self.move(node)
            else:
                self.graph.nodes.append(node)
                if node.op == "QuantizeLinear" and self.is_single(node.inputs[1]):
                    zero = node.inputs[2] if len(node.inputs) > 2 else self.constant(np.uint8(0))
                    self.scales[node.outputs[0]] = Scale(node.inputs[1], zero)

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

    def made(self, op: str, inputs: list[str], like: str, **attrs: Any) -> str:
        """A float tensor of the shape of another."""
        name = self.graph.fresh(f"{like}/{op}")
        self.graph.types[name] = TensorType(self.graph.shape(like), _FLOAT)
        return self.graph.add(op, inputs, output=name, **attrs)

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
        self.graph.add("QuantizeLinear", [real, by.scale, by.zero], output=node.outputs[0])
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
        low.graph.add("Identity", [real], output=node.outputs[0])


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


def _softmax(low: _Lowering, node: Node) -> None:
    axis, rank = node.attrs.get("axis", -1), len(low.graph.shape(node.outputs[0]))
    if node.attrs.get("opset", _SOFTMAX_ALONG_AXIS) < _SOFTMAX_ALONG_AXIS and axis % rank != rank - 1:
        raise Refusal("it is over several axes, as before opset 13")
    real = low.made("Softmax", [low.dequantized(*_groups(node.inputs)[0])], node.outputs[0], axis=axis)
    low.quantized(node, real, Scale(*node.inputs[3:5]))


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
        low.graph.add("Cast", [real], output=node.outputs[0], to=6)  # int32, for other readers than Cast

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
    return low.made("Sub", [real, low.graph.add("Cast", [zero], output=shift, to=1)], name)


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
    f"{_MICROSOFT}QLinearSoftmax": _softmax,
    f"{_MICROSOFT}QLinearLeakyRelu": _pointwise("LeakyRelu", 1),
    f"{_MICROSOFT}QLinearAveragePool": _pointwise("AveragePool", 1),
    f"{_MICROSOFT}QLinearGlobalAveragePool": _pointwise("GlobalAveragePool", 1),
}
LOWERED = frozenset(_LOWERINGS)
QUANTIZED = LOWERED | MOVES  # operators that may give quantised numbers, besides those that quantise


def lower_quantized(graph: Graph) -> None:
    """Replace operators on quantised numbers by those on real ones, in place."""
    if any(node.op in LOWERED or node.op == "QuantizeLinear" for node in graph.nodes):
        _Lowering(graph).run()
        graph.prune()
