"""Where the arrays of a descent lie: in the memory of the host, or in that of a GPU, on one stream.

Both have the same few methods, so that nothing else asks where it is. On a GPU arrays are CuPy's, and all
work on them is queued on one stream that onnxruntime computes on as well: it is in order without waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Lock, RLock
from typing import Any, Protocol

import numpy as np

from ..arrays import Array, Underway, to_host
from ..errors import DeviceError, RuntimeMissingError, how_to_install
from .device import Device
from .failures import explained


class Memory(Protocol):
    """What a place for arrays can do."""

    kind: str  # as onnxruntime calls it
    index: int
    xp: Any  # the library of the arrays
    stream: int  # the address of the stream to compute on; 0 on the host

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array of any content, C-contiguous."""
        ...

    def pointer(self, array: Array) -> int:
        """The address of a C-contiguous array."""
        ...

    def put(self, target: Array, source: Array) -> None:
        """Copy an array from anywhere into one that lies here."""
        ...

    def later(self, array: Array) -> Later:
        """The values of an array as they are now, to be had on the host in a while."""
        ...

    def available(self) -> int | None:
        """Bytes that are free; None where nobody counts."""
        ...

    def turn(self) -> Any:
        """A context in which work is queued here, after what was queued before it, before what is after.

        On a GPU one thread has it at a time: what others queued in between would be captured into a graph.
        """
        ...


class Later(Protocol):
    """Values on their way to the host."""

    @property
    def there(self) -> bool:
        """Whether they have arrived."""
        ...

    def get(self) -> Array:
        """The values; waits for them."""
        ...


@dataclass(frozen=True)
class _Here:
    """Values that are on the host."""

    values: Array
    there = True

    def get(self) -> Array:
        return self.values


class Host:
    """The memory of the host, and arrays of NumPy."""

    kind: str = "cpu"
    index: int = 0
    xp: Any = np
    stream: int = 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """As `Memory`."""
        return np.empty(shape, dtype)

    def pointer(self, array: Array) -> int:
        """As `Memory`."""
        _check_contiguous(array)
        return int(array.ctypes.data)

    def put(self, target: Array, source: Array) -> None:
        """As `Memory`."""
        np.copyto(target, to_host(source), casting="same_kind")

    def later(self, array: Array) -> Later:
        """As `Memory`."""
        return _Here(array.copy())

    def available(self) -> None:
        """As `Memory`."""
        return

    @contextmanager
    def turn(self) -> Iterator[None]:
        """As `Memory`; on the host everything is done when it returns."""
        yield


class Gpu:
    """The memory of a CUDA device, arrays of CuPy, and a stream of our own.

    ``queue`` is a stream other than CUDA's default one, which would wait for all others, and not that of the
    caller, who may end it: onnxruntime keeps its address for as long as a session lives.

    Raises
    ------
    RuntimeMissingError
        CuPy cannot be imported.
    DeviceError
        There is no such device, or its driver is too old.
    """

    kind: str = "cuda"

    def __init__(self, index: int) -> None:
        try:
            import cupy
        except ImportError as error:
            raise RuntimeMissingError(
                f"device 'cuda' needs CuPy, which cannot be imported ({error}). Install it: "
                f"{how_to_install('cuda13')}."
            ) from error
        self.index, self.xp = index, cupy
        try:
            self._device = cupy.cuda.Device(index)
            with self._device:
                self.queue = cupy.cuda.Stream(non_blocking=True)
        except Exception as error:  # CuPy's errors of CUDA have no public base class
            raise explained(error, f"cuda:{index}") from error
        self.stream = int(self.queue.ptr)
        self._lock = RLock()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """As `Memory`."""
        return self.xp.empty(shape, dtype)  # type: ignore[no-any-return]

    def pointer(self, array: Array) -> int:
        """As `Memory`."""
        _check_contiguous(array)
        return int(array.data.ptr)  # type: ignore[attr-defined]

    def put(self, target: Array, source: Array) -> None:
        """As `Memory`."""
        target[...] = self.xp.asarray(source)

    def later(self, array: Array) -> Later:
        """As `Memory`."""
        return Underway(array)

    def available(self) -> int:
        """As `Memory`, with what CuPy keeps for later."""
        with self._device:
            return int(self.xp.cuda.runtime.memGetInfo()[0]) + int(
                self.xp.get_default_memory_pool().free_bytes()
            )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """As `Memory`: our stream waits for the caller's, and the caller's for ours; the host for neither."""
        outer = self.xp.cuda.get_current_stream()
        with self._lock:
            if outer.ptr == self.stream:
                yield
                return
            self.queue.wait_event(outer.record())
            with self._device, self.queue:
                yield
            outer.wait_event(self.queue.record())


def memory_of(device: Device) -> Memory:
    """The memory that belongs to a device."""
    if device.on_host:
        return _HOST
    with _ONE_EACH:
        return _gpu(device.index)


_HOST, _ONE_EACH = Host(), Lock()


@cache
def _gpu(index: int) -> Gpu:
    return Gpu(index)


def _check_contiguous(array: Array) -> None:
    """Onnxruntime takes an address and a shape, and would read an array with gaps as one without."""
    if not array.flags.c_contiguous:
        raise DeviceError("an array that is not contiguous in memory cannot be bound to onnxruntime.")
