"""Arrays of every library that is there, of every dtype and layout, and how to read them without our help."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]


class SmallArray:
    """What DLPack asks of an array, and no more: a library that nobody has heard of."""

    __module__ = "small_arrays"

    def __init__(self, memory: Values) -> None:
        self.memory = memory
        self.shape, self.dtype = memory.shape, memory.dtype

    def __dlpack__(self, **arguments: Any) -> Any:
        """The memory."""
        return self.memory.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The host."""
        return (1, 0)


_small: Any = ModuleType("small_arrays")
_small.from_dlpack = lambda x: SmallArray(np.from_dlpack(x))
sys.modules["small_arrays"] = _small


@dataclass(frozen=True)
class Kind:
    """One kind of array: how it is made of one of NumPy, which it holds exactly or rounded, and read."""

    library: str
    dtype: str
    make: Callable[[Values], Any]
    read: Callable[[Any], Values]
    type: Callable[[], Any]

    def __str__(self) -> str:
        return f"{self.library} {self.dtype}"

    def rounded(self, a: Values) -> Values:
        """What NumPy is given for comparison: the values that the array holds, in a dtype of NumPy's."""
        made = np.array(self.read(self.make(a)))
        if made.dtype == np.float16:
            return made.astype(np.float32)
        return made.astype(made.dtype.newbyteorder("="))


def _in_torch(dtype: str, grad: bool = False) -> Kind:
    import torch

    def make(a: Values) -> Any:
        if a.dtype.kind != "f":
            return torch.tensor(a.copy())
        # steps of a tensor are those of the array, as far as PyTorch knows such
        x = torch.from_numpy(a if min(a.strides, default=1) > 0 else a.copy())
        x = x if x.dtype == getattr(torch, dtype) else x.to(getattr(torch, dtype))
        return x.clone().requires_grad_() if grad else x

    def read(x: Any) -> Values:
        x = x.detach()
        return np.asarray((x.float() if x.dtype == torch.bfloat16 else x).numpy())

    return Kind("torch", dtype + (" with grad" if grad else ""), make, read, lambda: torch.Tensor)


def _in_jax(dtype: str) -> Kind:
    import jax

    def make(a: Values) -> Any:
        x = jax.device_put(a.copy(), jax.devices("cpu")[0])
        return x.astype(dtype) if a.dtype.kind == "f" else x

    def read(x: Any) -> Values:
        return np.asarray(x.astype("float32") if str(x.dtype) == "bfloat16" else x)

    return Kind("jax", dtype, make, read, lambda: jax.Array)


def _in_strict(dtype: str) -> Kind:
    import array_api_strict as xp

    def make(a: Values) -> Any:
        return xp.asarray(a.astype(dtype) if a.dtype.kind == "f" else a)

    return Kind("array_api_strict", dtype, make, np.from_dlpack, lambda: type(xp.asarray(1.0)))


def _in_numpy(dtype: str) -> Kind:
    def make(a: Values) -> Values:
        return a.astype(dtype) if a.dtype.kind == "f" else a

    return Kind("numpy", dtype, make, np.asarray, lambda: np.ndarray)


def _in_small_arrays(dtype: str) -> Kind:
    def make(a: Values) -> SmallArray:
        return SmallArray(a.astype(dtype, copy=False) if a.dtype.kind == "f" else a)

    return Kind("small_arrays", dtype, make, lambda x: x.memory, lambda: SmallArray)


def _lists() -> Kind:
    return Kind("lists", "float64", lambda a: a.tolist(), np.asarray, lambda: np.ndarray)


def kinds() -> list[Kind]:
    """All that can be made here."""
    found = [_in_numpy(dtype) for dtype in ("float32", "float64", "float16", ">f4")]
    found += [_in_small_arrays(dtype) for dtype in ("float32", "float64", "float16")] + [_lists()]
    if importlib.util.find_spec("torch"):
        found += [_in_torch(dtype) for dtype in ("float32", "float64", "float16", "bfloat16")]
        found += [_in_torch("float32", grad=True)]
    if importlib.util.find_spec("jax"):
        found += [_in_jax(dtype) for dtype in ("float32", "float64", "float16", "bfloat16")]
    if importlib.util.find_spec("array_api_strict"):
        found += [_in_strict(dtype) for dtype in ("float32", "float64")]
    return found


LAYOUTS: dict[str, Callable[[Values], Values]] = {
    "contiguous": lambda a: a,
    "columns first": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
}
"""The same values with other steps in memory, where the library keeps these."""


@contextmanager
def double_precision() -> Iterator[None]:
    """Let JAX compute in double precision, if it is there."""
    jax = sys.modules.get("jax")
    if jax is None:
        yield
        return
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)
