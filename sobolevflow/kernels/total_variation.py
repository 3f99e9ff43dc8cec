"""The primal-dual iteration for total variation, many iterations in one sweep over the image.

Row i of the dual variable after an iteration depends on rows i - 1 to i + 1 before it. So while the
first iteration does row i, the second can do row i - 1, the third row i - 2: a sweep passes over the
image once and makes T iterations, and what it works on, T + 3 rows of the iterates, stays in the
cache, whatever the image's size. The last step of a sweep, one row further up, adds up the duality gap.

A sweep overwrites the iterates: it has read a row long before it writes it. Bands of rows are swept
independently, by different threads. A band computes T rows beyond its ends as well, on which its own
rows depend, and drops them; it takes those rows from copies that are made before any band begins. What
is computed for a pixel does not depend on the bands.

Arrays are C-contiguous and of one dtype: images f and u (C, H, W), dual variables p (2, C, H, W). p[0] is
zero in the last row and p[1] in the last column, before and after. In the working memory, the ring, p[1]
is shifted by one, so that its left neighbour exists in the first column as well, and is zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uintp

from ..arrays import Array
from .compiling import kernel

COEFFICIENTS = 6
"""Numbers of an iteration: tau, 1 / (1 + tau), theta, sigma, bound of |p|, relaxation rho."""

_SPARE = 3  # rows that a sweep needs beyond one for each iteration
_PADDING = 16  # numbers by which rows in the ring are lengthened, for the shift and for alignment


def ring_size(channels: int, width: int, iterations: int) -> int:
    """Numbers that `sweep` needs as working memory, for a sweep of so many iterations."""
    rows = 3 * (iterations + _SPARE) + 2 * iterations + 4
    return (rows * channels + 3) * (width + _PADDING)


def margin(iterations: int) -> int:
    """Rows beyond its ends that a band needs, for a sweep of so many iterations."""
    return iterations + 1


def iterations_within(size: int, channels: int, width: int) -> int:
    """The most iterations, at least one, for which `ring_size` is at most `size`."""
    without = ring_size(channels, width, 0)
    return max(1, (size - without) // (ring_size(channels, width, 1) - without))


@kernel
def _primal(
    f: Array, u: Array, above: Array, below: Array, right: Array, z: Array, step: Array, width: int
) -> None:
    """Relax a row of u, and leave the extrapolated row in `z`, its last value twice."""
    tau, shrink, theta, rho = step[0], step[1], step[2], step[5]
    for j in range(width):
        x = uintp(j)
        old = u[x]
        divergence = below[x] - above[x] + (right[uintp(j + 1)] - right[x])
        new = (old + tau * (divergence + f[x])) * shrink
        change = new - old
        z[x] = new + theta * change
        u[x] = old + rho * change
    z[uintp(width)] = z[uintp(width - 1)]


@kernel
def _dual_isotropic(
    down: Array, right: Array, z: Array, z_below: Array, step: Array, limit: Any, width: int
) -> None:
    """`_dual` for one channel, isotropic."""
    sigma, bound, rho = step[3], step[4], step[5]
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        old_down, old_right = down[x], right[after]
        new_down = old_down + sigma * (z_below[x] - z[x])
        new_right = old_right + sigma * (z[after] - z[x])
        scale = limit / max(np.sqrt(new_down * new_down + new_right * new_right), bound)
        down[x] = old_down + rho * (new_down * scale - old_down)
        right[after] = old_right + rho * (new_right * scale - old_right)


@kernel
def _dual_anisotropic(
    down: Array, right: Array, z: Array, z_below: Array, step: Array, limit: Any, width: int
) -> None:
    """`_dual` for one channel, anisotropic: each number is clipped for itself."""
    sigma, rho = step[3], step[5]
    shrink = limit / step[4]
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        old_down, old_right = down[x], right[after]
        new_down = (old_down + sigma * (z_below[x] - z[x])) * shrink
        new_right = (old_right + sigma * (z[after] - z[x])) * shrink
        down[x] = old_down + rho * (min(max(new_down, -limit), limit) - old_down)
        right[after] = old_right + rho * (min(max(new_right, -limit), limit) - old_right)


@kernel
def _add_squares(
    down: Array,
    right: Array,
    z: Array,
    z_below: Array,
    step: Array,
    vertical: Array,
    beside: Array,
    width: int,
) -> None:
    sigma = step[3]
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        new_down = down[x] + sigma * (z_below[x] - z[x])
        new_right = right[after] + sigma * (z[after] - z[x])
        vertical[x] += new_down * new_down
        beside[x] += new_right * new_right


@kernel
def _scales(vertical: Array, beside: Array, limit: Any, bound: Any, isotropic: bool, width: int) -> None:
    """Turn squared lengths into what vectors are multiplied by: projection onto the ball, or onto two."""
    if isotropic:
        for j in range(width):
            x = uintp(j)
            scale = limit / max(np.sqrt(vertical[x] + beside[x]), bound)
            vertical[x] = scale
            beside[x] = scale
    else:
        for j in range(width):
            x = uintp(j)
            vertical[x] = limit / max(np.sqrt(vertical[x]), bound)
            beside[x] = limit / max(np.sqrt(beside[x]), bound)


@kernel
def _shorten(
    down: Array,
    right: Array,
    z: Array,
    z_below: Array,
    step: Array,
    vertical: Array,
    beside: Array,
    width: int,
) -> None:
    sigma, rho = step[3], step[5]
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        old_down, old_right = down[x], right[after]
        new_down = old_down + sigma * (z_below[x] - z[x])
        new_right = old_right + sigma * (z[after] - z[x])
        down[x] = old_down + rho * (new_down * vertical[x] - old_down)
        right[after] = old_right + rho * (new_right * beside[x] - old_right)


@kernel
def _dual(
    row: Array, z: Array, z_below: Array, step: Array, limit: Any, isotropic: bool, scales: Array, width: int
) -> None:
    """Move a row of p, `row` (3, C, W), along the gradient of z, project it, relax it."""
    channels = row.shape[1]
    if channels == 1:
        if isotropic:
            _dual_isotropic(row[1, 0], row[2, 0], z[0], z_below[0], step, limit, width)
        else:
            _dual_anisotropic(row[1, 0], row[2, 0], z[0], z_below[0], step, limit, width)
        return
    scales[:2, :] = 0
    for c in range(channels):
        _add_squares(row[1, c], row[2, c], z[c], z_below[c], step, scales[0], scales[1], width)
    _scales(scales[0], scales[1], limit, step[4], isotropic, width)
    for c in range(channels):
        _shorten(row[1, c], row[2, c], z[c], z_below[c], step, scales[0], scales[1], width)


def _sum(terms: Array, width: int) -> Any:
    total = np.float64(0)
    for j in range(width):
        total += terms[uintp(j)]
    return total


_sum_row = kernel(_sum, fastmath=frozenset({"contract", "reassoc", "nsz"}))


@kernel
def _feasible(
    row: Array, out: Array, limit: Any, tiny: Any, isotropic: bool, scales: Array, width: int
) -> None:
    """A row of p, those vectors that are too long shortened, into `out` (2, C, W + 1)."""
    channels = row.shape[1]
    scales[:2, :] = 0
    for c in range(channels):
        down, right = row[1, c], row[2, c]
        for j in range(width):
            x = uintp(j)
            scales[0, x] += down[x] * down[x]
            scales[1, x] += right[uintp(j + 1)] * right[uintp(j + 1)]
    _scales(scales[0], scales[1], limit, max(limit, tiny), isotropic, width)
    for c in range(channels):
        down, right, out_down, out_right = row[1, c], row[2, c], out[0, c], out[1, c]
        for j in range(width):
            x, after = uintp(j), uintp(j + 1)
            out_down[x] = down[x] * scales[0, x]
            out_right[after] = right[after] * scales[1, x]


@kernel
def _penalties(square: Array, limit: Any, huber: Any, width: int) -> None:
    """Turn squared slopes into weighted penalties: the slope, or Huber's function of it."""
    if huber > 0:
        for j in range(width):
            x = uintp(j)
            slope = np.sqrt(square[x])
            square[x] = limit * (slope - huber / 2 if slope > huber else square[x] / (2 * huber))
    else:
        for j in range(width):
            square[uintp(j)] = limit * np.sqrt(square[uintp(j)])


@kernel
def _add_gap(
    f: Array,
    u: Array,
    u_below: Array,
    down: Array,
    above: Array,
    right: Array,
    terms: Array,
    vertical: Array,
    beside: Array,
    half: Any,
    width: int,
) -> None:
    """Add to `terms` what one channel of a row has of the gap without penalties, and its squared slopes."""
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        slope_down, slope_right = u_below[x] - u[x], u[after] - u[x]
        residual = u[x] - f[x] - (down[x] - above[x] + (right[after] - right[x]))
        product = slope_down * down[x] + slope_right * right[after]
        terms[x] += half * residual * residual - product
        vertical[x] += slope_down * slope_down
        beside[x] += slope_right * slope_right


@kernel
def _add_conjugate(down: Array, right: Array, factor: Any, terms: Array, width: int) -> None:
    """Add huber / (2 weight) |q|^2, the conjugate of Huber's function."""
    for j in range(width):
        x, after = uintp(j), uintp(j + 1)
        terms[x] += factor * (down[x] * down[x] + right[after] * right[after])


@kernel
def _add(more: Array, to: Array, width: int) -> None:
    for j in range(width):
        to[uintp(j)] += more[uintp(j)]


@kernel
def _penalty_row(vertical: Array, beside: Array, limit: Any, huber: Any, isotropic: bool, width: int) -> Any:
    """The weighted penalties of a row of squared slopes, summed; overwrites both."""
    if isotropic:
        _add(beside, vertical, width)
        _penalties(vertical, limit, huber, width)
    else:
        _penalties(vertical, limit, huber, width)
        _penalties(beside, limit, huber, width)
        _add(beside, vertical, width)
    return _sum_row(vertical, width)


@kernel
def _gap_row(
    f: Array,
    i: int,
    row: Array,
    row_below: Array,
    q: Array,
    q_above: Array,
    weight: Array,
    isotropic: bool,
    scales: Array,
    terms: Array,
    sums: Array,
    width: int,
) -> None:
    """What a row adds to the duality gap, and to the penalty alone, into `sums` (2,).

    `f` is the image, `i` the row's number, `row` and `row_below` (3, C, W) those of the iterates, q and
    q_above (2, C, W + 1) those of the projected duals. The gap is 1/2 |u - f - div q|^2 + sum of (penalty +
    its conjugate - <grad u, q>), in which no term is negative, so that nothing cancels.
    """
    limit, huber, half = weight[0], weight[1], weight[3]
    terms[:width] = 0
    scales[:2, :] = 0
    for c in range(row.shape[1]):
        u, u_below = row[0, c], row_below[0, c]
        u[uintp(width)] = u[uintp(width - 1)]
        down, above, right = q[0, c], q_above[0, c], q[1, c]
        _add_gap(f[c, i], u, u_below, down, above, right, terms, scales[0], scales[1], half, width)
        if huber > 0:
            _add_conjugate(down, right, huber / (limit + limit), terms, width)
    penalty = _penalty_row(scales[0], scales[1], limit, huber, isotropic, width)
    sums[0] = _sum_row(terms, width) + penalty
    sums[1] = penalty


@kernel
def sweep(
    f: Array,
    u: Array,
    p: Array,
    to_u: Array,
    to_p: Array,
    before: Array,
    after: Array,
    steps: Array,
    weight: Array,
    isotropic: bool,
    ring: Array,
    terms: Array,
    sums: Array,
    start: int,
    stop: int,
) -> None:
    """Make iterations on a band of rows of one image, and add up the duality gap of its rows.

    Parameters
    ----------
    f
        Image (C, H, W).
    u, p
        Iterates (C, H, W) and (2, C, H, W), either empty where it is in to_u or to_p, which no other
        array may overlap.
    to_u, to_p
        Where rows start to stop - 1 of the new iterates go.
    before, after
        Copies of the rows before `start` and from `stop` on, `margin` of them or as many as there are:
        (3, C, rows, W), u before p.
    steps
        (iterations, COEFFICIENTS), dtype of f: the numbers of each iteration. Where a gap is wanted the last
        must not relax, so that p ends where it must be; without iterations it is projected for the gap.
    weight
        (4,), dtype of f: the weight of TV, Huber's epsilon, the smallest normal number, and 1/2.
    isotropic
        Project onto a ball, rather than each direction for itself.
    ring
        Working memory of `ring_size` numbers.
    terms
        Working memory of W numbers.
    sums
        (H, 2) float64: rows start to stop - 1 receive their parts of the gap and of the penalty. Empty (0, 2)
        where no gap is wanted.
    start, stop
        The band.
    """
    u = u if u.size > 0 else to_u
    p = p if p.size > 0 else to_p
    channels, height, width = f.shape
    iterations, padded = steps.shape[0], width + _PADDING
    rows = iterations + _SPARE
    size = rows * 3 * channels * padded
    iterate = ring[:size].reshape(rows, 3, channels, padded)
    ring = ring[size:]
    size = iterations * 2 * channels * padded
    extrapolated = ring[:size].reshape(iterations, 2, channels, padded)
    ring = ring[size:]
    size = 4 * channels * padded
    feasible = ring[:size].reshape(2, 2, channels, padded)
    scales = ring[size : size + 2 * padded].reshape(2, padded)
    nothing = ring[size + 2 * padded : size + 3 * padded]
    iterate[:] = 0
    feasible[:] = 0
    nothing[:] = 0
    first, last = start - before.shape[2], stop + after.shape[2]
    for wave in range(first, stop + iterations + 1):
        if wave < start:
            _load(before[0], before[1:], wave - first, iterate[wave % rows], width)
        elif wave < stop:
            _load(u, p, wave, iterate[wave % rows], width)
        elif wave < last:
            _load(after[0], after[1:], wave - stop, iterate[wave % rows], width)
        for t in range(iterations):
            i = wave - t
            low = first + t + 1 if first > 0 else 0
            high = last - t if last < height else height
            if low <= i < high:
                row, z = iterate[i % rows], extrapolated[t, i % 2]
                for c in range(channels):
                    above = iterate[(i - 1) % rows, 1, c] if i > 0 else nothing
                    _primal(f[c, i], row[0, c], above, row[1, c], row[2, c], z[c], steps[t], width)
            i -= 1
            if last < height:
                high -= 1
            if low <= i < high:
                z, z_below = extrapolated[t, i % 2], extrapolated[t, min(i + 1, height - 1) % 2]
                _dual(iterate[i % rows], z, z_below, steps[t], weight[0], isotropic, scales, width)
        i = wave - iterations
        if start <= i < stop:
            _store(iterate[i % rows], i, to_u, to_p, width)
        i -= 1
        if sums.shape[0] and start - 1 <= i and i >= first:
            row = iterate[i % rows]
            if iterations == 0:
                _feasible(row, feasible[i % 2], weight[0], weight[2], isotropic, scales, width)
            if i >= start:
                q, q_above = feasible[i % 2], feasible[(i + 1) % 2]
                if iterations > 0:
                    q = row[1:]
                    if i > 0:
                        q_above = iterate[(i - 1) % rows, 1:]
                below = iterate[min(i + 1, height - 1) % rows]
                _gap_row(f, i, row, below, q, q_above, weight, isotropic, scales, terms, sums[i], width)


@kernel
def _copy(row: Array, to: Array, width: int) -> None:
    for j in range(width):
        to[uintp(j)] = row[uintp(j)]


@kernel
def _load(u: Array, p: Array, i: int, row: Array, width: int) -> None:
    """Row `i` of the iterates into the ring."""
    for c in range(u.shape[0]):
        _copy(u[c, i], row[0, c], width)
        _copy(p[0, c, i], row[1, c], width)
        _copy(p[1, c, i], row[2, c, 1:], width)


@kernel
def _store(row: Array, i: int, u: Array, p: Array, width: int) -> None:
    """A row of the ring into row `i` of the iterates."""
    for c in range(u.shape[0]):
        _copy(row[0, c], u[c, i], width)
        _copy(row[1, c], p[0, c, i], width)
        _copy(row[2, c, 1:], p[1, c, i], width)


@kernel
def measure(
    u: Array, weight: Array, isotropic: bool, scales: Array, sums: Array, start: int, stop: int
) -> None:
    """Sums over each of the rows start to stop - 1 of u (C, H, W), into `sums` (H, 3).

    They are the weighted penalty, and the offsets from the first value of u and their squares, beside which
    a large mean takes nothing from the squares. `weight` is that of `sweep`, `scales` (2, W) working memory
    of the dtype of u.
    """
    channels, height, width = u.shape
    for i in range(start, stop):
        scales[:] = 0
        sums[i, 1:] = 0
        for c in range(channels):
            _add_slopes(u[c, i], u[c, min(i + 1, height - 1)], scales[0], scales[1], width)
            _add_moments(u[c, i], u[0, 0, 0], sums[i], width)
        sums[i, 0] = _penalty_row(scales[0], scales[1], weight[0], weight[1], isotropic, width)


@kernel
def _add_slopes(u: Array, below: Array, vertical: Array, beside: Array, width: int) -> None:
    for j in range(width - 1):
        x, after = uintp(j), uintp(j + 1)
        beside[x] += (u[after] - u[x]) * (u[after] - u[x])
    for j in range(width):
        x = uintp(j)
        vertical[x] += (below[x] - u[x]) * (below[x] - u[x])


def _moments(row: Array, origin: Any, sums: Array, width: int) -> None:
    total, square = np.float64(0), np.float64(0)
    for j in range(width):
        offset = np.float64(row[uintp(j)] - origin)
        total += offset
        square += offset * offset
    sums[1] += total
    sums[2] += square


_add_moments = kernel(_moments, fastmath=frozenset({"contract", "reassoc", "nsz"}))
