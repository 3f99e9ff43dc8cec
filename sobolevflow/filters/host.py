"""The ways to apply a filter on the CPU, each planned once for a shape and a dtype.

A method holds everything that does not depend on the image: taps, twiddle factors, pivots. Applied to
a stack of planes (P, H, W), C-contiguous, it fills another one that does not overlap, and says whether what
it wrote is finite: a value that is not spreads, so that the result tells of the input.

The NumPy and SciPy versions of the same operators are in `separable`, `dense` and `spectral`, and
`filters.reference` applies them; methods are tested against those.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import Array
from . import bounds, spectral
from .parameters import CODES, Boundary

Floats = NDArray[np.float64]

_RADII = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24)
LARGEST_RADIUS = _RADII[-1]
"""Loops over the taps are unrolled; wider windows go through the spectrum, which is cheaper by then."""

_STRIP = 512  # columns that finite filters take together: filtered rows of that width stay in the cache
_LEAST = 1 << 14  # pixels that are worth a thread
_MOST_AVERAGED = 64  # pixels in a running average


def is_finite(out: Array) -> bool:
    """Whether all values of an array of NumPy are finite; True of those on a device, not waited for.

    NaN is the least of all values, and the greatest; an array of answers would be an allocation.
    """
    return not isinstance(out, np.ndarray) or bool(np.isfinite(out.min()) and np.isfinite(out.max()))


class Procedure(ABC):
    """A planned way to apply a filter.

    Attributes
    ----------
    name
        What `Filter.plan` calls it.
    rank
        Separable terms, or None.
    flops, bytes
        Operations and memory traffic per pixel, with every array that does not stay in the cache counted.
    roundings
        Bound on the roundings that a pixel collects, in units (`bounds`), for |x| <= 1.
    """

    name: str
    rank: int | None = None
    flops: float
    bytes: float
    roundings: float

    @abstractmethod
    def apply(self, x: Array, out: Array) -> bool:
        """Filter `x` (P, H, W) into `out`; return whether all of the result is finite."""


class Truncated(Procedure):
    """Convolution with a sum of separable kernels, or with a dense one folded along its rows.

    Parameters
    ----------
    columns, rows
        (terms, radius + 1), from the middle outwards: the kernel is the sum of their outer products. Without
        rows, `columns` is the quarter of a dense kernel, transposed: its row l is the column at distance l.
    boundary
        Of the filter.
    dtype
        Of the image.
    """

    def __init__(self, columns: Floats, rows: Floats | None, boundary: Boundary, dtype: Any) -> None:
        terms, taps = columns.shape
        self.rank = None if rows is None else terms
        self.name = "dense" if rows is None else "separable" if terms == 1 else "low-rank"
        self.flops = operations(taps - 1, self.rank)
        self.bytes = 2.0 * dtype.itemsize
        self.roundings = bounds.folded(columns) if rows is None else bounds.terms(columns, rows)
        self._boundary = CODES[boundary]


class Finite(Truncated):
    """As `Truncated`, by kernels that are compiled for few radii."""

    def __init__(self, columns: Floats, rows: Floats | None, boundary: Boundary, dtype: Any) -> None:
        super().__init__(columns, rows, boundary, dtype)
        taps = columns.shape[1]
        more = ((0, 0), (0, compiled_radius(taps - 1) + 1 - taps))
        self._columns = np.pad(columns, more).astype(dtype)
        self._rows = self._columns if rows is None else np.pad(rows, more).astype(dtype)
        self._like = (dtype.type(0),) * self._columns.shape[1]

    def apply(self, x: Array, out: Array) -> bool:
        """As in `Procedure`."""
        from ..kernels import convolution, threads

        height, width = x.shape[1:]
        folded, radius = self.rank is None, len(self._like) - 1
        # By the separable kernel, a strip of a periodic plane would need the plane's other end.
        whole = self.rank == 1 and self._boundary == CODES["periodic"]
        strip = width if whole else min(_even_share(width, _STRIP), width)
        size = convolution.scratch(len(self._columns), radius, folded, strip)
        taps = (self._columns, self._rows, self._like)

        def part(start: int, stop: int) -> bool:
            work = threads.scratch(size, x.dtype), threads.scratch(strip + 2 * radius, np.intp)
            if self.rank == 1:
                return convolution.convolve_separably(
                    x, out, *taps, self._boundary, strip, *work, start, stop
                )
            return convolution.convolve(x, out, *taps, folded, self._boundary, strip, *work, start, stop)

        # Whole blocks, so that a row is computed by the same instructions whoever computes it.
        blocks = x.shape[0] * math.ceil(height / convolution.BLOCK)
        return all(threads.share(part, blocks, math.ceil(_LEAST / (width * convolution.BLOCK))))


def compiled_radius(radius: int) -> int:
    """The radius that a window is widened to by zeros, since every radius is compiled for itself."""
    return next((wider for wider in _RADII if wider >= radius), radius)


def operations(radius: int, rank: int | None) -> float:
    """Sums and products per pixel of a finite filter of that rank, None for a dense one.

    Several terms share the sums of pixels at equal distance along the row; a dense kernel has a term for each
    such distance, and nothing to mix.
    """
    one_pass = 2 * radius + 1
    if rank is None:
        return radius + (radius + 1) * one_pass
    return 2.0 * one_pass if rank == 1 else radius + rank * (radius + 1 + one_pass)


def _even_share(width: int, most: int) -> int:
    """Strips of at most `most` columns, all about as wide, in whole cache lines."""
    strips = math.ceil(width / most)
    return 16 * math.ceil(width / (16 * strips))


@dataclass(frozen=True, eq=False)
class _Columns:
    """The transform along the columns of planes h x w, as the kernels take it."""

    lanes: int
    strips: int
    transform: Any
    scratch: int

    @classmethod
    def plan(cls, h: int, w: int, boundary: Boundary, dtype: Any) -> _Columns:
        from ..kernels import fourier

        plan = fourier.planned(h, CODES[boundary], dtype)
        lanes = fourier.lanes(w)
        parts = (plan.radices, plan.twiddles, plan.circles, plan.order, plan.turn)
        return cls(lanes, math.ceil(w / (2 * lanes)), parts, 4 * h * lanes)


def is_smooth(n: int) -> bool:
    """Whether the compiled transform takes lines of n pixels: those without a prime factor above 7."""
    from ..kernels import fourier

    return fourier.radices(n) is not None


def averages_few(gamma: float, n: int) -> bool:
    """Whether the tridiagonal solve along lines of n pixels is as exact as transforms of them are.

    Beyond, the roundings of float32 add up in its running averages, up to a hundredth on lines of a million.
    """
    return bounds.averaged(gamma, n) <= _MOST_AVERAGED


class PlaneByPlane(Procedure):
    """A method that does a plane from end to end, and by which every pixel reaches every other one."""

    def apply(self, x: Array, out: Array) -> bool:
        """As in `Procedure`."""
        from ..kernels import threads

        if self._shares_planes(x):
            least = math.ceil(_LEAST / int(x[0].size))
            threads.share(lambda start, stop: self._do_planes(x, out, start, stop), len(x), least)
        else:
            self._do_in_steps(x, out)
        return self._is_finite(out)

    def _is_finite(self, out: Array) -> bool:
        """A value that is not finite has reached all others of its plane."""
        return bool(np.isfinite(out[:, 0, 0]).all())

    def _shares_planes(self, x: Array) -> bool:
        """Whether the planes of a stack are enough, or small enough, to be shared out as they are."""
        from ..kernels import threads

        return len(x) >= 4 * threads.count() or x[0].size <= 2 * _LEAST

    @abstractmethod
    def _do_planes(self, x: Array, out: Array, start: int, stop: int) -> None:
        """Some planes, by the calling thread."""

    @abstractmethod
    def _do_in_steps(self, x: Array, out: Array) -> None:
        """All planes, each step of each of them shared out among the threads."""


class Tridiagonal(PlaneByPlane):
    """(Id - gamma_y d^2/dy^2 - gamma_x d^2/dx^2)^-order exactly: transform along y, elimination along x.

    Parameters
    ----------
    h, w
        Shape of the planes; h must be smooth.
    gamma_y, gamma_x, order
        Of the operator; the order is an integer.
    boundary
        "reflect" or "periodic".
    dtype
        float32 or float64.
    """

    name = "tridiagonal"

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
        from ..kernels import tridiagonal

        self._order = order
        self._columns = _Columns.plan(h, w, boundary, dtype)
        self._blocks = math.ceil(h / tridiagonal.LINES)
        self._scratch = (w + 1) * tridiagonal.LINES
        laplacian = np.zeros(self._blocks * tridiagonal.LINES)
        laplacian[:h] = spectral.laplacian(spectral.frequencies(h, boundary))
        unit = 1 / max(1.0, gamma_y)
        scale = unit / (unit + min(1.0, gamma_y) * laplacian)  # 1 / (1 + gamma_y laplacian), in the range
        plan = tridiagonal.elimination(gamma_x * scale, w, CODES[boundary], dtype)
        self._scale = scale.astype(dtype)
        self._elimination = (plan.down, plan.up, plan.closing, plan.correction)
        self.roundings = bounds.transforms(h) + order * bounds.solve(gamma_x, w)
        self.flops = 5 * math.log2(max(2, h)) + 14 + 6 * order
        self.bytes = 6.0 * dtype.itemsize

    def _do_planes(self, x: Array, out: Array, start: int, stop: int) -> None:
        from ..kernels import planes, threads

        columns = self._columns
        planes.solve(
            x,
            out,
            columns.lanes,
            columns.strips,
            columns.transform,
            self._scale,
            self._elimination,
            self._order,
            threads.scratch(max(columns.scratch, self._scratch), x.dtype),
            start,
            stop,
        )

    def _do_in_steps(self, x: Array, out: Array) -> None:
        for source, to in zip(x, out, strict=True):
            self._do_plane_in_steps(source, to)

    def _do_plane_in_steps(self, x: Array, out: Array) -> None:
        from ..kernels import fourier, threads, tridiagonal

        strips = self._columns.strips
        lanes, transform = self._columns.lanes, self._columns.transform

        def forward(start: int, stop: int) -> None:
            work = threads.scratch(self._columns.scratch, x.dtype)
            fourier.forward(x, out, lanes, transform, work, start, stop)

        def solve(start: int, stop: int) -> None:
            work = threads.scratch(self._scratch, x.dtype)
            tridiagonal.solve_rows(out, self._scale, *self._elimination, self._order, work, start, stop)

        def backward(start: int, stop: int) -> None:
            work = threads.scratch(self._columns.scratch, x.dtype)
            fourier.backward(out, lanes, transform, work, start, stop)

        threads.share(forward, strips)
        threads.share(solve, self._blocks)
        threads.share(backward, strips)


class Recursive(PlaneByPlane):
    """(Id - gamma_y d^2/dy^2)^-order (Id - gamma_x d^2/dx^2)^-order: elimination along each axis."""

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
        from ..kernels import planes, tridiagonal

        self._order = order
        self._blocks = math.ceil(h / tridiagonal.LINES)
        self._scratch = max((w + 1) * tridiagonal.LINES, planes.STRIP)
        self._ones = np.ones(self._blocks * tridiagonal.LINES, dtype)
        y = tridiagonal.elimination(np.array([gamma_y]), h, CODES[boundary], dtype)
        gains = np.full(self._ones.size, gamma_x)
        x = tridiagonal.elimination(gains, w, CODES[boundary], dtype)
        down, up, correction = (np.ascontiguousarray(a[:, 0]) for a in (y.down, y.up, y.correction))
        self._along_y = (down, up, y.closing[0], correction)
        self._along_x = (x.down, x.up, x.closing, x.correction)
        self.roundings = order * (bounds.solve(gamma_y, h) + bounds.solve(gamma_x, w))
        self.flops, self.bytes = 11.0 * order, 4.0 * dtype.itemsize

    def _is_finite(self, out: Array) -> bool:
        """What leaves the range along a row, which comes last, has reached all others of that row alone."""
        return bool(np.isfinite(out[:, :, 0]).all())

    def _do_planes(self, x: Array, out: Array, start: int, stop: int) -> None:
        from ..kernels import planes, threads

        work = threads.scratch(self._scratch, x.dtype)
        planes.solve_along_axes(
            x, out, self._along_y, self._ones, self._along_x, self._order, work, start, stop
        )

    def _do_in_steps(self, x: Array, out: Array) -> None:
        for source, to in zip(x, out, strict=True):
            self._do_plane_in_steps(source, to)

    def _do_plane_in_steps(self, x: Array, out: Array) -> None:
        from ..kernels import planes, threads, tridiagonal

        width = x.shape[1]
        strips = math.ceil(width / planes.STRIP)
        np.copyto(out, x)

        def along_y(start: int, stop: int) -> None:
            for strip in range(start, stop):
                x0 = strip * planes.STRIP
                x1 = min(x0 + planes.STRIP, width)
                work = threads.scratch(self._scratch, x.dtype)
                tridiagonal.solve_columns(out, *self._along_y, self._order, work, x0, x1)

        def along_x(start: int, stop: int) -> None:
            work = threads.scratch(self._scratch, x.dtype)
            tridiagonal.solve_rows(out, self._ones, *self._along_x, self._order, work, start, stop)

        threads.share(along_y, strips)
        threads.share(along_x, self._blocks)


class Multiplication(Procedure):
    """Multiplication by a transfer function in the eigenbasis of the Laplacian.

    Parameters
    ----------
    response
        (h, w), laid out as `Filter.response` says.
    boundary
        Of the filter.
    dtype
        Of the image.
    gain
        A bound of the result for |x| <= 1.
    """

    name = "spectral"

    def __init__(self, response: Floats, boundary: Boundary, dtype: Any, gain: float = 1.0) -> None:
        self.roundings = gain * bounds.transforms(response.size)
        self.flops, self.bytes = 5 * math.log2(max(2, response.size)) + 16, 16.0 * dtype.itemsize
        self._boundary: Boundary = boundary


def multiplication(response: Floats, boundary: Boundary, dtype: Any, gain: float) -> Procedure:
    """The way to multiply spectra on the host."""
    return Spectral(response, boundary, dtype, gain)


class Spectral(Multiplication, PlaneByPlane):
    """As `Multiplication`.

    By compiled transforms where both sides of the plane are smooth and the boundary is not "zero", by SciPy's
    otherwise.
    """

    def __init__(self, response: Floats, boundary: Boundary, dtype: Any, gain: float = 1.0) -> None:
        super().__init__(response, boundary, dtype, gain)
        h, w = response.shape
        self._compiled = boundary != "zero" and is_smooth(h) and is_smooth(w)
        if self._compiled:
            self._along_y = _Columns.plan(h, w, boundary, dtype)
            self._along_x = _Columns.plan(w, h, boundary, dtype)
            self._response = np.ascontiguousarray(response.T, dtype)
        else:
            self._response = response.astype(dtype)

    def _shares_planes(self, x: Array) -> bool:
        return self._compiled and super()._shares_planes(x)

    def _do_planes(self, x: Array, out: Array, start: int, stop: int) -> None:
        from ..kernels import planes, threads

        y, columns = self._along_y, self._along_x
        planes.multiply(
            x,
            out,
            self._response,
            y.lanes,
            y.strips,
            y.transform,
            columns.lanes,
            columns.strips,
            columns.transform,
            threads.scratch(2 * x[0].size + max(y.scratch, columns.scratch), x.dtype),
            start,
            stop,
        )

    def _do_in_steps(self, x: Array, out: Array) -> None:
        response = self._response.T if self._compiled else self._response
        np.copyto(out, spectral.multiply(x, response, self._boundary))


class Copy(Procedure):
    """No filter at all."""

    name, flops, roundings = "identity", 0.0, 0.0

    def __init__(self, dtype: Any) -> None:
        self.bytes = 2.0 * dtype.itemsize

    def apply(self, x: Array, out: Array) -> bool:
        """As in `Procedure`."""
        np.copyto(out, x)
        return is_finite(out)
