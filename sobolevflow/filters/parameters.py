"""The parameters that the smoothing filters share: types, checks, defaults, options of the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

from .. import checks
from ..errors import InputError
from ..kernels import pixels
from ..named import Option

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

LARGEST_SIZE = 8191
"""Pixels across a window that is written down, which take half a GiB."""

DEFAULT_SIZE = 11  # the paper's filter size in most of its experiments

SIZE = Option(
    "size",
    "window of N x N pixels, odd; alone it sets the strength (default: 11, beside a strength none)",
    "count",
)
GAMMA = Option("gamma", "strength in pixels squared; two: down, across", "strength")
BOUNDARY = Option("boundary", "what lies beyond the border (default: reflect)", "text", BOUNDARIES)
METHOD = Option("method", "how it is computed (default: auto)", "text", METHODS)

NO_SMOOTHING = "No smoothing is Identity()."


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
    value = checks.count(size, "size", least=3, remedy="It is odd, since a filter has a centre pixel.")
    if value > LARGEST_SIZE:
        bits = 2 * value.bit_length() + 3  # of size^2 numbers of 8 bytes
        checks.refuse(
            value,
            "size",
            f"at most {LARGEST_SIZE}, since such a kernel takes some 2^{bits} bytes",
            "A strength without a size is the whole kernel, which need not be written down.",
        )
    if value % 2 == 0:
        checks.refuse(value, "size", "odd, since a filter has a centre pixel", f"Nearest: {value + 1}.")
    return value


def strength(value: object, name: str) -> Strength:
    """`value` as a float or a pair of floats (y, x); a pair of equals is the one number they are.

    Raises
    ------
    InputError
        Unless it is a finite number above zero, or a tuple or list of two.
    """
    if not isinstance(value, tuple | list):
        return checks.positive(value, name, remedy=NO_SMOOTHING)
    if len(value) != 2:
        raise InputError(
            f"{name} is {checks.shown(value)}; give one number for both axes, or a pair: ({name}_y, "
            f"{name}_x)."
        )
    along_y, along_x = (
        checks.positive(v, f"{name}_{axis}", remedy=NO_SMOOTHING) for v, axis in zip(value, "yx", strict=True)
    )
    return along_y if along_y == along_x else (along_y, along_x)


def per_axis(strength: Strength) -> tuple[float, float]:
    """The strength along y and along x."""
    return strength if isinstance(strength, tuple) else (strength, strength)
