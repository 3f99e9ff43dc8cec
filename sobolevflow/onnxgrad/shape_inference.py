"""ONNX's shape inference, kept from following the values of long tensors.

With data propagation, without which no shape arithmetic is followed, onnx keeps the values of every tensor
of one axis, and where it does not know them as many unknown ones: gigabytes for a sum of ten million numbers,
and without end for a tensor that is joined with itself again and again. Such operators are hidden from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx
from onnx import helper

from .raised import as_model_error

_LONGEST = 10_000  # numbers that are followed in one tensor; shapes have a few
_PASSES = 8  # in which sizes become known; what is not after them stays hidden
_HIDDEN = "sobolevflow.hidden"
GUARD = "sobolevflow/guard/"
"""How names of tensors begin that keep a Slice from sizes below zero, as long as values are followed."""
_OWN = ("", "ai.onnx")

_OF_AXES = ("Shape", "Size")
# Whose values onnx follows, beside these.
_FOLLOWED = frozenset(("Add", "Sub", "Mul", "Cast", "Concat", "Gather", "Slice", "Squeeze", "Unsqueeze"))
# What makes a tensor as long as some number says.
_MADE = frozenset(("Range", "ConstantOfShape", "Expand", "Tile", "Pad", "OneHot", "EyeLike", "Loop", "Scan"))

# What has as many axes as the first of its inputs, so that what is known to have several still has them.
_AS_FIRST = frozenset(
    (
        *(
            "Pad",
            "Transpose",
            "Conv",
            "ConvTranspose",
            "MaxPool",
            "AveragePool",
            "GlobalAveragePool",
            "Resize",
        ),
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN"),
        *("RMSNormalization", "Softmax", "LogSoftmax", "Dropout", "Identity", "ScatterND", "ScatterElements"),
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Selu", "Gelu", "Swish", "HardSwish", "HardSigmoid"),
        *("Sigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs", "Reciprocal", "Softplus", "Clip"),
        *("QuantizeLinear", "DequantizeLinear"),
    )
)
# What has as many axes as the one of its inputs that has most.
_AS_MOST = frozenset(("Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "Where", "Concat"))

_Shapes = Mapping[str, list[int | None]]


def infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX shape inference with data propagation, as a copy.

    Raises
    ------
    ModelError
        The model contradicts itself, or is no valid ONNX; gives the reason.
    """
    if not _Lengths({}).too_long(model.graph) or not _Lengths(_shapes(model.graph)).too_long(model.graph):
        return _inferred(model, follow=True)
    known = _inferred_without_values(model)
    before: list[str] = []
    for _ in range(_PASSES):
        hidden = _Lengths(_shapes(known.graph)).too_long(known.graph)
        if not hidden:
            return _inferred(without_guards(known), follow=True)
        names = [node.output[0] for node in hidden]
        if names == before:
            break
        known, before = _inferred_without(without_guards(known), hidden), names
    return _inferred_without_values(known)


def _inferred(model: onnx.ModelProto, follow: bool) -> onnx.ModelProto:
    with as_model_error("the shapes of the model's tensors cannot be inferred"):
        return onnx.shape_inference.infer_shapes(model, data_prop=follow)


def _inferred_without(
    model: onnx.ModelProto, hidden: Iterable[onnx.NodeProto], follow: bool = True
) -> onnx.ModelProto:
    """Inferred as if some of its nodes were of a domain that onnx does not know."""
    for node in hidden:
        node.domain = _HIDDEN
    model.opset_import.append(helper.make_opsetid(_HIDDEN, 1))
    try:
        inferred = _inferred(model, follow)
    finally:
        model.opset_import.pop()
        _show(model.graph)
    inferred.opset_import.pop()
    _show(inferred.graph)
    return inferred


def _inferred_without_values(model: onnx.ModelProto) -> onnx.ModelProto:
    """Inferred with no values followed, on which guards of Slices depend, so that these are passed over."""
    guarded = [node for node in _nodes(model.graph, "Slice") if node.input[0].startswith(GUARD)]
    return _inferred_without(model, guarded, follow=False)


def without_guards(inferred: onnx.ModelProto) -> onnx.ModelProto:
    """Without the shapes that guards were given while no values were followed: they guard by having none."""
    kept = [info for info in inferred.graph.value_info if not info.name.startswith(GUARD)]
    plain = onnx.GraphProto(value_info=kept)
    del inferred.graph.value_info[:]
    inferred.graph.value_info.extend(plain.value_info)
    return inferred


def _nodes(graph: onnx.GraphProto, op: str) -> list[onnx.NodeProto]:
    own = [node for node in graph.node if node.op_type == op and node.domain in _OWN]
    return own + [inner for node in graph.node for body in _bodies(node) for inner in _nodes(body, op)]


def _show(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        if node.domain == _HIDDEN:
            node.ClearField("domain")
        for body in _bodies(node):
            _show(body)


def _bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def _shapes(graph: onnx.GraphProto) -> dict[str, list[int | None]]:
    """The shapes of tensors that have a known rank, those in bodies included; None for unknown sizes."""
    found = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.HasField("shape"):
            found[info.name] = [
                d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
                for d in tensor.shape.dim
            ]
    for node in graph.node:
        for body in _bodies(node):
            found |= _shapes(body)
    return found


@dataclass
class _Lengths:
    """How many numbers tensors have at most that may be of one axis; those with several are `wide`."""

    shapes: _Shapes
    most: dict[str, float] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)
    length: dict[str, int | None] = field(default_factory=dict)
    constant: set[str] = field(default_factory=set)
    shape_of: dict[str, str] = field(default_factory=dict)

    def too_long(self, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
        """The nodes of a graph, and of bodies in it, in which onnx would follow too many values."""
        for tensor in graph.initializer:
            self.constant.add(tensor.name)
            self._take(tensor.name, list(tensor.dims), math.inf)
        found = []
        for node in graph.node:
            for body in _bodies(node):
                found += self.too_long(body)
            made = self._made(node)
            for y in node.output:
                self._take(y, self.shapes.get(y), made)
            flat = [x for x in (*node.input, *node.output) if x not in self.wide]
            followed = node.op_type in _FOLLOWED and node.domain in _OWN
            if followed and any(self.most.get(x, 0) > _LONGEST for x in flat):
                found.append(node)
        return found

    def _take(self, name: str, shape: list[int | None] | None, most: float) -> None:
        if shape is not None:
            size = math.prod(math.inf if d is None else d for d in shape) if 0 not in shape else 0
            most = min(most, size)
            if len(shape) == 1:
                self.length[name] = shape[0]
            self.wide.discard(name)
            if len(shape) > 1:
                self.wide.add(name)
                # what is computed from the image may be as large as it likes until it is made flat
                most = size if name in self.constant else 0
        self.most[name] = most

    def _keeps_axes(self, op: str, inputs: list[str]) -> bool:
        """Whether the first output has several axes because of what inputs have."""
        if op == "Reshape":
            return (self.length.get(inputs[-1]) or 0) > 1
        if op == "MatMul":
            return self.wide.issuperset(inputs)
        if op in _AS_MOST:
            return not self.wide.isdisjoint(inputs)
        return op in _AS_FIRST and not self.wide.isdisjoint(inputs[:1])

    def _made(self, node: onnx.NodeProto) -> float:
        """The most numbers in an output of a node, as far as the node tells."""
        op, inputs = node.op_type, [x for x in node.input if x]
        fixed = self.constant.issuperset(inputs)
        if fixed:
            self.constant.update(node.output)
        if self._keeps_axes(op, inputs):
            self.wide.update(node.output[:1])
        if op in _OF_AXES:
            if op == "Shape" and not node.attribute:  # the whole of it
                self.shape_of[node.output[0]] = node.input[0]
            return 1
        if op == "ConstantOfShape" and inputs and inputs[0] in self.shape_of:  # as large as another
            x = self.shape_of[inputs[0]]
            if x in self.wide:
                self.wide.update(node.output)
            return self.most.get(x, 0)
        if op in _MADE:
            return math.inf
        given = [self.most.get(x, 0) for x in inputs]
        if op == "Concat":
            return sum(max(each, 1) for each in given)
        if op == "Gather" and len(given) > 1:
            return given[1]
        if not fixed:
            given = [self.most.get(x, 0) for x in inputs if x not in self.constant or x not in self.wide]
            if op in _FOLLOWED and not self.wide.isdisjoint(inputs):
                self.wide.update(node.output)
        return max(given, default=0)
