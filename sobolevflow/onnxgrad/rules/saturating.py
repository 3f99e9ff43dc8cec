"""Gradient rules of functions that saturate, exact in their tails.

Far from zero the textbook forms of these slopes, in terms of the output, have no digits left: y (1 - y)
of Sigmoid is 0 wherever y rounds to 1, and onnxruntime's own Sigmoid is off by percents at -14 and 0 from
-18 on. A unit that is sure would have no gradient. Here slopes are computed from the input, by exponentials
that cannot overflow and sums whose terms have one sign: their relative error in single precision is below
1e-5 wherever they are normal numbers (docs/gradient.md). Where a slope is zero between its tails, as that of
Gelu is, the error is relative to the terms that cancel there.

Softplus, Cosh, Elu and Where are no building blocks: on the CPU onnxruntime takes from ten to a hundred times
as long for them as for Exp.
"""

from __future__ import annotations

import math

import numpy as np

from ..backward import Step
from ..builder import Value, absolute, exp
from .table import formula, rule

# -- what slopes are made of


def logistic(x: Value) -> Value:
    """1 / (1 + exp(-x)), the exact values of Sigmoid."""
    grown = exp(at_most(x, _one_is_lost(x)))
    return grown / (grown + 1)


def logistic_slope(x: Value) -> Value:
    """The derivative of the logistic function, e / (1 + e)^2 with e = exp(-|x|)."""
    e = exp(-absolute(x))
    below = e + 1
    return e / below / below


def tanh_slope(x: Value) -> Value:
    """1 / cosh(x)^2, as 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    e = exp(absolute(x) * -2)
    below = half_of_one_plus(e)
    return e / below / below


def swish_slope(z: Value) -> Value:
    """The derivative of z logistic(z), s + z s (1 - s)."""
    z = between(z, _all_is_lost(z), _one_is_lost(z))
    grown = exp(z)
    below = grown + 1
    return (grown / below) * (z / below + 1)


def mish_slope(x: Value) -> Value:
    """The derivative of x tanh(softplus(x))."""
    # tanh(softplus x) = 1 - 2 / m with w = exp x and m = w^2 + 2 w + 2; where w^2 is too large for half
    # precision the slope is 1
    x = between(x, _all_is_lost(x), (1 + _one_is_lost(x)) / 2)
    w = exp(x)
    w2 = w + 2
    m = w * w2 + 2
    return w * ((w2 + (w + 1) / m * (x * 4)) / m)  # w last, which may be below the normal numbers


def gelu_by_tanh_slope(x: Value, linear: float, cubic: float) -> Value:
    """The derivative of x logistic(v) with v = linear x + cubic x^3, both above zero: s + x v' s (1 - s)."""
    # where exp(v) is almost too large for half precision, the slope is 1
    size = 11.0 if x.builder.dtype.itemsize == 2 else _one_is_lost(x) + 6
    ends = (_root(linear, cubic, end) for end in (_all_is_lost(x), size))
    x = between(x, *ends)
    square = x * x
    grown = exp(x * (square * cubic + linear))
    below = grown + 1
    return (grown / below) * (x * (square * (3 * cubic) + linear) / below + 1)


def _root(linear: float, cubic: float, v: float) -> float:
    """Where the increasing cubic is `v`."""
    roots = np.roots([cubic, 0, linear, -v])
    return float(roots[np.abs(roots.imag).argmin()].real)


def normal_cdf(z: Value, bell: Value) -> Value:
    """(1 + erf(z)) / 2, given ``bell`` = exp(-z^2); where the sum has no digits by a continued fraction.

    That is bell / (2 sqrt(pi) (a + (1/2) / (a + (2/2) / (a + (3/2) / ...)))) for a = -z > 0. In single
    precision two of its levels, fitted so that the slope of Gelu is right to 6e-6 from a = 1.9 on, and below
    the true value before; so the larger of both is right everywhere. The sum is taken less by what it may be
    too large by. A Where would say the same, but takes as long as sixty other operators on the CPU.
    """
    build = z.builder
    erf = build.op("Erf", z)
    if build.dtype.itemsize < 8:
        # a HardSigmoid for the straight line 0.486 a + 0.367, over 8: what it clips is not in the tail
        line = build.op("HardSigmoid", z, alpha=-0.4860549547 / 8, beta=0.3670393517 / 8)
        tail = bell / (at_most(z, 8) * (-2 * _ROOT_PI * 0.999193798) + (1 / 8) / line)
        rounding = 0.0 if build.dtype.itemsize < 4 else 2.0**-23
        return build.op("Max", build.op("HardSigmoid", erf, alpha=0.5, beta=0.5 - rounding), tail)
    below = z
    for k in range(_LEVELS, 0, -1):
        below = z + k / 2 / below
    far = build.op("Less", z, _FAR)
    return build.where(far, bell / (below * (-2 * _ROOT_PI)), half_of_one_plus(erf))


def bell_of(x: Value, factor: float = 1.0) -> Value:
    """exp(-(factor x)^2), rounded as little as can be: the exponent has its error times its size."""
    square = factor * factor
    if x.builder.dtype.itemsize < 8 and abs(square - 0.5) < 2e-8:  # a root of 2 in single precision
        square = 0.5  # times which no product is rounded
    return exp(x * x * -square)


def at_most(x: Value, bound: float) -> Value:
    """The smaller of both."""
    return x.builder.op("Min", x, bound)


def between(x: Value, low: float, high: float) -> Value:
    """Clipped: a factor that became infinite would make NaN of a zero."""
    return x.builder.op("Clip", x, low, high)


def half_of_one_plus(y: Value) -> Value:
    """(1 + y) / 2 for y in [-1, 1], by one operator."""
    return y.builder.op("HardSigmoid", y, alpha=0.5, beta=0.5)


def _one_is_lost(x: Value) -> float:
    """From where on 1 + exp(x) is exp(x) in the precision of `x`."""
    return 3 - math.log(float(np.finfo(x.builder.dtype).eps))


def _all_is_lost(x: Value) -> float:
    """Below which exp(x), and a small multiple of x exp(x), is zero in the precision of `x`."""
    return 2 * math.log(float(np.finfo(x.builder.dtype).smallest_subnormal))


_FAR, _LEVELS = -3.5, 12  # in double precision: what is left out of the fraction there is below 1e-10
_ROOT_PI = math.sqrt(math.pi)


# -- rules

formula("Sigmoid", lambda g, y, x: g * logistic_slope(x))
formula("Tanh", lambda g, y, x: g * tanh_slope(x))
formula("Softplus", lambda g, y, x: g * logistic(x))
formula("Mish", lambda g, y, x: g * mish_slope(x))
formula("Erf", lambda g, y, x: g * (2 / _ROOT_PI * bell_of(x)))


def _exponential_below_zero(s: Step, above_zero: float, scale: float, rate: float = 1.0) -> Value:
    """`g` times a slope that is `above_zero` for x > 0, and else scale exp(rate x)."""
    (x,) = s.x
    fallen = exp(at_most(x if rate == 1 else x * rate, 0))
    if above_zero == scale == 1:
        return s.g * fallen
    return s.g * s.where(s.op("Greater", x, 0), above_zero, fallen * scale)


# y + alpha, which is the slope of Elu as well, loses its digits as y comes close to -alpha


@rule("Elu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    return _exponential_below_zero(s, 1, s.attr("alpha", 1.0))


_SELU = float(np.float32(1.67326319)), float(np.float32(1.05070102))  # ONNX defines them in float32


@rule("Selu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    alpha, gamma = s.attr("alpha", _SELU[0]), s.attr("gamma", _SELU[1])
    return _exponential_below_zero(s, gamma, gamma * alpha)


@rule("Celu")
def _(s: Step, i: int) -> str:
    """At 0 the slope of the negative side."""
    return _exponential_below_zero(s, 1, 1, 1 / s.attr("alpha", 1.0))
