"""What the functions of total variation take, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..arrays import Array, borrow_numbers, namespace, to_host
from ..errors import InputError
from .solution import State

Floats = NDArray[np.float64]

_METHODS = ("auto", "numba", "reference")
_VARIATIONS = ("isotropic", "anisotropic")


def as_weights(weight: ArrayLike, leading: tuple[int, ...], name: str = "weight") -> Floats:
    """A number for each image, (N,) float64."""
    try:
        given = to_host(borrow_numbers(weight, name)).astype(np.float64)
        weights = np.broadcast_to(given, leading).ravel()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}, {checks.shown(weight)}, is neither a number nor an array of numbers that broadcasts to "
            f"the axes {leading} that count the images."
        ) from error
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(
            f"{name} is {checks.shown(weight)}; it must be finite and not negative (0 leaves the image as it "
            "is)."
        )
    return weights


def check_range(images: Array, name: str, **numbers: float | Floats) -> None:
    """InputError unless images of NumPy, and numbers in their unit, can be squared in their dtype.

    Zeros are left out; those of a device are not looked at, as they would have to be waited for.
    """
    most = 2.0 ** (int(np.finfo(images.dtype).maxexp) // 2 - 4)
    extremes: dict[str, Any] = {}
    if isinstance(images, np.ndarray):
        extremes[name] = max(float(images.max()), -float(images.min()))
    extremes |= numbers
    for which, value in extremes.items():
        sizes = np.atleast_1d(np.asarray(value, np.float64))
        sizes = sizes[sizes != 0]
        if sizes.size and not (1 / most <= sizes.min() and sizes.max() <= most):
            worst = sizes.max() if sizes.max() > most else sizes.min()
            raise InputError(
                f"{which} is as large as {worst:.3g}; in {images.dtype} it must be 0 or from "
                f"{1 / most:.1e} to {most:.1e}, since it is squared. Multiply the image, weight and huber by "
                f"one number, and divide the result by it."
            )


def check_stopping(tol: float, max_iterations: int, check_every: int) -> None:
    """InputError unless these can end an iteration."""
    checks.positive(tol, "tol", remedy="1e-3 is a start.")
    checks.count(max_iterations, "max_iterations")
    checks.count(check_every, "check_every")


def is_compiled(method: str, images: Array) -> bool:
    """Whether `method` asks for compiled kernels; InputError for the reference where it cannot be had."""
    compiled = checks.one_of(method, "method", _METHODS) != "reference"
    if not compiled and not isinstance(images, np.ndarray):
        raise InputError(
            'method="reference" is for arrays on the host; leave it out for those on a CUDA device.'
        )
    return compiled


def check_kind(variation: str, huber: float) -> None:
    """InputError or UnknownNameError unless `prox` takes these."""
    is_isotropic(variation)
    checks.nonnegative(huber, "huber")


def is_isotropic(variation: str) -> bool:
    """Whether it is "isotropic" rather than "anisotropic"."""
    return checks.one_of(variation, "variation", _VARIATIONS) == "isotropic"


def check_state(state: State | None, images: Array, shape: tuple[int, ...]) -> None:
    """InputError unless `state`, if any, has primal variables of a shape for `images` (N, C, H, W)."""
    if state is None:
        return
    if not isinstance(state, State):
        checks.refuse(state, "state", "the state of an earlier result, or None")
    if state.u.shape != shape or state.u.dtype != images.dtype:
        raise InputError(
            f"state has variables {state.u.shape} {state.u.dtype}, but f, of images {images.shape} "
            f"{images.dtype} as (N, C, H, W), takes {shape}. Start without a state when shape, dtype, "
            f"channel_axis or function change."
        )
    if namespace(state.u) is not namespace(images):
        raise InputError(
            "state and f are on different devices. Start without a state where f changes device."
        )
