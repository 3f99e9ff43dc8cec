"""Gradient rules of operators that work element by element: activations, arithmetic, comparisons' masks.

Masks are taken from the *output* wherever that is enough, so that onnxruntime can keep Conv and
Relu fused. Formulas are the textbook ones; where a rule is less than obvious its comment says why.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
from onnx import helper

from ..backward import Refusal, Step
from .table import rule

# -- one input


def masked(s: Step, condition: str, g: str) -> str:
    """g where the condition holds, else 0. Where, not Mul: an infinite g times 0 would be NaN."""
    return s.op("Where", condition, g, s.const(0))


@rule("Identity", linear=True)
def _(s: Step, i: int) -> str:
    return s.g


@rule("Dropout", linear=True)
def _(s: Step, i: int) -> str:
    """Refused in training mode."""
    if i or (s.has(2) and bool(s.value(2))):
        raise Refusal("it is in training mode")
    return s.g


@rule("Cast", linear=True)
def _(s: Step, i: int) -> str:
    """To another float type; a cast to whole numbers stops the flow."""
    kind = s.graph.type(s.x[0])
    # the gradient of integers, where quantised numbers have one, is real
    return s.op("Cast", s.g, to=helper.np_dtype_to_tensor_dtype(kind.dtype)) if kind.is_float else s.g


@rule("Neg", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.g)


@rule("Relu")
def _(s: Step, i: int) -> str:
    """Zero at 0."""
    return s.op("Mul", s.g, above(s, s.y, 0))


def above(s: Step, y: str, bound: float) -> str:
    """The 0/1 mask of ``y > bound``, exact for float32.

    It is clip(2^k (y - bound), 0, 1) with 2^k so large that the neighbours of the bound are told
    apart, and one operator, which onnxruntime keeps in its blocked layout on the CPU, as it does
    not keep Greater and Where (docs/speed.md).
    """
    steep = _steepness(bound)
    return s.op("HardSigmoid", y, alpha=steep, beta=-steep * bound)


def below(s: Step, y: str, bound: float) -> str:
    """The 0/1 mask of ``y < bound``, as `above`."""
    steep = _steepness(bound)
    return s.op("HardSigmoid", y, alpha=-steep, beta=steep * bound)


def _steepness(bound: float) -> float:
    """The largest power of two whose product with the bound is a float32; such a product is exact."""
    return 2.0 ** (126 - max(math.frexp(bound)[1], 0))


def one_minus(s: Step, y: str) -> str:
    """1 - y for y in [0, 1], by an operator that stays in the blocked layout."""
    return s.op("HardSigmoid", y, alpha=-1.0, beta=1.0)


@rule("LeakyRelu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    slope = s.op("Mul", s.g, s.const(s.attr("alpha", 0.01)))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, slope)


@rule("PRelu", broadcasts=True)
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    positive = s.op("Greater", s.x[0], s.const(0))
    if i == 1:
        return s.op("Where", positive, s.const(0), s.op("Mul", s.g, s.x[0]))
    return s.op("Where", positive, s.g, s.op("Mul", s.g, s.x[1]))


@rule("Clip")
def _(s: Step, i: int) -> str:
    """Zero at the bounds; where both bounds cross, the upper one wins."""
    if i:
        return s.reshape(s.op("ReduceSum", masked(s, _clipped(s, i), s.g), keepdims=0), s.shape(s.x[i]))
    g, masks = s.g, []
    for k, inside, compare in ((1, above, "Greater"), (2, below, "Less")):
        if not s.has(k):
            continue
        bound = s.graph.constant(s.x[k])
        if bound is None or s.graph.type(s.y).dtype != np.float32:
            g = masked(s, s.op(compare, s.y, s.x[k]), g)
        elif np.isfinite(bound):
            masks.append(inside(s, s.y, bound.item()))
    # the masks first: one tensor, not two, may have to leave the blocked layout
    return s.op("Mul", g, reduce(lambda a, b: s.op("Mul", a, b), masks)) if masks else g


def _clipped(s: Step, i: int) -> str:
    """Where the bound that is input `i` of a Clip is its value; of two that cross, the upper one wins."""
    x, low, high = s.x[0], s.has(1), s.has(2)
    if i == 2:
        return s.op("Greater", s.op("Max", x, s.x[1]) if low else x, s.x[2])
    below = s.op("Less", x, s.x[1])
    return s.op("And", below, s.op("LessOrEqual", s.x[1], s.x[2])) if high else below


@rule("Sigmoid")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Mul", s.y, one_minus(s, s.y)))


@rule("Tanh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, one_minus_square(s, s.y))


@rule("Exp")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.y)


@rule("Log")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.x[0])


@rule("Sqrt")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Mul", s.const(2), s.y))


@rule("Reciprocal")
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.op("Mul", s.g, s.op("Mul", s.y, s.y)))


@rule("Abs")
def _(s: Step, i: int) -> str:
    """Zero at 0."""
    return s.op("Mul", s.g, s.op("Sign", s.x[0]))


@rule("Erf")
def _(s: Step, i: int) -> str:
    bell = s.op("Exp", s.op("Neg", s.op("Mul", s.x[0], s.x[0])))
    return s.op("Mul", s.g, s.op("Mul", s.const(2 / math.sqrt(math.pi)), bell))


@rule("Softplus")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Sigmoid", s.x[0]))


@rule("Elu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    # for x <= 0: y = alpha (exp x - 1), so y' = y + alpha
    falling = s.op("Mul", s.g, s.op("Add", s.y, s.const(s.attr("alpha", 1.0))))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, falling)


@rule("HardSigmoid")
def _(s: Step, i: int) -> str:
    """Zero at both kinks."""
    g = s.op("Mul", s.g, s.const(s.attr("alpha", 0.2)))
    return s.op("Mul", s.op("Mul", g, above(s, s.y, 0)), below(s, s.y, 1))


@rule("HardSwish")
def _(s: Step, i: int) -> str:
    """At the kinks the slope outside: 0 at -3, 1 at 3."""
    # y = x h(x), h = clip(x/6 + 1/2, 0, 1); y' = h + x/6 on |x| < 3
    # the slope of the gate is an attribute, and so a float32 in double precision too
    gate = s.op("HardSigmoid", s.x[0], alpha=1 / 6, beta=0.5)
    inside = s.op("Mul", above(s, s.x[0], -3), below(s, s.x[0], 3))
    ramp = s.op("Mul", inside, s.op("Mul", s.x[0], s.const(np.float32(1 / 6))))
    return s.op("Mul", s.g, s.op("Add", gate, ramp))


@rule("Selu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    # for x <= 0: y = gamma alpha (exp x - 1), so y' = y + gamma alpha
    alpha, gamma = s.attr("alpha", 1.6732632423543772), s.attr("gamma", 1.0507009873554805)
    falling = s.op("Mul", s.g, s.op("Add", s.y, s.const(gamma * alpha)))
    rising = s.op("Mul", s.g, s.const(gamma))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), rising, falling)


@rule("Celu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    # for x <= 0: y = alpha (exp(x / alpha) - 1), so y' = y / alpha + 1
    slope = s.op("Add", s.op("Div", s.y, s.const(s.attr("alpha", 1.0))), s.const(1))
    return s.op("Where", s.op("Greater", s.x[0], s.const(0)), s.g, s.op("Mul", s.g, slope))


@rule("Mish")
def _(s: Step, i: int) -> str:
    # y = x t, t = tanh(softplus x); y' = t + x (1 - t^2) sigmoid x
    t = s.op("Tanh", s.op("Softplus", s.x[0]))
    bend = s.op("Mul", s.op("Sub", s.const(1), s.op("Mul", t, t)), s.op("Sigmoid", s.x[0]))
    return s.op("Mul", s.g, s.op("Add", t, s.op("Mul", s.x[0], bend)))


@rule("ThresholdedRelu")
def _(s: Step, i: int) -> str:
    """Zero at the threshold."""
    return masked(s, s.op("Greater", s.x[0], s.const(s.attr("alpha", 1.0))), s.g)


@rule("Shrink")
def _(s: Step, i: int) -> str:
    """Zero at the thresholds."""
    return masked(s, s.op("Greater", s.op("Abs", s.x[0]), s.const(s.attr("lambd", 0.5))), s.g)


@rule("Softsign")
def _(s: Step, i: int) -> str:
    # y = x / (1 + |x|), y' = (1 + |x|)^-2
    root = s.op("Add", s.const(1), s.op("Abs", s.x[0]))
    return s.op("Div", s.g, s.op("Mul", root, root))


@rule("Sin")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Cos", s.x[0]))


@rule("Cos")
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.op("Mul", s.g, s.op("Sin", s.x[0])))


@rule("Atan")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Add", s.const(1), s.op("Mul", s.x[0], s.x[0])))


@rule("Tan")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Add", s.const(1), s.op("Mul", s.y, s.y)))


@rule("Asin")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Sqrt", one_minus_square(s, s.x[0])))


@rule("Acos")
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.op("Div", s.g, s.op("Sqrt", one_minus_square(s, s.x[0]))))


def one_minus_square(s: Step, x: str) -> str:
    """1 - x^2."""
    return s.op("Sub", s.const(1), s.op("Mul", x, x))


@rule("Sinh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Cosh", s.x[0]))


@rule("Cosh")
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.op("Sinh", s.x[0]))


@rule("Asinh")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Sqrt", s.op("Add", s.op("Mul", s.x[0], s.x[0]), s.const(1))))


@rule("Acosh")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.op("Sqrt", s.op("Sub", s.op("Mul", s.x[0], s.x[0]), s.const(1))))


@rule("Atanh")
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, one_minus_square(s, s.x[0]))


# -- several inputs


@rule("Add", "Sum", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.g


@rule("Mean", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Div", s.g, s.const(len(s.x)))


@rule("Sub", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Neg", s.g) if i else s.g


@rule("Mul", broadcasts=True)
def _(s: Step, i: int) -> str:
    return s.op("Mul", s.g, s.x[1 - i])


@rule("Div", broadcasts=True)
def _(s: Step, i: int) -> str:
    quotient = s.op("Div", s.g, s.x[1])
    return s.op("Neg", s.op("Mul", quotient, s.y)) if i else quotient


@rule("Pow", broadcasts=True)
def _(s: Step, i: int) -> str:
    """The exponent's gradient wants a positive base."""
    if i:
        return s.op("Mul", s.g, s.op("Mul", s.y, s.op("Log", s.x[0])))
    dtype = s.graph.type(s.x[0]).dtype
    if s.graph.constant(s.x[1]) is None:
        p = s.op("Cast", s.x[1], to=dtype_code(s))
        return s.op("Mul", s.g, s.op("Mul", p, s.op("Pow", s.x[0], s.op("Sub", p, s.const(1)))))
    exponent = s.value(1).astype(dtype)
    # p x^(p-1); where p = 0 the power is x^0, because 0 times an infinite 0^-1 would be NaN
    power = s.op("Pow", s.x[0], s.const(np.where(exponent == 0, 0, exponent - 1), dtype))
    return s.op("Mul", s.g, s.op("Mul", s.const(exponent, dtype), power))


@rule("Mod", broadcasts=True)
def _(s: Step, i: int) -> str:
    """Only with fmod=1, as onnxruntime has no other for floats."""
    # y = a - b trunc(a / b), and the quotient is constant between its jumps
    if not s.attr("fmod", 0):
        raise Refusal("fmod=0")
    return s.g if i == 0 else s.op("Mul", s.g, s.op("Div", s.op("Sub", s.y, s.x[0]), s.x[1]))


@rule("Max", "Min", broadcasts=True)
def _(s: Step, i: int) -> str:
    """Ties share the gradient equally."""
    # equal shares are the sub-gradient of least norm
    hits = [s.op("Cast", s.op("Equal", x, s.y), to=dtype_code(s)) for x in s.x]
    share = s.op("Div", hits[i], s.op("Sum", *hits)) if len(hits) > 1 else hits[i]
    return s.op("Mul", s.g, share)


@rule("Where", broadcasts=True)
def _(s: Step, i: int) -> str:
    zero = s.const(0, s.graph.type(s.y).dtype)
    return s.op("Where", s.x[0], s.g, zero) if i == 1 else s.op("Where", s.x[0], zero, s.g)


def dtype_code(s: Step) -> int:
    """Element type that this node computes in, as Cast wants it."""
    return helper.np_dtype_to_tensor_dtype(s.graph.type(s.x[0]).dtype)
