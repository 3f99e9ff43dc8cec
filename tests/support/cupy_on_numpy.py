"""A stand-in for CuPy whose arrays are NumPy's, for Numba's simulator: installs itself when imported.

It has what `sobolevflow` uses of CuPy, so that the code for devices runs without one, and refuses what CuPy
refuses: arrays that would be taken to the host in passing, and while a stream is being captured everything
that would wait for the device.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from numba import cuda

from sobolevflow.kernels.cuda import total_variation as total_variation_cuda

DEVICES = 2


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class Device:
    """A device that can be entered, CuPy's or Numba's."""

    def __init__(self, id: int = 0) -> None:
        self.id = id

    def __enter__(self) -> Device:
        if self.id >= DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        return self

    def __exit__(self, *unused: object) -> None:
        pass

    def synchronize(self) -> None:
        """All is done already."""
        not_while_capturing()


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801  (its name in CuPy)
    """An array that is not one of NumPy's, and does with one what CuPy's does."""

    device = Device()

    def __init__(self, memory: Any) -> None:
        self.memory = np.asarray(memory)

    def __getattr__(self, name: str) -> Any:
        return wrapped(getattr(self.memory, name))

    @property
    def data(self) -> Any:
        """The memory; here its address is good for the CPU."""
        return SimpleNamespace(ptr=self.memory.ctypes.data)

    def get(self, out: Any = None, blocking: bool = True) -> Any:
        """The copy on the host."""
        not_while_capturing()
        if out is None:
            return self.memory.copy()
        out[...] = self.memory
        return out

    def set(self, values: Any) -> None:
        """Values of the host."""
        not_while_capturing()
        self.memory[...] = values

    def __array__(self, *unused: Any, **options: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __float__(self) -> float:
        not_while_capturing()
        return float(self.memory)

    def __bool__(self) -> bool:
        not_while_capturing()
        return bool(self.memory)

    def __len__(self) -> int:
        return len(self.memory)

    def __getitem__(self, key: Any) -> Any:
        return performed(lambda memory: memory[unwrapped(key)], self)

    def __setitem__(self, key: Any, value: Any) -> None:
        def write() -> None:
            self.memory[unwrapped(key)] = unwrapped(value)

        if isinstance(value, np.ndarray):
            not_while_capturing()
        queue(write)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        function = getattr(ufunc, method)
        if out:
            queue(lambda: function(*map(unwrapped, inputs), out=tuple(map(unwrapped, out)), **options))
            return out[0]
        return performed(function, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return performed(function, *args, **kwargs)


ndarray.__module__ = "cupy"


def not_while_capturing() -> None:
    if Stream.capturing is not None:
        Stream.capturing.invalid = True
        raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted in capture")


def queue(work: Callable[[], object]) -> None:
    """Do what writes to memory, or only note it while a stream is being captured."""
    if Stream.capturing is None:
        work()
    else:
        Stream.capturing.launches.append(work)


def performed(function: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """The result of a function, which a graph that is being captured computes anew at every launch."""

    def work() -> Any:
        with np.errstate(all="ignore"):  # of CuPy there are no warnings
            return function(*map(unwrapped, inputs), **{k: unwrapped(v) for k, v in options.items()})

    result = wrapped(work())
    if Stream.capturing is not None and isinstance(result, ndarray):

        def again() -> None:
            fresh = work()
            if fresh is not result.memory:
                result.memory[...] = fresh

        Stream.capturing.launches.append(again)
    return result


def unwrapped(x: Any) -> Any:
    if isinstance(x, tuple | list):
        return type(x)(map(unwrapped, x))
    return x.memory if isinstance(x, ndarray) else x


def wrapped(x: Any) -> Any:
    """What comes from NumPy, as it would from CuPy: arrays, and functions and methods that return some."""
    if isinstance(x, np.ndarray | np.generic):
        return ndarray(x)
    if not callable(x) or isinstance(x, type):
        return x
    return lambda *inputs, **options: performed(x, *inputs, **options)


def asarray(x: Any, dtype: Any = None) -> ndarray:
    """A copy of what lies on the host."""
    if isinstance(x, ndarray):
        return x if dtype is None else ndarray(x.memory.astype(dtype))
    not_while_capturing()
    return ndarray(np.array(x, dtype))


def empty(shape: Any, dtype: Any = np.float64) -> ndarray:
    """Nothing may depend on what was there before."""
    dtype = np.dtype(dtype)
    return ndarray(np.full(shape, np.nan if dtype.kind == "f" else 1 << 6, dtype))


class Graph:
    """What was launched while a stream was capturing, to be launched again."""

    def __init__(self) -> None:
        self.launches: list[Callable[[], object]] = []
        self.count = 0
        self.invalid = False  # something in it was not permitted

    def launch(self, stream: Any = None) -> None:
        self.count += 1
        for each in self.launches:
            each()


class Event:
    """A place in a queue; here everything in front of it is done."""

    done = True

    def record(self, stream: Any = None) -> None:
        not_while_capturing()

    def synchronize(self) -> None:
        """All is done already."""
        not_while_capturing()


class Stream:
    """A stream that can be captured: then work is noted instead of done."""

    capturing: Graph | None = None
    captured: list[Graph] = []  # noqa: RUF012  (of all streams)
    waits: list[tuple[int, int]] = []  # noqa: RUF012  (which stream has waited for which)
    _addresses = itertools.count(16, 16)
    _current: list[Stream] = []  # noqa: RUF012

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr = next(Stream._addresses) if non_blocking else 0

    def __enter__(self) -> Stream:
        Stream._current.append(self)
        return self

    def __exit__(self, *unused: object) -> None:
        Stream._current.pop()

    def record(self) -> Event:
        event = Event()
        event.stream = self.ptr  # type: ignore[attr-defined]
        return event

    def wait_event(self, event: Any) -> None:
        Stream.waits.append((self.ptr, event.stream))

    def synchronize(self) -> None:
        """All is done already."""
        not_while_capturing()

    def begin_capture(self) -> None:
        Stream.capturing = Graph()

    def end_capture(self) -> Graph:
        graph, Stream.capturing = Stream.capturing, None
        assert graph is not None
        if graph.invalid:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed")
        Stream.captured.append(graph)
        return graph


def current_stream() -> Stream:
    return Stream._current[-1] if Stream._current else _NULL


_NULL = Stream()


class MemoryPool:
    """Memory that is kept for later."""

    def malloc(self, size: int) -> None:
        """Never called here."""

    def free_bytes(self) -> int:
        return 0


_POOL = MemoryPool()


def configured(kernel: Any, blocks: Any, threads: Any, stream: Any) -> Callable[..., None]:
    """In the place of `launching_cuda.configured`."""
    return lambda *arguments: queue(lambda: kernel[blocks, threads, stream](*arguments))


def capture(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Let graphs hold the kernels of modules."""
    for module in modules:
        monkeypatch.setattr(module, "configured", configured)


def few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller blocks of total variation: of 256 threads of Python one takes long."""
    for name, number in (("_ACROSS", 8), ("_DOWN", 4), ("_THREADS", 32)):
        monkeypatch.setattr(total_variation_cuda, name, number)


def install() -> None:
    """Make ``import cupy`` and ``from cupyx.scipy import fft`` find this."""
    cupy: Any = ModuleType("cupy")
    names = ("ascontiguousarray", "may_share_memory", "moveaxis", "zeros", "concatenate", "empty_like")
    more = ("where", "clip", "pad", "exp", "zeros_like", "maximum", "sqrt", "stack", "roll", "log")
    rest = ("allclose", "angle", "einsum", "arange", "broadcast_to", "tensordot")
    vars(cupy).update({name: wrapped(getattr(np, name)) for name in names + more + rest})
    cupy.fft = SimpleNamespace(fft2=wrapped(np.fft.fft2))
    cupy.ndarray, cupy.empty, cupy.asarray = ndarray, empty, asarray
    cupy.full = lambda shape, value, dtype: ndarray(np.full(shape, value, dtype))
    cupy.__version__ = "0"
    cupy.get_default_memory_pool = lambda: _POOL
    cupy.cuda = SimpleNamespace(
        get_current_stream=current_stream,
        Stream=Stream,
        Event=Event,
        Device=Device,
        alloc_pinned_memory=bytearray,
        MemoryPool=MemoryPool,
        using_allocator=lambda allocator: contextlib.nullcontext(),
        runtime=SimpleNamespace(memGetInfo=lambda: (1 << 30, 1 << 31), CUDARuntimeError=CUDARuntimeError),
    )
    transforms = {
        name: wrapped(getattr(scipy.fft, name))
        for name in ("dctn", "idctn", "rfft", "rfft2", "irfft2", "fft2", "ifft2")
    }
    cupyx_scipy: Any = ModuleType("cupyx.scipy")
    cupyx_scipy.fft = SimpleNamespace(**transforms)
    cupyx_scipy.ndimage = SimpleNamespace(gaussian_filter=wrapped(scipy.ndimage.gaussian_filter))
    sys.modules |= {"cupy": cupy, "cupyx": ModuleType("cupyx"), "cupyx.scipy": cupyx_scipy}
    cuda.gpus = [Device() for _ in range(DEVICES)]
    cuda.as_cuda_array = lambda x, sync: x.memory
    cuda.external_stream = lambda pointer: 0


install()
