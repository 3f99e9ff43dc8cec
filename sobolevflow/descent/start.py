"""What a descent starts from where no picture is given: grey, with noise that is white or natural.

A filter K_f that makes updates smooth never removes from the picture what it does not pass, so that white
noise of the start would stay in it as grain. Natural noise is smooth itself, and has the colours of
photographs.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from ..arrays import Array
from ..filters import Sobolev
from ..maps import NaturalColour

NOISE = {"natural": 8 / 255, "grey": 8 / 255, "normal": 1.0}
"""The starts that have a name, with the standard deviation of their noise."""

_COARSENESS = 1000 / 224**2  # gamma of natural noise, for a picture of side 1
_SMOOTHEST = 400.0  # gamma of natural noise at least, in pixels squared: less leaves grain in small pictures


def drawn(start: str, rng: Generator, shape: tuple[int, ...], noise: float) -> Array:
    """One image (C, H, W) to start from, by the name of the start."""
    if start == "normal":
        return np.asarray(rng.standard_normal(shape, dtype=np.float32))
    return grey(rng, shape, noise) if start == "grey" else natural(rng, shape, noise)


def grey(rng: Generator, shape: tuple[int, ...], noise: float) -> Array:
    """Mid-grey with independent normal noise of standard deviation `noise`, float32, within [0, 1]."""
    return (0.5 + noise * rng.standard_normal(shape, dtype=np.float32)).clip(0, 1).astype(np.float32)


def natural(rng: Generator, shape: tuple[int, ...], noise: float) -> Array:
    """Mid-grey with smooth noise of the colours of photographs.

    White noise, filtered twice by S = (Id - gamma Laplacian)^-1 with a gamma of 1000 at 224 pixels that grows
    with the square of the side: once would leave a share of high frequencies that can still be seen.

    Parameters
    ----------
    rng : Generator
        The same normal numbers are drawn of it as for `grey`.
    shape : (C, H, W)
    noise : float
        Standard deviation over pixels and channels.

    Returns
    -------
    (C, H, W) float32 array
        Within [0, 1].
    """
    S = Sobolev(gamma=max(_COARSENESS * min(shape[-2:]) ** 2, _SMOOTHEST))
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = np.asarray(S(S(white)), np.float64)
    rows = smooth.reshape(len(smooth), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    coloured = _mixing(rows) @ rows
    deviation = float(coloured.std())
    scale = noise / deviation if deviation > 0 else 0.0  # one pixel has a mean alone
    picture = 0.5 + (scale * coloured).reshape(shape)
    return np.asarray(picture.clip(0, 1), np.float32)


def _mixing(rows: Array) -> Array:
    """The matrix after which channels vary together as in photographs; of other bands, alike and apart."""
    channels = len(rows)
    values, axes = np.linalg.eigh(np.cov(rows, bias=True).reshape(channels, channels))
    floor = max(float(values.max()), 0.0) * 1e-9
    whitening = (
        axes @ np.diag(np.where(values > floor, 1 / np.sqrt(np.maximum(values, floor or 1.0)), 0.0)) @ axes.T
    )
    colours = NaturalColour().matrix
    wanted = colours if channels == len(colours) else np.eye(channels)
    return np.asarray(np.linalg.cholesky(wanted) @ whitening)
