"""Total variation of images: its value, its proximal map, and the gradient of its smoothed form.

TV(u) = sum over pixels of |grad u|, isotropic, with forward differences and zero flux across the
border (`sobolevflow.differences`). Where channels are coupled, |.| takes the differences of all channels of
a pixel together (vectorial TV), so that the edges of the colours coincide; otherwise each channel is
an image of its own.

The proximal map is the model of Rudin, Osher and Fatemi (Physica D 60, 1992). It is solved by the
primal-dual iteration of Chambolle and Pock (J. Math. Imaging Vis. 40, 2011), over-relaxed after Condat
(J. Optim. Theory Appl. 158, 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import differences
from .arrays import Array, as_planes
from .errors import InputError, UnknownNameError, did_you_mean

RELAXATION = 1.9
CHECK_EVERY = 5  # iterations between two evaluations of the gap, which costs about two

Method: TypeAlias = Literal["auto", "numba", "reference"]

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class State:
    """Where an iteration of `prox` stopped, to start the next one from.

    Attributes
    ----------
    u
        Primal variable (N, C, H, W): N images of C coupled channels.
    p
        Dual variable (N, 2, C, H, W), in the unit of the image: |p| <= weight but for the relaxation.
    """

    u: Array
    p: Array


@dataclass(frozen=True, eq=False)
class Prox:
    """What `prox` found. The last four attributes have one entry for each image.

    Attributes
    ----------
    u
        The minimiser: shape and dtype of f.
    gap
        Duality gap, float64: the energy of `u` is at most this far above the minimum.
    iterations
        Iterations made, int64.
    converged
        Whether the gap is at most tol * weight * TV(f), bool.
    state
        For the warm start of the next, similar problem.
    """

    u: Array
    gap: Floats
    iterations: NDArray[np.int64]
    converged: NDArray[np.bool_]
    state: State


def prox(
    f: Array,
    weight: ArrayLike,
    tol: float = 1e-3,
    max_iterations: int = 500,
    channel_axis: int | None = None,
    state: State | None = None,
    method: Method = "auto",
) -> Prox:
    """Proximal map of total variation: argmin over u of 1/2 |u - f|^2 + weight TV(u), for each image.

    Parameters
    ----------
    f
        float32 or float64, shape (..., H, W), finite. All leading axes but `channel_axis` count images.
    weight
        Weight of TV in the unit of f: a number, or an array of one number for each image. 0 returns f.
    tol
        Stop an image as soon as its duality gap is at most tol * weight * TV(f). In float32 the gap
        cannot be brought below about 1e-6 of that.
    max_iterations
        Most iterations for each image. If they do not suffice, the result says so in `converged`.
    channel_axis
        The leading axis whose channels are coupled; None couples nothing.
    state
        `Prox.state` of an earlier call with the same shape, dtype and channel axis, to start from. The
        closer f is to that of the earlier call, the fewer iterations it takes.
    method
        "numba": the compiled kernel, on as many images at a time as `numba.get_num_threads()` says; its first
        use on a machine compiles it, which takes seconds. "reference": NumPy. "auto": "numba".

    Returns
    -------
    Prox
        `u`, `gap`, `iterations`, `converged` and `state`.

    Raises
    ------
    InputError
        If f is not such an array, weight is negative, not finite or does not fit the images, tol is not above
        zero, max_iterations is below 1, channel_axis is no leading axis, or state is of other images.
    UnknownNameError
        If there is no such method.

    Notes
    -----
    One iteration with tau = clip(0.005 / weight, 0.02, 0.3), sigma = 1 / (8 tau), rho = 1.9 is ::

        u~ = (u + tau (div p + f)) / (1 + tau)
        p~ = projection of p + sigma grad(2 u~ - u) onto |p| <= weight
        u, p = u + rho (u~ - u), p + rho (p~ - p)

    tau is tuned to images with values between 0 and 1, of which those with noise take about 20
    (weight 0.02), 50 (0.1) and 100 (0.5) iterations to tol=1e-3. The gap is evaluated before the first
    iteration and after every fifth.
    """
    f = as_planes(f, name="f")
    axis = _channel_axis(channel_axis, f)
    images, leading = _as_images(f, axis)
    weights = _weights(weight, leading)
    _check_stopping(tol, max_iterations)
    u, p = _start(images, state)
    arithmetic = _arithmetic(method)

    def solve(n: int) -> _Solution:
        return _solve(images[n], u[n], p[n], float(weights[n]), tol, int(max_iterations), arithmetic)

    with ThreadPoolExecutor(arithmetic.threads) as threads:
        gap, accepted, iterations = map(np.array, zip(*threads.map(solve, range(len(images))), strict=True))
    return Prox(
        u=_from_images(u.copy(), leading, axis),
        gap=gap.reshape(leading),
        iterations=iterations.reshape(leading),
        converged=(gap <= accepted).reshape(leading),
        state=State(u, p),
    )


def value(u: Array, channel_axis: int | None = None, epsilon: float = 0.0) -> Floats:
    """Total variation of each image, or its smoothed form.

    Parameters
    ----------
    u
        float32 or float64, shape (..., H, W).
    channel_axis
        The leading axis whose channels are coupled; None couples nothing.
    epsilon
        Smoothing in the unit of u: sum of sqrt(|grad u|^2 + epsilon^2).

    Returns
    -------
    ndarray
        float64, one entry for each image: the shape of u without (channel,) H, W.

    Raises
    ------
    InputError
        If u or channel_axis does not fit, or epsilon is negative or not finite.
    """
    u = as_planes(u, name="u")
    images, leading = _as_images(u, _channel_axis(channel_axis, u))
    lengths = _lengths(differences.gradient(images.astype(np.float64)), _epsilon(epsilon))
    return np.asarray(lengths.sum(axis=(-3, -2, -1))).reshape(leading)


def gradient(u: Array, epsilon: float = 1e-2, channel_axis: int | None = None) -> Array:
    """Gradient of the smoothed total variation: -div(grad u / sqrt(|grad u|^2 + epsilon^2)).

    This is the regulariser of the explicit scheme, eq. (20) of arXiv:1805.00071. A descent along it is
    stable for steps up to about epsilon / 4 per unit of weight; `prox` has no such bound.

    Parameters
    ----------
    u
        float32 or float64, shape (..., H, W).
    epsilon
        Above 0, in the unit of u: differences below it are treated as quadratic.
    channel_axis
        The leading axis whose channels are coupled; None couples nothing.

    Returns
    -------
    ndarray
        Shape and dtype of u.

    Raises
    ------
    InputError
        If u or channel_axis does not fit, or epsilon is not a finite number above zero.
    """
    u = as_planes(u, name="u")
    if _epsilon(epsilon) == 0:
        raise InputError("epsilon is 0; total variation itself has no gradient. Use prox, or epsilon=0.01.")
    axis = _channel_axis(channel_axis, u)
    images, leading = _as_images(u, axis)
    slopes = differences.gradient(images)
    slopes /= _lengths(slopes, epsilon)
    return _from_images(-differences.divergence(slopes), leading, axis)


def duality_gap(f: Array, u: Array, p: Array, weight: float) -> float:
    """Energy of u minus the dual energy of p, for one image of coupled channels.

    Parameters
    ----------
    f, u
        Image and iterate, (C, H, W).
    p
        Dual variable (2, C, H, W); it is projected onto |p| <= weight first.
    weight
        Weight of total variation.

    Returns
    -------
    float
        ``1/2 |u - f - div p|^2 + sum (weight |grad u| - <grad u, p>)``, in float64. No term of it is
        negative, so nothing cancels, unlike in the difference of the two energies.
    """
    f, u, p = (a.astype(np.float64) for a in (f, u, p))
    p = _project(p, weight)
    slopes = differences.gradient(u)
    residual = u - f - differences.divergence(p)
    return float(0.5 * np.vdot(residual, residual) + weight * _lengths(slopes).sum() - np.vdot(slopes, p))


def step_sizes(weight: float) -> tuple[float, float]:
    """Primal and dual step (tau, sigma) of `prox`; tau sigma 8 = 1, as |grad|^2 <= 8."""
    tau = float(np.clip(0.005 / max(weight, 1e-3), 0.02, 0.3))
    return tau, 1 / (8 * tau)


# --- the solver, and the arithmetic it runs on ---------------------------------------------------


@dataclass(frozen=True)
class _Arithmetic:
    """One implementation of what the solver does to an image."""

    gap: Callable[[Array, Array, Array, float], float]
    """(f, u, p, weight) -> duality gap."""
    iterate: Callable[[Array, Array, Array, float, int], None]
    """(f, u, p, weight, steps): moves u and p in place."""
    threads: int


_Solution: TypeAlias = tuple[float, float, int]
"""The gap, the gap at which to stop, and the number of iterations made."""


def _solve(
    f: Array, u: Array, p: Array, weight: float, tol: float, max_iterations: int, arithmetic: _Arithmetic
) -> _Solution:
    """Iterate one image (C, H, W), starting from `u` and `p` and changing them in place."""
    accepted = tol * arithmetic.gap(f, f, np.zeros_like(p), weight)  # the gap at p = 0 is weight TV(f)
    if accepted == 0:  # no weight, or nothing to smooth: the minimiser is f
        u[:], p[:] = f, 0
    done = 0
    while (gap := arithmetic.gap(f, u, p, weight)) > accepted and done < max_iterations:
        steps = min(CHECK_EVERY, max_iterations - done)
        arithmetic.iterate(f, u, p, weight, steps)
        done += steps
    return gap, accepted, done


def _arithmetic(method: str) -> _Arithmetic:
    known = ("auto", "numba", "reference")
    if method not in known:
        raise UnknownNameError(
            f"method is {method!r}; known are {', '.join(map(repr, known))}."
            f"{did_you_mean(str(method), known)}"
        )
    return _reference() if method == "reference" else _compiled()


def _reference() -> _Arithmetic:
    def iterate(f: Array, u: Array, p: Array, weight: float, steps: int) -> None:
        tau, sigma = step_sizes(weight)
        for _ in range(steps):
            u_step = (u + tau * (differences.divergence(p) + f)) * (1 / (1 + tau))
            p_step = _project(p + sigma * differences.gradient(2 * u_step - u), weight)
            u += RELAXATION * (u_step - u)
            p += RELAXATION * (p_step - p)

    return _Arithmetic(duality_gap, iterate, threads=1)


def _compiled() -> _Arithmetic:
    import numba  # which takes a second

    from .kernels import total_variation as kernel

    def iterate(f: Array, u: Array, p: Array, weight: float, steps: int) -> None:
        tau, sigma = step_sizes(weight)
        coefficients = (tau, 1 / (1 + tau), sigma, RELAXATION, weight, np.finfo(f.dtype).tiny)
        kernel.iterate(f, u, p, np.array(coefficients, f.dtype), steps)

    return _Arithmetic(kernel.duality_gap, iterate, threads=numba.get_num_threads())


def _project(p: Array, weight: float) -> Array:
    """Dual variables (2, C, H, W), those longer than `weight` shortened to it."""
    longest = max(weight, float(np.finfo(p.dtype).tiny))
    return np.asarray(p * (weight / np.maximum(_lengths(p), longest)))


def _lengths(p: Array, epsilon: float = 0.0) -> Array:
    """Lengths (..., 1, H, W) of vectors (2, ..., C, H, W) over directions and channels."""
    squares = np.square(p).sum(axis=0).sum(axis=-3, keepdims=True)
    return np.asarray(np.sqrt(squares + epsilon**2))


# --- arguments ----------------------------------------------------------------------------------


def _channel_axis(channel_axis: int | None, f: Array) -> int | None:
    """The axis counted from the front, or None; InputError unless it is an axis before (H, W)."""
    if channel_axis is None:
        return None
    if isinstance(channel_axis, bool) or not isinstance(channel_axis, int | np.integer):
        raise InputError(f"channel_axis is {channel_axis!r}; it must be an integer or None.")
    axis = int(channel_axis) + (f.ndim if channel_axis < 0 else 0)
    if not 0 <= axis < f.ndim - 2:
        raise InputError(
            f"channel_axis is {channel_axis} for shape {f.shape}, whose last two axes are (H, W): "
            f"{'there is no other axis; leave it out' if f.ndim == 2 else f'choose from 0 to {f.ndim - 3}'}."
        )
    return axis


def _as_images(f: Array, axis: int | None) -> tuple[Array, tuple[int, ...]]:
    """`f` as C-contiguous images (N, C, H, W) of coupled channels, and the axes that N stands for."""
    f = f[..., None, :, :] if axis is None else np.moveaxis(f, axis, -3)
    # Writable, since to numba a read-only array is another type, for which it would compile once more.
    return np.require(f, requirements=["C", "W"]).reshape(-1, *f.shape[-3:]), f.shape[:-3]


def _from_images(images: Array, leading: tuple[int, ...], axis: int | None) -> Array:
    f = images.reshape(*leading, *images.shape[1:])
    return f[..., 0, :, :] if axis is None else np.moveaxis(f, -3, axis)


def _weights(weight: ArrayLike, leading: tuple[int, ...]) -> Floats:
    try:
        given = np.asarray(weight, np.float64)
        weights = np.broadcast_to(given, leading).ravel()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"weight {weight!r} is neither a number nor an array of numbers that broadcasts to the axes "
            f"{leading} that count the images."
        ) from error
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(
            f"weight is {weight!r}; it must be finite and not negative (0 leaves the image as it is)."
        )
    return weights


def _check_stopping(tol: float, max_iterations: int) -> None:
    if not (np.isfinite(tol) and tol > 0):
        raise InputError(f"tol is {tol!r}; it must be finite and above zero, e.g. 1e-3.")
    if (
        isinstance(max_iterations, bool)
        or not isinstance(max_iterations, int | np.integer)
        or max_iterations < 1
    ):
        raise InputError(f"max_iterations is {max_iterations!r}; it must be an integer of at least 1.")


def _epsilon(epsilon: float) -> float:
    if not (np.isfinite(epsilon) and epsilon >= 0):
        raise InputError(f"epsilon is {epsilon!r}; it must be finite and not negative, e.g. 0.01.")
    return float(epsilon)


def _start(images: Array, state: State | None) -> tuple[Array, Array]:
    """Iterates to start from, as arrays of the solver's own."""
    n, *rest = images.shape
    if state is None:
        return images.copy(), np.zeros((n, 2, *rest), images.dtype)
    if state.u.shape != images.shape or state.u.dtype != images.dtype:
        raise InputError(
            f"state is of images {state.u.shape} {state.u.dtype}, as (N, C, H, W), but f is of images "
            f"{images.shape} {images.dtype}. Start without a state when shape, dtype or channel_axis change."
        )
    return state.u.copy(), state.p.copy()
