"""Slopes of functions that saturate, as operators and as exporters write them: right to 1e-5 in the tails."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, softmax

from sobolevflow.onnxgrad import RULES, Graph, append_backward, register
from sobolevflow.onnxgrad.float64 import evaluate
from tests.support.gradient_cases import forward_graph, make_model, run_single
from tests.support.tails import (
    TAILS,
    TEXTBOOK,
    TINY,
    WRITTEN_OUT,
    double_slope,
    largest_error,
    node,
    single_slope,
    slope_graph,
)

NAMES = list(TAILS)
SLOW = {"Where", "Softplus", "Cosh", "Sinh", "Elu", "Mish"}  # ten to a hundred times Exp on the CPU


@pytest.mark.parametrize("name", NAMES)
def test_a_slope_is_right_wherever_it_is_a_normal_number(name: str) -> None:
    error, where = largest_error(TAILS[name])
    assert error <= TAILS[name].bound, f"{error:.1e} at {where}"


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_is_right_in_the_tails(name: str) -> None:
    tail = TAILS[name]
    x = tail.sweep(2000)
    # the body of Gelu computes sqrt(2 / pi) in single precision, rounded otherwise
    assert tail.errors(double_slope(tail, x), x).max() <= (1e-5 if name == "Gelu by tanh" else 1e-10)


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    "name", ["Sigmoid", "Tanh", "x sigmoid(x)", "x (1 + erf) half", "Mish", "half x (1 + tanh)"]
)
@given(x=hnp.arrays(np.float32, st.integers(1, 40), elements=FLOATS | st.floats(-110, 110, width=32)))
def test_at_any_floats_and_in_any_number(name: str, x: np.ndarray) -> None:
    # onnxruntime computes what does not fill a vector register by other code
    tail = TAILS[name]
    assert tail.errors(single_slope(tail, x), x).max() <= tail.bound


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_neither_overflows_nor_is_lost(name: str) -> None:
    tail, near = TAILS[name], np.linspace(-25, 25, 4001)
    x = np.concatenate([near, np.linspace(-300, 300, 1001), [-6e4, -1e4, 1e4, 6e4]]).astype(np.float16)
    x = x[(x > tail.low) & (x < tail.high)]
    graph = slope_graph(tail.forward(x.shape).astype(np.float16))
    with np.errstate(all="ignore"):
        slope = evaluate(graph)({"x": x})[1]
        expected, terms = tail.derivative(x.astype(np.float64))
        error = np.abs(slope.astype(np.float64) - expected)
    fits = np.abs(expected) < 6e4
    assert slope.dtype == np.float16
    assert np.isfinite(slope[fits]).all()
    assert (error <= 2.5e-3 * np.maximum(terms, 1))[fits].all()


@pytest.mark.parametrize("op", TEXTBOOK)
def test_the_textbook_form_has_no_digits_in_the_tails(op: str) -> None:
    """What the bound of this file holds off; without it that bound would say nothing."""
    rules = copy.deepcopy(RULES)
    rules.add(op, broadcasts=op == "Mul")(TEXTBOOK[op])
    rules.compositions.clear()
    name = "x sigmoid(x)" if op == "Mul" else op
    assert largest_error(TAILS[name], rules)[0] > 5 * TAILS[name].bound


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Selu", "Gelu by tanh")])
def test_a_slope_is_computed_by_what_is_fast(name: str) -> None:
    forward = TAILS[name].forward((8,))
    added = slope_graph(forward).nodes[len(forward.nodes) :]
    linear = {"Sinh", "Cosh"}  # whose slopes are each other
    assert not {n.op for n in added} & (SLOW - ({"Sinh", "Cosh"} if name in linear else set()))


# -- compositions


def gradients(
    nodes: list[onnx.NodeProto], x: np.ndarray, wrt: str = "x", **constants: np.ndarray
) -> np.ndarray:
    """The gradient of the sum of "y" with respect to a tensor."""
    model = make_model(nodes, {"x": (x.shape, onnx.TensorProto.FLOAT)}, ["y"], constants)
    return of_graph(forward_graph(model, {"x": x.shape}), x, wrt)


def of_graph(forward: Graph, x: np.ndarray, wrt: str = "x") -> np.ndarray:
    graph = copy.deepcopy(forward)
    gradient = append_backward(graph, "y", wrt, RULES)
    graph.types[gradient] = graph.type(wrt)
    graph.outputs = [gradient]
    graph.prune()
    return np.asarray(run_single(graph, {"x": x})[0])


def near(found: np.ndarray, expected: np.ndarray, bound: float = 1e-5) -> None:
    np.testing.assert_allclose(found, expected, rtol=bound, atol=TINY)


X = np.array([-80, -30, -14, -3, -0.5, 0, 0.5, 3, 14, 30], np.float32)
D = X.astype(np.float64)
SWISH = [node("Sigmoid", "x", "s"), node("Mul", "x s")]


def test_whatever_else_reads_the_inner_values_has_its_gradient() -> None:
    # y = x s + s^2 with s = sigmoid(x)
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "x s", "a"), node("Mul", "s s", "b"), node("Add", "a b")]
    s, slope = expit(D), expit(D) * expit(-D)
    near(gradients(nodes, X), s + D * slope + 2 * s * slope)


def test_the_gradient_of_an_inner_value_is_that_of_the_operators_behind_it() -> None:
    np.testing.assert_array_equal(gradients(SWISH, X, wrt="s"), X)
    nodes = [node("Mul", "x b", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s")]
    z = 2 * D
    near(gradients(nodes, X, wrt="z", b=np.array(2, np.float32)), D * expit(z) * expit(-z))


def test_a_gate_passes_on_what_it_lets_through_exactly() -> None:
    # y = a sigmoid(x) at a far gate: onnxruntime's Sigmoid is 0 from -18 on
    nodes = [node("Sigmoid", "x", "s"), node("Mul", "a s")]
    model = make_model(nodes, dict.fromkeys("xa", (X.shape, onnx.TensorProto.FLOAT)), ["y"])
    graph = forward_graph(model, {"x": X.shape, "a": X.shape})
    gradient = append_backward(graph, "y", "a", RULES)
    graph.types[gradient] = graph.type("a")
    graph.outputs = [gradient]
    graph.prune()
    near(run_single(graph, {"x": X, "a": X})[0], expit(D))


def test_a_gate_that_is_written_out_passes_on_what_it_lets_through_exactly() -> None:
    """y = a / (1 + exp(-x)) with one gate for each row, and exponentials beyond all floats."""
    gates = np.array([[-200], [-60], [-5], [5], [200]], np.float32)
    nodes = [*WRITTEN_OUT, node("Div", "a d")]
    a = np.tile(X, (5, 1))
    inputs = {"x": gates, "a": a}
    one = {"one": np.array([[1]], np.float32)}
    model = make_model(nodes, {k: (v.shape, onnx.TensorProto.FLOAT) for k, v in inputs.items()}, ["y"], one)
    graph = forward_graph(model, {k: v.shape for k, v in inputs.items()})
    wide = gates.astype(np.float64)
    expected = {
        "a": np.tile(expit(wide), (1, len(X))),
        "x": (expit(wide) * expit(-wide)) * D.sum(),
    }
    for name, slope in expected.items():
        each = copy.deepcopy(graph)
        gradient = append_backward(each, "y", name, RULES)
        each.types[gradient] = each.type(name)
        each.outputs = [gradient]
        each.prune()
        near(run_single(each, inputs)[0], slope)


def test_no_other_quotient_is_taken_for_a_sigmoid() -> None:
    """x / (2 + exp(-x)), exp(-x) / (1 + exp(x)) and 1 / (1 - exp(x))."""
    two, one = np.array(2, np.float32), np.array(1, np.float32)
    x = np.array([-3, -0.5, 0.5, 3], np.float32)
    d = x.astype(np.float64)
    falling, grown = np.exp(-d), np.exp(d)
    shifted = [node("Neg", "x", "n"), node("Exp", "n", "e"), node("Add", "two e", "d"), node("Div", "x d")]
    near(gradients(shifted, x, two=two), (2 + falling + d * falling) / (2 + falling) ** 2)
    mixed = [*WRITTEN_OUT[:2], node("Exp", "x", "g"), node("Add", "g one", "d"), node("Div", "e d")]
    near(gradients(mixed, x, one=one), -(falling / (1 + grown) + falling * grown / (1 + grown) ** 2))
    less = [node("Exp", "x", "e"), node("Sub", "one e", "d"), node("Div", "one d")]
    near(gradients(less, x, one=one), grown / (1 - grown) ** 2)


@pytest.mark.parametrize("op", ["Exp", "Sinh", "Cosh"])
def test_what_grows_beyond_all_numbers_is_no_nan_where_nothing_depends_on_it(op: str) -> None:
    x = np.array([-200, -100, 100, 200], np.float32)
    found = gradients([node(op, "x", "e"), node("Atan", "e")], x)
    assert np.isfinite(found).all()
    near(found[2:], np.zeros(2))


def test_a_scale_per_channel_is_not_taken_for_one_of_all() -> None:
    beta = np.array([[1.0], [2.0]], np.float32)
    nodes = [node("Mul", "x beta", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s")]
    x = np.stack([X, X])
    z = beta * x.astype(np.float64)
    # relative to the terms: the rest is zero near -1.28
    terms = expit(z) + np.abs(z * expit(z) * expit(-z))
    found = gradients(nodes, x, beta=beta)
    assert (np.abs(found - (expit(z) + z * expit(z) * expit(-z))) <= 1e-5 * terms + TINY).all()


def test_a_number_that_adds_axes_is_no_mere_factor() -> None:
    x = np.array(2, np.float32)
    nodes = [node("Mul", "x beta", "z"), node("Sigmoid", "z", "s"), node("Mul", "x s")]
    found = gradients(nodes, x, beta=np.array([[1]], np.float32))
    assert found.shape == ()
    near(found, expit(2.0) + 2 * expit(2.0) * expit(-2.0))


def test_what_is_no_gelu_is_not_taken_for_one() -> None:
    """(x + 1) (1 + erf(x)), and x x (1 + erf(x)): their gradients are those of the product rule."""
    one = np.array(1, np.float32)
    erf = [node("Erf", "x", "e"), node("Add", "e one", "s")]
    shifted = [*erf, node("Add", "x one", "w"), node("Mul", "w s")]
    squared = [*erf, node("Mul", "x x", "w"), node("Mul", "w s")]
    from scipy.special import erf as true_erf

    bell, cdf = 2 / np.sqrt(np.pi) * np.exp(-(D**2)), 1 + true_erf(D)
    inside = np.abs(D) <= 3
    near(gradients(shifted, X, one=one)[inside], (cdf + (D + 1) * bell)[inside], 1e-4)
    near(gradients(squared, X, one=one)[inside], (2 * D * cdf + D**2 * bell)[inside], 1e-4)


@pytest.fixture
def doubled_sigmoid() -> Iterator[None]:
    entry = RULES.entries["Sigmoid"]

    @register("Sigmoid")
    def _(step: object, i: int) -> str:
        return step.g * 2  # type: ignore[attr-defined, no-any-return]

    yield
    RULES.entries["Sigmoid"] = entry


@pytest.mark.usefixtures("doubled_sigmoid")
def test_a_rule_of_the_users_own_is_what_counts_in_a_composition_too() -> None:
    near(gradients(SWISH, X), expit(D) + 2 * D)


# -- softmax: entries of the Jacobian


def jacobian(forward: Callable[[int], list[onnx.NodeProto]], x: np.ndarray) -> np.ndarray:
    """Row i is the gradient of output i; each is a row of a batch."""
    n = len(x)
    nodes = [*forward(1), node("Mul", "p chosen")]
    known: dict[str, np.ndarray] = {"chosen": np.eye(n, dtype=np.float32), "axes": np.array([1])}
    used = {name for each in nodes for name in each.input}
    return gradients(nodes, np.tile(x, (n, 1)), "x", **{k: v for k, v in known.items() if k in used})


def true_jacobian(x: np.ndarray) -> np.ndarray:
    """y_i (delta_ij - y_j), where 1 - y_i is the sum of the others."""
    y = softmax(x.astype(np.float64))
    others = np.array([np.delete(y, i).sum() for i in range(len(y))])
    return np.where(np.eye(len(y), dtype=bool), y * others, -np.outer(y, y))


def true_log_jacobian(x: np.ndarray) -> np.ndarray:
    y = softmax(x.astype(np.float64))
    others = np.array([np.delete(y, i).sum() for i in range(len(y))])
    return np.where(np.eye(len(y), dtype=bool), others, -y[None, :])


SOFTMAX = {
    "Softmax": (lambda axis: [node("Softmax", "x", "p", axis=axis)], true_jacobian),
    "LogSoftmax": (lambda axis: [node("LogSoftmax", "x", "p", axis=axis)], true_log_jacobian),
    "softmax by exponentials": (
        lambda axis: [node("Exp", "x", "e"), node("ReduceSum", "e axes", "t"), node("Div", "e t", "p")],
        true_jacobian,
    ),
    "log(softmax)": (
        lambda axis: [node("Softmax", "x", "s", axis=axis), node("Log", "s", "p")],
        true_log_jacobian,
    ),
}


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("ahead", [0, 3, 10, 20, 40, 80])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_entries_of_the_jacobian_of_softmax(
    name: str, ahead: float, classes: int, rng: np.random.Generator
) -> None:
    forward, truth = SOFTMAX[name]
    x = rng.standard_normal(classes).astype(np.float32)
    x[classes // 2] += ahead
    found, expected = jacobian(forward, x), truth(x)
    normal = np.abs(expected) >= TINY
    assert (np.abs(found - expected)[normal] <= 1e-5 * np.abs(expected)[normal]).all()


@given(hnp.arrays(np.float32, st.integers(2, 12), elements=st.floats(-60, 60, width=32)))
def test_entries_of_the_jacobian_at_any_scores(x: np.ndarray) -> None:
    for forward, truth in SOFTMAX.values():
        found, expected = jacobian(forward, x), truth(x)
        normal = np.abs(expected) >= TINY
        assert (np.abs(found - expected)[normal] <= 1e-5 * np.abs(expected)[normal]).all()


@pytest.mark.parametrize("size", [1, 1000])
def test_a_log_of_sums_of_exponentials(size: float, rng: np.random.Generator) -> None:
    x = (size * rng.standard_normal((3, 20))).astype(np.float32)
    found = gradients([node("ReduceLogSumExp", "x axes", keepdims=0)], x, axes=np.array([1], np.int64))
    near(found, softmax(x.astype(np.float64), axis=1))
