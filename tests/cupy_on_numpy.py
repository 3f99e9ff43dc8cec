"""A stand-in for CuPy whose arrays are NumPy's, for Numba's simulator: installs itself when imported.

It has what `sobolevflow` uses of CuPy, so that the code for devices runs without one.
"""

from __future__ import annotations

import sys
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


def install() -> None:
    """Make ``import cupy`` and ``from cupyx.scipy import fft`` find this."""
    stream = SimpleNamespace(ptr=0, synchronize=lambda: None)
    cupy: Any = ModuleType("cupy")
    names = ("asarray", "ascontiguousarray", "may_share_memory", "moveaxis", "zeros", "concatenate")
    vars(cupy).update({name: wrapped(getattr(np, name)) for name in names})
    cupy.ndarray, cupy.empty = ndarray, empty
    cupy.cuda = SimpleNamespace(get_current_stream=lambda: stream)
    transforms = {
        name: wrapped(getattr(scipy.fft, name)) for name in ("dctn", "idctn", "rfft", "rfft2", "irfft2")
    }
    cupyx_scipy: Any = ModuleType("cupyx.scipy")
    cupyx_scipy.fft = SimpleNamespace(**transforms)
    sys.modules |= {"cupy": cupy, "cupyx": ModuleType("cupyx"), "cupyx.scipy": cupyx_scipy}
    cuda.gpus = [Device()]
    cuda.as_cuda_array = lambda x, sync: x.memory


install()
