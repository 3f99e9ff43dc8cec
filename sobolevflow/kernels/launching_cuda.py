"""Launching kernels of Numba on a CUDA device."""

from __future__ import annotations

import math
import warnings
from typing import Any

_FEW = 128  # blocks; with less, Numba warns


def configured(kernel: Any, blocks: tuple[int, ...], threads: int | tuple[int, ...], stream: Any) -> Any:
    """The kernel, ready to be called with its arguments, without a warning for a small image."""
    if math.prod(blocks) >= _FEW:
        return kernel[blocks, threads, stream]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*under-utilization")
        return kernel[blocks, threads, stream]
