"""Gradient rule of GridSample: the samples that the network placed, given back to their pixels.

Where the grid is constant, as in a fixed warp, pixels and weights (see `samples`) are numbers, and
the gradient is one scatter by addition.
"""

from __future__ import annotations

import numpy as np

from ..backward import Refusal, Step
from ..samples import taps_of_samples
from .table import rule


@rule("GridSample", linear=True)
def _(s: Step, i: int) -> str:
    """Of images, and a grid that is constant."""
    if i:
        raise Refusal("its grid depends on the image")
    if len(s.x[0].shape) != 4:
        raise Refusal("it samples a volume")
    n, c, h, w = s.x[0].shape
    kind = s.attr("mode", "bilinear"), s.attr("padding_mode", "zeros"), bool(s.attr("align_corners", 0))
    pixels, weights = taps_of_samples(s.value(1).astype(np.float64), (h, w), *kind)
    # (N, C, samples, 1) times (N, 1, samples, taps), added up over flat positions
    _, samples, taps = pixels.shape
    shares = s.reshape(s.g, (n, c, samples, 1)) * weights[:, None]
    shape = s.ints([n, c, samples * taps])
    where = s.op("Expand", s.const(pixels.reshape(n, 1, -1), np.int64), shape)
    blank = s.expand(0, (n, c, h * w))
    flat = s.op("ScatterElements", blank, where, s.op("Reshape", shares, shape), axis=2, reduction="add")
    return s.reshape(flat, (n, c, h, w))
