"""Images on a CUDA device: launches, their graph, and finding out when to stop without stopping.

Work goes to CuPy's current stream. The first iterations up to a check are launched one by one, which
compiles the kernels; if more are needed, the launches of the next ones are captured into a CUDA graph, and
one replay makes `check_every` iterations and a check. After each replay the flags that say which
images are done are copied to the host, where they are looked at when the next replay is on its way: the
device never waits for the host. The one replay too many at the end finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..arrays import Array, Underway
from ..kernels.cuda.launching import numba_stream, seen_by_numba
from .model import Algorithm, Model, Row, Stopping, schedule, unrelaxed_at_last
from .solution import Outcome, State


def solve_all(
    images: Array, state: State | None, models: Sequence[Model], algorithm: Algorithm, stop: Stopping
) -> tuple[State, list[Outcome]]:
    """As `host.solve_all`; iterations between checks are rounded up to an even number."""
    with images.device:  # type: ignore[attr-defined]
        solver = _Solver(images, models, algorithm, stop)
        solver.start(state)
        return solver.run()


class _Solver:
    """The iteration on all images (N, C, H, W) of CuPy at once, in two pairs of iterates in turn."""

    def __init__(self, images: Any, models: Sequence[Model], algorithm: Algorithm, stop: Stopping) -> None:
        import cupy

        self._cupy, self._f, self._stop = cupy, images, stop
        self._models, self._algorithm = models, algorithm
        self._deviations = images.astype(np.float64).std(axis=(1, 2, 3)).get().tolist()
        self._every = min(stop.check_every + stop.check_every % 2, stop.max_iterations)
        count, channels, height, width = images.shape
        shape = (count, 2, channels, height, width)
        self._pairs = [
            (cupy.empty(images.shape, images.dtype), cupy.empty(shape, images.dtype)) for _ in range(2)
        ]
        weights = np.array([(m.weight, m.huber) for m in models]).reshape(count, 2)
        self._weights = cupy.asarray(weights.astype(images.dtype))
        self._isotropic = models[0].isotropic
        self._flags = {
            "gap": cupy.zeros(count, np.float64),
            "accepted": cupy.zeros(count, np.float64),
            "iterations": cupy.zeros(count, np.int32),
            "done": cupy.zeros(count, np.int32),
            "clock": cupy.zeros(1, np.int32),
        }
        from ..kernels.cuda import total_variation as kernels

        self._kernels = kernels
        across, down, _ = kernels.blocks_of(images.shape)
        self._partial = cupy.empty((count, across * down, 2), np.float64)

    def start(self, state: State | None) -> None:
        """Put the iterates in place, and find out what gap is accepted, and which images are done."""
        u, p = self._pairs[0]
        u[...], p[...] = self._f, 0
        self._check(-1)
        if state is None:
            return
        pending = (self._flags["done"] == 0)[:, None, None, None]
        u[...] = self._cupy.where(pending, state.u, u)
        p[...] = self._cupy.where(pending[:, None], state.p, p)
        self._check(0)

    def run(self) -> tuple[State, list[Outcome]]:
        """Iterate until all images are done."""
        whole, rest = divmod(self._stop.max_iterations, self._every)
        if not self._all_done(self._asked()):
            # Constant steps repeat from check to check, and so does their table.
            length = self._every if self._algorithm == "over-relaxed" else whole * self._every
            table = self._table(0, length, self._every)
            self._replay(lambda: self._period(table, self._every), whole)
        if rest and not self._all_done(self._asked()):
            self._last(whole * self._every, rest)
        found = {name: flags.get() for name, flags in self._flags.items()}
        each = zip(found["gap"], found["accepted"], found["iterations"], strict=True)
        return State(*self._pairs[0]), [Outcome(float(g), float(a), int(i)) for g, a, i in each]

    def _last(self, done: int, rest: int) -> None:
        """The iterations that are left, fewer than between two checks."""
        pending = (self._flags["done"] == 0)[:, None, None, None]
        self._flags["clock"][...] = 0
        self._period(self._table(done, rest, rest), rest)
        if rest % 2:  # those that took part are in the other pair now
            for here, there in zip(*self._pairs, strict=True):
                mask = pending if here.ndim == 4 else pending[:, None]
                here[...] = self._cupy.where(mask, there, here)

    def _replay(self, period: Callable[[], None], times: int) -> None:
        """Run `period` until all images are done, at most so often; all but the first time as a graph."""
        period()
        before = self._asked()
        if times == 1 or self._all_done(before):
            return
        graph = self._captured(period)
        for _ in range(times - 1):
            graph.launch()
            if self._all_done(before):
                return
            before = self._asked()

    def _captured(self, period: Callable[[], None]) -> Any:
        aside = self._cupy.cuda.Stream(non_blocking=True)
        with aside:
            aside.begin_capture()
            period()
            return aside.end_capture()

    def _asked(self) -> Underway:
        """The flags of all images, on their way to the host."""
        return Underway(self._flags["done"])

    @staticmethod
    def _all_done(asked: Underway) -> bool:
        return bool(asked.get().all())

    def _table(self, done: int, iterations: int, every: int) -> Any:
        """The coefficients (N, iterations, 6) that follow the first `done`, with a check after every few."""
        rows = [self._rows(n, done, iterations, every) for n in range(len(self._f))]
        return self._cupy.asarray(np.array(rows).reshape(len(rows), iterations, 6).astype(self._f.dtype))

    def _rows(self, n: int, done: int, iterations: int, every: int) -> list[Row]:
        model = self._models[n]
        if model.weight == 0:  # never looked at
            return [(0.0,) * 6] * iterations
        rows = islice(schedule(self._algorithm, model, self._stop.tol, self._deviations[n]), done, None)
        return [row for _ in range(iterations // every) for row in unrelaxed_at_last(rows, every)]

    def _period(self, table: Any, count: int) -> None:
        """Launch iterations and a check."""
        with numba_stream(self._f) as stream:
            arguments = [seen_by_numba(a) for a in (self._f, table, self._weights)]
            pairs = [tuple(map(seen_by_numba, pair)) for pair in self._pairs]
            progress = self._progress()
            f, steps, weights = arguments
            for i in range(count):
                source, target = pairs[i % 2], pairs[(i + 1) % 2]
                self._kernels.iterate(f, source, target, steps, i, weights, progress, self._isotropic, stream)
        self._check(count)

    def _check(self, made: int) -> None:
        with numba_stream(self._f) as stream:
            f, weights, partial = (seen_by_numba(a) for a in (self._f, self._weights, self._partial))
            source = tuple(map(seen_by_numba, self._pairs[max(made, 0) % 2]))
            self._kernels.check(
                *(f, source, weights, self._progress(), partial, made, self._stop.tol),
                *(self._isotropic, stream),
            )

    def _progress(self) -> Any:
        return self._kernels.Progress(**{name: seen_by_numba(a) for name, a in self._flags.items()})
