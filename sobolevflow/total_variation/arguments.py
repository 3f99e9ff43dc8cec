"""What the functions of total variation take, checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arrays import Array, namespace
from ..errors import InputError, UnknownNameError, did_you_mean
from .solution import State

Floats = NDArray[np.float64]

METHODS = ("auto", "numba", "reference")
VARIATIONS = ("isotropic", "anisotropic")


def as_weights(weight: ArrayLike, leading: tuple[int, ...], name: str = "weight") -> Floats:
    """A number for each image, (N,) float64."""
    try:
        given = np.asarray(weight, np.float64)
        weights = np.broadcast_to(given, leading).ravel()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} {weight!r} is neither a number nor an array of numbers that broadcasts to the axes "
            f"{leading} that count the images."
        ) from error
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise InputError(
            f"{name} is {weight!r}; it must be finite and not negative (0 leaves the image as it is)."
        )
    return weights


def check_stopping(tol: float, max_iterations: int, check_every: int) -> None:
    """InputError unless these can end an iteration."""
    if not (np.isfinite(tol) and tol > 0):
        raise InputError(f"tol is {tol!r}; it must be finite and above zero, e.g. 1e-3.")
    check_count("max_iterations", max_iterations)
    check_count("check_every", check_every)


def check_count(name: str, count: int) -> int:
    """`count`; InputError unless it is an integer of at least one."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InputError(f"{name} is {count!r}; it must be an integer of at least 1.")
    return int(count)


def check_nonnegative(name: str, number: float) -> float:
    """`number`; InputError unless it is finite and not negative."""
    if not (np.isfinite(number) and number >= 0):
        raise InputError(f"{name} is {number!r}; it must be finite and not negative, e.g. 0.01.")
    return float(number)


def check_kind(variation: str, huber: float) -> None:
    """InputError or UnknownNameError unless `prox` takes these."""
    is_isotropic(variation)
    check_nonnegative("huber", huber)


def is_isotropic(variation: str) -> bool:
    """Whether it is "isotropic" rather than "anisotropic"."""
    return check_name("variation", variation, VARIATIONS) == "isotropic"


def check_name(what: str, name: str, known: tuple[str, ...]) -> str:
    """`name`; UnknownNameError unless it is one of those known."""
    if name not in known:
        raise UnknownNameError(
            f"{what} is {name!r}; known are {', '.join(map(repr, known))}.{did_you_mean(str(name), known)}"
        )
    return name


def check_state(state: State | None, images: Array, shape: tuple[int, ...]) -> None:
    """InputError unless `state`, if any, has primal variables of a shape for `images` (N, C, H, W)."""
    if state is None:
        return
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
