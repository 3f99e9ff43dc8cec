"""The primal-dual iteration for total variation on a CUDA device: an iteration is one launch.

A thread has a pixel. It computes the extrapolated primal variable of its own pixel and of those
below and to the right, which costs less than exchanging them, moves its dual variables, and writes to
other memory than it reads from. What is read twice comes from the first-level cache; each array
passes the device's memory once an iteration.

The duality gap is added up in float64, by blocks and then over the blocks of an image in a fixed
order, so that it is the same every time. The last launch of a check also decides on the device which
images are done; later launches leave these alone. So nothing has to be waited for between checks,
and launches can be captured into a CUDA graph.

Arrays are C-contiguous: images (N, C, H, W), dual variables (N, 2, C, H, W).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from numba import cuda, float32, float64, int32

from .launching import configured

_ACROSS, _DOWN = 32, 8  # threads of a block
_THREADS = _ACROSS * _DOWN
_MOST_IMAGES = 65535  # blocks along the third axis of a grid


@dataclass(frozen=True, eq=False)
class Progress:
    """What is known of each image, on the device, all of them (N,) but `clock`.

    Attributes
    ----------
    gap, accepted
        float64: the duality gap with a bound of its rounding, and that which is small enough.
    iterations, done
        int32: iterations made, and whether the image is left alone (1) or not (0).
    clock
        (1,) int32: iterations made by those images that are not done.
    """

    gap: Any
    accepted: Any
    iterations: Any
    done: Any
    clock: Any


def blocks_of(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The grid for images of a shape (N, C, H, W)."""
    count, _, height, width = shape
    return -(-width // _ACROSS), -(-height // _DOWN), min(count, _MOST_IMAGES)


def iterate(
    f: Any,
    source: tuple[Any, Any],
    target: tuple[Any, Any],
    table: Any,
    number: int,
    weights: Any,
    progress: Progress,
    isotropic: bool,
    stream: Any = 0,
) -> None:
    """Launch one iteration.

    Parameters
    ----------
    f
        Images, float32 or float64.
    source, target
        u and p, read and written.
    table
        (N, rows, 6): the coefficients of iterations (`kernels.total_variation.COEFFICIENTS`), repeated when
        they are used up.
    number
        Which one this is, counted from the clock.
    weights
        (N, 2): the weight of TV, and Huber's epsilon.
    progress
        Of the images.
    isotropic
        As in `kernels.total_variation.sweep`.
    stream
        Numba's stream to launch on.
    """
    launch = configured(_iterate[_dtype(f)], blocks_of(f.shape), (_ACROSS, _DOWN), stream)
    launch(f, *source, *target, table, progress.clock, number, weights, progress.done, isotropic)


def check(
    f: Any,
    source: tuple[Any, Any],
    weights: Any,
    progress: Progress,
    partial: Any,
    made: int,
    tol: float,
    isotropic: bool,
    stream: Any = 0,
) -> None:
    """Launch what evaluates the gap, after `made` iterations.

    Parameters
    ----------
    f, source, weights, progress, isotropic, stream
        As in `iterate`.
    partial
        Memory (N, blocks of an image, 2), float64.
    made
        Iterations since the last check. -1: take the dual variables for 0 and u for f, where the gap is
        weight TV(f); `tol` times that will be accepted, and where it is 0 the image is done.
    tol
        Relative gap to accept.
    """
    blocks = blocks_of(f.shape)
    launch = configured(_gap[_dtype(f)], blocks, (_ACROSS, _DOWN), stream)
    launch(f, *source, weights, progress.done, partial, isotropic, made < 0)
    eps = 2.0**-52 if _dtype(f) == "float64" else 2.0**-23
    finish = configured(_finish, (f.shape[0],), _THREADS, stream)
    values = math.prod(f.shape[1:])
    finish(
        *(partial, progress.gap, progress.accepted, progress.iterations, progress.done, progress.clock),
        *(weights, made, tol, eps, values, f.shape[1]),
    )


def _dtype(x: Any) -> str:
    return "float64" if str(x.dtype) == "float64" else "float32"


@cuda.jit(device=True)
def _stepped(f: Any, u: Any, p: Any, n: Any, c: Any, y: Any, x: Any, tau: Any, shrink: Any) -> Any:
    """The primal variable of a pixel after its step."""
    divergence = p[n, 0, c, y, x] + p[n, 1, c, y, x]
    if y > 0:
        divergence -= p[n, 0, c, y - 1, x]
    if x > 0:
        divergence -= p[n, 1, c, y, x - 1]
    return (u[n, c, y, x] + tau * (divergence + f[n, c, y, x])) * shrink


@cuda.jit(device=True)
def _moved(
    f: Any, u: Any, p: Any, n: Any, c: Any, y: Any, x: Any, tau: Any, shrink: Any, theta: Any, sigma: Any
) -> Any:
    """The primal variable of a pixel after its step, and its dual variables moved along the extrapolation."""
    new = _stepped(f, u, p, n, c, y, x, tau, shrink)
    here = new + theta * (new - u[n, c, y, x])
    down, right = p[n, 0, c, y, x], p[n, 1, c, y, x]
    if y + 1 < f.shape[2]:
        there = _stepped(f, u, p, n, c, y + 1, x, tau, shrink)
        down += sigma * (there + theta * (there - u[n, c, y + 1, x]) - here)
    if x + 1 < f.shape[3]:
        there = _stepped(f, u, p, n, c, y, x + 1, tau, shrink)
        right += sigma * (there + theta * (there - u[n, c, y, x + 1]) - here)
    return new, down, right


@cuda.jit(device=True)
def _scales(down: Any, right: Any, limit: Any, bound: Any, isotropic: Any) -> Any:
    """What vectors of these squared lengths are multiplied by to be projected."""
    if isotropic:
        scale = limit / max(math.sqrt(down + right), bound)
        return scale, scale
    return limit / max(math.sqrt(down), bound), limit / max(math.sqrt(right), bound)


def _iterate_kernel(number: Any) -> Any:
    @cuda.jit
    def kernel(
        f: Any,
        u: Any,
        p: Any,
        to_u: Any,
        to_p: Any,
        table: Any,
        clock: Any,
        iteration: Any,
        weights: Any,
        done: Any,
        isotropic: Any,
    ) -> None:
        count, channels, height, width = f.shape
        x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        y = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        if x >= width or y >= height:
            return
        row = (clock[0] + iteration) % table.shape[1]
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            if done[n] != 0:
                continue
            tau, shrink, theta = table[n, row, 0], table[n, row, 1], table[n, row, 2]
            sigma, bound, rho = table[n, row, 3], table[n, row, 4], table[n, row, 5]
            down_square, right_square = number(0), number(0)
            for c in range(channels):
                new, down, right = _moved(f, u, p, n, c, y, x, tau, shrink, theta, sigma)
                down_square += down * down
                right_square += right * right
            scale_down, scale_right = _scales(down_square, right_square, weights[n, 0], bound, isotropic)
            for c in range(channels):
                if channels > 1:  # else it is still there
                    new, down, right = _moved(f, u, p, n, c, y, x, tau, shrink, theta, sigma)
                old, old_down, old_right = u[n, c, y, x], p[n, 0, c, y, x], p[n, 1, c, y, x]
                to_u[n, c, y, x] = old + rho * (new - old)
                to_p[n, 0, c, y, x] = old_down + rho * (down * scale_down - old_down)
                to_p[n, 1, c, y, x] = old_right + rho * (right * scale_right - old_right)

    return kernel


@cuda.jit(device=True)
def _penalty(square: Any, limit: Any, huber: Any) -> Any:
    """The weighted length, or Huber's function of it, of a vector of this squared length."""
    length = math.sqrt(square)
    if huber <= 0:
        return limit * length
    small = min(length, huber)
    return limit * (small * small / (huber + huber) + (length - small))


def _gap_kernel(number: Any) -> Any:
    @cuda.jit(device=True)
    def scales(p: Any, n: Any, y: Any, x: Any, limit: Any, isotropic: Any) -> Any:
        down, right = number(0), number(0)
        for c in range(p.shape[2]):
            down += p[n, 0, c, y, x] * p[n, 0, c, y, x]
            right += p[n, 1, c, y, x] * p[n, 1, c, y, x]
        return _scales(down, right, limit, limit, isotropic)

    @cuda.jit
    def kernel(
        f: Any, u: Any, p: Any, weights: Any, done: Any, partial: Any, isotropic: Any, without_duals: Any
    ) -> None:
        gaps = cuda.shared.array(_THREADS, float64)
        penalties = cuda.shared.array(_THREADS, float64)
        count, channels, height, width = f.shape
        x = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        y = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        block = cuda.blockIdx.y * cuda.gridDim.x + cuda.blockIdx.x
        for n in range(cuda.blockIdx.z, count, cuda.gridDim.z):
            if done[n] != 0:
                continue
            limit, huber = weights[n, 0], weights[n, 1]
            term, penalty = number(0), number(0)
            if x < width and y < height and limit > 0:
                down_square, right_square, conjugate = number(0), number(0), number(0)
                scale_down, scale_right, above, left = number(0), number(0), number(0), number(0)
                if not without_duals:
                    scale_down, scale_right = scales(p, n, y, x, limit, isotropic)
                    if y > 0:
                        above, _ = scales(p, n, y - 1, x, limit, isotropic)
                    if x > 0:
                        _, left = scales(p, n, y, x - 1, limit, isotropic)
                for c in range(channels):
                    here, down, right = u[n, c, y, x], number(0), number(0)
                    if y + 1 < height:
                        down = u[n, c, y + 1, x] - here
                    if x + 1 < width:
                        right = u[n, c, y, x + 1] - here
                    down_square += down * down
                    right_square += right * right
                    if not without_duals:
                        q_down, q_right = p[n, 0, c, y, x] * scale_down, p[n, 1, c, y, x] * scale_right
                        divergence = q_down + q_right
                        if y > 0:
                            divergence -= p[n, 0, c, y - 1, x] * above
                        if x > 0:
                            divergence -= p[n, 1, c, y, x - 1] * left
                        residual = here - f[n, c, y, x] - divergence
                        term += residual * residual / number(2) - (down * q_down + right * q_right)
                        conjugate += q_down * q_down + q_right * q_right
                if isotropic:
                    penalty = _penalty(down_square + right_square, limit, huber)
                else:
                    penalty = _penalty(down_square, limit, huber) + _penalty(right_square, limit, huber)
                term += penalty + huber / (limit + limit) * conjugate
            gaps[thread], penalties[thread] = float64(term), float64(penalty)
            _reduce(gaps, penalties, thread)
            if thread == 0:
                partial[n, block, 0], partial[n, block, 1] = gaps[0], penalties[0]
            cuda.syncthreads()

    return kernel


@cuda.jit(device=True)
def _reduce(gaps: Any, penalties: Any, thread: Any) -> None:
    """Add up what the threads of a block have, into the first of both."""
    cuda.syncthreads()
    reach = _THREADS // 2
    while reach > 0:
        if thread < reach:
            gaps[thread] += gaps[thread + reach]
            penalties[thread] += penalties[thread + reach]
        cuda.syncthreads()
        reach //= 2


@cuda.jit
def _finish(
    partial: Any,
    gap: Any,
    accepted: Any,
    iterations: Any,
    done: Any,
    clock: Any,
    weights: Any,
    made: Any,
    tol: Any,
    eps: Any,
    values: Any,
    channels: Any,
) -> None:
    """A block for an image: its gap, as `total_variation.model.gap_bound` has it, and whether it is done."""
    gaps = cuda.shared.array(_THREADS, float64)
    penalties = cuda.shared.array(_THREADS, float64)
    n, thread = cuda.blockIdx.x, cuda.threadIdx.x
    total, penalty = float64(0), float64(0)
    if done[n] == 0:
        for block in range(thread, partial.shape[1], _THREADS):
            total += partial[n, block, 0]
            penalty += partial[n, block, 1]
    gaps[thread], penalties[thread] = total, penalty
    _reduce(gaps, penalties, thread)
    if thread != 0:
        return
    if n == 0 and made > 0:
        clock[0] += made
    if done[n] != 0:
        return
    if made < 0:
        gap[n], accepted[n] = gaps[0], tol * gaps[0]
        done[n] = int32(gaps[0] <= tol * gaps[0])
        return
    norm = math.sqrt(2 * max(gaps[0], 0.0))
    off = eps * (8 * float64(weights[n, 0]) * math.sqrt(float64(values)) + norm)
    gap[n] = gaps[0] + (16 + channels) * eps * penalties[0] + norm * off + off * off / 2
    iterations[n] += made
    done[n] = int32(gap[n] <= accepted[n])


_iterate = {"float32": _iterate_kernel(float32), "float64": _iterate_kernel(float64)}

_gap = {"float32": _gap_kernel(float32), "float64": _gap_kernel(float64)}
