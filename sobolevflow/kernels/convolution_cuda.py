"""Convolution of image planes with a small symmetric kernel on a CUDA device.

One launch a filter: the plane is read once, but for the halos of the tiles, and written once. A block of
threads has a tile of the plane, and a thread a few pixels of it, one below the other, so that they share
what they read and add up in registers.

======== =========================================================================================
terms    For every term: columns are filtered straight from the plane into shared memory, those of the
         halo too, each by one thread, and from there along the rows.
dense    The tile and its halo go to shared memory; for each distance along the row, the sums of the
         pixels left and right at that distance are filtered down the column.
======== =========================================================================================

A plane is continued beyond its border as `pixels` says; a block looks up once where the rows of its tile
come from, which also keeps the compiler from giving every one of them a register.

A launch allocates nothing and waits for nothing, so it can be captured into a CUDA graph once its
kernel has been compiled by an earlier call. Kernels are compiled on their first launch, one for each
radius, boundary and dtype, and with a dense kernel or with terms.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import cuda, float32, float64, int32, uint32, uint64
from numba.core.types import float16

from . import pixels

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


_FOR_TERMS = Tile(128, 1, 16)
# The first one that fits into shared memory with its halo, in float64 too.
_FOR_DENSE = (Tile(32, 4, 8), Tile(32, 4, 4))
_SHARED = 48 << 10  # bytes that every device has for a block


def tile_for_terms(radius: int) -> Tile:
    """The tile of `convolve_terms`."""
    return _FOR_TERMS


def tile_for_dense(radius: int) -> Tile:
    """The tile of `convolve_dense`."""
    return next(tile for tile in _FOR_DENSE if _dense_bytes(radius, tile) <= _SHARED)


def _dense_bytes(radius: int, tile: Tile) -> int:
    tall, wide = tile.height + 2 * radius, tile.across + 2 * radius
    return 8 * (tall * wide + (radius + 1) ** 2 + tall)


def convolve_terms(
    x: Any, out: Any, columns: Any, rows: Any, boundary: int, stream: Any = 0, tile: Tile | None = None
) -> None:
    """Convolve planes with a sum of separable kernels.

    Parameters
    ----------
    x, out
        (P, H, W) with P <= MOST_PLANES, float16, float32 or float64, C-contiguous, not overlapping: arrays
        that Numba takes.
    columns, rows
        (terms, radius + 1), from the middle outwards: the kernel is the sum of their outer products. Of
        `arithmetic(x.dtype)`.
    boundary
        `pixels.REFLECT`, `PERIODIC` or `ZERO`.
    stream
        Numba's stream to launch on.
    tile
        Another than `tile_for_terms` or `tile_for_dense` says, to compare.
    """
    radius = columns.shape[1] - 1
    tile = tile or tile_for_terms(radius)
    kernel = terms_kernel(radius, boundary, str(x.dtype), tile)
    launch = (*_launch(x.shape, tile, tile.across - 2 * radius), stream)
    kernel[launch](x.reshape(-1), out.reshape(-1), *map(np.int32, x.shape[1:]), columns, rows)


def convolve_dense(
    x: Any, out: Any, quarter: Any, boundary: int, stream: Any = 0, tile: Tile | None = None
) -> None:
    """Convolve planes with a kernel that is even in both axes, entry by entry.

    Parameters
    ----------
    x, out, boundary, stream, tile
        As in `convolve_terms`.
    quarter
        (radius + 1, radius + 1), of `arithmetic(x.dtype)`: row l holds the kernel's column at distance l
        from the middle, from there outwards.
    """
    radius = quarter.shape[0] - 1
    tile = tile or tile_for_dense(radius)
    kernel = dense_kernel(radius, boundary, str(x.dtype), tile)
    launch = (*_launch(x.shape, tile, tile.across), stream)
    kernel[launch](x.reshape(-1), out.reshape(-1), *map(np.int32, x.shape[1:]), quarter)


def arithmetic(dtype: Any) -> np.dtype[Any]:
    """The dtype that planes of `dtype` are filtered in: float32 for float16, otherwise their own."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)


def _launch(
    shape: tuple[int, ...], tile: Tile, width_of_tile: int
) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """Blocks of the grid, and threads of a block."""
    planes, height, width = shape
    blocks = (-(-width // width_of_tile), -(-height // tile.height), planes)
    return blocks, (tile.across, tile.down)


@functools.cache
def terms_kernel(radius: int, boundary: int, dtype: str, tile: Tile) -> Any:
    """The kernel of `convolve_terms`: (x, out, height, width, columns, rows), x and out flat."""
    number, storage = _numbers(dtype)
    across, count, taps, high = tile.across, tile.pixels, radius + 1, tile.pixels + 2 * radius
    tall, halo = tile.height, tile.height + 2 * radius
    filter_line, find_rows, store = (
        _line_filter(radius),
        _row_finder(tile, radius, boundary),
        _storing(tile.pixels),
    )

    @cuda.jit
    def convolve(x: Any, out: Any, height: Any, width: Any, columns: Any, rows: Any) -> None:
        filtered = cuda.shared.array((tall, across), number)
        origins = cuda.shared.array(halo, uint32)
        signs = cuda.shared.array(halo, int32)
        column, row = cuda.local.array(taps, number), cuda.local.array(taps, number)
        line, total = cuda.local.array(high, number), cuda.local.array(count, number)
        tx, first, top = cuda.threadIdx.x, int32(cuda.threadIdx.y * count), int32(cuda.blockIdx.y * tall)
        # A thread for each column of the halo too: it filters that column, and no row.
        place = int32(cuda.blockIdx.x * (across - 2 * radius) + tx - radius)
        at, side = uint64(_source(place, width, boundary)), int32(_sign(place, width))
        middle = uint64(min(max(tx, radius), across - 1 - radius))
        line_of_plane = x[uint64(cuda.blockIdx.z) * uint64(height) * uint64(width) + at :]
        find_rows(top, height, width, origins, signs)
        cuda.syncthreads()
        for i in range(count):
            total[i] = number(0)
        for term in range(columns.shape[0]):
            for k in range(taps):
                column[k], row[k] = columns[uint64(term), k], rows[uint64(term), k]
            for i in range(high):
                line[i] = number(line_of_plane[uint64(origins[uint64(first + i)])])
            if boundary == pixels.ZERO:
                for i in range(high):
                    line[i] *= number(side * signs[uint64(first + i)])
            for i in range(count):
                filtered[uint64(first + i), uint64(tx)] = filter_line(line, i, column)
            cuda.syncthreads()
            for i in range(count):
                y = uint64(first + i)
                share = row[0] * filtered[y, middle]
                for k in range(1, taps):
                    share += row[k] * (filtered[y, middle - uint64(k)] + filtered[y, middle + uint64(k)])
                total[i] += share
            cuda.syncthreads()
        if radius <= tx < across - radius:
            store(total, out, height, width, top + first, place, storage)

    return convolve


@functools.cache
def dense_kernel(radius: int, boundary: int, dtype: str, tile: Tile) -> Any:
    """The kernel of `convolve_dense`: (x, out, height, width, quarter), x and out flat."""
    number, storage = _numbers(dtype)
    across, down, count, taps, high = (
        tile.across,
        tile.down,
        tile.pixels,
        radius + 1,
        tile.pixels + 2 * radius,
    )
    tall, wide = tile.height + 2 * radius, tile.across + 2 * radius
    filter_line, find_rows, store = (
        _line_filter(radius),
        _row_finder(tile, radius, boundary),
        _storing(tile.pixels),
    )

    @cuda.jit
    def convolve(x: Any, out: Any, height: Any, width: Any, quarter: Any) -> None:
        inside = cuda.shared.array((tall, wide), number)
        weights = cuda.shared.array((taps, taps), number)
        origins = cuda.shared.array(tall, uint32)
        signs = cuda.shared.array(tall, int32)
        column = cuda.local.array(taps, number)
        line, total = cuda.local.array(high, number), cuda.local.array(count, number)
        left, top = int32(cuda.blockIdx.x * across), int32(cuda.blockIdx.y * (tall - 2 * radius))
        tx, ty = int32(cuda.threadIdx.x), int32(cuda.threadIdx.y)
        first = int32(ty * count)
        for k in range(ty * across + tx, taps * taps, across * down):
            weights[k // taps, k % taps] = quarter[k // taps, k % taps]
        plane = uint64(cuda.blockIdx.z) * uint64(height) * uint64(width)
        find_rows(top, height, width, origins, signs)
        cuda.syncthreads()
        for j in range(tx, wide, across):
            place = left + j - radius
            line_of_plane = x[plane + uint64(_source(place, width, boundary)) :]
            side = int32(_sign(place, width)) if boundary == pixels.ZERO else int32(1)
            for i in range(ty, tall, down):
                value = number(line_of_plane[uint64(origins[uint64(i)])])
                if boundary == pixels.ZERO:
                    value *= number(side * signs[uint64(i)])
                inside[uint64(i), uint64(j)] = value
        cuda.syncthreads()
        for i in range(count):
            total[i] = number(0)
        for distance in range(taps):
            for k in range(taps):
                column[k] = weights[uint64(distance), uint64(k)]
            before, after = uint64(tx + radius - distance), uint64(tx + radius + distance)
            for i in range(high):
                line[i] = inside[uint64(first + i), before]
            if distance > 0:
                for i in range(high):
                    line[i] += inside[uint64(first + i), after]
            for i in range(count):
                total[i] += filter_line(line, i, column)
        store(total, out, height, width, top + first, left + tx, storage)

    return convolve


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
