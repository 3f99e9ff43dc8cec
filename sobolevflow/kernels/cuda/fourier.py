"""Multiplication of the spectrum of image planes on a CUDA device, by cuFFT.

The transforms are those of `filters.spectral`. CuPy has the cosine transforms of types 2 and 3, but no
sine transform of type 1: that one is a real FFT of the line, continued oddly over twice its length.

Transforms allocate workspace: nothing here is meant to be captured into a CUDA graph.
"""

from __future__ import annotations

from typing import Any

from .. import pixels


def multiply(x: Any, response: Any, boundary: int, out: Any) -> None:
    """Multiply the spectrum of every plane of `x` by `response`, on CuPy's current stream.

    Parameters
    ----------
    x, out
        (P, H, W), float32 or float64; may be the same array.
    response
        (H, W), of the dtype of `x`, laid out as `Filter.response` says.
    boundary
        `pixels.REFLECT`, `PERIODIC` or `ZERO`.
    """
    from cupyx.scipy import fft

    height, width = x.shape[-2:]
    if boundary == pixels.PERIODIC:
        spectrum = fft.rfft2(x, axes=(-2, -1))
        spectrum *= response[:, : spectrum.shape[-1]]
        out[...] = fft.irfft2(spectrum, s=(height, width), axes=(-2, -1))
    elif boundary == pixels.REFLECT:
        spectrum = fft.dctn(x, type=2, axes=(-2, -1), norm="ortho")
        spectrum *= response
        out[...] = fft.idctn(spectrum, type=2, axes=(-2, -1), norm="ortho")
    else:
        spectrum = _sine(_sine(x, -1), -2)
        spectrum *= response * (0.25 / ((height + 1) * (width + 1)))
        out[...] = _sine(_sine(spectrum, -1), -2)


def _sine(x: Any, axis: int) -> Any:
    """The sine transform of type 1; twice is 2 (n + 1) times the line."""
    import cupy
    from cupyx.scipy import fft

    n = x.shape[axis]
    along = cupy.moveaxis(x, axis, -1)
    zero = cupy.zeros((*along.shape[:-1], 1), x.dtype)
    odd = cupy.concatenate((zero, along, zero, -along[..., ::-1]), axis=-1)
    return cupy.moveaxis(-fft.rfft(odd, axis=-1).imag[..., 1 : n + 1], -1, axis)
