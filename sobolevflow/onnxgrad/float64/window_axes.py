"""Windows over padded arrays: their geometry by a node's attributes, and the samples under each tap."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..geometry import Axis


def window_axes(size: Sequence[int], kernel: Sequence[int], attrs: Mapping[str, Any]) -> list[Axis]:
    """Window geometry of a convolution or pool along each spatial axis."""
    rank = len(size)
    strides = attrs.get("strides") or [1] * rank
    dilations = attrs.get("dilations") or [1] * rank
    pads = attrs.get("pads") or [0] * (2 * rank)
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


def padded(x: np.ndarray, axes: Sequence[Axis], fill: float) -> np.ndarray:
    """`x` with what its windows touch beyond it; `x` itself where they do not."""
    widths = [(0, 0), (0, 0), *((a.begin, max(a.end, 0)) for a in axes)]
    return np.pad(x, widths, constant_values=fill) if np.any(widths) else x


def taps(axes: Sequence[Axis]) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """For every kernel tap, its index, and where the padded input (N, C, ...) has the samples under it."""
    for tap in itertools.product(*(range(a.kernel) for a in axes)):
        starts = [t * a.dilation for t, a in zip(tap, axes, strict=True)]
        samples = [
            slice(s, s + (a.out - 1) * a.stride + 1, a.stride) for s, a in zip(starts, axes, strict=True)
        ]
        yield tap, (slice(None), slice(None), *samples)
