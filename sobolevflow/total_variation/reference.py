"""The iteration and the duality gap in NumPy, which the compiled ones are tested against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array, borrow, to_host
from ..errors import InputError
from . import differences
from .arguments import check_range
from .functional import lengths, penalty
from .model import Model, Row


class Reference:
    """The arithmetic of `host.solve` for one image (C, H, W), a line for a formula."""

    def __init__(self, f: Array, model: Model) -> None:
        self._f, self._model = f, model

    def measure(self) -> tuple[float, float]:
        """weight TV(f), and the standard deviation of f."""
        f = self._f.astype(np.float64)
        return penalty(differences.gradient(f), self._model), float(f.std())

    def cold(self) -> tuple[Array, Array]:
        """f and 0."""
        return self._f, np.zeros((2, *self._f.shape), self._f.dtype)

    def advance(self, u: Array, p: Array, rows: Sequence[Row]) -> tuple[Array, Array, float]:
        """The iterates after the iterations of `rows`, and their gap."""
        for tau, shrink, theta, sigma, bound, relaxation in rows:
            u_step = (u + tau * (differences.divergence(p) + self._f)) * shrink
            extrapolated = u_step + theta * (u_step - u)
            moved = p + sigma * differences.gradient(extrapolated)
            p_step = shorten(moved, self._model.weight, self._model.isotropic, bound)
            u, p = u + relaxation * (u_step - u), p + relaxation * (p_step - p)
        model = self._model
        return u, p, duality_gap(self._f, u, p, model.weight, huber=model.huber, isotropic=model.isotropic)


def duality_gap(
    f: Any, u: Any, p: Any, weight: float, *, huber: float = 0.0, isotropic: bool = True
) -> float:
    """Energy of u minus the dual energy of p, for one image of coupled channels.

    Parameters
    ----------
    f, u
        Image and iterate, (C, H, W), of any library.
    p
        Dual variable (2, C, H, W); it is projected onto |p| <= weight first.
    weight
        Weight of total variation.
    huber, isotropic
        As in `Model`.

    Returns
    -------
    float
        ``1/2 |u - f - div p|^2 + sum (weight |grad u| - <grad u, p>)``, in float64, with Huber's function
        for |.| and ``huber / (2 weight) |p|^2`` beside it where there is one. No term of it is
        negative, so nothing cancels, unlike in the difference of the two energies.
    """
    weight, huber = checks.nonnegative(weight, "weight"), checks.nonnegative(huber, "huber")
    model = Model(weight, huber, checks.flag(isotropic, "isotropic"))
    f, u, p = (to_host(borrow(a, name)).astype(np.float64) for name, a in (("f", f), ("u", u), ("p", p)))
    if f.ndim != 3 or u.shape != f.shape or p.shape != (2, *f.shape) or not f.size:
        raise InputError(
            f"f, u and p have the shapes {f.shape}, {u.shape} and {p.shape}; they must be (C, H, W) twice, "
            f"and (2, C, H, W)."
        )
    for name, array in (("f", f), ("u", u), ("p", p)):
        check_range(array, name, weight=weight, huber=huber)
    p = shorten(p, weight, isotropic)
    slopes = differences.gradient(u)
    residual = u - f - differences.divergence(p)
    conjugate = 0.5 * huber * np.vdot(p, p) / weight if huber > 0 and weight > 0 else 0.0
    products = penalty(slopes, model) + conjugate - np.vdot(slopes, p)
    return float(0.5 * np.vdot(residual, residual) + products)


def shorten(p: Array, limit: float, isotropic: bool = True, bound: float | None = None) -> Array:
    """Vectors (D, C, H, W) to the length `limit` where they are longer.

    With a larger `bound` they are multiplied by limit / bound where they are shorter than that.
    """
    longest = max(limit if bound is None else bound, float(np.finfo(p.dtype).tiny))
    shortened: Array = p * (limit / np.maximum(lengths(p, isotropic=isotropic), longest))
    return shortened
