"""Minimisers of total variation by other means than the iteration: exact in one dimension, or by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from sobolevflow.total_variation import differences
from sobolevflow.total_variation.functional import lengths

Image = NDArray[Any]


def random_image(seed: int, *shape: int, dtype: Any = np.float64) -> Image:
    return np.random.default_rng(seed).random(shape).astype(dtype)


def taut_string(f: Image, weight: float) -> Image:
    """argmin of 1/2 |u - f|^2 + weight sum |u[i + 1] - u[i]| on a line, exact but for rounding.

    The solution is the slope of the shortest string from the first to the last cumulated value of f that
    stays within `weight` of all others (Davies and Kovac, Ann. Statist. 29, 2001). From where the string
    is fixed, the largest of the slopes to the lower bounds and the least of those to the upper ones tell
    where it bends next.
    """
    total = np.concatenate([[0.0], np.cumsum(f)])
    last = len(f)
    lower, upper = total - weight, total + weight
    lower[[0, last]] = upper[[0, last]] = total[[0, last]]
    u = np.empty(last)
    start, height = 0, 0.0
    while start < last:
        end, slope = _next_bend(lower, upper, start, height)
        u[start:end] = slope
        height += slope * (end - start)
        start = end
    return u


def _next_bend(lower: Image, upper: Image, start: int, height: float) -> tuple[int, float]:
    steepest, flattest = -np.inf, np.inf
    touches_lower = touches_upper = start + 1
    for i in range(start + 1, len(lower)):
        low, high = (lower[i] - height) / (i - start), (upper[i] - height) / (i - start)
        if low > flattest:
            return touches_upper, float(flattest)
        if high < steepest:
            return touches_lower, float(steepest)
        if low >= steepest:
            steepest, touches_lower = low, i
        if high <= flattest:
            flattest, touches_upper = high, i
    return len(lower) - 1, float(steepest)


def convex_program(
    f: Image,
    weight: float,
    isotropic: bool = True,
    huber: float = 0.0,
    smooth: Callable[[Image], Image] = np.asarray,
) -> Image:
    """The minimiser for one tiny image (C, H, W), by SciPy's SLSQP on the dual problem.

    min over p of 1/2 <f + div p, S (f + div p)> + huber / (2 weight) |p|^2 where no vector of p is longer
    than the weight; u = S (f + div p). What is varied is q = p / weight. With S = `smooth` other than the
    identity, the energy has the term 1/2 <u, (S^-1 - Id) u> beside total variation.
    """
    shape = (2, *f.shape)

    def energy(flat: Image) -> float:
        q = flat.reshape(shape)
        moved = f + weight * differences.divergence(q)
        return float(0.5 * np.sum(moved * smooth(moved)) + huber * weight / 2 * np.sum(q**2)) / weight

    def slope(flat: Image) -> Image:
        q = flat.reshape(shape)
        u = smooth(f + weight * differences.divergence(q))
        falling: Image = huber * q - differences.gradient(u)
        return falling.ravel()

    def room(flat: Image) -> Image:
        return (1 - lengths(flat.reshape(shape), isotropic=isotropic) ** 2).ravel()

    def room_slope(flat: Image) -> Image:
        # a constraint feels the vectors of its own pixel only
        each = np.einsum("dchw,hwij->ijdchw", -2 * flat.reshape(shape), _pixels(*f.shape[1:]))
        down, right = np.moveaxis(each.reshape(f[0].size, 2, -1), 1, 0)
        if isotropic:
            return np.hstack([down, right])
        zero = np.zeros_like(down)
        return np.block([[down, zero], [zero, right]])

    found = optimize.minimize(
        energy,
        np.zeros(2 * f.size),
        jac=slope,
        method="SLSQP",
        constraints={"type": "ineq", "fun": room, "jac": room_slope},
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    assert found.status in (0, 8), found.message  # 8: rounding leaves the line search nothing to gain
    return np.asarray(smooth(f + weight * differences.divergence(found.x.reshape(shape))))


def _pixels(height: int, width: int) -> Image:
    return np.eye(height * width).reshape(height, width, height, width)
