"""How far images are from real ones, in the features of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, spatial

from .. import checks
from ..arrays import AnyArray, borrow_numbers, check_finite, hand_back, to_host
from ..errors import InputError
from ..network import Network
from .arguments import Floats, checked_layer, images_for


@overload
def pooled_features(net: Network, layer: str, u: NDArray[Any]) -> NDArray[np.float64]: ...


@overload
def pooled_features(net: Network, layer: str, u: AnyArray) -> AnyArray: ...


def pooled_features(net: Network, layer: str, u: Any) -> Any:
    """The features of images, averaged over positions where a layer has them.

    Parameters
    ----------
    net : Network
    layer : str
        As a rule the one before the classifier.
    u : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1], of the size that the network takes.

    Returns
    -------
    array, shape (N, D), float64
        Of a layer with channels and positions, tokens (N, T, D) among them, the mean of each channel; other
        layers flattened.
    """
    return hand_back(_pooled(net, layer, u), u)


def _pooled(net: Network, layer: str, u: Any) -> Floats:
    images = images_for(net, u)
    layer = checked_layer(net, layer)
    (found,) = net.features(images, [layer])
    features: Floats = found.astype(np.float64)
    layout = net.layouts.get(layer)
    if layout is not None and layout.meanings[:1] == ("N",) and len(layout.channel_axes) == 1:
        features = features.mean(axis=tuple({*range(1, features.ndim)} - {*layout.channel_axes}))
    return features.reshape(len(features), -1)


@overload
def plausibility(
    net: Network, layer: str, u: NDArray[Any], references: Any, k: int = ..., normalise: bool = ...
) -> NDArray[np.float64]: ...


@overload
def plausibility(
    net: Network, layer: str, u: AnyArray, references: Any, k: int = ..., normalise: bool = ...
) -> AnyArray: ...


def plausibility(
    net: Network, layer: str, u: Any, references: Any, k: int = 1, normalise: bool = False
) -> Any:
    """`neighbour_distance` of images from real ones, in the features of a network; the lower the better.

    Parameters
    ----------
    net : Network
        One that took no part in making the images.
    layer : str
        As for `pooled_features`.
    u, references : array, shape (N, C, H, W) and (M, C, H, W)
        Float, in [0, 1]; references are real images, as a rule of the same class.
    k, normalise
        As for `neighbour_distance`.

    Returns
    -------
    array, shape (N,), float64
    """
    found, real = (_pooled(net, layer, x) for x in (u, references))
    return hand_back(neighbour_distance(found, real, k, normalise), u)


@overload
def neighbour_distance(
    features: NDArray[Any] | Sequence[Sequence[float]], references: Any, k: int = ..., normalise: bool = ...
) -> NDArray[np.float64]: ...


@overload
def neighbour_distance(
    features: AnyArray, references: Any, k: int = ..., normalise: bool = ...
) -> AnyArray: ...


def neighbour_distance(features: Any, references: Any, k: int = 1, normalise: bool = False) -> Any:
    """Mean distance from the `k` nearest of the references, for each row.

    Parameters
    ----------
    features, references : array, shape (N, D) and (M, D)
    k : int
        1 in the table of Fel et al. (arXiv:2306.06805), which calls it plausibility.
    normalise : bool
        Compare directions: divide every row by its length first, as for detecting outliers by deep
        nearest neighbours (Sun et al., ICML 2022).

    Returns
    -------
    array, shape (N,), float64

    Raises
    ------
    InputError
        The arrays do not fit, or there are fewer references than k.
    """
    a, b = _as_features(features, references)
    checks.flag(normalise, "normalise")
    if checks.count(k, "k") > len(b):
        raise InputError(f"k is {k}, but there are {len(b)} references.")
    if normalise:
        a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in (a, b))
    distances = spatial.distance.cdist(a, b)
    return hand_back(np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1), features)


def frechet(net: Network, layer: str, u: Any, references: Any) -> float:
    """`frechet_distance` between two sets of images, in the features of a network; the lower the better.

    Parameters
    ----------
    net : Network
        The judge. Numbers of different judges cannot be compared; the customary ones are of Inception v3.
    layer : str
        As for `pooled_features`.
    u, references : array, shape (N, C, H, W) and (M, C, H, W)
        Float, in [0, 1], at least two of each.

    Returns
    -------
    float
    """
    return frechet_distance(*(_pooled(net, layer, x) for x in (u, references)))


def frechet_distance(features: Any, references: Any) -> float:
    """Frechet distance, squared, between the normal distributions fitted to two sets of features.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with the sample means and covariances (Heusel et al.,
    NeurIPS 2017, as FID). With fewer samples than a few times the number of features it is dominated by
    the bias of the estimate, so that only sets of equal sizes can be compared.

    Parameters
    ----------
    features, references : array, shape (N, D) and (M, D)
        At least two rows each.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    InputError
        The arrays do not fit.

    Notes
    -----
    With S1 = A^T A and S2 = B^T B, tr (S1 S2)^(1/2) is the sum of the singular values of A B^T: no square
    root of a matrix, which fails where covariances are singular, as they are for fewer samples than features.
    """
    a, b = _as_features(features, references)
    if min(len(a), len(b)) < 2:
        raise InputError("a covariance needs at least two images on either side.")
    (mean_a, root_a), (mean_b, root_b) = _moments(a), _moments(b)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * shared
    return float(((mean_a - mean_b) ** 2).sum() + max(spread, 0.0))


def _moments(x: Floats) -> tuple[Floats, Floats]:
    """The mean of rows, and a matrix A of as few rows as may be with A^T A their covariance."""
    mean = x.mean(axis=0)
    centred = (x - mean) / np.sqrt(len(x) - 1)
    return mean, linalg.qr(centred, mode="r")[0][: x.shape[1]] if len(x) > x.shape[1] else centred


def _as_features(features: Any, references: Any) -> tuple[Floats, Floats]:
    a = to_host(borrow_numbers(features, "features")).astype(np.float64)
    b = to_host(borrow_numbers(references, "references")).astype(np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or 0 in (*a.shape, *b.shape):
        raise InputError(
            f"features have shape {a.shape} and references {b.shape}; they must be (N, D) and (M, D), and "
            f"not empty."
        )
    check_finite(a, "features")
    check_finite(b, "references")
    return a, b
