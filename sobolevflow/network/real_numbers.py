"""An integer image input that takes real numbers, since no gradient would reach whole ones.

Operators that only move numbers about or widen their type do the same with real ones, and a Cast to floating
point ends the integers: there the image stays real, and the network smooth. A quantised operator, such as
QLinearConv, is given the image rounded by QuantizeLinear, whose gradient is the straight-through estimator.
Whatever else computes with integers, where they wrap around or are truncated, is given it rounded by a Floor,
at which the gradient stops.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ..onnxgrad import QUANTIZED, attributes_of, operator_of

# Of whose inputs and outputs only the first input and the outputs hold the image.
_MOVES = frozenset(
    {
        *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Identity"),
        *("DepthToSpace", "SpaceToDepth", "Expand", "Tile", "Resize", "Upsample", "MaxPool"),
    }
)
_RESIZES, _INTERPOLATING = ("Resize", "Upsample"), (b"linear", b"bilinear", b"cubic")
# Which inputs have to be of one type; None for all of them.
_OF_ONE_TYPE: dict[str, tuple[int, ...] | None] = {
    "Concat": None,
    "Max": None,
    "Min": None,
    "Pad": (0, 2),
    "Clip": (0, 1, 2),
    "Where": (1, 2),
}
# The same with types that are too wide for their sums and products to wrap around.
_WIDE: dict[str, tuple[int, ...] | None] = {"Add": None, "Sub": None, "Mul": None}

_OF_ANY_TYPE = frozenset({"Shape", "Size"})


@dataclass
class Widened:
    """What an integer input that takes real numbers has brought about.

    Attributes
    ----------
    added : set of str
        The tensors that were added: the image, rounded for operators that need integers.
    interpolates : bool
        Whether numbers are interpolated that would have been truncated to whole ones.
    """

    added: set[str] = field(default_factory=set)
    interpolates: bool = False


def take_real_numbers(model: onnx.ModelProto, name: str) -> Widened:
    """Let an integer input take float32, in place."""
    info = next(info for info in model.graph.input if info.name == name)
    declared = _dtype(info.type.tensor_type.elem_type)
    if not np.issubdtype(declared, np.integer):
        return Widened()
    info.type.tensor_type.elem_type = TensorProto.FLOAT
    return _Widening(model, name, declared).run()


class _Widening:
    """Goes through the nodes, in the order of the file, as far as they read integers of the image."""

    def __init__(self, model: onnx.ModelProto, name: str, declared: np.dtype[Any]) -> None:
        self.model, self.done = model, Widened()
        self.real = {name: declared}  # tensors that were of this type, and now hold real numbers
        self.copies: dict[tuple[str, str], str] = {}  # by what they are of, and for
        self.constants: dict[str, str] = {}
        self.integers = {t.name for t in model.graph.initializer if _dtype(t.data_type).kind in "iub"}
        self.taken = {*(t.name for t in model.graph.initializer), *(i.name for i in model.graph.input)}
        self.taken.update(y for node in model.graph.node for y in node.output)

    def run(self) -> Widened:
        nodes = list(self.model.graph.node)
        del self.model.graph.node[:]
        for node in nodes:
            read = [x for x in node.input if x in self.real]
            if read and node.op_type not in _OF_ANY_TYPE:
                self._visit(node, self.real[read[0]])
            self.model.graph.node.append(node)
        return self.done

    def _visit(self, node: NodeProto, kind: np.dtype[Any]) -> None:
        op = node.op_type if node.domain in ("", "ai.onnx") else ""
        if op == "Cast":
            self._cast(node, kind)
        elif op == "CastLike" and self.integers.isdisjoint(node.input[1:]):
            pass
        elif op in _MOVES and node.input[0] in self.real:
            self.real[node.output[0]] = kind
            self.done.interpolates |= op in _RESIZES and attributes_of(node).get("mode") in _INTERPOLATING
            if op == "Split":
                self.real.update(dict.fromkeys(node.output, kind))
        elif op in _OF_ONE_TYPE:
            self._of_one_type(node, _OF_ONE_TYPE[op], kind)
        elif op in _WIDE and kind.itemsize >= 4:
            self._of_one_type(node, _WIDE[op], kind)
        else:
            self._round(node)

    def _cast(self, node: NodeProto, kind: np.dtype[Any]) -> None:
        """A Cast to floating point stays; to integers that hold all of them it makes real numbers as well."""
        to = next(a for a in node.attribute if a.name == "to")
        target = _dtype(to.i)
        if target.kind in "iu" and np.can_cast(kind, target):
            to.i = TensorProto.FLOAT
            self.real[node.output[0]] = target
        elif target.kind in "iub":
            self._round(node)

    def _of_one_type(self, node: NodeProto, places: tuple[int, ...] | None, kind: np.dtype[Any]) -> None:
        for place, x in enumerate(node.input):
            if x and x not in self.real and (places is None or place in places):
                node.input[place] = self._copy(x, "real", [("Cast", {"to": TensorProto.FLOAT})])
        self.real[node.output[0]] = kind

    def _round(self, node: NodeProto) -> None:
        quantised = operator_of(node) in QUANTIZED or node.op_type == "DequantizeLinear"
        for place, x in enumerate(node.input):
            if x in self.real:
                node.input[place] = self._rounded(x, self.real[x], quantised, node.op_type)

    def _rounded(self, x: str, kind: np.dtype[Any], quantised: bool, op: str) -> str:
        """The integers nearest to a tensor of real numbers."""
        if quantised and kind.itemsize == 1:
            one, zero = (self._constant(k, v) for k, v in (("one", np.float32(1)), ("zero", kind.type(0))))
            return self._copy(x, "quantised", [("QuantizeLinear", {})], one, zero)
        half = self._constant("half", np.float32(0.5))
        to = helper.np_dtype_to_tensor_dtype(kind)
        return self._copy(x, f"whole_for_{op}", [("Add", {}), ("Floor", {}), ("Cast", {"to": to})], half)

    def _copy(self, x: str, what: str, operators: list[tuple[str, dict[str, Any]]], *more: str) -> str:
        """What operators make of a tensor, one behind the other; the first takes more inputs."""
        if (x, what) not in self.copies:
            at = x
            for op, attrs in operators:
                name = self._fresh(f"{x}/{what}")
                self.model.graph.node.append(helper.make_node(op, [at, *more], [name], name=name, **attrs))
                self.done.added.add(name)
                at, more = name, ()
            self.copies[x, what] = at
        return self.copies[x, what]

    def _constant(self, key: str, value: Any) -> str:
        if key not in self.constants:
            self.constants[key] = name = self._fresh(f"whole/{key}")
            self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return self.constants[key]

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _dtype(elem_type: int) -> np.dtype[Any]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
