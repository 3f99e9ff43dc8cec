"""The softmax or sigmoid at the end of a network, and what follows it: what class scores come before.

Networks do not always end there: a logarithm follows, a scale, bounds, a small number against log 0. Each of
these keeps the order of the classes, so that what comes before the softmax tells them apart as well, and does
not saturate. Sigmoid and softmax are recognised where they are written out by exponentials, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx

from ..onnxgrad import array_of, operator_of
from .following import constants
from .layers import SAME_CONTENT

_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid")
_OF_QUANTISED = {f"com.microsoft:QLinear{op}": op for op in ("Softmax", "Sigmoid")}

_RISING = ("Log", "Exp", "Sqrt", "Relu", "Softplus", "Clip", "Max", "Min")
# Which have bounds beside what they are of, or one scale: those of several channels would change their order.
_WITH_NUMBERS = (*_RISING, "QuantizeLinear", "DequantizeLinear")
_LONGEST = 32  # operators behind a probability, or in a sigmoid by a tanh, that are looked through


@dataclass(frozen=True)
class Before:
    """What a tensor is a function of, entry by entry, the same for all entries.

    Attributes
    ----------
    layer : str
    operator : str
        The function; "Sigmoid" and "Softmax" also where they are written out.
    rises : bool
        Whether it rises with the entry, and does not fall.
    """

    layer: str
    operator: str
    rises: bool = True


@dataclass(frozen=True)
class Stripped:
    """What class scores come before.

    Attributes
    ----------
    layer : str
        The tensor of class scores.
    operators : tuple of str
        What comes behind, in its order.
    """

    layer: str
    operators: tuple[str, ...]

    def __str__(self) -> str:
        *first, last = self.operators
        return f"{', '.join(first)} and {last}" if first else last


@dataclass(frozen=True)
class Functions:
    """The functions of one tensor that a graph is made of, as far as they matter for probabilities.

    Parameters
    ----------
    graph : onnx.GraphProto
    makers : mapping
        From the names of tensors to the nodes that make them.
    """

    graph: onnx.GraphProto
    makers: Mapping[str, onnx.NodeProto]

    def squashed(self, name: str) -> Before | None:
        """What a tensor is the sigmoid or softmax of; None where it is neither."""
        node = self.makers.get(name)
        if node is None:
            return None
        op = operator_of(node)
        if op in _SQUASHING or op in _OF_QUANTISED:
            return Before(node.input[0], _OF_QUANTISED.get(op, op))
        return self._sigmoid(node) or self._softmax(node) or self._by_tanh(name)

    def bent(self, name: str) -> Before | None:
        """What a tensor is another function of that always rises, or always falls, from 0 to 1 at least."""
        node = self.makers.get(name)
        if node is None:
            return None
        op, x = node.op_type, list(node.input)
        if op in SAME_CONTENT or op in _RISING:
            beside = x[1:] if op in _WITH_NUMBERS else []
            fixed = all(self._number(each) is not None for each in beside if each)
            return Before(x[0], op) if fixed else None
        if op in ("Neg", "Reciprocal"):
            return Before(x[0], op, rises=False)
        if op in ("Add", "Sum", "Sub", "Mul", "Div", "Pow") and len(x) == 2:
            return self._with_number(op, *x)
        return None

    def strip(self, output: str) -> Stripped | None:
        """What comes before the softmax or sigmoid that an output is, or rises with; None for others."""
        name, rises, operators = output, True, list[str]()
        found: Stripped | None = None
        for _ in range(_LONGEST):
            before = self.squashed(name)
            squashes = before is not None
            before = before or self.bent(name)
            if before is None:
                break
            rises = rises == before.rises
            operators += [] if before.operator in SAME_CONTENT else [before.operator]
            name = before.layer
            if squashes and rises:
                found = Stripped(name, tuple(operators[::-1]))
        return found

    # -- what is recognised

    @cached_property
    def _constants(self) -> Mapping[str, onnx.TensorProto]:
        return constants(self.graph)

    def _number(self, name: str) -> float | None:
        """The value of a tensor that is one number and constant."""
        tensor = self._constants.get(name)
        if tensor is None or math.prod(tensor.dims) != 1:
            return None
        return float(array_of(tensor).item())

    def _maker(self, name: str, *operators: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, if it is one of these operators."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type in operators else None

    def _with_number(self, op: str, a: str, b: str) -> Before | None:
        """Arithmetic of a tensor and a number; `a` and `b` are the two, in their order."""
        number, first = self._number(b), True
        if number is None:
            number, first = self._number(a), False
        if number is None or not math.isfinite(number):
            return None
        x = a if first else b
        if op in ("Add", "Sum"):
            return Before(x, op)
        if op == "Sub":
            return Before(x, op, rises=first)
        if number == 0 or (op == "Pow" and not first):
            return None
        falls = op == "Div" and not first  # number / x, of a probability
        return Before(x, op, rises=(number > 0) != falls)

    def _sigmoid(self, node: onnx.NodeProto) -> Before | None:
        """1 / (1 + exp(-x)), or exp(x) / (1 + exp(x))."""
        x = list(node.input)
        if node.op_type == "Reciprocal" or (node.op_type == "Pow" and self._number(x[1]) == -1):
            above, below = 1.0, x[0]
        elif node.op_type == "Div":
            above, below = self._number(x[0]) or 0.0, x[1]
        else:
            return None
        total = self._maker(below, "Add", "Sum")
        if total is None or len(total.input) != 2:
            return None
        grown = next((b for a, b in (total.input, total.input[::-1]) if self._number(a) == 1), "")
        power = self._maker(grown, "Exp")
        if power is None or (above != 1 and x[0] != grown):
            return None
        if above != 1:
            return Before(power.input[0], "Sigmoid")
        inner = self.bent(power.input[0])
        if inner is not None and inner.operator in ("Neg", "Mul", "Div", "Sub") and not inner.rises:
            return Before(inner.layer, "Sigmoid")
        return Before(power.input[0], "Sigmoid", rises=False)

    def _softmax(self, node: onnx.NodeProto) -> Before | None:
        """exp(x) / sum(exp(x)), or x - log(sum(exp(x))); x may be shifted by its maximum."""
        if node.op_type == "Div":
            total, power = self._maker(node.input[1], "ReduceSum"), self._maker(node.input[0], "Exp")
            if total is not None and power is not None and total.input[0] == node.input[0]:
                return Before(self._unshifted(power.input[0]), "Softmax")
        if node.op_type == "Sub":
            x, size = node.input
            whole = self._maker(size, "ReduceLogSumExp")
            logarithm = self._maker(size, "Log")
            total = self._maker(logarithm.input[0], "ReduceSum") if logarithm is not None else None
            power = self._maker(total.input[0], "Exp") if total is not None else None
            if x in [each.input[0] for each in (whole, power) if each is not None]:
                return Before(self._unshifted(x), "LogSoftmax")
        return None

    def _unshifted(self, name: str) -> str:
        """x, of x - max(x)."""
        node = self._maker(name, "Sub")
        most = None if node is None else self._maker(node.input[1], "ReduceMax")
        shifted = node is not None and most is not None and most.input[0] == node.input[0]
        return str(node.input[0]) if node is not None and shifted else name

    def _by_tanh(self, name: str) -> Before | None:
        """(1 + tanh(x / 2)) / 2, however its numbers are placed; x / 2 is what counts as its argument."""
        factor, offset = 1.0, 0.0
        for _ in range(4):
            node = self._maker(name, "Add", "Sum", "Mul", "Div", "Tanh")
            if node is None:
                return None
            if node.op_type == "Tanh":
                fits = math.isclose(factor, 0.5) and math.isclose(offset, 0.5)
                return Before(node.input[0], "Sigmoid") if fits else None
            if len(node.input) != 2:
                return None
            a, b = node.input
            number = self._number(b)
            if number is None and node.op_type != "Div":
                number, a = self._number(a), b
            if not number:
                return None
            if node.op_type in ("Add", "Sum"):
                offset += factor * number
            else:
                factor *= number if node.op_type == "Mul" else 1 / number
            name = a
        return None
