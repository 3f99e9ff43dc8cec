"""The normal form: opsets 7 to 24 run as before, constants and normalizations fold, kept tensors stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad import Graph, as_loaded, normalize
from sobolevflow.onnxgrad.graph import OPSET
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import (
    Case,
    check,
    close,
    forward_graph,
    make_model,
    node,
    run_single,
    spaced,
)

RNG = np.random.default_rng(11)
X = spaced(RNG, 2, 3, 4, 6).astype(np.float32)
FLOAT = TensorProto.FLOAT


@pytest.fixture(autouse=True)
def _drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test draws from the start, whichever others run before it."""
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(12))


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def model_of(*nodes: onnx.NodeProto, opset: int, **constants: Any) -> onnx.ModelProto:
    return make_model(nodes, {"x": (X.shape, FLOAT)}, ["y"], constants, opset=opset)


def run_original(model: onnx.ModelProto, x: np.ndarray = X) -> list[np.ndarray]:
    return list(session(as_loaded(model)).run(None, {model.graph.input[0].name: x}))


def assert_same(model: onnx.ModelProto, x: np.ndarray = X, tolerance: float = 1e-5) -> Graph:
    """The normal form computes what the model computes."""
    graph = forward_graph(model, {"x": x.shape})
    for y, expected in zip(run_single(graph, {"x": x}), run_original(model, x), strict=True):
        close(y, expected, tolerance)
    assert [(o.domain, o.version) for o in graph.to_model().opset_import] == [("", OPSET)]
    return graph


def branching(condition: str, *, deeper: bool = False) -> onnx.NodeProto:
    """y = 2 sigmoid(x), or -x; names of one branch recur in the other."""

    def branch(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.GraphProto:
        weights = [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
        return helper.make_graph(list(nodes), "branch", [], [onnx.ValueInfoProto(name="out")], weights)

    steep = branch(node("Sigmoid", "x", "a"), node("Mul", "a w", "out"), w=np.array(2, np.float32))
    then = branch(node("If", condition, "out", then_branch=steep, else_branch=steep)) if deeper else steep
    other = branch(node("Neg", "x", "a"), node("Identity", "a", "out"))
    return node("If", condition, "y", then_branch=then, else_branch=other)


BN = {
    "scale": normal(3),
    "bias": normal(3),
    "mean": normal(3),
    "var": RNG.uniform(0.5, 2, 3).astype(np.float32),
}

MODELS = {
    "Clip with attributes": model_of(node("Clip", "x", "y", min=-1.0, max=1.5), opset=7),
    "Dropout with mask": model_of(node("Dropout", "x", "y mask", ratio=0.5), opset=7),
    "BatchNormalization-7": model_of(node("BatchNormalization", "x scale bias mean var", "y"), opset=7, **BN),
    "Softmax-7 of 4 axes": model_of(node("Softmax", "x", "y", axis=1), opset=7),
    "LogSoftmax-7 of 4 axes": model_of(node("LogSoftmax", "x", "y", axis=2), opset=7),
    "Upsample-7": model_of(node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 3.0]), opset=7),
    "Upsample-7 linear": model_of(
        node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 2.0], mode="linear"), opset=7
    ),
    "Upsample-9": model_of(node("Upsample", "x s", "y"), opset=9, s=np.array([1, 1, 2, 2], np.float32)),
    "Resize-10": model_of(
        node("Resize", "x s", "y", mode="linear"), opset=10, s=np.array([1, 1, 2, 2], np.float32)
    ),
    "Resize-10 to a size that scales do not divide": model_of(
        node("Resize", "x s", "y"), opset=10, s=np.array([1, 1, 1.75, 2.5], np.float32)
    ),
    "Resize-10 that shrinks": model_of(
        node("Resize", "x s", "y"), opset=10, s=np.array([1, 1, 0.5, 0.5], np.float32)
    ),
    "GroupNormalization": model_of(
        node("GroupNormalization", "x scale bias", "y", num_groups=3),
        opset=21,
        scale=normal(3),
        bias=normal(3),
    ),
    "RMSNormalization": model_of(node("RMSNormalization", "x scale", "y"), opset=23, scale=normal(6)),
    "Average over dilation 1": model_of(
        node("AveragePool", "x", "y", kernel_shape=[2, 2], dilations=[1, 1]), opset=20
    ),
    "Pad-19 wrap": model_of(
        node("Pad", "x pads", "y", mode="wrap"), opset=19, pads=np.array([0, 0, 1, 2, 0, 0, 3, 1])
    ),
    "Resize-11 by sizes": model_of(
        node(
            "Resize", "x roi none sizes", "y", mode="linear", coordinate_transformation_mode="align_corners"
        ),
        opset=11,
        roi=np.zeros(0, np.float32),
        none=np.zeros(0, np.float32),
        sizes=np.array([2, 3, 7, 9]),
    ),
    "Pad-2": model_of(node("Pad", "x", "y", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5), opset=7),
    "Pad-2 reflect": model_of(node("Pad", "x", "y", pads=[0, 0, 1, 2, 0, 0, 3, 1], mode="reflect"), opset=7),
    "Slice-1": model_of(node("Slice", "x", "y", axes=[1, 3], starts=[1, -4], ends=[3, 1000]), opset=7),
    "Slice-10": model_of(
        node("Slice", "x a b axes steps", "y"),
        opset=10,
        a=np.array([5]),
        b=np.array([-100]),
        axes=np.array([3]),
        steps=np.array([-2]),
    ),
    "Split-2": model_of(node("Split", "x", "a b", axis=3, split=[2, 4]), node("Relu", "b", "y"), opset=7),
    "Split-2 in equal parts": model_of(node("Split", "x", "a b", axis=3), node("Sub", "b a", "y"), opset=7),
    "Squeeze and Unsqueeze with attributes": model_of(
        node("Unsqueeze", "x", "a", axes=[0, 3]), node("Squeeze", "a", "y", axes=[0]), opset=7
    ),
    "ReduceMean with attributes": model_of(node("ReduceMean", "x", "y", axes=[2, 3], keepdims=0), opset=7),
    "ReduceSum with attributes": model_of(node("ReduceSum", "x", "y", axes=[-1]), opset=11),
    "PRelu-7": model_of(node("PRelu", "x slope", "y"), opset=7, slope=normal(3, 1, 1)),
    "HardSwish-14": model_of(node("HardSwish", "x", "y"), opset=14),
    "Gemm-7": model_of(
        node("Flatten", "x", "a"),
        node("Gemm", "a w b", "y", transB=1, alpha=0.5),
        opset=7,
        w=normal(5, 72),
        b=normal(5),
    ),
    "Gelu": model_of(node("Gelu", "x", "y"), opset=20),
    "Gelu by tanh": model_of(node("Gelu", "x", "y", approximate="tanh"), opset=20),
    "Gelu beside others": model_of(
        node("Conv", "x w", "a"),
        node("Gelu", "a", "b"),
        node("Add", "a b", "y"),
        opset=22,
        w=normal(2, 3, 1, 1),
    ),
    "Swish": model_of(node("Swish", "x", "y", alpha=1.3), opset=24),
    "Conv and pools of opset 22": model_of(
        node("Conv", "x w", "a", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("MaxPool", "a", "b", kernel_shape=[2, 2]),
        node("AveragePool", "b", "y", kernel_shape=[1, 2]),
        opset=22,
        w=normal(4, 3, 3, 3),
    ),
    "Reshape of opset 21": model_of(node("Reshape", "x s", "y"), opset=21, s=np.array([2, -1])),
    "ReduceMean of opset 20": model_of(node("ReduceMean", "x axes", "y"), opset=20, axes=np.array([2, 3])),
    "Resize-19": model_of(
        node("Resize", "x - s", "y", mode="linear"), opset=19, s=np.array([1, 1, 2, 2], np.float32)
    ),
    "Attention": model_of(node("Attention", "x x v", "y"), opset=23, v=normal(2, 3, 4, 5)),
    "Attention, causal, of three axes": model_of(
        node("Reshape", "x s", "a"),
        node("Attention", "a a a", "y", q_num_heads=3, kv_num_heads=3, is_causal=1, scale=0.1),
        opset=24,
        s=np.array([2, 2, 36]),
    ),
    "Attention with a mask": model_of(
        node("Attention", "x x x mask", "y", softcap=2.0, scale=0.1), opset=24, mask=normal(4, 4)
    ),
    "RotaryEmbedding": model_of(
        node("RotaryEmbedding", "x cos sin", "y"), opset=23, cos=normal(2, 4, 3), sin=normal(2, 4, 3)
    ),
    "CenterCropPad": model_of(node("CenterCropPad", "x s", "y", axes=[2, 3]), opset=18, s=np.array([7, 3])),
    "ConstantOfShape-21": model_of(
        node("ConstantOfShape", "s", "a", value=helper.make_tensor("", FLOAT, [1], [3.0])),
        node("Mul", "x a", "y"),
        opset=21,
        s=np.array([4, 6]),
    ),
    "GlobalMaxPool-22": model_of(node("GlobalMaxPool", "x", "y"), opset=22),
    "If of a constant": model_of(branching("on"), opset=16, on=np.array(True)),
    "If of the other constant": model_of(branching("on"), opset=16, on=np.array(False)),
    "If of a shape": model_of(
        node("Shape", "x", "s"),
        node("Gather", "s third", "size"),
        node("Equal", "size six", "on"),
        branching("on"),
        opset=16,
        third=np.array(3),
        six=np.array(6),
    ),
    "If in an If": model_of(branching("on", deeper=True), opset=16, on=np.array(True)),
    "Constant nodes": model_of(
        node("Constant", "", "two", value_float=2.0),
        node("Constant", "", "axes", value_ints=[2, 3]),
        node("Mul", "x two", "a"),
        node("ReduceSum", "a axes", "y"),
        opset=13,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_runs_as_before_and_has_a_gradient(name: str) -> None:
    assert_same(MODELS[name])
    check(Case(name, MODELS[name], {"x": X}, 1e-6))


def test_halves_in_a_branch_are_widened() -> None:
    def branch(factor: float) -> onnx.GraphProto:
        weights = [onnx.numpy_helper.from_array(np.array(factor, np.float16), "w")]
        return helper.make_graph(
            [node("Mul", "x w", "out")], "branch", [], [onnx.ValueInfoProto(name="out")], weights
        )

    nodes = [node("If", "on", "y", then_branch=branch(2), else_branch=branch(3))]
    model = make_model(nodes, {"x": (X.shape, TensorProto.FLOAT16)}, ["y"], {"on": np.array(True)}, opset=16)
    np.testing.assert_allclose(run_single(forward_graph(model, {"x": X.shape}), {"x": X})[0], 2 * X)


@pytest.mark.parametrize("opset", range(7, 25))
def test_every_opset_from_7_to_24(opset: int) -> None:
    model = model_of(
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "c"),
        node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "d", "e"),
        node("Flatten", "e", "f"),
        node("Gemm", "f v b", "y", transB=1),
        opset=opset,
        w=normal(4, 3, 3, 3),
        b=normal(4),
        v=normal(4, 4),
    )
    assert_same(model)


@pytest.mark.parametrize("opset", [18, 20, 22, 24])
def test_operators_that_only_took_more_types_are_converted(opset: int) -> None:
    shaped = node("Shape", "x", "shape")
    filled = node("ConstantOfShape", "shape", "ones", value=numpy_helper.from_array(np.ones(1, np.float32)))
    rest = [node("Add", "x ones", "sum"), node("GlobalMaxPool", "sum", "y")]
    assert_same(model_of(shaped, filled, *rest, opset=opset))


@pytest.mark.parametrize("opset", [1, 6, 25, 99])
def test_other_opsets_are_refused_by_number(opset: int) -> None:
    with pytest.raises(ModelError, match=f"opset {opset}.*7 to 24"):
        forward_graph(model_of(node("Relu", "x", "y"), opset=opset), {"x": X.shape})


@pytest.mark.parametrize(
    "name",
    ["Upsample-7", "Upsample-9", "Resize-10", "Softmax-7 of 4 axes", "Split-2", "Gelu", "Pad-2", "Swish"],
)
def test_a_kept_tensor_inside_keeps_its_name_and_value(name: str) -> None:
    # conversion renames the outputs of nodes that it rewrites, unless they are outputs of the graph
    model = onnx.ModelProto()
    model.CopyFrom(MODELS[name])
    model.graph.node.insert(0, node("Abs", "x", "before"))
    model.graph.node[1].input[0] = "before"
    model.graph.node.append(node("Neg", "y", "after"))
    model.graph.output.append(onnx.ValueInfoProto(name="after"))
    assert_same(model)


def test_initializers_listed_as_inputs_are_constants() -> None:
    model = model_of(node("Conv", "x w", "y"), opset=7, w=normal(2, 3, 1, 1))
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, (2, 3, 1, 1)))
    before = model.SerializeToString()
    graph = assert_same(model)
    assert list(graph.inputs) == ["x"]
    assert model.SerializeToString() == before  # the user's proto is not modified


def test_float16_becomes_float32() -> None:
    half = TensorProto.FLOAT16
    w = normal(2, 3, 3, 3).astype(np.float16)
    nodes = [
        node("Constant", "", "two", value=numpy_helper.from_array(np.array(2, np.float16))),
        node("Conv", "x w", "a"),
        node("Mul", "a two", "b"),
        node("Cast", "b", "c", to=FLOAT),
        node("Cast", "c", "y", to=half),
    ]
    model = make_model(nodes, {"x": (X.shape, half)}, ["y"], {"w": w}, opset=9)
    graph = forward_graph(model, {"x": X.shape})
    assert graph.type("y").dtype == np.float32
    x16 = (X / 8).astype(np.float16)
    expected = run_original(model, x16)[0].astype(np.float32)
    close(run_single(graph, {"x": x16.astype(np.float32)})[0], expected, 2e-3)
    check(Case("half", model, {"x": X}, 1e-6))


def conv_bn(opset: int = 9) -> onnx.ModelProto:
    return model_of(
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a scale bias mean var", "n", epsilon=1e-3),
        node("Relu", "n", "y"),
        opset=opset,
        w=normal(3, 3, 3, 3),
        b=normal(3),
        **BN,
    )


def test_batch_normalization_folds_into_the_convolution() -> None:
    graph = assert_same(conv_bn())
    assert [n.op for n in graph.nodes] == ["Conv", "Relu"]


def test_it_folds_without_a_bias_and_with_groups() -> None:
    model = conv_bn()
    conv = model.graph.node[0]
    del conv.input[2:]
    conv.attribute.append(helper.make_attribute("group", 3))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(normal(3, 1, 3, 3), "w"))
    assert [n.op for n in assert_same(model).nodes] == ["Conv", "Relu"]


@pytest.mark.parametrize("kept", ["a", "n"])
def test_nothing_folds_across_a_kept_tensor(kept: str) -> None:
    model = conv_bn()
    graph = normalize(model, input_shapes={"x": X.shape}, keep=[kept, "y"])
    model.graph.output.insert(0, onnx.ValueInfoProto(name=kept))
    ops = ["Conv", "BatchNormalization", "Relu"] if kept == "a" else ["Conv", "Relu"]
    assert [n.op for n in graph.nodes] == ops
    for y, expected in zip(run_single(graph, {"x": X}), run_original(model), strict=True):
        close(y, expected, 1e-5)


def test_it_does_not_fold_where_someone_else_reads_the_convolution() -> None:
    model = conv_bn()
    model.graph.node[2].CopyFrom(node("Add", "n a", "y"))
    assert [n.op for n in assert_same(model).nodes] == ["Conv", "BatchNormalization", "Add"]


def test_shared_weights_fold_separately() -> None:
    model = model_of(
        node("Conv", "x w", "a"),
        node("BatchNormalization", "a scale bias mean var", "n"),
        node("Conv", "n w", "b"),
        node("BatchNormalization", "b bias scale mean var", "y"),
        opset=9,
        w=normal(3, 3, 1, 1),
        **BN,
    )
    assert [n.op for n in assert_same(model).nodes] == ["Conv", "Conv"]


def test_constant_subgraphs_fold() -> None:
    # a weight that is computed: normalised, scaled, transposed
    model = model_of(
        node("ReduceL2", "w", "norm"),
        node("Div", "w norm", "unit"),
        node("Transpose", "unit", "t", perm=[1, 0, 2, 3]),
        node("Conv", "x t", "y"),
        opset=13,
        w=normal(3, 4, 3, 3),
    )
    graph = assert_same(model)
    assert [n.op for n in graph.nodes] == ["Conv"]
    assert graph.constant(graph.nodes[0].inputs[1]) is not None


def test_a_constant_that_only_shapes_were_read_from_leaves_nothing() -> None:
    model = model_of(
        node("ConstantOfShape", "s", "zeros"),
        node("Shape", "zeros", "t"),
        node("Reshape", "x t", "y"),
        opset=13,
        s=np.array([2, 72]),
    )
    assert [n.op for n in assert_same(model).nodes] == ["Reshape"]


def test_random_numbers_are_not_folded() -> None:
    model = model_of(
        node("RandomNormal", "", "noise", shape=[1], scale=1e-6), node("Add", "x noise", "y"), opset=13
    )
    assert [n.op for n in forward_graph(model, {"x": X.shape}).nodes] == ["RandomNormal", "Add"]


def test_dynamic_shapes_are_frozen_and_their_plumbing_folds() -> None:
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Shape", "a", "shape"),
        node("Gather", "shape zero", "n", axis=0),
        node("Unsqueeze", "n", "n1", axes=[0]),
        node("Concat", "n1 rest", "target", axis=0),
        node("Reshape", "a target", "flat"),
        node("MatMul", "flat m", "y"),
    ]
    constants = {
        "w": normal(2, 3, 3, 3),
        "zero": np.array(0),
        "rest": np.array([-1]),
        "m": normal(48, 5),
    }
    model = make_model(nodes, {"x": (["N", 3, "H", "W"], FLOAT)}, ["y"], constants, opset=11)
    graph = assert_same(model)
    assert [n.op for n in graph.nodes] == ["Conv", "Reshape", "MatMul"]
    assert graph.shape("y") == (2, 5)


def test_shapes_that_inference_leaves_open_are_found_by_running() -> None:
    # the target shape comes from values, so inference cannot know it
    nodes = [
        node("ArgMax", "fixed", "k", axis=0, keepdims=1),
        node("Range", "start stop step", "r"),
        node("NonZero", "mask", "indices"),
        node("GatherND", "x at", "g"),
        node("Relu", "g", "y"),
    ]
    constants = {
        "fixed": normal(4),
        "start": np.array(0),
        "stop": np.array(3),
        "step": np.array(1),
        "mask": np.ones(3, np.float32),
        "at": np.array([[0, 1], [1, 2]]),
    }
    model = make_model(nodes, {"x": (X.shape, FLOAT)}, ["y"], constants, opset=13)
    graph = forward_graph(model, {"x": X.shape})
    assert graph.shape("y") == (2, 4, 6)
    check(Case("GatherND", model, {"x": X}, 1e-6))


def test_only_what_the_kept_tensors_need_remains() -> None:
    model = conv_bn()
    graph = normalize(model, input_shapes={"x": X.shape}, keep=["a"])
    assert [n.op for n in graph.nodes] == ["Conv"]
    assert graph.constants.keys() == {"w", "b"}


def test_other_inputs_become_constants_of_their_declared_type() -> None:
    nodes = [node("Mul", "x factor", "y")]
    model = make_model(nodes, {"x": (X.shape, FLOAT), "factor": ((1,), FLOAT)}, ["y"])
    graph = normalize(model, input_shapes={"x": X.shape}, keep=["y"], feeds={"factor": np.array([3])})
    assert list(graph.inputs) == ["x"]
    np.testing.assert_allclose(run_single(graph, {"x": X})[0], 3 * X)
    with pytest.raises(ModelError, match="input 'factor' needs a value"):
        normalize(model, input_shapes={"x": X.shape}, keep=["y"])


@pytest.mark.parametrize("border", [[1, 0, 2, 1], [0, 1, 0, 0]])
def test_crop_is_lowered(border: list[int]) -> None:
    left, top, right, bottom = border
    model = model_of(node("Crop", "x", "y", border=border), opset=7)
    graph = forward_graph(model, {"x": X.shape})
    expected = X[:, :, top : X.shape[2] - bottom, left : X.shape[3] - right]
    np.testing.assert_array_equal(run_single(graph, {"x": X})[0], expected)
    check(Case("Crop", model, {"x": X}, 2e-7))


def test_crop_to_a_size_is_lowered() -> None:
    model = model_of(node("Crop", "x", "y", border=[1, 2, 0, 0], scale=[2, 3]), opset=7)
    graph = forward_graph(model, {"x": X.shape})
    np.testing.assert_array_equal(run_single(graph, {"x": X})[0], X[:, :, 2:4, 1:4])


def test_image_scaler_and_affine_are_lowered() -> None:
    model = model_of(
        node("ImageScaler", "x", "a", scale=2.0, bias=[1.0, -2.0, 3.0]),
        node("Affine", "a", "y", alpha=0.5, beta=-1.0),
        opset=7,
    )
    graph = forward_graph(model, {"x": X.shape})
    bias = np.array([1, -2, 3], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(run_single(graph, {"x": X})[0], 0.5 * (2 * X + bias) - 1, rtol=1e-6)
    check(Case("legacy", model, {"x": X}, 2e-7))


@pytest.mark.parametrize("opset", [7, 9])
@pytest.mark.parametrize(("op", "bend"), [("ScaledTanh", np.tanh), ("ParametricSoftplus", np.logaddexp)])
def test_scaled_activations_are_lowered(op: str, bend: Callable[..., np.ndarray], opset: int) -> None:
    model = model_of(node(op, "x", "y", alpha=1.7, beta=0.6), opset=opset)
    (found,) = run_single(forward_graph(model, {"x": X.shape}), {"x": X})
    inner = np.float32(0.6) * X
    expected = 1.7 * (bend(inner) if op == "ScaledTanh" else bend(0, inner))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(session(model).run(None, {"x": X})[0], expected, rtol=1e-5, atol=1e-6)
    check(Case(op, model, {"x": X}, 2e-7))


def test_local_functions_are_inlined() -> None:
    body = [helper.make_node("Mul", ["a", "a"], ["b"]), helper.make_node("Relu", ["b"], ["c"])]
    function = helper.make_function("own", "SquareRelu", ["a"], ["c"], body, [helper.make_opsetid("", 18)])
    graph = helper.make_graph(
        [helper.make_node("SquareRelu", ["x"], ["y"], domain="own")],
        "test",
        [helper.make_tensor_value_info("x", FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", FLOAT, X.shape)],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, functions=[function], opset_imports=imports)
    model.ir_version = 8
    normalised = assert_same(model)
    assert [n.op for n in normalised.nodes] == ["Mul", "Relu"]
    check(Case("function", model, {"x": X}, 1e-6))


def test_operators_that_onnx_does_not_define_are_refused_by_name() -> None:
    with pytest.raises(ModelError, match=r"opset 9.*does not define: Frobnicate"):
        forward_graph(model_of(node("Frobnicate", "x", "y"), opset=9), {"x": X.shape})


def test_a_tensor_that_does_not_exist_is_reported() -> None:
    with pytest.raises(ModelError, match="'nothing'"):
        normalize(conv_bn(), input_shapes={"x": X.shape}, keep=["nothing"])


def pool(op: str, ceil: int, **attrs: Any) -> onnx.ModelProto:
    return model_of(node(op, "x", "a", ceil_mode=ceil, **attrs), node("Relu", "a", "y"), opset=12)


def test_a_ceil_mode_window_behind_the_data_is_dropped_as_onnxruntime_drops_it() -> None:
    graph = assert_same(pool("MaxPool", 1, kernel_shape=[1, 1], strides=[2, 4]))
    assert graph.shape("y") == (2, 3, 2, 2)
    graph = assert_same(pool("MaxPool", 1, kernel_shape=[1, 3], strides=[2, 4]))  # hangs over along rows
    assert graph.shape("y") == (2, 3, 2, 2)
    mixed = pool("AveragePool", 1, kernel_shape=[1, 3], strides=[2, 4], count_include_pad=1)
    with pytest.raises(ModelError, match="ceil_mode"):
        forward_graph(mixed, {"x": X.shape})
