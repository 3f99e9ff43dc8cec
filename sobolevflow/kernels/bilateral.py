"""The bilateral filter: for each offset of the window, a row of pixels at a time."""

from __future__ import annotations

from typing import Any

from numba import uintp

from ..arrays import Array
from .compiling import kernel
from .decay import decay, decay_double


@kernel
def _add_square(here: Array, there: Array, square: Array, width: int) -> None:
    for j in range(width):
        x = uintp(j)
        square[x] += (there[x] - here[x]) * (there[x] - here[x])


@kernel
def _weigh(
    square: Array, factor: Any, spatial: Any, c: Array, total: Array, double: bool, width: int
) -> None:
    """Turn squared differences into weights, and add them to `total`."""
    if double:
        for j in range(width):
            x = uintp(j)
            square[x] = spatial * decay_double(factor * square[x], c)
            total[x] += square[x]
    else:
        for j in range(width):
            x = uintp(j)
            square[x] = spatial * decay(factor * square[x], c)
            total[x] += square[x]


@kernel
def _add_weighted(weights: Array, there: Array, out: Array, width: int) -> None:
    for j in range(width):
        x = uintp(j)
        out[x] += weights[x] * there[x]


@kernel
def _divide(out: Array, total: Array, width: int) -> None:
    for j in range(width):
        out[uintp(j)] /= total[uintp(j)]


@kernel
def bilateral(
    padded: Array, out: Array, spatial: Array, factor: Any, c: Array, work: Array, start: int, stop: int
) -> None:
    """Filter rows start to stop - 1 of one image.

    Parameters
    ----------
    padded
        The image, continued by the radius on all sides (C, H + 2 r, W + 2 r).
    out
        (C, H, W).
    spatial
        Weights of the window (2 r + 1, 2 r + 1).
    factor
        1 / (2 sigma_range^2), as a number of the dtype of the image.
    c
        `decay.coefficients`.
    work
        Memory for two rows (2, W).
    """
    channels, _, width = out.shape
    size = spatial.shape[0]
    radius = size // 2
    double = c[0] > 30
    square, total = work[0], work[1]
    for i in range(start, stop):
        total[:] = 0
        for channel in range(channels):
            out[channel, i, :] = 0
        for dy in range(size):
            for dx in range(size):
                square[:] = 0
                for channel in range(channels):
                    here = padded[channel, i + radius, radius : radius + width]
                    there = padded[channel, i + dy, dx : dx + width]
                    _add_square(here, there, square, width)
                _weigh(square, factor, spatial[dy, dx], c, total, double, width)
                for channel in range(channels):
                    there = padded[channel, i + dy, dx : dx + width]
                    _add_weighted(square, there, out[channel, i], width)
        for channel in range(channels):
            _divide(out[channel, i], total, width)
