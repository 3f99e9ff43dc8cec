"""Which library an array belongs to, and the checks every image operator makes on its input.

Nothing is imported to find out: an array of a library can only exist once that library has been
imported, so a look into `sys.modules` is enough and costs nothing where it is absent.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Array: TypeAlias = NDArray[Any]
"""An array of float32 or float64 planes, shape (..., H, W); `as_planes` is what checks it."""

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

# library -> the attribute of its top module that is the type of its arrays
_ARRAY_TYPES = {"cupy": "ndarray", "torch": "Tensor", "jax": "Array", "tensorflow": "Tensor"}


def library(x: object) -> str | None:
    """The library that array `x` belongs to: "numpy", "cupy", "torch", ...; None where `x` is no array."""
    if isinstance(x, np.ndarray):
        return "numpy"
    for name, attribute in _ARRAY_TYPES.items():
        array_type = getattr(sys.modules.get(name), attribute, None)
        if isinstance(array_type, type) and isinstance(x, array_type):
            return name
    return None


def is_numpy_array(x: object) -> bool:
    """Whether `x` is a NumPy array."""
    return isinstance(x, np.ndarray)


def is_cupy_array(x: object) -> bool:
    """Whether `x` is a CuPy array; never imports CuPy."""
    return library(x) == "cupy"


def as_planes(x: object, *, name: str = "x") -> Array:
    """`x` as a plain NumPy array of image planes, or an error that says what is wrong with it.

    Parameters
    ----------
    x
        NumPy array of float32 or float64, shape (..., H, W), not empty, all values finite. It may
        be read-only and have any strides; it is not copied.
    name
        What the message calls the argument.

    Raises
    ------
    InputError
        If `x` is not such an array.
    """
    array = _as_floating(x, name)
    if array.ndim < 2:
        raise InputError(
            f"{name} has shape {array.shape}; an image needs at least the two axes (H, W). "
            f"Reshape a row of pixels to (1, W)."
        )
    if array.size == 0:
        raise InputError(f"{name} is empty (shape {array.shape}); every axis needs at least one element.")
    finite = np.isfinite(array)
    if not finite.all():
        raise InputError(
            f"{name} has {array.size - int(np.count_nonzero(finite))} of {array.size} values that are NaN or "
            f"infinite. Replace them (numpy.nan_to_num), or find the step that made them."
        )
    return array


def as_output(out: object, like: Array) -> Array:
    """`out` checked to be a writable NumPy array with the shape and dtype of `like`.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(out, np.ndarray):
        raise InputError(f"out is a {_describe(out)}; pass a NumPy array like x, or leave it out.")
    if out.shape != like.shape or out.dtype != like.dtype:
        raise InputError(
            f"out has shape {out.shape} and dtype {out.dtype}, x has shape {like.shape} and dtype "
            f"{like.dtype}; make out with numpy.empty_like(x)."
        )
    if not out.flags.writeable:
        raise InputError("out is read-only; make it with numpy.empty_like(x).")
    return out


def _as_floating(x: object, name: str) -> Array:
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{name} is a {_describe(x)}; pass a NumPy array of float32 or float64.{_remedy(x)}")
    if x.dtype not in FLOAT_DTYPES:
        raise InputError(
            f"{name} has dtype {x.dtype}; supported are float32 and float64. "
            f"Convert it: {name}.astype(numpy.float32){' / 255' if x.dtype == np.uint8 else ''}."
        )
    return np.asarray(x)


def _describe(x: object) -> str:
    name = library(x)
    return type(x).__name__ if name in (None, "numpy") else f"{name} array"


def _remedy(x: object) -> str:
    if isinstance(x, np.ma.MaskedArray):
        return " Fill the masked pixels first: x.filled(value)."
    return {
        "cupy": " Copy it to the host: cupy.asnumpy(x).",
        "torch": " Convert it: x.detach().cpu().numpy().",
        "jax": " Convert it: numpy.asarray(x).",
        "tensorflow": " Convert it: x.numpy().",
    }.get(library(x) or "", " numpy.asarray(x, dtype=numpy.float32) makes one.")
