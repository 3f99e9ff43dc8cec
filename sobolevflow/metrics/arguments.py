"""What the measures take, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import beside, borrow_numbers, check_finite, namespace, shape_of, to_host
from ..errors import InputError
from ..network import Network

Floats = NDArray[np.float64]


def images_for(net: Any, u: Any) -> Any:
    """Images that a network takes, on the host; InputError where either is none."""
    if not callable(getattr(net, "check_image", None)):
        checks.refuse(net, "net", "a network, as sobolevflow.load gives it")
    return to_host(net.check_image(u))


def checked_layer(net: Network, layer: Any) -> str:
    """The name of the layer that is meant; InputError unless it is a name."""
    return net.layer_name(checks.text(layer, "layer", "the name of a layer of the network"))


def checked_range(value: Any) -> float:
    """`value`; InputError unless it is a largest difference between values that can be squared."""
    if not 1e-100 <= checks.positive(value, "data_range") <= 1e100:
        checks.refuse(value, "data_range", "from 1e-100 to 1e100, since it is squared")
    return float(value)


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
