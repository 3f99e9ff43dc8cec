"""Work on a GPU that is the same at every step, kept as a CUDA graph.

Launching a kernel from Python takes longer than a small kernel runs. A graph is launched at once, with all
its kernels; in return everything that changes from step to step has to lie in the memory of the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .arrays import Array
from .memory import Memory

# Calls before the work is captured: kernels are compiled, plans of transforms made, constants copied.
_WARM = 2
# By how much a replay may differ from the work itself, relative to the largest number in an array: on a
# device sums are not always added up in the same order.
_TOLERANCE = 1e-3


class Replay:
    """A function that queues the same work at every call, in the end by launching a CUDA graph.

    The graph is used only if its first replay does to the arrays what the work itself does.

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
        if self._graph is not None:
            self._graph.launch()
        elif self._wanted and self._calls >= _WARM:
            self._try_to_capture()
        elif self._wanted:
            with self._own_memory():
                self._work()
        else:
            self._work()
        self._calls += 1

    def _own_memory(self) -> Any:
        return self._memory.xp.cuda.using_allocator(self._pool.malloc)  # type: ignore[union-attr]

    def _try_to_capture(self) -> None:
        """Do the work, and again as a graph from where it began; keep the graph if both agree."""
        self._wanted = False
        before = [a.copy() for a in self._arrays]
        with self._own_memory():
            self._work()
        after = [a.copy() for a in self._arrays]
        try:
            with self._own_memory():
                graph = self._captured()
        except Exception as error:  # whatever it is, the work itself has been done
            self.trouble = f"its steps are not replayed as a CUDA graph: {error}"
            return
        _restore(self._arrays, before)
        graph.launch()
        if all(self._agree(a, b) for a, b in zip(self._arrays, after, strict=True)):
            self._graph = graph
            return
        _restore(self._arrays, after)
        self.trouble = "its steps are not replayed as a CUDA graph, which gave another result"

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
