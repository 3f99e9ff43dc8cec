"""Gradient rules of sliding windows: convolutions, pools, resampling.

The input gradient of a convolution is again a convolution. Two forms exist and both are
used, because onnxruntime's speed differs: with stride 1, and for depthwise kernels, a Conv with
the flipped kernel stays in its blocked layout; with larger strides ConvTranspose takes the
weights as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backward import Refusal, Step
from ..builder import Value, absolute, sign
from ..geometry import Axis, axes_of, inverse_divisors
from ..graph import Graph, Node, Shape, TensorType
from ..runtime import graph_session, run
from .along_axis import apply_along, is_short, taps_adjoint, taps_of
from .movement import repeat
from .table import rule


@rule("Conv", linear=True)
def _(s: Step, i: int) -> str:
    """Weights that depend on the image are refused."""
    if i == 2:
        return _sum_over_positions(s)
    if i:
        raise Refusal("its weights depend on the image")
    axes = axes_of(s.node, s.x[0].shape[2:], s.y.shape[2:])
    return convolution_input_gradient(s, s.g, s.x[1], axes, s.attr("group", 1))


@rule("ConvTranspose", linear=True)
def _(s: Step, i: int) -> str | None:
    """Weights that depend on the image are refused, and an output larger than the windows reach."""
    if i == 2:
        return _sum_over_positions(s)
    if i:
        raise Refusal("its weights depend on the image")
    size, out = s.x[0].shape[2:], s.y.shape[2:]
    # the adjoint convolution runs over the output, with the roles of size and out exchanged
    axes = axes_of(s.node, out, size)
    if any(axis.begin < 0 for axis in axes):
        raise Refusal("its output is larger than its windows reach")
    if any(axis.span <= axis.begin for axis in axes):
        return None  # the pads crop all that the windows reach; what is left is output padding
    g = _cut_tail(s, s.g, axes)
    return s.op(
        "Conv",
        g,
        s.x[1],
        kernel_shape=[a.kernel for a in axes],
        strides=[a.stride for a in axes],
        dilations=[a.dilation for a in axes],
        pads=[*(a.begin for a in axes), *(max(a.end, 0) for a in axes)],
        group=s.attr("group", 1),
    )


def _cut_tail(s: Step, g: Value, axes: list[Axis]) -> Value:
    """Drop samples behind the last window; a convolution would place further windows there."""
    if all(a.end >= 0 for a in axes):
        return g
    pads = [0] * (2 * (len(axes) + 2))
    for k, axis in enumerate(axes):
        pads[len(axes) + 4 + k] = min(axis.end, 0)
    return s.op("Pad", g, s.ints(pads))


def _sum_over_positions(s: Step) -> Value:
    """Gradient of a bias."""
    return s.sum(s.g, [0, *range(2, len(s.y.shape))])


def convolution_input_gradient(s: Step, g: Value, weight: Value, axes: list[Axis], group: int) -> Value:
    """Adjoint of ``Conv(x, weight)`` applied to `g`."""
    constant = s.graph.constant(weight)
    pads = [(a.reach - 1 - a.begin, a.size - a.out * a.stride + a.begin) for a in axes]
    direct = all(a.stride == 1 for a in axes) or _spreads(weight.shape, group)
    if constant is None or not direct or min(map(min, pads)) < 0:
        return _transposed_convolution(s, g, weight, axes, group)
    return s.op(
        "Conv",
        _spread(s, g, axes),
        s.const(flipped(constant, group), constant.dtype),
        kernel_shape=[a.kernel for a in axes],
        strides=[1] * len(axes),
        dilations=[a.dilation for a in axes],
        pads=[*(p for p, _ in pads), *(q for _, q in pads)],
        group=group,
    )


def _spreads(weight: Shape, group: int) -> bool:
    """Whether a convolution is depthwise: then few products are wasted on zeros in between."""
    return weight[:2] == (group, 1)


def _spread(s: Step, g: Value, axes: list[Axis]) -> Value:
    """Put stride - 1 zeros behind every sample: a b -> a 0 b 0 (stride 2)."""
    strides = [a.stride for a in axes]
    if max(strides) == 1:
        return g
    comb = np.ones((1, 1))
    for axis in axes:
        comb = np.multiply.outer(comb, np.arange(axis.out * axis.stride) % axis.stride == 0)
    return repeat(s, g, strides) * comb


def flipped(weight: np.ndarray, group: int) -> np.ndarray:
    """Kernel of the adjoint stride-1 convolution: reversed in space, channels swapped per group."""
    outputs, inputs, *kernel = weight.shape
    grouped = weight.reshape(group, outputs // group, inputs, *kernel)
    swapped = np.swapaxes(grouped, 1, 2).reshape(group * inputs, outputs // group, *kernel)
    return np.ascontiguousarray(np.flip(swapped, axis=tuple(range(2, swapped.ndim))))


def _transposed_convolution(s: Step, g: Value, weight: Value, axes: list[Axis], group: int) -> Value:
    """ConvTranspose with symmetric pads where possible, else without pads and cropped after.

    Asymmetric pads in the node itself would be correct too, but have no CUDA kernel.
    """
    symmetric = all(a.begin >= 0 and 0 <= a.begin - a.end < a.stride for a in axes)
    attrs = {
        "kernel_shape": [a.kernel for a in axes],
        "strides": [a.stride for a in axes],
        "dilations": [a.dilation for a in axes],
        "group": group,
    }
    if symmetric:
        pads = [a.begin for a in axes]
        extra = [a.begin - a.end for a in axes]
        return s.op("ConvTranspose", g, weight, pads=pads * 2, output_padding=extra, **attrs)
    full = s.op("ConvTranspose", g, weight, **attrs)
    crop = [0, 0, *(-a.begin for a in axes), 0, 0, *(-a.end for a in axes)]
    return s.op("Pad", full, s.ints(crop))


@rule("MaxPool")
def _(s: Step, i: int) -> str:
    """A tie goes to the pixel that the node picks."""
    x = s.x[0].shape
    size = math.prod(x)
    picked = s.reshape(_indices(s), [-1])
    blank = s.expand(0, [size])
    flat = s.op("ScatterElements", blank, picked, s.reshape(s.g, [-1]), axis=0, reduction="add")
    return s.reshape(flat, x)


@rule("LpPool")
def _(s: Step, i: int) -> str:
    """Zero where a window holds nothing but zeros."""
    # y^p = sum over the window of |x|^p, hence dx = sign(x) |x|^(p-1) times the windows' sum of g y^(1-p)
    p, (x,) = s.attr("p", 2), s.x
    channels, *size = x.shape[1:]
    axes = axes_of(s.node, tuple(size), s.y.shape[2:])
    share = s.where(s.op("Greater", s.y, 0), s.g / s.op("Pow", s.y, p - 1), 0)
    ones = s.const(np.ones((channels, 1, *(a.kernel for a in axes))))
    spread = convolution_input_gradient(s, share, ones, axes, channels)
    magnitude = absolute(x)
    return spread * (sign(x) * s.op("Pow", magnitude, p - 1))


def _indices(s: Step) -> str:
    """Flat positions of the maxima in the whole input: the forward node's Indices, asked for if absent."""
    outputs = s.node.outputs
    asked = len(outputs) > 1 and bool(outputs[1])
    if asked and s.attr("storage_order", 0):
        return _indices_by_row(s)  # those that are there count by column
    if not asked:
        s.node.attrs.pop("storage_order", None)  # it changes nothing but the Indices
        del outputs[1:]
        outputs.append(_indices_name(s))
    return outputs[1]


def _indices_by_row(s: Step) -> str:
    attrs = {k: v for k, v in s.node.attrs.items() if k != "storage_order"}
    name = _indices_name(s)
    outputs = [s.graph.fresh(f"{s.y}/again"), name]
    s.graph.nodes.append(Node("MaxPool", list(s.node.inputs), outputs, attrs, name))
    return name


def _indices_name(s: Step) -> str:
    name = s.graph.fresh(f"{s.y}/indices")
    s.graph.types[name] = TensorType(s.y.shape, np.dtype(np.int64))
    return name


@rule("AveragePool", linear=True)
def _(s: Step, i: int) -> str:
    """With dilations it becomes a depthwise convolution first."""
    x, y = s.x[0].shape, s.y.shape
    axes = axes_of(s.node, x[2:], y[2:])
    shares = inverse_divisors(_mean_of_ones(s, axes), axes)
    # one number where it can be: onnxruntime then keeps the product in its blocked layout
    g = s.g * (shares if np.ptp(shares) else shares.flat[0])
    if all(a.kernel == a.stride and a.begin == a.end == 0 and a.dilation == 1 for a in axes):
        return repeat(s, g, [a.kernel for a in axes])
    ones = s.const(np.ones((x[1], 1, *(a.kernel for a in axes))))
    return convolution_input_gradient(s, g, ones, axes, x[1])


def _mean_of_ones(s: Step, axes: list[Axis]) -> np.ndarray:
    """What onnxruntime makes of ones by this pool."""
    probe = Graph()
    dtype = np.dtype(np.float32)
    probe.inputs["x"] = TensorType((1, 1, *(a.size for a in axes)), dtype)
    probe.types["y"] = TensorType((1, 1, *(a.out for a in axes)), dtype)
    probe.nodes = [Node("AveragePool", ["x"], ["y"], dict(s.node.attrs))]
    probe.outputs = ["y"]
    return run(graph_session(probe), None, {"x": np.ones(probe.inputs["x"].shape, dtype)})[0]


@rule("Resize", linear=True)
def _(s: Step, i: int) -> str:
    """The region of ``tf_crop_and_resize`` must be constant."""
    if i:
        raise Refusal("its region depends on the image")
    # every mode is linear and acts on one axis at a time: take each axis' matrix from the runtime
    x, shape, g = s.x[0].shape, list(s.y.shape), s.g
    for k, size in enumerate(x):
        resample = _along_axis(s, k, size, shape[k])
        if resample is None:
            continue
        if is_short(size, shape[k]):
            g = apply_along(s, g, shape, k, resample(np.eye(size, dtype=np.float32)))
        else:
            taps = taps_of(resample, size, shape[k], _width(s, size, shape[k]))
            g = taps_adjoint(s, g, shape, k, size, taps)
        shape[k] = size
    return g


def _width(s: Step, size: int, out: int) -> int:
    """How many neighbours an output of a Resize takes, along an axis, and some more."""
    blurs = s.attr("antialias", 0) and size > out
    return 8 * (math.ceil(size / max(out, 1)) + 1 if blurs else 1)


def _along_axis(s: Step, axis: int, size: int, out: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """What a Resize makes of rows (N, size) along one axis: rows (N, out), by the node itself.

    None where the axis is left alone.
    """
    by_scale = s.has(2) and s.value(2).size > 0
    crop = s.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    region = _region_of(s, axis) if crop else (0.0, 1.0)
    if size == out and region == (0, 1) and not (by_scale and _scale_of(s, axis) != 1):
        return None
    if s.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        return _at_shared_scale(s, axis, size, out)
    # what lies outside the region's image is a constant, and has no gradient
    attrs = {k: v for k, v in s.node.attrs.items() if k not in ("axes", "extrapolation_value")}
    roi = np.array([0, 0, region[0], 0, 1, 1, region[1], 1], np.float32)
    scale = _scale_of(s, axis) if by_scale else 1.0

    def resample(rows: np.ndarray) -> np.ndarray:
        count = len(rows)
        if by_scale:
            how = {"roi": roi, "scales": np.array([1, 1, scale, 1], np.float32)}
        else:
            how = {"roi": roi, "sizes": np.array([count, 1, out, 1], np.int64)}
        made = _resized(rows.reshape(count, 1, size, 1), attrs, how, (count, 1, out, 1))
        return made.reshape(count, out)

    return resample


def _at_shared_scale(s: Step, axis: int, size: int, out: int) -> Callable[[np.ndarray], np.ndarray]:
    """The same where the sizes asked for determine one scale for all axes: they stay as they are.

    The rows lie in the batch and are constant along the other axes, which leaves them so.
    """
    x, y = s.x[0].shape, s.y.shape
    named = [k % len(x) for k in s.attr("axes") or range(len(x))]
    if 0 in named:
        raise Refusal("it keeps the aspect ratio of the batch")
    shape = [d if k in named else 1 for k, d in enumerate(x)]
    sizes = s.value(3)

    def resample(rows: np.ndarray) -> np.ndarray:
        count = len(rows)
        vectors = rows.reshape([count, *(size if k == axis else 1 for k in range(1, len(x)))])
        units = np.ascontiguousarray(np.broadcast_to(vectors, (count, *shape[1:])))
        made = (count, *(d if k in named else 1 for k, d in enumerate(y) if k))
        result = _resized(units, dict(s.node.attrs), {"sizes": sizes}, made)
        return np.asarray(np.moveaxis(result, axis, 1).reshape(count, out, -1)[:, :, 0])

    return resample


def _resized(x: np.ndarray, attrs: dict[str, Any], how: dict[str, np.ndarray], shape: Shape) -> np.ndarray:
    """Resize on onnxruntime; `how` holds its further inputs by name."""
    probe = Graph()
    probe.inputs["x"] = TensorType(x.shape, x.dtype)
    probe.types["y"] = TensorType(shape, x.dtype)
    probe.constants.update(how)
    inputs = ["x", *(name if name in how else "" for name in ("roi", "scales", "sizes"))]
    probe.nodes, probe.outputs = [Node("Resize", inputs, ["y"], attrs)], ["y"]
    return np.asarray(run(graph_session(probe), None, {"x": x})[0])


def _region_of(s: Step, axis: int) -> tuple[float, float]:
    """Start and end of the region along one axis, in parts of the image."""
    rank = len(s.x[0].shape)
    axes, roi = [k % rank for k in s.attr("axes") or range(rank)], s.value(1)
    if axis not in axes:
        return 0.0, 1.0
    k = axes.index(axis)
    return float(roi[k]), float(roi[len(axes) + k])


def _scale_of(s: Step, axis: int) -> float:
    """The factor given for one axis; `axes` may name only some, in any order."""
    rank = len(s.x[0].shape)
    axes = [k % rank for k in s.attr("axes") or range(rank)]
    return float(s.value(2)[axes.index(axis)]) if axis in axes else 1.0
