"""Arrays of any library: whose they are, their memory as NumPy or CuPy sees it, and the checks on it.

A filter works on memory. `borrow` gives that of any array, without a copy, as a NumPy array where it
lies on the host and as a CuPy array where it lies on a CUDA device; `lend` gives a result back to the
library and the device that the input came from. Between them stands DLPack, the protocol by which
array libraries share memory (https://dmlc.github.io/dlpack/latest/python_spec.html).

Nothing is imported to find out: an array of a library can only exist once that library has been
imported, so a look into `sys.modules` is enough and costs nothing where it is absent. CuPy alone is
imported, when another library's array on a CUDA device has arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RuntimeMissingError

Array: TypeAlias = NDArray[Any]
"""An array of float32 or float64 planes, shape (..., H, W); `as_planes` is what checks it.

Where it comes from `borrow` it may be a CuPy array, which has the same attributes."""


class Exchangeable(Protocol):
    """What shares its memory by DLPack: arrays of NumPy, CuPy, PyTorch, JAX and many others."""

    def __dlpack__(self) -> Any:
        """The memory, in the form in which it is passed on."""


AnyArray = TypeVar("AnyArray", bound=Exchangeable)
"""An array of any library: what goes in as this type comes out as this type."""

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

_HOST_DTYPES = tuple(str(dtype) for dtype in FLOAT_DTYPES)

_DEVICE_DTYPES = ("float16", *_HOST_DTYPES)

# library -> the attribute of its top module that is the type of its arrays
_ARRAY_TYPES = {"cupy": "ndarray", "torch": "Tensor", "jax": "Array", "tensorflow": "Tensor"}

# DLPack's numbers for the kinds of memory
_HOST_MEMORY = frozenset({1, 3, 11})  # plain, and pinned for CUDA or ROCm

_CUDA_MEMORY = frozenset({2, 13})  # plain, and managed

_OTHER_MEMORY = {
    4: "OpenCL",
    7: "Vulkan",
    8: "Metal",
    9: "VPI",
    10: "ROCm",
    12: "extension",
    14: "oneAPI",
    15: "WebGPU",
    16: "Hexagon",
    17: "MAIA",
    18: "Trainium",
}


def library(x: object) -> str | None:
    """The library that array `x` belongs to: "numpy", "cupy", "torch", ...; None where `x` is no array.

    An array of a library that is not known by name, but that shares its memory by DLPack, belongs to
    the top-level package of its type.
    """
    if isinstance(x, np.ndarray):
        return "numpy"
    for name, attribute in _ARRAY_TYPES.items():
        array_type = getattr(sys.modules.get(name), attribute, None)
        if isinstance(array_type, type) and isinstance(x, array_type):
            return name
    return type(x).__module__.partition(".")[0] if _is_exchangeable(x) else None


def is_numpy_array(x: object) -> bool:
    """Whether `x` is a NumPy array."""
    return isinstance(x, np.ndarray)


def is_cupy_array(x: object) -> bool:
    """Whether `x` is a CuPy array; never imports CuPy."""
    return library(x) == "cupy"


# --- memory in and out --------------------------------------------------------------------------


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
    owner = library(x)
    if owner == "numpy":
        return _as_floating(x, name)
    if owner is None or not _is_exchangeable(x):
        raise _nothing_to_borrow(x, owner, name)
    array: Any = x
    if owner == "cupy":
        _check_dtype(array, name, _DEVICE_DTYPES)
        return array  # type: ignore[no-any-return]
    obstacle = _obstacle(array, owner, name)
    if obstacle:
        raise InputError(f"{name} {obstacle}")
    on_cuda = _is_on_cuda(array, owner, name)
    _check_dtype(array, name, _DEVICE_DTYPES if on_cuda else _HOST_DTYPES)
    _way_back(array)  # to find out before the work, not after it
    return _through_cupy(array, name) if on_cuda else _through_numpy(array, owner, name)


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
    owner = library(like)
    if owner in ("numpy", "cupy"):
        return result  # type: ignore[return-value]
    if owner == "torch":
        torch = sys.modules["torch"]
        give = torch.from_numpy if isinstance(result, np.ndarray) else torch.from_dlpack
        return give(result)  # type: ignore[no-any-return]
    from_dlpack = _way_back(like)
    lent = from_dlpack(result)
    if _device(lent) != _device(like):
        # one of several devices that are all called the CPU, or a sharding over a single device
        lent = _moved(result, owner, from_dlpack, _device(like))
    return lent  # type: ignore[no-any-return]


def _moved(result: Array, owner: str | None, from_dlpack: Any, device: Any) -> Any:
    if owner == "jax" and isinstance(result, np.ndarray):
        # What came by DLPack is released by a thread of JAX, which kills a process that ends meanwhile.
        return sys.modules["jax"].device_put(result, device)
    return from_dlpack(result, device=device)


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
    owner = library(like)
    if owner == "jax":
        raise InputError("out is given, but jax arrays cannot be written to. Take the result: y = f(x).")
    remedy = f"make out with {owner}.empty_like(x), or leave it out."
    if library(out) != owner:
        raise InputError(f"out is a {_describe(out)}, x a {_describe(like)}; {remedy}")
    wanted = _traits(like)
    for trait, found in _traits(out).items():
        if found != wanted[trait]:
            raise InputError(f"out has {trait} {found}, x has {trait} {wanted[trait]}; {remedy}")
    memory = borrow(out, name="out")
    if isinstance(memory, np.ndarray) and not memory.flags.writeable:
        raise InputError(f"out is read-only; {remedy}")
    if any(stride == 0 and n > 1 for stride, n in zip(memory.strides, memory.shape, strict=True)):
        raise InputError(f"out is broadcast, so that several of its elements are one; {remedy}")
    if owner == "torch":
        _count_a_change(out)
    return memory


@contextlib.contextmanager
def on_stream_of(x: object) -> Iterator[None]:
    """Let CuPy queue its work where the library of `x` does: on PyTorch's current stream for its tensors.

    For all other arrays nothing changes. What is queued there needs no synchronisation with what the
    library does before and after, and where a CUDA graph is being captured it becomes a part of it.
    """
    if library(x) != "torch" or x.device.type != "cuda":  # type: ignore[attr-defined]
        yield
        return
    try:
        import cupy
    except ImportError:  # `borrow` says what to do
        yield
        return
    stream = sys.modules["torch"].cuda.current_stream(x.device)  # type: ignore[attr-defined]
    with cupy.cuda.Device(x.device.index), cupy.cuda.ExternalStream(stream.cuda_stream):  # type: ignore[attr-defined]
        yield


def _as_floating(x: object, name: str) -> Array:
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a {_describe(x)}; pass a NumPy array of float32 or float64. {_to_numpy(x, name)}"
        )
    if x.dtype not in FLOAT_DTYPES:
        _check_dtype(x, name, _HOST_DTYPES)
    return np.asarray(x)


def _check_dtype(x: Any, name: str, supported: tuple[str, ...]) -> None:
    dtype = _dtype_name(x.dtype)
    if dtype in supported:
        return
    if dtype.startswith("complex"):
        remedy = f"Filter {name}.real and {name}.imag apart."
    else:
        remedy = f"Convert it: {_to_float32(x, name)}{' / 255' if dtype == 'uint8' else ''}."
    raise InputError(
        f"{name} has dtype {dtype}; supported are {', '.join(supported[:-1])} and {supported[-1]}. {remedy}"
    )


# --- what is particular about a library ---------------------------------------------------------


def _is_exchangeable(x: object) -> bool:
    return all(hasattr(x, attribute) for attribute in ("__dlpack__", "__dlpack_device__", "dtype"))


def _nothing_to_borrow(x: object, owner: str | None, name: str) -> InputError:
    if owner == "jax" and isinstance(x, sys.modules["jax"].core.Tracer):
        return InputError(
            f"{name} is a jax array that is being traced (jit, vmap, grad), and has no memory. Call the "
            f"filter outside, or let JAX call it: jax.pure_callback(f, {name}, {name})."
        )
    return InputError(
        f"{name} is a {_describe(x)}; pass an array of NumPy, CuPy, PyTorch, JAX, or of another library "
        f"that has __dlpack__. {_to_numpy(x, name)}"
    )


def _obstacle(x: Any, owner: str, name: str) -> str:
    """Why `x` has no plain memory although its library has, and what to do; empty where it has."""
    if owner == "torch":
        return _torch_obstacle(x, name)
    return _jax_obstacle(x, name) if owner == "jax" else ""


def _torch_obstacle(x: Any, name: str) -> str:
    if x.is_nested:
        return "is a nested tensor. Pass its parts one by one."
    if x.is_quantized:
        return f"is quantised. Pass {name}.dequantize()."
    if x.layout != sys.modules["torch"].strided:
        return f"has the layout {x.layout}. Pass {name}.to_dense()."
    if x.requires_grad:
        return f"requires grad, and what is done here is no part of PyTorch's graph. Pass {name}.detach()."
    if x.is_neg():
        return f"is stored as its negative, as imaginary parts of conjugates are. Pass {name}.resolve_neg()."
    return ""


def _jax_obstacle(x: Any, name: str) -> str:
    if x.is_deleted():
        return "has been deleted, or donated to a compiled function. Pass an array that is still there."
    if str(x.dtype) == "float64" and not sys.modules["jax"].config.jax_enable_x64:
        return (
            "has dtype float64, but jax_enable_x64 is off, so that JAX would take the result for float32. "
            f"Switch it on, or pass {name}.astype(jax.numpy.float32)."
        )
    return ""


def _count_a_change(tensor: Any) -> None:
    # Autograd refuses to go back through a tensor that was changed since; it has to hear of ours.
    if not tensor.is_inference():
        sys.modules["torch"].autograd.graph.increment_version(tensor)


def _is_on_cuda(x: Any, owner: str, name: str) -> bool:
    if owner == "torch" and x.device.type == "cpu":
        return False
    with _explained(x, name):
        kind = int(x.__dlpack_device__()[0])
    if kind not in _HOST_MEMORY | _CUDA_MEMORY:
        device = _OTHER_MEMORY.get(kind, "unknown")
        raise InputError(
            f"{name} is a {_describe(x)} on a device of the kind {device} (number {kind} of DLPack); "
            f"supported are the CPU and CUDA. Copy it to the CPU first{_to_cpu(x, name)}."
        )
    return kind in _CUDA_MEMORY


def _through_numpy(x: Any, owner: str, name: str) -> Array:
    with _explained(x, name):
        # x.numpy() is writable with every version of PyTorch; DLPack before version 1 cannot say so.
        return x.numpy() if owner == "torch" else np.from_dlpack(x)


def _through_cupy(x: Any, name: str) -> Array:
    try:
        import cupy
    except ImportError as error:
        raise RuntimeMissingError(
            f"{name} is a {_describe(x)} on a CUDA device, where CuPy is needed, and that cannot be imported "
            f'({error}). Install it: pip install "sobolevflow[cuda13]", or "sobolevflow[cuda12]".'
        ) from error
    with _explained(x, name):
        return cupy.from_dlpack(x)  # type: ignore[no-any-return]


def _way_back(like: Any) -> Any:
    """The function ``from_dlpack`` of the library of `like`."""
    owner = library(like)
    namespace = (
        like.__array_namespace__() if hasattr(like, "__array_namespace__") else sys.modules.get(owner or "")
    )
    from_dlpack = getattr(namespace, "from_dlpack", None)
    if from_dlpack is None:
        raise InputError(
            f"x is a {_describe(like)}, and {owner} has no from_dlpack that would take the result. "
            f"Pass numpy.from_dlpack(x)."
        )
    return from_dlpack


@contextlib.contextmanager
def _explained(x: object, name: str) -> Iterator[None]:
    """Turns the refusal of another library to share memory into an error of ours."""
    try:
        yield
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} is a {_describe(x)} whose memory cannot be shared ({error}). "
            f"Pass a plain array on the CPU or on one CUDA device."
        ) from error


# --- words of messages --------------------------------------------------------------------------


def _dtype_name(dtype: Any) -> str:
    if isinstance(dtype, np.dtype):
        return str(dtype)  # unlike its name, this tells a foreign byte order
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]  # torch.float32, for one


def _traits(x: Any) -> dict[str, Any]:
    return {"device": _device(x), "shape": tuple(x.shape), "dtype": x.dtype}


def _device(x: Any) -> Any:
    return x.device if hasattr(x, "device") else x.__dlpack_device__()


def _describe(x: object) -> str:
    name = library(x)
    return type(x).__name__ if name is None or isinstance(x, np.ma.MaskedArray) else f"{name} array"


def _to_numpy(x: object, name: str) -> str:
    if isinstance(x, np.ma.MaskedArray):
        return f"Fill the masked pixels first: {name}.filled(value)."
    return {
        "cupy": f"Copy it to the host: cupy.asnumpy({name}).",
        "torch": f"Convert it: {name}.detach().cpu().numpy().",
        "jax": f"Convert it: numpy.asarray({name}).",
        "tensorflow": f"Convert it: {name}.numpy().",
    }.get(library(x) or "", f"numpy.asarray({name}, dtype=numpy.float32) makes one.")


def _to_float32(x: object, name: str) -> str:
    owner = library(x)
    if owner == "torch":
        return f"{name}.float()"
    if owner in ("numpy", "cupy"):
        return f"{name}.astype({owner}.float32)"
    if owner == "jax":
        return f"{name}.astype(jax.numpy.float32)"
    return f"{owner}.astype({name}, {owner}.float32)"


def _to_cpu(x: object, name: str) -> str:
    return {
        "torch": f": {name}.cpu()",
        "jax": f': jax.device_put({name}, jax.devices("cpu")[0])',
    }.get(library(x) or "", "")


def fingerprint(array: Any) -> dict[str, Any]:
    """The identity of an array as JSON-able data, for manifests, where its values do not belong."""
    data = np.ascontiguousarray(array)
    return {
        "shape": list(data.shape),
        "dtype": str(data.dtype),
        "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
    }
