"""A stand-in for CuPy whose arrays are NumPy's, for Numba's simulator: installs itself when imported.

It has what `sobolevflow` uses of CuPy, so that the code for devices runs without one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import scipy.fft
from numba import cuda


class Device:
    """A device that can be entered, CuPy's or Numba's."""

    id = 0

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *unused: object) -> None:
        pass


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801  (its name in CuPy)
    """An array that is not one of NumPy's, and does with one what CuPy's does."""

    device = Device()

    def __init__(self, memory: Any) -> None:
        self.memory = np.asarray(memory)

    def __getattr__(self, name: str) -> Any:
        return wrapped(getattr(self.memory, name))

    def get(self, out: Any = None, blocking: bool = True) -> Any:
        """The copy on the host."""
        if out is None:
            return self.memory.copy()
        out[...] = self.memory
        return out

    def __float__(self) -> float:
        return float(self.memory)

    def __len__(self) -> int:
        return len(self.memory)

    def __getitem__(self, key: Any) -> Any:
        return ndarray(self.memory[key])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.memory[key] = unwrapped(value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if out:
            options["out"] = tuple(map(unwrapped, out))
        result = getattr(ufunc, method)(*map(unwrapped, inputs), **options)
        return out[0] if out else ndarray(result)


ndarray.__module__ = "cupy"


def unwrapped(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(unwrapped, x))
    return x.memory if isinstance(x, ndarray) else x


def wrapped(x: Any) -> Any:
    """What comes from NumPy, as it would from CuPy: arrays, and functions and methods that return some."""
    if isinstance(x, np.ndarray):
        return ndarray(x)
    if not callable(x) or isinstance(x, type):
        return x
    return lambda *inputs, **options: wrapped(x(*map(unwrapped, inputs), **options))


def empty(shape: Any, dtype: Any) -> ndarray:
    """Nothing may depend on what was there before."""
    return ndarray(np.full(shape, np.nan, dtype))


class Graph:
    """What was launched while a stream was capturing, to be launched again."""

    def __init__(self) -> None:
        self.launches: list[Callable[[], object]] = []

    def launch(self) -> None:
        for each in self.launches:
            each()


class Stream:
    """A stream that can be captured: then kernels are noted instead of launched."""

    ptr = 0
    capturing: Graph | None = None

    def __init__(self, non_blocking: bool = False) -> None:
        pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *unused: object) -> None:
        pass

    def synchronize(self) -> None:
        """All is done already."""

    def begin_capture(self) -> None:
        Stream.capturing = Graph()

    def end_capture(self) -> Graph:
        graph, Stream.capturing = Stream.capturing, None
        assert graph is not None
        return graph


def configured(kernel: Any, blocks: Any, threads: Any, stream: Any) -> Callable[..., None]:
    """In the place of `launching_cuda.configured`."""

    def launch(*arguments: Any) -> None:
        if Stream.capturing is None:
            kernel[blocks, threads, stream](*arguments)
        else:
            Stream.capturing.launches.append(lambda: kernel[blocks, threads, stream](*arguments))

    return launch


def install() -> None:
    """Make ``import cupy`` and ``from cupyx.scipy import fft`` find this."""
    cupy: Any = ModuleType("cupy")
    names = ("asarray", "ascontiguousarray", "may_share_memory", "moveaxis", "zeros", "concatenate")
    more = ("where", "clip", "pad", "exp", "zeros_like", "maximum")
    vars(cupy).update({name: wrapped(getattr(np, name)) for name in names + more})
    cupy.ndarray, cupy.empty = ndarray, empty
    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    cupy.cuda = SimpleNamespace(
        get_current_stream=Stream, Stream=Stream, Event=lambda: event, alloc_pinned_memory=bytearray
    )
    transforms = {
        name: wrapped(getattr(scipy.fft, name)) for name in ("dctn", "idctn", "rfft", "rfft2", "irfft2")
    }
    cupyx_scipy: Any = ModuleType("cupyx.scipy")
    cupyx_scipy.fft = SimpleNamespace(**transforms)
    sys.modules |= {"cupy": cupy, "cupyx": ModuleType("cupyx"), "cupyx.scipy": cupyx_scipy}
    cuda.gpus = [Device()]
    cuda.as_cuda_array = lambda x, sync: x.memory


install()
