"""A map over the pixels as a picture in colour, alone or on top of the image it explains."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..arrays import AnyArray, hand_back
from ..errors import InputError
from .colour_maps import ColourMap, colour_map
from .pixels import Pixels, on_host, to_uint8

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601

# What is drawn unless a colour map is named: of maps without negative values, and of others.
_RISING, _AGAINST_FOR = "fire", "blue-red"

_FAR = 1e30  # what single precision holds, with room for what is made of it

_AT_ONCE = 2**20  # so many pixels are drawn together, which bounds the memory for large photographs

_UNSEEN = 128 / 255  # a place without a value, where there is no image to show


@overload
def heatmap(
    values: NDArray[Any],
    image: Any = ...,
    *,
    percentile: float = ...,
    colormap: str | ArrayLike | None = ...,
    alpha: float | None = ...,
) -> NDArray[np.uint8]: ...


@overload
def heatmap(
    values: AnyArray,
    image: Any = ...,
    *,
    percentile: float = ...,
    colormap: str | ArrayLike | None = ...,
    alpha: float | None = ...,
) -> AnyArray: ...


def heatmap(
    values: Any,
    image: Any = None,
    *,
    percentile: float = 99.0,
    colormap: str | ArrayLike | None = None,
    alpha: float | None = None,
) -> Any:
    """Draw a map over the pixels.

    Parameters
    ----------
    values : array, shape (N, H, W) or (H, W)
        Of any library. A map without negative values goes from black over red to yellow; one with some goes
        from blue (against) over white to red (for), with white at zero. NaN where there is no value: the
        image shows there, or mid-grey.
    image : array, shape (N, C, H, W) or (C, H, W), optional
        What the map was computed of, in [0, 1], C = 1 or 3: it shows in grey where the map is weak. To draw
        on a photograph of another size, bring the map to its coordinates with `to_original`.
    percentile : float
        Of |values| in one map, from which on the colour no longer changes: a few pixels are often a
        hundred times stronger than all others. 100 shows the full range.
    colormap : str or array of shape (K, 3), optional
        The colours: "fire", "gray", "hot", "jet", "viridis", "magma", "inferno" or "plasma"; "blue-red",
        "bwr" or "seismic", with zero in the middle; any other of matplotlib's, if that is installed; or
        colours at equal distances, in [0, 1]. Default: "fire", and "blue-red" of a map with negative values.
        Of such a map any colour map has zero in the middle.
    alpha : float, optional
        How strongly the map covers the image, in its own colours, in [0, 1] and alike everywhere; 0 is the
        image, 1 the map alone. Default: as strongly as the map is at each place, over the image in grey.

    Returns
    -------
    array, shape (N, H, W, 3) or (H, W, 3), uint8
        Of the library, and on the device, of `values`. Each map is scaled on its own, so that colours compare
        within a map only.

    Raises
    ------
    InputError
        The shapes do not fit, a map holds infinite values or nothing but NaN, the image is no floating point
        one in [0, 1], or a parameter is out of range. An AssumptionWarning says where the image lies far
        outside of [0, 1].
    UnknownNameError
        There is no such colour map.
    """
    maps = on_host(values, "a map").astype(np.float64)
    if maps.ndim not in (2, 3) or not maps.size:
        raise InputError(
            f"a map is an array (N, H, W) or (H, W) of finite numbers, not of shape {maps.shape}"
        )
    _check_values(maps)
    if not (checks.is_number(percentile) and 0 < percentile <= 100):
        checks.refuse(percentile, "percentile", "a number above 0 and up to 100")
    if alpha is not None and not (checks.is_number(alpha) and 0 <= alpha <= 1):
        checks.refuse(alpha, "alpha", "a number from 0 to 1, or None")
    if alpha is not None and image is None:
        raise InputError("alpha says how strongly a map covers an image; give image= as well")
    named = None if colormap is None else colour_map(colormap)
    grounds = (
        None if image is None else _ground(_in_unit(on_host(image, "the image")), maps.shape, alpha is None)
    )
    pictures = [
        _drawn(each, None if grounds is None else grounds[k], percentile, named, alpha)
        for k, each in enumerate(maps.reshape(-1, *maps.shape[-2:]))
    ]
    return hand_back(np.reshape(np.stack(pictures), (*maps.shape, 3)), values)


def _check_values(maps: NDArray[np.float64]) -> None:
    """InputError where a value is infinite, or a map has none at all."""
    if np.isinf(maps).any():
        raise InputError("a map holds infinite values; NaN may stand where there is no value")
    if np.isnan(maps).all(axis=(-2, -1)).any():
        raise InputError("a map holds nothing but NaN, so that there is nothing to draw")


def _in_unit(image: NDArray[Any]) -> NDArray[np.float32]:
    """The image in single precision; InputError unless it is one in [0, 1], a warning where it is far out."""
    if image.dtype.kind != "f":
        raise InputError(
            f"the image is an array of floating point numbers in [0, 1], not of {image.dtype}; divide by 255"
        )
    low, high = float(np.min(image, initial=0)), float(np.max(image, initial=0))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("the image holds NaN or infinite values")
    if max(-low, high) > _FAR:
        raise InputError(f"the image holds values from {low:.3g} to {high:.3g}, and images lie in [0, 1]")
    checks.say_far_outside("the image", low, high)
    return image.astype(np.float32)


def _drawn(
    values: NDArray[np.float64],
    ground: NDArray[np.float32] | None,
    percentile: float,
    named: ColourMap | None,
    alpha: float | None,
) -> Pixels:
    """One map in colour, (H, W, 3)."""
    size = np.abs(values[~np.isnan(values)])
    # most of a map may be exactly zero, and its percentile then too
    scale = np.percentile(size, percentile) or size.max() or 1.0
    signed = bool(np.nanmin(values) < 0)
    colours = named or colour_map(_AGAINST_FOR if signed else _RISING)
    centred = signed or colours.diverging
    picture = np.empty((*values.shape, 3), np.uint8)
    rows = max(1, _AT_ONCE // values.shape[1])
    for k in range(0, len(values), rows):
        part = slice(k, k + rows)
        t = np.clip(values[part] / scale, -1, 1)
        seen = ~np.isnan(t)
        t = np.where(seen, t, 0)
        colour = colours((t + 1) / 2 if centred else t)
        if ground is None:
            picture[part] = to_uint8(np.where(seen[..., None], colour, _UNSEEN))
            continue
        opacity = ((np.abs(t) if alpha is None else alpha) * seen)[..., None]
        picture[part] = to_uint8(opacity * colour + (1 - opacity) * ground[part])
    return picture


def _ground(image: NDArray[np.float32], shape: tuple[int, ...], grey: bool) -> NDArray[np.float32]:
    """What maps of a shape are drawn on, (N, H, W, 1) in grey or (N, H, W, 3)."""
    channels = image.shape[-3] if image.ndim == len(shape) + 1 else 0
    fits = channels > 0 and image.shape[:-3] + image.shape[-2:] == shape
    if fits and channels not in (1, 3):
        raise InputError(
            f"a map is drawn on an image of 1 or 3 channels, and this one has {channels}; give a picture of "
            "it, or no image"
        )
    if not fits:
        raise InputError(
            f"a map of shape {shape} does not belong to an image of shape {image.shape}; to_original(map, "
            "(height, width)) brings one to the size of a photograph that was fitted to a network"
        )
    pictures = np.moveaxis(image.reshape(-1, *image.shape[-3:]), -3, -1)
    if not grey or channels == 1:
        return pictures
    return np.asarray((pictures @ np.array(_LUMA, np.float32))[..., None])
