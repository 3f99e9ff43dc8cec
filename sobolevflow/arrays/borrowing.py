"""The memory of an array of any library, as NumPy or CuPy sees it, and a result lent back to the library.

A filter works on memory. `borrow` gives that of any array, without a copy, as a NumPy array where it
lies on the host and as a CuPy array where it lies on a CUDA device; `lend` gives a result back to the
library and the device that the input came from. Between them stands DLPack, the protocol by which
array libraries share memory (https://dmlc.github.io/dlpack/latest/python_spec.html).
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from ..errors import InputError
from .libraries import described, device_of, owner_of
from .types import AnyArray, Array


def library(x: object) -> str | None:
    """The library that array `x` belongs to: "numpy", "cupy", "torch", ...; None where `x` is no array.

    An array of a library that is not known by name, but that shares its memory by DLPack, belongs to
    the top-level package of its type.
    """
    return owner_of(x).name or None


def is_cupy_array(x: object) -> bool:
    """Whether `x` is a CuPy array; never imports CuPy."""
    return library(x) == "cupy"


def borrow(x: object, name: str = "x") -> Array:
    """The memory of an array of any library, without a copy.

    Parameters
    ----------
    x
        Array of NumPy, CuPy, PyTorch, JAX, or of any library whose arrays have ``__dlpack__``: float32
        or float64, on a CUDA device float16 as well. Any shape and strides.
    name
        What the message calls the argument.

    Returns
    -------
    numpy.ndarray or cupy.ndarray
        A NumPy array where the memory lies on the host, read-only where the library says so (JAX); a
        CuPy array where it lies on a CUDA device, ordered after the work that the library has given to
        its current stream. Not to be written to: `borrow_output` is for that.

    Raises
    ------
    InputError
        If `x` is no array, has another dtype, lies on another kind of device, or cannot share its
        memory: a tensor that requires grad, is sparse or quantised, a traced or sharded JAX array.
    RuntimeMissingError
        If `x` lies on a CUDA device and CuPy cannot be imported.
    """
    return owner_of(x).borrow(x, name)


def borrow_or_make(x: Any, name: str = "x") -> Array:
    """As `borrow`, and of what is no array of another library, a list for instance, an array of NumPy."""
    return np.asarray(x) if library(x) in (None, "numpy") else borrow(x, name)


def lend(result: Array, like: AnyArray) -> AnyArray:
    """A result as an array of the library, and on the device, of `like`.

    Parameters
    ----------
    result
        NumPy or CuPy array, of the kind that ``borrow(like)`` gave. It must not be changed afterwards.
    like
        The array that `borrow` has taken.

    Returns
    -------
    array
        It shares the memory of `result`: JAX copies what does not begin at a multiple of 64 bytes, as
        `empty_like` makes it do, and what belongs on a device other than its first of a kind.
    """
    return owner_of(like).lend(result, like)  # type: ignore[no-any-return]


def borrow_output(out: object, like: object) -> Array:
    """The memory of `out`, to write a result to, after the checks that it suits the input.

    Parameters
    ----------
    out
        Array of the library, the device, the shape and the dtype of `like`, of any strides.
    like
        The input, an array that `borrow` takes.

    Returns
    -------
    numpy.ndarray or cupy.ndarray
        It shares the memory of `out`.

    Raises
    ------
    InputError
        If `out` differs from `like` in any of these, is read-only (all arrays of JAX are), or names
        the same memory more than once, as a broadcast array does.
    """
    owner = owner_of(like)
    if not owner.writable:
        raise InputError(
            f"out is given, but {owner.name} arrays cannot be written to. Take the result: y = f(x)."
        )
    remedy = f"make out with {owner.name}.empty_like(x), or leave it out."
    if library(out) != owner.name:
        raise InputError(f"out is a {described(out)}, x a {described(like)}; {remedy}")
    wanted = _traits(like)
    for trait, given in _traits(out).items():
        if given != wanted[trait]:
            raise InputError(f"out has {trait} {given}, x has {trait} {wanted[trait]}; {remedy}")
    memory = borrow(out, name="out")
    if isinstance(memory, np.ndarray) and not memory.flags.writeable:
        raise InputError(f"out is read-only; {remedy}")
    if any(stride == 0 and n > 1 for stride, n in zip(memory.strides, memory.shape, strict=True)):
        raise InputError(f"out is broadcast, so that several of its elements are one; {remedy}")
    owner.note_change(out)
    return memory


def on_stream_of(x: object) -> AbstractContextManager[None]:
    """Let CuPy queue its work where the library of `x` does: on PyTorch's current stream for its tensors.

    For all other arrays nothing changes. What is queued there needs no synchronisation with what the
    library does before and after, and where a CUDA graph is being captured it becomes a part of it.
    """
    return owner_of(x).on_stream_of(x)


def fingerprint(array: Any) -> dict[str, Any]:
    """The identity of an array as JSON-able data, for manifests, where its values do not belong."""
    data = np.ascontiguousarray(array)
    return {
        "shape": list(data.shape),
        "dtype": str(data.dtype),
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
    }


def _traits(x: Any) -> dict[str, Any]:
    return {"device": device_of(x), "shape": tuple(x.shape), "dtype": x.dtype}
