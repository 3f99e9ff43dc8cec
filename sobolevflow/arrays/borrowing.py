"""The memory of an array of any library, as NumPy or CuPy sees it, and a result lent back to the library.

What is computed here is computed on memory. `borrow` gives that of any array, as a NumPy array where it
lies on the host and as a CuPy array where it lies on a CUDA device; `lend` gives a result back to the
library and the device that the input came from. Between them stands DLPack, the protocol by which
array libraries share memory (https://dmlc.github.io/dlpack/latest/python_spec.html).

Every public function that takes an array takes it in by `borrow` or `borrow_numbers`, and gives its results
back by one of three: `restore`, where the result has the dtype of the input; `lend`, where it has its own and
lies where the memory did; `hand_back`, where it may lie elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, is_dataclass, replace
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .. import checks
from ..errors import InputError
from .libraries import computable, described, device_of, dtype_name, owner_of
from .places import to_host
from .types import FLOAT_DTYPES, AnyArray, Array

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_MOST_LISTED = 1 << 24  # entries that are walked through one by one
_MOST_ELEMENTS = 1 << 38  # a TiB in float32; more is not in memory, but a trick of strides


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
    """The memory of an array of any library, without a copy where it can be computed with as it is.

    Parameters
    ----------
    x
        Array of NumPy, CuPy, PyTorch, JAX, TensorFlow, or of any library whose arrays have ``__dlpack__``:
        float16, bfloat16, float32 or float64. Any shape and strides. What is no array, a list for instance,
        becomes one of NumPy.
    name
        What the message calls the argument.

    Returns
    -------
    numpy.ndarray or cupy.ndarray
        A NumPy array of float32 or float64 where the memory lies on the host, read-only where the library
        says so (JAX); a CuPy array, of float16 too, where it lies on a CUDA device, ordered after the work
        that the library has given to its current stream. Not to be written to: `borrow_output` is for that.

    Raises
    ------
    InputError
        If `x` is no such array, has another dtype, lies on another kind of device, or cannot share its
        memory: a tensor that is sparse or quantised, a traced or sharded JAX array.
    RuntimeMissingError
        If `x` lies on a CUDA device and CuPy cannot be imported.

    Warns
    -----
    AssumptionWarning
        Once, that a tensor of PyTorch that requires grad is detached.
    """
    if type(x) is np.ndarray and x.dtype in FLOAT_DTYPES and x.size <= _MOST_ELEMENTS:
        return x
    return _in_memory(owner_of(x).borrow, x, name)


def borrow_numbers(x: object, name: str = "x") -> Array:
    """As `borrow`, of real numbers of any dtype and of booleans, as they are.

    bfloat16 becomes float32. What lies where neither NumPy nor CuPy reaches it, on a Metal device or on a
    CUDA device without CuPy, is copied to the host where its library can do it (PyTorch, JAX).

    Raises
    ------
    InputError
        If `x` holds other things than real numbers, or as for `borrow`.
    """
    if type(x) is np.ndarray and x.dtype in FLOAT_DTYPES and x.size <= _MOST_ELEMENTS:
        return x
    return _in_memory(owner_of(x).numbers, x, name)


def _in_memory(take: Callable[[Any, str], Array], x: Any, name: str) -> Array:
    """The memory of `x`; InputError where it cannot have any, as of an array that repeats one number."""
    if isinstance(x, np.ndarray) and x.size > _MOST_ELEMENTS:
        raise InputError(
            f"{name} is {checks.shown(x)}: its {x.size} elements would take some "
            f"{x.size * x.dtype.itemsize / 2**40:.3g} TiB. Give a part of it."
        )
    if isinstance(x, Sequence) and len(x) > _MOST_LISTED:
        raise InputError(f"{name} is {checks.shown(x)}; give so many numbers as an array.")
    return take(x, name)


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


def restore(result: Array, like: AnyArray) -> AnyArray:
    """As `lend`, of a result that is to have the dtype of `like`, which `borrow` may have widened."""
    return owner_of(like).restore(result, like)  # type: ignore[no-any-return]


def hand_back(result: Any, like: AnyArray) -> AnyArray:
    """As `lend`, of a result that need not lie where `like` does.

    Parameters
    ----------
    result
        NumPy or CuPy array, or a scalar of theirs, of any dtype, which the array that is returned has too:
        JAX makes 32 bits of 64 unless jax_enable_x64 is on.
    like
        What the result is of; a list is answered by NumPy.
    """
    owner = owner_of(like)
    if isinstance(result, np.ndarray | np.generic) and owner.name not in ("", "numpy"):
        result = np.require(result, requirements=("C", "W", "E"))  # PyTorch knows no negative strides
    return owner.hand_back(result, like)  # type: ignore[no-any-return]


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
        It shares the memory of `out`; where `borrow` would widen its dtype it is new, and `finish_output` has
        to be told when it is written to.

    Raises
    ------
    InputError
        If `out` differs from `like` in any of these, is read-only (all arrays of JAX are), or names
        the same memory more than once, as a broadcast array does; if it requires grad.
    """
    owner = owner_of(like)
    if not owner.name:
        like = np.asarray(like)
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
    owner.check_output(out)
    memory = borrow(out, name="out")
    if is_converted(memory, out):
        return memory
    if isinstance(memory, np.ndarray) and not memory.flags.writeable:
        raise InputError(f"out is read-only; {remedy}")
    if any(stride == 0 and n > 1 for stride, n in zip(memory.strides, memory.shape, strict=True)):
        raise InputError(f"out is broadcast, so that several of its elements are one; {remedy}")
    owner.note_change(out)
    return memory


def finish_output(memory: Array, out: Any) -> None:
    """Round what was written to memory that `borrow_output` gave, where that is not of `out` itself."""
    if is_converted(memory, out):
        out[...] = restore(memory, out)


def lending(
    name: str,
    axes: int = 0,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Let a function of an array of NumPy or CuPy take one of any library, to which its results go back.

    Parameters
    ----------
    name
        The argument that says whose the results are: arrays, and sequences, mappings and dataclasses that
        hold some. The function is given its memory, half precision widened on the host, and takes in other
        arrays itself.
    axes
        How many it must have at least.
    """

    def door(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        place = list(inspect.signature(function).parameters).index(name)

        @functools.wraps(function)
        def lent(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
            x: Any = args[place] if len(args) > place else options.get(name)
            plain = type(x) is np.ndarray and x.dtype in FLOAT_DTYPES and x.size <= _MOST_ELEMENTS
            if (plain and x.ndim >= axes) or (x is None and not axes):
                return function(*args, **options)
            memory = borrow_numbers(x, name)
            if memory.ndim < axes or (axes and not memory.size):
                checks.refuse(x, name, f"an array of at least {axes} axes, none of them empty")
            if isinstance(memory, np.ndarray) and memory.dtype.kind == "f":
                memory = computable(memory)
            if len(args) > place:
                args = (*args[:place], memory, *args[place + 1 :])  # type: ignore[assignment]
            else:
                options[name] = memory
            return _handed_back(function(*args, **options), x)  # type: ignore[no-any-return]

        return lent

    return door


def _handed_back(found: Any, like: Any) -> Any:
    """What a function found, its arrays those of the library of `like`."""
    if isinstance(found, np.ndarray | np.generic) or is_cupy_array(found):
        return hand_back(found, like)
    if isinstance(found, list | tuple):
        return type(found)(_handed_back(each, like) for each in found)
    if isinstance(found, dict):
        return {key: _handed_back(each, like) for key, each in found.items()}
    if is_dataclass(found) and not isinstance(found, type):
        each = {field.name: getattr(found, field.name) for field in fields(found)}
        return replace(found, **_handed_back(each, like))
    return found


def is_converted(memory: Array, x: Any) -> bool:
    """Whether `memory`, which `borrow` gave for the array `x`, has another dtype, and so is a copy."""
    dtype = x.dtype
    return bool(memory.dtype != dtype if isinstance(dtype, np.dtype) else memory.dtype != dtype_name(dtype))


def on_stream_of(x: object) -> AbstractContextManager[None]:
    """Let CuPy queue its work where the library of `x` does: on PyTorch's current stream for its tensors.

    For all other arrays nothing changes. What is queued there needs no synchronisation with what the
    library does before and after, and where a CUDA graph is being captured it becomes a part of it.
    """
    return owner_of(x).on_stream_of(x)


def fingerprint(array: Any) -> dict[str, Any]:
    """The identity of an array as JSON-able data, for manifests, where its values do not belong."""
    data = np.ascontiguousarray(to_host(borrow_numbers(array)))
    return {
        "shape": list(data.shape),
        "dtype": str(data.dtype),
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
    }


def _traits(x: Any) -> dict[str, Any]:
    return {"device": device_of(x), "shape": tuple(x.shape), "dtype": x.dtype}


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array of any library, or of what would become one of NumPy."""
    shape = getattr(x, "shape", None)  # a module has one too, a function
    return borrow_numbers(x).shape if shape is None or callable(shape) else tuple(shape)
