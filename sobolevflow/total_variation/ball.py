"""The least total variation within a distance from an image (Rudin, Osher, Fatemi, Physica D 60, 1992)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..arrays import NOT_GIVEN, AnyArray, Array, Batch, empty_like, namespace
from . import differences
from .arguments import Floats, as_weights, check_range, check_stopping, is_isotropic
from .functional import lengths, value
from .model import Variation
from .rof import CHECK_EVERY, Method, prox
from .solution import State

_NEVER = 1e-300  # a tolerance that is not reached


@dataclass(frozen=True, eq=False)
class Constrained:
    """What `constrained` found. All but `u` have one entry for each image.

    Attributes
    ----------
    u
        The minimiser: library, device, shape and dtype of f.
    weight
        The weight for which `prox` gives the same image, as closely as the gap tells; infinite where the
        result is the mean.
    gap
        The total variation of `u` is at most this far above the least there is in the ball, float64.
    iterations
        Iterations made for all weights tried, int64.
    converged
        Whether the gap is at most tol * TV(f), bool.
    """

    __repr__ = checks.summary

    u: Any
    weight: Floats
    gap: Floats
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]


def constrained(
    f: AnyArray,
    radius: ArrayLike,
    tol: float = 1e-3,
    max_iterations: int = 5000,
    channel_axis: int | None = NOT_GIVEN,
    method: Method = "auto",
    *,
    variation: Variation = "isotropic",
    huber: float = 0.0,
    coupled: bool = True,
) -> Constrained:
    """Least total variation near an image: argmin of TV(u) over |u - f| <= radius, for each image.

    For noise of standard deviation sigma, radius = sigma * sqrt(number of values of an image) leaves as much
    as was added.

    Parameters
    ----------
    f
        As for `prox`.
    radius
        Distance in the 2-norm of all values of an image, in the unit of f: a number, or an array of one
        number for each image. 0 returns f.
    tol
        Stop an image as soon as the gap is at most tol * TV(f).
    max_iterations
        Most iterations for each image, over all weights that are tried.
    channel_axis, method, variation, huber, coupled
        As for `prox`.

    Returns
    -------
    Constrained
        `u`, `weight`, `gap`, `iterations` and `converged`.

    Raises
    ------
    InputError
        As for `prox`, with radius in the place of weight.
    UnknownNameError
        As for `prox`.

    Notes
    -----
    The solution is ``prox(f, weight)`` for the weight at which |u - f| = radius, which increases with the
    weight. After every ten iterations the weight is corrected by a power of radius / |u - f|, and the dual
    variables with it (compare Chambolle, J. Math. Imaging Vis. 20, 2004, section 4). u is then moved
    into the ball, and dual variables q = p / weight give the bound

        TV(u) >= -<f, div q> - radius |div q| - huber / 2 |q|^2  for every u in the ball,

    which is sharp where u = f + weight div q with weight = radius / |div q|, the one that is returned.
    """
    batch = Batch.borrow(f, channel_axis, "f", coupled=coupled)
    check_stopping(tol, max_iterations, CHECK_EVERY)
    is_isotropic(variation)
    kind: dict[str, Any] = {"variation": variation, "huber": checks.nonnegative(huber, "huber")}
    radii = as_weights(radius, batch.leading, "radius")
    check_range(batch.images, "f", radius=radii, huber=kind["huber"])
    u = empty_like(batch.images)
    outcomes = []
    for n, r in enumerate(radii):
        search = _Search(batch.images[n], float(r), tol, max_iterations, method, kind)
        u[n] = search.u
        outcomes.append((search.weight, search.gap, search.iterations, search.gap <= search.accepted))
    weight, gap, iterations, converged = (
        np.array(each).reshape(batch.leading) for each in zip(*outcomes, strict=True)
    )
    return Constrained(batch.lend(u), weight, gap, iterations, converged)


class _Search:
    """The search for the weight at which the solution for one image (C, H, W) is `radius` away from it."""

    def __init__(
        self, f: Array, radius: float, tol: float, max_iterations: int, method: Method, kind: dict[str, Any]
    ) -> None:
        self._f, self._radius, self._kind = f, radius, kind
        largest = float(value(f, 0, **kind))
        mean = f.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(f.dtype)
        self.u, self.weight, self.gap, self.iterations = f.copy(), 0.0, largest, 0
        self.accepted = tol * largest
        if radius == 0 or largest == 0:
            self.gap = 0.0
        elif _norm(f - mean) <= radius:  # the mean lies in the ball, and varies nowhere
            self.u[:], self.weight, self.gap = mean, math.inf, 0.0
        else:
            self._search(max_iterations, method)

    def _search(self, max_iterations: int, method: Method) -> None:
        weight, state, before = self._radius / math.sqrt(self._f.size), None, None
        while self.gap > self.accepted and self.iterations < max_iterations:
            left = min(CHECK_EVERY, max_iterations - self.iterations)
            solved = prox(self._f, weight, _NEVER, left, 0, state, method, **self._kind)
            self.iterations += left
            distance = _norm(solved.u - self._f)
            self._keep_if_better(solved.u, solved.state.p[0] / weight, distance)
            distance = max(distance, 1e-9 * self._radius)  # none where the radius is below rounding
            following = weight * _factor(weight, self._radius / distance, before)
            before = weight, self._radius / distance
            state = State(solved.state.u, solved.state.p * (following / weight))
            weight = following

    def _keep_if_better(self, u: Array, q: Array, distance: float) -> None:
        """Note u, moved into the ball, if by the dual variable q it is better than what was found."""
        if distance > self._radius:
            u = self._f + (u - self._f) * (self._radius / distance * (1 - 4 * float(np.finfo(u.dtype).eps)))
        least, weight = self._least(q)
        gap = float(value(u, 0, **self._kind)) - least
        if gap < self.gap:
            self.u, self.weight, self.gap = u, weight, gap

    def _least(self, q: Array) -> tuple[float, float]:
        """A lower bound of total variation in the ball, by dual variables (2, C, H, W), and their weight."""
        q = q.astype(np.float64)
        q = q / namespace(q).maximum(lengths(q, isotropic=self._kind["variation"] == "isotropic"), 1)
        flow = differences.divergence(q)
        smooth = self._kind["huber"] / 2 * float((q * q).sum())
        length = _norm(flow)
        bound = -float((self._f * flow).sum()) - self._radius * length - smooth
        return bound, self._radius / length if length > 0 else math.inf


def _factor(weight: float, ratio: float, before: tuple[float, float] | None) -> float:
    """What to multiply the weight by, where radius / distance is `ratio`, and was at the weight before.

    The distance grows as a power of the weight of at most 1, which the last two weights tell; too large a
    power only makes the step smaller.
    """
    power = 1.0
    if before is not None and before[0] != weight:
        power = math.log(before[1] / ratio) / math.log(weight / before[0])
    return float(min(max(ratio ** (1 / min(max(power, 0.4), 1.0)), 0.25), 4.0))


def _norm(u: Array) -> float:
    u = u.astype(np.float64)
    return math.sqrt(float((u * u).sum()))
