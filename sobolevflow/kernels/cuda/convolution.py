"""Convolution of image planes with a small symmetric kernel on a CUDA device.

One launch a filter: the plane is read once, but for the halos of the tiles, and written once. A thread
has a column of the tile, those of its halo too, and keeps in registers the pixels above each other that
it needs. For every term it filters them down the column into shared memory; from there the threads in the
middle filter along the rows, and add up the terms in registers. There are two row filters, as there are
in `kernels.convolution`:

====== ========================================== ================================================
MIXED  a term's own taps                          a sum of separable kernels
FOLDED the two pixels at the distance of the term any kernel: term l is its column at distance l
====== ========================================== ================================================

A plane is continued beyond its border as `pixels` says; a block looks up once where the rows of its tile
begin, which also keeps the compiler from giving every one of them a register.

A launch allocates nothing and waits for nothing, so it can be captured into a CUDA graph once its
kernel has been compiled by an earlier call. Kernels are compiled on their first launch, one for each
radius, row filter, boundary and dtype.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, float32, float64, int32, uint32, uint64
from numba.core.types import float16

from .. import pixels
from .launching import configured

LARGEST_RADIUS = 24
"""Of the kernels that fit into shared memory, in float64 too."""

MOST_PLANES = 65535
"""Of one launch: blocks along the third axis of a grid."""

_source = cuda.jit(device=True)(pixels.source)

_sign = cuda.jit(device=True)(pixels.sign)


@dataclass(frozen=True)
class Tile:
    """A block of `across` x `down` threads, each of which has that many pixels, one below the other."""

    across: int
    down: int
    pixels: int

    @property
    def height(self) -> int:
        """Rows of the tile."""
        return self.down * self.pixels


# The fastest of many on an H100 (bench/gpu.py --sweep).
MIXED, FOLDED = Tile(128, 1, 16), Tile(128, 1, 12)


def convolve(
    x: Any,
    out: Any,
    shape: tuple[int, int, int],
    columns: Any,
    rows: Any | None,
    boundary: int,
    stream: Any = 0,
    tile: Tile | None = None,
) -> None:
    """Convolve planes with a kernel that is even in both axes.

    Parameters
    ----------
    x, out
        (P * H * W,), float16, float32 or float64, C-contiguous, not overlapping: arrays that Numba takes.
    shape
        (P, H, W), P <= MOST_PLANES.
    columns, rows
        (terms, radius + 1), from the middle outwards: the kernel is the sum of their outer products. Without
        rows, row l of `columns` is the kernel's column at distance l. float64 if `x` is, or float32.
    boundary
        `pixels.REFLECT`, `PERIODIC` or `ZERO`.
    stream
        Numba's stream to launch on.
    tile
        Another than MIXED or FOLDED, to compare.
    """
    radius, folded = columns.shape[1] - 1, rows is None
    tile = tile or (FOLDED if folded else MIXED)
    planes, height, width = shape
    blocks = (-(-width // (tile.across - 2 * radius)), -(-height // tile.height), planes)
    kernel = compiled(radius, folded, boundary, str(x.dtype), tile)
    rows = columns if rows is None else rows
    launch = configured(kernel, blocks, (tile.across, tile.down), stream)
    launch(x, out, np.int32(height), np.int32(width), columns, rows)


@functools.cache
def compiled(radius: int, folded: bool, boundary: int, dtype: str, tile: Tile) -> Any:
    """The kernel of `convolve`: (x, out, height, width, columns, rows), x and out flat."""
    number, storage = _numbers(dtype)
    across, count, taps, high = tile.across, tile.pixels, radius + 1, tile.pixels + 2 * radius
    tall, halo = tile.height, tile.height + 2 * radius
    filter_line, store = _line_filter(radius), _storing(count)
    find_rows, load = _row_finder(tile, radius, boundary), _loading(high, boundary, dtype)

    @cuda.jit
    def kernel(x: Any, out: Any, height: Any, width: Any, columns: Any, rows: Any) -> None:
        filtered = cuda.shared.array((2, tall, across), number)  # one is read while the other is written
        origins = cuda.shared.array(halo, uint32)
        signs = cuda.shared.array(halo, int32)
        column, row = cuda.local.array(taps, number), cuda.local.array(taps, number)
        line, total = cuda.local.array(high, number), cuda.local.array(count, number)
        tx, first, top = cuda.threadIdx.x, int32(cuda.threadIdx.y * count), int32(cuda.blockIdx.y * tall)
        place = int32(cuda.blockIdx.x * (across - 2 * radius) + tx - radius)
        at, side = uint64(_source(place, width, boundary)), int32(_sign(place, width))
        middle = uint64(min(max(tx, radius), across - 1 - radius))  # threads of the halo filter no row
        column_of_plane = x[uint64(cuda.blockIdx.z) * uint64(height) * uint64(width) + at :]
        find_rows(top, height, width, origins, signs)
        cuda.syncthreads()
        if folded:
            load(column_of_plane, origins, signs, side, first, line)
        for i in range(count):
            total[i] = number(0)
        for term in range(columns.shape[0]):
            if not folded:  # there are few terms, and the sums of pixels would take too many registers
                load(column_of_plane, origins, signs, side, first, line)
            for k in range(taps):
                column[k] = columns[uint64(term), uint64(k)]
                if not folded:
                    row[k] = rows[uint64(term), uint64(k)]
            now = uint64(term % 2)
            for i in range(count):
                filtered[now, uint64(first + i), uint64(tx)] = filter_line(line, i, column)
            cuda.syncthreads()
            before, after = middle - uint64(term), middle + uint64(term)
            for i in range(count):
                y = uint64(first + i)
                if folded:
                    share = filtered[now, y, before]
                    if term > 0:
                        share += filtered[now, y, after]
                else:
                    share = row[0] * filtered[now, y, middle]
                    for k in range(1, taps):
                        left, right = middle - uint64(k), middle + uint64(k)
                        share += row[k] * (filtered[now, y, left] + filtered[now, y, right])
                total[i] += share
        if radius <= tx < across - radius:
            store(total, out, height, width, top + first, place, storage)

    return kernel


@functools.cache
def _row_finder(tile: Tile, radius: int, boundary: int) -> Any:
    """The device function by which a block looks up where the rows of its tile and halo begin."""
    across, threads, count = tile.across, tile.across * tile.down, tile.height + 2 * radius

    @cuda.jit(device=True)
    def find_rows(top: Any, height: Any, width: Any, origins: Any, signs: Any) -> None:
        for i in range(cuda.threadIdx.y * across + cuda.threadIdx.x, count, threads):
            origins[i] = uint32(_source(top + i - radius, height, boundary) * width)
            if boundary == pixels.ZERO:
                signs[i] = int32(_sign(top + i - radius, height))

    return find_rows


@functools.cache
def _loading(count: int, boundary: int, dtype: str) -> Any:
    """The device function by which a thread loads the pixels that it needs, those beyond the border too."""
    number, _ = _numbers(dtype)

    @cuda.jit(device=True)
    def load(column: Any, origins: Any, signs: Any, side: Any, first: Any, line: Any) -> None:
        for i in range(count):
            line[i] = number(column[uint64(origins[uint64(first + i)])])
        if boundary == pixels.ZERO:
            for i in range(count):
                line[i] *= number(side * signs[uint64(first + i)])

    return load


@functools.cache
def _line_filter(radius: int) -> Any:
    """The device function that filters a line of registers at one of its places."""

    @cuda.jit(device=True)
    def filter_line(line: Any, i: int, taps: Any) -> Any:
        total = taps[0] * line[i + radius]
        for k in range(1, radius + 1):
            total += taps[k] * (line[i + radius - k] + line[i + radius + k])
        return total

    return filter_line


@functools.cache
def _storing(count: int) -> Any:
    """The device function by which a thread writes what it has added up, as far as it lies in the plane."""

    @cuda.jit(device=True)
    def store(total: Any, out: Any, height: Any, width: Any, y: Any, x: Any, storage: Any) -> None:
        if x < width and y < height:
            first = (uint64(cuda.blockIdx.z) * uint64(height) + uint64(y)) * uint64(width) + uint64(x)
            column = out[first:]
            for i in range(count):
                if y + i < height:
                    column[uint64(uint32(i * width))] = storage(total[i])

    return store


def _numbers(dtype: str) -> tuple[Any, Any]:
    """Numba's types of the arithmetic and of the storage."""
    if dtype == "float64":
        return float64, float64
    return float32, float16 if dtype == "float16" else float32
