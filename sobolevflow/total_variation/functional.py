"""The value of total variation, and the gradient of its smoothed form."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..arrays import NOT_GIVEN, AnyArray, Array, Batch, hand_back
from ..errors import InputError
from . import differences
from .arguments import check_range, is_isotropic
from .model import Model, Variation


def value(
    u: AnyArray,
    channel_axis: int | None = NOT_GIVEN,
    epsilon: float = 0.0,
    *,
    variation: Variation = "isotropic",
    huber: float = 0.0,
    coupled: bool = True,
) -> Any:
    """Total variation of each image, or one of its smoothed forms.

    Parameters
    ----------
    u
        Floating point, shape (..., H, W), an array of any library as for `prox`.
    channel_axis, coupled
        As for `prox`.
    epsilon
        Smoothing in the unit of u: sum of sqrt(|grad u|^2 + epsilon^2).
    variation
        "isotropic": the length of the gradient of a pixel. "anisotropic": the sum of the absolute values of
        its differences down and to the right, each over all coupled channels.
    huber
        Smoothing in the unit of u: slopes below it count as their square / (2 huber), larger
        ones as |grad u| - huber / 2.

    Returns
    -------
    array
        Library and device of u, float64, one entry for each image: the shape of u without channels, H and W;
        channels that are not coupled are its last axis.

    Raises
    ------
    InputError
        If u or channel_axis does not fit, or epsilon or huber is negative or not finite, or both are given.
    UnknownNameError
        If there is no such variation.
    """
    batch = Batch.borrow(u, channel_axis, "u", coupled=coupled)
    epsilon, huber = checks.nonnegative(epsilon, "epsilon"), checks.nonnegative(huber, "huber")
    if epsilon and huber:
        raise InputError("epsilon and huber are two ways to smooth the same thing; give one of them.")
    images = batch.images.astype(np.float64)
    check_range(images, "u", epsilon=epsilon, huber=huber)
    slopes = differences.gradient(images)
    each = _huber(lengths(slopes, epsilon, is_isotropic(variation)), huber)
    return hand_back(each.sum(axis=(0, *range(-3, 0))).reshape(batch.leading), u)


def gradient(
    u: AnyArray, epsilon: float = 1e-2, channel_axis: int | None = NOT_GIVEN, *, coupled: bool = True
) -> AnyArray:
    """Gradient of the smoothed total variation: -div(grad u / sqrt(|grad u|^2 + epsilon^2)).

    This is the regulariser of the explicit scheme, eq. (20) of arXiv:1805.00071. A descent along it is
    stable for steps up to about epsilon / 4 per unit of weight; `prox` has no such bound.

    Parameters
    ----------
    u
        Floating point, shape (..., H, W), an array of any library as for `prox`.
    epsilon
        Above 0, in the unit of u: differences below it are treated as quadratic.
    channel_axis, coupled
        As for `prox`.

    Returns
    -------
    array
        Library, device, shape and dtype of u.

    Raises
    ------
    InputError
        If u or channel_axis does not fit, or epsilon is not a finite number above zero.
    """
    no_gradient = "Total variation itself has no gradient: use prox, or epsilon=0.01."
    checks.positive(epsilon, "epsilon", remedy=no_gradient)
    batch = Batch.borrow(u, channel_axis, "u", coupled=coupled)
    check_range(batch.images, "u", epsilon=epsilon)
    slopes = differences.gradient(batch.images)
    slopes /= lengths(slopes, epsilon)[0]
    return batch.lend(-differences.divergence(slopes))  # type: ignore[no-any-return]


def lengths(p: Array, epsilon: float = 0.0, isotropic: bool = True) -> Array:
    """Lengths of vectors (D, ..., C, H, W) over channels, and over their D parts if isotropic.

    Returns
    -------
    ndarray
        (1, ..., 1, H, W), or (D, ..., 1, H, W) with the parts apart.
    """
    squares = (p * p).sum(axis=-3, keepdims=True)
    if isotropic:
        squares = squares.sum(axis=0, keepdims=True)
    sizes: Array = np.sqrt(squares + epsilon**2)
    return sizes


def penalty(slopes: Array, model: Model) -> float:
    """weight times what a model makes of the gradient (2, C, H, W) of an image."""
    return model.weight * float(_huber(lengths(slopes, isotropic=model.isotropic), model.huber).sum())


def _huber(slopes: Array, huber: float) -> Array:
    """Huber's function of lengths that are not negative."""
    if huber == 0:
        return slopes
    small = np.minimum(slopes, huber)
    penalties: Array = small * small / (2 * huber) + (slopes - small)
    return penalties
