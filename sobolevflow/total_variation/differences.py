"""Forward differences of images and of fields of slopes, with their adjoints, as arrays of any library.

Those of images use zero flux across the border (Neumann), so that ``divergence(gradient(u))`` is the 5-point
Laplacian with half-sample reflection.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, lending, namespace
from ..errors import InputError

_SQRT_HALF = 0.5**0.5


@lending("u", axes=2)
def gradient(u: Array) -> Array:
    """Forward differences along the last two axes.

    Parameters
    ----------
    u
        Shape (..., H, W).

    Returns
    -------
    array
        Shape (2, ..., H, W), dtype of `u`: u[i + 1, j] - u[i, j] and u[i, j + 1] - u[i, j], which are
        0 in the last row and the last column respectively.
    """
    p: Array = namespace(u).zeros((2, *u.shape), u.dtype)
    np.subtract(u[..., 1:, :], u[..., :-1, :], out=p[0, ..., :-1, :])
    np.subtract(u[..., 1:], u[..., :-1], out=p[1, ..., :-1])
    return p


@lending("p", axes=3)
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
    array
        Shape (..., H, W), dtype of `p`.
    """
    _check_parts(p, "p", 2)
    d: Array = namespace(p).zeros(p.shape[1:], p.dtype)
    down, right = p[0, ..., :-1, :], p[1, ..., :-1]
    d[..., :-1, :] += down
    d[..., 1:, :] -= down
    d[..., :-1] += right
    d[..., 1:] -= right
    return d


@lending("w", axes=3)
def strain(w: Array) -> Array:
    """Symmetrised forward differences of a field of slopes, which are none for the gradient of a plane.

    Parameters
    ----------
    w
        Slopes down and to the right, shape (2, ..., H, W), of which the last row of w[0] and the last column
        of w[1] have no influence, as in what `gradient` returns.

    Returns
    -------
    array
        Shape (3, ..., H, W), dtype of `w`: the differences of w[0] downwards, those of w[1] to the right, and
        those of w[0] to the right and of w[1] downwards, added up and divided by the square root of 2, so
        that the sum of squares is that of the symmetric matrix. 0 wherever a slope beyond the border would
        take part.
    """
    _check_parts(w, "w", 2)
    e: Array = namespace(w).zeros((3, *w.shape[1:]), w.dtype)
    down, right = w[0, ..., :-1, :], w[1, ..., :-1]
    e[0, ..., :-2, :] = down[..., 1:, :] - down[..., :-1, :]
    e[1, ..., :-2] = right[..., 1:] - right[..., :-1]
    e[2, ..., :-1, :-1] = (
        down[..., 1:] - down[..., :-1] + right[..., 1:, :] - right[..., :-1, :]
    ) * w.dtype.type(_SQRT_HALF)
    return e


@lending("q", axes=3)
def strain_adjoint(q: Array) -> Array:
    """The adjoint of `strain`: <strain(w), q> = <w, strain_adjoint(q)> for all w and q.

    Parameters
    ----------
    q
        Shape (3, ..., H, W). Where `strain` is always 0 it has no influence.

    Returns
    -------
    array
        Shape (2, ..., H, W), dtype of `q`, 0 in the last row of [0] and the last column of [1].
    """
    _check_parts(q, "q", 3)
    w: Array = namespace(q).zeros((2, *q.shape[1:]), q.dtype)
    down, right = w[0, ..., :-1, :], w[1, ..., :-1]
    across = q[2, ..., :-1, :-1] * q.dtype.type(_SQRT_HALF)
    down[..., 1:, :] += q[0, ..., :-2, :]
    down[..., :-1, :] -= q[0, ..., :-2, :]
    right[..., 1:] += q[1, ..., :-2]
    right[..., :-1] -= q[1, ..., :-2]
    down[..., 1:] += across
    down[..., :-1] -= across
    right[..., 1:, :] += across
    right[..., :-1, :] -= across
    return w


def _check_parts(field: Array, name: str, count: int) -> None:
    """InputError unless a field has so many parts."""
    if len(field) != count:
        raise InputError(f"{name} has shape {field.shape}; its first axis must be of {count} parts.")
