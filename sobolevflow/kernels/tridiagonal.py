"""The Helmholtz equation on a line, u - g u'' = f, for many lines at once.

The matrix is tridiagonal and constant but for its ends, where it is, with the end conditions of
`kernels.pixels`,

======== ======================== ====================================================
REFLECT  1 + g at the ends        elimination alone
ZERO     1 + 2 g at the ends      elimination alone
PERIODIC 1 + 2 g, and -g in the   A = T + g w w^T with T that of REFLECT and w = (1, 0, ..., 0, -1), by the
         corners of the matrix    formula of Sherman and Morrison
======== ======================== ====================================================

Its elimination is written as two running averages, down the line and back,

    z_k = z_(k-1) + (f_k - z_(k-1)) / e_k                   e_k = 1 + g e_(k-1) / (g + e_(k-1))
    u_k = u_(k+1) + (z_k - u_(k+1)) e_k / (g + e_k)

where g + e_k is the pivot of row k. Nothing is subtracted from e, no weight is above 1, and no product with g
is formed: constants stay what they are to the bit, and no g is too large or too small. The e_k have a closed
form in phi with 2 sinh(phi / 2) = 1 / sqrt(g), and soon settle on e^2 = e + g.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import uintp
from numpy.typing import NDArray

from ..arrays import Array
from . import pixels
from .compiling import kernel

Floats = NDArray[np.float64]

_average = kernel(pixels.average)

LINES = 32  # lines that are solved side by side
_SETTLED = 20.0  # exp(-2 * 20) is below the rounding of 1


@dataclass(frozen=True, eq=False)
class Elimination:
    """What solving lines of length n for one or many values of g needs beside the data.

    Attributes
    ----------
    down, up
        (settled, lines): the weights 1 / e and e / (g + e) of the first pixels; all later ones are equal to
        the last of them.
    closing
        (lines,): the weight of the last pixel on the way back, beyond which there is nothing to average with.
    correction
        (c, lines): with PERIODIC, what the first unknowns lose for each unit by which the first exceeds the
        last, and the last unknowns gain; beyond, it is below rounding. Empty (0, lines) otherwise.
    """

    down: Array
    up: Array
    closing: Array
    correction: Array


def elimination(gain: Floats, n: int, boundary: int, dtype: Any) -> Elimination:
    """Plan the solution of u - g u'' = f on lines of n pixels, for every g > 0 in `gain` (lines,)."""
    gain = np.maximum(gain, np.finfo(np.float64).tiny)  # less is none
    phi = _decay(gain)
    settled = min(n, max(2, math.ceil(_SETTLED / phi.min())))  # the first is never like the others
    k = np.arange(settled)[:, None]
    rising = -np.expm1(-2 * (k + 1) * phi)
    # e / sqrt(g) is sinh((k + 1) phi) / cosh((k + 1/2) phi), of ZERO cosh((k + 3/2) phi) / sinh((k + 1) phi).
    if boundary == pixels.ZERO:
        ratio = (1 + np.exp(-(2 * k + 3) * phi)) / rising
    else:
        ratio = rising / (1 + np.exp(-(2 * k + 1) * phi))
    e = (0.5 + np.sqrt(0.25 + gain)) * ratio
    up = 1 / (1 + gain / e)
    closing = up[-1] if boundary == pixels.ZERO else np.ones_like(gain)
    correction = _correction(gain, phi, n) if boundary == pixels.PERIODIC else np.zeros((0, gain.size))
    return Elimination(*(np.ascontiguousarray(a, dtype) for a in (1 / e, up, closing, correction)))


def _decay(gain: Floats) -> Floats:
    """phi: far from its ends, a line's answer to a point falls by exp(-phi) a pixel."""
    return np.asarray(2 * np.arcsinh(0.5 / np.sqrt(gain)))


def _correction(gain: Floats, phi: Floats, n: int) -> Floats:
    """z g / (1 + g w.z) for T z = w; z is odd about the middle of the line, and decays from its ends.

    g z_j = sqrt(g) sinh((m - j) phi) / cosh(n phi / 2) with the middle m = (n - 1) / 2.
    """
    count = min((n + 1) // 2, math.ceil(2 * _SETTLED / phi.min()))
    j = np.arange(count)[:, None]
    ratio = np.exp(-(j + 0.5) * phi) * -np.expm1(-(n - 1 - 2 * j) * phi) / (1 + np.exp(-n * phi))
    z = np.sqrt(gain) * ratio
    return np.asarray(z / (1 + 2 * z[0]))


@kernel
def _solve_side_by_side(
    lines: Array, n: int, first: int, down: Array, up: Array, closing: Array, correction: Array, jump: Array
) -> None:
    """Solve in place: `lines` (n, LINES) with the coefficients of the lines from `first` on."""
    settled, count = down.shape[0], lines.shape[1]
    final = n - 1
    for lane in range(count):
        lines[uintp(0), uintp(lane)] *= down[uintp(0), uintp(first + lane)]
    for j in range(1, n):
        row = uintp(min(j, settled - 1))
        for lane in range(count):
            x, at = uintp(lane), uintp(first + lane)
            lines[uintp(j), x] = _average(lines[uintp(j - 1), x], lines[uintp(j), x], down[row, at])
    for lane in range(count):
        lines[uintp(final), uintp(lane)] *= closing[uintp(first + lane)]
    for j in range(n - 2, -1, -1):
        row = uintp(min(j, settled - 1))
        for lane in range(count):
            x, at = uintp(lane), uintp(first + lane)
            lines[uintp(j), x] = _average(lines[uintp(j + 1), x], lines[uintp(j), x], up[row, at])
    if correction.shape[0] > 0:
        _correct(lines, n, first, correction, jump)


@kernel
def _correct(lines: Array, n: int, first: int, correction: Array, jump: Array) -> None:
    """From the solution with REFLECT to that with PERIODIC."""
    count = lines.shape[1]
    for lane in range(count):
        jump[lane] = lines[0, lane] - lines[n - 1, lane]
    for j in range(correction.shape[0]):
        for lane in range(count):
            x, at = uintp(lane), uintp(first + lane)
            lines[uintp(j), x] -= correction[uintp(j), at] * jump[x]
        if j != n - 1 - j:
            for lane in range(count):
                x, at = uintp(lane), uintp(first + lane)
                lines[uintp(n - 1 - j), x] += correction[uintp(j), at] * jump[x]


@kernel
def _gather(plane: Array, first: int, count: int, lines: Array) -> None:
    """Rows of the plane to lines side by side, by squares that stay in the cache."""
    width = plane.shape[1]
    for x0 in range(0, width, LINES):
        for i in range(count):
            for j in range(x0, min(x0 + LINES, width)):
                lines[uintp(j), uintp(i)] = plane[uintp(first + i), uintp(j)]


@kernel
def _scatter(lines: Array, first: int, count: int, plane: Array) -> None:
    """The inverse of `_gather`."""
    width = plane.shape[1]
    for x0 in range(0, width, LINES):
        for i in range(count):
            for j in range(x0, min(x0 + LINES, width)):
                plane[uintp(first + i), uintp(j)] = lines[uintp(j), uintp(i)]


@kernel
def solve_rows(
    plane: Array,
    scale: Array,
    down: Array,
    up: Array,
    closing: Array,
    correction: Array,
    times: int,
    work: Array,
    start: int,
    stop: int,
) -> None:
    """Solve along some rows of a plane, in place, each with coefficients of its own.

    Parameters
    ----------
    plane
        (H, W).
    scale
        (H rounded up to LINES,): what a row is multiplied by before it is solved.
    down, up, closing, correction
        `Elimination` of as many lines.
    times
        How often scaling and solving are applied.
    work
        Scratch memory: (W + 1) LINES numbers of the plane's dtype.
    start, stop
        Which blocks of LINES rows.
    """
    height, width = plane.shape
    lines = work[: width * LINES].reshape(width, LINES)
    jump = work[width * LINES :]
    lines[:] = 0  # there may be no row for some of them
    for block in range(start, stop):
        first = block * LINES
        count = min(LINES, height - first)
        _gather(plane, first, count, lines)
        for _ in range(times):
            for j in range(width):
                for lane in range(LINES):
                    lines[uintp(j), uintp(lane)] *= scale[uintp(first + lane)]
            _solve_side_by_side(lines, width, first, down, up, closing, correction, jump)
        _scatter(lines, first, count, plane)


@kernel
def solve_columns(
    plane: Array,
    down: Array,
    up: Array,
    closing: Any,
    correction: Array,
    times: int,
    jump: Array,
    start: int,
    stop: int,
) -> None:
    """Solve along some columns of a plane, in place, all with the same coefficients.

    Parameters
    ----------
    plane
        (H, W).
    down, up, closing, correction
        `Elimination` of one line: (settled,), (settled,), a number, (c,).
    times
        How often to solve.
    jump
        Scratch memory: stop - start numbers of the plane's dtype.
    start, stop
        Which columns.
    """
    height = plane.shape[0]
    settled = down.shape[0]
    for _ in range(times):
        for x in range(start, stop):
            plane[uintp(0), uintp(x)] *= down[0]
        for y in range(1, height):
            weight = down[min(y, settled - 1)]
            for x in range(start, stop):
                value, previous = plane[uintp(y), uintp(x)], plane[uintp(y - 1), uintp(x)]
                plane[uintp(y), uintp(x)] = _average(previous, value, weight)
        for x in range(start, stop):
            plane[uintp(height - 1), uintp(x)] *= closing
        for y in range(height - 2, -1, -1):
            weight = up[min(y, settled - 1)]
            for x in range(start, stop):
                value, following = plane[uintp(y), uintp(x)], plane[uintp(y + 1), uintp(x)]
                plane[uintp(y), uintp(x)] = _average(following, value, weight)
        if correction.shape[0] > 0:
            for x in range(start, stop):
                jump[x - start] = plane[0, x] - plane[height - 1, x]
            for y in range(correction.shape[0]):
                for x in range(start, stop):
                    plane[uintp(y), uintp(x)] -= correction[y] * jump[uintp(x - start)]
                if y != height - 1 - y:
                    for x in range(start, stop):
                        plane[uintp(height - 1 - y), uintp(x)] += correction[y] * jump[uintp(x - start)]
