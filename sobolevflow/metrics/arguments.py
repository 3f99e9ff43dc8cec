"""What the measures take, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import beside, borrow_numbers, check_finite, namespace, shape_of
from ..errors import InputError

Floats = NDArray[np.float64]


def as_images(u: Any, name: str = "u") -> Floats:
    """Images (N, C, H, W) in float64, of CuPy where they lie on a device, of NumPy elsewhere.

    Raises
    ------
    InputError
        `u` is not floating point, not of that rank, or, on the host, not finite.
    """
    given = borrow_numbers(u, name)
    shape = given.shape
    if given.ndim == 3:
        given = given[None]
    if given.ndim != 4 or given.size == 0:
        raise InputError(f"{name} has shape {shape}; images have shape (N, C, H, W) or (C, H, W), not empty.")
    if not np.issubdtype(given.dtype, np.floating):
        raise InputError(f"{name} has dtype {given.dtype}; divide pictures of bytes by 255.")
    images = given.astype(np.float64)
    check_finite(images, name)
    return images


def as_pairs(u: Any, reference: Any) -> tuple[Floats, Floats]:
    """Images and their references, of one shape; a single reference serves all images."""
    images, others = as_images(u), as_images(reference, "reference")
    if images.shape[1:] != others.shape[1:] or len(others) not in (1, len(images)):
        raise InputError(f"u has shape {shape_of(u)} and reference {shape_of(reference)}; they must agree.")
    xp: Any = namespace(images)
    return images, xp.broadcast_to(beside(images, others), images.shape)
