"""The proximal map of total variation: the model of Rudin, Osher and Fatemi (Physica D 60, 1992)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..arrays import NOT_GIVEN, AnyArray, Batch, on_stream_of
from . import cuda, host
from .arguments import as_weights, check_range, check_state, check_stopping, is_compiled, is_isotropic
from .model import Algorithm, Model, Stopping, Variation
from .solution import Prox, State, as_prox

CHECK_EVERY = 10

Method: TypeAlias = Literal["auto", "numba", "reference"]

_ALGORITHMS = ("over-relaxed", "accelerated")


def prox(
    f: AnyArray,
    weight: ArrayLike,
    tol: float = 1e-3,
    max_iterations: int = 500,
    channel_axis: int | None = NOT_GIVEN,
    state: State | None = None,
    method: Method = "auto",
    *,
    variation: Variation = "isotropic",
    huber: float = 0.0,
    algorithm: Algorithm = "over-relaxed",
    check_every: int = CHECK_EVERY,
    coupled: bool = True,
) -> Prox:
    """Proximal map of total variation: argmin over u of 1/2 |u - f|^2 + weight TV(u), for each image.

    Parameters
    ----------
    f
        Floating point, shape (..., H, W), finite: an array of NumPy, CuPy, PyTorch, JAX, TensorFlow, or of
        another library with DLPack, on the host or on a CUDA device. float16 and bfloat16 are computed in
        float32, and the result is rounded.
    weight
        Weight of TV in the unit of f: a number, or an array of one number for each image. 0 returns f.
    tol
        Stop an image as soon as its duality gap is at most tol * weight * TV(f). In float32 the gap
        cannot be brought below about 2e-6 of that.
    max_iterations
        Most iterations for each image. If they do not suffice, the result says so in `converged`.
    channel_axis
        The axis that holds channels, any from -ndim to ndim - 1; the last two of the other axes are H and W,
        and all axes before count images. None, the default: the last two axes are H and W, and each plane is
        an image.
    state
        `Prox.state` of an earlier call with the same shape, dtype and channel axis, to start from. The
        closer f is to that of the earlier call, the fewer iterations it takes.
    method
        "numba": compiled kernels, on the host or on the device that f lies on; their first use on a machine
        compiles them, which takes seconds. "reference": NumPy. "auto": "numba".
    variation
        "isotropic": |grad u| is the length of the vector of the differences down and to the right.
        "anisotropic": the sum of their absolute values, or of their lengths over the coupled channels.
    huber
        Huber's epsilon, in the unit of f: slopes below it are penalised by their square / (2 huber), larger
        ones by |grad u| - huber / 2. It replaces the staircases of total variation by slopes. 0 is total
        variation.
    algorithm
        "over-relaxed": takes fewest iterations, above all from a state. "accelerated": a guaranteed rate,
        1 / n^2, at 1.3 to 3 times the iterations.
    check_every
        Iterations between two evaluations of the gap, which costs about as much as two iterations. On a CUDA
        device it is rounded up to an even number.
    coupled
        Whether the channels of a pixel count together, so that their edges coincide. Otherwise each of them
        is an image of its own, and what has an entry for each image has the channels as its last axis.

    Returns
    -------
    Prox
        `u`, of the library of f, and `gap`, `iterations`, `converged` and `state`, which are NumPy's.

    Raises
    ------
    InputError
        If f is not such an array, weight or huber is negative, not finite or does not fit the images, tol is
        not above zero, max_iterations or check_every is below 1, there is no such channel_axis, or state
        is of other images.
    UnknownNameError
        If there is no such method, variation or algorithm.

    Warns
    -----
    AssumptionWarning
        If nothing is said of channels, not even None, and the shape is that of pictures with three or four
        colours last.

    Notes
    -----
    One iteration with rho = 1.9, sigma = 1 / (8 tau), and at tol=1e-3 tau = 0.07 sqrt(std(f) / weight) within
    [0.005, 1], is ::

        u~ = (u + tau (div p + f)) / (1 + tau)
        p~ = projection of p + sigma grad(2 u~ - u) onto |p| <= weight
        u, p = u + rho (u~ - u), p + rho (p~ - p)

    Photographs with values between 0 and 1 take about 10 (weight 0.02), 40 (0.1) and 90 (0.5) of them to
    tol=1e-3. The last before the gap is evaluated has rho = 1. On the host a sweep over the image makes
    `check_every` of them and evaluates the gap.

    Memory: f, the result u and the state's u and p are five arrays of the size of f, and on the host there
    is no other; threads work on about seventy rows of an image. On a CUDA device there are two of each pair
    of iterates, seven arrays in all.
    """
    batch = Batch.borrow(f, channel_axis, "f", coupled=coupled)
    images = batch.images
    check_stopping(tol, max_iterations, check_every)
    compiled = is_compiled(method, images)
    checks.one_of(algorithm, "algorithm", _ALGORITHMS)
    isotropic, huber = is_isotropic(variation), checks.nonnegative(huber, "huber")
    weights = as_weights(weight, batch.leading)
    check_range(images, "f", weight=weights, huber=huber)
    models = [Model(float(w), huber, isotropic) for w in weights]
    check_state(state, images, images.shape)
    stop = Stopping(tol, int(max_iterations), int(check_every))
    if isinstance(images, np.ndarray):
        reached, outcomes = host.solve_all(images, state, models, algorithm, stop, compiled=compiled)
    else:
        with on_stream_of(f):
            reached, outcomes = cuda.solve_all(images, state, models, algorithm, stop)
    return as_prox(batch.lend(reached.u.copy()), outcomes, batch.leading, reached)
