"""A map over the pixels as a picture in colour, alone or on top of the image it explains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import AnyArray, Array, hand_back
from ..errors import InputError
from .pixels import on_host, to_uint8

# Colours at equal distances of the strength, 0 to 1; between them they are mixed linearly.
_RISING = ((0.0, 0.0, 0.05), (0.35, 0.05, 0.45), (0.80, 0.20, 0.30), (0.98, 0.60, 0.10), (1.0, 1.0, 0.70))

_AGAINST_FOR = (
    (0.05, 0.20, 0.60),
    (0.45, 0.65, 0.90),
    (1.0, 1.0, 1.0),
    (0.95, 0.55, 0.45),
    (0.65, 0.05, 0.10),
)

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def heatmap(values: AnyArray, image: Any = None, *, percentile: float = 99.0) -> AnyArray:
    """Draw a map over the pixels.

    Parameters
    ----------
    values : array, shape (N, H, W) or (H, W)
        Of any library. A map without negative values goes from black over red to yellow; one with some goes
        from blue (against) over white to red (for), with white at zero.
    image : array, shape (N, C, H, W) or (C, H, W), optional
        What the map was computed of, in [0, 1], C = 1 or 3: it shows in grey where the map is weak.
    percentile : float
        Of |values| in one map, from which on the colour no longer changes: a few pixels are often a
        hundred times stronger than all others. 100 shows the full range.

    Returns
    -------
    array, shape (N, H, W, 3) or (H, W, 3), uint8
        Of the library, and on the device, of `values`. Each map is scaled on its own, so that colours compare
        within a map only.

    Raises
    ------
    InputError
        The shapes do not fit, a value is not finite, or the percentile is out of range.
    """
    maps = on_host(values, "a map").astype(np.float64)
    if maps.ndim not in (2, 3) or not maps.size or not np.isfinite(maps).all():
        raise InputError(
            f"a map is an array (N, H, W) or (H, W) of finite numbers, not of shape {maps.shape}"
        )
    if not (checks.is_number(percentile) and 0 < percentile <= 100):
        checks.refuse(percentile, "percentile", "a number above 0 and up to 100")
    grounds = None if image is None else _grey(on_host(image, "the image").astype(np.float64), maps.shape)
    pictures = [
        _drawn(each, None if grounds is None else grounds[k], percentile)
        for k, each in enumerate(maps.reshape(-1, *maps.shape[-2:]))
    ]
    return hand_back(to_uint8(np.reshape(pictures, (*maps.shape, 3))), values)


def _drawn(values: NDArray[np.float64], ground: Array | None, percentile: float) -> NDArray[np.float64]:
    """One map in colour, (H, W, 3) in [0, 1]."""
    size = np.abs(values)
    # most of a map may be exactly zero, and its percentile then too
    scale = np.percentile(size, percentile) or size.max() or 1.0
    t = np.clip(values / scale, -1, 1)
    colour = _mixed(_RISING, t) if values.min() >= 0 else _mixed(_AGAINST_FOR, (t + 1) / 2)
    if ground is None:
        return colour
    opacity = np.abs(t)[..., None]
    return np.asarray(opacity * colour + (1 - opacity) * ground[..., None])


def _mixed(colours: tuple[tuple[float, ...], ...], t: NDArray[np.float64]) -> NDArray[np.float64]:
    anchors = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(t, anchors, channel) for channel in zip(*colours, strict=True)], axis=-1)


def _grey(image: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The luma of images, (N, H, W)."""
    channels = image.shape[-3] if image.ndim == len(shape) + 1 else 0
    if channels not in (1, 3) or image.shape[:-3] + image.shape[-2:] != shape:
        raise InputError(f"a map of shape {shape} does not belong to an image of shape {image.shape}")
    weights = _LUMA if channels == 3 else (1.0,)
    grey = np.tensordot(image, weights, axes=(-3, 0))
    return np.asarray(grey.reshape(-1, *shape[-2:]))
