"""The problem that is solved for one image, and the step sizes with which it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Literal, TypeAlias

import numpy as np

from ..arrays import Array

Variation: TypeAlias = Literal["isotropic", "anisotropic"]
Algorithm: TypeAlias = Literal["over-relaxed", "accelerated"]
Row: TypeAlias = tuple[float, float, float, float, float, float]
"""tau, 1 / (1 + tau), theta, sigma, bound and relaxation of one iteration."""

RELAXATION = 1.9
SQUARED_NORM = 8.0
"""Bound of |grad|^2 in two dimensions (Chambolle, J. Math. Imaging Vis. 20, 2004)."""


@dataclass(frozen=True)
class Model:
    """argmin over u of 1/2 |u - f|^2 + weight TV(u) for one image.

    Attributes
    ----------
    weight
        In the unit of f.
    huber
        Differences below it are penalised quadratically, |g|^2 / (2 huber), larger ones by |g| - huber / 2.
    isotropic
        The length of the gradient, or the sum of those of its directions.
    """

    weight: float
    huber: float = 0.0
    isotropic: bool = True


@dataclass(frozen=True)
class Stopping:
    """When to stop: the arguments of `prox` with the same names."""

    tol: float
    max_iterations: int
    check_every: int


def gap_bound(gap: float, penalty: float, f: Array, weight: float) -> float:
    """The computed gap of an image (C, H, W), and what rounding can have taken from it.

    The penalties and the products <grad u, q>, which are no larger, have less than 16 + C roundings each. The
    residual u - f - div q, where u and f are exact and no |q| is above the weight, is off by at most 8 units
    of weight * eps, and one of its own value; that error enters through the square of the residual's norm,
    which is at most twice the gap.
    """
    eps = float(np.finfo(f.dtype).eps)
    norm = math.sqrt(2 * max(gap, 0.0))
    off = eps * (8 * weight * math.sqrt(f.size) + norm)
    return float(gap + (16 + f.shape[0]) * eps * penalty + norm * off + off**2 / 2)


def step_sizes(weight: float, deviation: float = 0.25, tol: float = 1e-3) -> tuple[float, float]:
    """Primal and dual step (tau, sigma) of the over-relaxed iteration.

    Parameters
    ----------
    weight
        Of total variation.
    deviation
        Standard deviation of the image. Only its ratio to the weight counts, so that an image and its
        multiple, with the same multiple of the weight, take the same steps.
    tol
        The relative gap to be reached.

    Notes
    -----
    The best tau falls as the square root of the weight, and large steps come near the solution sooner than
    small ones, but very near it later. Of factors from 0.016 to 0.18, these take fewest iterations to
    relative gaps of 1e-2 to 1e-4, within an eighth in the mean, for weights of 0.005 to 2 on photographs,
    drawings and noise; half or twice of them costs up to a half more.
    """
    factor = np.clip(0.07 * (tol / 1e-3) ** 0.25, 0.045, 0.128)
    tau = float(np.clip(factor * np.sqrt(deviation / weight), 0.005, 1))
    return tau, 1 / (SQUARED_NORM * tau)


def schedule(algorithm: Algorithm, model: Model, tol: float, deviation: float) -> Iterator[Row]:
    """The coefficients of one iteration after the other, as `kernels.total_variation` takes them.

    "over-relaxed" is the iteration of Chambolle and Pock (J. Math. Imaging Vis. 40, 2011) with constant
    steps, relaxed after Condat (J. Optim. Theory Appl. 158, 2013). "accelerated" is algorithm 2 of the
    former, whose steps shrink as the strong convexity of 1/2 |u - f|^2 allows; its energy falls as
    1 / n^2 whatever the first step is.
    """
    if model.weight == 0:
        return iter(())
    if algorithm == "over-relaxed":
        tau, sigma = step_sizes(model.weight, deviation, tol)
        return repeat(_row(model, tau, sigma, 1.0, RELAXATION))
    return _accelerated(model)


def unrelaxed_at_last(rows: Iterator[Row], count: int) -> list[Row]:
    """The next `count` iterations, the last of them without relaxation.

    Relaxed iterates overshoot by nearly as much as they move, so that their gap is a multiple of that of the
    points between which they swing. Without relaxation the last iteration ends on such a point; it also
    leaves the dual variables where they must be. At small weights this halves the iterations.
    """
    *following, last = islice(rows, count)
    return [*following, (*last[:-1], 1.0)]


def _accelerated(model: Model) -> Iterator[Row]:
    tau, sigma = 1.0, 1 / SQUARED_NORM
    while True:
        theta = 1 / math.sqrt(1 + 2 * tau)
        yield _row(model, tau, sigma / theta, theta, 1.0)
        tau, sigma = tau * theta, sigma / theta


def _row(model: Model, tau: float, sigma: float, theta: float, relaxation: float) -> Row:
    # Huber's function adds huber / (2 weight) |p|^2 to the dual energy, by whose prox every p shrinks by
    # weight / (weight + sigma huber) before it is projected.
    return tau, 1 / (1 + tau), theta, sigma, model.weight + sigma * model.huber, relaxation
