"""Evaluate a graph in double precision, for checks.

onnxruntime has no float64 convolutions on the CPU, and onnx's `ReferenceEvaluator` walks
windows in Python loops. Here it runs with the sliding-window operators replaced by sums over
kernel taps, each one matrix product, which makes whole networks practical. Others are replaced
because onnx's own are not exact: its Erf rounds to float32, its LRN runs over the batch where it
should run over the channels, its GlobalMaxPool knows two spatial axes only, its
MeanVarianceNormalization runs in single precision only, its LpNormalization takes no absolute
values, its GatherElements knows neither negative axes nor indices for a part of the data, and its
GridSample knows newer names of modes only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from .geometry import Axis
from .graph import Graph
from .samples import taps_of_samples
from .scales import along_axis

Feeds = Mapping[str, np.ndarray]


def evaluate(graph: Graph) -> Callable[[Feeds], list[np.ndarray]]:
    """A function from feeds to the graph's outputs, computed in the graph's own dtypes by NumPy.

    Optional inputs (those with a default) need not be fed.
    """
    evaluator = ReferenceEvaluator(
        graph.to_model(typed_outputs=False),
        new_ops=[
            *(Conv, ConvTranspose, MaxPool, AveragePool, LpPool, GlobalLpPool, GlobalMaxPool, Pad, LRN, Erf),
            *(MeanVarianceNormalization, LpNormalization, GatherElements, GridSample),
            *(QuantizeLinear, DequantizeLinear),
        ],
    )
    defaults = {name: graph.constants[name] for name in graph.inputs if name in graph.constants}

    def run(feeds: Feeds) -> list[np.ndarray]:
        return list(evaluator.run(None, {**defaults, **feeds}))

    return run


def _axes(size: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> list[Axis]:
    """Window geometry of a convolution or pool along each spatial axis."""
    rank = len(size)
    strides = attrs["strides"] or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    pads = attrs["pads"] or [0] * (2 * rank)
    axes = []
    for k in range(rank):
        room = size[k] + pads[k] + pads[rank + k] - ((kernel[k] - 1) * dilations[k] + 1)
        out = room // strides[k] + 1
        if attrs.get("ceil_mode"):
            out = -(-room // strides[k]) + 1
            if (out - 1) * strides[k] >= size[k] + pads[k]:  # a window may not begin behind the data
                out -= 1
        axes.append(Axis(size[k], out, kernel[k], strides[k], dilations[k], pads[k]))
    return axes


def _padded(x: np.ndarray, axes: Sequence[Axis], fill: float) -> np.ndarray:
    widths = [(0, 0), (0, 0), *((a.begin, max(a.end, 0)) for a in axes)]
    return np.pad(x, widths, constant_values=fill)


def _taps(axes: Sequence[Axis]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """For every kernel tap, its index and the samples it touches in the padded input."""
    for tap in itertools.product(*(range(a.kernel) for a in axes)):
        starts = [t * a.dilation for t, a in zip(tap, axes, strict=True)]
        yield (
            tap,
            tuple(
                slice(s, s + (a.out - 1) * a.stride + 1, a.stride) for s, a in zip(starts, axes, strict=True)
            ),
        )


def _tap_of(weights: np.ndarray, tap: tuple[int, ...]) -> np.ndarray:
    """The matrix of one tap per group: (group, outputs, inputs) of (group, outputs, inputs, *kernel)."""
    index: tuple[Any, ...] = (..., *tap)
    return np.asarray(weights[index])


class Conv(OpRun):
    """Convolution as one matrix product per kernel tap and group."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attrs: Any
    ) -> tuple[np.ndarray]:
        group = attrs["group"] or 1
        kernel = w.shape[2:]
        axes = _axes(x.shape[2:], kernel, attrs)
        out = [a.out for a in axes]
        padded = _padded(x, axes, 0)
        y = np.zeros((len(x), group, len(w) // group, int(np.prod(out))), x.dtype)
        weights = w.reshape(group, len(w) // group, *w.shape[1:])
        for tap, where in _taps(axes):
            samples = padded[(slice(None), slice(None), *where)].reshape(len(x), group, w.shape[1], -1)
            y += _tap_of(weights, tap) @ samples
        y = y.reshape(len(x), len(w), *out)
        return (y if b is None else y + b.reshape(-1, *[1] * len(out)),)


class ConvTranspose(OpRun):
    """Transposed convolution: the taps of `Conv`, scattered instead of gathered."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attrs: Any
    ) -> tuple[np.ndarray]:
        group, kernel, rank = attrs["group"] or 1, w.shape[2:], w.ndim - 2
        strides = attrs["strides"] or [1] * rank
        dilations = attrs["dilations"] or [1] * rank
        pads = attrs["pads"] or [0] * (2 * rank)
        extra = attrs["output_padding"] or [0] * rank
        size = x.shape[2:]
        full = [
            (size[k] - 1) * strides[k] + (kernel[k] - 1) * dilations[k] + 1 + extra[k] for k in range(rank)
        ]
        axes = [Axis(full[k], size[k], kernel[k], strides[k], dilations[k], 0) for k in range(rank)]
        outputs = w.shape[1]
        y = np.zeros((len(x), group * outputs, *full), x.dtype)
        weights = np.swapaxes(w.reshape(group, len(w) // group, *w.shape[1:]), 1, 2)
        samples = x.reshape(len(x), group, x.shape[1] // group, -1)
        for tap, where in _taps(axes):
            part = _tap_of(weights, tap) @ samples
            y[(slice(None), slice(None), *where)] += part.reshape(len(x), group * outputs, *size)
        crop: tuple[Any, ...] = tuple(slice(pads[k], full[k] - pads[rank + k]) for k in range(rank))
        y = y[(..., *crop)]
        return (y if b is None else y + b.reshape(-1, *[1] * rank),)


class MaxPool(OpRun):
    """Maximum over the taps, with flat indices of the first maximum."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray, ...]:
        kernel = attrs["kernel_shape"]
        axes = _axes(x.shape[2:], kernel, attrs)
        padded = _padded(x, axes, -np.inf)
        size = int(np.prod(x.shape[2:]))
        spatial = x.shape[2:]
        order = np.arange(size, dtype=np.int64)
        within = order.reshape(spatial[::-1]).T if attrs.get("storage_order") else order.reshape(spatial)
        flat = np.add.outer(np.arange(0, x.size, size).reshape(x.shape[:2]), within)
        positions = _padded(flat, axes, -1)
        best = np.full((*x.shape[:2], *(a.out for a in axes)), -np.inf, x.dtype)
        where_best = np.full(best.shape, -1, np.int64)
        for _, where in _taps(axes):
            candidate = padded[(slice(None), slice(None), *where)]
            better = candidate > best
            best = np.where(better, candidate, best)
            where_best = np.where(better, positions[(slice(None), slice(None), *where)], where_best)
        return (best, where_best)[: self.n_outputs]

    @property
    def n_outputs(self) -> int:
        """How many outputs the node asks for."""
        return len(self.onnx_node.output)


class AveragePool(OpRun):
    """Mean over the taps on data, or over all taps inside the declared padding."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        kernel = attrs["kernel_shape"]
        axes = _axes(x.shape[2:], kernel, attrs)
        padded = _padded(x, axes, 0)
        total = np.zeros((*x.shape[:2], *(a.out for a in axes)), x.dtype)
        for _, where in _taps(axes):
            total += padded[(slice(None), slice(None), *where)]
        pads = attrs["pads"] or [0] * (2 * len(axes))
        counts = np.ones((1, 1))
        for k, a in enumerate(axes):
            taps = a.valid_taps()
            if attrs["count_include_pad"]:  # padding counts, but nothing beyond the declared padding
                whole = Axis(a.size + a.begin + pads[len(axes) + k], a.out, a.kernel, a.stride, a.dilation, 0)
                taps = whole.valid_taps()
            counts = np.multiply.outer(counts, taps)
        return (total / counts,)


class LpPool(OpRun):
    """p-norm over the taps."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        axes, p = _axes(x.shape[2:], attrs["kernel_shape"], attrs), attrs["p"] or 2
        padded = _padded(np.abs(x) ** p, axes, 0)
        total = np.zeros((*x.shape[:2], *(a.out for a in axes)), x.dtype)
        for _, where in _taps(axes):
            total += padded[(slice(None), slice(None), *where)]
        return (total ** (1 / p),)


class GlobalLpPool(OpRun):
    """p-norm over all spatial axes."""

    def _run(self, x: np.ndarray, p: int = 2) -> tuple[np.ndarray]:
        total = (np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True)
        return (total ** (1 / p),)


class GlobalMaxPool(OpRun):
    """Maximum over all spatial axes."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class GridSample(OpRun):
    """Weighted sums of pixels at the places of a grid."""

    def _run(
        self, x: np.ndarray, grid: np.ndarray, mode: str, padding_mode: str, align_corners: int
    ) -> tuple[np.ndarray]:
        n, c, h, w = x.shape
        mode = "bilinear" if mode == "linear" else mode  # the default that onnx fills in is that of opset 20
        pixels, weights = taps_of_samples(grid, (h, w), mode, padding_mode, bool(align_corners))
        taken = np.take_along_axis(x.reshape(n, c, h * w, 1), pixels[:, None].reshape(n, 1, -1, 1), axis=2)
        y = (taken.reshape(n, c, *pixels.shape[1:]) * weights[:, None]).sum(axis=-1)
        return (y.reshape(n, c, *grid.shape[1:3]),)


class LRN(OpRun):
    """Division by a power of the mean square over neighbouring channels."""

    def _run(self, x: np.ndarray, alpha: float, beta: float, bias: float, size: int) -> tuple[np.ndarray]:
        squares = np.zeros_like(x)
        for c in range(x.shape[1]):
            near = x[:, max(c - (size - 1) // 2, 0) : c + size // 2 + 1]
            squares[:, c] = (near * near).sum(axis=1)
        return (x * (bias + alpha / size * squares) ** -beta,)


class MeanVarianceNormalization(OpRun):
    """Mean 0 and deviation 1 over the given axes."""

    def _run(self, x: np.ndarray, axes: Sequence[int] | None = None) -> tuple[np.ndarray]:
        over = (0, 2, 3) if axes is None else tuple(axes)
        std = x.std(axis=over, keepdims=True)
        return ((x - x.mean(axis=over, keepdims=True)) / (std + 1e-9),)


class LpNormalization(OpRun):
    """Division by the 1- or 2-norm along one axis; a vector of zeros stays."""

    def _run(self, x: np.ndarray, axis: int = -1, p: int = 2) -> tuple[np.ndarray]:
        norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
        return (x / np.where(norm == 0, 1, norm),)


class GatherElements(OpRun):
    """One entry per index along an axis; the other coordinates are those of the index."""

    def _run(self, data: np.ndarray, indices: np.ndarray, axis: int = 0) -> tuple[np.ndarray]:
        where: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        where[axis] = indices
        return (data[tuple(where)],)


class QuantizeLinear(OpRun):
    """To the nearest whole step from the zero point, inside the range of its type."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, axis: int = 1, **_: Any
    ) -> tuple[np.ndarray]:
        zero = np.zeros(1, np.uint8) if zero is None else zero
        limits = np.iinfo(zero.dtype)
        steps = np.rint(x / along_axis(scale, axis, x.ndim)) + along_axis(zero, axis, x.ndim)
        return (steps.clip(limits.min, limits.max).astype(zero.dtype),)


class DequantizeLinear(OpRun):
    """Steps from the zero point, times the scale."""

    def _run(
        self, q: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, axis: int = 1, **_: Any
    ) -> tuple[np.ndarray]:
        shift = 0.0 if zero is None else along_axis(zero.astype(scale.dtype), axis, q.ndim)
        return ((q.astype(scale.dtype) - shift) * along_axis(scale, axis, q.ndim),)


class Erf(OpRun):
    """The error function in the precision of its argument."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        from scipy.special import erf  # which takes as long to import as all the rest

        return (np.asarray(erf(x), x.dtype),)


class Pad(OpRun):
    """Padding in which negative widths crop, which onnx's own evaluator refuses."""

    def _run(
        self,
        x: np.ndarray,
        pads: np.ndarray,
        value: np.ndarray | None = None,
        axes: np.ndarray | None = None,
        mode: str = "constant",
    ) -> tuple[np.ndarray]:
        named = range(x.ndim) if axes is None else [int(k) % x.ndim for k in axes]
        widths, crop = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
        for k, axis in enumerate(named):
            begin, end = int(pads[k]), int(pads[len(named) + k])
            widths[axis] = (max(begin, 0), max(end, 0))
            crop[axis] = slice(max(-begin, 0), -max(-end, 0) or None)
        fill = {"constant_values": 0 if value is None else value.item()} if mode == "constant" else {}
        return (np.pad(x, widths, mode=mode, **fill)[tuple(crop)],)  # type: ignore[call-overload]
