"""Slopes of activations over the whole range of float32, held against double precision.

A `Tail` is an activation, as one operator or as exporters write it, with its derivative in forms that
lose no digits, and the sum of the absolute values of the terms that the derivative is the sum of. Where these
cancel, between the tails, an error is relative to that sum.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper
from scipy.special import erfc, expit

from sobolevflow.onnxgrad import RULES, Graph, RuleTable, Step, Value, append_backward
from sobolevflow.onnxgrad.float64 import evaluate
from tests.support.gradient_cases import forward_graph, make_model, run_single

Derivative = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
TINY = float(np.finfo(np.float32).tiny)
ROOT_2, ROOT_PI = float(np.float32(np.sqrt(2))), float(np.sqrt(np.pi))


@dataclass(frozen=True)
class Tail:
    """Nodes from "x" to "y" with their constants, the derivative, and the ends of where it is looked at."""

    nodes: Sequence[onnx.NodeProto]
    derivative: Derivative
    constants: Mapping[str, float] = field(default_factory=dict)
    low: float = -np.inf
    high: float = np.inf
    kinks: tuple[float, ...] = ()
    opset: int = 18
    bound: float = 1e-5

    def model(self, shape: tuple[int, ...]) -> onnx.ModelProto:
        values = {name: np.array(value, np.float32) for name, value in self.constants.items()}
        inputs = {"x": (shape, onnx.TensorProto.FLOAT)}
        return make_model(self.nodes, inputs, ["y"], values, opset=self.opset, ir_version=10)

    def forward(self, shape: tuple[int, ...]) -> Graph:
        return forward_graph(self.model(shape), {"x": shape})

    def sweep(self, count: int = 100_000) -> np.ndarray:
        """Points of both signs: evenly spaced, by powers from the smallest float to the largest, at kinks."""
        sizes = np.concatenate(
            [np.linspace(0, 110, 2 * count), np.logspace(-45, 38.53, count)]
        )  # the latter also from the ends on
        near = np.array(self.kinks, np.float32)
        x = np.concatenate([-sizes, sizes, near, *(near + d * np.spacing(near) for d in (-4, -3, 3, 4))])
        for end in (self.low, self.high):
            if np.isfinite(end):
                x = np.concatenate([x, end + sizes[-count:] * (-1 if end == self.high else 1)])
        x = x[np.abs(x) < np.finfo(np.float32).max].astype(np.float32)
        inside: np.ndarray = (x > np.float32(self.low)) & (x < np.float32(self.high))
        return np.asarray(x[inside])

    def errors(self, slope: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Relative errors, zero where the derivative is no normal float32, or where it jumps."""
        with np.errstate(all="ignore"):
            expected, terms = self.derivative(x.astype(np.float64))
            error = np.abs(slope.astype(np.float64) - expected) / terms
        normal = (np.abs(expected) >= TINY) & (np.abs(expected) <= np.finfo(np.float32).max)
        for kink in self.kinks:  # onnxruntime's value rounds to the other side of it
            normal &= np.abs(x - np.float32(kink)) > 2 * np.spacing(np.float32(abs(kink)))
        error = np.where(np.isnan(error), np.inf, error)
        return np.where(normal, error, np.where(np.isnan(slope), np.inf, 0.0))


def slope_graph(forward: Graph, rules: RuleTable = RULES) -> Graph:
    """The derivative of the sum of "y"."""
    graph = copy.deepcopy(forward)
    gradient = append_backward(graph, "y", "x", rules)
    graph.types[gradient] = graph.type("x")
    graph.outputs = ["y", gradient]
    graph.prune()
    return graph


def single_slope(tail: Tail, x: np.ndarray, rules: RuleTable = RULES) -> np.ndarray:
    """As onnxruntime computes it."""
    return np.asarray(run_single(slope_graph(tail.forward(x.shape), rules), {"x": x})[1])


def double_slope(tail: Tail, x: np.ndarray) -> np.ndarray:
    """As the graph is evaluated in double precision."""
    graph = slope_graph(tail.forward(x.shape).astype(np.float64))
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(graph)({"x": x.astype(np.float64)})[1])


def largest_error(tail: Tail, rules: RuleTable = RULES) -> tuple[float, float]:
    """The largest relative error of a sweep, and where it is."""
    x = tail.sweep()
    errors = tail.errors(single_slope(tail, x, rules), x)
    worst = int(errors.argmax())
    return float(errors[worst]), float(x[worst])


# -- derivatives


def alone(slope: Callable[[np.ndarray], np.ndarray]) -> Derivative:
    """A derivative of one term."""

    def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = slope(x)
        return d, np.abs(d)

    return both


def bell(x: np.ndarray) -> np.ndarray:
    return np.asarray(expit(x) * expit(-x))


def swish(beta: float = 1.0) -> Derivative:
    def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = beta * x
        s, rest = expit(z), z * bell(z)
        return s + rest, s + np.abs(rest)

    return both


def gelu(c: float = 0.5, k: float = 1 / ROOT_2) -> Derivative:
    def both(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = k * x
        s, rest = erfc(-z), 2 / ROOT_PI * z * np.exp(-(z**2))
        return c * (s + rest), c * (s + np.abs(rest))

    return both


CUBE, ROOT_2_PI = float(np.float32(0.044715)), float(np.float32(np.sqrt(2 / np.pi)))


def gelu_by_tanh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = 2 * ROOT_2_PI * (x + CUBE * x**3)
    s, rest = expit(z), 2 * ROOT_2_PI * (x + 3 * CUBE * x**3) * bell(z)
    rest = np.where(np.isnan(rest), 0, rest)  # infinity times 0, where x^3 is beyond single precision
    return s + rest, s + np.abs(rest)


def mish(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w = np.exp(np.minimum(x, 300))
    t = w * (w + 2) / (w * (w + 2) + 2)
    # 1 - t^2 = 4 (1 + w)^2 / (w^2 + 2 w + 2)^2
    rest = x * 4 * ((1 + w) / (w * (w + 2) + 2)) ** 2 * expit(x)
    return t + rest, t + np.abs(rest)


SIXTH = float(np.float32(1 / 6))


def hard_swish(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h, third = np.clip(SIXTH * x + 0.5, 0, 1), np.where(np.abs(x) < 3, SIXTH * x, 0)
    return h + third, np.abs(h) + np.abs(third)


# -- activations


def node(op: str, inputs: str, output: str = "y", **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), [output], **attrs)


def one(op: str, slope: Callable[[np.ndarray], np.ndarray], **options: Any) -> Tail:
    return Tail([node(op, "x")], alone(slope), **options)


ALPHA, GAMMA = float(np.float32(1.6732632423543772)), float(np.float32(1.0507009873554805))
HARD = float(np.float32(0.2))
# what onnx's function bodies of opset 20 and 24 are of, and what PyTorch and Keras write
ERF = [node("Div", "x r", "z"), node("Erf", "z", "e"), node("Add", "e one", "s")]
TANH = [
    *(node("Pow", "x three", "x3"), node("Mul", "x3 cube", "c"), node("Add", "x c", "xc")),
    *(node("Mul", "xc k", "u"), node("Tanh", "u", "t"), node("Add", "t one", "s")),
]
GELU = {"r": ROOT_2, "one": 1.0, "half": 0.5}
BY_TANH = {"three": 3.0, "cube": CUBE, "k": ROOT_2_PI, "one": 1.0, "half": 0.5}

# sigmoid by exponentials, which overflow
WRITTEN_OUT = [node("Neg", "x", "n"), node("Exp", "n", "e"), node("Add", "one e", "d")]
GROWING = [node("Exp", "x", "e"), node("Add", "e one", "d")]
ONE = {"one": 1.0}

# the exponent is a sum of two terms, whose rounding is multiplied by its size, up to 90
OF_CUBES: dict[str, Any] = {"bound": 2.5e-5}

TAILS: dict[str, Tail] = {
    "Sigmoid": one("Sigmoid", bell),
    "Tanh": one("Tanh", lambda x: 4 * bell(2 * x)),
    "Softplus": one("Softplus", expit),
    "Erf": one("Erf", lambda x: 2 / ROOT_PI * np.exp(-(x**2))),
    "Mish": Tail([node("Mish", "x")], mish),
    "Softsign": one("Softsign", lambda x: (1 + np.abs(x)) ** -2),
    "Elu": one("Elu", lambda x: np.exp(np.minimum(x, 0))),
    "Selu": one("Selu", lambda x: GAMMA * np.where(x > 0, 1, ALPHA * np.exp(np.minimum(x, 0)))),
    "Celu": Tail([node("Celu", "x", alpha=2.0)], alone(lambda x: np.exp(np.minimum(x, 0) / 2))),
    "HardSigmoid": one(
        "HardSigmoid", lambda x: HARD * (np.abs(HARD * x) < 0.5), kinks=(-0.5 / HARD, 0.5 / HARD)
    ),
    "HardSwish": Tail([node("HardSwish", "x")], hard_swish, kinks=(-3, 3)),
    "Atan": one("Atan", lambda x: 1 / (1 + x**2)),
    "Asinh": one("Asinh", lambda x: 1 / np.hypot(1, x)),
    "Acosh": one("Acosh", lambda x: 1 / (np.sqrt(x - 1) * np.sqrt(x + 1)), low=1),
    "Atanh": one("Atanh", lambda x: 1 / ((1 - x) * (1 + x)), low=-1, high=1),
    "Asin": one("Asin", lambda x: 1 / np.sqrt((1 - x) * (1 + x)), low=-1, high=1),
    "Acos": one("Acos", lambda x: -1 / np.sqrt((1 - x) * (1 + x)), low=-1, high=1),
    "Exp": one("Exp", np.exp),
    "Log": one("Log", lambda x: 1 / x, low=0),
    "Sqrt": one("Sqrt", lambda x: 0.5 / np.sqrt(x), low=0),
    "Reciprocal": one("Reciprocal", lambda x: -1 / x**2),
    "Sinh": one("Sinh", np.cosh),
    "Cosh": Tail([node("Cosh", "x")], lambda x: (np.sinh(x), np.cosh(x))),
    "Gelu": Tail([node("Gelu", "x")], gelu(), opset=20),
    "Gelu by tanh": Tail([node("Gelu", "x", approximate="tanh")], gelu_by_tanh, opset=20, **OF_CUBES),
    "Swish": Tail([node("Swish", "x")], swish(), opset=24),
    "Swish, alpha 1.702": Tail([node("Swish", "x", alpha=1.702)], swish(float(np.float32(1.702))), opset=24),
    "x sigmoid(x)": Tail([node("Sigmoid", "x", "s"), node("Mul", "x s")], swish()),
    "sigmoid(1.5 x) x": Tail(
        [node("Mul", "b x", "z"), node("Sigmoid", "z", "s"), node("Mul", "s x")], swish(1.5), {"b": 1.5}
    ),
    "x (1 + erf) half": Tail([*ERF, node("Mul", "x s", "m"), node("Mul", "m half")], gelu(), GELU),
    "half x (1 + erf)": Tail([*ERF, node("Mul", "half x", "m"), node("Mul", "m s")], gelu(), GELU),
    "x (half (1 + erf))": Tail([*ERF, node("Mul", "s half", "m"), node("Mul", "m x")], gelu(), GELU),
    "3 x (1 + erf)": Tail([*ERF, node("Mul", "x c", "m"), node("Mul", "s m")], gelu(3.0), {**GELU, "c": 3.0}),
    "half x (1 - erf(-z))": Tail(
        [
            *(
                node("Mul", "x r", "w"),
                node("Neg", "w", "z"),
                node("Erf", "z", "e"),
                node("Sub", "one e", "s"),
            ),
            *(node("Mul", "half x", "m"), node("Mul", "m s")),
        ],
        gelu(k=float(np.float32(1 / np.sqrt(2)))),
        {**GELU, "r": float(np.float32(1 / np.sqrt(2)))},
    ),
    "half x (1 + tanh)": Tail(
        [*TANH, node("Mul", "half x", "m"), node("Mul", "m s")], gelu_by_tanh, BY_TANH, **OF_CUBES
    ),
    "x (half (1 + tanh))": Tail(
        [*TANH, node("Mul", "half s", "m"), node("Mul", "x m")], gelu_by_tanh, BY_TANH, **OF_CUBES
    ),
    "x tanh(softplus(x))": Tail(
        [node("Softplus", "x", "p"), node("Tanh", "p", "t"), node("Mul", "x t")], mish
    ),
    "log(sigmoid(x))": Tail([node("Sigmoid", "x", "s"), node("Log", "s")], alone(lambda x: expit(-x))),
    "1 - sigmoid(x)": Tail(
        [node("Sigmoid", "x", "s"), node("Sub", "one s")], alone(lambda x: -bell(x)), {"one": 1.0}
    ),
    "1 / (1 + exp(-x))": Tail([*WRITTEN_OUT, node("Div", "one d")], alone(bell), ONE),
    "reciprocal of 1 + exp(-x)": Tail([*WRITTEN_OUT, node("Reciprocal", "d")], alone(bell), ONE),
    "(1 + exp(-x))^-1": Tail([*WRITTEN_OUT, node("Pow", "d m")], alone(bell), {"m": -1.0, **ONE}),
    "exp(x) / (1 + exp(x))": Tail([*GROWING, node("Div", "e d")], alone(bell), ONE, high=88),
    "x / (1 + exp(-x))": Tail([*WRITTEN_OUT, node("Div", "x d")], swish(), ONE),
    "x (1 / (1 + exp(-x)))": Tail(
        [*WRITTEN_OUT, node("Div", "one d", "s"), node("Mul", "s x")], swish(), ONE
    ),
    "x / (1 + exp(-1.5 x))": Tail(
        [
            *(node("Mul", "x b", "n"), node("Exp", "n", "e"), node("Add", "e one", "d")),
            node("Div", "x d"),
        ],
        swish(1.5),
        {"b": -1.5, **ONE},
    ),
    "log(1 + exp(x))": Tail([*GROWING, node("Log", "d")], alone(expit), ONE),
    "x tanh(log(1 + exp(x)))": Tail(
        [*GROWING, node("Log", "d", "p"), node("Tanh", "p", "t"), node("Mul", "x t")], mish, ONE
    ),
}

# Slopes by the output, as textbooks have them and this package had.
TEXTBOOK: dict[str, Callable[[Step, int], str]] = {
    "Sigmoid": lambda s, i: s.g * (s.y * (1 - s.y)),
    "Tanh": lambda s, i: s.g * (1 - s.y * s.y),
    "Softplus": lambda s, i: s.g * s.op("Sigmoid", s.x[0]),
    "Elu": lambda s, i: s.where(s.op("Greater", s.x[0], 0), s.g, s.g * (s.y + 1)),
    "Mish": lambda s, i: s.g * _mish_by_operators(s),
    "Mul": lambda s, i: s.g * s.x[1 - i],
    "Asinh": lambda s, i: s.g / s.op("Sqrt", s.x[0] * s.x[0] + 1),
    "Atanh": lambda s, i: s.g / (1 - s.x[0] * s.x[0]),
}


def _mish_by_operators(s: Step) -> Value:
    (x,) = s.x
    t = s.op("Tanh", s.op("Softplus", x))
    return t + x * ((1 - t * t) * s.op("Sigmoid", x))
