"""Launching kernels of Numba on a CUDA device, on arrays and streams of CuPy.

Importing this imports neither.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_FEW = 128  # blocks; with less, Numba warns
_ALONE = Lock()  # what is caught of warnings is put back in the wrong order where two threads catch some


def configured(kernel: Any, blocks: tuple[int, ...], threads: int | tuple[int, ...], stream: Any) -> Any:
    """The kernel, ready to be called with its arguments, without a warning for a small image."""
    if math.prod(blocks) >= _FEW:
        return kernel[blocks, threads, stream]
    with _ALONE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*under-utilization")
        return kernel[blocks, threads, stream]


@contextmanager
def numba_stream(x: Any) -> Iterator[Any]:
    """CuPy's current stream as Numba knows it, with the device of `x` as Numba's current one."""
    import cupy
    from numba import cuda

    pointer = cupy.cuda.get_current_stream().ptr
    with cuda.gpus[x.device.id]:
        yield cuda.external_stream(pointer) if pointer else 0


def seen_by_numba(x: Any) -> Any:
    """An array of CuPy as Numba takes it, without waiting: both libraries are on one stream."""
    from numba import cuda

    return cuda.as_cuda_array(x, sync=False)
