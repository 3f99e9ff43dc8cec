"""What an array is to those who read or check the code, and the dtypes that are computed in."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An array of NumPy; where it comes from `borrow` it may be one of CuPy, which has the same attributes."""


class Exchangeable(Protocol):
    """What shares its memory by DLPack: arrays of NumPy, CuPy, PyTorch, JAX and many others."""

    def __dlpack__(self) -> Any:
        """The memory, in the form in which it is passed on."""


AnyArray = TypeVar("AnyArray", bound=Exchangeable)
"""An array of any library: what goes in as this type comes out as this type."""

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
