"""Arrays in NumPy's own files, .npy and .npz, as pictures: any number of planes, any type of number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, warn
from ..files import arrays_in
from .raster import Raster, which_page

_ARRAY = b"\x93NUMPY"
_ARCHIVE = b"PK\x03\x04"


def is_numpy(path: Path) -> bool:
    """Whether a file begins as those of NumPy do; an archive is one where its name says so."""
    with path.open("rb") as file:
        head = file.read(6)
    return head == _ARRAY or (head.startswith(_ARCHIVE) and path.suffix.lower() == ".npz")


def read(path: Path, page: int | None, name: str, channels: int | None = None) -> Raster:
    """An array of planes; errors are NumPy's.

    Parameters
    ----------
    page : int, optional
        Which image of a batch, (N, C, H, W) or (N, H, W, C).
    channels : int, optional
        How many are wanted, by which (C, H, W) is told from (H, W, C).
    """
    array = _loaded(path, name)
    if array.ndim == 4:
        array = array[which_page(page, len(array), name)]
    elif page is not None:
        which_page(page, 1, name)
    if array.ndim == 2:
        return Raster(array[..., None])
    if array.ndim != 3:
        raise ImageError(
            f"{name} holds an array of shape {array.shape}; a picture is (H, W), (C, H, W) or (H, W, C), "
            "several are (N, C, H, W) or (N, H, W, C)."
        )
    return Raster(np.moveaxis(array, _channel_axis(array.shape, channels, name), -1))


def _loaded(path: Path, name: str) -> NDArray[Any]:
    found = arrays_in(path)
    if isinstance(found, np.ndarray):
        return found
    if len(found) != 1:
        names = ", ".join(map(repr, found))
        raise ImageError(f"{name} holds several arrays, or none ({names}); write the one meant as .npy.")
    return next(iter(found.values()))


def _channel_axis(shape: tuple[int, ...], wanted: int | None, name: str) -> int:
    """The first or the last: the one of as many channels as are wanted, of 1 or 3, or the shorter one."""
    first, last = ((shape[k] != wanted, shape[k] not in (1, 3), shape[k]) for k in (0, 2))
    if first == last:
        warn(f"{name} has the shape {shape}, of which the first axis was taken for the channels")
    return 0 if first <= last else 2
