"""Convolutions, pools and resampling at random geometries: the gradient, and the float64 operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import Graph
from sobolevflow.onnxgrad.float64 import evaluate
from sobolevflow.onnxgrad.geometry import Axis, axes_of
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import (
    Case,
    Var,
    case,
    check,
    close,
    forward_graph,
    gradient_graph,
    make_model,
    run_single,
    spaced,
)
from tests.support.windows import EXAMPLES, Window, attributes, check_or_refuse, random, windows

AUTO = ("SAME_UPPER", "SAME_LOWER", "VALID")


def apart(*shape: int, seed: int = 1) -> np.ndarray:
    return spaced(np.random.default_rng(seed), *shape).astype(np.float32)


def check_operator(which: Case, *, against_onnx: bool = True) -> None:
    """The float64 operators equal onnxruntime's in float32, and onnx's own in float64."""
    at = dict(which.at)
    expected = session(which.model).run(None, at)
    double = Graph.from_model(which.model).astype(np.float64)
    found = evaluate(double)({k: v.astype(np.float64) for k, v in at.items()})
    for y, y_expected in zip(found, expected, strict=True):
        assert y.shape == y_expected.shape
        close(y, y_expected, 1e-5, least=1.0)
    if against_onnx:
        for y, y_expected in zip(found, ReferenceEvaluator(which.model).run(None, at), strict=True):
            close(y, y_expected, 1e-5, least=1.0)


groups = st.sampled_from([(1, 1, 1), (1, 2, 3), (2, 2, 1), (2, 1, 2), (3, 1, 1), (3, 1, 2)])


def conv(axes: list[Window], group: tuple[int, int, int], **attrs: Any) -> Case:
    """`group`: number of groups, inputs and outputs of each."""
    count, inputs, outputs = group
    x = random(2, count * inputs, *(a.size for a in axes))
    w = random(count * outputs, inputs, *(a.kernel for a in axes), seed=2)
    return case("Conv", Var(x), w, random(count * outputs, seed=3), group=count, **attrs)


@EXAMPLES
@given(windows(), groups)
def test_conv(axes: list[Window], group: tuple[int, int, int]) -> None:
    check(conv(axes, group, **attributes(axes)))


@EXAMPLES
@given(windows(), st.sampled_from(AUTO))
def test_conv_with_automatic_pads(axes: list[Window], mode: str) -> None:
    assume(mode != "VALID" or all(a.size >= a.reach for a in axes))
    attrs = attributes(axes)
    del attrs["pads"]
    check(conv(axes, (2, 1, 2), auto_pad=mode, **attrs))


@EXAMPLES
@given(windows(), groups)
def test_conv_in_float64(axes: list[Window], group: tuple[int, int, int]) -> None:
    # onnx's own convolution pads dilated kernels with even reach wrongly in some releases
    plain = len(axes) == 2 and all(a.dilation == 1 for a in axes)
    check_operator(conv(axes, group, **attributes(axes)), against_onnx=plain)


@pytest.mark.parametrize("weights", ["constant", "computed"])
def test_conv_whose_weights_are_an_input_of_the_graph(weights: str) -> None:
    # a runtime weight cannot be flipped at build time: the rule takes the other form
    x, w = random(1, 2, 5, 6), random(3, 2, 3, 3, seed=2)
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    inputs = {"x": (x.shape, onnx.TensorProto.FLOAT)}
    constants = {"w": w}
    if weights == "computed":
        inputs["w"], constants = (w.shape, onnx.TensorProto.FLOAT), {}
    model = make_model([node], inputs, ["y"], constants)
    check(Case(weights, model, {"x": x}, 1e-12) if weights == "constant" else _at_fixed_weights(model, x, w))


def _at_fixed_weights(model: onnx.ModelProto, x: np.ndarray, w: np.ndarray) -> Case:
    """w = scale * w0 with the runtime scale off the path of x."""
    del model.graph.input[1:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "w0"))
    # RandomNormalLike is never folded; times zero it leaves w at w0
    noise = helper.make_node("RandomNormalLike", ["w0"], ["noise"])
    none = helper.make_node("Mul", ["noise", "zero"], ["none"])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    model.graph.node.insert(0, helper.make_node("Add", ["w0", "none"], ["w"]))
    model.graph.node.insert(0, none)
    model.graph.node.insert(0, noise)
    return Case("computed", model, {"x": x}, 1e-12)


@st.composite
def transposed(draw: st.DrawFn) -> tuple[list[Window], list[int]]:
    """Axes and output paddings; pads leave at least one sample of output."""
    axes = draw(windows())
    extras = []
    for a in axes:
        extra = draw(st.integers(0, max(a.stride, a.dilation) - 1))
        extras.append(extra)
        assume((a.size - 1) * a.stride + a.reach + extra - a.begin - a.end >= 1)
        assume(extra < a.stride)
    return axes, extras


def deconv(axes: list[Window], group: tuple[int, int, int], **attrs: Any) -> Case:
    count, inputs, outputs = group
    x = random(2, count * inputs, *(a.size for a in axes))
    w = random(count * inputs, outputs, *(a.kernel for a in axes), seed=2)
    return case("ConvTranspose", Var(x), w, random(count * outputs, seed=3), group=count, **attrs)


@EXAMPLES
@given(transposed(), groups)
def test_conv_transpose(shape: tuple[list[Window], list[int]], group: tuple[int, int, int]) -> None:
    axes, extras = shape
    check(deconv(axes, group, output_padding=extras, **attributes(axes)))


@EXAMPLES
@given(
    windows(), st.lists(st.integers(-3, 3), min_size=3, max_size=3), st.sampled_from(["NOTSET", *AUTO[:2]])
)
def test_conv_transpose_with_output_shape(axes: list[Window], more: list[int], mode: str) -> None:
    # as much larger than the windows reach as onnxruntime takes, and not smaller than the input
    more = [min(k, a.stride - 1) for a, k in zip(axes, more, strict=False)]
    shape = [(a.size - 1) * a.stride + a.reach + k for a, k in zip(axes, more, strict=True)]
    assume(all(out >= a.size for out, a in zip(shape, axes, strict=True)))
    attrs = attributes(axes)
    del attrs["pads"]
    check(deconv(axes, (2, 1, 2), output_shape=shape, auto_pad=mode, **attrs))


@EXAMPLES
@given(windows(), st.sampled_from(AUTO[:2]))
def test_conv_transpose_with_automatic_pads(axes: list[Window], mode: str) -> None:
    # with gaps between the windows onnxruntime yields less than the specification's size * stride
    assume(all(a.reach >= a.stride for a in axes))
    attrs = attributes(axes)
    del attrs["pads"]
    check(deconv(axes, (1, 2, 2), auto_pad=mode, **attrs))


@EXAMPLES
@given(transposed(), groups)
def test_conv_transpose_in_float64(
    shape: tuple[list[Window], list[int]], group: tuple[int, int, int]
) -> None:
    axes, extras = shape
    plain = len(axes) == 2 and group[0] == 1 and not any(extras)
    check_operator(deconv(axes, group, output_padding=extras, **attributes(axes)), against_onnx=plain)


@EXAMPLES
@given(windows(pool=True), st.integers(0, 1))
def test_max_pool(axes: list[Window], ceil: int) -> None:
    x = apart(2, 2, *(a.size for a in axes))
    check_or_refuse(case("MaxPool", Var(x), ceil_mode=ceil, **attributes(axes)))


@EXAMPLES
@given(windows(pool=True, dilated=False), st.sampled_from(AUTO))
def test_max_pool_with_automatic_pads(axes: list[Window], mode: str) -> None:
    assume(mode != "VALID" or all(a.size >= a.reach for a in axes))
    attrs = attributes(axes)
    del attrs["pads"]
    check(case("MaxPool", Var(apart(1, 2, *(a.size for a in axes))), auto_pad=mode, **attrs))


@EXAMPLES
@given(windows(pool=True), st.integers(0, 1))
def test_max_pool_in_float64(axes: list[Window], ceil: int) -> None:
    x = apart(2, 2, *(a.size for a in axes))
    check_operator(case("MaxPool", Var(x), outputs=2, ceil_mode=ceil, **attributes(axes)), against_onnx=False)


@EXAMPLES
@given(windows(pool=True, dilated=False), st.integers(0, 1), st.integers(0, 1))
def test_average_pool(axes: list[Window], ceil: int, include: int) -> None:
    attrs = attributes(axes, dilated=False)
    x = random(2, 2, *(a.size for a in axes))
    check_or_refuse(
        case("AveragePool", Var(x), ceil_mode=ceil, count_include_pad=include, tolerance=3e-7, **attrs)
    )


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("ceil", [0, 1])
def test_average_pool_without_overlap(size: int, rank: int, ceil: int) -> None:
    x = random(2, 3, *[size] * rank)
    pool: dict[str, Any] = {"kernel_shape": [3] * rank, "strides": [3] * rank, "ceil_mode": ceil}
    check(case("AveragePool", Var(x), tolerance=3e-7, **pool))


@EXAMPLES
@given(windows(pool=True, dilated=False), st.integers(0, 1), st.sampled_from(AUTO))
def test_average_pool_with_automatic_pads(axes: list[Window], include: int, mode: str) -> None:
    assume(mode != "VALID" or all(a.size >= a.reach for a in axes))
    attrs = attributes(axes, dilated=False)
    del attrs["pads"]
    x = random(2, 2, *(a.size for a in axes))
    check(case("AveragePool", Var(x), auto_pad=mode, count_include_pad=include, tolerance=3e-7, **attrs))


@EXAMPLES
@given(windows(pool=True, dilated=False), st.integers(0, 1), st.integers(0, 1))
def test_average_pool_in_float64(axes: list[Window], ceil: int, include: int) -> None:
    attrs = attributes(axes, dilated=False)
    x = random(2, 2, *(a.size for a in axes))
    which = case("AveragePool", Var(x), ceil_mode=ceil, count_include_pad=include, **attrs)
    check_operator(which, against_onnx=False)


def resize(mode: str, coordinates: str, **more: Any) -> dict[str, Any]:
    return {"mode": mode, "coordinate_transformation_mode": coordinates, **more}


ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
RESIZES = [
    *(resize("nearest", c, nearest_mode=n) for c in ("asymmetric", "half_pixel") for n in ROUNDINGS),
    *(resize(mode, c) for mode in ("linear", "cubic") for c in COORDINATES),
    resize("linear", "half_pixel", antialias=1),
    resize("cubic", "half_pixel", antialias=1),
    resize("cubic", "half_pixel", cubic_coeff_a=-0.5, exclude_outside=1),
]


@pytest.mark.parametrize("attrs", RESIZES, ids=lambda attrs: " ".join(map(str, attrs.values())))
def test_resize_to_sizes(attrs: dict[str, Any]) -> None:
    sizes = np.array([1, 2, 8, 3], np.int64)
    check(case("Resize", Var(random(1, 2, 5, 4)), None, None, sizes, tolerance=1e-6, **attrs))


@pytest.mark.parametrize("attrs", RESIZES, ids=lambda attrs: " ".join(map(str, attrs.values())))
@pytest.mark.parametrize("scales", [(1, 1, 1.7, 2.0), (1, 1, 0.5, 0.6)], ids=["up", "down"])
def test_resize_by_scales(attrs: dict[str, Any], scales: tuple[float, ...]) -> None:
    # onnx's evaluator and onnxruntime place samples differently where a scale does not divide
    check_on_runtime(case("Resize", Var(random(1, 2, 5, 4)), None, np.array(scales, np.float32), **attrs))


@pytest.mark.parametrize("axes", [(2, 3), (3, 2), (-1,)])
def test_resize_of_named_axes(axes: tuple[int, ...]) -> None:
    scales = np.array([2.0, 3.0][: len(axes)], np.float32)
    check_on_runtime(case("Resize", Var(random(1, 2, 4, 3)), None, scales, axes=axes, mode="nearest"))


def check_on_runtime(which: Case) -> None:
    """The dot-product test of a linear map in float32: value(x) = <gradient, x>."""
    graph = gradient_graph(forward_graph(which.model, {k: v.shape for k, v in which.at.items()}), "x0")
    x = which.at["x0"]
    value, gradient = run_single(graph, {"x0": x})
    terms = np.linalg.norm(gradient) * np.linalg.norm(x)
    assert abs(float(value) - float((gradient * x).sum())) <= 1e-6 * terms
    np.testing.assert_array_equal(gradient, run_single(graph, {"x0": 2 * x})[1])


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("sizes", [(7, 8), (3, 8), (9, 2), (4, 6)])
@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_resize_that_keeps_the_aspect_ratio(policy: str, sizes: tuple[int, int], mode: str) -> None:
    attrs: dict[str, Any] = {"axes": [2, 3], "keep_aspect_ratio_policy": policy, "mode": mode}
    x, asked = random(1, 2, 4, 6), np.array(sizes, np.int64)
    check_on_runtime(case("Resize", Var(x), None, None, asked, **attrs))


def test_resize_that_keeps_the_aspect_ratio_of_the_batch_is_refused() -> None:
    x, sizes = random(1, 2, 4, 6), np.array([1, 2, 7, 8], np.int64)
    attrs: dict[str, Any] = {"keep_aspect_ratio_policy": "not_smaller", "mode": "linear"}
    with pytest.raises(UnsupportedOpError, match=r"Resize .*aspect ratio of the batch"):
        check(case("Resize", Var(x), None, None, sizes, **attrs))


CROP: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize"}


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("region", [(0.2, 0.1, 0.8, 0.7), (-0.3, 0.4, 0.6, 1.4), (0.9, 0.0, 0.1, 1.0)])
@pytest.mark.parametrize("by", ["sizes", "scales"])
@pytest.mark.parametrize("axes", [None, (3, 2)])
def test_crop_and_resize(mode: str, region: tuple[float, ...], by: str, axes: tuple[int, ...] | None) -> None:
    top, left, bottom, right = region
    roi = [left, top, right, bottom] if axes else [0, 0, top, left, 1, 1, bottom, right]
    lead: list[float] = [] if axes else [1, 2 if by == "sizes" else 1]
    how = np.array(
        [*lead, *((7, 5) if by == "sizes" else (1.5, 2.0))], np.int64 if by == "sizes" else np.float32
    )
    scales, sizes = (None, how) if by == "sizes" else (how, None)
    attrs: dict[str, Any] = {"axes": axes} if axes else {}
    x, roi_ = random(1, 2, 5, 6), np.array(roi, np.float32)
    inputs: list[Var | np.ndarray | None]
    inputs = [Var(x), roi_, scales] if sizes is None else [Var(x), roi_, scales, sizes]
    check_on_runtime(case("Resize", *inputs, mode=mode, **CROP, **attrs))


def test_what_lies_outside_of_a_crop_has_no_gradient() -> None:
    x, roi = random(1, 1, 4, 4), np.array([0, 0, 2, 2, 1, 1, 3, 3], np.float32)
    sizes = np.array([1, 1, 3, 3], np.int64)
    which = case("Resize", Var(x), roi, None, sizes, mode="linear", extrapolation_value=5.0, **CROP)
    graph = gradient_graph(forward_graph(which.model, {"x0": x.shape}), "x0")
    value, gradient = run_single(graph, {"x0": x})
    np.testing.assert_array_equal(gradient, 0)
    assert value != 0


@given(windows())
def test_an_axis_counts_its_taps(axes: list[Window]) -> None:
    for a in axes:
        out = (a.size + a.begin + a.end - a.reach) // a.stride + 1
        axis = Axis(a.size, out, a.kernel, a.stride, a.dilation, a.begin)
        padded = np.zeros(a.begin + a.size + a.end)
        padded[a.begin : a.begin + a.size] = 1
        taps = [padded[k * a.stride :][: a.reach : a.dilation].sum() for k in range(out)]
        np.testing.assert_array_equal(axis.valid_taps(), taps)
        assert axis.end <= a.end
        assert axis.begin + axis.size + axis.end == axis.span


def test_axes_are_read_from_explicit_attributes() -> None:
    which = conv([Window(7, 3, 2, 1, 0, 0)], (1, 1, 1), auto_pad="SAME_LOWER", kernel_shape=[3], strides=[2])
    graph = forward_graph(which.model, {"x0": (2, 1, 7)})
    (axis,) = axes_of(graph.nodes[0], (7,), (4,))
    assert axis == Axis(size=7, out=4, kernel=3, stride=2, dilation=1, begin=1)
    assert "auto_pad" not in graph.nodes[0].attrs
