"""Interpolation to another size, as a pair of matrices with an exact adjoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import Array, constant_beside, lending
from .linear import Size, check_sides, checked_size


@dataclass(frozen=True)
class Resize:
    """Interpolation to another size, as a pair of matrices: u -> A_y u A_x^T.

    On half-pixel centres; at the borders the kernel is cut off and renormalised, so that constants are kept.
    When an axis shrinks the kernel is stretched by the same factor, which suppresses aliasing.

    Parameters
    ----------
    source, target : (int, int)
        Height and width before and after, in pixels.
    method : {"cubic", "linear"}
        Keys' kernel (a = -1/2, exact for quadratics), which may overshoot the range of its input, or the
        triangle, which never does.

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981.
    """

    source: Size
    target: Size
    method: Literal["cubic", "linear"] = "cubic"

    def __post_init__(self) -> None:
        checks.one_of(self.method, "method", _KERNELS)
        checked_size(self.source, "source")
        checked_size(self.target, "target")

    @cached_property
    def _matrices(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        kernel = _KERNELS[self.method]
        rows, columns = (interpolation(n, m, kernel) for n, m in zip(self.source, self.target, strict=True))
        return rows, columns

    @lending("u", axes=2)
    def apply(self, u: Array) -> Array:
        """Interpolate (..., H, W) to (..., H', W')."""
        check_sides(u, self.source, "u")
        rows, columns = (constant_beside(u, A) for A in self._matrices)
        resized: Array = rows @ u @ columns.T
        return resized

    @lending("g", axes=2)
    def adjoint(self, g: Array) -> Array:
        """Carry a gradient on (..., H', W') back to (..., H, W)."""
        check_sides(g, self.target, "g")
        rows, columns = (constant_beside(g, A) for A in self._matrices)
        carried: Array = rows.T @ g @ columns
        return carried


def interpolation(
    source: int, target: int, kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """The (target, source) matrix of one-dimensional interpolation; its rows sum to one."""
    stretch = max(source / target, 1.0)
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    weights = kernel((np.arange(source) - centres[:, None]) / stretch)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _keys(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -1/2: support [-2, 2], 1 at 0, 0 at the other integers."""
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t**2 + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0.0))


def _triangle(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel of linear interpolation, with support [-1, 1]."""
    return np.asarray(np.maximum(1 - np.abs(t), 0))


_KERNELS = {"cubic": _keys, "linear": _triangle}
