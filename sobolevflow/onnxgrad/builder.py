"""The builder of nodes, and values, with which what it builds reads as the formula it is.

>>> from sobolevflow.onnxgrad import Builder, Graph
>>> build = Builder(Graph())
>>> g, y = build.named("g"), build.named("y")
>>> g * (1 - y * y)
'grad/Mul__4'
>>> [(node.op, node.inputs) for node in build.graph.nodes]
[('Mul', ['y', 'y']), ('Sub', ['grad/const__2', 'grad/Mul__1']), ('Mul', ['g', 'grad/Sub__3'])]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, TypeGuard, overload

import numpy as np
from onnx import helper

from .graph import Graph, Shape

Numbers = float | np.number[Any] | np.ndarray
Operand = str | Numbers  # a tensor by its name, or numbers, which become a constant


class Value(str):
    """The name of a tensor, and the tensor to reckon with: each of ``+ - * /`` appends a node.

    The other operand is a value too, or numbers, which become a constant of the dtype that the builder
    computes in. In all else it is the name: values are compared and hashed as names, so that they serve as
    keys, and ``+`` joins them with a text that is no value. A copy is the plain name.
    """

    builder: Builder
    __array_ufunc__ = None  # an array on the left leaves the arithmetic to the value

    def __new__(cls, name: str, builder: Builder) -> Self:  # noqa: D102
        value = super().__new__(cls, name)
        value.builder = builder
        return value

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    @property
    def shape(self) -> Shape:
        """Its static shape."""
        return self.builder.shape(self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type."""
        return self.builder.graph.type(self).dtype

    def __neg__(self) -> Value:
        return self.builder.op("Neg", self)

    @overload  # type: ignore[override]  # text is joined with text alone
    def __add__(self, other: Value | Numbers) -> Value: ...
    @overload
    def __add__(self, other: str) -> str: ...
    def __add__(self, other: Operand) -> str:
        return str(self) + other if _is_text(other) else self.builder.op("Add", self, other)

    @overload
    def __radd__(self, other: Numbers) -> Value: ...  # type: ignore[misc]  # numbers leave it to the value
    @overload
    def __radd__(self, other: str) -> str: ...
    def __radd__(self, other: Operand) -> str:
        return other + str(self) if _is_text(other) else self.builder.op("Add", other, self)

    def __sub__(self, other: Operand) -> Value:
        return self.builder.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Value:
        return self.builder.op("Sub", other, self)

    def __mul__(self, other: Operand) -> Value:  # type: ignore[override]  # text may be repeated, a tensor is not
        return self.builder.op("Mul", self, other)

    def __rmul__(self, other: Operand) -> Value:  # type: ignore[override]
        return self.builder.op("Mul", other, self)

    def __truediv__(self, other: Operand) -> Value:
        return self.builder.op("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self.builder.op("Div", other, self)


def _is_text(operand: Operand) -> TypeGuard[str]:
    return isinstance(operand, str) and not isinstance(operand, Value)


class Builder:
    """Appends nodes to a graph.

    Parameters
    ----------
    graph : Graph
    stem : str
        What the names of tensors begin with: ``stem/Op__k``. Constants, which all that is built in a graph
        shares, are ``grad/const__k`` always.
    dtype : dtype
        That of constants made of numbers.
    """

    def __init__(self, graph: Graph, stem: str = "grad", dtype: Any = np.float32) -> None:
        self.graph, self.stem = graph, stem
        self._dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of constants made of numbers."""
        return self._dtype

    def named(self, name: str) -> Value:
        """A tensor of the graph as a value."""
        return Value(name, self)

    def shape(self, name: str) -> Shape:
        """Static shape of a tensor."""
        return self.graph.shape(name)

    def op(self, op: str, /, *inputs: Operand, **attrs: Any) -> Value:
        """Append a node with one output; numbers among its inputs become constants."""
        names = [self._name(x) for x in inputs]
        output = self.graph.fresh(f"{self.stem}/{op}")
        return self.named(self.graph.add(op, names, output=output, **attrs))

    def _name(self, x: Operand) -> str:
        return x if isinstance(x, str) else self.const(x)

    def const(self, value: Any, dtype: Any = None) -> Value:
        """A constant; by default of the builder's dtype."""
        return self.named(self.graph.add_constant(np.asarray(value, self.dtype if dtype is None else dtype)))

    def ints(self, values: Sequence[int]) -> Value:
        """A constant int64 vector, as shapes, axes and pads are given."""
        return self.const(values, np.int64)

    def cast(self, x: str, dtype: Any = None) -> Value:
        """The tensor in another type, by default the builder's: of a condition, 1 where it holds, else 0."""
        to = self.dtype if dtype is None else np.dtype(dtype)
        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(to))

    def reshape(self, x: str, shape: Sequence[int]) -> Value:
        """The tensor in another static shape."""
        return self.op("Reshape", x, self.ints(shape))

    def expand(self, x: Operand, shape: Sequence[int]) -> Value:
        """The tensor repeated to a static shape; of a number, made at run time, not stored in the file."""
        return self.op("Expand", self._name(x), self.ints(shape))

    def where(self, condition: str, x: Operand, y: Operand) -> Value:
        """`x` where the condition holds, else `y`.

        A product with a mask would not do where x may be infinite: infinity times 0 is NaN.
        """
        return self.op("Where", condition, x, y)

    def sum(self, x: str, axes: Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """The sum over some axes, which may be none, or over all."""
        return self._reduced("ReduceSum", x, axes, keepdims)

    def mean(self, x: str, axes: Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """The mean over some axes, which may be none, or over all."""
        return self._reduced("ReduceMean", x, axes, keepdims)

    def _reduced(self, op: str, x: str, axes: Sequence[int] | None, keepdims: bool) -> Value:
        if axes is not None and len(axes) == 0:  # ONNX would take it for all
            return self.op("Identity", x)
        over = () if axes is None else (self.ints(axes),)
        return self.op(op, x, *over, keepdims=int(keepdims))


def _function(op: str) -> Callable[[Value], Value]:
    def of(x: Value) -> Value:
        return x.builder.op(op, x)

    of.__doc__ = f"{op} of a value."
    return of


absolute, sign, sqrt, exp, log = map(_function, ("Abs", "Sign", "Sqrt", "Exp", "Log"))
sin, cos, sinh, cosh = map(_function, ("Sin", "Cos", "Sinh", "Cosh"))
tanh, sigmoid, softplus = map(_function, ("Tanh", "Sigmoid", "Softplus"))
