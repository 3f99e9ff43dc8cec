"""Which numbers of a picture file are black and white: the range that becomes [0, 1].

A file states it by the type of its numbers, and more exactly by how many bits it says they have, or by a
smallest and largest value. Where that cannot be meant, something else is assumed, and a warning says what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import ImageError, warn

Range = tuple[float, float]
Asked = Range | Literal["auto"] | None  # what the caller says; None leaves it to the file

# By the kind and the bytes of a number; whole numbers with a sign or of more bits have no usual range.
OF_TYPES: dict[str, Range] = {"b1": (0, 1), "u1": (0, 255), "u2": (0, 65535)}
_DIM = 4096  # 16-bit values that all stay below are those of a 12-bit sensor, more often than not


def checked_range(value: Any) -> Asked:
    """What was given as ``range=``; InputError where it is neither a range nor "auto"."""
    if value is None or (isinstance(value, str) and value == "auto"):
        return value  # type: ignore[return-value]
    if not _is_range(value):
        checks.refuse(value, "range", "(low, high), two finite numbers with low < high, or 'auto'")
    low, high = value
    return float(low), float(high)


def _is_range(value: Any) -> TypeGuard[Sequence[float]]:
    if not (isinstance(value, tuple | list) or getattr(value, "ndim", 0) == 1) or len(value) != 2:
        return False
    return all(map(checks.is_number, value)) and value[0] < value[1]


def range_of(values: NDArray[Any], asked: Asked, stated: Range | None, name: str) -> Range:
    """The numbers of a picture that become 0 and 1.

    Parameters
    ----------
    values : array
        The picture, in the numbers of its file.
    asked : (low, high) or "auto", optional
        What the caller says; "auto" is from the smallest to the largest value.
    stated : (low, high), optional
        What the file says, beyond the type of its numbers.
    name : str
        Of the file, for messages.

    Raises
    ------
    ImageError
        Values are not finite, or are no real numbers.
    """
    check_numbers(values, name)
    if isinstance(asked, tuple):
        return asked
    if asked == "auto":
        if values.min() == values.max():
            warn(f"{name} holds one value, {values.min():.10g}, throughout, which was taken for black")
        return _extent(values)
    usual = stated or ((0.0, 1.0) if values.dtype.kind == "f" else OF_TYPES.get(values.dtype.str[1:]))
    if usual == OF_TYPES["u1"] and values.dtype == np.uint8:
        return usual
    return _unless_it_cannot_be_meant(values, usual, name)


def check_numbers(values: NDArray[Any], name: str) -> None:
    """ImageError unless values are real and finite."""
    if values.dtype.kind not in "buif":
        raise ImageError(f"{name} holds values of the type {values.dtype}; a picture has real numbers.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ImageError(f"{name} holds values that are not finite; replace NaN and infinity in it.")


def _unless_it_cannot_be_meant(values: NDArray[Any], usual: Range | None, name: str) -> Range:
    extent = _extent(values)
    least, most = values.min(), values.max()
    span = f"{least:.10g} to {most:.10g}"
    taken = "were taken for black and white; range=(low, high), --range LOW:HIGH, says otherwise"
    if usual is None:
        warn(f"{name} holds {_described(values.dtype)}, whose smallest and largest value, {span}, {taken}")
        return extent
    if least < usual[0] or most > usual[1]:
        what = f"{name} holds values outside of {usual[0]:g} to {usual[1]:g}"
        warn(f"{what}; their smallest and largest, {span}, {taken}")
        return extent
    if usual == OF_TYPES["u2"] and 0 < most < _DIM:
        bits = 8 if most < 256 else 12
        white = 2**bits - 1
        wanted = f"range=(0, {white}), --range 0:{white}, is that of {bits} bits"
        warn(f"{name} has 16 bits, but no value above {most}; 65535 was taken for white, {wanted}")
    return usual


def _described(dtype: np.dtype[Any]) -> str:
    sign = "signed" if dtype.kind == "i" else "unsigned"
    return f"{sign} {8 * dtype.itemsize}-bit integers"


def _extent(values: NDArray[Any]) -> Range:
    """From the smallest to the largest value; one picture of one value becomes 0."""
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + max(1.0, abs(low))


def in_unit(values: NDArray[Any], span: Range) -> NDArray[np.float32]:
    """Values as float32 with `span` as [0, 1], not clipped."""
    low, high = span
    if low == 0 and values.dtype.itemsize <= 2 and values.dtype.kind in "bu":
        return values.astype(np.float32) / np.float32(high)
    half = 0.5 if math.isinf(high - low) else 1.0  # so that the largest numbers of all have a difference
    scaled = (values.astype(np.float64) * half - low * half) / (high * half - low * half)
    return scaled.astype(np.float32)
