"""What `Filter.plan` tells: how a filter is applied to an image, at what cost, with what error."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import checks
from ..arrays import FLOAT_DTYPES, checked_axis
from ..errors import InputError
from . import bounds
from .host import Procedure


@dataclass(frozen=True)
class Plan:
    """How a filter is applied to planes of some shape and dtype.

    Attributes
    ----------
    method
        "separable": one row and one column filter. "low-rank": a sum of them. "dense": the whole window,
        its symmetric entries folded. "tridiagonal": a transform along y, elimination along x. "spectral": a
        transform along both axes, and multiplication. "recursive": elimination along both axes. "parts":
        the filters it is made of, one by one. "identity": a copy.
    size
        Width of the window in pixels; None where the kernel is not cut.
    rank
        Number of separable terms; None where there are none.
    truncation
        Largest error, over all images with |x| <= 1, by cutting the kernel and its rank. It is attained, in
        the middle of an image larger than the window, by the signs of what was cut off.
    rounding
        A bound on what rounding adds to it, for the same images.
    flops, bytes
        Operations, and memory read and written, for each pixel.
    """

    method: str
    size: int | None = None
    rank: int | None = None
    truncation: float = 0.0
    rounding: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0

    @classmethod
    def of(
        cls,
        method: Procedure,
        dtype: np.dtype[Any],
        *,
        size: int | None = None,
        truncation: float = 0.0,
        gain: float = 1.0,
    ) -> Plan:
        """The plan of a method, with what the method itself does not know."""
        if dtype == np.float16:  # computed in float32, and rounded once
            rounding = method.roundings * bounds.unit(np.dtype(np.float32)) + gain * bounds.unit(dtype)
        else:
            rounding = method.roundings * bounds.unit(dtype)
        return cls(method.name, size, method.rank, truncation, rounding, method.flops, method.bytes)

    @property
    def error_bound(self) -> float:
        """No value is off by more than this times max|x|, against the kernel as a whole."""
        return self.truncation + self.rounding

    def __str__(self) -> str:
        window = f", {self.size} x {self.size} taps" if self.size else ""
        rank = f", rank {self.rank}" if self.rank else ""
        return (
            f"{self.method}{window}{rank}: error <= {self.error_bound:.1e} max|x| "
            f"(truncation {self.truncation:.1e}, rounding {self.rounding:.1e}), "
            f"{self.flops:.0f} flops and {self.bytes:.0f} bytes a pixel"
        )


_MOST_PIXELS = 1 << 31
"""Of a plane: the transfer function of one takes 16 GiB."""


def check_sides(h: Any, w: Any) -> tuple[int, int]:
    """The sides of a plane; InputError unless they are, and one can be filtered."""
    h, w = checks.count(h, "h"), checks.count(w, "w")
    if h * w > _MOST_PIXELS:
        raise InputError(
            f"a plane of {checks.shown(h)} x {checks.shown(w)} pixels takes some 2^{(h * w).bit_length() + 1}"
            f" bytes in float32, and its transfer function twice that; planes of up to {_MOST_PIXELS} pixels "
            f"are filtered. Cut it into tiles."
        )
    return h, w


def check_plan(
    shape: tuple[int, ...], dtype: DTypeLike, on_device: bool, channel_axis: int | None = None
) -> tuple[int, int, np.dtype[Any]]:
    """Height, width and dtype of the planes that a plan is asked for; InputError if there are none such."""
    try:
        sides = tuple(map(operator.index, shape))
        given: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        if isinstance(shape, tuple | list) and all(map(checks.is_integer, shape)):
            raise InputError(f"dtype is {checks.shown(dtype)}; give float32 or float64.") from error
        raise InputError(f"shape is {checks.shown(shape)}; give that of an image, (..., H, W).") from error
    if len(sides) < 2 or math.prod(sides) < 1 or min(sides) < 1:
        raise InputError(f"shape is {sides}; an image has at least the axes (H, W), and none is empty.")
    if given not in FLOAT_DTYPES and not (on_device and given == np.float16):
        raise InputError(
            f"dtype is {given}; supported are float32 and float64, and float16 on a CUDA device."
        )
    axis = checked_axis(channel_axis, sides, "an image")
    height, width = [side for k, side in enumerate(sides) if k != axis][-2:]
    check_sides(height, width)
    return height, width, given
