"""A picture as its file has it: numbers of any type, and what the file says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import warn
from .ranges import OF_TYPES, Asked, Range, check_numbers


@dataclass(frozen=True)
class Raster:
    """A picture out of a file, before its numbers are brought to [0, 1].

    Parameters
    ----------
    values : (H, W, C) array
        In the numbers of the file; 1 is grey, 3 are RGB, and other numbers of planes have no colour.
    alpha : (H, W) array, optional
        In the numbers of the file, or in [0, 1] in floating point.
    stated : (low, high), optional
        The range that the file states, where it is not that of the type of its values.
    inverted : bool
        Whether 0 is white, as in some TIFF files.
    profile : bytes, optional
        The colour profile, where the colours are not sRGB yet.
    extra : int
        How many planes at the end are neither colour nor alpha.
    premultiplied : bool
        Whether the colours are multiplied by alpha.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None = None
    stated: Range | None = None
    inverted: bool = False
    profile: bytes | None = None
    extra: int = 0
    premultiplied: bool = False

    def turned(self, orientation: int) -> Raster:
        """The picture upright, by the orientation of EXIF and TIFF, 1 to 8."""
        alpha = None if self.alpha is None else _turned(self.alpha, orientation)
        return replace(self, values=_turned(self.values, orientation), alpha=alpha)

    def straight(self, asked: Asked, name: str) -> Raster:
        """With alpha as float32 in [0, 1], and colours that are not multiplied by it.

        Parameters
        ----------
        asked : (low, high) or "auto", optional
            The range that the caller says.
        name : str
            Of the file, for messages.

        Raises
        ------
        ImageError
            Alpha is not finite, or no real number.
        """
        if self.alpha is None:
            return self
        check_numbers(self.alpha, name)
        opaque = _opaque(self.alpha, asked, self.stated, name)
        alpha, values = (self.alpha.astype(np.float64) / opaque).clip(0, 1), self.values
        if self.premultiplied:
            opacity = alpha[..., None]
            values = np.divide(values, opacity, where=opacity > 0, out=np.zeros(values.shape))
            if self.values.dtype.kind != "f":
                values = values.clip(None, opaque)
        return replace(self, values=values, alpha=alpha.astype(np.float32), premultiplied=False)


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _opaque(alpha: NDArray[Any], asked: Asked, stated: Range | None, name: str) -> float:
    """The number of alpha through which nothing is seen; where no one says, the largest, and a warning."""
    most = float(alpha.max(initial=0))
    white = asked[1] if isinstance(asked, tuple) else math.nan
    usual = OF_TYPES.get(alpha.dtype.str[1:])
    if usual is not None:  # a range that is asked for may be one of contrast, unless it is one of whole bits
        if most <= white and math.log2(white + 1).is_integer():
            return white
        return stated[1] if stated and most <= stated[1] else usual[1]
    if alpha.dtype.kind == "f" and most <= 1:
        return 1.0
    if most <= white:
        return white
    if alpha.dtype.kind == "f" or most < np.iinfo(alpha.dtype).max:
        warn(f"{name} does not say which alpha is opaque; the largest, {most:.10g}, was taken for that")
    return most if most > 0 else 1.0


def which_page(page: int | None, count: int, name: str, *, parts: bool = False) -> int:
    """The page to read; the first, and a warning, where there are several and none was asked for.

    Parameters
    ----------
    parts : bool
        Whether the others are parts of the first, of which nothing need be said.

    Raises
    ------
    InputError
        There is no such page.
    """
    if page is None:
        if count > 1 and not parts:
            warn(f"page 0 of the {count} pages of {name} was read; page=, --page, reads another")
        return 0
    number = checks.count(page, "page", least=0)
    if number >= count:
        there = "is only page 0" if count == 1 else f"are {count} pages, from 0 to {count - 1}"
        checks.refuse(page, "page", f"one of those that {name} has: there {there}")
    return number
