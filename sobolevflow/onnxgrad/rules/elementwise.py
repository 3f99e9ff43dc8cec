"""Gradient rules of operators that work element by element: activations and arithmetic.

Masks are taken from the *output* wherever that is enough, so that onnxruntime can keep Conv and
Relu fused. Formulas are the textbook ones; where a rule is less than obvious its comment says why.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from ..backward import Refusal, Step
from ..builder import Value, absolute, cos, cosh, log, sign, sin, sinh, sqrt
from ..training import EXPORT_IN_EVAL_MODE, IS_RANDOM
from .table import formula, rule

# -- one input

formula("Identity", lambda g, y, x: g, linear=True)
formula("Neg", lambda g, y, x: -g, linear=True)
formula("Relu", lambda g, y, x: g * above(y, 0), remark="Zero at 0.")
formula("Exp", lambda g, y, x: g * finite(y))
formula("Log", lambda g, y, x: g / x)
formula("Sqrt", lambda g, y, x: g / (2 * y))
formula("Reciprocal", lambda g, y, x: -(g * (y * y)))
formula("Abs", lambda g, y, x: g * sign(x), remark="Zero at 0.")
formula("Sin", lambda g, y, x: g * cos(x))
formula("Cos", lambda g, y, x: -(g * sin(x)))
formula("Tan", lambda g, y, x: g * (1 + y * y))
formula("Asin", lambda g, y, x: g / sqrt((1 - x) * (1 + x)))
formula("Acos", lambda g, y, x: -(g / sqrt((1 - x) * (1 + x))))
formula("Atan", lambda g, y, x: g / (1 + x * x))
formula("Sinh", lambda g, y, x: g * finite(cosh(x)))
formula("Cosh", lambda g, y, x: g * finite(sinh(x)))
formula("Asinh", lambda g, y, x: g / _hypotenuse(x))
formula("Acosh", lambda g, y, x: g / (sqrt(x - 1) * sqrt(x + 1)))
formula("Atanh", lambda g, y, x: g / ((1 - x) * (1 + x)))


def finite(slope: Value) -> Value:
    """A slope that grows beyond all numbers, clipped: infinity times a gradient of zero is NaN."""
    largest = float(np.finfo(slope.builder.dtype).max)
    return slope.builder.op("Clip", slope, -largest, largest)


def _hypotenuse(x: Value) -> Value:
    """sqrt(1 + x^2), whose square may be too large to be a number."""
    size = absolute(x)
    one_is_lost = 2 / math.sqrt(np.finfo(x.dtype).eps)
    low = x.builder.op("Min", size, one_is_lost)
    return x.builder.op("Max", size, sqrt(low * low + 1))


def above(y: Value, bound: float) -> Value:
    """The 0/1 mask of ``y > bound``, exact for float32 (a fraction where y - bound is subnormal).

    It is clip(2^k (y - bound), 0, 1) with 2^k so large that the neighbours of the bound are told
    apart, and one operator, which onnxruntime keeps in its blocked layout on the CPU, as it does
    not keep Greater and Where (docs/speed.md).
    """
    steep = _steepness(bound)
    return y.builder.op("HardSigmoid", y, alpha=steep, beta=-steep * bound)


def below(y: Value, bound: float) -> Value:
    """The 0/1 mask of ``y < bound``, as `above`."""
    steep = _steepness(bound)
    return y.builder.op("HardSigmoid", y, alpha=-steep, beta=steep * bound)


def _steepness(bound: float) -> float:
    """The largest power of two whose product with the bound is a float32; such a product is exact."""
    return 2.0 ** (126 - max(math.frexp(bound)[1], 0))


@rule("Dropout", linear=True)
def _(s: Step, i: int) -> str:
    """Refused in training mode, unless its ratio is 0."""
    if i:
        raise Refusal("its ratio depends on the image")
    ratio = s.graph.constant(s.x[1]) if s.has(1) else None
    if s.has(2) and bool(s.value(2)) and ratio != 0:
        raise Refusal(f"{IS_RANDOM}; {EXPORT_IN_EVAL_MODE}")
    return s.g


@rule("Cast", linear=True)
def _(s: Step, i: int) -> str:
    """To another float type; a cast to whole numbers stops the flow."""
    # the gradient of integers, where quantised numbers have one, is real
    return s.cast(s.g) if s.graph.type(s.x[0]).is_float else s.g


@rule("LeakyRelu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    falling = s.g * s.attr("alpha", 0.01)
    return s.where(s.op("Greater", s.x[0], 0), s.g, falling)


@rule("PRelu", broadcasts=True)
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    x, slope = s.x
    positive = s.op("Greater", x, 0)
    return s.where(positive, s.const(0), s.g * x) if i else s.where(positive, s.g, s.g * slope)


@rule("Softsign")
def _(s: Step, i: int) -> str:
    # y = x / (1 + |x|), y' = (1 + |x|)^-2
    root = 1 + absolute(s.x[0])
    return s.g / (root * root)


@rule("HardSigmoid")
def _(s: Step, i: int) -> str:
    """Zero at both kinks."""
    alpha: float = s.attr("alpha", float(np.float32(0.2)))
    return s.g * alpha * above(s.y, 0) * below(s.y, 1)


@rule("HardSwish")
def _(s: Step, i: int) -> str:
    """At the kinks the slope outside: 0 at -3, 1 at 3."""
    # y = x h(x), h = clip(x/6 + 1/2, 0, 1); y' = h + x/6 on |x| < 3
    # the slope of the gate is an attribute, and so a float32 in double precision too
    (x,) = s.x
    gate = s.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    return s.g * (gate + above(x, -3) * below(x, 3) * (x * np.float32(1 / 6)))


@rule("ThresholdedRelu")
def _(s: Step, i: int) -> str:
    """Zero at the threshold."""
    return s.where(s.op("Greater", s.x[0], s.attr("alpha", 1.0)), s.g, 0)


@rule("Shrink")
def _(s: Step, i: int) -> str:
    """Zero at the thresholds."""
    return s.where(s.op("Greater", absolute(s.x[0]), s.attr("lambd", 0.5)), s.g, 0)


@rule("Clip")
def _(s: Step, i: int) -> str:
    """Zero at the bounds; where both bounds cross, the upper one wins."""
    if i:
        return s.reshape(s.sum(s.where(_clipped(s, i), s.g, 0)), s.x[i].shape)
    g, masks = s.g, []
    for k, inside, compare in ((1, above, "Greater"), (2, below, "Less")):
        if not s.has(k):
            continue
        bound = s.graph.constant(s.x[k])
        if bound is None or s.y.dtype != np.float32:
            g = s.where(s.op(compare, s.y, s.x[k]), g, 0)
        elif np.isfinite(bound):
            masks.append(inside(s.y, bound.item()))
    # the masks first: one tensor, not two, may have to leave the blocked layout
    return g * reduce(lambda a, b: a * b, masks) if masks else g


def _clipped(s: Step, i: int) -> str:
    """Where the bound that is input `i` of a Clip is its value; of two that cross, the upper one wins."""
    x, low, high = s.x[0], s.has(1), s.has(2)
    if i == 2:
        return s.op("Greater", s.op("Max", x, s.x[1]) if low else x, s.x[2])
    smaller = s.op("Less", x, s.x[1])
    return s.op("And", smaller, s.op("LessOrEqual", s.x[1], s.x[2])) if high else smaller


# -- several inputs

formula("Sub", lambda g, y, a, b: g, lambda g, y, a, b: -g, broadcasts=True, linear=True)
formula("Div", lambda g, y, a, b: g / b, lambda g, y, a, b: -(g / b * y), broadcasts=True)


@rule("Add", "Sum", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.g


@rule("Mean", broadcasts=True, linear=True)
def _(s: Step, i: int) -> str:
    return s.g / len(s.x)


@rule("Pow", broadcasts=True)
def _(s: Step, i: int) -> str:
    """The exponent's gradient wants a positive base."""
    x, p = s.x
    if i:
        return s.g * (s.y * log(x))
    if s.graph.constant(p) is None:
        p = s.cast(p)
        return s.g * (p * s.op("Pow", x, p - 1))
    exponent = s.value(1).astype(s.dtype)
    # p x^(p-1); where p = 0 the power is x^0, because 0 times an infinite 0^-1 would be NaN
    power = s.op("Pow", x, np.where(exponent == 0, 0, exponent - 1))
    return s.g * (s.const(exponent) * power)


@rule("Mod", broadcasts=True)
def _(s: Step, i: int) -> str:
    """Only with fmod=1, as onnxruntime has no other for floats."""
    # y = a - b trunc(a / b), and the quotient is constant between its jumps
    if not s.attr("fmod", 0):
        raise Refusal("fmod=0")
    a, b = s.x
    return s.g * ((s.y - a) / b) if i else s.g


@rule("Max", "Min", broadcasts=True)
def _(s: Step, i: int) -> str:
    """Ties share the gradient equally."""
    # equal shares are the sub-gradient of least norm
    hits = [s.cast(s.op("Equal", x, s.y)) for x in s.x]
    share = hits[i] / s.op("Sum", *hits) if len(hits) > 1 else hits[i]
    return s.g * share


@rule("Where", broadcasts=True)
def _(s: Step, i: int) -> str:
    zero = s.const(0, s.y.dtype)
    return s.where(s.x[0], s.g, zero) if i == 1 else s.where(s.x[0], zero, s.g)
