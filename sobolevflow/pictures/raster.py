"""A picture as its file has it: numbers of any type, and what the file says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import warn
from .ranges import Range


@dataclass(frozen=True)
class Raster:
    """A picture out of a file, before its numbers are brought to [0, 1].

    Parameters
    ----------
    values : (H, W, C) array
        In the numbers of the file; 1 is grey, 3 are RGB, and other numbers of planes have no colour.
    alpha : (H, W) float32 array, optional
        In [0, 1]; the colours are not multiplied by it.
    stated : (low, high), optional
        The range that the file states, where it is not that of the type of its values.
    inverted : bool
        Whether 0 is white, as in some TIFF files.
    profile : bytes, optional
        The colour profile, where the colours are not sRGB yet.
    extra : int
        How many planes at the end are neither colour nor alpha.
    """

    values: NDArray[Any]
    alpha: NDArray[np.float32] | None = None
    stated: Range | None = None
    inverted: bool = False
    profile: bytes | None = None
    extra: int = 0

    def turned(self, orientation: int) -> Raster:
        """The picture upright, by the orientation of EXIF and TIFF, 1 to 8."""
        alpha = None if self.alpha is None else _turned(self.alpha, orientation)
        return replace(self, values=_turned(self.values, orientation), alpha=alpha)


def _turned(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def with_alpha(
    planes: NDArray[Any], at: int, premultiplied: bool
) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """The other planes of (H, W, C), divided by alpha where they are premultiplied, and alpha in [0, 1]."""
    alpha, colours = planes[..., at], np.delete(planes, at, axis=-1)
    most = np.iinfo(planes.dtype).max if planes.dtype.kind in "iu" else 1
    alpha = (alpha.astype(np.float64) / most).clip(0, 1)
    if premultiplied:
        opacity = alpha[..., None]
        divided = np.divide(colours, opacity, where=opacity > 0, out=np.zeros(colours.shape))
        colours = divided.clip(None, most) if most != 1 else divided
    return colours, alpha.astype(np.float32)


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
