"""Quantised networks: the straight-through estimator, and operators on integers by de-quantisation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import IMAGE, differentiate, normalize
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import make_model, node

quantization = pytest.importorskip("onnxruntime.quantization", reason="this onnxruntime has no quantiser")
RNG = np.random.default_rng(11)
SIZE = (3, 8, 8)


@pytest.fixture(autouse=True)
def _drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test draws from the start, whichever others run before it."""
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(12))


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def value_and_gradient(
    nodes: list[onnx.NodeProto], x: np.ndarray, weights: np.ndarray, **constants: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y as onnxruntime computes it of the model itself, y of the normal form, gradient of sum(weights y)."""
    model = make_model(nodes, {IMAGE: (x.shape, TensorProto.FLOAT)}, ["y"], constants)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    expected = session(model).run(None, {IMAGE: x})[0]
    graph = normalize(model, input_shapes={IMAGE: x.shape}, keep=["y"])

    def objective(g: Any) -> str:
        product = g.add("Mul", ["y", g.add_constant(weights)])
        return str(g.add("ReduceSum", [product], keepdims=0))

    graph = differentiate(graph, objective, activations=["y"])
    _, gradient, y = session(graph.to_model()).run(None, {IMAGE: x})
    return expected, y, gradient


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("per_axis", [False, True])
def test_the_estimator_passes_inside_the_range_and_stops_outside(dtype: Any, per_axis: bool) -> None:
    x = 3 * normal(2, 3, 5)
    scale = np.array([0.01, 0.02, 0.05], np.float32) if per_axis else np.array(0.02, np.float32)
    zero = np.full(scale.shape, 100 if dtype is np.uint8 else -20, dtype)
    nodes = [node("QuantizeLinear", "image s z", "q", axis=1), node("DequantizeLinear", "q s z", "y", axis=1)]
    r = normal(*x.shape)
    expected, y, gradient = value_and_gradient(nodes, x, r, s=scale, z=zero)
    np.testing.assert_array_equal(y, expected)
    s, z = (a.reshape(-1, 1) if per_axis else a for a in (scale, zero.astype(np.float32)))
    steps = np.rint(x / s) + z
    inside = (steps >= np.iinfo(dtype).min) & (steps <= np.iinfo(dtype).max)
    assert 0.1 < inside.mean() < 0.95
    np.testing.assert_allclose(gradient, np.where(inside, r, 0), rtol=1e-6)


def test_quantised_numbers_that_are_moved_and_pooled() -> None:
    x, r = normal(1, 2, 4, 4), normal(1, 8)
    nodes = [
        node("QuantizeLinear", "image s z", "q"),
        node("Transpose", "q", "t", perm=[0, 1, 3, 2]),
        node("MaxPool", "t", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", "p shape", "f"),
        node("DequantizeLinear", "f s z", "y"),
    ]
    constants = {"s": np.float32(0.03), "z": np.uint8(128), "shape": np.array([1, 8])}
    expected, y, gradient = value_and_gradient(nodes, x, r, **constants)
    np.testing.assert_array_equal(y, expected)
    largest = x.transpose(0, 1, 3, 2).reshape(1, 2, 2, 2, 2, 2).max((3, 5)).reshape(1, 8)
    for value, weight in zip(largest[0], r[0], strict=True):
        np.testing.assert_allclose(gradient[x == value], weight, rtol=1e-6)
    assert np.count_nonzero(gradient) == 8


def test_scales_per_axis_stay_with_their_axis() -> None:
    x, r = normal(2, 3, 4, 5), normal(2, 5, 4, 3)
    scale = np.array([0.02, 0.03, 0.05], np.float32)
    nodes = [
        node("QuantizeLinear", "image s z", "q", axis=1),
        node("Transpose", "q", "t", perm=[0, 3, 2, 1]),
        node("DequantizeLinear", "t s z", "y", axis=3),
    ]
    expected, y, gradient = value_and_gradient(nodes, x, r, s=scale, z=np.full(3, 128, np.uint8))
    np.testing.assert_array_equal(y, expected)
    inside = np.abs(x) < 127 * scale.reshape(3, 1, 1)
    np.testing.assert_allclose(gradient[inside], r.transpose(0, 3, 2, 1)[inside], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::sobolevflow.errors.AssumptionWarning")
@pytest.mark.parametrize("op", ["QuantizeLinear", "QLinearConv", "MaxPool", "QLinearAdd"])
def test_a_layer_of_quantised_numbers_is_one_of_what_they_stand_for(
    op: str, quantised: dict[str, Path]
) -> None:
    u, path = np.random.default_rng(9).random((2, *SIZE), np.float32), quantised["QOperator"]
    net, model = sf.load(path, preprocess="none"), onnx.load(path)
    made = next(n for n in model.graph.node if n.op_type == op)
    layer = made.output[0]
    assert net.layer(layer).differentiable
    near = made if op != "MaxPool" else next(n for n in model.graph.node if made.input[0] in n.output)
    known = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    scale, zero = (known[name] for name in (near.input[6:8] if len(near.input) > 7 else near.input[-2:]))
    model.graph.output.append(helper.make_tensor_value_info(layer, TensorProto.INT8, None))
    alone = session(model)
    integers = np.concatenate([alone.run([layer], {"x": each[None]})[0] for each in u])
    real = (integers.astype(np.float32) - zero) * scale
    (values,) = net.features(u, [layer])
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, real, atol=1.01 * float(scale))
    found, _ = sf.value_and_grad(net, sf.Channel(layer, 2))(u)
    np.testing.assert_allclose(found, real[:, 2].mean((1, 2)), atol=1.01 * float(scale))
    assert sf.check_gradient(net, sf.Channel(layer, 2), u) < 1e-4


def test_numbers_whose_scale_cannot_be_told_are_refused() -> None:
    """A scale for each channel, behind a transpose of them."""
    nodes = [
        node("QuantizeLinear", "image s z", "q", axis=1),
        node("Transpose", "q", "t", perm=[0, 2, 3, 1]),
        node("DequantizeLinear", "t s z", "y", axis=3),
    ]
    constants: dict[str, Any] = {
        "s": np.array([0.02, 0.03, 0.05], np.float32),
        "z": np.full(3, 128, np.uint8),
    }
    net = sf.load(make_model(nodes, {IMAGE: ((1, *SIZE), TensorProto.FLOAT)}, ["y"], constants))
    assert {info.name: info.differentiable for info in net.layers} == {"q": True, "t": False, "y": True}
    named, u = r"'t' holds numbers of type uint8.*e\.g\. sf\.Channel\('y', 0\)", np.zeros(SIZE, np.float32)
    with pytest.raises(UnsupportedOpError, match=named):
        sf.value_and_grad(net, sf.Layer("t"))(u)
    with pytest.raises(UnsupportedOpError, match=named):
        sf.attribution.grad_cam(net, sf.Channel("y", 0), u, "t")


def linear(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Quantised weights with one scale and zero point per column, and what they stand for."""
    w = RNG.integers(-100, 100, (rows, columns)).astype(np.int8)
    scale = RNG.uniform(0.01, 0.02, columns).astype(np.float32)
    zero = np.zeros(columns, np.int8)
    return w, scale, zero, w * scale


def test_a_quantised_product() -> None:
    x, (w, ws, wz, real), r = normal(4, 6), linear(6, 5), normal(4, 5)
    nodes = [
        node("QuantizeLinear", "image xs xz", "q"),
        node("QLinearMatMul", "q xs xz w ws wz ys yz", "p"),
        node("DequantizeLinear", "p ys yz", "y"),
    ]
    xs, ys = np.float32(0.02), np.float32(0.03)
    scales = {"xs": xs, "xz": np.uint8(120), "ys": ys, "yz": np.uint8(128)}
    expected, y, gradient = value_and_gradient(nodes, x, r, w=w, ws=ws, wz=wz, **scales)
    np.testing.assert_allclose(y, expected, atol=1.01 * float(ys))
    steps_in, steps_out = np.rint(x / xs) + 120, np.rint(y / ys) + 128
    inside_in = (steps_in >= 0) & (steps_in <= 255)
    beyond = np.abs((np.rint(x / xs).clip(-120, 135) * xs) @ real / ys)  # how far the outputs are out
    assert ((steps_out > 0) & (steps_out < 255)).any()
    inside_out = (beyond < 127) | ((steps_out > 0) & (steps_out < 255))
    np.testing.assert_allclose(gradient, ((r * inside_out) @ real.T) * inside_in, rtol=1e-4, atol=1e-5)


def test_a_quantised_convolution() -> None:
    x, r = normal(1, 2, 6, 6), normal(1, 4, 6, 6)
    w = RNG.integers(-100, 100, (4, 2, 3, 3)).astype(np.int8)
    ws, wz, b = (
        RNG.uniform(0.001, 0.002, 4).astype(np.float32),
        np.zeros(4, np.int8),
        RNG.integers(-50, 50, 4),
    )
    xs, ys = np.float32(0.03), np.float32(0.02)
    scales = {"xs": xs, "xz": np.uint8(128), "ws": ws, "wz": wz, "ys": ys, "yz": np.uint8(128)}
    quantised = [
        node("QuantizeLinear", "image xs xz", "q"),
        node("QLinearConv", "q xs xz w ws wz ys yz b", "c", pads=[1, 1, 1, 1]),
        node("DequantizeLinear", "c ys yz", "y"),
    ]
    expected, y, gradient = value_and_gradient(quantised, x, r, w=w, b=b.astype(np.int32), **scales)
    np.testing.assert_allclose(y, expected, atol=1.01 * float(ys))
    plain = [node("Conv", "image w b", "y", pads=[1, 1, 1, 1])]
    real, bias = w * ws.reshape(-1, 1, 1, 1), (b * xs * ws).astype(np.float32)
    _, _, free = value_and_gradient(plain, x, r, w=real, b=bias)
    np.testing.assert_allclose(gradient, free, rtol=1e-4, atol=1e-5)  # nothing is clipped here


@pytest.mark.parametrize("by_hand", [True, False], ids=["with zero points", "without"])
def test_integer_products_behind_dynamic_quantisation(by_hand: bool) -> None:
    x, (w, ws, _, real), r = normal(4, 6), linear(6, 5), normal(4, 5)
    zeros = "z wz" if by_hand else "z"
    nodes = [
        node("DynamicQuantizeLinear", "image", "q s z"),
        node("MatMulInteger", f"q w {zeros}", "i"),
        node("Cast", "i", "f", to=1),
        node("Mul", "f s", "g"),
        node("Mul", "g ws", "y"),
    ]
    expected, y, gradient = value_and_gradient(nodes, x, r, w=w, ws=ws, wz=np.zeros(5, np.int8))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradient, r @ real.T, rtol=1e-4, atol=1e-5)


def test_an_integer_convolution_behind_dynamic_quantisation() -> None:
    x, r = normal(1, 2, 5, 5), normal(1, 3, 3, 3)
    w = RNG.integers(0, 255, (3, 2, 3, 3)).astype(np.uint8)
    nodes = [
        node("DynamicQuantizeLinear", "image", "q s z"),
        node("ConvInteger", "q w z wz", "i"),
        node("Cast", "i", "f", to=1),
        node("Mul", "f s", "y"),
    ]
    expected, y, gradient = value_and_gradient(nodes, x, r, w=w, wz=np.uint8(120))
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    _, _, free = value_and_gradient([node("Conv", "image w", "y")], x, r, w=w.astype(np.float32) - 120)
    np.testing.assert_allclose(gradient, free, rtol=1e-4, atol=1e-3)


# -- networks as onnxruntime's quantiser writes them


class Images:
    """What the quantiser calibrates with."""

    def __init__(self) -> None:
        self.left: Iterator[np.ndarray] = iter(np.random.default_rng(0).random((8, 1, *SIZE), np.float32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.left, None)
        return None if image is None else {"x": image}

    def set_range(self, start: int, end: int) -> None:
        raise AssertionError("not asked for")


def small_network() -> onnx.ModelProto:
    rng = np.random.default_rng(5)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (5, 8), "b3": (5,)}
    weights = {k: (0.3 * rng.standard_normal(s)).astype(np.float32) for k, s in shapes.items()}
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
        node("Relu", "c1", "r1"),
        node("MaxPool", "r1", "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p1 w2 b2", "c2", pads=[1, 1, 1, 1]),
        node("Relu", "c2", "r2"),
        node("Add", "r2 p1", "sum"),
        node("GlobalAveragePool", "sum", "gap"),
        node("Flatten", "gap", "flat"),
        node("Gemm", "flat w3 b3", "scores", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, *SIZE))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, 5))],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("quantised")
    onnx.save(small_network(), folder / "float.onnx")
    for form in ("QDQ", "QOperator"):
        quantization.quantize_static(
            folder / "float.onnx",
            folder / f"{form}.onnx",
            Images(),
            quant_format=quantization.QuantFormat[form],
            per_channel=True,
        )
    return {form: folder / f"{form}.onnx" for form in ("float", "QDQ", "QOperator")}


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_quantised_network(form: str, quantised: dict[str, Path]) -> None:
    u = np.random.default_rng(9).random((1, *SIZE), np.float32)
    net, plain = (sf.load(quantised[name], preprocess="none") for name in (form, "float"))
    scores = session(onnx.load(quantised[form])).run(None, {"x": u})[0]
    step = np.abs(scores - session(onnx.load(quantised["float"])).run(None, {"x": u})[0]).max()
    np.testing.assert_allclose(net.scores(u), scores, atol=max(step, 0.02))
    _, g = sf.value_and_grad(net, sf.Class(2))(u)
    _, free = sf.value_and_grad(plain, sf.Class(2))(u)
    # rectifiers near their kink and pools near a tie go another way now and then
    cosine = float((g * free).sum() / np.linalg.norm(g) / np.linalg.norm(free))
    assert cosine > 0.95
    assert 0.8 < np.linalg.norm(g) / np.linalg.norm(free) < 1.25


def test_both_forms_of_a_quantised_network_have_one_gradient(quantised: dict[str, Path]) -> None:
    u = np.random.default_rng(9).random((1, *SIZE), np.float32)
    nets = [sf.load(quantised[form], preprocess="none") for form in ("QDQ", "QOperator")]
    first, second = (sf.value_and_grad(net, sf.Class(2))(u)[1] for net in nets)
    assert np.linalg.norm(first - second) < 0.05 * np.linalg.norm(first)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def test_a_quantised_softmax() -> None:
    x, r = normal(3, 5), normal(3, 5)
    nodes = [
        node("QuantizeLinear", "image s z", "q"),
        node("QLinearSoftmax", "q s z sp zp", "p", domain="com.microsoft", axis=-1, opset=13),
        node("DequantizeLinear", "p sp zp", "y"),
    ]
    scales = {"s": np.float32(0.03), "z": np.uint8(128), "sp": np.float32(1 / 256), "zp": np.uint8(0)}
    expected, y, gradient = value_and_gradient(nodes, x, r, **scales)
    np.testing.assert_allclose(y, expected, atol=1.01 / 256)
    p = softmax((np.rint(x / 0.03)).clip(-128, 127) * 0.03)
    inside = np.abs(x) < 127 * 0.03
    np.testing.assert_allclose(
        gradient, p * (r - (p * r).sum(-1, keepdims=True)) * inside, rtol=1e-3, atol=1e-5
    )


def test_a_quantised_softmax_over_several_axes_is_refused_by_name() -> None:
    nodes = [
        node("QuantizeLinear", "image s z", "q"),
        node("QLinearSoftmax", "q s z s z", "p", domain="com.microsoft", axis=1, opset=12),
        node("DequantizeLinear", "p s z", "y"),
    ]
    x = normal(1, 4, 2)
    with pytest.raises(UnsupportedOpError, match="QLinearSoftmax"):
        value_and_gradient(nodes, x, x, s=np.float32(0.02), z=np.uint8(0))


def test_a_quantised_operator_without_a_rule_is_named_whatever_is_asked(quantised: dict[str, Path]) -> None:
    """Its result is of integers, of which nothing but the operator tells whether they stand for others."""
    model = onnx.load(quantised["QOperator"])
    last = next(n for n in model.graph.node if n.op_type == "QLinearAdd")
    real, scale = last.output[0], list(last.input[-2:])
    for n in model.graph.node:
        n.input[:] = ["chosen" if x == real else x for x in n.input]
    where = ["yes", real, *scale, real, *scale, *scale]
    at = list(model.graph.node).index(last) + 1
    model.graph.node.insert(
        at, helper.make_node("QLinearWhere", where, ["chosen"], name="where", domain="com.microsoft")
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    net = sf.load(model, preprocess="none")
    named = rf"QLinearWhere \(node 'where'\).*e\.g\. sf\.Channel\('{real}', 0\)"
    with pytest.raises(UnsupportedOpError, match=named):
        sf.value_and_grad(net, sf.Class(0))(np.zeros(SIZE, np.float32))
    with pytest.raises(UnsupportedOpError, match=named):
        sf.attribution.grad_cam(net, sf.Class(0), np.zeros(SIZE, np.float32))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_class_scores_come_before_a_quantised_softmax(
    form: str, quantised: dict[str, Path], tmp_path: Path
) -> None:
    model = small_network()
    model.graph.node.append(node("Softmax", "scores", "p", axis=-1))
    model.graph.output[0].name = "p"
    onnx.save(model, tmp_path / "float.onnx")
    quantization.quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "m.onnx",
        Images(),
        quant_format=quantization.QuantFormat[form],
        per_channel=True,
    )
    u = np.random.default_rng(9).random((1, *SIZE), np.float32)
    net, plain = (sf.load(path, preprocess="none") for path in (tmp_path / "m.onnx", quantised[form]))
    assert net.stripped == "Softmax"
    (note,) = (note for note in net.notes() if "left out" in note)
    assert f"the trailing Softmax is left out; class scores are those of {net.score_layer!r}" in note
    np.testing.assert_allclose(net.scores(u), plain.scores(u), atol=0.02)
    gradients = [sf.value_and_grad(each, sf.Class(2))(u)[1] for each in (net, plain)]
    assert np.linalg.norm(np.subtract(*gradients)) < 0.02 * np.linalg.norm(gradients[1])
    assert sf.attribution.default_layer(net, sf.Class(2)) == sf.attribution.default_layer(plain, sf.Class(2))
