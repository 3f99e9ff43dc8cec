"""Trigonometric transforms of a plane along its columns, many columns at once.

A transform of scattered lines is bound by shuffling data; here neighbouring columns lie side by side
in memory, so that every step of the transform is a loop over columns that vectorises. The plane is
walked in strips: the left half of a strip's columns are the real parts and the right half the
imaginary parts of complex lines (n, 2, lanes), which go through an FFT of mixed radix (Stockham's
form, which needs no reordering; C. Van Loan, *Computational Frameworks for the FFT*, SIAM 1992).

What comes out are n real coefficients a column, coefficient k and n - k from the same complex one:

======== ============================================= =================================
REFLECT  DCT-II, sum_j x_j cos(pi k (j + 1/2) / n),    by the FFT of the even pixels, then the
         without normalisation                         odd ones backwards (J. Makhoul, IEEE
                                                       Trans. ASSP 28, 1980)
PERIODIC Re X_k for k <= n/2, and -Im X_(n-k) beyond   FFT of the pixels
======== ============================================= =================================

Either way coefficient k belongs to the eigenvalue k of the discrete Laplacian (for PERIODIC in the
order of `numpy.fft.fftfreq`), so whatever depends on eigenvalues alone is applied alike.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import uintp
from numba.cpython.unsafe.tuple import tuple_setitem

from ..arrays import Array
from . import pixels
from .compiling import kernel

RADICES = (4, 2, 3, 5, 7)
_ODD = (3, 5, 7)
_LANES = 64


def radices(n: int) -> tuple[int, ...] | None:
    """The radices whose product is n, or None where n has a prime factor above 7."""
    found = []
    for radix in RADICES:
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return tuple(found) if n == 1 else None


@dataclass(frozen=True, eq=False)
class Transform:
    """What the transform of columns of length n needs beside the data.

    Attributes
    ----------
    radices
        Of the steps of the FFT, in order.
    twiddles
        For each step in turn (rest / radix, radix, 2), flat: exp(-2 pi i p k / rest), where rest is n divided
        by the radices before; real and imaginary part.
    circles
        For each radix of 3, 5, 7 the cosines and sines of 2 pi j / radix, j < radix, and as a third
        entry as many numbers as a loop over pairs needs. As tuples, since a step is compiled for its radix.
    order
        Place j of the line that goes into the FFT holds pixel order[j].
    turn
        (n // 2 + 1, 2): cosine and sine of the angle that coefficient k is turned by.
    """

    n: int
    radices: Array
    twiddles: Array
    circles: tuple[Any, ...]
    order: Array
    turn: Array


@functools.lru_cache(maxsize=32)
def planned(n: int, boundary: int, dtype: Any) -> Transform:
    """The plan for columns of length n, which has `radices`, with boundary REFLECT or PERIODIC."""
    found = radices(n)
    if found is None:
        raise ValueError(f"{n} has a prime factor above {max(RADICES)}")
    order: Array = np.arange(n)
    angle: Array = np.zeros(n // 2 + 1)
    if boundary == pixels.REFLECT:
        order = np.concatenate([order[::2], order[1::2][::-1]])
        angle = np.pi / (2 * n) * np.arange(n // 2 + 1)
    turn = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(dtype)
    twiddles: Array = np.concatenate([np.zeros(0), *_twiddles(n, found)]).astype(dtype)
    circles = tuple(_circle(radix, dtype) for radix in _ODD)
    return Transform(n, np.array(found, np.intp), twiddles, circles, order, turn)


def _twiddles(n: int, found: tuple[int, ...]) -> list[Array]:
    twiddles, rest = [], n
    for radix in found:
        angle = -2 * np.pi / rest * np.outer(np.arange(rest // radix), np.arange(radix))
        twiddles.append(np.stack([np.cos(angle), np.sin(angle)], axis=-1).ravel())
        rest //= radix
    return twiddles


def _circle(radix: int, dtype: Any) -> tuple[tuple[Any, ...], ...]:
    angle = 2 * np.pi / radix * np.arange(radix)
    cosines, sines = tuple(np.cos(angle).astype(dtype)), tuple(np.sin(angle).astype(dtype))
    return cosines, sines, cosines[: radix // 2]


def lanes(width: int) -> int:
    """Complex lines side by side: a multiple of 8, at most 64, that leaves few of them idle."""
    strips = math.ceil(width / (2 * _LANES))
    return 8 * math.ceil(width / (16 * strips))


@kernel
def _pass_of_four(source: Array, to: Array, stride: int, twiddles: Array) -> None:
    """One step of radix 4 from `source` (n, 2, lanes) to `to`."""
    groups = twiddles.shape[0]
    re, im = uintp(0), uintp(1)
    for p in range(groups):
        br, bi = twiddles[p, 1, 0], twiddles[p, 1, 1]
        cr, ci = twiddles[p, 2, 0], twiddles[p, 2, 1]
        dr, di = twiddles[p, 3, 0], twiddles[p, 3, 1]
        for q in range(stride):
            i = uintp(q + stride * p)
            j = uintp(q + stride * (p + groups))
            k = uintp(q + stride * (p + 2 * groups))
            m = uintp(q + stride * (p + 3 * groups))
            a = uintp(q + stride * 4 * p)
            b, c, d = a + uintp(stride), a + uintp(2 * stride), a + uintp(3 * stride)
            for lane in range(source.shape[2]):
                x = uintp(lane)
                even_r, even_i = source[i, re, x] + source[k, re, x], source[i, im, x] + source[k, im, x]
                odd_r, odd_i = source[j, re, x] + source[m, re, x], source[j, im, x] + source[m, im, x]
                left_r, left_i = source[i, re, x] - source[k, re, x], source[i, im, x] - source[k, im, x]
                # minus i times the difference
                right_r, right_i = source[j, im, x] - source[m, im, x], source[m, re, x] - source[j, re, x]
                to[a, re, x] = even_r + odd_r
                to[a, im, x] = even_i + odd_i
                r, s = left_r + right_r, left_i + right_i
                to[b, re, x] = r * br - s * bi
                to[b, im, x] = r * bi + s * br
                r, s = even_r - odd_r, even_i - odd_i
                to[c, re, x] = r * cr - s * ci
                to[c, im, x] = r * ci + s * cr
                r, s = left_r - right_r, left_i - right_i
                to[d, re, x] = r * dr - s * di
                to[d, im, x] = r * di + s * dr


@kernel
def _pass_of_two(source: Array, to: Array, stride: int, twiddles: Array) -> None:
    """One step of radix 2."""
    groups = twiddles.shape[0]
    re, im = uintp(0), uintp(1)
    for p in range(groups):
        br, bi = twiddles[p, 1, 0], twiddles[p, 1, 1]
        for q in range(stride):
            i, j = uintp(q + stride * p), uintp(q + stride * (p + groups))
            a = uintp(q + stride * 2 * p)
            b = a + uintp(stride)
            for lane in range(source.shape[2]):
                x = uintp(lane)
                r, s = source[i, re, x] - source[j, re, x], source[i, im, x] - source[j, im, x]
                to[a, re, x] = source[i, re, x] + source[j, re, x]
                to[a, im, x] = source[i, im, x] + source[j, im, x]
                to[b, re, x] = r * br - s * bi
                to[b, im, x] = r * bi + s * br


@kernel
def _pass_of_odd(
    source: Array, to: Array, stride: int, twiddles: Array, cosines: Any, sines: Any, half: Any
) -> None:
    """One step of an odd radix, the length of `cosines`; `half` is any tuple of half that length.

    Inputs j and radix - j enter the cosines by their sum and the sines by their difference.
    """
    radix, pairs = len(cosines), len(half)
    groups = twiddles.shape[0]
    re, im = uintp(0), uintp(1)
    for p in range(groups):
        for q in range(stride):
            first, place = q + stride * p, q + stride * radix * p
            step = stride * groups
            for lane in range(source.shape[2]):
                x = uintp(lane)
                zero_r, zero_i = source[uintp(first), re, x], source[uintp(first), im, x]
                sum_r = sum_i = difference_r = difference_i = half
                total_r, total_i = zero_r, zero_i
                for j in range(pairs):
                    o, u = uintp(first + (j + 1) * step), uintp(first + (radix - 1 - j) * step)
                    sum_r = tuple_setitem(sum_r, j, source[o, re, x] + source[u, re, x])
                    sum_i = tuple_setitem(sum_i, j, source[o, im, x] + source[u, im, x])
                    difference_r = tuple_setitem(difference_r, j, source[o, re, x] - source[u, re, x])
                    difference_i = tuple_setitem(difference_i, j, source[o, im, x] - source[u, im, x])
                    total_r += sum_r[j]
                    total_i += sum_i[j]
                to[uintp(place), re, x] = total_r
                to[uintp(place), im, x] = total_i
                for k in range(1, pairs + 1):
                    even_r, even_i = zero_r, zero_i
                    odd_r, odd_i = zero_r - zero_r, zero_i - zero_i
                    for j in range(pairs):
                        c, s = cosines[(j + 1) * k % radix], sines[(j + 1) * k % radix]
                        even_r += c * sum_r[j]
                        even_i += c * sum_i[j]
                        odd_r += s * difference_i[j]
                        odd_i -= s * difference_r[j]
                    o, u = uintp(place + k * stride), uintp(place + (radix - k) * stride)
                    r, s = even_r + odd_r, even_i + odd_i
                    to[o, re, x] = r * twiddles[p, k, 0] - s * twiddles[p, k, 1]
                    to[o, im, x] = r * twiddles[p, k, 1] + s * twiddles[p, k, 0]
                    r, s = even_r - odd_r, even_i - odd_i
                    to[u, re, x] = r * twiddles[p, radix - k, 0] - s * twiddles[p, radix - k, 1]
                    to[u, im, x] = r * twiddles[p, radix - k, 1] + s * twiddles[p, radix - k, 0]


@kernel
def _fourier(work: Array, spare: Array, found: Array, twiddles: Array, circles: Any) -> bool:
    """Transform the lines `work` (n, 2, lanes); True where the result is in `spare`."""
    stride, offset = 1, 0
    swapped = False
    for radix in found:
        groups = work.shape[0] // (stride * radix)
        count = groups * radix * 2
        factors = twiddles[offset : offset + count].reshape(groups, radix, 2)
        source, to = (spare, work) if swapped else (work, spare)
        if radix == 4:
            _pass_of_four(source, to, stride, factors)
        elif radix == 2:
            _pass_of_two(source, to, stride, factors)
        elif radix == 3:
            _pass_of_odd(source, to, stride, factors, circles[0][0], circles[0][1], circles[0][2])
        elif radix == 5:
            _pass_of_odd(source, to, stride, factors, circles[1][0], circles[1][1], circles[1][2])
        else:
            _pass_of_odd(source, to, stride, factors, circles[2][0], circles[2][1], circles[2][2])
        swapped = not swapped
        stride *= radix
        offset += count
    return swapped


@kernel
def _load(plane: Array, x0: int, order: Array, work: Array) -> None:
    """A strip of columns from x0 on into complex lines; columns beyond the plane are zero."""
    width, count = plane.shape[1], work.shape[2]
    for half in range(2):
        first = x0 + half * count
        inside = min(max(width - first, 0), count)
        for i in range(order.size):
            y = uintp(order[i])
            for j in range(inside):
                work[uintp(i), uintp(half), uintp(j)] = plane[y, uintp(first + j)]
            for j in range(inside, count):
                work[i, half, j] = 0


@kernel
def _store(work: Array, order: Array, scale: Any, plane: Array, x0: int) -> None:
    """Complex lines with real and imaginary part exchanged, scaled, back to a strip of columns."""
    width, count = plane.shape[1], work.shape[2]
    for half in range(2):
        first = x0 + half * count
        inside = min(max(width - first, 0), count)
        for i in range(order.size):
            y = uintp(order[i])
            for j in range(inside):
                plane[y, uintp(first + j)] = scale * work[uintp(i), uintp(1 - half), uintp(j)]


@kernel
def _separate(work: Array, turn: Array, coefficients: Array, x0: int) -> None:
    """Transformed lines of two real columns each to the coefficients of those columns.

    Z = A + i B with A and B of real columns: A_k = (Z_k + conj Z_(n-k)) / 2, B_k = (Z_k - conj Z_(n-k)) / 2i.
    """
    n, _, count = work.shape
    width = coefficients.shape[1]
    half = work.dtype.type(0.5)
    left = min(max(width - x0, 0), count)
    right = min(max(width - x0 - count, 0), count)
    re, im = uintp(0), uintp(1)
    for k in range(n // 2 + 1):
        i, m = uintp(k), uintp((n - k) % n)
        c, s = half * turn[k, 0], half * turn[k, 1]
        alone = i == m
        for lane in range(left):
            x, to = uintp(lane), uintp(x0 + lane)
            real, imaginary = work[i, re, x] + work[m, re, x], work[i, im, x] - work[m, im, x]
            if not alone:
                coefficients[m, to] = s * real - c * imaginary
            coefficients[i, to] = c * real + s * imaginary
        for lane in range(right):
            x, to = uintp(lane), uintp(x0 + count + lane)
            real, imaginary = work[i, im, x] + work[m, im, x], work[m, re, x] - work[i, re, x]
            if not alone:
                coefficients[m, to] = s * real - c * imaginary
            coefficients[i, to] = c * real + s * imaginary


@kernel
def _join(coefficients: Array, x0: int, turn: Array, work: Array) -> None:
    """The inverse of `_separate`, with real and imaginary part exchanged, so that a forward FFT inverts."""
    n, _, count = work.shape
    width = coefficients.shape[1]
    left = min(max(width - x0, 0), count)
    right = min(max(width - x0 - count, 0), count)
    zero = work.dtype.type(0)
    re, im = uintp(1), uintp(0)
    for k in range(n // 2 + 1):
        i, m = uintp(k), uintp((n - k) % n)
        c, s = turn[k, 0], turn[k, 1]
        if i == m:
            # A real coefficient: of the DCT, 0 is not turned, and n / 2 has become its cosine, 1 / sqrt 2.
            gain = c + s
            for lane in range(left):
                work[i, re, uintp(lane)] = gain * coefficients[i, uintp(x0 + lane)]
            for lane in range(left, count):
                work[i, re, uintp(lane)] = zero
            for lane in range(right):
                work[i, im, uintp(lane)] = gain * coefficients[i, uintp(x0 + count + lane)]
            for lane in range(right, count):
                work[i, im, uintp(lane)] = zero
            continue
        for lane in range(right):
            x, a, b = uintp(lane), uintp(x0 + lane), uintp(x0 + count + lane)
            a_re = c * coefficients[i, a] + s * coefficients[m, a]
            a_im = s * coefficients[i, a] - c * coefficients[m, a]
            b_re = c * coefficients[i, b] + s * coefficients[m, b]
            b_im = s * coefficients[i, b] - c * coefficients[m, b]
            work[i, re, x] = a_re - b_im
            work[i, im, x] = a_im + b_re
            work[m, re, x] = a_re + b_im
            work[m, im, x] = b_re - a_im
        for lane in range(right, left):
            x, a = uintp(lane), uintp(x0 + lane)
            a_re = c * coefficients[i, a] + s * coefficients[m, a]
            a_im = s * coefficients[i, a] - c * coefficients[m, a]
            work[i, re, x] = a_re
            work[i, im, x] = a_im
            work[m, re, x] = a_re
            work[m, im, x] = -a_im
        for lane in range(left, count):
            x = uintp(lane)
            work[i, re, x] = zero
            work[i, im, x] = zero
            work[m, re, x] = zero
            work[m, im, x] = zero


@kernel
def forward(
    plane: Array,
    coefficients: Array,
    count: int,
    transform: Any,
    memory: Array,
    start: int,
    stop: int,
) -> None:
    """Coefficients (n, W) of some strips of the columns of `plane` (n, W).

    Parameters
    ----------
    plane, coefficients
        Of one dtype; they must not overlap.
    count
        Complex lines side by side, from `lanes`; a strip has twice as many columns.
    transform
        The last five attributes of a `Transform`.
    memory
        For scratch: 4 n count numbers of the plane's dtype.
    start, stop
        Which strips.
    """
    found, twiddles, circles, order, turn = transform
    size = 2 * plane.shape[0] * count
    work = memory[:size].reshape(plane.shape[0], 2, count)
    spare = memory[size : 2 * size].reshape(plane.shape[0], 2, count)
    for strip in range(start, stop):
        x0 = 2 * count * strip
        _load(plane, x0, order, work)
        if _fourier(work, spare, found, twiddles, circles):
            _separate(spare, turn, coefficients, x0)
        else:
            _separate(work, turn, coefficients, x0)


@kernel
def backward(plane: Array, count: int, transform: Any, memory: Array, start: int, stop: int) -> None:
    """The inverse of `forward`, in place: coefficients become pixels."""
    found, twiddles, circles, order, turn = transform
    size = 2 * plane.shape[0] * count
    work = memory[:size].reshape(plane.shape[0], 2, count)
    spare = memory[size : 2 * size].reshape(plane.shape[0], 2, count)
    scale = plane.dtype.type(1 / plane.shape[0])
    for strip in range(start, stop):
        x0 = 2 * count * strip
        _join(plane, x0, turn, work)
        if _fourier(work, spare, found, twiddles, circles):
            _store(spare, order, scale, plane, x0)
        else:
            _store(work, order, scale, plane, x0)
