"""Checks and defaults of the parameters that the smoothing filters share."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from ..errors import InputError, UnknownNameError, did_you_mean
from ..kernels import pixels

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Boundary: TypeAlias = Literal["reflect", "periodic", "zero"]
Method: TypeAlias = Literal["auto", "fir", "dense", "exact"]
Strength: TypeAlias = float | tuple[float, float]
"""gamma or sigma: one number for both axes, or one for y and one for x."""

BOUNDARIES: tuple[str, ...] = get_args(Boundary)
CODES: dict[Boundary, int] = {
    "reflect": pixels.REFLECT,
    "periodic": pixels.PERIODIC,
    "zero": pixels.ZERO,
}
"""The boundaries as `kernels.pixels` numbers them."""
METHODS: tuple[str, ...] = get_args(Method)
_Name = TypeVar("_Name", bound=str)

DEFAULT_SIZE = 11  # the paper's filter size in most of its experiments


def resolve(
    size: int | None,
    strength: Strength | None,
    method: Method,
    *,
    fitted: Callable[[int], float],
    adequate: Callable[[Strength], int],
) -> tuple[int | None, Strength, Method]:
    """Fill in what the caller of a filter left open.

    Parameters
    ----------
    size, strength, method
        As given: any of the first two may be None, `method` may be "auto". `strength` is gamma or sigma.
    fitted
        The strength that fits a support of the given size.
    adequate
        The size that truncates a kernel of the given strength without visible loss.

    Returns
    -------
    tuple
        (size, strength, method) where method is "fir", "dense" or "exact", strength is a number or a
        pair, and size is None only where an exact filter was asked for by its strength alone.
    """
    if strength is None:
        size = DEFAULT_SIZE if size is None else size
        strength = fitted(size)
    if method == "auto":
        method = "exact" if size is None else "fir"
    if size is None and method != "exact":
        size = adequate(strength)
    return size, strength, method


def odd_size(size: object) -> int:
    """`size` as an int; InputError unless it is an odd integer of at least 3."""
    if isinstance(size, bool) or not isinstance(size, numbers.Integral):
        raise InputError(f"size is {size!r}; it must be an odd integer, 3 or more.")
    value = int(size)
    if value < 3 or value % 2 == 0:
        raise InputError(
            f"size is {value}; a filter has a centre pixel, so its size must be odd and at least 3 "
            f"(nearest: {max(3, value + 1 - value % 2)})."
        )
    return value


def positive(value: object, name: str) -> float:
    """`value` as a float; InputError unless it is a finite number above zero."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"{name} is {value!r}; it must be a number above zero.")
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        raise InputError(
            f"{name} is {number!r}; it must be finite and above zero. No smoothing is Identity()."
        )
    return number


def strength(value: object, name: str) -> Strength:
    """`value` as a float or a pair of floats (y, x); a pair of equals is the one number they are.

    Raises
    ------
    InputError
        Unless it is a finite number above zero, or a tuple or list of two.
    """
    if not isinstance(value, tuple | list):
        return positive(value, name)
    if len(value) != 2:
        raise InputError(
            f"{name} is {value!r}; give one number for both axes, or a pair: ({name}_y, {name}_x)."
        )
    along_y, along_x = (positive(v, f"{name}_{axis}") for v, axis in zip(value, "yx", strict=True))
    return along_y if along_y == along_x else (along_y, along_x)


def per_axis(strength: Strength) -> tuple[float, float]:
    """The strength along y and along x."""
    return strength if isinstance(strength, tuple) else (strength, strength)


def manifest_entry(f: DataclassInstance) -> dict[str, Any]:
    """Name and fields of a filter as JSON holds them, pairs as lists."""
    fields = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(f).items()}
    return {"filter": type(f).__name__, **fields}


def choice(value: _Name, name: str, known: tuple[str, ...]) -> _Name:
    """`value` if it is one of the `known` names; UnknownNameError with near matches otherwise."""
    if not isinstance(value, str) or value not in known:
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise UnknownNameError(f"{name} is {value!r}; known are {', '.join(map(repr, known))}.{hint}")
    return value
