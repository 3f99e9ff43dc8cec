"""Filtering as a multiplication in the eigenbasis of the discrete Laplacian.

Every boundary condition has the trigonometric transform that diagonalises the 5-point Laplacian,
and with it every symmetric convolution with that boundary:

========== ======================================= ============ =========================
boundary   the image goes on as                    transform    angular frequencies
========== ======================================= ============ =========================
reflect    d c b a | a b c d | d c b a (Neumann)   DCT-II       pi k / n
periodic   a b c d | a b c d | a b c d             FFT          2 pi k / n
zero       -b -a 0 | a b c d | 0 -d -c (Dirichlet) DST-I        pi (k + 1) / (n + 1)
========== ======================================= ============ =========================

G. Strang, "The discrete cosine transform", SIAM Review 41 (1999) 135-147.
"""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray

from .. import checks
from ..arrays import Array
from .parameters import CODES, Boundary

# Below this many values a transform is over before another thread has started.
_THREADS_PAY = 1 << 16
_MOST_FREQUENCIES = 1 << 27
_LOW_ORDER = 64  # a power that multiplies the rounding of 1 + x by no more than this


def frequencies(n: int, boundary: Boundary) -> NDArray[np.float64]:
    """Angular frequencies (n,) in radians per pixel of the transform that belongs to `boundary`."""
    checks.one_of(boundary, "boundary", CODES)
    if checks.count(n, "n") > _MOST_FREQUENCIES:
        checks.refuse(n, "n", f"at most {_MOST_FREQUENCIES}: more take over a GiB")
    if boundary == "reflect":
        return np.pi / n * np.arange(n, dtype=np.float64)
    if boundary == "periodic":
        return 2 * np.pi * np.fft.fftfreq(n).astype(np.float64)
    return np.pi / (n + 1) * np.arange(1, n + 1, dtype=np.float64)


def laplacian(omega: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvalues of the negative Laplacian of a line: 2 - 2 cos w, in a form that does not cancel."""
    return np.asarray(4 * np.sin(omega / 2) ** 2)


def sobolev(eigenvalues: NDArray[np.float64], order: float) -> NDArray[np.float64]:
    """(1 + eigenvalues)^-order, which is 0 where the sum or the power leaves the range."""
    with np.errstate(over="ignore"):
        if order <= _LOW_ORDER:
            return np.asarray((1 + eigenvalues) ** -order)
        return np.asarray(np.exp(-order * np.log1p(eigenvalues)))


def kernel_response(kernel: NDArray[np.float64], h: int, w: int, boundary: Boundary) -> NDArray[np.float64]:
    """Transfer function (h, w) of the convolution with a kernel that is even in both axes."""
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    along_y, along_x = (np.cos(np.outer(frequencies(n, boundary), offsets)) for n in (h, w))
    return np.asarray(along_y @ kernel @ along_x.T)


def basis(n: int, boundary: Boundary) -> NDArray[np.float64]:
    """An orthogonal matrix (n, n) of eigenvectors of the Laplacian, as rows in the order of `frequencies`.

    For the periodic boundary those of Hartley, cos + sin, which are real: a response is even in each of its
    frequencies, so that it treats cosine and sine alike.
    """
    unit = np.eye(n)
    if boundary == "reflect":
        return np.asarray(scipy.fft.dct(unit, type=2, norm="ortho", axis=0))
    if boundary == "zero":
        return np.asarray(scipy.fft.dst(unit, type=1, norm="ortho", axis=0))
    waves = scipy.fft.fft(unit, norm="ortho", axis=0)
    return np.asarray(waves.real - waves.imag)


def multiply(x: Array, response: Array, boundary: Boundary) -> Array:
    """Multiply the spectrum of every plane of `x` (..., H, W) by `response` (H, W).

    The dtype is that of `x`, which `response` should have too. The cost is four one-dimensional
    transforms per pixel.
    """
    workers = -1 if x.size >= _THREADS_PAY else None
    axes = (-2, -1)
    if boundary == "periodic":
        spectrum = scipy.fft.rfft2(x, axes=axes, workers=workers)
        spectrum *= response[:, : spectrum.shape[-1]]
        y = scipy.fft.irfft2(spectrum, s=x.shape[-2:], axes=axes, workers=workers, overwrite_x=True)
        return np.asarray(y)
    forward, backward, kind = (
        (scipy.fft.dctn, scipy.fft.idctn, 2)
        if boundary == "reflect"
        else (scipy.fft.dstn, scipy.fft.idstn, 1)
    )
    spectrum = forward(x, type=kind, axes=axes, norm="ortho", workers=workers)
    spectrum *= response
    y = backward(spectrum, type=kind, axes=axes, norm="ortho", workers=workers, overwrite_x=True)
    return np.asarray(y)
