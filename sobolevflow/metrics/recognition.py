"""Cross-network classification: what networks take images for that took no part in making them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import softmax

from .. import checks
from ..arrays import AnyArray, borrow_numbers, hand_back, library, to_host
from ..errors import ChangedWarning, InputError, warn
from ..network import Network
from .arguments import images_for


@overload
def in_top(
    net: Network, u: NDArray[Any], classes: str | int | Sequence[str | int], k: int = ...
) -> NDArray[np.bool_]: ...


@overload
def in_top(net: Network, u: AnyArray, classes: str | int | Sequence[str | int], k: int = ...) -> AnyArray: ...


def in_top(net: Network, u: Any, classes: str | int | Sequence[str | int], k: int = 1) -> Any:
    """Whether the class of each image is among the `k` that a network scores highest.

    The protocol of Table 1 of arXiv:1805.00071: images that one network made, judged by another. A background
    class is left aside.

    Parameters
    ----------
    net : Network
        The judge.
    u : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1], of the size that the judge takes.
    classes : class or sequence of N classes
        Names, or numbers as `Class` takes them, so that they mean the same for judges with a background
        class and without; one class serves all images.
    k : int
        1 for top-1, 5 for top-5.

    Returns
    -------
    array of bool, shape (N,)
        Its mean is the share that is recognised; `proportion_interval` says how far to trust it.

    Raises
    ------
    InputError
        The images do not fit the network, there is no such class, their number differs from that of the
        images, or k is below 1 or above the number of classes.
    """
    images = images_for(net, u)
    indices = _indices(net, classes, len(images))
    return hand_back((_top(net, images, k) == indices[:, None]).any(axis=1), u)


@overload
def probability(
    net: Network, u: NDArray[Any], classes: str | int | Sequence[str | int]
) -> NDArray[np.float64]: ...


@overload
def probability(net: Network, u: AnyArray, classes: str | int | Sequence[str | int]) -> AnyArray: ...


def probability(net: Network, u: Any, classes: str | int | Sequence[str | int]) -> Any:
    """The softmax probability that a network gives the class of each image.

    Its mean is a smoother measure than the share of hits: the one to tune by.

    Parameters
    ----------
    net : Network
        The judge.
    u : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1], of the size that the judge takes.
    classes : class or sequence of N classes
        As for `in_top`.

    Returns
    -------
    array of float64, shape (N,)

    Raises
    ------
    InputError
        The images do not fit the network, there is no such class, or their number differs from that of the
        images.
    """
    images = images_for(net, u)
    indices = _indices(net, classes, len(images))
    shares: NDArray[np.float64] = softmax(net.scores(images).astype(np.float64), axis=1)
    return hand_back(np.take_along_axis(shares, net.offset + indices[:, None], axis=1)[:, 0], u)


@overload
def agreement(net: Network, u: NDArray[Any], reference: Any, k: int = ...) -> NDArray[np.bool_]: ...


@overload
def agreement(net: Network, u: AnyArray, reference: Any, k: int = ...) -> AnyArray: ...


def agreement(net: Network, u: Any, reference: Any, k: int = 1) -> Any:
    """Whether what a network takes each reference for is among its `k` best classes for the image.

    It needs no labels, and tells a reconstruction apart that is not recognised from a photograph that is not.

    Parameters
    ----------
    net : Network
        The judge.
    u, reference : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1], of the size that the judge takes.
    k : int
        1 for top-1, 5 for top-5.

    Returns
    -------
    array of bool, shape (N,)

    Raises
    ------
    InputError
        The images do not fit the network or each other, or k is below 1 or above the number of classes.
    """
    images, originals = (images_for(net, x) for x in (u, reference))
    if len(images) != len(originals):
        raise InputError(f"{len(originals)} references are given for {len(images)} images.")
    return hand_back((_top(net, images, k) == _top(net, originals, 1)).any(axis=1), u)


def proportion_interval(hits: Any, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a share, after Wilson (J. Am. Stat. Assoc. 22, 1927).

    Parameters
    ----------
    hits : array of bool
        What `in_top` found.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    (float, float)
        Within [0, 1]; not of width 0 where all or none are hits.

    Raises
    ------
    InputError
        There are no hits and no misses, or confidence is not between 0 and 1.
    """
    counted = to_host(borrow_numbers(hits, "hits")).astype(bool)
    if counted.size == 0:
        raise InputError("hits is empty; a share needs at least one image.")
    if not (checks.is_number(confidence) and 0 < confidence < 1):
        raise InputError(f"confidence is {checks.shown(confidence)}; it must be between 0 and 1, e.g. 0.95.")
    found = stats.binomtest(int(counted.sum()), counted.size).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def _indices(net: Network, classes: str | int | Sequence[str | int], count: int) -> NDArray[np.int64]:
    """The class of each of `count` images, as a network counts them."""
    if library(classes) is not None:
        classes = to_host(borrow_numbers(classes, "classes")).tolist()
    if not isinstance(classes, str | int | np.integer | list | tuple):
        checks.refuse(classes, "classes", "a class, or a list of a class for each image")
    wanted = [classes] if isinstance(classes, str | int | np.integer) else list(classes)
    if len(wanted) not in (1, count):
        raise InputError(f"{len(wanted)} classes are given for {count} images.")
    return np.broadcast_to(np.array([net.classes_of().index(name) for name in wanted]), count)


def _top(net: Network, images: np.ndarray, k: int) -> np.ndarray:
    count = net.classes - net.offset
    if checks.count(k, "k") > count:
        raise InputError(f"k is {k}, but {net.name} has {count} classes.")
    scores = net.scores(images)
    found = net.classes_of().ranked(scores, k)
    if net.offset and (scores[:, 0] >= scores[np.arange(len(scores)), net.offset + found[:, -1]]).any():
        warn(
            f"{net.name} scores the background class among the {k} best of an image: it is left aside, where "
            "earlier versions counted it in the place of a class",
            ChangedWarning,
        )
    return found
