"""Explicit steps of the diffusion of Perona and Malik, one sweep over the image for each.

Row i only needs rows i and i + 1 as they were, and what flowed out of row i - 1, so that an image is
changed in place, with two rows as working memory.
"""

from __future__ import annotations

from typing import Any

from numba import uintp

from ..arrays import Array
from .compiling import kernel
from .decay import decay, decay_double

EXPONENTIAL, RATIONAL = 0, 1


@kernel
def _add_squares(row: Array, below: Array, down: Array, right: Array, width: int) -> None:
    for j in range(width):
        x = uintp(j)
        down[x] += (below[x] - row[x]) * (below[x] - row[x])
    for j in range(width - 1):
        x, after = uintp(j), uintp(j + 1)
        right[x] += (row[after] - row[x]) * (row[after] - row[x])


@kernel
def _conduct(square: Array, factor: Any, one: Any, conduction: int, c: Array, width: int) -> None:
    """Turn squared differences into conductivities: exp(-s / kappa^2), or 1 / (1 + s / kappa^2)."""
    if conduction == RATIONAL:
        for j in range(width):
            square[uintp(j)] = one / (one + factor * square[uintp(j)])
    elif c[0] > 30:
        for j in range(width):
            square[uintp(j)] = decay_double(factor * square[uintp(j)], c)
    else:
        for j in range(width):
            square[uintp(j)] = decay(factor * square[uintp(j)], c)


@kernel
def _flow(
    row: Array, below: Array, down: Array, right: Array, across: Array, inflow: Array, dt: Any, width: int
) -> None:
    """Move a row; `inflow` is what came from the row above, and becomes what goes to the row below.

    `across` (W + 1) is memory for what goes over the left edge of each pixel, nothing at both ends.
    """
    for j in range(width - 1):
        x, after = uintp(j), uintp(j + 1)
        across[after] = right[x] * (row[after] - row[x])
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        outflow = down[x] * (below[x] - row[x])
        row[x] += dt * (outflow - inflow[x] + (across[after] - across[x]))
        inflow[x] = outflow


@kernel
def diffuse(u: Array, steps: int, numbers: Array, conduction: int, c: Array, work: Array) -> None:
    """Take explicit steps on one image, in place.

    Parameters
    ----------
    u
        Image (C, H, W).
    steps
        How many.
    numbers
        (3,) of the dtype of u: 1 / kappa^2, the length of a step, and 1.
    conduction
        EXPONENTIAL or RATIONAL.
    c
        `decay.coefficients`.
    work
        Memory (4 + C, W + 1) of the dtype of u.
    """
    channels, height, width = u.shape
    down, right, across, copied = work[0], work[1], work[2], work[3]
    across[:] = 0
    for _ in range(steps):
        work[4:, :] = 0
        for i in range(height):
            work[:2, :] = 0
            for channel in range(channels):
                _add_squares(u[channel, i], u[channel, min(i + 1, height - 1)], down, right, width)
            _conduct(down, numbers[0], numbers[2], conduction, c, width)
            _conduct(right, numbers[0], numbers[2], conduction, c, width)
            for channel in range(channels):
                row, inflow = u[channel, i], work[4 + channel]
                if i < height - 1:
                    _flow(row, u[channel, i + 1], down, right, across, inflow, numbers[1], width)
                else:  # below the last row all is as in it; a copy, since no two arguments may overlap
                    copied[:width] = row
                    _flow(row, copied, down, right, across, inflow, numbers[1], width)
