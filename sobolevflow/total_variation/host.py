"""Images on the host: when an image is done, and which thread does what."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from ..arrays import Array
from .model import Algorithm, Model, Row, Stopping, gap_bound, schedule, unrelaxed_at_last
from .reference import Reference
from .solution import Outcome, State

_FEWEST_ROWS = 16  # of a band
_FEWEST_VALUES = 1 << 16  # of a band, for work that takes less time than to wake a thread
_CACHE = 1 << 20  # bytes that a sweep may work on: most of a core's second-level cache


class Arithmetic(Protocol):
    """One implementation of what the solver does to one image (C, H, W)."""

    def measure(self) -> tuple[float, float]:
        """weight TV(f), and the standard deviation of f."""
        ...

    def cold(self) -> tuple[Array, Array]:
        """f and 0, to start from."""
        ...

    def advance(self, u: Array, p: Array, rows: Sequence[Row]) -> tuple[Array, Array, float]:
        """The iterates after the iterations of `rows`, and their gap. The next call may overwrite them."""
        ...


def solve_all(
    images: Array,
    state: State | None,
    models: Sequence[Model],
    algorithm: Algorithm,
    stop: Stopping,
    *,
    compiled: bool,
) -> tuple[State, list[Outcome]]:
    """Solve for every image (N, C, H, W), starting from a state or from the images."""
    count, channels, height, width = images.shape
    found = State(np.empty_like(images), np.empty((count, 2, channels, height, width), images.dtype))

    def task(n: int, bands: int) -> Outcome:
        f, start = images[n], None if state is None else (state.u[n], state.p[n])
        to = found.u[n], found.p[n]
        arithmetic = Compiled(f, models[n], bands, to) if compiled else Reference(f, models[n])
        u, p, outcome = solve(start, arithmetic, partial(schedule, algorithm, models[n], stop.tol), stop)
        if u is not to[0]:
            to[0][:], to[1][:] = u, p
        return outcome

    if not compiled:
        return found, [task(n, 1) for n in range(count)]
    from ..kernels import threads

    return found, _shared_out(task, count, threads.count(), threads.share)


def solve(
    start: tuple[Array, Array] | None,
    arithmetic: Arithmetic,
    schedule_for: Callable[[float], Iterator[Row]],
    stop: Stopping,
) -> tuple[Array, Array, Outcome]:
    """Iterate on one image until its gap is small enough.

    Parameters
    ----------
    start
        u and p to start from; None starts from f and 0, where the gap is weight TV(f). If that is 0, without
        weight or in a constant image, f is the minimiser, and nothing else is started from.
    arithmetic
        For this image.
    schedule_for
        The coefficients of one iteration after the other, for an image of a standard deviation.
    stop
        When to.
    """
    largest, deviation = arithmetic.measure()
    rows, gap, accepted, done = schedule_for(deviation), largest, stop.tol * largest, 0
    u, p = arithmetic.cold()
    if start is not None and largest > 0:
        u, p, gap = arithmetic.advance(*start, [])
    while gap > accepted and done < stop.max_iterations:
        following = unrelaxed_at_last(rows, min(stop.check_every, stop.max_iterations - done))
        u, p, gap = arithmetic.advance(u, p, following)
        done += len(following)
    return u, p, Outcome(gap, accepted, done)


def _shared_out(
    task: Callable[[int, int], Outcome],
    count: int,
    workers: int,
    share: Callable[[Callable[[int, int], object], int], object],
) -> list[Outcome]:
    """Do every task: images side by side where that keeps all threads busy, else bands of one image."""
    if workers == 1 or (count < 4 * workers and count % workers):
        return [task(n, workers) for n in range(count)]
    found: dict[int, Outcome] = {}
    waiting, lock = iter(range(count)), threading.Lock()

    def work(start: int, stop: int) -> None:
        while True:  # whoever is free takes the next image, since they differ in iterations
            with lock:
                n = next(waiting, None)
            if n is None:
                return
            found[n] = task(n, 1)

    share(work, workers)
    return [found[n] for n in range(count)]


class Compiled:
    """The arithmetic on `kernels.total_variation`, which overwrites one pair of iterates.

    Parameters
    ----------
    f
        Image (C, H, W), C-contiguous.
    model
        What is solved for it.
    bands
        Threads to use, each for a band of rows.
    to
        Memory for the iterates, (C, H, W) and (2, C, H, W), of any content.
    """

    def __init__(self, f: Array, model: Model, bands: int, to: tuple[Array, Array]) -> None:
        from ..kernels import threads, total_variation as kernel

        self._f, self._isotropic, self._bands, self._to = f, model.isotropic, bands, to
        self._kernel, self._threads = kernel, threads
        self._weight = np.array((model.weight, model.huber, np.finfo(f.dtype).tiny, 0.5), f.dtype)
        self._sums = np.empty((f.shape[1], 2))

    def measure(self) -> tuple[float, float]:
        """weight TV(f), and the standard deviation of f."""
        channels, height, width = self._f.shape
        sums = np.empty((height, 3))

        def band(start: int, stop: int) -> None:
            scales = self._threads.scratch(2 * width, self._f.dtype)[: 2 * width].reshape(2, width)
            self._kernel.measure(self._f, self._weight, self._isotropic, scales, sums, start, stop)

        self._threads.run(band, self._bounds(_FEWEST_VALUES // (channels * width)))
        penalty, total, square = sums.sum(axis=0)
        variance = square / self._f.size - (total / self._f.size) ** 2
        return float(penalty), math.sqrt(max(float(variance), 0.0))

    def cold(self) -> tuple[Array, Array]:
        """f and 0."""
        self._to[1][:] = 0
        return self._f, self._to[1]

    def advance(self, u: Array, p: Array, rows: Sequence[Row]) -> tuple[Array, Array, float]:
        """The iterates after the iterations of `rows`, and their gap with a bound of its rounding."""
        steps = np.array(rows, self._f.dtype).reshape(len(rows), self._kernel.COEFFICIENTS)
        channels, _, width = self._f.shape
        deepest = self._kernel.iterations_within(_CACHE // self._f.itemsize, channels, width)
        *earlier, last = np.array_split(steps, max(1, -(-len(steps) // deepest)))
        for part in earlier:
            u, p = self._sweep(u, p, part, self._sums[:0])
        u, p = self._sweep(u, p, last, self._sums)
        gap, penalty = self._sums.sum(axis=0)
        return u, p, gap_bound(float(gap), float(penalty), self._f, float(self._weight[0]))

    def _sweep(self, u: Array, p: Array, steps: Array, sums: Array) -> tuple[Array, Array]:
        channels, _, width = self._f.shape
        size, bands = self._kernel.ring_size(channels, width, len(steps)), self._bounds(2 * len(steps))
        beyond = {band: self._beyond(u, p, band, len(steps)) for band in bands}
        # what is overwritten is named once, since no two arguments of a kernel may overlap
        u, p = (given[:0] if given is to else given for given, to in zip((u, p), self._to, strict=True))

        def band(start: int, stop: int) -> None:
            ring, terms = self._threads.scratch(size, self._f.dtype), np.empty(width, self._f.dtype)
            self._kernel.sweep(
                *(self._f, u, p, *self._to, *beyond[start, stop], steps, self._weight, self._isotropic),
                *(ring, terms, sums, start, stop),
            )

        self._threads.run(band, bands)
        return self._to

    def _beyond(self, u: Array, p: Array, band: tuple[int, int], iterations: int) -> tuple[Array, Array]:
        """Copies of the rows of the iterates before a band and after it, which other threads overwrite."""
        (start, stop), margin = band, self._kernel.margin(iterations)
        above, below = slice(max(start - margin, 0), start), slice(stop, stop + margin)
        first, second = (np.concatenate([u[None, :, rows], p[:, :, rows]]) for rows in (above, below))
        return first, second

    def _bounds(self, least: int) -> list[tuple[int, int]]:
        """The bands of rows that threads take, each of at least so many."""
        height = self._f.shape[1]
        return [(0, height)] if self._bands == 1 else self._threads.bounds(height, max(least, _FEWEST_ROWS))
