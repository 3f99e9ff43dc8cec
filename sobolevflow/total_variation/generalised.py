"""The proximal map of total generalised variation of second order.

TGV(u) = min over w of |grad u - w| + ratio |strain(w)|, summed over pixels (Bredies, Kunisch and Pock, SIAM
J. Imaging Sci. 3, 2010): slopes cost nothing as long as they do not change, so that ramps stay ramps
where total variation makes stairs of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import NOT_GIVEN, AnyArray, Array, Batch, namespace, on_stream_of
from . import differences, reference
from .arguments import as_weights, check_range, check_state, check_stopping, is_compiled
from .functional import lengths
from .host import Arithmetic, solve
from .model import RELAXATION, SQUARED_NORM, Model, Row, Stopping
from .reference import shorten
from .rof import Method
from .solution import Outcome, Prox, State, as_prox

CHECK_EVERY = 20

_STEP, _STEP_OF_SLOPES, _SHARE = 0.015, 2.0, 0.4  # see `schedule`
_ROUNDING = 1e-12  # of the terms of the gap, which are summed up in double precision


def prox_tgv(
    f: AnyArray,
    weight: ArrayLike,
    ratio: float = 2.0,
    tol: float = 1e-3,
    max_iterations: int = 2000,
    channel_axis: int | None = NOT_GIVEN,
    state: State | None = None,
    method: Method = "auto",
    *,
    check_every: int = CHECK_EVERY,
    coupled: bool = True,
) -> Prox:
    """Proximal map of TGV: argmin over u of 1/2 |u - f|^2 + weight TGV(u), for each image.

    Parameters
    ----------
    f
        As for `prox`.
    weight
        Weight of TGV in the unit of f: a number, or an array of one number for each image. 0 returns f.
    ratio
        What a change of the slope costs beside a step, in pixels, above 0. The larger it is, the longer a
        ramp must be to remain one; customary is 2.
    tol
        Stop an image as soon as its duality gap is at most tol * weight * TV(f).
    max_iterations
        Most iterations for each image. If they do not suffice, the result says so in `converged`.
    channel_axis
        As for `prox`. The slopes of all coupled channels are penalised together.
    state
        `Prox.state` of an earlier call of this function with the same shape, dtype and channel axis.
    method
        As for `prox`. On CUDA devices the iteration is always made of CuPy's operations.
    check_every
        Iterations between two evaluations of the gap.
    coupled
        As for `prox`.

    Returns
    -------
    Prox
        `u`, `gap`, `iterations`, `converged` and `state`.

    Raises
    ------
    InputError
        As for `prox`, or if ratio is not a finite number above zero.
    UnknownNameError
        If there is no such method.

    Notes
    -----
    All differences are forward ones, and take part where they lie within the image (`differences.gradient`,
    `differences.strain`), so that planes, border included, are left as they are. At most as much is paid as
    for total variation, TGV(u) <= TV(u).

    One iteration, relaxed by rho = 1.9 as in `prox`, is ::

        u~, w~ = (u + tau (div p + f)) / (1 + tau), w + tau_w (p - strain* q)
        p~ = projection of p + sigma (grad(2 u~ - u) - (2 w~ - w)) onto |p| <= weight
        q~ = projection of q + sigma_q strain(2 w~ - w) onto |q| <= ratio weight

    For the gap the dual variables are made feasible: q is projected, p is strain* q, and both are multiplied
    by the number that makes p short enough and the bound best.

    Photographs with values between 0 and 1 take 300 to 400 iterations to tol=1e-3. Memory: eleven arrays of
    the size of f. Images are solved side by side in threads, one image by one thread.
    """
    batch = Batch.borrow(f, channel_axis, "f", coupled=coupled)
    images = batch.images
    check_stopping(tol, max_iterations, check_every)
    compiled = is_compiled(method, images) and isinstance(images, np.ndarray)
    checks.positive(ratio, "ratio", remedy="At 0 any image is free; customary is 2.")
    weights = as_weights(weight, batch.leading)
    check_range(images, "f", weight=weights, ratio=ratio)
    count, channels, height, width = images.shape
    check_state(state, images, (count, 3, channels, height, width))
    stop = Stopping(tol, int(max_iterations), int(check_every))
    with on_stream_of(f):
        reached, outcomes = _solve_all(images, state, weights.tolist(), ratio, stop, compiled=compiled)
    return as_prox(batch.lend(reached.u[:, 0].copy()), outcomes, batch.leading, reached)


def _solve_all(
    images: Array,
    state: State | None,
    weights: list[float],
    ratio: float,
    stop: Stopping,
    *,
    compiled: bool,
) -> tuple[State, list[Outcome]]:
    xp: Any = namespace(images)
    count, channels, height, width = images.shape
    x = xp.empty((count, 3, channels, height, width), images.dtype)
    y = xp.zeros((count, 5, channels, height, width + 1), images.dtype)  # as the kernel wants it

    def task(n: int) -> Outcome:
        arithmetic: Arithmetic
        if compiled:
            arithmetic = CompiledTGV(images[n], weights[n], ratio, (x[n], y[n]))
        else:
            arithmetic = ReferenceTGV(images[n], weights[n], ratio)
        start = None if state is None else (state.u[n], state.p[n])
        found_x, found_y, outcome = solve(start, arithmetic, partial(schedule, weights[n]), stop)
        if not compiled:
            x[n], y[n, ..., 1:] = found_x, found_y
        return outcome

    reached = State(x, y[..., 1:])
    if not compiled:
        return reached, [task(n) for n in range(count)]
    from ..kernels import threads

    parts: list[Any] = threads.share(lambda start, end: [task(n) for n in range(start, end)], count)
    return reached, [outcome for part in parts for outcome in part]


def schedule(weight: float, deviation: float) -> Iterator[Row]:
    """The coefficients of one iteration after the other, as `kernels.generalised_variation` takes them.

    With sigma (8 tau + tau_w) and sigma_q 8 tau_w adding up to 1, the norm of the whole operator
    (grad, -1; 0, strain) between the scaled variables is at most 1. The steps take fewest iterations to
    relative gaps of 1e-2 and 1e-3, in the geometric mean over weights of 0.02 to 0.5 on photographs; half or
    twice of them costs a tenth more.
    """
    if weight == 0:
        return iter(())
    tau = float(np.clip(_STEP * np.sqrt(deviation / weight), 0.001, 1))
    slow = _STEP_OF_SLOPES * tau
    sigma = _SHARE / (SQUARED_NORM * tau + slow)
    sigma_q = (1 - _SHARE) / (SQUARED_NORM * slow)
    return repeat((tau, 1 / (1 + tau), slow, sigma, sigma_q, RELAXATION))


class ReferenceTGV:
    """The arithmetic of `host.solve` for one image (C, H, W), in NumPy or CuPy, a line for a formula.

    Parameters
    ----------
    f
        Image (C, H, W).
    weight, ratio
        As in `prox_tgv`.
    """

    def __init__(self, f: Array, weight: float, ratio: float) -> None:
        self._f, self._weight, self._ratio = f, weight, ratio

    def measure(self) -> tuple[float, float]:
        """weight TV(f), and the standard deviation of f."""
        return reference.Reference(self._f, Model(self._weight)).measure()

    def cold(self) -> tuple[Array, Array]:
        """f without slopes, and 0."""
        xp: Any = namespace(self._f)
        x = xp.zeros((3, *self._f.shape), self._f.dtype)
        x[0] = self._f
        return x, xp.zeros((5, *self._f.shape), self._f.dtype)

    def advance(self, x: Array, y: Array, rows: Sequence[Row]) -> tuple[Array, Array, float]:
        """The iterates after the iterations of `rows`, and their gap."""
        xp: Any = namespace(self._f)
        u, w, p, q = x[0], x[1:], y[:2], y[2:]
        for tau, shrink, slow, sigma, sigma_q, rho in rows:
            u_step = (u + tau * (differences.divergence(p) + self._f)) * shrink
            w_step = w + slow * (p - differences.strain_adjoint(q))
            u_beyond, w_beyond = 2 * u_step - u, 2 * w_step - w
            p_step = shorten(p + sigma * (differences.gradient(u_beyond) - w_beyond), self._weight)
            q_step = shorten(q + sigma_q * differences.strain(w_beyond), self._ratio * self._weight)
            u, w = u + rho * (u_step - u), w + rho * (w_step - w)
            p, q = p + rho * (p_step - p), q + rho * (q_step - q)
        x, y = xp.concatenate([u[None], w]), xp.concatenate([p, q])
        return x, y, self._gap(x.astype(np.float64), y.astype(np.float64))

    def _gap(self, x: Array, y: Array) -> float:
        f, u, w = self._f.astype(np.float64), x[0], x[1:]
        p = differences.strain_adjoint(shorten(y[2:], self._ratio * self._weight))
        flow = differences.divergence(p)
        paid = self._weight * lengths(differences.gradient(u) - w).sum()
        paid += self._ratio * self._weight * lengths(differences.strain(w)).sum()
        terms = ((u - f) ** 2).sum(), paid, ((f - f[0, 0, 0]) * flow).sum(), (flow * flow).sum()
        return least_gap(tuple(map(float, terms)), float(lengths(p).max()), self._weight)


def least_gap(terms: tuple[float, ...], longest: float, weight: float) -> float:
    """The duality gap for the best feasible multiple of the dual variables, and a bound of its rounding.

    With q feasible and p = strain* q, at most `longest`, (s p, s q) is feasible for s up to 1 that makes
    p short enough, and

        1/2 |u - f|^2 + paid + s <f, div p> + s^2 / 2 |div p|^2

    is the energy of u and w minus the dual energy. `terms` are |u - f|^2, what is paid for slopes and their
    changes, <f, div p> and |div p|^2.
    """
    residual, paid, product, flow = terms
    s = min(max(-product / flow, 0.0), weight / longest, 1.0) if flow > 0 else 0.0
    each = (residual / 2, paid, s * product, s * s * flow / 2)
    return max(sum(each), 0.0) + _ROUNDING * sum(map(abs, each))


class CompiledTGV:
    """The arithmetic on `kernels.generalised_variation`, which overwrites the iterates.

    Parameters
    ----------
    f
        Image (C, H, W), C-contiguous.
    weight, ratio
        As in `prox_tgv`.
    to
        Memory for the iterates: (3, C, H, W) of any content, and zeros (5, C, H, W + 1).
    """

    def __init__(self, f: Array, weight: float, ratio: float, to: tuple[Array, Array]) -> None:
        from ..kernels import generalised_variation as kernel

        self._f, self._weight, self._to, self._kernel = f, weight, to, kernel
        self._numbers = np.array((weight, ratio * weight, 0.5**0.5))

    def measure(self) -> tuple[float, float]:
        """weight TV(f), and the standard deviation of f."""
        return reference.Reference(self._f, Model(self._weight)).measure()

    def cold(self) -> tuple[Array, Array]:
        """f without slopes, and 0."""
        x, y = self._to
        x[0], x[1:] = self._f, 0
        return x, y[..., 1:]

    def advance(self, x: Array, y: Array, rows: Sequence[Row]) -> tuple[Array, Array, float]:
        """The iterates after the iterations of `rows`, and their gap."""
        own_x, own_y = self._to
        if x is not own_x:
            own_x[:], own_y[..., 1:] = x, y
        f, (channels, _, width) = self._f, self._f.shape
        shape = self._kernel.working_memory(channels, width)
        steps = np.array(rows, f.dtype).reshape(len(rows), self._kernel.COEFFICIENTS)
        self._kernel.iterate(f, *self._to, steps, self._numbers.astype(f.dtype), np.empty(shape, f.dtype))
        sums = np.empty((self._kernel.SUMS, width))
        self._kernel.gap_terms(f, *self._to, self._numbers, np.empty(shape), sums)
        terms = tuple(map(float, sums[:-1].sum(axis=1)))
        return own_x, own_y[..., 1:], least_gap(terms, math.sqrt(sums[-1].max()), self._weight)
