"""Convolution of image planes with a small symmetric kernel on a CUDA device.

One kernel launch a filter. A block of threads loads a tile of the plane with its halo into shared
memory, continued beyond the border as `pixels` says; every term's row filter goes from there to
shared memory, and its column filter from there into registers. The plane is read once, but for the
halos, and written once.

The tile is 32 x 32 pixels where that fits into the 48 KiB of shared memory that every device has,
16 x 32 or 16 x 16 for wider kernels. `LARGEST_RADIUS` is what fits in any case; beyond it,
multiplication of the spectrum is cheaper anyway.

A launch allocates nothing and waits for nothing, so it can be captured into a CUDA graph once its
kernel has been compiled by an earlier call. Kernels are compiled on their first launch, one for each
radius, number of terms, boundary and dtype.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import cuda, float16, float32, float64

from . import pixels

LARGEST_RADIUS = 24
"""Of the kernels that fit into shared memory, in float64 too."""

_SHARED = 48 << 10  # bytes of shared memory that a block may have without asking for more
_TILES = ((32, 32), (16, 32), (16, 16))
_ROWS = 4  # output pixels of a thread, one below the other
_MOST_PLANES = 65535  # blocks along the third axis of a grid

_source = cuda.jit(device=True)(pixels.source)
_sign = cuda.jit(device=True)(pixels.sign)
_add_pair = cuda.jit(device=True)(pixels.add_pair)


def convolve_terms(x: Any, out: Any, columns: Any, rows: Any, boundary: int, stream: Any = 0) -> None:
    """Convolve planes with a sum of separable kernels.

    Parameters
    ----------
    x, out
        (P, H, W), float16, float32 or float64, C-contiguous, not overlapping: arrays that Numba takes.
    columns, rows
        (terms, radius + 1), from the middle outwards: the kernel is the sum of their outer products. Of
        `arithmetic(x.dtype)`.
    boundary
        `pixels.REFLECT`, `PERIODIC` or `ZERO`.
    stream
        Numba's stream to launch on.
    """
    terms, taps = columns.shape
    tile = tile_of(taps - 1, arithmetic(x.dtype), separable=True)
    kernel = terms_kernel(taps - 1, terms, boundary, str(x.dtype))
    kernel[(*_grid(x.shape, tile), stream)](x, out, columns, rows)


def convolve_dense(x: Any, out: Any, kernel: Any, boundary: int, stream: Any = 0) -> None:
    """Convolve planes with a kernel that is even in both axes, entry by entry.

    Parameters
    ----------
    x, out, boundary, stream
        As in `convolve_terms`.
    kernel
        (radius + 1, radius + 1), of `arithmetic(x.dtype)`: the quarter of the kernel from its middle on.
    """
    radius = kernel.shape[0] - 1
    tile = tile_of(radius, arithmetic(x.dtype), separable=False)
    compiled = dense_kernel(radius, boundary, str(x.dtype))
    compiled[(*_grid(x.shape, tile), stream)](x, out, kernel)


def arithmetic(dtype: Any) -> np.dtype[Any]:
    """The dtype that planes of `dtype` are filtered in: float32 for float16, otherwise their own."""
    return np.dtype(np.float64 if np.dtype(dtype) == np.float64 else np.float32)


def tile_of(radius: int, dtype: np.dtype[Any], *, separable: bool) -> tuple[int, int]:
    """Height and width of the output of a block, the largest that fits into shared memory."""
    for height, width in _TILES:
        tall, wide = height + 2 * radius, width + 2 * radius
        if tall * (wide + separable * width) * dtype.itemsize <= _SHARED:
            return height, width
    raise ValueError(f"a kernel of radius {radius} does not fit into shared memory")


def threads_of(tile: tuple[int, int]) -> tuple[int, int]:
    """Threads of a block, along x and y."""
    return tile[1], tile[0] // _ROWS


def _grid(shape: tuple[int, ...], tile: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, int]]:
    planes, height, width = shape
    blocks = (-(-width // tile[1]), -(-height // tile[0]), min(planes, _MOST_PLANES))
    return blocks, threads_of(tile)


@functools.cache
def _loader(radius: int, tile: tuple[int, int], boundary: int, dtype: str) -> Any:
    """The device function by which a block loads its tile and the halo, continued beyond the border."""
    tall, wide = tile[0] + 2 * radius, tile[1] + 2 * radius
    across, down = threads_of(tile)
    number = float64 if dtype == "float64" else float32
    is_zero = boundary == pixels.ZERO

    @cuda.jit(device=True)  # type: ignore[untyped-decorator]
    def load(plane: Any, top: int, left: int, inside: Any) -> None:
        height, width = plane.shape
        for i in range(cuda.threadIdx.y, tall, down):
            y = top + i - radius
            row = _source(y, height, boundary)
            for j in range(cuda.threadIdx.x, wide, across):
                x = left + j - radius
                value = number(plane[row, _source(x, width, boundary)])
                if is_zero:
                    value *= number(_sign(y, height) * _sign(x, width))
                inside[i, j] = value

    return load


@functools.cache
def terms_kernel(radius: int, terms: int, boundary: int, dtype: str) -> Any:
    """The kernel of `convolve_terms`: (x, out, columns, rows)."""
    tile_height, tile_width = tile = tile_of(radius, arithmetic(dtype), separable=True)
    tall, wide = tile_height + 2 * radius, tile_width + 2 * radius
    across, down = threads_of(tile)
    number, storage = _numbers(dtype)
    load = _loader(radius, tile, boundary, dtype)

    @cuda.jit  # type: ignore[untyped-decorator]
    def convolve(x: Any, out: Any, columns: Any, rows: Any) -> None:
        inside = cuda.shared.array((tall, wide), number)
        filtered = cuda.shared.array((tall, tile_width), number)
        planes, height, width = x.shape
        left, top = cuda.blockIdx.x * tile_width, cuda.blockIdx.y * tile_height
        j, y = cuda.threadIdx.x, cuda.threadIdx.y
        for plane in range(cuda.blockIdx.z, planes, cuda.gridDim.z):
            load(x[plane], top, left, inside)
            cuda.syncthreads()
            a, b, c, d = number(0), number(0), number(0), number(0)
            for term in range(terms):
                for i in range(y, tall, down):
                    total = rows[term, 0] * inside[i, j + radius]
                    for k in range(1, radius + 1):
                        before, after = inside[i, j + radius - k], inside[i, j + radius + k]
                        total = _add_pair(total, rows[term, k], before, after)
                    filtered[i, j] = total
                cuda.syncthreads()
                at = y + radius
                tap = columns[term, 0]
                a += tap * filtered[at, j]
                b += tap * filtered[at + down, j]
                c += tap * filtered[at + 2 * down, j]
                d += tap * filtered[at + 3 * down, j]
                for k in range(1, radius + 1):
                    tap, up, low = columns[term, k], at - k, at + k
                    a = _add_pair(a, tap, filtered[up, j], filtered[low, j])
                    b = _add_pair(b, tap, filtered[up + down, j], filtered[low + down, j])
                    c = _add_pair(c, tap, filtered[up + 2 * down, j], filtered[low + 2 * down, j])
                    d = _add_pair(d, tap, filtered[up + 3 * down, j], filtered[low + 3 * down, j])
                cuda.syncthreads()
            if left + j < width:
                if top + y < height:
                    out[plane, top + y, left + j] = storage(a)
                if top + y + down < height:
                    out[plane, top + y + down, left + j] = storage(b)
                if top + y + 2 * down < height:
                    out[plane, top + y + 2 * down, left + j] = storage(c)
                if top + y + 3 * down < height:
                    out[plane, top + y + 3 * down, left + j] = storage(d)

    return convolve


@functools.cache
def dense_kernel(radius: int, boundary: int, dtype: str) -> Any:
    """The kernel of `convolve_dense`: (x, out, quarter)."""
    tile_height, tile_width = tile = tile_of(radius, arithmetic(dtype), separable=False)
    tall, wide = tile_height + 2 * radius, tile_width + 2 * radius
    _, down = threads_of(tile)
    number, storage = _numbers(dtype)
    load = _loader(radius, tile, boundary, dtype)

    @cuda.jit(device=True)  # type: ignore[untyped-decorator]
    def pair(inside: Any, i: int, j: int, distance: int) -> Any:
        if distance == 0:
            return inside[i, j]
        return inside[i, j - distance] + inside[i, j + distance]

    @cuda.jit  # type: ignore[untyped-decorator]
    def convolve(x: Any, out: Any, quarter: Any) -> None:
        inside = cuda.shared.array((tall, wide), number)
        planes, height, width = x.shape
        left, top = cuda.blockIdx.x * tile_width, cuda.blockIdx.y * tile_height
        across = cuda.threadIdx.x + radius
        for plane in range(cuda.blockIdx.z, planes, cuda.gridDim.z):
            load(x[plane], top, left, inside)
            cuda.syncthreads()
            for y in range(cuda.threadIdx.y, tile_height, down):
                total = number(0)
                for distance in range(radius + 1):
                    total += quarter[0, distance] * pair(inside, y + radius, across, distance)
                    for k in range(1, radius + 1):
                        before = pair(inside, y + radius - k, across, distance)
                        after = pair(inside, y + radius + k, across, distance)
                        total = _add_pair(total, quarter[k, distance], before, after)
                column = left + cuda.threadIdx.x
                if top + y < height and column < width:
                    out[plane, top + y, column] = storage(total)
            cuda.syncthreads()

    return convolve


def _numbers(dtype: str) -> tuple[Any, Any]:
    """Numba's types of the arithmetic and of the storage."""
    if dtype == "float64":
        return float64, float64
    return float32, float16 if dtype == "float16" else float32
