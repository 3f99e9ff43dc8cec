"""How much rounding adds up on the way of a pixel through a filter: what `Filter.plan` reports.

All of these count roundings, each weighted by the size of what is rounded, for images with |x| <= 1
everywhere; times `unit`, that is a bound on the largest error. A sum of n products made one after
another is off by no more than n units times the sum of their sizes (N. J. Higham, "Accuracy and
Stability of Numerical Algorithms", 2nd ed., section 3.1). Where the operations can be counted the bound
is proved so; for transforms and solves its constant is measured.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Largest error of a transform to the spectrum and back, in units for every doubling of the number of
# pixels: images of up to 1024 x 1024 pixels, with sides that are powers of two or primes, stayed below 2.
_TRANSFORMS = 3.0
# The same where a plane is multiplied by the matrices of its transforms, in units for the root of every side:
# images with sides of up to 512 stayed below 1.6 on a CPU, which adds up in blocks; a GPU need not.
_MATRICES = 4.0
# Largest error of a tridiagonal solve, in units for every pixel that a result depends on: the same
# images, at strengths of up to 1e4, stayed below 1.2.
_SOLVE = 3.0


def unit(dtype: np.dtype[Any]) -> float:
    """Half of the machine's epsilon: the largest relative error of one rounding."""
    return float(np.finfo(dtype).eps) / 2


def terms(columns: Floats, rows: Floats) -> float:
    """Separable terms (terms, radius + 1), one after another, folded, from the middle outwards: proved."""
    down, along = _masses(columns), _masses(rows)
    return float(
        (_mirrored(columns) * _line(columns)).sum(axis=1) @ along
        + (_mirrored(rows) * _line(rows)).sum(axis=1) @ down
        + _sums(len(columns)) @ (down * along)
    )


def folded(quarter: Floats) -> float:
    """A dense kernel whose rows are folded, then filtered down, a term (radius + 1,) a distance: proved."""
    copies = np.r_[1.0, np.full(len(quarter) - 1, 2.0)]
    down = (_mirrored(quarter) * (1 + _line(quarter))).sum(axis=1) * copies
    return float(down.sum() + _sums(len(quarter)) @ (_masses(quarter) * copies))


def transforms(pixels: int) -> float:
    """To the spectrum and back, for a filter of gain 1: measured."""
    return _TRANSFORMS * (1 + math.log2(pixels))


def matrices(h: int, w: int) -> float:
    """As `transforms`, by multiplication with matrices: measured."""
    return _MATRICES * (math.sqrt(h) + math.sqrt(w))


def solve(gamma: float, n: int) -> float:
    """One tridiagonal solve along lines of n pixels: measured."""
    return _SOLVE * averaged(gamma, n)


def averaged(gamma: float, n: int) -> float:
    """How many pixels of a line of n have a say in a running average of its tridiagonal solve."""
    phi = 2 * math.asinh(0.5 / math.sqrt(gamma))
    return max(1.0, 1 / (2 / n - math.expm1(-phi)))


def _mirrored(taps: Floats) -> Floats:
    """Sizes of taps (..., radius + 1) at distances radius, ..., 0, ..., radius."""
    return np.asarray(np.abs(np.concatenate([taps[:, :0:-1], taps], axis=1)))


def _masses(taps: Floats) -> Floats:
    return np.asarray(_mirrored(taps).sum(axis=1))


def _line(taps: Floats) -> Floats:
    """Roundings on the way of each pixel through one pass: its tap, fold, product and the sums after it."""
    radius = taps.shape[1] - 1
    distance = np.abs(np.arange(-radius, radius + 1.0))
    return np.asarray(np.where(distance == 0, 2 + radius, 4 + radius - distance))


def _sums(terms: int) -> Floats:
    """How many sums with other terms each term goes through, as they come one after another."""
    return np.asarray(np.minimum(terms - 1.0, terms - np.arange(terms)))
