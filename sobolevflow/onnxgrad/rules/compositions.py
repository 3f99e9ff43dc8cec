"""Gradient rules of activations that exporters write as several operators.

x sigmoid(x) is written as a product, and x (1 + erf(x / sqrt 2)) / 2 as four operators. The rules of these
taken one by one go through values that onnxruntime's Sigmoid and the sum 1 + erf have lost their digits of,
and where sigmoid is written out, 1 / (1 + exp(-x)), through exponentials that overflow.
A composition is recognised where the backward pass meets its last operator, and its slope computed from x;
whatever else reads what lies in between is not touched, nor is the value. What is no composition but a
product with such a value, a gate for instance, takes the value without that loss (`exact`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ..backward import Step, unbroadcast
from ..builder import Value
from ..graph import Node
from . import elementwise  # noqa: F401  (a composition stands for rules that are there)
from .reductions import log_softmax_gradient, softmax_gradient
from .saturating import (
    bell_of,
    gelu_by_tanh_slope,
    logistic,
    logistic_slope,
    mish_slope,
    normal_cdf,
    swish_slope,
)
from .table import RULES, rule

_DEEPEST = 4  # products within each other that are looked through

# -- what is recognised


def _number(s: Step, name: str) -> float | None:
    """The value of a tensor that is one number and constant."""
    value = s.graph.constant(name)
    return float(value.item()) if value is not None and value.size == 1 else None


def _scaled(s: Step, name: str) -> tuple[str, float] | None:
    """The tensor and the number that a tensor is the product of."""
    node = s.maker(name)
    if node is None or node.op not in ("Mul", "Div", "Neg"):
        return None
    if node.op == "Neg":
        return node.inputs[0], -1.0
    a, b = node.inputs
    if (factor := _number(s, b)) is not None:
        return a, factor if node.op == "Mul" else 1 / factor
    if node.op == "Mul" and (factor := _number(s, a)) is not None:
        return b, factor
    return None


def _bases(s: Step, name: str) -> dict[str, float]:
    """All tensors that a tensor is a multiple of, itself first, with the factor."""
    bases = {name: 1.0}
    for _ in range(_DEEPEST):
        further = _scaled(s, name)
        if further is None:
            break
        bases[further[0]] = bases[name] * further[1]
        name = further[0]
    return bases


def _one_plus(s: Step, name: str) -> tuple[float, Node] | None:
    """Of 1 + f(z) or 1 - f(z) the sign and the node f."""
    node = s.maker(name)
    if node is None or node.op not in ("Add", "Sum", "Sub") or len(node.inputs) != 2:
        return None
    a, b = node.inputs
    if node.op != "Sub" and _number(s, b) == 1:
        a, b = b, a
    bent = s.maker(b)
    if _number(s, a) != 1 or bent is None:
        return None
    return (-1.0 if node.op == "Sub" else 1.0), bent


def _one_plus_exp(s: Step, name: str) -> Node | None:
    """Of 1 + exp(z) the node exp, where a gradient of z is wanted."""
    sign, bent = _one_plus(s, name) or (0.0, None)
    if bent is None or sign < 0 or bent.op != "Exp" or not s.carries(bent.inputs[0]):
        return None
    return bent


def _sigmoid_of(s: Step, name: str) -> tuple[str, float] | None:
    """Of sigmoid(z), or of 1 / (1 + exp(-z)), the tensor in the argument and its sign there."""
    node = s.maker(name)
    if node is None:
        return None
    if node.op == "Sigmoid":
        return node.inputs[0], 1.0
    written_out = node.op == "Reciprocal" or (node.op == "Div" and _number(s, node.inputs[0]) == 1)
    inner = _one_plus_exp(s, node.inputs[-1]) if written_out else None
    return None if inner is None else (inner.inputs[0], -1.0)


def _softplus_of(s: Step, name: str) -> str | None:
    """Of softplus(z) or log(1 + exp(z)) the tensor z."""
    node = s.maker(name)
    if node is not None and node.op == "Log":
        node = _one_plus_exp(s, node.inputs[0])
        return None if node is None else node.inputs[0]
    return node.inputs[0] if node is not None and node.op == "Softplus" else None


def _factors(s: Step, name: str, whole: Collection[str], depth: int = _DEEPEST) -> Iterator[str | float]:
    """The factors of a product of products; those in `whole` are not taken apart."""
    node = s.maker(name)
    if (number := _number(s, name)) is not None:
        yield number
    elif name in whole or node is None or not depth:
        yield name
    elif (scaled := _scaled(s, name)) is not None:
        yield scaled[1]
        yield from _factors(s, scaled[0], whole, depth - 1)
    elif node.op == "Mul":
        for x in node.inputs:
            yield from _factors(s, x, whole, depth - 1)
    else:
        yield name


def _signed(s: Step, name: str, sign: float) -> Value:
    return s.named(name) if sign > 0 else -s.named(name)


# -- values


def exact(s: Step, name: str) -> Value:
    """A tensor, computed anew where it saturates and onnxruntime's value has lost its digits.

    These are sigmoid(z), written out as well, 1 - sigmoid(z), 1 + tanh(z), 1 + erf(z), and multiples of them.
    """
    gate, scaled, sum_ = _sigmoid_of(s, name), _scaled(s, name), _one_plus(s, name)
    if gate is not None:
        return logistic(_signed(s, *gate))
    if scaled is not None:
        base, factor = scaled
        found = exact(s, base)
        return s.named(name) if found == base else found * factor
    if sum_ is not None:
        sign, bent = sum_
        z = s.named(bent.inputs[0])
        if bent.op == "Sigmoid" and sign < 0:
            return logistic(-z)
        if bent.op == "Tanh":
            return logistic(z * (2 * sign)) * 2
        if bent.op == "Erf":
            z = z if sign > 0 else -z
            return normal_cdf(z, bell_of(z)) * 2
    return s.named(name)


@rule("Mul", broadcasts=True)
def _(s: Step, i: int) -> str:
    return s.g * exact(s, s.x[1 - i])


# -- compositions


def _swish_gradient(s: Step, x: str, z: str, sign: float) -> Mapping[str, str] | None:
    """y = x sigmoid(b x), y' = h'(b x) with h(z) = z sigmoid(z); None unless `z` is a multiple of `x`."""
    if x not in _bases(s, z) or not s.carries(x):
        return None
    return {x: unbroadcast(s, s.g * swish_slope(_signed(s, z, sign)), s.shape(s.y), s.shape(x))}


@RULES.compose("Mul", "Sigmoid")
def _swish(s: Step) -> Mapping[str, str] | None:
    for x, gate in (s.node.inputs, s.node.inputs[::-1]):
        inner = _sigmoid_of(s, gate)
        gradient = None if inner is None else _swish_gradient(s, x, *inner)
        if gradient is not None:
            return gradient
    return None


def _cubic(s: Step, name: str, x: str, depth: int = 6) -> np.ndarray | None:
    """The coefficients of a tensor that is a polynomial of `x`, of degree 3 at most, from the constant on."""
    node = s.maker(name)
    if name == x:
        return np.array([0.0, 1, 0, 0])
    if (number := _number(s, name)) is not None:
        return np.array([number, 0, 0, 0])
    if node is None or not depth or node.op not in ("Add", "Sum", "Mul", "Pow"):
        return None
    if len(node.inputs) != 2:
        return None
    a, b = (_cubic(s, term, x, depth - 1) for term in node.inputs)
    if a is None or b is None:
        return None
    if node.op in ("Add", "Sum"):
        return np.asarray(a + b)
    if node.op == "Mul":
        product = np.convolve(a, b)
    elif list(b) in ([2, 0, 0, 0], [3, 0, 0, 0]):
        product = np.convolve(a, np.convolve(a, a) if b[0] == 3 else a)
    else:
        return None
    return None if product[4:].any() else product[:4]


def _product_with_sum(s: Step, op: str) -> Iterator[tuple[float, str, str, float]]:
    """Of y = c x (1 + f(z)), f the operator `op`: c, x, z and its sign, for each tensor that x could be."""
    for name in _factors(s, s.node.outputs[0], ()):
        sum_ = _one_plus(s, name) if isinstance(name, str) else None
        if sum_ is None or sum_[1].op != op:
            continue
        sign, bent = sum_
        for x in _sources(s, bent.inputs[0]):
            factors = list(_factors(s, s.node.outputs[0], (x,)))
            others = [f for f in factors if isinstance(f, str) and f != name]
            if factors.count(name) == 1 and others == [x] and s.carries(x) and s.shape(x) == s.shape(s.y):
                yield math.prod(f for f in factors if isinstance(f, float)), x, bent.inputs[0], sign


def _sources(s: Step, name: str, depth: int = 6) -> list[str]:
    """The tensors that a tensor is made of by arithmetic, itself included, those nearest to it last."""
    node = s.maker(name)
    if _number(s, name) is not None:
        return []
    if node is None or not depth or node.op not in ("Add", "Sum", "Mul", "Div", "Neg", "Pow"):
        return [name]
    further = [x for term in node.inputs for x in _sources(s, term, depth - 1)]
    return [*dict.fromkeys(further), name]


@RULES.compose("Mul", "Erf")
def _gelu(s: Step) -> Mapping[str, str] | None:
    """y = c x (1 + erf(k x)), y' = 2 c (Phi(k x) + k x exp(-(k x)^2) / sqrt(pi)), Phi = (1 + erf) / 2."""
    for c, x, z, sign in _product_with_sum(s, "Erf"):
        factor = _bases(s, z).get(x)
        if factor is not None:
            k = sign * factor
            inner, bell = s.named(x) * k, bell_of(s.named(x), k)
            slope = normal_cdf(inner, bell) + inner * (1 / math.sqrt(math.pi)) * bell
            return {x: s.g * (slope if 2 * c == 1 else slope * (2 * c))}
    return None


@RULES.compose("Mul", "Tanh")
def _gelu_by_tanh(s: Step) -> Mapping[str, str] | None:
    """y = c x (1 + tanh(u)) = 2 c x sigmoid(2 u) with u = a x + b x^3."""
    for c, x, u, sign in _product_with_sum(s, "Tanh"):
        cubic = _cubic(s, u, x)
        if cubic is not None and sign > 0 and not cubic[::2].any() and cubic[1] > 0 and cubic[3] > 0:
            slope = gelu_by_tanh_slope(s.named(x), 2 * float(cubic[1]), 2 * float(cubic[3]))
            return {x: s.g * (slope if 2 * c == 1 else slope * (2 * c))}
    return None


@RULES.compose("Mul", "Tanh", "Softplus", "Log", "Exp")
def _mish(s: Step) -> Mapping[str, str] | None:
    """y = x tanh(softplus(x))."""
    for x, gate in (s.node.inputs, s.node.inputs[::-1]):
        bent = s.maker(gate)
        inner = _softplus_of(s, bent.inputs[0]) if bent is not None and bent.op == "Tanh" else None
        if inner == x and s.carries(x) and s.shape(x) == s.shape(s.y):
            return {x: s.g * mish_slope(s.named(x))}
    return None


@RULES.compose("Div", "Exp")
def _quotient(s: Step) -> Mapping[str, str] | None:
    """y = a / (1 + exp(z)), a sigmoid(-z) as it is written out; or exp(z) / (1 + exp(z)).

    The rules one by one make NaN, 0 times infinity, where exp(z) is too large to be a number, and zero from
    half of that z on.
    """
    a, below = s.node.inputs
    node = _one_plus_exp(s, below)
    if node is None:
        return None
    z = s.named(node.inputs[0])
    if a == node.outputs[0]:
        return {z: unbroadcast(s, s.g * logistic_slope(z), s.shape(s.y), z.shape)}
    if (swish := _swish_gradient(s, a, z, -1)) is not None:
        return swish
    gradients = _of_inverse(s, below, a)
    if gradients and s.carries(a):
        gradients[a] = unbroadcast(s, s.g * logistic(-z), s.shape(s.y), s.shape(a))
    return gradients


def _of_inverse(s: Step, below: str, a: str | None = None) -> dict[str, str] | None:
    """Of y = a / (1 + exp(z)), without `a` of 1 / (1 + exp(z)), the gradient of z."""
    node = _one_plus_exp(s, below)
    if node is None:
        return None
    z = s.named(node.inputs[0])
    falling = -(s.g * logistic_slope(z))
    if a is not None and _number(s, a) != 1:
        falling = falling * s.named(a)
    return {z: unbroadcast(s, falling, s.shape(s.y), z.shape)}


@RULES.compose("Reciprocal", "Exp")
def _reciprocal(s: Step) -> Mapping[str, str] | None:
    return _of_inverse(s, s.node.inputs[0])


@RULES.compose("Pow", "Exp")
def _inverse(s: Step) -> Mapping[str, str] | None:
    below, exponent = s.node.inputs
    return _of_inverse(s, below) if _number(s, exponent) == -1 else None


@RULES.compose("Log", "Exp")
def _log_one_plus_exp(s: Step) -> Mapping[str, str] | None:
    """y = log(1 + exp(z)), which is softplus(z)."""
    node = _one_plus_exp(s, s.node.inputs[0])
    if node is None:
        return None
    z = s.named(node.inputs[0])
    return {z: unbroadcast(s, s.g * logistic(z), s.shape(s.y), z.shape)}


@RULES.compose("Div", "Exp", "ReduceSum")
def _shares(s: Step) -> Mapping[str, str] | None:
    """y = exp(z) / sum(exp(z)), softmax as it is written out."""
    e, total = s.node.inputs
    node, sum_ = s.maker(e), s.maker(total)
    if node is None or node.op != "Exp" or sum_ is None or sum_.op != "ReduceSum" or sum_.inputs[0] != e:
        return None
    axes = s.graph.constant(sum_.inputs[1]) if len(sum_.inputs) > 1 and sum_.inputs[1] else None
    if axes is None or not axes.size or not sum_.attrs.get("keepdims", 1) or not s.carries(node.inputs[0]):
        return None
    return {node.inputs[0]: softmax_gradient(s, s.y, s.g, axes.tolist())}


@RULES.compose("Log", "Sigmoid")
def _log_sigmoid(s: Step) -> Mapping[str, str] | None:
    """y = log(sigmoid(x)), y' = sigmoid(-x)."""
    node = s.maker(s.node.inputs[0])
    if node is None or node.op != "Sigmoid" or not s.carries(node.inputs[0]):
        return None
    (x,) = node.inputs
    return {x: s.g * logistic(-s.named(x))}


@RULES.compose("Log", "Softmax")
def _log_softmax(s: Step) -> Mapping[str, str] | None:
    """y = log(softmax(x)), whose softmax may be zero."""
    node = s.maker(s.node.inputs[0])
    if node is None or node.op != "Softmax" or not s.carries(node.inputs[0]):
        return None
    return {node.inputs[0]: log_softmax_gradient(s, s.g, s.x[0], node.attrs.get("axis", -1))}
