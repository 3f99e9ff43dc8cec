"""Attribution: closed forms, axioms, differences, batches, layouts, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.sparse as sp
from onnx import TensorProto, helper
from scipy import ndimage
from scipy.sparse.linalg import spsolve

import sobolevflow as sf
from sobolevflow.attribution import (
    completeness_error,
    default_layer,
    grad_cam,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from sobolevflow.errors import AssumptionWarning, GradientError, InputError, UnknownNameError
from sobolevflow.network import Network, load
from sobolevflow.objectives import Objective
from sobolevflow.objectives.inversion import Inversion
from sobolevflow.objectives.units import Channel, Class, Neuron
from sobolevflow.onnxgrad.float64 import evaluate
from sobolevflow.pictures import heatmap
from tests.network.test_positions import shuffled_tokens, vit
from tests.support.analytic import neumann_laplacian
from tests.support.gradient_cases import close, make_model
from tests.support.layouts import feature_maps
from tests.support.small_networks import SIZE, images, small_model, weights

METHODS: dict[str, Callable[..., Any]] = {
    "saliency": saliency,
    "sobolev": lambda *a: saliency(*a, filter=sf.filters.Sobolev(gamma=2)),
    "smooth_grad": lambda *a: smooth_grad(*a, samples=3),
    "integrated_gradients": lambda *a: integrated_gradients(*a, steps=3),
    "grad_cam": grad_cam,
}


@pytest.fixture
def net() -> Network:
    return load(small_model(), preprocess="tf")


def linear_network() -> tuple[Network, np.ndarray]:
    """Scores w u of 6 classes, and w of shape (6, 3, 8, 10)."""
    w = np.random.default_rng(1).standard_normal((6, *SIZE)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["s"])]
    model = make_model(nodes, {"x": (("N", *SIZE), TensorProto.FLOAT)}, ["s"], {"w": w.reshape(6, -1).T})
    return load(model), w


def power_network(power: int) -> Network:
    """The one score is the sum of the image's values to a power."""
    nodes = [
        helper.make_node("Pow", ["x", "p"], ["xp"]),
        helper.make_node("Flatten", ["xp"], ["f"]),
        helper.make_node("ReduceSum", ["f", "axes"], ["s"], keepdims=1),
    ]
    constants = {"p": np.array(power, np.float32), "axes": np.array([1])}
    return load(make_model(nodes, {"x": (("N", *SIZE), TensorProto.FLOAT)}, ["s"], constants))


# -- saliency


def test_the_saliency_of_a_linear_network_is_the_size_of_its_weights() -> None:
    net, w = linear_network()
    u, objective = images(2), Class([4, 1])
    np.testing.assert_array_equal(saliency(net, objective, u, reduce=None), w[[4, 1]])
    np.testing.assert_array_equal(saliency(net, objective, u), np.abs(w[[4, 1]]).max(axis=1))
    close(saliency(net, objective, u, reduce="norm"), np.linalg.norm(w[[4, 1]], axis=1), 1e-6)
    close(saliency(net, objective, u, reduce="sum"), w[[4, 1]].sum(axis=1), 1e-6)


def test_sobolev_saliency_is_that_of_the_gradient_in_h1(net: Network) -> None:
    gamma, u = 3.0, images(2)
    smoothed = saliency(net, Class(2), u, filter=sf.filters.Sobolev(gamma=gamma), reduce=None)
    g = sf.value_and_grad(net, Class(2))(u)[1]
    h, w = SIZE[1:]
    operator = sp.eye(h * w, format="csc") - gamma * neumann_laplacian(h, w).tocsc()
    solved = spsolve(operator, g.reshape(-1, h * w).T.astype(np.float64)).T.reshape(g.shape)
    close(smoothed, solved, 1e-5)
    np.testing.assert_array_equal(
        saliency(net, Class(2), u, filter=sf.filters.Sobolev(gamma=gamma)), np.abs(smoothed).max(axis=1)
    )


def test_sobolev_saliency_keeps_constants() -> None:
    w = np.broadcast_to(np.array([0.5, -2.0, 1.0], np.float32)[:, None, None], SIZE)
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["s"])]
    constants = {"w": np.ascontiguousarray(w.reshape(1, -1).T)}
    net = load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["s"], constants))
    m = saliency(net, Class(0), images(), filter=sf.filters.Sobolev(gamma=20))
    np.testing.assert_allclose(m, 2.0, rtol=1e-5)


@pytest.mark.filterwarnings("error")
def test_a_filter_of_the_gradient_is_told_which_axis_holds_the_colours(net: Network) -> None:
    u, K = images(2), sf.Multiscale(2)
    g = sf.value_and_grad(net, Class(2))(u)[1]
    expected = K(g, channel_axis=1)
    np.testing.assert_array_equal(saliency(net, Class(2), u, filter=K, reduce=None), expected)
    alone = saliency(net, Class(2), u[0], filter=K, reduce=None)
    close(alone, expected[0], 1e-6)
    of_mean = smooth_grad(net, Class(2), u, samples=2, noise=0, filter=K, reduce=None)
    close(of_mean, expected, 1e-5)


# -- SmoothGrad


def test_smooth_grad_without_noise_is_the_gradient(net: Network) -> None:
    u = images(2)
    g = sf.value_and_grad(net, Class(2))(u)[1]
    np.testing.assert_array_equal(smooth_grad(net, Class(2), u, noise=0, samples=7, reduce=None), g)


def test_smooth_grad_is_the_mean_over_noisy_copies(net: Network) -> None:
    u = images() * np.float32(0.5)
    rng, gradient = np.random.default_rng(5), sf.value_and_grad(net, Class(2))
    sigma = np.float32(0.3) * (u.max() - u.min())
    copies = [u + sigma * rng.standard_normal(SIZE, np.float32) for _ in range(6)]
    mean = np.mean([gradient(copy)[1] for copy in copies], axis=0)
    K = sf.filters.Sobolev(gamma=1)
    options: dict[str, Any] = {"samples": 6, "noise": 0.3, "seed": 5}
    close(smooth_grad(net, Class(2), u, **options, reduce=None), mean, 1e-6)
    close(smooth_grad(net, Class(2), u, **options, filter=K), np.abs(K(mean)).max(axis=1), 1e-5)
    other = smooth_grad(net, Class(2), u, **{**options, "seed": 6}, reduce=None)
    assert not np.allclose(other, mean, rtol=1e-3)


# -- integrated gradients


@pytest.mark.parametrize(
    "baseline", [0.0, 0.5, images(seed=7)[0], np.full((3, 1, 1), [[[0.1]], [[0.2]], [[0.3]]])], ids=str
)
def test_integrated_gradients_of_a_linear_network_are_exact(baseline: Any) -> None:
    net, w = linear_network()
    u = images(2)
    a = integrated_gradients(net, Class([4, 1]), u, baseline=baseline, steps=1)
    close(a, w[[4, 1]] * (u - np.asarray(baseline, np.float32)), 1e-6)


@pytest.mark.parametrize("power", [2, 3, 4])
def test_integrated_gradients_of_a_polynomial_are_exact_with_few_steps(power: int) -> None:
    # the integral of p t^(p - 1) u^p over t: u^p for every entry, where a quadrature of 2 steps is exact
    u = images()
    a = integrated_gradients(power_network(power), Class(0), u, steps=2)
    close(a, u**power, 1e-5)


def test_contributions_add_up_to_the_change_of_the_score(net: Network) -> None:
    u, objective = images(3), Class([0, 3, 5])
    change = net.scores(u)[range(3), [0, 3, 5]] - net.scores(0 * u)[range(3), [0, 3, 5]]
    errors = []
    for steps in (16, 128, 1024):
        a = integrated_gradients(net, objective, u, steps=steps)
        e = completeness_error(net, objective, u, a)
        np.testing.assert_allclose(e, a.sum(axis=(1, 2, 3)) - change, atol=1e-5)
        per_pixel = integrated_gradients(net, objective, u, steps=steps, reduce="sum")
        np.testing.assert_allclose(completeness_error(net, objective, u, per_pixel), e, atol=1e-5)
        errors.append(np.abs(e).max() / np.abs(change).max())
    # the gradient of a network with rectifiers jumps along the way: convergence is as 1 / steps
    assert errors[2] < errors[1] / 4 < errors[0] / 16
    assert errors[2] < 1e-3


def test_a_baseline_of_its_own_for_each_image(net: Network) -> None:
    u, b = images(2), images(2, seed=9)
    a = integrated_gradients(net, Class(1), u, baseline=b, steps=5)
    for k in range(2):
        close(a[k], integrated_gradients(net, Class(1), u[k], baseline=b[k], steps=5), 1e-5)
    np.testing.assert_array_equal(integrated_gradients(net, Class(1), u, baseline=u), 0)


# -- Grad-CAM


def upsampled(cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation by scipy, pixel areas aligned."""
    zoom = (size[0] / cam.shape[0], size[1] / cam.shape[1])
    return np.asarray(ndimage.zoom(cam, zoom, order=1, mode="nearest", grid_mode=True))


def test_behind_global_pooling_grad_cam_is_the_class_activation_map(net: Network) -> None:
    u, k = images(2), [1, 4]
    (activation,) = net.features(u, ["relu2"])
    row = weights()["w3"][k] / activation[0, 0].size
    expected = [
        upsampled(np.maximum(np.einsum("c,chw->hw", r, a), 0), SIZE[1:])
        for r, a in zip(row, activation, strict=True)
    ]
    cam = grad_cam(net, Class(k), u, layer="relu2")
    assert cam.max(axis=(1, 2)).min() > 0
    close(cam, np.stack(expected), 1e-5)


def gradient_by_differences(
    net: Network, k: int, activation: np.ndarray, layer: str, image: np.ndarray | None = None
) -> np.ndarray:
    """Of score k with respect to a layer, from the part of the network behind that layer, in float64.

    With an image, where that reaches the score beside the layer.
    """
    tail, names = net.graph([layer, net.score_layer], 1, dtype=np.float64)
    beside = {} if image is None else {"image": image[None].astype(np.float64)}
    tail.inputs = {layer: tail.type(layer), **{name: tail.inputs[name] for name in beside}}
    tail.nodes = [node for node in tail.nodes if layer not in node.outputs]
    tail.outputs = [names[net.score_layer]]
    tail.prune()
    scores, step = evaluate(tail), 1e-6

    def score(a: np.ndarray) -> float:
        return float(scores({layer: a[None], **beside})[0].ravel()[k])

    moves = step * np.eye(activation.size).reshape(activation.size, *activation.shape)
    at = activation.astype(np.float64)
    return np.reshape([(score(at + d) - score(at - d)) / (2 * step) for d in moves], activation.shape)


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2"])
def test_grad_cam_against_differences_behind_the_layer(net: Network, layer: str) -> None:
    u = images(2)
    (activation,) = net.features(u, [layer])
    cam = grad_cam(net, Class([1, 4]), u, layer=layer)
    assert cam.max(axis=(1, 2)).min() > 0
    for each, a, k in zip(cam, activation, [1, 4], strict=True):
        g = gradient_by_differences(net, k, a, layer)
        small = np.maximum((g.mean(axis=(1, 2), keepdims=True) * a).sum(axis=0), 0)
        close(each, upsampled(small, SIZE[1:]), 1e-5)


def transposed_network(kind: int = TensorProto.FLOAT) -> Network:
    """An NHWC file: x -> relu "map" (N, C, H, W) -> "last" (N, H, W, C) -> mean over positions -> scores."""
    rng = np.random.default_rng(2)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    constants = {"w": rng.standard_normal((4, 3, 1, 1)), "v": rng.standard_normal((4, 6))}
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=kind),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 3, 1, 2]),
        *(
            [helper.make_node("Conv", ["t", "w"], ["map"])]
            if kind == TensorProto.FLOAT
            else [helper.make_node("Mul", ["t", "half"], ["m"]), helper.make_node("Relu", ["m"], ["map"])]
        ),
        helper.make_node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["last"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "v"], ["s"]),
    ]
    if kind != TensorProto.FLOAT:
        constants = {"half": np.array(0.5), "v": constants["v"][:3]}
    model = make_model(
        nodes,
        {"x": (("N", 8, 10, 3), TensorProto.FLOAT)},
        ["s"],
        {k: v.astype(dtype) for k, v in constants.items()},
        opset=13,
    )
    return load(model)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_grad_cam_knows_where_a_layer_keeps_its_channels(kind: int) -> None:
    net, u = transposed_network(kind), images(2)
    maps = feature_maps(net)
    assert {name: maps[name] for name in ("c", "t", "map", "last")} == {"c": 3, "t": 1, "map": 1, "last": 3}
    assert default_layer(net, Class(0)) == "last"
    (a,) = net.features(u, ["map"])
    v = next(t for t in net.model.graph.initializer if t.name == "v")
    row = onnx.numpy_helper.to_array(v)[:, 1] / 80
    expected = np.maximum(np.einsum("c,nchw->nhw", row, a), 0)
    assert expected.max() > 0
    for layer in ("map", "last", None):
        close(grad_cam(net, Class(1), u, layer=layer), expected, 1e-5)


@pytest.mark.parametrize("name", ["value", "gradient", "image"])
def test_a_layer_may_bear_a_name_of_the_gradient_model(name: str) -> None:
    renamed = load(small_model(names={"relu2": name}), preprocess="tf")
    u, plain = images(2), load(small_model(), preprocess="tf")
    np.testing.assert_array_equal(grad_cam(renamed, Class(1), u, layer=name), grad_cam(plain, Class(1), u))


def test_the_default_layer_is_the_last_map_that_no_pool_made(net: Network) -> None:
    assert default_layer(net, Class(0)) == "relu2"
    assert default_layer(net, Channel("conv2", 0)) == "relu1"
    close(grad_cam(net, Class(3), images()), grad_cam(net, Class(3), images(), layer="relu2"), 0)


def test_the_layout_is_followed_through_a_window_transformer() -> None:
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "v": rng.standard_normal((4, 4)).astype(np.float32),
        "windows": np.array([2, 2, 5, 4]),
        "whole": np.array([1, 4, 5, 4]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["patches"], strides=[2, 2]),
        helper.make_node("Transpose", ["patches"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["last", "v"], ["pointwise"]),
        helper.make_node("Reshape", ["pointwise", "windows"], ["cut"]),
        helper.make_node("Transpose", ["cut"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["cut", "turned"], ["weights"]),
        helper.make_node("MatMul", ["weights", "cut"], ["attended"]),
        helper.make_node("Reshape", ["attended", "whole"], ["back"]),
        helper.make_node("Add", ["back", "last"], ["sum"]),
        helper.make_node("Transpose", ["sum"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("MatMul", ["first", "columns"], ["mixed"]),
    ]
    constants["columns"] = rng.standard_normal((5, 5)).astype(np.float32)
    net = load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["mixed"], constants))
    assert feature_maps(net) == {"patches": 1, "last": 3, "pointwise": 3, "back": 3, "sum": 3, "first": 1}


def token_network() -> Network:
    """A map "patches" becomes tokens (N, T, D), as in a vision transformer."""
    rng = np.random.default_rng(3)
    constants = {
        "w": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "shape": np.array([0, 4, -1]),
        "v": rng.standard_normal((4, 4)).astype(np.float32),
        "h": rng.standard_normal((4, 6)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["patches"], strides=[2, 2]),
        helper.make_node("Reshape", ["patches", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "v"], ["tokens"]),
        helper.make_node("ReduceMean", ["tokens"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "h"], ["s"]),
    ]
    return load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["s"], constants, opset=13))


def test_tokens_that_are_the_rows_of_a_map_are_looked_at() -> None:
    net, u = token_network(), images()
    assert default_layer(net, Class(0)) == "tokens"
    (tokens,) = net.features(u, ["tokens"])
    h = onnx.numpy_helper.to_array(next(t for t in net.model.graph.initializer if t.name == "h"))
    expected = (tokens.reshape(1, 4, 5, 4) @ (h[:, 2] / 20))[0]
    close(grad_cam(net, Class(2), u, signed=True)[0], upsampled(expected, SIZE[1:]), 1e-5)
    close(grad_cam(net, -Class(2), u)[0], upsampled(np.maximum(-expected, 0), SIZE[1:]), 1e-5)


@pytest.mark.parametrize("others", [1, 2])
def test_a_class_token_is_left_out(others: int) -> None:
    net, u = vit(others=others), images(2, size=(3, 16, 16))
    (tokens,) = net.features(u, ["two/norm"])
    cam = grad_cam(net, Class([1, 3]), u, signed=True)
    for each, image, a, k in zip(cam, u, tokens, (1, 3), strict=True):
        g = gradient_by_differences(net, k, a, "two/norm", image)[others:].reshape(4, 4, 6)
        small = (g.mean(axis=(0, 1)) * a[others:].reshape(4, 4, 6)).sum(axis=-1)
        close(each, upsampled(small, (16, 16)), 1e-4)


def test_a_transformer_whose_tokens_cannot_be_placed_is_refused() -> None:
    net, u = shuffled_tokens(), images(size=(3, 16, 16))
    with pytest.raises(InputError, match=r"does not show.*layer='rows' \(--layer rows\)"):
        grad_cam(net, Class(0), u)
    assert grad_cam(net, Class(0), u, layer="rows").shape == (1, 16, 16)
    with pytest.raises(InputError, match=r"'some': of shape \(1, 5, 6\) .* can look at: rows, "):
        grad_cam(net, Class(0), u, layer="some")


# -- quantised networks


MICROSOFT = "com.microsoft"


def quantised(kind: str) -> Network:
    """Scores of a convolution in eight bits, by operators on integers or between DequantizeLinear."""
    rng = np.random.default_rng(6)
    s, z = np.float32(1 / 255), np.uint8(0)
    constants: dict[str, Any] = {
        "sx": s,
        "zx": z,
        "sw": np.float32(0.02),
        "zw": np.uint8(128),
        "w": rng.integers(60, 200, (4, 3, 3, 3), dtype=np.uint8),
        "sy": np.float32(0.03),
        "zy": np.uint8(100),
        "sm": np.float32(0.06),
        "v": rng.standard_normal((4, 6)).astype(np.float32),
    }
    pads: dict[str, Any] = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    node = helper.make_node
    between = [node("DequantizeLinear", ["y", "sy", "zy"], ["real"])]
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        *(
            [node("QLinearConv", ["q", "sx", "zx", "w", "sw", "zw", "sy", "zy"], ["y"], **pads)]
            if kind == "integers"
            else [
                node("DequantizeLinear", ["q", "sx", "zx"], ["d"]),
                node("DequantizeLinear", ["w", "sw", "zw"], ["dw"]),
                node("Conv", ["d", "dw"], ["c"], **pads),
                node("QuantizeLinear", ["c", "sy", "zy"], ["y"]),
            ]
        ),
        *(
            [
                node("QLinearGlobalAveragePool", ["y", "sy", "zy", "sm", "zy"], ["p"], domain=MICROSOFT),
                node("DequantizeLinear", ["p", "sm", "zy"], ["mean"]),
            ]
            if kind == "integers"
            else [*between, node("GlobalAveragePool", ["real"], ["mean"])]
        ),
        node("Flatten", ["mean"], ["flat"]),
        node("MatMul", ["flat", "v"], ["s"]),
    ]
    model = make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["s"], constants, opset=17)
    model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return load(model, preprocess="none")


def test_an_objective_without_a_gradient_has_no_layer_for_that_reason() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Round", ["conv"], ["rounded"]),
    ]
    weights = {"w": np.ones((2, SIZE[0], 3, 3), np.float32)}
    net = load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["rounded"], weights))
    with pytest.raises(
        GradientError, match=r"no gradient of .* reaches the image\. .*sf\.Channel\('conv', 0\)"
    ):
        default_layer(net, Channel("rounded", 0))


@pytest.mark.parametrize(("kind", "layer"), [("integers", "y"), ("between", "real")])
def test_a_quantised_network_is_looked_at_in_real_numbers(kind: str, layer: str) -> None:
    net, u = quantised(kind), images(2)
    assert default_layer(net, Class(0)) == layer
    (real,) = quantised("between").features(u, ["real"])
    v = onnx.numpy_helper.to_array(next(t for t in net.model.graph.initializer if t.name == "v"))
    expected = np.einsum("nchw,c->nhw", real, v[:, 1]) / 80
    assert np.abs(expected).max() > 0
    # both operators sum in another place, and may be one step of the quantisation apart
    close(grad_cam(net, Class(1), u, signed=True), expected, 0.03 if kind == "integers" else 1e-5)


# -- maps that are zero


def test_evidence_against_is_shown_where_it_is_asked_for(net: Network) -> None:
    u = images()
    with pytest.warns(AssumptionWarning, match=r"'relu2' holds nothing that speaks for class 3.*signed=True"):
        assert not grad_cam(net, Class(3), u).any()
    against = grad_cam(net, Class(3), u, signed=True)
    assert against.max() <= 0
    assert against.min() < 0


def test_a_gradient_that_is_zero_is_said() -> None:
    constants = {"w": -np.ones((2, 3, 1, 1), np.float32), "v": np.ones((2, 4), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"]),
        helper.make_node("Relu", ["map"], ["closed"]),
        helper.make_node("GlobalAveragePool", ["closed"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["s"]),
    ]
    net = load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["s"], constants), preprocess="none")
    with pytest.warns(AssumptionWarning, match=r"image 1 is zero everywhere: class 0 does not change with"):
        grad_cam(net, Class(0), images(2), layer="map")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("bias", "says"),
    [
        ((-99, -99), "layer 'r' is zero everywhere; try"),
        (
            (-99, 99),
            "the channels of layer 'r' that class 0 changes with are zero everywhere; try another layer$",
        ),
    ],
)
def test_a_layer_that_is_dead_is_said_to_be(bias: tuple[int, int], says: str, signed: bool) -> None:
    constants = {
        "w": np.ones((2, 3, 1, 1), np.float32),
        "b": np.array(bias, np.float32),
        "v": np.array([[1.0], [0.0]], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["map"]),
        helper.make_node("Relu", ["map"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "v"], ["s"]),
    ]
    net = load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["s"], constants), preprocess="none")
    with pytest.warns(AssumptionWarning, match=says):
        assert not grad_cam(net, Class(0), images(), signed=signed).any()


def test_layers_that_grad_cam_cannot_look_at(net: Network) -> None:
    with pytest.raises(UnknownNameError, match="'relu2'"):
        grad_cam(net, Class(0), images(), layer="relu22")
    with pytest.raises(InputError, match=r"'gap': of shape .1, 5, 1, 1. .*: relu2, conv2, pool1"):
        grad_cam(net, Class(0), images(), layer="gap")
    with pytest.raises(InputError, match=r"'conv2': channel 0 of conv1 does not depend on it.*: conv1$"):
        grad_cam(net, Channel("conv1", 0), images(), layer="conv2")
    with pytest.raises(InputError, match="no layer before channel 0 of conv1 has channels and positions"):
        grad_cam(net, Channel("conv1", 0), images())
    model, _ = linear_network()
    with pytest.raises(InputError, match="no layer before class 0"):
        grad_cam(model, Class(0), images())


def test_objectives_of_one_structure_share_a_session(net: Network) -> None:
    first = grad_cam(net, Class(0), images())
    sessions = len(net.sessions)
    assert not np.allclose(grad_cam(net, Class(1), images()), first)
    assert len(net.sessions) == sessions


# -- what all methods share


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "objectives",
    [
        (Class([1, 4, 3]), [Class(1), Class(4), Class(3)]),
        (Neuron("conv2", [2, 0, 4], 1, 1), [Neuron("conv2", k, 1, 1) for k in (2, 0, 4)]),
        (2 * Class([1, 4, 3]) - Class(0), [2 * Class(k) - Class(0) for k in (1, 4, 3)]),
        (Inversion("conv2", images(3, seed=2)), [Inversion("conv2", u) for u in images(3, seed=2)]),
    ],
    ids=lambda o: str(o[0])[:20],
)
@pytest.mark.parametrize("batch", ["N", 1])
def test_a_batch_equals_its_images_one_by_one(
    method: str, objectives: tuple[Objective, list[Objective]], batch: int | str
) -> None:
    net, u = load(small_model(batch)), images(3)
    together, each = objectives
    maps = METHODS[method](net, together, u)
    assert maps.dtype == np.float32
    assert np.abs(maps).reshape(3, -1).max(axis=1).min() > 0
    for k, objective in enumerate(each):
        single = METHODS[method](net, objective, u[k])
        assert single.shape == maps.shape[1:]
        close(maps[k], single, 1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_what_does_not_fit_is_refused(net: Network, method: str) -> None:
    with pytest.raises(InputError, match="channels"):
        METHODS[method](net, Class(0), images(size=(1, 8, 10)))
    with pytest.raises(InputError, match="out of range"):
        METHODS[method](net, Class(6), images())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda n, u: saliency(n, Class(0), u, reduce="mean"),  # type: ignore[call-overload]
            "reduce is 'mean'; it must be one of 'max', 'norm', 'sum' or None",
        ),
        (
            lambda n, u: smooth_grad(n, Class(0), u, samples=0),
            "samples is 0; it must be a whole number of at least 1",
        ),
        (
            lambda n, u: smooth_grad(n, Class(0), u, noise=-0.1),
            "noise is -0.1; it must be a finite number, 0 or above",
        ),
        (
            lambda n, u: smooth_grad(n, Class(0), u, noise=np.nan),
            "noise is nan; it must be a finite number, 0 or above",
        ),
        (
            lambda n, u: integrated_gradients(n, Class(0), u, steps=2.5),  # type: ignore[call-overload]
            "steps is 2.5; it must be a whole number of at least 1",
        ),
        (
            lambda n, u: integrated_gradients(n, Class(0), u, baseline=np.zeros((2, 3))),
            r"baseline of shape \(2, 3\) does not fit",
        ),
        (
            lambda n, u: integrated_gradients(n, Class(0), u, baseline=np.inf),
            "baseline holds NaN or infinite",
        ),
        (
            lambda n, u: smooth_grad(n, Class(0), u, seed=-1),
            "seed is -1; it must be a whole number of at least 0",
        ),
        (lambda n, u: integrated_gradients(n, Class(0), u, baseline="grey"), "the baseline is a str; pass"),
        (lambda n, u: completeness_error(n, Class(0), u, u[0]), "does not belong to images of shape"),
    ],
)
def test_parameters_out_of_range(net: Network, call: Callable[[Network, np.ndarray], Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(net, images())


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    nodes = [
        helper.make_node("Sub", ["x", "one"], ["a"]),
        helper.make_node("Log", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["s"]),
    ]
    constants = {"one": np.array(1, np.float32)}
    net = load(make_model(nodes, {"x": ((1, *SIZE), TensorProto.FLOAT)}, ["s"], constants))
    with pytest.raises(GradientError, match="class 0: the value of layer 'b' is not finite"):
        grad_cam(net, Class(0), np.ones((1, *SIZE), np.float32), layer="a")


# -- pictures


def test_a_heatmap_shows_sign_and_strength() -> None:
    values = np.array([[0.0, 1.0], [2.0, 4.0]])
    rising = heatmap(values, percentile=100).astype(int)
    assert rising.shape == (2, 2, 3)
    assert (np.diff(rising.sum(axis=2).ravel()) > 0).all()
    signed = heatmap(np.array([[-1.0, 0.0, 1.0]]), percentile=100)[0]
    assert signed[0, 2] > signed[0, 0]
    assert signed[2, 0] > signed[2, 2]
    assert signed[1].tolist() == [255, 255, 255]


def test_a_heatmap_lets_the_image_through_where_it_is_weak() -> None:
    u = np.full((2, 3, 1, 2), 0.5, np.float32)
    picture = heatmap(np.array([[[0.0, 3.0]], [[0.0, 0.0]]]), u)
    assert picture.shape == (2, 1, 2, 3)
    assert picture[0, 0, 0].tolist() == [128, 128, 128]
    assert picture[0, 0, 1].tolist() == heatmap(np.ones((1, 1)))[0, 0].tolist()
    assert picture[1].tolist() == [[[128, 128, 128]] * 2]


def test_each_map_is_scaled_on_its_own_and_outliers_are_cut() -> None:
    m = np.random.default_rng(0).random((20, 20))
    spoilt = np.where(np.arange(400).reshape(20, 20) == 7, 1000, m)
    a, b = heatmap(np.stack([spoilt, 4 * spoilt]))
    np.testing.assert_array_equal(a, b)
    close(a[1:].astype(float), heatmap(m)[1:].astype(float), 0.02)


@pytest.mark.parametrize(
    ("values", "image", "percentile"),
    [
        (np.ones(3), None, 99),
        (np.full((2, 2), np.nan), None, 99),
        (np.ones((2, 2)), np.ones((3, 2, 3)), 99),
        (np.ones((2, 2)), np.ones((2, 2)), 99),
        (np.ones((2, 2)), np.ones((2, 2, 2)), 99),
        (np.ones((2, 2)), None, 0),
    ],
)
def test_what_cannot_be_drawn(values: np.ndarray, image: np.ndarray | None, percentile: float) -> None:
    with pytest.raises(InputError):
        heatmap(values, image, percentile=percentile)
