"""What is particular about each array library: a class for each, and one for any that knows DLPack.

Nothing is imported to find out whose an array is: an array of a library can only exist once that library has
been imported, so a look into `sys.modules` is enough and costs nothing where it is absent. CuPy alone is
imported, when another library's array on a CUDA device has arrived.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, RuntimeMissingError, how_to_install
from .types import FLOAT_DTYPES, Array

_HOST_DTYPES = tuple(str(dtype) for dtype in FLOAT_DTYPES)
_DEVICE_DTYPES = ("float16", *_HOST_DTYPES)

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


class Library:
    """Any library whose arrays share their memory by DLPack; without a name, of what is no array."""

    name: str = ""
    array_type: ClassVar[str] = ""
    """The attribute of its top module that is the type of its arrays."""
    writable: ClassVar[bool] = True

    def __init__(self, name: str = "") -> None:
        self.name = name or self.name

    def owns(self, x: object) -> bool:
        """Whether `x` is one of its arrays."""
        array_type = getattr(sys.modules.get(self.name), self.array_type, None)
        return isinstance(array_type, type) and isinstance(x, array_type)

    def borrow(self, x: Any, name: str) -> Array:
        """The memory of its array `x`, as NumPy or CuPy sees it; InputError where that cannot be."""
        if not is_exchangeable(x):
            raise self._no_memory(x, name)
        if obstacle := self._obstacle(x, name):
            raise InputError(f"{name} {obstacle}")
        on_cuda = self._is_on_cuda(x, name)
        check_dtype(x, name, _DEVICE_DTYPES if on_cuda else _HOST_DTYPES)
        self._way_back(x)  # to find out before the work, not after it
        with _explained(x, name):
            return _cupy_for(x, name).from_dlpack(x) if on_cuda else self._as_numpy(x)

    def lend(self, result: Array, like: Any) -> Any:
        """A result, of NumPy or CuPy, as an array of the library on the device of `like`."""
        lent = self._way_back(like)(result)
        if device_of(lent) != device_of(like):
            # one of several devices that are all called the CPU, or a sharding over a single device
            lent = self._moved(result, like)
        return lent

    def note_change(self, x: Any) -> None:
        """Tell the library that its array was written to behind its back."""

    def on_stream_of(self, x: Any) -> AbstractContextManager[None]:
        """Let CuPy queue its work where the library queues that on `x`; most have no such place."""
        return contextlib.nullcontext()

    # what to do, for messages

    def to_numpy(self, name: str) -> str:
        """How to make an array of NumPy of one of its arrays."""
        return f"numpy.asarray({name}, dtype=numpy.float32) makes one."

    def to_float32(self, name: str) -> str:
        """How to convert one of its arrays."""
        return f"{self.name}.astype({name}, {self.name}.float32)"

    def to_cpu(self, name: str) -> str:
        """How to bring one of its arrays to the host, after a colon; empty where that is not known."""
        return ""

    # the parts of `borrow` and `lend`

    def _no_memory(self, x: Any, name: str) -> InputError:
        return InputError(
            f"{name} is a {described(x)}; pass an array of NumPy, CuPy, PyTorch, JAX, or of another library "
            f"that has __dlpack__. {_to_numpy(x, name)}"
        )

    def _obstacle(self, x: Any, name: str) -> str:
        """Why `x` has no plain memory although its library has, and what to do; empty where it has."""
        return ""

    def _is_on_cuda(self, x: Any, name: str) -> bool:
        with _explained(x, name):
            kind = int(x.__dlpack_device__()[0])
        if kind not in _HOST_MEMORY | _CUDA_MEMORY:
            device = _OTHER_MEMORY.get(kind, "unknown")
            raise InputError(
                f"{name} is a {described(x)} on a device of the kind {device} (number {kind} of DLPack); "
                f"supported are the CPU and CUDA. Copy it to the CPU first{self.to_cpu(name)}."
            )
        return kind in _CUDA_MEMORY

    def _as_numpy(self, x: Any) -> Array:
        return np.from_dlpack(x)

    def _way_back(self, like: Any) -> Any:
        """The function ``from_dlpack`` of the library."""
        known = hasattr(like, "__array_namespace__")
        namespace = like.__array_namespace__() if known else sys.modules.get(self.name)
        from_dlpack = getattr(namespace, "from_dlpack", None)
        if from_dlpack is None:
            raise InputError(
                f"x is a {described(like)}, and {self.name} has no from_dlpack that would take the result. "
                f"Pass numpy.from_dlpack(x)."
            )
        return from_dlpack

    def _moved(self, result: Array, like: Any) -> Any:
        return self._way_back(like)(result, device=device_of(like))


class NumPy(Library):
    """Arrays on the host, which are what is computed with."""

    name = "numpy"

    def owns(self, x: object) -> bool:
        """Whether `x` is an array of NumPy."""
        return isinstance(x, np.ndarray)

    def borrow(self, x: Any, name: str) -> Array:
        """The array itself, checked."""
        return as_floating(x, name)

    def lend(self, result: Array, like: Any) -> Any:
        """The result itself."""
        return result

    def to_float32(self, name: str) -> str:
        """A conversion in NumPy."""
        return f"{name}.astype(numpy.float32)"


class CuPy(Library):
    """Arrays on a CUDA device, which are what is computed with."""

    name, array_type = "cupy", "ndarray"

    def borrow(self, x: Any, name: str) -> Array:
        """The array itself, checked."""
        if not is_exchangeable(x):
            raise self._no_memory(x, name)
        check_dtype(x, name, _DEVICE_DTYPES)
        return x  # type: ignore[no-any-return]

    def lend(self, result: Array, like: Any) -> Any:
        """The result itself."""
        return result

    def to_numpy(self, name: str) -> str:
        """A copy by CuPy."""
        return f"Copy it to the host: cupy.asnumpy({name})."

    def to_float32(self, name: str) -> str:
        """A conversion in CuPy."""
        return f"{name}.astype(cupy.float32)"


class PyTorch(Library):
    """Tensors, with a history of changes and streams of their own."""

    name, array_type = "torch", "Tensor"

    def lend(self, result: Array, like: Any) -> Any:
        """A tensor that shares the memory of the result."""
        torch = sys.modules[self.name]
        return (torch.from_numpy if isinstance(result, np.ndarray) else torch.from_dlpack)(result)

    def note_change(self, x: Any) -> None:
        """Autograd refuses to go back through a tensor that was changed since; it has to hear of ours."""
        if not x.is_inference():
            sys.modules[self.name].autograd.graph.increment_version(x)

    @contextlib.contextmanager
    def on_stream_of(self, x: Any) -> Iterator[None]:
        """Queue on PyTorch's current stream on the device of `x`."""
        if x.device.type != "cuda":
            yield
            return
        try:
            import cupy
        except ImportError:  # `borrow` says what to do
            yield
            return
        stream = sys.modules[self.name].cuda.current_stream(x.device)
        with cupy.cuda.Device(x.device.index), cupy.cuda.ExternalStream(stream.cuda_stream):
            yield

    def to_numpy(self, name: str) -> str:
        """A conversion in PyTorch."""
        return f"Convert it: {name}.detach().cpu().numpy()."

    def to_float32(self, name: str) -> str:
        """A conversion in PyTorch."""
        return f"{name}.float()"

    def to_cpu(self, name: str) -> str:
        """A copy by PyTorch."""
        return f": {name}.cpu()"

    def _obstacle(self, x: Any, name: str) -> str:
        if x.is_nested:
            return "is a nested tensor. Pass its parts one by one."
        if x.is_quantized:
            return f"is quantised. Pass {name}.dequantize()."
        if x.layout != sys.modules[self.name].strided:
            return f"has the layout {x.layout}. Pass {name}.to_dense()."
        if x.requires_grad:
            return (
                f"requires grad, and what is done here is no part of PyTorch's graph. Pass {name}.detach()."
            )
        if x.is_neg():
            return (
                f"is stored as its negative, as imaginary parts of conjugates are. Pass {name}.resolve_neg()."
            )
        return ""

    def _is_on_cuda(self, x: Any, name: str) -> bool:
        return x.device.type != "cpu" and super()._is_on_cuda(x, name)

    def _as_numpy(self, x: Any) -> Array:
        # Writable with every version of PyTorch; DLPack before version 1 cannot say so.
        return x.numpy()  # type: ignore[no-any-return]


class JAX(Library):
    """Arrays that cannot be written to, and may be traced, donated or sharded."""

    name, array_type, writable = "jax", "Array", False

    def to_numpy(self, name: str) -> str:
        """A conversion by NumPy."""
        return f"Convert it: numpy.asarray({name})."

    def to_float32(self, name: str) -> str:
        """A conversion in JAX."""
        return f"{name}.astype(jax.numpy.float32)"

    def to_cpu(self, name: str) -> str:
        """A copy by JAX."""
        return f': jax.device_put({name}, jax.devices("cpu")[0])'

    def _no_memory(self, x: Any, name: str) -> InputError:
        if not isinstance(x, sys.modules[self.name].core.Tracer):
            return super()._no_memory(x, name)
        return InputError(
            f"{name} is a jax array that is being traced (jit, vmap, grad), and has no memory. Call the "
            f"filter outside, or let JAX call it: jax.pure_callback(f, {name}, {name})."
        )

    def _obstacle(self, x: Any, name: str) -> str:
        if x.is_deleted():
            return "has been deleted, or donated to a compiled function. Pass an array that is still there."
        if str(x.dtype) == "float64" and not sys.modules[self.name].config.jax_enable_x64:
            return (
                "has dtype float64, but jax_enable_x64 is off, so that JAX would take the result for "
                f"float32. Switch it on, or pass {name}.astype(jax.numpy.float32)."
            )
        return ""

    def _moved(self, result: Array, like: Any) -> Any:
        if isinstance(result, np.ndarray):
            # What came by DLPack is released by a thread of JAX, which kills a process that ends meanwhile.
            return sys.modules[self.name].device_put(result, device_of(like))
        return super()._moved(result, like)


class TensorFlow(Library):
    """Tensors whose memory is not shared."""

    name, array_type = "tensorflow", "Tensor"

    def to_numpy(self, name: str) -> str:
        """A conversion in TensorFlow."""
        return f"Convert it: {name}.numpy()."


_KNOWN = (NumPy(), CuPy(), PyTorch(), JAX(), TensorFlow())


def owner_of(x: object) -> Library:
    """The library of an array; the one without a name where it is none."""
    for known in _KNOWN:
        if known.owns(x):
            return known
    return Library(type(x).__module__.partition(".")[0] if is_exchangeable(x) else "")


def is_exchangeable(x: object) -> bool:
    """Whether it can share its memory by DLPack."""
    return all(hasattr(x, attribute) for attribute in ("__dlpack__", "__dlpack_device__", "dtype"))


def as_floating(x: object, name: str) -> Array:
    """`x` as a plain array of NumPy; InputError unless it is one of float32 or float64."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a {described(x)}; pass a NumPy array of float32 or float64. {_to_numpy(x, name)}"
        )
    if x.dtype not in FLOAT_DTYPES:
        check_dtype(x, name, _HOST_DTYPES)
    return np.asarray(x)


def check_dtype(x: Any, name: str, supported: tuple[str, ...]) -> None:
    """InputError, with a way out, unless the dtype of `x` is one of these."""
    dtype = _dtype_name(x.dtype)
    if dtype in supported:
        return
    if dtype.startswith("complex"):
        remedy = f"Filter {name}.real and {name}.imag apart."
    else:
        remedy = f"Convert it: {owner_of(x).to_float32(name)}{' / 255' if dtype == 'uint8' else ''}."
    raise InputError(
        f"{name} has dtype {dtype}; supported are {', '.join(supported[:-1])} and {supported[-1]}. {remedy}"
    )


def described(x: object) -> str:
    """What `x` is, for messages."""
    owner = owner_of(x).name
    return type(x).__name__ if not owner or isinstance(x, np.ma.MaskedArray) else f"{owner} array"


def device_of(x: Any) -> Any:
    """Where `x` lies, as its library or DLPack says it."""
    return x.device if hasattr(x, "device") else x.__dlpack_device__()


def _to_numpy(x: object, name: str) -> str:
    if isinstance(x, np.ma.MaskedArray):
        return f"Fill the masked pixels first: {name}.filled(value)."
    return owner_of(x).to_numpy(name)


def _dtype_name(dtype: Any) -> str:
    if isinstance(dtype, np.dtype):
        return str(dtype)  # unlike its name, this tells a foreign byte order
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]  # torch.float32, for one


def _cupy_for(x: Any, name: str) -> Any:
    try:
        import cupy
    except ImportError as error:
        raise RuntimeMissingError(
            f"{name} is a {described(x)} on a CUDA device, where CuPy is needed, and that cannot be imported "
            f"({error}). Install it: {how_to_install('cuda13')}."
        ) from error
    return cupy


@contextlib.contextmanager
def _explained(x: object, name: str) -> Iterator[None]:
    """Turns the refusal of another library to share memory into an error of ours."""
    try:
        yield
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"{name} is a {described(x)} whose memory cannot be shared ({error}). "
            f"Pass a plain array on the CPU or on one CUDA device."
        ) from error
