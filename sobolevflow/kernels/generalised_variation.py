"""The primal-dual iteration for total generalised variation, one sweep over the image for each.

Row i of the primal variables depends on rows i - 1 and i of the dual ones as they were, and row i of the dual
variables on rows i and i + 1 of the extrapolated primal ones. So the sweep moves row i of the former, then
row i - 1 of the latter, in place.

Arrays are C-contiguous and of one dtype: the image f (C, H, W); the primal variables x (3, C, H, W), which
are u and the slopes w down and to the right; the dual variables y (5, C, H, W + 1), which are p down and to
the right and the three parts of q. The first column of y is zero, so that every pixel has a left neighbour.
What has no influence is zero: the last row of w down and of p down, the last column of those to the right,
and q as `differences.strain` has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uintp

from ..arrays import Array
from .compiling import kernel

COEFFICIENTS = 6
"""Numbers of an iteration: tau, 1 / (1 + tau), tau of w, sigma of p, sigma of q, relaxation rho."""

SUMS = 5
"""What `gap_terms` finds: see there."""


def working_memory(channels: int, width: int) -> tuple[int, int, int]:
    """Shape of the working memory of `iterate` and `gap_terms`."""
    return 13, channels, width + 1


@kernel
def iterate(f: Array, x: Array, y: Array, steps: Array, numbers: Array, work: Array) -> None:
    """Make iterations on one image, in place.

    Parameters
    ----------
    f, x, y
        As above.
    steps
        (iterations, COEFFICIENTS), dtype of f.
    numbers
        (3,), dtype of f: the bounds of |p| and |q|, and the square root of 1/2.
    work
        Memory of `working_memory`, dtype of f, of any content.
    """
    channels, height, width = f.shape
    work[:] = 0
    z = work[:6].reshape(2, channels, 3, width + 1)
    new_p, new_q = work[6:8].reshape(channels, 2, width + 1), work[8:11].reshape(channels, 3, width + 1)
    scale, nothing = work[11, 0], work[12, 0]
    for t in range(steps.shape[0]):
        for i in range(height + 1):
            if i < height:
                for c in range(channels):
                    above = i - 1
                    p_above = y[0, c, above] if i > 0 else nothing
                    q_above = y[2, c, above] if i > 0 else nothing
                    across_above = y[4, c, above] if i > 0 else nothing
                    to = z[i % 2, c]
                    _move_image(
                        *(f[c, i], x[0, c, i], p_above, y[0, c, i], y[1, c, i], to[0], steps[t], width)
                    )
                    _move_slopes(
                        *(x[1, c, i], x[2, c, i], y[0, c, i], y[1, c, i], q_above, y[2, c, i], y[3, c, i]),
                        *(across_above, y[4, c, i], to[1], to[2], steps[t], numbers, width),
                    )
            if i > 0:
                _move_duals(y, i - 1, z, new_p, new_q, scale, steps[t], numbers, width)


@kernel
def _move_image(
    f: Array, u: Array, above: Array, down: Array, right: Array, z: Array, step: Array, width: int
) -> None:
    tau, shrink, rho = step[0], step[1], step[5]
    for j in range(width):
        here, after = uintp(j), uintp(j + 1)
        old = u[here]
        divergence = down[after] - above[after] + (right[after] - right[here])
        change = (old + tau * (divergence + f[here])) * shrink - old
        z[here] = old + change + change
        u[here] = old + rho * change
    z[uintp(width)] = z[uintp(width - 1)]


@kernel
def _move_slopes(
    w_down: Array,
    w_right: Array,
    p_down: Array,
    p_right: Array,
    down_above: Array,
    down: Array,
    right: Array,
    across_above: Array,
    across: Array,
    z_down: Array,
    z_right: Array,
    step: Array,
    numbers: Array,
    width: int,
) -> None:
    tau, rho, root = step[2], step[5], numbers[2]
    for j in range(width):
        here, after = uintp(j), uintp(j + 1)
        old_down, old_right = w_down[here], w_right[here]
        pull = down_above[after] - down[after] + root * (across[here] - across[after])
        change = tau * (p_down[after] - pull)
        z_down[here] = old_down + change + change
        w_down[here] = old_down + rho * change
        pull = right[here] - right[after] + root * (across_above[after] - across[after])
        change = tau * (p_right[after] - pull)
        z_right[here] = old_right + change + change
        w_right[here] = old_right + rho * change


@kernel
def _move_duals(
    y: Array,
    i: int,
    z: Array,
    new_p: Array,
    new_q: Array,
    scale: Array,
    step: Array,
    numbers: Array,
    width: int,
) -> None:
    """Move row `i` of the dual variables along the differences of z, project it, relax it."""
    channels, height = y.shape[1], y.shape[2]
    last, last_two = i == height - 1, i >= height - 2
    for c in range(channels):
        here, below, p, q = z[i % 2, c], z[i % 2 if last else (i + 1) % 2, c], new_p[c], new_q[c]
        _climb(y[0, c, i], y[1, c, i], here[0], below[0], here[1], here[2], p[0], p[1], step, width)
        _climb_strain(
            *(y[2, c, i], y[3, c, i], y[4, c, i], here[1], below[1], here[2], below[2], q[0], q[1], q[2]),
            *(last, last_two, step, numbers, width),
        )
    _shorten(new_p, scale, numbers[0], width)
    _shorten(new_q, scale, numbers[1], width)
    for c in range(channels):
        for part in range(2):
            _relax(y[part, c, i], new_p[c, part], step[5], width)
        for part in range(3):
            _relax(y[2 + part, c, i], new_q[c, part], step[5], width)


@kernel
def _climb(
    down: Array,
    right: Array,
    z: Array,
    z_below: Array,
    w_down: Array,
    w_right: Array,
    new_down: Array,
    new_right: Array,
    step: Array,
    width: int,
) -> None:
    sigma = step[3]
    for j in range(width):
        here, after = uintp(j), uintp(j + 1)
        new_down[here] = down[after] + sigma * (z_below[here] - z[here] - w_down[here])
        new_right[here] = right[after] + sigma * (z[after] - z[here] - w_right[here])


@kernel
def _climb_strain(
    down: Array,
    right: Array,
    across: Array,
    w_down: Array,
    w_down_below: Array,
    w_right: Array,
    w_right_below: Array,
    new_down: Array,
    new_right: Array,
    new_across: Array,
    last: bool,
    last_two: bool,
    step: Array,
    numbers: Array,
    width: int,
) -> None:
    sigma, root = step[4], step[4] * numbers[2]
    for j in range(width):
        here, after = uintp(j), uintp(j + 1)
        new_right[here] = right[after] + sigma * (w_right[after] - w_right[here])
        shear = w_down[after] - w_down[here] + w_right_below[here] - w_right[here]
        new_across[here] = across[after] + root * shear
    for j in range(max(width - 2, 0), width):
        new_right[j] = 0
    new_across[width - 1] = 0
    if last:
        new_across[:width] = 0
    if last_two:
        new_down[:width] = 0
    else:
        for j in range(width):
            here, after = uintp(j), uintp(j + 1)
            new_down[here] = down[after] + sigma * (w_down_below[here] - w_down[here])


@kernel
def _shorten(vectors: Array, scale: Array, limit: Any, width: int) -> None:
    """Vectors (C, parts, W) that are longer than `limit` to that length."""
    scale[:] = 0
    for c in range(vectors.shape[0]):
        for part in range(vectors.shape[1]):
            _add_squares(vectors[c, part], scale, width)
    for j in range(width):
        scale[uintp(j)] = limit / max(np.sqrt(scale[uintp(j)]), limit)
    for c in range(vectors.shape[0]):
        for part in range(vectors.shape[1]):
            _multiply(vectors[c, part], scale, width)


@kernel
def _add_squares(row: Array, to: Array, width: int) -> None:
    for j in range(width):
        to[uintp(j)] += row[uintp(j)] * row[uintp(j)]


@kernel
def _multiply(row: Array, by: Array, width: int) -> None:
    for j in range(width):
        row[uintp(j)] *= by[uintp(j)]


@kernel
def _relax(row: Array, new: Array, rho: Any, width: int) -> None:
    """Move a row of y, which is shifted by one, to `new` and on."""
    for j in range(width):
        old = row[uintp(j + 1)]
        row[uintp(j + 1)] = old + rho * (new[uintp(j)] - old)


@kernel
def gap_terms(f: Array, x: Array, y: Array, numbers: Array, work: Array, sums: Array) -> None:
    """Of what the duality gap of one image is made, by columns.

    Parameters
    ----------
    f, x, y
        As above.
    numbers
        (3,) float64: as in `iterate`.
    work
        Memory of `working_memory`, float64, of any content.
    sums
        (SUMS, W) float64. With q projected and p = strain_adjoint(q): |u - f|^2, the weighted penalties of
        grad u - w and strain(w), <f - f[0, 0, 0], div p>, |div p|^2, and the largest |p|^2.
    """
    channels, height, width = f.shape
    work[:] = 0
    sums[:] = 0
    q = work[:6].reshape(2, channels, 3, width + 1)
    p = work[6:10].reshape(2, channels, 2, width + 1)
    slopes, bends, scale, origin = work[10, 0], work[11, 0], work[12, 0], np.float64(f[0, 0, 0])
    for i in range(height):
        below = min(i + 1, height - 1)
        for c in range(channels):
            for part in range(3):
                for j in range(width):
                    q[i % 2, c, part, uintp(j + 1)] = y[2 + part, c, i, uintp(j + 1)]
        _shorten(q[i % 2], scale, numbers[1], width + 1)
        slopes[:] = 0
        bends[:] = 0
        scale[:] = 0
        for c in range(channels):
            above, here = q[(i + 1) % 2, c], q[i % 2, c]
            p_above, p_down, p_right = p[(i + 1) % 2, c, 0], p[i % 2, c, 0], p[i % 2, c, 1]
            _adjoint_row(above[0], here[0], here[1], above[2], here[2], p_down, p_right, numbers[2], width)
            _add_squares(p_down, scale, width + 1)
            _add_squares(p_right, scale, width + 1)
            _add_residuals(f[c, i], x[0, c, i], origin, p_above, p_down, p_right, sums, width)
            w_down, w_right = x[1, c], x[2, c]
            _add_slopes(x[0, c, i], x[0, c, below], w_down[i], w_right[i], slopes, width)
            _add_bends(
                *(w_down[i], w_down[below], w_right[i], w_right[below], bends),
                *(numbers[2], min(height - 1 - i, 2), width),
            )
        for j in range(width):
            sums[1, j] += numbers[0] * np.sqrt(slopes[j]) + numbers[1] * np.sqrt(bends[j])
            sums[4, j] = max(sums[4, j], scale[j + 1])


@kernel
def _adjoint_row(
    down_above: Array,
    down: Array,
    right: Array,
    across_above: Array,
    across: Array,
    p_down: Array,
    p_right: Array,
    root: float,
    width: int,
) -> None:
    for j in range(width):
        here, after = uintp(j), uintp(j + 1)
        p_down[after] = down_above[after] - down[after] + root * (across[here] - across[after])
        p_right[after] = right[here] - right[after] + root * (across_above[after] - across[after])


@kernel
def _add_residuals(
    f: Array, u: Array, origin: float, above: Array, down: Array, right: Array, sums: Array, width: int
) -> None:
    for j in range(width):
        here, after = uintp(j), uintp(j + 1)
        residual = np.float64(u[here]) - np.float64(f[here])
        flow = down[after] - above[after] + right[after] - right[here]
        sums[0, here] += residual * residual
        sums[2, here] += (np.float64(f[here]) - origin) * flow
        sums[3, here] += flow * flow


@kernel
def _add_slopes(u: Array, below: Array, w_down: Array, w_right: Array, squares: Array, width: int) -> None:
    for j in range(width):
        after = min(j + 1, width - 1)
        down = np.float64(below[j]) - np.float64(u[j]) - np.float64(w_down[j])
        right = np.float64(u[after]) - np.float64(u[j]) - np.float64(w_right[j])
        squares[j] += down * down + right * right


@kernel
def _add_bends(
    w_down: Array,
    w_down_below: Array,
    w_right: Array,
    w_right_below: Array,
    squares: Array,
    root: float,
    rows_below: int,
    width: int,
) -> None:
    for j in range(width):
        right = np.float64(w_right[j + 1]) - np.float64(w_right[j]) if j < width - 2 else 0.0
        squares[j] += right * right
        if rows_below >= 2:
            down = np.float64(w_down_below[j]) - np.float64(w_down[j])
            squares[j] += down * down
        if rows_below >= 1 and j < width - 1:
            across = np.float64(w_down[j + 1]) - np.float64(w_down[j])
            across = root * (across + np.float64(w_right_below[j]) - np.float64(w_right[j]))
            squares[j] += across * across
