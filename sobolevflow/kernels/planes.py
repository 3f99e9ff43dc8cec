"""Filters of whole planes, made of transforms along columns and solves along lines.

Each kernel takes a stack of planes (P, H, W) and does some of them from end to end, so that a plane
which the cache holds stays there. A plane too large for that is better done step by step, by the
kernels that these are made of, which share out its strips and rows among threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uintp
from numpy.typing import NDArray

from . import fourier, tridiagonal
from .compiling import kernel

Array = NDArray[Any]

STRIP = 128  # columns that a solve goes down together
_TILE = 32

_forward, _backward = fourier.forward, fourier.backward
_solve_rows, _solve_columns = tridiagonal.solve_rows, tridiagonal.solve_columns


@kernel
def solve(
    x: Array,
    out: Array,
    lanes: int,
    strips: int,
    transform: Any,
    scale: Array,
    elimination: Any,
    times: int,
    start: int,
    stop: int,
) -> None:
    """(Id - gamma_y d^2/dy^2 - gamma_x d^2/dx^2)^-times: transform along y, eliminate along x, transform back.

    Parameters
    ----------
    x, out
        (P, H, W) of one dtype, C-contiguous; they must not overlap.
    lanes, strips
        Complex lines side by side in a strip, and how many strips a plane has.
    transform
        The last five attributes of `fourier.Transform`.
    scale, elimination
        1 / (1 + gamma_y lambda) for each row of coefficients, rounded up to whole blocks, and the attributes
        of `tridiagonal.Elimination` for the gains gamma_x times that.
    times
        The order of the operator.
    start, stop
        Which planes.
    """
    height, width = x.shape[1:]
    radices, twiddles, circles, order, turn = transform
    gain, pivots, last, correction = elimination
    coefficients = np.empty((height, width), x.dtype)
    blocks = scale.size // tridiagonal.LINES
    for p in range(start, stop):
        _forward(x[p], coefficients, lanes, radices, twiddles, circles, order, turn, 0, strips)
        _solve_rows(coefficients, scale, gain, pivots, last, correction, times, 0, blocks)
        _backward(coefficients, out[p], lanes, radices, twiddles, circles, order, turn, 0, strips)


@kernel
def solve_along_axes(
    x: Array,
    out: Array,
    along_y: Any,
    ones: Array,
    along_x: Any,
    times: int,
    start: int,
    stop: int,
) -> None:
    """(Id - gamma_y d^2/dy^2)^-times (Id - gamma_x d^2/dx^2)^-times, a solve along each axis.

    `along_y` is the `tridiagonal.Elimination` of one line, its gain and last pivot as numbers, `along_x` that of
    as many lines as `ones`, a whole number of blocks. The rest is as in `solve`.
    """
    gain_y, pivots_y, last_y, correction_y = along_y
    gain, pivots, last, correction = along_x
    width = x.shape[2]
    blocks = ones.size // tridiagonal.LINES
    for p in range(start, stop):
        copy(x[p], out[p])
        for x0 in range(0, width, STRIP):
            x1 = min(x0 + STRIP, width)
            _solve_columns(out[p], gain_y, pivots_y, last_y, correction_y, times, x0, x1)
        _solve_rows(out[p], ones, gain, pivots, last, correction, times, 0, blocks)


@kernel
def copy(source: Array, to: Array) -> None:
    """Copy a plane."""
    for y in range(source.shape[0]):
        for x in range(source.shape[1]):
            to[uintp(y), uintp(x)] = source[uintp(y), uintp(x)]


@kernel
def _transpose(source: Array, to: Array) -> None:
    """By tiles that stay in the cache."""
    height, width = source.shape
    for y0 in range(0, height, _TILE):
        for x0 in range(0, width, _TILE):
            for y in range(y0, min(y0 + _TILE, height)):
                for x in range(x0, min(x0 + _TILE, width)):
                    to[uintp(x), uintp(y)] = source[uintp(y), uintp(x)]


@kernel
def multiply(
    x: Array,
    out: Array,
    response: Array,
    lanes_y: int,
    strips_y: int,
    along_y: Any,
    lanes_x: int,
    strips_x: int,
    along_x: Any,
    start: int,
    stop: int,
) -> None:
    """Multiply the coefficients of planes by `response` (W, H), the transposed transfer function.

    `along_y` and `along_x` are as `transform` in `solve`, for columns of length H and of length W.
    """
    height, width = x.shape[1:]
    radices, twiddles, circles, order, turn = along_y
    radices_x, twiddles_x, circles_x, order_x, turn_x = along_x
    upright = np.empty((height, width), x.dtype)
    lying, spectrum = np.empty((width, height), x.dtype), np.empty((width, height), x.dtype)
    for p in range(start, stop):
        _forward(x[p], upright, lanes_y, radices, twiddles, circles, order, turn, 0, strips_y)
        _transpose(upright, lying)
        _forward(lying, spectrum, lanes_x, radices_x, twiddles_x, circles_x, order_x, turn_x, 0, strips_x)
        for i in range(width):
            for j in range(height):
                spectrum[uintp(i), uintp(j)] *= response[uintp(i), uintp(j)]
        _backward(spectrum, lying, lanes_x, radices_x, twiddles_x, circles_x, order_x, turn_x, 0, strips_x)
        _transpose(lying, upright)
        _backward(upright, out[p], lanes_y, radices, twiddles, circles, order, turn, 0, strips_y)
