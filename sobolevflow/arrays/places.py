"""Arrays of NumPy and CuPy alike: which library computes there, and copies there and back."""

from __future__ import annotations

import functools
import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .libraries import described
from .types import Array

_ALIGNMENT = 64  # bytes: a cache line, the widest vector, and what JAX asks of memory that it takes over


def may_overlap(a: Array, b: Array) -> bool:
    """Whether two arrays that `borrow` gave could share memory."""
    if isinstance(a, np.ndarray):
        return np.may_share_memory(a, b)
    return bool(sys.modules["cupy"].may_share_memory(a, b))


def empty_like(planes: Array) -> Array:
    """A new array of the shape and dtype of `planes`, on its device, C-contiguous, of any content.

    On the host it begins at a multiple of 64 bytes, so that no vector straddles two cache lines, and
    JAX takes it over without a copy.
    """
    if not isinstance(planes, np.ndarray):
        return sys.modules["cupy"].empty(planes.shape, planes.dtype)
    return aligned(math.prod(planes.shape), planes.dtype).reshape(planes.shape)


def empty_laid_out_as(like: Array) -> Array:
    """As `empty_like`, with the axes in the order in which they lie in the memory of `like`."""
    if like.flags.c_contiguous:
        return empty_like(like)
    order = sorted(range(like.ndim), key=lambda axis: -abs(like.strides[axis]))
    result = empty_like(like.transpose(order))
    return result.transpose(sorted(range(like.ndim), key=order.__getitem__))


def namespace(memory: Array) -> Any:
    """The library, NumPy or CuPy, of what `borrow` gave."""
    if isinstance(memory, np.ndarray):
        return np
    cupy: Any = sys.modules.get("cupy")
    if cupy is None or not isinstance(memory, cupy.ndarray):
        raise InputError(f"an array of NumPy or CuPy is wanted here, not a {described(memory)}.")
    return cupy


def to_host(memory: Any) -> NDArray[Any]:
    """An array of NumPy with the values of one of NumPy or CuPy; of CuPy's they are waited for."""
    return memory if isinstance(memory, np.ndarray | np.generic) else memory.get()  # type: ignore[return-value]


def beside(like: Array, x: Array) -> Array:
    """`x`, of NumPy or CuPy, copied to where `like` lies if it lies elsewhere."""
    if isinstance(like, np.ndarray):
        return to_host(x)
    with like.device:
        return sys.modules["cupy"].asarray(x)


def constant_beside(like: Array, value: NDArray[Any], dtype: Any = None) -> Array:
    """`value`, a small array that does not change, where `like` lies, and of its dtype unless one is given.

    On a device it is copied once and kept, so that a CUDA graph that is being captured holds no copy.
    """
    value = value.astype(like.dtype if dtype is None else dtype, copy=False)
    if isinstance(like, np.ndarray):
        return value
    return _kept(value.tobytes(), value.shape, value.dtype, like.device.id)


@functools.lru_cache(maxsize=64)
def _kept(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], device: int) -> Array:
    with sys.modules["cupy"].cuda.Device(device):
        return copied_to_device(np.frombuffer(data, dtype).reshape(shape))


def copied_to_device(value: NDArray[Any]) -> Array:
    """A copy on CuPy's current device; waits until it is there, so that other streams find it too."""
    import cupy

    copied = cupy.asarray(value)
    cupy.cuda.get_current_stream().synchronize()
    return copied  # type: ignore[no-any-return]


class Underway:
    """The values of an array of CuPy, on their way to memory of the host that stays where it is.

    What is queued behind it on the stream may change the array.
    """

    def __init__(self, array: Any) -> None:
        cuda = sys.modules["cupy"].cuda
        pinned = cuda.alloc_pinned_memory(max(1, array.nbytes))
        self._values = np.frombuffer(pinned, array.dtype, array.size).reshape(array.shape)
        array.get(out=self._values, blocking=False)
        self._event = cuda.Event()
        self._event.record()

    @property
    def there(self) -> bool:
        """Whether they have arrived."""
        return bool(self._event.done)

    def get(self) -> NDArray[Any]:
        """The values; waits for them."""
        self._event.synchronize()
        return self._values


def aligned(count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A new array of `count` elements, of any content, that begins at a multiple of 64 bytes."""
    size = count * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype)
