"""Sliding windows of convolutions and pools: where they start, how far they reach.

One axis of length `size` with window size `kernel`, `stride` s, `dilation` and `begin`
zeros in front yields `out` positions. The windows together span (out - 1) s + reach
samples, so the padding really used behind the data is ``end = span - size - begin``; it is
negative where the stride leaves a tail that no window touches. ``ceil_mode``, asymmetric
pads and ``auto_pad`` all come down to these five numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from .graph import Graph, Node, Shape


@dataclass(frozen=True)
class Axis:
    """The window geometry along one spatial axis."""

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    begin: int

    @property
    def reach(self) -> int:
        """Samples from the first to the last tap of one window."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def span(self) -> int:
        """Samples from the first tap of the first window to the last tap of the last one."""
        return (self.out - 1) * self.stride + self.reach

    @property
    def end(self) -> int:
        """Padding used behind the data; negative for an untouched tail."""
        return self.span - self.size - self.begin

    def valid_taps(self) -> np.ndarray:
        """How many taps of each window lie on data rather than on padding, shape (out,)."""
        taps = (
            np.arange(self.out)[:, None] * self.stride
            + np.arange(self.kernel)[None, :] * self.dilation
            - self.begin
        )
        return np.asarray(((taps >= 0) & (taps < self.size)).sum(axis=1))


_WINDOWED = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"}


def explicit_pads(graph: Graph, node: Node) -> None:
    """Replace ``auto_pad`` (and ConvTranspose's ``output_shape``) by explicit pads, in place."""
    if node.op not in _WINDOWED:
        return
    size, out = graph.shape(node.inputs[0])[2:], graph.shape(node.outputs[0])[2:]
    rank = len(size)
    kernel = node.attrs.get("kernel_shape") or graph.shape(node.inputs[1])[2:]
    stride = node.attrs.get("strides") or [1] * rank
    dilation = node.attrs.get("dilations") or [1] * rank
    mode = _text(node.attrs.pop("auto_pad", "NOTSET"))
    pads = list(node.attrs.get("pads") or [0] * (2 * rank))
    asked = node.attrs.pop("output_shape", None) if node.op == "ConvTranspose" else None
    extra = list(node.attrs.get("output_padding") or [0] * rank)
    for i in range(rank):
        reach = (kernel[i] - 1) * dilation[i] + 1
        if node.op == "ConvTranspose" and (asked or mode.startswith("SAME")):
            total = stride[i] * (size[i] - 1) + extra[i] + reach - out[i]
            if total < 0:  # asked for more than the windows reach: the rest is output padding
                extra[i], total = extra[i] - total, 0
            # the specification puts the odd sample behind for SAME_UPPER and in front otherwise
            pads[i], pads[rank + i] = _halves(total, larger_behind=mode == "SAME_UPPER")
        elif mode.startswith("SAME"):
            total = max((out[i] - 1) * stride[i] + reach - size[i], 0)
            pads[i], pads[rank + i] = _halves(total, larger_behind=mode == "SAME_UPPER")
    node.attrs.update(kernel_shape=list(kernel), strides=list(stride), pads=pads)
    if node.op == "ConvTranspose":
        node.attrs["output_padding"] = extra
    if node.op != "AveragePool":  # has no dilations at opset 18
        node.attrs["dilations"] = list(dilation)


def axes_of(node: Node, size: Shape, out: Shape) -> list[Axis]:
    """The geometry of a Conv or pool node with explicit pads, one entry per spatial axis."""
    attrs = node.attrs
    dilations = attrs.get("dilations", [1] * len(size))
    return [
        Axis(size[i], out[i], attrs["kernel_shape"][i], attrs["strides"][i], dilations[i], attrs["pads"][i])
        for i in range(len(size))
    ]


def inverse_divisors(mean: np.ndarray, axes: list[Axis]) -> np.ndarray:
    """1 / divisor of every window of an average pool, of whose ones the runtime makes `mean`.

    An average of ones is (taps on data) / divisor. Asking the runtime instead of the
    specification makes the gradient immune to their disagreements about ceil_mode and
    count_include_pad.
    """
    taps = reduce(np.multiply.outer, (axis.valid_taps() for axis in axes), np.ones((1, 1)))
    # whole numbers, from which the mean is rounded away
    return np.asarray(1 / np.maximum(np.rint(taps / np.where(mean > 0, mean, 1)), 1))


def _halves(total: int, *, larger_behind: bool) -> tuple[int, int]:
    small, large = total // 2, total - total // 2
    return (small, large) if larger_behind else (large, small)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
