"""The Helmholtz equation on a line, u - g u'' = f, for many lines at once.

The matrix is tridiagonal and constant but for its ends, so that the pivots of its elimination depend
on nothing but g and soon settle: they are computed beforehand, in float64, up to where they do.
With the end conditions of `kernels.pixels`:

======== ======================== ====================================================
REFLECT  1 + g at the ends        elimination alone
ZERO     1 + 2 g at the ends      elimination alone
PERIODIC 1 + 2 g, and -g in the   A = T + g w w^T with T that of REFLECT and w = (1, 0, ..., 0, -1), by the
         corners of the matrix    formula of Sherman and Morrison
======== ======================== ====================================================

For every g > 0 the matrices are diagonally dominant, and elimination without pivoting is stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import uintp
from numpy.typing import NDArray

from ..arrays import Array
from . import pixels
from .compiling import kernel

Floats = NDArray[np.float64]

_eliminate, _substitute = kernel(pixels.eliminate), kernel(pixels.substitute)

LINES = 32  # lines that are solved side by side


@dataclass(frozen=True, eq=False)
class Elimination:
    """What solving lines of length n for one or many values of g needs beside the data.

    Attributes
    ----------
    gain
        (lines,): g.
    pivots
        (settled, lines): inverse pivots of the first steps; all later ones are equal to the last of them.
    last
        (lines,): inverse pivot of the last step, where the line ends.
    correction
        (c, lines): with PERIODIC, what the first unknowns lose for each unit by which the first exceeds the
        last, and the last unknowns gain; beyond, it is below rounding. Empty (0, lines) otherwise.
    """

    gain: Array
    pivots: Array
    last: Array
    correction: Array


def elimination(gain: Floats, n: int, boundary: int, dtype: Any) -> Elimination:
    """Plan the solution of u - g u'' = f on lines of n pixels, for every g > 0 in `gain` (lines,)."""
    diagonal = 1 + 2 * gain
    end = diagonal if boundary == pixels.ZERO else 1 + gain
    both = end - gain if boundary != pixels.ZERO else end  # a line of one pixel has two ends
    pivots = [1 / (end if n > 1 else both)]
    while len(pivots) < n - 1:
        pivot = 1 / (diagonal - gain**2 * pivots[-1])
        if np.all(np.abs(pivot - pivots[-1]) <= 1e-17 * pivot):
            break
        pivots.append(pivot)
    last = 1 / (end - gain**2 * pivots[-1]) if n > 1 else pivots[0]
    plan = Elimination(gain, np.array(pivots), last, np.zeros((0, gain.size)))
    correction = _correction(plan, n) if boundary == pixels.PERIODIC and n > 1 else plan.correction
    return Elimination(*(np.ascontiguousarray(a, dtype) for a in (gain, plan.pivots, last, correction)))


def _correction(plan: Elimination, n: int) -> Floats:
    """z g / (1 + g w.z) for T z = w; z is odd about the middle of the line, and decays from its ends."""
    w = np.zeros((n, plan.gain.size))
    w[0], w[-1] = 1, -1
    z = _solve(w, plan)
    z *= plan.gain / (1 + plan.gain * (z[0] - z[-1]))
    seen = np.abs(z[: (n + 1) // 2]).max(axis=1) > 1e-18
    return z[: int(np.count_nonzero(seen))]


def _solve(f: Floats, plan: Elimination) -> Floats:
    """T u = f for the lines along the first axis of `f` (n, lines), in NumPy."""
    n, u = len(f), f.copy()
    pivots = plan.pivots[np.minimum(np.arange(n), len(plan.pivots) - 1)]
    pivots[-1] = plan.last
    u[0] *= pivots[0]
    for j in range(1, n):
        u[j] = (u[j] + plan.gain * u[j - 1]) * pivots[j]
    for j in range(n - 2, -1, -1):
        u[j] += plan.gain * pivots[j] * u[j + 1]
    return u


@kernel
def _solve_side_by_side(
    lines: Array, n: int, first: int, gain: Array, pivots: Array, last: Array, correction: Array, jump: Array
) -> None:
    """Solve in place: `lines` (n, LINES) with the coefficients of the lines from `first` on."""
    settled, count = pivots.shape[0], lines.shape[1]
    final = n - 1
    for lane in range(count):
        at = uintp(first + lane)
        lines[uintp(0), uintp(lane)] *= pivots[uintp(0), at] if n > 1 else last[at]
    for j in range(1, n):
        pivot = min(j, settled - 1)
        for lane in range(count):
            x, at = uintp(lane), uintp(first + lane)
            inverse = pivots[uintp(pivot), at] if j < final else last[at]
            lines[uintp(j), x] = _eliminate(lines[uintp(j), x], lines[uintp(j - 1), x], gain[at], inverse)
    for j in range(n - 2, -1, -1):
        pivot = min(j, settled - 1)
        for lane in range(count):
            x, at = uintp(lane), uintp(first + lane)
            inverse = pivots[uintp(pivot), at]
            lines[uintp(j), x] = _substitute(lines[uintp(j), x], lines[uintp(j + 1), x], gain[at], inverse)
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
    gain: Array,
    pivots: Array,
    last: Array,
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
    gain, pivots, last, correction
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
            _solve_side_by_side(lines, width, first, gain, pivots, last, correction, jump)
        _scatter(lines, first, count, plane)


@kernel
def solve_columns(
    plane: Array,
    gain: Any,
    pivots: Array,
    last: Any,
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
    gain, pivots, last, correction
        `Elimination` of one line: a number, (settled,), a number, (c,).
    times
        How often to solve.
    jump
        Scratch memory: stop - start numbers of the plane's dtype.
    start, stop
        Which columns.
    """
    height = plane.shape[0]
    settled = pivots.shape[0]
    for _ in range(times):
        factor = pivots[0] if height > 1 else last
        for x in range(start, stop):
            plane[uintp(0), uintp(x)] *= factor
        for y in range(1, height):
            factor = pivots[min(y, settled - 1)] if y < height - 1 else last
            for x in range(start, stop):
                value, previous = plane[uintp(y), uintp(x)], plane[uintp(y - 1), uintp(x)]
                plane[uintp(y), uintp(x)] = _eliminate(value, previous, gain, factor)
        for y in range(height - 2, -1, -1):
            factor = pivots[min(y, settled - 1)]
            for x in range(start, stop):
                value, following = plane[uintp(y), uintp(x)], plane[uintp(y + 1), uintp(x)]
                plane[uintp(y), uintp(x)] = _substitute(value, following, gain, factor)
        if correction.shape[0] > 0:
            for x in range(start, stop):
                jump[x - start] = plane[0, x] - plane[height - 1, x]
            for y in range(correction.shape[0]):
                for x in range(start, stop):
                    plane[uintp(y), uintp(x)] -= correction[y] * jump[uintp(x - start)]
                if y != height - 1 - y:
                    for x in range(start, stop):
                        plane[uintp(height - 1 - y), uintp(x)] += correction[y] * jump[uintp(x - start)]
