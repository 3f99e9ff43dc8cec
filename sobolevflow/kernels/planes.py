"""Filters of whole planes, made of transforms along columns and solves along lines.

Each kernel takes a stack of planes (P, H, W) and does some of them from end to end, so that a plane
which the cache holds stays there. A plane too large for that is better done step by step, by the
kernels that these are made of, which share out its strips and rows among threads.
"""

from __future__ import annotations

from typing import Any

from numba import uintp

from ..arrays import Array
from . import fourier, tridiagonal
from .compiling import kernel

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
    work: Array,
    start: int,
    stop: int,
) -> None:
    """(Id - gamma_y d^2/dy^2 - gamma_x d^2/dx^2)^-times: transform along y, eliminate along x, and back.

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
    work
        Scratch memory, as much as the most demanding step takes.
    start, stop
        Which planes.
    """
    down, up, closing, correction = elimination
    blocks = scale.size // tridiagonal.LINES
    for p in range(start, stop):
        _forward(x[p], out[p], lanes, transform, work, 0, strips)
        _solve_rows(out[p], scale, down, up, closing, correction, times, work, 0, blocks)
        _backward(out[p], lanes, transform, work, 0, strips)


@kernel
def solve_along_axes(
    x: Array,
    out: Array,
    along_y: Any,
    ones: Array,
    along_x: Any,
    times: int,
    work: Array,
    start: int,
    stop: int,
) -> None:
    """(Id - gamma_y d^2/dy^2)^-times (Id - gamma_x d^2/dx^2)^-times, a solve along each axis.

    `along_y` is the `tridiagonal.Elimination` of one line, its closing weight as a number, `along_x`
    that of as many lines as `ones`, a whole number of blocks. The rest is as in `solve`.
    """
    down_y, up_y, closing_y, correction_y = along_y
    down, up, closing, correction = along_x
    width = x.shape[2]
    blocks = ones.size // tridiagonal.LINES
    for p in range(start, stop):
        copy(x[p], out[p])
        for x0 in range(0, width, STRIP):
            x1 = min(x0 + STRIP, width)
            _solve_columns(out[p], down_y, up_y, closing_y, correction_y, times, work, x0, x1)
        _solve_rows(out[p], ones, down, up, closing, correction, times, work, 0, blocks)


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
    work: Array,
    start: int,
    stop: int,
) -> None:
    """Multiply the coefficients of planes by `response` (W, H), the transposed transfer function.

    `along_y` and `along_x` are as `transform` in `solve`, for columns of length H and of length W. `work`
    holds two planes beside what a transform takes.
    """
    height, width = x.shape[1:]
    size = width * height
    lying = work[:size].reshape(width, height)
    spectrum = work[size : 2 * size].reshape(width, height)
    work = work[2 * size :]
    for p in range(start, stop):
        _forward(x[p], out[p], lanes_y, along_y, work, 0, strips_y)
        _transpose(out[p], lying)
        _forward(lying, spectrum, lanes_x, along_x, work, 0, strips_x)
        for i in range(width):
            for j in range(height):
                spectrum[uintp(i), uintp(j)] *= response[uintp(i), uintp(j)]
        _backward(spectrum, lanes_x, along_x, work, 0, strips_x)
        _transpose(spectrum, out[p])
        _backward(out[p], lanes_y, along_y, work, 0, strips_y)
