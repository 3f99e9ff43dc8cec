"""Over-relaxed primal-dual iteration for the ROF model, fused into one sweep over the image.

The iteration of `sobolevflow.total_variation`, row by row: as soon as row i of the extrapolated
primal variable is known, row i - 1 of the dual variable can follow, and nobody needs the old values any
more. So everything happens in place, with two rows as the only extra memory, and one iteration
reads and writes u and p once (28 bytes a pixel in float32).

Sums are not reordered (no fastmath), so that the result is that of the reference up to rounding.
The interpreter's lock is released, so that images can be solved in parallel threads.

Arrays are C-contiguous: images f and u (C, H, W), dual variables p (2, C, H, W), of one dtype. p[0]
is zero in the last row and p[1] in the last column, before and after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, error_model="numpy")
def _primal_row(f: Array, u: Array, p: Array, i: int, tau: Any, shrink: Any, rho: Any, z: Array) -> None:
    """Relax row `i` of u, and leave the extrapolated row in `z` (C, W + 1), its last value twice."""
    width = f.shape[2]
    for c in range(f.shape[0]):
        above, below, right = p[0, c, i - 1], p[0, c, i], p[1, c, i]  # row -1 is the last, which is zero
        f_row, u_row, z_row = f[c, i], u[c, i], z[c]
        z_row[0] = below[0] - above[0] + right[0]
        for j in range(width - 1):
            z_row[j + 1] = below[j + 1] - above[j + 1] + right[j + 1] - right[j]
        for j in range(width):
            old = u_row[j]
            step = (old + tau * (z_row[j] + f_row[j])) * shrink
            z_row[j] = step + step - old  # 2 * step would be float64: numba has no weak integers
            u_row[j] = old + rho * (step - old)
        z_row[width] = z_row[width - 1]


@njit(cache=True, error_model="numpy")
def _dual_row(
    p: Array, i: int, z: Array, z_next: Array, sigma: Any, rho: Any, limit: Any, tiny: Any, scale: Array
) -> None:
    """Move row `i` of p along the gradient of z, project it onto the ball of radius `limit`, relax."""
    width = p.shape[3]
    longest = max(limit, tiny)
    scale[:] = 0
    for c in range(p.shape[1]):
        p_down, p_right, z_row, z_below = p[0, c, i], p[1, c, i], z[c], z_next[c]
        for j in range(width):
            down = p_down[j] + sigma * (z_below[j] - z_row[j])
            right = p_right[j] + sigma * (z_row[j + 1] - z_row[j])
            scale[j] += down * down + right * right
    for j in range(width):
        scale[j] = limit / max(np.sqrt(scale[j]), longest)
    for c in range(p.shape[1]):
        p_down, p_right, z_row, z_below = p[0, c, i], p[1, c, i], z[c], z_next[c]
        for j in range(width):
            down = p_down[j] + sigma * (z_below[j] - z_row[j])
            p_down[j] += rho * (down * scale[j] - p_down[j])
        for j in range(width):
            right = p_right[j] + sigma * (z_row[j + 1] - z_row[j])
            p_right[j] += rho * (right * scale[j] - p_right[j])


@njit(cache=True, error_model="numpy", nogil=True)
def iterate(f: Array, u: Array, p: Array, coefficients: Array, steps: int) -> None:
    """Make `steps` iterations on one image.

    Parameters
    ----------
    f
        Image (C, H, W).
    u, p
        Iterates, changed in place.
    coefficients
        (6,) of the dtype of `f`: tau, 1 / (1 + tau), sigma, rho, weight, the smallest normal number.
    steps
        Number of iterations.
    """
    tau, shrink, sigma, rho, limit, tiny = coefficients
    channels, height, width = f.shape
    rows = np.empty((2, channels, width + 1), f.dtype)
    scale = np.empty(width, f.dtype)
    for _ in range(steps):
        for i in range(height + 1):
            if i < height:
                _primal_row(f, u, p, i, tau, shrink, rho, rows[i % 2])
            if i > 0:  # below the last row nothing changes
                z, z_next = rows[(i - 1) % 2], rows[min(i, height - 1) % 2]
                _dual_row(p, i - 1, z, z_next, sigma, rho, limit, tiny, scale)


@njit(cache=True, error_model="numpy")
def _project_row(p: Array, i: int, limit: float, scale: Array, down: Array, right: Array) -> None:
    """Row `i` of p in float64, projected: into `down` (C, W), and after a zero into `right` (C, W + 1)."""
    width = p.shape[3]
    longest = max(limit, np.finfo(np.float64).tiny)
    scale[:] = 0
    for c in range(p.shape[1]):
        p_down, p_right = p[0, c, i], p[1, c, i]
        for j in range(width):
            down[c, j] = p_down[j]
            right[c, j + 1] = p_right[j]
            scale[j] += down[c, j] * down[c, j] + right[c, j + 1] * right[c, j + 1]
    for j in range(width):
        scale[j] = limit / max(np.sqrt(scale[j]), longest)
    for c in range(p.shape[1]):
        for j in range(width):
            down[c, j] *= scale[j]
            right[c, j + 1] *= scale[j]


@njit(cache=True, error_model="numpy")
def _copy_row(u: Array, i: int, row: Array) -> None:
    """Row `i` of u (C, H, W) in float64 into `row` (C, W + 1), its last value twice."""
    width = u.shape[2]
    for c in range(u.shape[0]):
        row[c, :width] = u[c, i]
        row[c, width] = u[c, i, width - 1]


@njit(cache=True, error_model="numpy", nogil=True)
def duality_gap(f: Array, u: Array, p: Array, limit: float) -> float:
    """Duality gap of one image with TV weighted by `limit`, in float64 and in one sweep.

    The formula is that of `sobolevflow.total_variation.duality_gap`.
    """
    channels, height, width = f.shape
    rows = np.empty((2, channels, width + 1))
    downs, right = np.zeros((2, channels, width)), np.zeros((channels, width + 1))
    scale, square, total = np.empty(width), np.empty(width), np.zeros(width)
    _copy_row(u, 0, rows[0])
    for i in range(height):
        _project_row(p, i, limit, scale, downs[i % 2], right)
        _copy_row(u, min(i + 1, height - 1), rows[(i + 1) % 2])
        square[:] = 0
        for c in range(channels):
            here, below, f_row = rows[i % 2, c], rows[(i + 1) % 2, c], f[c, i]
            q_down, q_above, q_right = downs[i % 2, c], downs[(i + 1) % 2, c], right[c]
            for j in range(width):
                divergence = q_down[j] - q_above[j] + q_right[j + 1] - q_right[j]
                residual = here[j] - f_row[j] - divergence
                down = below[j] - here[j]
                beside = here[j + 1] - here[j]
                total[j] += 0.5 * residual * residual - down * q_down[j] - beside * q_right[j + 1]
                square[j] += down * down + beside * beside
        for j in range(width):
            total[j] += limit * np.sqrt(square[j])
    return float(total.sum())
