"""The ways to apply a filter on a CUDA device: what `host` has for the CPU.

Arrays are those of CuPy, the work goes to its current stream, and nothing waits for it: a call returns
when the work is queued. So it says nothing of whether the result is finite. Coefficients are copied to
a device on the first call there. After that a finite filter with `out=` neither allocates nor copies,
and can be captured into a CUDA graph; exact ones take workspace for their transforms.

float16 is stored as such, and computed in float32.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from ..arrays import Array, copied_to_device
from ..kernels.cuda import numba_stream, seen_by_numba
from . import bounds, spectral
from .host import Floats, Multiplication, Procedure, Truncated
from .parameters import CODES, Boundary


class CudaProcedure(Procedure):
    """A planned way to apply a filter on any device."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = np.dtype(np.float64 if dtype == np.float64 else np.float32)  # of the arithmetic
        self._copies: dict[int, tuple[Any, ...]] = {}

    def apply(self, x: Array, out: Array) -> bool:
        """As in `Procedure`, but always True."""
        device: Any = x.device
        with device:
            if device.id not in self._copies:
                self._copies[device.id] = tuple(map(self._place, self._coefficients()))
            self._apply(x, out, *self._copies[device.id])
        return True

    @abstractmethod
    def _coefficients(self) -> tuple[Floats, ...]:
        """What `_apply` wants to have on the device."""

    def _place(self, coefficients: Floats) -> Any:
        """A copy on the current device, as the kernels take it."""
        return seen_by_numba(copied_to_device(coefficients))

    @abstractmethod
    def _apply(self, x: Array, out: Array, *coefficients: Any) -> None:
        """Filter `x` (P, H, W) into `out`, both on the current device."""


class Finite(CudaProcedure, Truncated):
    """As `Truncated`, for any radius up to `kernels.cuda.convolution.LARGEST_RADIUS`."""

    def __init__(self, columns: Floats, rows: Floats | None, boundary: Boundary, dtype: Any) -> None:
        CudaProcedure.__init__(self, dtype)
        Truncated.__init__(self, columns, rows, boundary, dtype)
        self._taps = (columns,) if rows is None else (columns, rows)

    def _coefficients(self) -> tuple[Floats, ...]:
        return tuple(taps.astype(self._dtype) for taps in self._taps)

    def _apply(self, x: Array, out: Array, *coefficients: Any) -> None:
        from ..kernels.cuda import convolution as kernels

        with numba_stream(x) as stream:
            columns, rows = (*coefficients, None)[:2]
            for start in range(0, len(x), kernels.MOST_PLANES):
                some = slice(start, start + kernels.MOST_PLANES)
                source, target = (seen_by_numba(a[some].reshape(-1)) for a in (x, out))
                kernels.convolve(source, target, x[some].shape, columns, rows, self._boundary, stream)


class CuFFT(CudaProcedure, Multiplication):
    """As `Multiplication`, by cuFFT."""

    def __init__(self, response: Floats, boundary: Boundary, dtype: Any, gain: float = 1.0) -> None:
        CudaProcedure.__init__(self, dtype)
        Multiplication.__init__(self, response, boundary, dtype, gain)
        self._response = response

    def _coefficients(self) -> tuple[Floats, ...]:
        return (self._response.astype(self._dtype),)

    def _place(self, coefficients: Floats) -> Any:
        return copied_to_device(coefficients)

    def _apply(self, x: Array, out: Array, *coefficients: Any) -> None:
        from ..kernels.cuda import fourier

        (response,) = coefficients
        fourier.multiply(x.astype(self._dtype, copy=False), response, CODES[self._boundary], out)


class Matrices(CudaProcedure):
    """As `Multiplication`, by the matrices of the transforms: four products of matrices in all.

    That is more to compute than cuFFT has, 4 (h + w) operations a pixel, but at what a GPU does best: for
    planes of the size of a network's input it is a few launches of a few microseconds each, where cuFFT's
    cosine transforms are dozens. The products keep float32 as it is; TF32 is not for exact filters.
    """

    name = "spectral"

    def __init__(self, response: Floats, boundary: Boundary, dtype: Any, gain: float = 1.0) -> None:
        super().__init__(dtype)
        h, w = response.shape
        self._response = response
        self._along_y, self._along_x = (spectral.basis(n, boundary) for n in (h, w))
        self.roundings = gain * bounds.matrices(h, w)
        self.flops, self.bytes = 4.0 * (h + w), 16.0 * dtype.itemsize

    def _coefficients(self) -> tuple[Floats, ...]:
        return tuple(a.astype(self._dtype) for a in (self._response, self._along_y, self._along_x))

    def _place(self, coefficients: Floats) -> Any:
        return copied_to_device(coefficients)

    def _apply(self, x: Array, out: Array, *coefficients: Any) -> None:
        response, along_y, along_x = coefficients
        spectrum = along_y @ (x.astype(self._dtype, copy=False) @ along_x.T)
        spectrum *= response
        out[...] = along_y.T @ (spectrum @ along_x)


def multiplication(response: Floats, boundary: Boundary, dtype: Any, gain: float) -> CudaProcedure:
    """The quicker way to multiply spectra of planes of the size of `response`."""
    quicker = Matrices if max(response.shape) <= _MATRIX_SIDE else CuFFT
    return quicker(response, boundary, dtype, gain)


# Up to it matrices are quicker than cuFFT: by arithmetic, at 40 Tflop/s and the times measured of cuFFT.
_MATRIX_SIDE = 512


class Recursive(CudaProcedure):
    """As `host.Recursive`."""

    name = "recursive"

    def __init__(
        self,
        h: int,
        w: int,
        gamma_y: float,
        gamma_x: float,
        order: int,
        boundary: Boundary,
        dtype: Any,
    ) -> None:
        super().__init__(dtype)
        self._shape, self._gammas, self._order = (h, w), (gamma_y, gamma_x), order
        self._boundary = CODES[boundary]
        self.roundings = order * (bounds.solve(gamma_y, h) + bounds.solve(gamma_x, w))
        self.flops, self.bytes = 11.0 * order, 12.0 * order * dtype.itemsize

    def _coefficients(self) -> tuple[Floats, ...]:
        from ..kernels import tridiagonal

        plans = (
            tridiagonal.elimination(np.array([gamma]), n, self._boundary, self._dtype)
            for gamma, n in zip(self._gammas, self._shape, strict=True)
        )
        return tuple(
            np.ascontiguousarray(part)
            for plan in plans
            for part in (plan.down[:, 0], plan.up[:, 0], plan.closing, _one_or_more(plan.correction[:, 0]))
        )

    def _apply(self, x: Array, out: Array, *coefficients: Any) -> None:
        from ..kernels.cuda import recursive

        with numba_stream(x) as stream:
            work = out if out.dtype == self._dtype else x.astype(self._dtype)
            target, source = seen_by_numba(work), seen_by_numba(x if work is out else work)
            for _ in range(self._order):
                recursive.solve_columns(source, target, coefficients[:4], stream)
                recursive.solve_rows(target, target, coefficients[4:], stream)
                source = target
            if work is not out:
                out[...] = work


class Copy(CudaProcedure):
    """No filter at all."""

    name, flops, roundings = "identity", 0.0, 0.0

    def __init__(self, dtype: Any) -> None:
        super().__init__(dtype)
        self.bytes = 2.0 * dtype.itemsize

    def _coefficients(self) -> tuple[Floats, ...]:
        return ()

    def _apply(self, x: Array, out: Array, *coefficients: Any) -> None:
        out[...] = x


def _one_or_more(values: Floats) -> Floats:
    """The values, or a zero where there are none: an array without elements has no address."""
    return values if values.size else np.zeros(1, values.dtype)
