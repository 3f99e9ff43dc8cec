"""What a descent starts from where no picture is given: grey, with noise that is white or natural.

A filter K_f that makes updates smooth never removes from the picture what it does not pass, so that white
noise of the start would stay in it as grain. Natural noise is of what K_f does pass.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from ..arrays import Array
from ..filters import Identity, Sobolev
from ..maps import NaturalColour, told
from ..schemes import Scheme

NOISE = {"natural": 16 / 255, "grey": 8 / 255, "normal": 1.0}
"""The starts that have a name, with the standard deviation of their noise."""

_COARSENESS = 1000 / 224**2  # gamma of natural noise where K_f filters nothing, for a picture of side 1


def drawn(start: str, rng: Generator, shape: tuple[int, ...], noise: float, scheme: Scheme) -> Array:
    """One image (C, H, W) to start from, by the name of the start."""
    if start == "normal":
        return np.asarray(rng.standard_normal(shape, dtype=np.float32))
    if start == "grey":
        return grey(rng, shape, noise)
    side = min(shape[-2:])
    plain = isinstance(scheme.K_f, Identity)
    return natural(rng, shape, noise, Sobolev(gamma=_COARSENESS * side**2) if plain else scheme.K_f)


def grey(rng: Generator, shape: tuple[int, ...], noise: float) -> Array:
    """Mid-grey with independent normal noise of standard deviation `noise`, float32, within [0, 1]."""
    return (0.5 + noise * rng.standard_normal(shape, dtype=np.float32)).clip(0, 1).astype(np.float32)


def natural(rng: Generator, shape: tuple[int, ...], noise: float, K_f: Callable[[Array], Array]) -> Array:
    """Mid-grey with noise of the spectrum that a filter passes, and of the colours of photographs.

    Parameters
    ----------
    rng : Generator
        The same normal numbers are drawn of it as for `grey`.
    shape : (C, H, W)
    noise : float
        Standard deviation over pixels and channels.
    K_f : callable
        Applied twice: what it passes of white noise has a share of high frequencies that can still be seen.

    Returns
    -------
    (C, H, W) float32 array
        Within [0, 1].
    """
    white = rng.standard_normal((1, *shape), dtype=np.float32)
    smooth = np.asarray(told(K_f, 1)(told(K_f, 1)(white))[0], np.float64)
    rows = smooth.reshape(len(smooth), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    coloured = _mixing(rows) @ rows
    deviation = float(coloured.std())
    scale = noise / deviation if deviation > 0 else 0.0  # a filter may pass the mean alone
    picture = 0.5 + (scale * coloured).reshape(shape)
    return np.asarray(picture.clip(0, 1), np.float32)


def _mixing(rows: Array) -> Array:
    """The matrix after which channels vary together as in photographs; of other bands, alike and apart."""
    channels = len(rows)
    values, axes = np.linalg.eigh(np.cov(rows).reshape(channels, channels))
    floor = max(float(values.max()), 0.0) * 1e-9
    whitening = (
        axes @ np.diag(np.where(values > floor, 1 / np.sqrt(np.maximum(values, floor or 1.0)), 0.0)) @ axes.T
    )
    colours = NaturalColour().matrix
    wanted = colours if channels == len(colours) else np.eye(channels)
    return np.asarray(np.linalg.cholesky(wanted) @ whitening)
