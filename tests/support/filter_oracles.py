"""What filters are compared with: linear systems written down from their definition and solved directly."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from sobolevflow.filters import Filter, bounds, reference
from sobolevflow.filters.convolution import Convolution, _difference

Image = NDArray[Any]
Pair = float | tuple[float, float]

BOUNDARIES = ("reflect", "periodic", "zero")


def random_image(seed: int, *shape: int, dtype: Any = np.float64) -> Image:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def pair(strength: Pair) -> tuple[float, float]:
    """What is meant by one number for both axes, or by two."""
    return strength if isinstance(strength, tuple) else (strength, strength)


def laplacian_1d(n: int, boundary: str) -> sparse.csr_array:
    """-d^2/dx^2 on n pixels, as a matrix, with nothing but its definition."""
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in (i - 1, i + 1):
            if 0 <= j < n or boundary == "periodic":
                matrix[i, i] += 1
                matrix[i, j % n] -= 1
            elif boundary == "zero":
                matrix[i, i] += 1
    return sparse.csr_array(matrix)


def differences_1d(n: int, boundary: str) -> NDArray[np.float64]:
    """All differences of neighbours on a line of n pixels, as a matrix.

    There are n - 1 of them inside, for "periodic" one more from the last pixel to the first, and for "zero"
    two more, from and to the zeros one pixel outside.
    """
    inside = np.diff(np.eye(n), axis=0)
    if boundary == "periodic":
        return np.vstack([inside, np.eye(n)[:1] - np.eye(n)[-1:]])
    if boundary == "zero":
        return np.vstack([np.eye(n)[:1], inside, -np.eye(n)[-1:]])
    return inside


def solve_directly(f: Image, gamma: Pair, boundary: str, order: int = 1) -> Image:
    """u with (Id - gamma_y d^2/dy^2 - gamma_x d^2/dx^2)^order u = f, by sparse elimination in float64."""
    h, w = f.shape
    gamma_y, gamma_x = pair(gamma)
    along_y = sparse.kron(laplacian_1d(h, boundary), sparse.eye_array(w))
    along_x = sparse.kron(sparse.eye_array(h), laplacian_1d(w, boundary))
    system = sparse.eye_array(h * w) + gamma_y * along_y + gamma_x * along_x
    factors = sparse_linalg.splu(sparse.csc_array(system))
    u = f.astype(np.float64).ravel()
    for _ in range(order):
        u = factors.solve(u)
    return np.asarray(u).reshape(h, w)


def solve_along(f: Image, gamma: float, boundary: str, axis: int) -> Image:
    """u with u - gamma u'' = f along one axis, by elimination in a band, or as a circulant system."""
    lines = np.moveaxis(f.astype(np.float64), axis, 0)
    n = len(lines)
    matrix = np.eye(n) + gamma * laplacian_1d(n, boundary).toarray()
    if boundary == "periodic":
        u = linalg.solve_circulant(matrix[:, 0], lines)
    else:
        band = np.zeros((3, n))
        band[0, 1:], band[1], band[2, :-1] = np.diag(matrix, 1), np.diag(matrix), np.diag(matrix, -1)
        u = linalg.solve_banded((1, 1), band, lines)
    return np.moveaxis(np.asarray(u), 0, axis)


def solve_product(f: Image, gamma: Pair, boundary: str, order: int = 1) -> Image:
    """u with ((Id - gamma_y d^2/dy^2) (Id - gamma_x d^2/dx^2))^order u = f."""
    for _ in range(order):
        for axis, along in zip((-2, -1), pair(gamma), strict=True):
            f = solve_along(f, along, boundary, axis)
    return f


def worst_input(f: Convolution, h: int, w: int, dtype: Any = np.float64) -> Image:
    """The image (h, w) of values 1 and -1 whose middle pixel (h // 2, w // 2) is most in error.

    Its error comes close to the filter's truncation where the kernel has little mass beyond the image.
    """
    difference, _ = _difference(f)
    size = len(difference)
    signs = np.full((h + size - 1, w + size - 1), -1, dtype)  # outside the window nothing is applied
    signs[h // 2 : h // 2 + size, w // 2 : w // 2 + size] = np.where(difference < 0, -1, 1)
    return signs[size // 2 : size // 2 + h, size // 2 : size // 2 + w].copy()


def assert_as_planned(f: Filter, x: Image, y: Image) -> None:
    """`y` is what a CUDA device made of `x`: the result of SciPy, within the rounding that is planned."""
    bound = f.plan(x.shape, x.dtype, device="cuda").rounding + bounds.unit(np.dtype(float))
    assert y.dtype == x.dtype
    assert np.abs(y - reference(f, x.astype(np.float64))).max() <= bound * np.abs(x).max()
