"""The scale of a gradient: the mean of its absolute values, image by image.

Raw gradients differ by orders of magnitude from network to network and from layer to layer; divided by their
mean absolute value, one step length tau suits them all (the convention of DeepDream and of its descendants).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..arrays import Array, namespace
from ..maps import told

# Below this a mean |g| counts as zero: its reciprocal would overflow float32.
_TINY = float(np.finfo(np.float32).tiny)


def mean_abs(g: Array, seen: float = 1.0) -> Array:
    """Mean absolute value of each image of a batch.

    Parameters
    ----------
    g : (N, C, H, W) array
        A batch of gradients.
    seen : float
        The fraction of the H x W pixels that the network looked at. Outside a crop the gradient is zero, and
        those zeros are no part of the mean: it is taken over the pixels that were seen.

    Returns
    -------
    (N,) float64 array
        Zero where the gradient vanishes, or is too small for its reciprocal to be a float32.
    """
    mean = abs(g).mean(axis=(1, 2, 3), dtype=np.float64) / seen
    scale: Array = namespace(g).where(mean < _TINY, 0.0, mean)
    return scale


def unit_mean(g: Array, seen: float = 1.0) -> Array:
    """`g` with every image divided by its `mean_abs`; an image whose gradient is zero stays zero."""
    xp, mean = namespace(g), mean_abs(g, seen)
    scale = xp.where(mean > 0, 1.0, 0.0) / xp.where(mean > 0, mean, 1.0)
    normalised: Array = g * scale.astype(g.dtype)[:, None, None, None]
    return normalised


@dataclass(frozen=True)
class Normalised:
    """A filter whose output is divided by its mean absolute value, image by image.

    As K_f of a scheme this is the normalisation *after* filtering: equation (18) stays as it is.

    Parameters
    ----------
    smooth : callable
        The filter, from (N, C, H, W) to the same.
    seen : float
        As in `mean_abs`.
    """

    takes_channel_axis: ClassVar[bool] = True

    smooth: Callable[[Array], Array]
    seen: float = 1.0

    def __call__(self, g: Array, *, channel_axis: int | None = 1) -> Array:
        """Filter `g`, then normalise it."""
        return unit_mean(told(self.smooth, channel_axis)(g), self.seen)
