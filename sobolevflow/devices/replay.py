"""Work on a GPU that is the same at every step, kept as a CUDA graph.

Launching a kernel from Python takes longer than a small kernel runs. A graph is launched at once, with all
its kernels; in return everything that changes from step to step has to lie in the memory of the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from ..arrays import Array
from .memory import Memory

# Calls before the work is captured: kernels are compiled, plans of transforms made, constants copied.
_WARM = 2

# Replays that are compared: a graph that has kept a number of the first would agree once, by chance.
_COMPARED = 2

# By how much a replay may differ from the work itself, relative to the largest number in an array: on a
# device sums are not always added up in the same order.
_TOLERANCE = 1e-3


class Replay:
    """A function that queues the same work at every call, in the end by launching a CUDA graph.

    The graph is used only if its first replays do to the arrays what the work itself does.

    Parameters
    ----------
    work : callable
        Takes nothing, returns nothing; reads and writes arrays of the device, the same at every call.
    arrays : sequence of array
        Those that it writes, for the comparison.
    memory : Memory
    capture : bool
        Whether it may be captured: nothing in it waits for the device, or depends on the host.

    Attributes
    ----------
    trouble : str or None
        Why there is no graph although one was wanted.
    """

    def __init__(
        self, work: Callable[[], None], arrays: Sequence[Array], memory: Memory, capture: bool
    ) -> None:
        self._work, self._arrays, self._memory = work, arrays, memory
        self._graph: Any = None
        self._calls = 0
        self._wanted = capture
        # A graph writes to the addresses that its temporary arrays had, which must never become another's.
        self._pool = memory.xp.cuda.MemoryPool() if capture else None
        self.trouble: str | None = None

    def __call__(self) -> None:
        """Queue the work."""
        if self._wanted and self._calls == _WARM:
            self._graph = self._captured_or_none()
        self._calls += 1
        if self._graph is None:
            self._do()
        elif self._calls <= _WARM + _COMPARED:
            self._compare()
        else:
            self._graph.launch()

    def _do(self) -> None:
        """The work itself, in memory of its own if it may be captured later."""
        with self._own_memory() if self._pool is not None else nullcontext():
            self._work()

    def _own_memory(self) -> Any:
        return self._memory.xp.cuda.using_allocator(self._pool.malloc)  # type: ignore[union-attr]

    def _compare(self) -> None:
        """Replay the graph, then do the work from where it began; without agreement the graph is dropped.

        In this order, since the work leaves numbers behind that a graph without some of it would find.
        """
        before = [a.copy() for a in self._arrays]
        self._graph.launch()
        replayed = [a.copy() for a in self._arrays]
        _restore(self._arrays, before)
        self._do()
        if not all(self._agree(a, b) for a, b in zip(replayed, self._arrays, strict=True)):
            self._graph = None
            self.trouble = "its steps are not replayed as a CUDA graph, which gave another result"

    def _captured_or_none(self) -> Any:
        try:
            with self._own_memory():
                return self._captured()
        except Exception as error:  # whatever it is, the work can be done without a graph
            self.trouble = f"its steps are not replayed as a CUDA graph: {error}"
            return None

    def _captured(self) -> Any:
        stream = self._memory.xp.cuda.get_current_stream()
        stream.begin_capture()
        try:
            self._work()
        except BaseException:
            _end(stream)
            raise
        return stream.end_capture()

    def _agree(self, a: Array, b: Array) -> bool:
        xp = self._memory.xp
        largest = float(abs(b).max()) if b.size else 0.0
        return bool(xp.allclose(a, b, rtol=0, atol=_TOLERANCE * largest, equal_nan=True))


def _restore(arrays: Sequence[Array], values: Sequence[Array]) -> None:
    for array, value in zip(arrays, values, strict=True):
        array[...] = value


def _end(stream: Any) -> None:
    """Leave a capture that has failed, so that the stream can be used again."""
    try:
        stream.end_capture()
    except Exception:  # it says once more that the capture has failed
        return
