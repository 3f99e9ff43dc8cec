"""What the network is shown of the canvas, on a CUDA device: shifts, crops and turns, with their adjoints.

The mathematics is that of `transforms.linear` and `transforms.warp`. What is drawn for a step lies in a table
in the memory of the device, one row an image, so that a CUDA graph can be replayed with other draws. Adjoints
gather as well: each thread adds up what comes back to its pixel, in a fixed order, so that results can be
repeated.

Launches allocate nothing and wait for nothing.
"""

from __future__ import annotations

import math
from typing import Any

from numba import cuda

from .launching import configured

# Columns of the table: the roll down and to the right, the corner of the crop, the first row of the matrix
# that takes a pixel of the turned image to its source.
ROLL_Y, ROLL_X, CORNER_Y, CORNER_X, COSINE, SINE = range(6)
COLUMNS = 6

_THREADS = 256
_MOST_BLOCKS = 1 << 16


def launch(kernel: Any, arguments: tuple[Any, ...], pixels: int, stream: Any = 0) -> None:
    """Launch one of the kernels below, a thread a pixel of its output."""
    blocks = min(-(-pixels // _THREADS), _MOST_BLOCKS)
    configured(kernel, (blocks,), _THREADS, stream)(*arguments)


@cuda.jit(device=True)
def _place(k: Any, channels: Any, height: Any, width: Any) -> Any:
    """Image, channel, row and column of the pixel that is number k in memory."""
    plane = k // (width * height)
    return plane // channels, plane % channels, k // width % height, k % width


@cuda.jit
def shift(u: Any, table: Any, out: Any) -> None:
    """Roll every image of `u` (N, C, H, W) and cut its window (N, C, h, w) out."""
    channels, height, width = out.shape[1:]
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, y, x = _place(k, channels, height, width)
        i = (y + int(table[n, CORNER_Y]) - int(table[n, ROLL_Y])) % u.shape[2]
        j = (x + int(table[n, CORNER_X]) - int(table[n, ROLL_X])) % u.shape[3]
        out[n, c, y, x] = u[n, c, i, j]


@cuda.jit
def shift_back(g: Any, table: Any, out: Any) -> None:
    """The adjoint of `shift`: windows (N, C, h, w) into canvases (N, C, H, W) of zeros, rolled back."""
    channels, height, width = out.shape[1:]
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, y, x = _place(k, channels, height, width)
        i = (y + int(table[n, ROLL_Y])) % height - int(table[n, CORNER_Y])
        j = (x + int(table[n, ROLL_X])) % width - int(table[n, CORNER_X])
        inside = 0 <= i < g.shape[2] and 0 <= j < g.shape[3]
        out[n, c, y, x] = g[n, c, i, j] if inside else 0


@cuda.jit(device=True)
def _mirrored(i: Any, n: Any) -> Any:
    i = i % (2 * n)
    return min(i, 2 * n - 1 - i)


@cuda.jit(device=True)
def _copy(i: Any, n: Any, period: Any) -> Any:
    """Where pixel i of n is seen in a period of the image continued by reflection; period 0 is itself."""
    return i + period * n if period % 2 == 0 else (period + 1) * n - 1 - i


@cuda.jit
def turn(u: Any, table: Any, out: Any) -> None:
    """Turn and enlarge every image (N, C, H, W) about its middle, bilinearly, mirrored at the borders."""
    channels, height, width = u.shape[1:]
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, y, x = _place(k, channels, height, width)
        down, right = y - 0.5 * (height - 1), x - 0.5 * (width - 1)
        at_y = table[n, COSINE] * down + table[n, SINE] * right + 0.5 * (height - 1)
        at_x = table[n, COSINE] * right - table[n, SINE] * down + 0.5 * (width - 1)
        top, left = int(math.floor(at_y)), int(math.floor(at_x))  # noqa: RUF046  (floats in a kernel)
        share_y, share_x = at_y - top, at_x - left
        i, below = _mirrored(top, height), _mirrored(top + 1, height)
        j, beside = _mirrored(left, width), _mirrored(left + 1, width)
        upper = (1 - share_x) * u[n, c, i, j] + share_x * u[n, c, i, beside]
        lower = (1 - share_x) * u[n, c, below, j] + share_x * u[n, c, below, beside]
        out[n, c, y, x] = (1 - share_y) * upper + share_y * lower


@cuda.jit
def turn_back(g: Any, table: Any, out: Any, periods: Any) -> None:
    """The adjoint of `turn`.

    A pixel collects from the pixels of the turned image that lie within one pixel of it, and of its mirror
    images, up to `periods` images away.
    """
    channels, height, width = g.shape[1:]
    middle_y, middle_x = 0.5 * (height - 1), 0.5 * (width - 1)
    for k in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        n, c, y, x = _place(k, channels, height, width)
        a, b = table[n, COSINE], table[n, SINE]
        square = a * a + b * b
        reach = (abs(a) + abs(b)) / square
        total = 0.0
        for down in range(-periods, periods + 1):
            to_y = _copy(y, height, down)
            for right in range(-periods, periods + 1):
                to_x = _copy(x, width, right)
                at_y = (a * (to_y - middle_y) - b * (to_x - middle_x)) / square + middle_y
                at_x = (b * (to_y - middle_y) + a * (to_x - middle_x)) / square + middle_x
                first_y, last_y = max(0.0, at_y - reach), min(height - 1.0, at_y + reach)
                first_x, last_x = max(0.0, at_x - reach), min(width - 1.0, at_x + reach)
                for i in range(int(math.ceil(first_y)), int(math.floor(last_y)) + 1):  # noqa: RUF046
                    for j in range(int(math.ceil(first_x)), int(math.floor(last_x)) + 1):  # noqa: RUF046
                        from_y = a * (i - middle_y) + b * (j - middle_x) + middle_y
                        from_x = a * (j - middle_x) - b * (i - middle_y) + middle_x
                        weight_y, weight_x = 1 - abs(from_y - to_y), 1 - abs(from_x - to_x)
                        if weight_y > 0 and weight_x > 0:
                            total += weight_y * weight_x * g[n, c, i, j]
        out[n, c, y, x] = total
