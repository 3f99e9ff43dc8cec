"""The Helmholtz equation u - g u'' = f along the lines of image planes on a CUDA device.

One thread a line, by the elimination of `kernels.tridiagonal`, whose weights come from the host and
are the same for every line. Along y, the threads of a warp take neighbouring columns, so that they
read neighbouring pixels. Along x, a block takes 32 rows and carries squares of 32 x 32 pixels through
shared memory, so that rows are read and written along themselves while threads walk down the square.

Launches allocate nothing and wait for nothing, and can be captured into a CUDA graph once the kernels
have been compiled by an earlier call.
"""

from __future__ import annotations

from typing import Any

from numba import cuda, float32, float64

from .. import pixels
from .launching import configured

_SIDE = 32  # of the squares: lines of a block, and threads of a warp
_DOWN = 8  # rows of a square that a block moves at once
_THREADS = 128  # of a block along y
_MOST_PLANES = 65535  # blocks along the second axis of a grid

_average = cuda.jit(device=True)(pixels.average)


def solve_columns(x: Any, out: Any, coefficients: tuple[Any, ...], stream: Any = 0) -> None:
    """Solve along y.

    Parameters
    ----------
    x, out
        (P, H, W), float32 or float64, C-contiguous; may be the same array.
    coefficients
        Of one line (`kernels.tridiagonal.elimination`): down and up (settled,), closing (1,), and
        correction (c,) with c > 0, of the dtype of `x`.
    stream
        Numba's stream to launch on.
    """
    planes, _, width = x.shape
    blocks = (-(-width // _THREADS), min(planes, _MOST_PLANES))
    configured(columns_kernel, blocks, _THREADS, stream)(x, out, *coefficients)


def solve_rows(x: Any, out: Any, coefficients: tuple[Any, ...], stream: Any = 0) -> None:
    """Solve along x; parameters as in `solve_columns`."""
    planes, height, _ = x.shape
    blocks = (-(-height // _SIDE), min(planes, _MOST_PLANES))
    kernel = rows_kernels["float64" if str(x.dtype) == "float64" else "float32"]
    configured(kernel, blocks, (_SIDE, _DOWN), stream)(x, out, *coefficients)


@cuda.jit
def columns_kernel(x: Any, out: Any, down: Any, up: Any, closings: Any, correction: Any) -> None:
    """Solve along y, a thread a column."""
    planes, height, width = x.shape
    settled, corrected = down.size, correction.size
    closing = closings[0]
    column = cuda.grid(1)
    if column >= width:
        return
    for plane in range(cuda.blockIdx.y, planes, cuda.gridDim.y):
        u = x[plane, 0, column] * down[0]
        out[plane, 0, column] = u
        for i in range(1, height):
            u = _average(u, x[plane, i, column], down[min(i, settled - 1)])
            out[plane, i, column] = u
        u *= closing
        out[plane, height - 1, column] = u
        bottom = u
        for i in range(height - 2, -1, -1):
            u = _average(u, out[plane, i, column], up[min(i, settled - 1)])
            out[plane, i, column] = u
        jump = u - bottom
        for i in range(corrected):
            out[plane, i, column] -= correction[i] * jump
            if i != height - 1 - i:
                out[plane, height - 1 - i, column] += correction[i] * jump


@cuda.jit(device=True)
def _fetch(plane: Any, top: Any, left: Any, square: Any) -> None:
    """Bring a square of the plane to shared memory, as far as there is one."""
    lane = cuda.threadIdx.x
    for i in range(cuda.threadIdx.y, _SIDE, _DOWN):
        if top + i < plane.shape[0] and left + lane < plane.shape[1]:
            square[i, lane] = plane[top + i, left + lane]


@cuda.jit(device=True)
def _bring_back(square: Any, top: Any, left: Any, plane: Any) -> None:
    """The inverse of `_fetch`."""
    lane = cuda.threadIdx.x
    for i in range(cuda.threadIdx.y, _SIDE, _DOWN):
        if top + i < plane.shape[0] and left + lane < plane.shape[1]:
            plane[top + i, left + lane] = square[i, lane]


def _rows_kernel(number: Any) -> Any:
    side, apart = _SIDE, _DOWN
    padded = side + 1  # a column more: no two threads share a bank

    @cuda.jit
    def solve(x: Any, out: Any, down: Any, up: Any, closings: Any, correction: Any) -> None:
        square = cuda.shared.array((side, padded), number)
        jumps = cuda.shared.array(side, number)
        planes, height, width = x.shape
        settled, corrected = down.size, correction.size
        closing = closings[0]
        top = cuda.blockIdx.x * side
        lane, start = cuda.threadIdx.x, cuda.threadIdx.y
        squares = (width + side - 1) // side
        for plane in range(cuda.blockIdx.y, planes, cuda.gridDim.y):
            u = number(0)  # nothing comes before the line
            for part in range(squares):
                left = part * side
                _fetch(x[plane], top, left, square)
                cuda.syncthreads()
                if start == 0 and top + lane < height:
                    for j in range(min(side, width - left)):
                        u = _average(u, square[lane, j], down[min(left + j, settled - 1)])
                        square[lane, j] = u
                cuda.syncthreads()
                _bring_back(square, top, left, out[plane])
                cuda.syncthreads()
            u *= closing
            end = u
            for part in range(squares - 1, -1, -1):
                left = part * side
                _fetch(out[plane], top, left, square)
                cuda.syncthreads()
                if start == 0 and top + lane < height:
                    for j in range(min(side, width - left) - 1, -1, -1):
                        if left + j < width - 1:
                            u = _average(u, square[lane, j], up[min(left + j, settled - 1)])
                        square[lane, j] = u
                cuda.syncthreads()
                _bring_back(square, top, left, out[plane])
                cuda.syncthreads()
            if start == 0:
                jumps[lane] = u - end
            cuda.syncthreads()
            for i in range(start, side, apart):
                if top + i < height:
                    for j in range(lane, corrected, side):
                        change = correction[j] * jumps[i]
                        out[plane, top + i, j] -= change
                        if j != width - 1 - j:
                            out[plane, top + i, width - 1 - j] += change
            cuda.syncthreads()

    return solve


rows_kernels = {"float32": _rows_kernel(float32), "float64": _rows_kernel(float64)}
