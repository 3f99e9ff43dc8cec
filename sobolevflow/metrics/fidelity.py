"""How close images come to their references, pixel by pixel, by structure, and in the layers of a network."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .. import checks
from ..arrays import AnyArray, hand_back, to_host
from ..errors import InputError
from ..network import Network
from .arguments import Floats, as_pairs, checked_layer, checked_range, images_for

_SIGMA, _RADIUS = 1.5, 5  # Wang et al.: a Gaussian window of 11 x 11
_K1, _K2 = 0.01, 0.03


@overload
def psnr(u: NDArray[Any], reference: Any, data_range: float = ...) -> NDArray[np.float64]: ...


@overload
def psnr(u: AnyArray, reference: Any, data_range: float = ...) -> AnyArray: ...


def psnr(u: Any, reference: Any, data_range: float = 1.0) -> Any:
    """Peak signal to noise ratio of each image, in decibels: 10 log10(data_range^2 / mean squared error).

    Parameters
    ----------
    u, reference : array, shape (N, C, H, W) or (C, H, W)
        Of one shape; a single reference serves all images.
    data_range : float
        The largest difference there can be between two values.

    Returns
    -------
    array, shape (N,), float64
        Infinite where both are equal.

    Raises
    ------
    InputError
        The shapes differ, values are not finite or not floating point, or data_range is not above zero.
    """
    images, others = as_pairs(u, reference)
    peak = checked_range(data_range)
    error = ((images - others) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return hand_back(10 * np.log10(peak**2 / to_host(error)), u)


@overload
def ssim(u: NDArray[Any], reference: Any, data_range: float = ...) -> NDArray[np.float64]: ...


@overload
def ssim(u: AnyArray, reference: Any, data_range: float = ...) -> AnyArray: ...


def ssim(u: Any, reference: Any, data_range: float = 1.0) -> Any:
    """Structural similarity of each image.

    After Wang, Bovik, Sheikh and Simoncelli (IEEE Trans. Image Process. 13, 2004): local means, variances and
    covariances under a Gaussian window of 11 x 11 with sigma 1.5, combined with K1 = 0.01 and K2 = 0.03,
    averaged over channels and over those pixels whose window lies within the image.

    Parameters
    ----------
    u, reference : array, shape (N, C, H, W) or (C, H, W)
        Of one shape, at least 11 x 11 pixels; a single reference serves all images.
    data_range : float
        The largest difference there can be between two values.

    Returns
    -------
    array, shape (N,), float64
        1 where both are equal, at least -1.

    Raises
    ------
    InputError
        As for `psnr`, or if the images are smaller than the window.
    """
    a, b = as_pairs(u, reference)
    checked_range(data_range)
    if min(a.shape[2:]) <= 2 * _RADIUS:
        raise InputError(f"images of {a.shape[2]}x{a.shape[3]} are smaller than the window of 11x11.")
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    variances = _local_mean(a * a) - mean_a**2 + _local_mean(b * b) - mean_b**2
    covariance = _local_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variances + c2)
    return hand_back((luminance * structure).mean(axis=(1, 2, 3)), u)


def _local_mean(x: Floats) -> Floats:
    """Under the window, at the pixels where it lies within the image."""
    smooth: Floats = _ndimage_of(x).gaussian_filter(x, _SIGMA, radius=_RADIUS, axes=(2, 3))
    return smooth[..., _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]


def _ndimage_of(x: Floats) -> Any:
    """SciPy's filters, or those of CuPy under the same names."""
    if isinstance(x, np.ndarray):
        return ndimage
    from cupyx.scipy import ndimage as on_device

    return on_device


@overload
def relative_feature_error(
    net: Network,
    layer: str,
    u: NDArray[Any],
    reference: Any,
    relative_to: Literal["reference", "pairs"] = ...,
) -> NDArray[np.float64]: ...


@overload
def relative_feature_error(
    net: Network, layer: str, u: AnyArray, reference: Any, relative_to: Literal["reference", "pairs"] = ...
) -> AnyArray: ...


def relative_feature_error(
    net: Network,
    layer: str,
    u: Any,
    reference: Any,
    relative_to: Literal["reference", "pairs"] = "reference",
) -> Any:
    """|Phi(u) - Phi(reference)|^2 for each image, relative to the size of features or to their spread.

    Parameters
    ----------
    net : Network
    layer : str
        Phi, a layer of the network.
    u, reference : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1]; a single reference serves all images.
    relative_to : {"reference", "pairs"}
        Divide by |Phi(reference)|^2, or, after Mahendran and Vedaldi (CVPR 2015), by the mean squared
        distance between the features of two references, which does not depend on where zero is.

    Returns
    -------
    array, shape (N,), float64
        0 where features are the same; under "pairs", 1 is as far off as another reference.

    Raises
    ------
    InputError
        The images do not fit the network or each other; under "pairs", references do not differ.
    UnknownNameError
        There is no such layer, or relative_to is neither of both.
    """
    checks.one_of(relative_to, "relative_to", ("reference", "pairs"))
    images, others = (images_for(net, x) for x in (u, reference))
    if len(others) not in (1, len(images)):
        raise InputError(f"{len(others)} references are given for {len(images)} images.")
    found, wanted = (_flat_features(net, layer, x) for x in (images, others))
    error = ((found - wanted) ** 2).sum(axis=1)
    scale = (wanted**2).sum(axis=1) if relative_to == "reference" else _mean_squared_distance(wanted)
    if not np.all(scale > 0):
        raise InputError(
            f"the features of the references in {layer} are all zero; nothing is relative to them."
            if relative_to == "reference"
            else f"the features of the references in {layer} do not differ; give several references."
        )
    return hand_back(error / scale, u)


def _flat_features(net: Network, layer: str, images: np.ndarray) -> Floats:
    (features,) = net.features(images, [checked_layer(net, layer)])
    return features.reshape(len(features), -1).astype(np.float64)


def _mean_squared_distance(features: Floats) -> float:
    """Between two different rows: twice the sum of the variances."""
    return float(2 * features.var(axis=0, ddof=1).sum()) if len(features) > 1 else 0.0
