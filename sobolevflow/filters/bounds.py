"""How far a result may be from the operator that a filter stands for: what `Filter.plan` reports.

All bounds are for images with |x| <= 1 everywhere, in the largest absolute value of the error, and grow in
proportion to max|x|. There are two sources, which add up:

* *Truncation*, of the window and of the rank. It is the L1 distance of two kernels, and an image that
  attains it exists: the signs of their difference.
* *Rounding*. u is half of the machine's epsilon, and a sum of n products made one after another is off by
  no more than n u times the sum of their sizes (N. J. Higham, "Accuracy and Stability of Numerical
  Algorithms", 2nd ed., section 3.1). Where the operations can be counted the bound is proved so, for
  transforms its constant is measured.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .algebra import Combination, Composition, Filter
from .convolution import Convolution, _kernel, _terms
from .parameters import per_axis
from .product import SobolevProduct
from .sobolev import Sobolev

# Largest error of a transform to the spectrum and back, in u for every doubling of the number of pixels:
# images of up to 1024 x 1024 pixels, with sides that are powers of two or primes, stayed below 2.
_TRANSFORMS = 3.0
# Largest error of a tridiagonal solve, in u for every pixel that a result depends on: the same images, at
# strengths of up to 1e4, stayed below 1.2.
_SOLVE = 3.0


def truncation(f: Filter) -> float:
    """The largest error, for |x| <= 1, of what `f` convolves with, against the kernel as a whole.

    0 for exact filters. For a filter with a window, sum |applied - whole| over the infinite grid, where
    applied is the window divided by its sum, where separable terms are summed up, their sum. It is attained
    by `worst_input`, up to what a finite image cannot hold. For compositions and combinations, an upper
    bound by the triangle inequality.
    """
    if isinstance(f, Convolution) and f.method != "exact":
        difference, outside = _difference(f)
        return float(np.abs(difference).sum() + outside)
    return through(f, truncation)


def gain(f: Filter) -> float:
    """An upper bound of |f x| for |x| <= 1: the L1 norm of the kernel, that applied or the whole."""
    if isinstance(f, Composition):
        return math.prod(map(gain, f.factors))
    if isinstance(f, Combination):
        return sum(abs(weight) * gain(part) for weight, part in f.terms)
    if isinstance(f, Convolution) and f.method != "exact":
        return max(1.0, float(np.abs(_applied(f)).sum()))
    return 1.0  # a probability density


def through(f: Filter, bound: Callable[[Filter], float]) -> float:
    """A bound for a filter made of others from the bounds of its parts; 0 for one that is not."""
    if isinstance(f, Composition):
        gains = [gain(part) for part in f.factors]
        others = [math.prod(gains[:i] + gains[i + 1 :]) for i in range(len(gains))]
        return sum(bound(part) * other for part, other in zip(f.factors, others, strict=True))
    if isinstance(f, Combination):
        return sum(abs(weight) * bound(part) for weight, part in f.terms)
    return 0.0


def worst_input(f: Convolution, h: int, w: int, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """The image (h, w) of values 1 and -1 whose middle pixel (h // 2, w // 2) is most in error.

    Its error comes close to `truncation` where the kernel has little mass beyond the image.
    """
    difference, _ = _difference(f)
    radius = len(difference) // 2
    signs = np.full((h + 2 * radius, w + 2 * radius), -1, dtype)  # outside the window nothing is applied
    size = len(difference)
    signs[h // 2 : h // 2 + size, w // 2 : w // 2 + size] = np.where(difference < 0, -1, 1)
    return signs[radius : radius + h, radius : radius + w].copy()


def rounding(f: Filter, method: str, dtype: DTypeLike, shape: tuple[int, ...]) -> float:
    """A bound, for |x| <= 1, on the rounding errors of `f` applied by the method of its plan.

    Parameters
    ----------
    f
        Any filter; with "parts" see `rounding_of_parts`.
    method
        "separable" or "low-rank": proved for taps folded about the middle, summed from the middle
        outwards, the terms one after another. "dense": proved for rows that are folded, then filtered down
        the columns in the same way, a term for each distance. "spectral": measured, it grows with
        log2(h w). "tridiagonal": the transform along y so, and a solve along x. "recursive": two solves.
        "identity": 0.
    dtype
        Of the image. float16 is computed in float32 and rounded once.
    shape
        (..., h, w).
    """
    dtype = np.dtype(dtype)
    if dtype == np.float16:
        return gain(f) * _unit(dtype) + rounding(f, method, np.float32, shape)
    h, w = shape[-2:]
    return _COUNTS[method](f, h, w) * _unit(dtype)


def rounding_of_parts(f: Filter, dtype: DTypeLike, part: Callable[[Filter], float]) -> float:
    """The bound on rounding for a filter applied part by part, from that of each `part`."""
    own = 0.0
    if isinstance(f, Combination):
        own = (len(f.terms) + 1) * gain(f) * _unit(np.dtype(dtype))
    return through(f, part) + own


def _unit(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps) / 2


@functools.lru_cache(maxsize=64)
def _applied(f: Convolution) -> NDArray[np.float64]:
    """The window that `f` convolves with."""
    if f._form in ("dense", "spectral"):
        return _kernel(f, True)
    columns, rows = _columns_and_rows(f)
    return np.asarray(columns.T @ rows)


def _difference(f: Convolution) -> tuple[NDArray[np.float64], float]:
    """Applied minus whole kernel in the window, and the mass of the whole one, which is positive, outside."""
    whole = _kernel(f, False)
    return _applied(f) - whole, max(0.0, 1 - float(whole.sum()))


def _columns_and_rows(f: Convolution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    columns, rows = zip(*_terms(f), strict=True)
    return np.array(columns), np.array(rows)


# Counts of roundings, each weighted by the size of what is rounded, in u.


def _low_rank(f: Filter, h: int, w: int) -> float:
    assert isinstance(f, Convolution)
    columns, rows = (np.abs(taps) for taps in _columns_and_rows(f))
    counts = _pass(columns.shape[1])
    down, along, first = columns.sum(axis=1), rows.sum(axis=1), _sums(len(columns))
    return float((columns @ counts) @ along + (rows @ counts) @ down + first @ (down * along))


def _dense(f: Filter, h: int, w: int) -> float:
    assert isinstance(f, Convolution)
    kernel = np.abs(_kernel(f, True))
    middle = len(kernel) // 2
    columns = kernel[:, middle:].T * np.r_[1, np.full(middle, 2)][:, None]  # by distance along the row
    return float((columns @ (1 + _pass(len(kernel)))).sum() + _sums(len(columns)) @ columns.sum(axis=1))


def _pass(size: int) -> NDArray[np.float64]:
    """Roundings on the way of each pixel through one pass: its tap, fold, product and the sums after it."""
    distance = np.abs(np.arange(size) - size // 2.0)
    return np.where(distance == 0, 2 + size // 2, 4 + size // 2 - distance)


def _sums(terms: int) -> NDArray[np.float64]:
    """How many sums with other terms each term goes through, as they come one after another."""
    return np.minimum(terms - 1, terms - np.arange(terms)).astype(float)


def _spectral(f: Filter, h: int, w: int) -> float:
    return gain(f) * _TRANSFORMS * (1 + math.log2(h * w))


def _tridiagonal(f: Filter, h: int, w: int) -> float:
    assert isinstance(f, Sobolev)
    transforms = _TRANSFORMS * (1 + math.log2(h))
    return transforms + f.order * _SOLVE * _reach(per_axis(f.gamma)[1], w)


def _recursive(f: Filter, h: int, w: int) -> float:
    assert isinstance(f, SobolevProduct)
    along_y, along_x = per_axis(f.gamma)
    return f.order * _SOLVE * (_reach(along_y, h) + _reach(along_x, w))


def _reach(gamma: float, n: int) -> float:
    """How many of the n pixels of a line have a say in the running sum of a tridiagonal solve."""
    decay = 1 / (1 + 1 / (2 * gamma) + math.sqrt(1 / gamma + 1 / (4 * gamma**2)))
    return max(1.0, 1 / (1 - decay + 2 / n))


_COUNTS: dict[str, Callable[[Filter, int, int], float]] = {
    "separable": _low_rank,
    "low-rank": _low_rank,
    "dense": _dense,
    "spectral": _spectral,
    "tridiagonal": _tridiagonal,
    "recursive": _recursive,
    "identity": lambda f, h, w: 0.0,
}
