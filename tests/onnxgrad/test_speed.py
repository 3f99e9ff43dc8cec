"""What makes the gradient fast changes nothing else: rewritten forward passes, split convolutions, doors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from sobolevflow.onnxgrad import Graph, differentiate, normalize
from sobolevflow.onnxgrad.blocked import open_doors
from tests.support.gradient_cases import (
    Case,
    Var,
    case,
    check,
    forward_graph,
    gradient_graph,
    make_model,
    run_single,
    spaced,
)

C = 16  # channels that fill a block of onnxruntime's


def node(op: str, inputs: str, outputs: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"{op} {outputs}", **attrs)


def random(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model_of(*nodes: onnx.NodeProto, x: np.ndarray, **constants: np.ndarray) -> onnx.ModelProto:
    return make_model(nodes, {"x": (x.shape, TensorProto.FLOAT)}, ["y"], constants)


def normal_form(model: onnx.ModelProto, x: np.ndarray, *keep: str) -> Graph:
    return normalize(model, input_shapes={"x": x.shape}, keep=[*keep, "y"])


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]


POOL = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
RECTIFIED = {
    "relu": (node("Relu", "x", "r"), node("MaxPool", "r", "y", **POOL)),
    "concat of relus": (
        node("Relu", "x", "r"),
        node("Neg", "x", "n"),
        node("Relu", "n", "s"),
        node("Concat", "r s", "c", axis=1),
        node("MaxPool", "c", "y", **POOL),
    ),
}
SHARED = {
    "a rectifier with two readers": (
        node("Relu", "x", "r"),
        node("MaxPool", "r", "p", **POOL),
        node("Identity", "r", "q"),
    ),
    "another operator": (
        node("Sigmoid", "x", "r"),
        node("MaxPool", "r", "p", **POOL),
        node("Identity", "x", "q"),
    ),
}


@pytest.mark.parametrize("nodes", RECTIFIED.values(), ids=RECTIFIED)
def test_a_rectifier_moves_behind_the_pool(nodes: tuple[onnx.NodeProto, ...]) -> None:
    x = spaced(np.random.default_rng(0), 2, 3, 6, 6).astype(np.float32)
    model = model_of(*nodes, x=x)
    graph = normal_form(model, x)
    assert ops(graph)[-2:] == ["MaxPool", "Relu"]
    assert ops(graph).count("Relu") == 1
    np.testing.assert_array_equal(run_single(graph, {"x": x})[0], ort_run(model, x))
    check(Case("relu behind pool", model, {"x": x}, 2e-7))


def test_a_rectifier_that_is_asked_for_stays_in_front() -> None:
    x = random(1, 3, 6, 6)
    graph = normal_form(model_of(*RECTIFIED["relu"], x=x), x, "r")
    assert ops(graph) == ["Relu", "MaxPool"]


@pytest.mark.parametrize("nodes", SHARED.values(), ids=SHARED)
def test_a_pool_stays_behind(nodes: tuple[onnx.NodeProto, ...]) -> None:
    x = random(1, 3, 6, 6)
    last = node("ReduceMean", "p", "m", keepdims=1), node("Add", "m q", "y")
    assert ops(normal_form(model_of(*nodes, *last, x=x), x))[:2] == [n.op_type for n in nodes[:2]]


def test_concats_of_a_dense_block_are_nested() -> None:
    x = random(1, 4, 5, 5)
    nodes = [node("Sigmoid", "x", "a0")]
    for k in range(1, 5):
        nodes += [
            node(
                "Concat",
                " ".join(f"a{j}" for j in range(k)) + f" s{k - 1}" if k > 1 else "a0 x",
                f"c{k}",
                axis=1,
            ),
            node("Tanh", f"c{k}", f"t{k}"),
            node("ReduceMean", f"t{k} axes", f"s{k}", keepdims=1),
            node("Mul", f"s{k} x", f"a{k}"),
        ]
    nodes.append(node("Concat", "a0 a1 a2 a3 a4", "y", axis=1))
    model = model_of(*nodes, x=x, axes=np.array([1], np.int64))
    graph = normal_form(model, x)
    np.testing.assert_array_equal(run_single(graph, {"x": x})[0], ort_run(model, x))
    check(Case("dense", model, {"x": x}, 2e-7))


def test_a_concat_takes_its_longest_known_beginning() -> None:
    x = random(1, 2, 3, 3)
    nodes = (
        node("Exp", "x", "a"),
        node("Tanh", "x", "b"),
        node("Neg", "x", "c"),
        node("Concat", "x a", "ab", axis=1),
        node("Concat", "x a b", "abc", axis=-3),
        node("Concat", "x a b c", "abcd", axis=1),
        node("Concat", "x a b c", "other", axis=2),
        *(
            node("ReduceSum", name, f"sum {name}".replace(" ", "_"), keepdims=1)
            for name in ("ab", "abc", "other")
        ),
        node("Sum", "abcd sum_ab sum_abc sum_other", "y"),
    )
    graph = normal_form(model_of(*nodes, x=x), x)
    inputs = {n.outputs[0]: n.inputs for n in graph.nodes if n.op == "Concat"}
    assert inputs == {
        "ab": ["x", "a"], "abc": ["ab", "b"], "abcd": ["abc", "c"], "other": ["x", "a", "b", "c"],
    }  # fmt: skip


def test_the_parts_of_a_concat_split_the_convolution_behind_it() -> None:
    x = spaced(np.random.default_rng(2), 1, 3, 5, 5).astype(np.float32)
    nodes = (node("Exp", "x", "a"), node("Concat", "x a", "c", axis=1), node("Conv", "c w", "y"))
    model = model_of(*nodes, x=0.1 * x, w=random(4, 6, 3, 3))
    assert "Slice" not in ops(gradient_graph(forward_graph(model, {"x": x.shape}), "x"))
    check(Case("split", model, {"x": 0.1 * x}, 2e-7))


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(("kernel", "pads"), [(3, 1), (3, 0), (2, 0), (5, 2)])
def test_a_strided_depthwise_convolution(size: int, kernel: int, pads: int) -> None:
    x, w = random(2, C, size, size), random(C, 1, kernel, kernel, seed=2)
    which = case("Conv", Var(x), w, group=C, strides=[2, 2], pads=[pads] * 4, kernel_shape=[kernel, kernel])
    check(which)


def residual_network() -> tuple[onnx.ModelProto, np.ndarray]:
    x = random(1, 3, 16, 16)
    nodes, constants = [node("Conv", "image w", "a", pads=[1] * 4)], {"w": random(C, 3, 3, 3)}
    for k in range(3):
        nodes += [
            node("Relu", "a" * (k + 1), f"r{k}"),
            node("Conv", f"r{k} w{k}", f"c{k}", pads=[1] * 4),
            node("Add", f"c{k} {'a' * (k + 1)}", "a" * (k + 2)),
        ]
        constants[f"w{k}"] = 0.1 * random(C, C, 3, 3, seed=k)
    nodes += [node("Relu", "aaaa", "last"), node("GlobalAveragePool", "last", "y")]
    model = make_model(nodes, {"image": (x.shape, TensorProto.FLOAT)}, ["y"], constants)
    return model, x


def built(model: onnx.ModelProto, x: np.ndarray) -> Graph:
    graph = normalize(model, input_shapes={"image": x.shape}, keep=["y"])

    def value(g: Graph) -> str:
        square = g.add("Mul", ["y", "y"])  # a constant gradient would be folded away, and the door with it
        return g.add("ReduceMean", [square, g.add_constant(np.array([1, 2, 3]))], keepdims=0)

    return differentiate(graph, value)


def test_doors_lead_a_residual_stream_into_the_blocked_layout(tmp_path: Path) -> None:
    model, x = residual_network()
    graph = built(model, x)
    doors = [n for n in graph.nodes if n.op == "Conv" and n.name.startswith("grad/door")]
    assert len(doors) == 1  # one, at the smallest tensor, brings in all that follows
    assert graph.shape(doors[0].outputs[0]) == (1, C, 1, 1)
    closed = copy.deepcopy(graph)
    for n in closed.nodes:
        n.inputs = [doors[0].inputs[0] if name == doors[0].outputs[0] else name for name in n.inputs]
    closed.nodes = [n for n in closed.nodes if n.name != doors[0].name]
    for a, b in zip(run_single(graph, {"image": x}), run_single(closed, {"image": x}), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7 * np.abs(b).max())
    if not has_blocked_layout(tmp_path):
        pytest.skip("onnxruntime has no blocked layout on this processor")
    before, after = (reorders(g, tmp_path / "optimized.onnx") for g in (closed, graph))
    assert 0 < after < before


def has_blocked_layout(folder: Path) -> bool:
    """Whether onnxruntime takes a lone convolution into it, and its result out again."""
    x, w = random(1, C, 8, 8), random(C, C, 3, 3)
    alone = case("Conv", Var(x), w, pads=[1] * 4)
    graph = forward_graph(alone.model, {k: v.shape for k, v in alone.at.items()})
    return reorders(graph, folder / "alone.onnx") > 0


def reorders(graph: Graph, path: Path) -> int:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that such a file fits this processor alone
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(graph.to_model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return sum(n.op_type.startswith("Reorder") for n in onnx.load(path).graph.node)


def test_nothing_is_inserted_where_nothing_is_blocked() -> None:
    graph = normal_form(
        model_of(node("Relu", "x", "r"), node("Mul", "r x", "y"), x=(x := random(1, C, 4, 4))), x
    )
    before = copy.deepcopy(graph.nodes)
    open_doors(graph)
    assert graph.nodes == before


def ort_run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])
