"""Forward differences of images and the divergence that is their negative adjoint.

Both use zero flux across the border (Neumann), so that ``divergence(gradient(u))`` is the 5-point
Laplacian with half-sample reflection.
"""

from __future__ import annotations

import numpy as np

from .arrays import Array, namespace


def gradient(u: Array) -> Array:
    """Forward differences along the last two axes.

    Parameters
    ----------
    u
        Shape (..., H, W).

    Returns
    -------
    ndarray
        Shape (2, ..., H, W), dtype of `u`: u[i + 1, j] - u[i, j] and u[i, j + 1] - u[i, j], which are
        0 in the last row and the last column respectively.
    """
    p: Array = namespace(u).zeros((2, *u.shape), u.dtype)
    np.subtract(u[..., 1:, :], u[..., :-1, :], out=p[0, ..., :-1, :])
    np.subtract(u[..., 1:], u[..., :-1], out=p[1, ..., :-1])
    return p


def divergence(p: Array) -> Array:
    """Backward differences, summed: the negative adjoint of `gradient`.

    <gradient(u), p> = -<u, divergence(p)> for all u and p. What p holds where `gradient` is always 0
    (last row of p[0], last column of p[1]) has no influence.

    Parameters
    ----------
    p
        Shape (2, ..., H, W).

    Returns
    -------
    ndarray
        Shape (..., H, W), dtype of `p`.
    """
    d: Array = namespace(p).zeros(p.shape[1:], p.dtype)
    down, right = p[0, ..., :-1, :], p[1, ..., :-1]
    d[..., :-1, :] += down
    d[..., 1:, :] -= down
    d[..., :-1] += right
    d[..., 1:] -= right
    return d
