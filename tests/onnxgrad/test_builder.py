"""The builder of nodes: what its values' arithmetic appends, and which constants are shared."""

from __future__ import annotations

import copy
import doctest
import pickle

import numpy as np
import pytest

from sobolevflow.onnxgrad import Builder, Graph, TensorType, builder, evaluate

X = np.array([[1.0, -2.0, 4.0]])
A = np.array([[0.5, 3.0, -1.0]])


@pytest.fixture
def build() -> Builder:
    graph = Graph()
    for name, value in {"x": X, "a": A}.items():
        graph.inputs[name] = TensorType(value.shape, value.dtype)
    return Builder(graph, "test", np.float64)


def computed(value: builder.Value) -> np.ndarray:
    graph = value.builder.graph
    graph.outputs = [str(value)]
    (y,) = evaluate(graph)({k: {"x": X, "a": A}[k] for k in graph.inputs})
    return np.asarray(y)


def test_the_example_in_its_documentation() -> None:
    assert doctest.testmod(builder).failed == 0


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, a: x + a,
        lambda x, a: x - a,
        lambda x, a: x * a,
        lambda x, a: x / a,
        lambda x, a: -x,
        lambda x, a: x + 2,
        lambda x, a: 2 + x,
        lambda x, a: x - 2,
        lambda x, a: 2 - x,
        lambda x, a: x * 2,
        lambda x, a: 2 * x,
        lambda x, a: x / 2,
        lambda x, a: 2 / x,
        lambda x, a: np.float32(0.25) * x,
        lambda x, a: np.float64(0.1) - x,
        lambda x, a: A * x,
        lambda x, a: x / A,
        lambda x, a: A.T - x,
        lambda x, a: a * (1 - x * x) / (2 + a),
    ],
)
def test_arithmetic_is_that_of_numpy(formula, build: Builder) -> None:  # type: ignore[no-untyped-def]
    x, a = build.named("x"), build.named("a")
    np.testing.assert_array_equal(computed(formula(x, a)), formula(X, A))


def test_methods_are_those_of_numpy(build: Builder) -> None:
    x = build.named("x")
    large = build.op("Greater", x, 0)
    y = build.where(large, x, 7) + build.cast(large) * build.mean(x, [1], keepdims=True)
    total = build.sum(build.expand(y, (2, 3))) + build.sum(build.reshape(x, [3, 1]), [0])
    expected = np.where(X > 0, X, 7) + (X > 0) * X.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(computed(total), [2 * expected.sum() + X.sum()], rtol=1e-15)


def test_numbers_have_the_dtype_of_the_builder(build: Builder) -> None:
    assert build.graph.type(build.const(1)).dtype == np.float64
    assert build.graph.type(Builder(build.graph).const(1)).dtype == np.float32
    assert build.ints([1]).dtype == np.int64


def test_a_value_is_its_name(build: Builder) -> None:
    x = build.named("x")
    assert x == "x"
    numbers: dict[str, int] = {x: 1}
    assert numbers["x"] == 1
    assert x + "/mask" == "x/mask"
    assert "my " + x == "my x"
    assert type(copy.deepcopy(x)) is type(pickle.loads(pickle.dumps(x))) is str
    assert not build.graph.nodes  # texts were joined, and nothing was appended
    assert not build.named("")  # an absent input


def test_the_graph_holds_plain_names(build: Builder) -> None:
    x = build.named("x")
    build.graph.outputs = [x * (x + 1)]
    names = [name for node in build.graph.nodes for name in (node.name, *node.inputs, *node.outputs)]
    assert {type(name) for name in (*names, *build.graph.constants)} == {str}


def test_names_begin_with_the_stem(build: Builder) -> None:
    assert build.named("x") * 3 == "test/Mul__2"
    assert list(build.graph.constants) == ["grad/const__1"]


def test_equal_constants_are_one() -> None:
    graph = Graph()
    name = graph.add_constant(np.array([0.0, 1.0]))
    assert graph.add_constant(np.array([-0.0, 1.0])) == name
    others = [np.array([0, 1]), np.array([[0.0, 1.0]]), np.array([0.0, 1.0], np.float32), np.zeros(65)]
    assert len({name, *map(graph.add_constant, (*others, np.zeros(65)))}) == 6  # large ones are not looked at
    assert graph.add_constant(np.array([np.nan])) != graph.add_constant(np.array([np.nan]))


def test_a_constant_that_is_gone_or_changed_is_not_taken() -> None:
    graph, value = Graph(), np.array([2.0])

    def again() -> str:
        return graph.add_constant(value.copy())

    first = again()
    graph.rename({first: "elsewhere"})
    second = again()
    assert second not in (first, "elsewhere")  # only names of its own making are shared
    graph.constants[second] = np.array([3.0])
    third = again()
    assert third != second
    graph.inputs[third] = TensorType((1,), value.dtype)  # now a default, which may be fed
    fourth = again()
    assert fourth != third
    graph.prune()
    assert again() not in graph.inputs
    twin = copy.deepcopy(graph)
    assert twin.add_constant(value) == again()
    graph.constants = {"grad/a": value, "grad/b": value}
    assert again() == "grad/a"
