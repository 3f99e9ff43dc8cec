"""Gradient rules of operators that move entries about, repeat them or leave them out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from ..backward import Step
from ..builder import Value
from ..graph import Node
from .along_axis import gather_adjoint
from .table import formula, rule


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", linear=True)
def _(s: Step, i: int) -> str:
    return s.reshape(s.g, s.x[0].shape)


@rule("Transpose", linear=True)
def _(s: Step, i: int) -> str:
    perm = s.attr("perm") or range(len(s.x[0].shape))[::-1]
    return s.op("Transpose", s.g, perm=[int(k) for k in np.argsort(perm)])


@rule("DepthToSpace", linear=True)
def _(s: Step, i: int) -> str:
    block, (n, c, h, w) = s.attr("blocksize"), s.x[0].shape
    if s.attr("mode", "DCR") == "DCR":  # SpaceToDepth is its inverse
        return s.op("SpaceToDepth", s.g, blocksize=block)
    split = s.reshape(s.g, (n, c // block**2, h, block, w, block))
    return s.reshape(s.op("Transpose", split, perm=[0, 1, 3, 5, 2, 4]), (n, c, h, w))


@rule("SpaceToDepth", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("DepthToSpace", s.g, blocksize=s.attr("blocksize"), mode="DCR")


formula("Expand", lambda g, y, x, shape: g, broadcasts=True, linear=True)


@rule("Tile", linear=True)
def _(s: Step, i: int) -> str:
    # one axis of length r n is r copies of n
    x, y = s.x[0].shape, s.y.shape
    split = s.reshape(s.g, [d for a, b in zip(x, y, strict=True) for d in (b // a, a)])
    return s.sum(split, range(0, 2 * len(x), 2))


@rule("Trilu", linear=True)
def _(s: Step, i: int) -> str:
    return s.op("Trilu", s.g, *s.x[1:], upper=s.attr("upper", 1))


@rule("CumSum", linear=True)
def _(s: Step, i: int) -> str:
    flags = {"exclusive": s.attr("exclusive", 0), "reverse": 1 - s.attr("reverse", 0)}
    return s.op("CumSum", s.g, s.x[1], **flags)


@rule("Concat", linear=True)
def _(s: Step, i: int) -> str:
    axis = s.attr("axis") % len(s.y.shape)
    ends = s.once(lambda: [0, *accumulate(x.shape[axis] for x in s.x)])
    start, stop = ends[i : i + 2]
    convolution = s.graph.maker(s.g)
    if axis == 1 and convolution is not None and _can_split(s, convolution):
        return _some_channels(s, convolution, slice(start, stop))
    return s.op("Slice", s.g, s.ints([start]), s.ints([stop]), s.ints([axis]))


def _can_split(s: Step, node: Node) -> bool:
    return (
        node.op == "Conv"
        and node.attrs.get("group", 1) == 1
        and len(node.inputs) == 2
        and s.graph.constant(node.inputs[1]) is not None
    )


def _some_channels(s: Step, convolution: Node, channels: slice) -> str:
    """A part of a convolution's output, computed alone.

    All parts together cost what the whole does, and they stay in onnxruntime's blocked layout, which
    Slice does not know.
    """
    x, weight = convolution.inputs
    part = s.const(np.ascontiguousarray(s.graph.constants[weight][channels]))
    return s.op("Conv", x, part, **convolution.attrs)


@rule("Split", linear=True)
def _(s: Step, i: int) -> str:
    parts = [g or np.zeros(s.shape(y)) for g, y in zip(s.grads, s.node.outputs, strict=True)]
    return s.op("Concat", *parts, axis=s.attr("axis", 0))


@rule("Slice", linear=True)
def _(s: Step, i: int) -> str:
    """Starts, ends, axes and steps must be constant."""
    x = s.x[0].shape
    starts, ends = s.value(1).tolist(), s.value(2).tolist()
    axes = s.value(3).tolist() if s.has(3) else list(range(len(starts)))
    steps = s.value(4).tolist() if s.has(4) else [1] * len(starts)
    g, shape = s.g, list(s.y.shape)
    pads = [0] * (2 * len(x))
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        k = axis % len(x)
        taken = _taken(x[k], start, end, step)
        if step < 0:
            g, taken = _reversed(s, g, k), taken[::-1]
        if abs(step) > 1:
            g = _interleave_zeros(s, g, shape, k, abs(step))
            shape[k] *= abs(step)
        pads[k] = taken.start
        pads[len(x) + k] = x[k] - shape[k] - taken.start  # negative where the last zeros overhang
    return s.op("Pad", g, s.ints(pads)) if any(pads) else g


def _taken(size: int, start: int, end: int, step: int) -> range:
    """The samples that Slice takes; it differs from Python for a start in front of the data."""
    if step < 0 and start < -size:  # clamped to the first sample, where Python takes none
        start = 0
    return range(size)[slice(start, end, step)]


def _reversed(s: Step, g: Value, axis: int) -> Value:
    lowest = np.iinfo(np.int64).min
    return s.op("Slice", g, s.ints([-1]), s.ints([lowest]), s.ints([axis]), s.ints([-1]))


def _interleave_zeros(s: Step, g: Value, shape: list[int], axis: int, step: int) -> Value:
    """a b c -> a 0 b 0 c 0 along one axis (step 2)."""
    split = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
    pads = [0] * (2 * len(split))
    pads[len(split) + axis + 1] = step - 1
    padded = s.op("Pad", s.reshape(g, split), s.ints(pads))
    return s.reshape(padded, [*shape[:axis], shape[axis] * step, *shape[axis + 1 :]])


@rule("Pad", linear=True)
def _(s: Step, i: int) -> str:
    """Pads and axes must be constant; the value that is filled in need not be."""
    x, mode = s.x[0].shape, s.attr("mode", "constant")
    begin, end = _pads_per_axis(s, len(x))
    if mode == "constant":
        pads = [-p for p in (*begin, *end)]
        inside = s.op("Pad", s.g, s.ints(pads)) if any(pads) else s.g
        return _gradient_of_fill(s, inside) if i else inside
    g, shape = s.g, list(s.y.shape)
    for k, size in enumerate(x):
        if begin[k] or end[k]:
            g = gather_adjoint(s, g, shape, k, size, _padded_sources(size, begin[k], end[k], mode))
            shape[k] = size
    return g


def _gradient_of_fill(s: Step, inside: Value) -> Value:
    """The gradient of the one number that a Pad fills in: all of `g` that does not go to the data."""
    # a negative pad takes data away; `inside` has zeros there
    return s.reshape(s.sum(s.g) - s.sum(inside), s.x[2].shape)


def _pads_per_axis(s: Step, rank: int) -> tuple[list[int], list[int]]:
    pads = s.value(1).tolist()
    axes = [k % rank for k in s.value(3).tolist()] if s.has(3) else list(range(rank))
    begin, end = [0] * rank, [0] * rank
    for k, axis in enumerate(axes):
        begin[axis], end[axis] = pads[k], pads[len(axes) + k]
    return begin, end


def _padded_sources(size: int, begin: int, end: int, mode: str) -> np.ndarray:
    """Which source sample each padded sample copies; a negative pad crops."""
    # the modes of ONNX bear NumPy's names
    padded = np.pad(np.arange(size), (max(begin, 0), max(end, 0)), mode=mode)  # type: ignore[call-overload]
    return np.asarray(padded[max(-begin, 0) : len(padded) - max(-end, 0)])


def repeat(s: Step, g: Value, times: Sequence[int]) -> Value:
    """Repeat each sample of `g` `times[k]` times along spatial axis k.

    By Resize, which onnxruntime keeps in its blocked layout, as it does not keep Expand.
    """
    scales = s.const([1, 1, *times], np.float32)
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return s.op("Resize", g, "", scales, **modes)
