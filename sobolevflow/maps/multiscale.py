"""Multiscale normalisation of the gradient: every band of a Laplacian pyramid gets the same weight.

The pyramid is that of Burt and Adelson (IEEE Trans. Commun. 31, 1983); dividing each of its bands by its
standard deviation is what Mordvintsev did in DeepDream's notebook (Google, 2015) to let low frequencies
grow, of which gradients hold little. In arXiv:1805.00071 it stands in Table 2, among what smooths the update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .. import checks
from ..arrays import NOT_GIVEN, AnyArray, Array, ChannelsFirst, check_finite, namespace, on_stream_of
from ..named import Option, named
from .base import ChannelMap

_TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


@named(
    "operator", "multiscale", Option("levels", "bands of the pyramid (default: 4)", "count"), places=("K_f",)
)
@dataclass(frozen=True)
class Multiscale(ChannelMap):
    """Equalises the bands of each image's update; for the place of K_f.

    The update is split into a Laplacian pyramid, every band is divided by its standard deviation over all
    channels, and the bands are put together again. The result is brought to the mean absolute value of what
    came in, so that tau keeps its meaning: the operator is homogeneous, but not linear.

    Parameters
    ----------
    levels : int
        Bands beside the rest that is left at the coarsest size. An image that becomes a single pixel has
        fewer.
    """

    queues: ClassVar[bool] = True

    levels: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", checks.count(self.levels, "levels"))

    def __call__(self, g: AnyArray, *, channel_axis: int | None = NOT_GIVEN) -> AnyArray:
        """Equalise the updates `g`; it and the channel axis are what `maps.ChannelMap` says of a call."""
        with on_stream_of(g):
            view = ChannelsFirst.borrow(g, self._said(g, channel_axis), "g")
            check_finite(view.memory, "g")
            if view.axis is None:
                return view.lend(self._equalised(view.images[..., None, :, :])[..., 0, :, :])  # type: ignore[no-any-return]
            return view.lend(self._equalised(view.images))  # type: ignore[no-any-return]

    def _equalised(self, g: Array) -> Array:
        g = namespace(g).ascontiguousarray(g)  # sums depend on the order in memory, by their rounding
        return _scaled_as(g, collapse([_normalised(band) for band in pyramid(g, self.levels)]))


def pyramid(x: Array, levels: int) -> list[Array]:
    """Bands of images (..., H, W), from fine to coarse, the rest last; `collapse` is the exact inverse."""
    bands = []
    for _ in range(levels):
        if max(x.shape[-2:]) == 1:
            break
        coarse = _reduced(x)
        bands.append(x - _expanded(coarse, x.shape[-2:]))
        x = coarse
    return [*bands, x]


def collapse(bands: list[Array]) -> Array:
    """The images of which these are the bands."""
    *finer, x = bands
    for band in reversed(finer):
        x = band + _expanded(x, band.shape[-2:])
    return x


def _reduced(x: Array) -> Array:
    """Smoothed, and every second row and column left out."""
    return _smoothed(_smoothed(x, -1)[..., ::2], -2)[..., ::2, :]


def _expanded(x: Array, size: tuple[int, ...]) -> Array:
    """Every row and column twice as far from the next, and what is between interpolated by the same taps."""
    xp: Any = namespace(x)
    wide = xp.zeros((*x.shape[:-2], *size), x.dtype)
    there = xp.zeros(size, x.dtype)
    wide[..., ::2, ::2], there[::2, ::2] = x, 1
    # near the border, and between pixels, the taps that meet a pixel do not add up to the same everywhere
    spread: Array = _smoothed(_smoothed(wide, -1), -2) / _smoothed(_smoothed(there, -1), -2)
    return spread


def _smoothed(x: Array, axis: int) -> Array:
    """Convolved with the five taps along an axis, mirrored at the border."""
    xp: Any = namespace(x)
    x = xp.moveaxis(x, axis, -1)
    n = x.shape[-1]
    padded = xp.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 2)], mode="symmetric")
    parts = [tap * padded[..., k : k + n] for k, tap in enumerate(_TAPS)]
    smoothed: Array = xp.moveaxis(sum(parts[1:], parts[0]), -1, axis)
    return smoothed


def _normalised(band: Array) -> Array:
    """Each image's band divided by its standard deviation; a band that does not vary stays as it is."""
    spread = band.astype(np.float64).std(axis=(-3, -2, -1), keepdims=True)
    normalised: Array = band / namespace(band).where(spread > 0, spread, 1).astype(band.dtype)
    return normalised


def _scaled_as(g: Array, x: Array) -> Array:
    """x with the mean absolute value of g, image by image."""
    sizes = [abs(a).astype(np.float64).mean(axis=(-3, -2, -1), keepdims=True) for a in (g, x)]
    ratio = sizes[0] / namespace(g).where(sizes[1] > 0, sizes[1], 1)
    scaled: Array = x * ratio.astype(x.dtype)
    return scaled
