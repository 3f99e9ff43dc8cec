"""The reverse walker: paths, fan-out, broadcasting, stops, refusals, and the form of what is emitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import (
    RULES,
    Graph,
    Node,
    RuleTable,
    TensorType,
    append_backward,
    describe_stops,
    stopped_nodes,
)
from sobolevflow.onnxgrad.graph import OPSET
from tests.support.gradient_cases import (
    Case,
    check,
    forward_graph,
    gradient_graph,
    make_model,
    run_single,
    spaced,
)

X = spaced(np.random.default_rng(5), 2, 3, 4, 4).astype(np.float32)
FLOAT = TensorProto.FLOAT


def model_of(*nodes: onnx.NodeProto, output: str = "y", **constants: np.ndarray) -> onnx.ModelProto:
    return make_model(nodes, {"x": (X.shape, FLOAT)}, [output], constants)


def node(op: str, inputs: str, outputs: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the {op}", **attrs)


def check_model(name: str, model: onnx.ModelProto) -> None:
    check(Case(name, model, {"x": X}, 2e-7))


def gradient_of(model: onnx.ModelProto) -> Graph:
    return gradient_graph(forward_graph(model, {"x": X.shape}), "x")


def test_fan_out_sums_the_gradients() -> None:
    # x feeds three nodes and one node twice
    nodes = [
        node("Relu", "x", "a"),
        node("Sigmoid", "x", "b"),
        node("Mul", "x x", "c"),
        node("Sum", "a b c x", "y"),
    ]
    check_model("fan-out", model_of(*nodes))
    # onnxruntime fuses an Add, not a Sum, into the convolution that makes an operand
    assert sum(n.op == "Sum" for n in gradient_of(model_of(*nodes)).nodes) == 1


def test_a_tensor_used_twice_by_one_node_counts_twice() -> None:
    graph = gradient_of(model_of(node("Add", "x x", "y")))
    _, once = run_single(gradient_of(model_of(node("Identity", "x", "y"))), {"x": X})
    np.testing.assert_allclose(run_single(graph, {"x": X})[1], 2 * once)


def test_a_diamond_through_different_shapes() -> None:
    check_model(
        "squeeze and excite",
        model_of(
            node("GlobalAveragePool", "x", "mean"),
            node("Conv", "mean w", "squeezed"),
            node("Sigmoid", "squeezed", "gate"),
            node("Mul", "x gate", "y"),
            w=np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32),
        ),
    )


@pytest.mark.parametrize("shape", [(), (1,), (4,), (4, 1), (3, 1, 1), (1, 3, 1, 4), (2, 1, 1, 1)], ids=str)
def test_unbroadcasting_is_the_adjoint_of_broadcasting(shape: tuple[int, ...]) -> None:
    small = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    nodes = [helper.make_node("Add", ["x", "small"], ["y"])]
    model = make_model(nodes, {"x": (X.shape, FLOAT), "small": (shape, FLOAT)}, ["y"])
    check(Case(f"{shape}", model, {"x": X, "small": small}, 1e-12))


def test_an_output_that_nobody_uses_contributes_nothing() -> None:
    parts = np.array([1, 2], np.int64)
    nodes = [node("Split", "x parts", "a b", axis=1), node("Relu", "b", "y")]
    graph = gradient_of(model_of(*nodes, parts=parts))
    _, gradient = run_single(graph, {"x": X})
    assert not gradient[:, :1].any()
    assert gradient[:, 1:].any()
    check_model("one part", model_of(*nodes, parts=parts))


def test_only_the_path_is_differentiated_and_no_dead_node_is_left() -> None:
    graph = gradient_of(
        model_of(
            node("Conv", "x w", "a"),
            node("Relu", "a", "y"),
            node("Hardmax", "a", "dead"),
            w=np.ones((2, 3, 1, 1), np.float32),
        )
    )
    read = {x for n in graph.nodes for x in n.inputs} | set(graph.outputs)
    assert all(read.intersection(n.outputs) for n in graph.nodes)
    assert read >= graph.constants.keys()
    assert "Hardmax" not in {n.op for n in graph.nodes}


def test_the_emitted_model_is_plain_onnx() -> None:
    model = gradient_of(
        model_of(
            node("Conv", "x w", "a", strides=[2, 2], pads=[1, 1, 0, 0]),
            node("MaxPool", "a", "b", kernel_shape=[2, 2]),
            node("Softmax", "b", "y", axis=1),
            w=np.ones((2, 3, 3, 3), np.float32),
        )
    ).to_model()
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert {n.domain for n in model.graph.node} == {""}
    assert not model.functions


@pytest.mark.parametrize("op", ["Round", "Floor", "Ceil", "Sign"])
def test_nothing_flows_through_a_piecewise_constant_operator(op: str) -> None:
    graph = gradient_of(model_of(node(op, "x", "steps"), node("Add", "steps x", "y")))
    only_x = gradient_of(model_of(node("Identity", "x", "y")))
    np.testing.assert_allclose(run_single(graph, {"x": X})[1], run_single(only_x, {"x": X})[1], rtol=1e-6)


def test_nothing_flows_through_integers_and_booleans() -> None:
    nodes = [
        node("ArgMax", "x", "best", axis=1),
        node("Cast", "best", "index", to=FLOAT),
        node("Greater", "x zero", "mask"),
        node("Where", "mask x index", "y"),
    ]
    check_model("masks", model_of(*nodes, zero=np.zeros((), np.float32)))


def test_a_value_that_does_not_depend_on_the_image_has_gradient_zero() -> None:
    graph = gradient_of(model_of(node("Sign", "x", "y")))
    value, gradient = run_single(graph, {"x": X})
    assert value
    assert gradient.shape == X.shape
    assert not gradient.any()


@pytest.mark.parametrize(
    ("nodes", "stopped"),
    [
        ([node("Round", "x", "r"), node("Mul", "x r", "y")], ["Round"]),
        ([node("Round", "x", "r"), node("Neg", "r", "n"), node("Floor", "n", "y")], ["Round"]),
        ([node("Greater", "x zero", "m"), node("Where", "m x zero", "y")], ["Greater"]),
        ([node("Cast", "x", "i", to=7), node("Cast", "i", "f", to=1), node("Add", "f x", "y")], ["Cast"]),
        ([node("ArgMax", "x", "i"), node("Cast", "i", "f", to=1), node("Mul", "f x", "y")], ["ArgMax"]),
        ([node("Round", "x", "r"), node("Relu", "x", "y")], []),
        ([node("Round", "zero", "r"), node("Mul", "x r", "y")], []),
        ([node("MaxPool", "x", "y i", kernel_shape=[2, 2])], []),
        (
            [
                node("MaxPool", "x", "p i", kernel_shape=[2, 2]),
                node("Cast", "i", "f", to=1),
                node("Mul", "p f", "y"),
            ],
            ["MaxPool"],
        ),
    ],
    ids=["beside", "before", "mask", "whole numbers", "index", "unused", "constant", "pool", "pool's index"],
)
def test_nodes_at_which_the_flow_stops(nodes: list[onnx.NodeProto], stopped: list[str]) -> None:
    graph = forward_graph(model_of(*nodes, zero=np.zeros((), np.float32)), {"x": X.shape})
    assert [n.op for n in stopped_nodes(graph, "x", "y", RULES)] == stopped


def test_many_stops_are_described_in_short() -> None:
    nodes = [Node("Sign" if k else "Cast", ["x"], [f"s{k}"]) for k in range(6)]
    text = describe_stops(nodes, RULES)
    assert text.startswith("Cast 's0' (its result is not a float tensor), Sign 's1' (it is constant between")
    assert text.endswith("'s3' (it is constant between its steps) and 2 more")


def test_an_operator_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedOpError, match=r"operator Det .*'the Det'"):
        gradient_of(model_of(node("Det", "x", "y")))


def test_a_use_without_a_rule_is_refused_with_its_reason() -> None:
    model = model_of(node("Dropout", "x ratio on", "y"), ratio=np.array(0.5, np.float32), on=np.array(True))
    reason = r"use of operator Dropout .*'the Dropout'.*training mode"
    with pytest.raises(UnsupportedOpError, match=reason):
        gradient_of(model)


def test_a_range_of_the_image_is_refused() -> None:
    # its entries move with the image, but so may their number
    nodes = [node("ReduceSum", "x", "start", keepdims=0), node("Range", "start three one", "y")]
    three, one = (np.array(k, np.float32) for k in (3, 1))
    with pytest.raises(UnsupportedOpError, match="operator Range "):
        gradient_of(model_of(*nodes, three=three, one=one))


def test_indices_that_are_computed_as_floats_are_refused() -> None:
    low, depth, values = (np.array(v, np.float32) for v in (0.5, 4, [1, 3]))
    model = model_of(
        node("Mul", "x low", "i"), node("OneHot", "i depth values", "y"), low=low, depth=depth, values=values
    )
    with pytest.raises(UnsupportedOpError, match=r"OneHot.*rounds"):
        gradient_of(model)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_weights_that_depend_on_the_image_are_refused(op: str) -> None:
    nodes = [node("Slice", "x zero one", "w"), node(op, "x w", "y")]
    constants = {"zero": np.zeros(1, np.int64), "one": np.ones(1, np.int64)}
    x = np.ones((3, 3, 3, 3), np.float32)
    model = make_model(nodes, {"x": (x.shape, FLOAT)}, ["y"], constants)
    if op == "ConvTranspose":
        model.graph.node[0].input[2] = "three"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(1, 3, np.int64), "three"))
    with pytest.raises(UnsupportedOpError, match="weights depend on the image"):
        gradient_graph(forward_graph(model, {"x": x.shape}), "x")


def test_control_flow_that_reads_the_image_from_outside_is_refused() -> None:
    # the image enters the branches by name, not through the node's inputs
    def branch(op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{op} out", FLOAT, X.shape)
        return helper.make_graph([helper.make_node(op, ["x"], [f"{op} out"])], op, [], [out])

    nodes = [
        node("ReduceSum", "x", "sum", keepdims=0),
        node("Greater", "sum zero", "positive"),
        node("If", "positive", "y", then_branch=branch("Relu"), else_branch=branch("Neg")),
    ]
    with pytest.raises(UnsupportedOpError, match="operator If "):
        gradient_of(model_of(*nodes, zero=np.zeros((), np.float32)))


def test_control_flow_beside_the_path_runs_as_it_is() -> None:
    def branch(value: float) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("out", FLOAT, ())
        scaled = helper.make_node("Mul", ["two", f"by {value}"], ["out"])
        constant = helper.make_tensor(f"by {value}", FLOAT, (), [value])
        return helper.make_graph([scaled], "branch", [], [out], [constant])

    nodes = [
        node("ReduceSum", "x", "sum", keepdims=0),
        node("Greater", "sum low", "positive"),
        node("If", "positive", "factor", then_branch=branch(2.0), else_branch=branch(3.0)),
        node("Mul", "x factor", "y"),
    ]
    low, two = np.array(-1e9, np.float32), np.array(2, np.float32)
    # the image decides the branch, through which nothing flows; the branch reads a name around it
    graph = gradient_of(model_of(*nodes, low=low, two=two))
    plain = gradient_of(model_of(node("Identity", "x", "y")))
    np.testing.assert_allclose(run_single(graph, {"x": X})[1], 4 * run_single(plain, {"x": X})[1])


def test_a_rule_may_be_added_to_a_table() -> None:
    table = RuleTable()
    table.entries.update(RULES.entries)

    @table.add("Hardmax")
    def _(s: object, i: int) -> None:
        return None

    graph = forward_graph(model_of(node("Hardmax", "x", "a"), node("Add", "a x", "y")), {"x": X.shape})
    assert table.covers("Hardmax")
    assert "Hardmax" not in RULES.entries
    gradient = append_backward(graph, "y", "x", table)
    graph.outputs, graph.types[gradient] = [gradient], graph.type("x")
    graph.prune()
    np.testing.assert_array_equal(run_single(graph, {"x": X})[0], np.ones_like(X))


def test_fresh_names_avoid_the_names_in_use() -> None:
    graph = Graph()
    graph.inputs["a__1"] = TensorType((1,), np.dtype(np.float32))
    graph.constants["a__2"] = np.zeros(1)
    graph.types["a__3"] = TensorType((1,), np.dtype(np.float32))
    assert graph.fresh("a") == "a__4"


def test_renaming_reaches_everything() -> None:
    graph = Graph()
    graph.inputs["a"] = graph.types["b"] = TensorType((1,), np.dtype(np.float32))
    graph.constants["c"] = np.zeros(1, np.float32)
    graph.nodes.append(Node("Add", ["a", "c"], ["b"]))
    graph.outputs = ["b"]
    graph.rename({"a": "A", "b": "B", "c": "C"})
    assert (graph.nodes[0].inputs, graph.nodes[0].outputs, graph.outputs) == (["A", "C"], ["B"], ["B"])
    assert (*graph.inputs, *graph.constants, *graph.types) == ("A", "C", "B")


def test_equal_small_constants_are_shared_and_unequal_ones_are_not() -> None:
    graph = Graph()
    zero = graph.add_constant(np.zeros(3, np.float32))
    assert graph.add_constant(np.zeros(3, np.float32)) == zero
    assert graph.add_constant(np.zeros(3, np.float64)) != zero
    assert graph.add_constant(np.zeros((3, 1), np.float32)) != zero
    assert graph.add_constant(np.ones(3, np.float32)) != zero
