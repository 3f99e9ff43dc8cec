"""What is particular about each array library: a class for each, and one for any that knows DLPack.

Nothing is imported to find out whose an array is: an array of a library can only exist once that library has
been imported, so a look into `sys.modules` is enough and costs nothing where it is absent. CuPy alone is
imported, when another library's array on a CUDA device has arrived.

NumPy has no bfloat16 of its own, and what is computed here in half precision on the host would be slow and
inaccurate. So on the way in such values are widened to float32, by their own library where NumPy cannot, and
on the way back, where a result has the dtype of its input, they are rounded again.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, RuntimeMissingError, how_to_install, warn_once
from .types import FLOAT_DTYPES, Array

_SUPPORTED = ("float16", "bfloat16", *(str(dtype) for dtype in FLOAT_DTYPES))
_NUMBERS = "biuf"  # NumPy's kinds of real numbers, and of booleans

_CUT_OFF = (
    "a tensor that requires grad is taken detached: what is done here is no part of PyTorch's graph, and no "
    "gradient flows back through it. Pass x.detach() where that is meant; docs/guide.md shows how a filter "
    "becomes a torch.autograd.Function where it is not."
)

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
        """The memory of its array `x`, as NumPy or CuPy sees it; InputError where that cannot be.

        Half precision is widened to float32 on the host, bfloat16 everywhere.
        """
        self._check_memory(x, name)
        on_cuda = self._is_on_cuda(x, name)
        check_dtype(x, name)
        self._check_way_back(x, name)
        memory = self._memory(x, name, on_cuda)
        return memory if on_cuda else computable(memory)

    def numbers(self, x: Any, name: str) -> Array:
        """As `borrow`, of booleans and whole numbers too; only what NumPy does not know is widened.

        Where neither NumPy nor CuPy reaches the memory, it is a copy on the host, if the library can make
        one.
        """
        self._check_memory(x, name)
        try:
            on_cuda = self._is_on_cuda(x, name)
            if on_cuda:
                _cupy_for(x, name)
        except (InputError, RuntimeMissingError):
            copied = self._on_host(x)
            if copied is None:
                raise
            x, on_cuda = copied, False
        return _real(self._memory(x, name, on_cuda), name)

    def lend(self, result: Array, like: Any) -> Any:
        """A result, of NumPy or CuPy, as an array of the library on the device of `like`."""
        lent = self._way_back(like)(result)
        if device_of(lent) != device_of(like):
            # one of several devices that are all called the CPU, or a sharding over a single device
            lent = self._moved(result, like)
        return lent

    def restore(self, result: Array, like: Any) -> Any:
        """As `lend`, and with the dtype of `like` where `borrow` has widened that."""
        if dtype_name(like.dtype) == "float16":
            result = result.astype(np.float16, copy=False)
        lent = self.lend(result, like)
        return lent if lent.dtype == like.dtype else self._cast(lent, like.dtype)

    def hand_back(self, result: Array, like: Any) -> Any:
        """A result that may lie elsewhere, as an array of the library on the device of `like`."""
        if not isinstance(result, np.ndarray):
            return self.lend(result, like)
        if self._is_on_cuda(like, "x"):
            with _cupy_for(like, "x").cuda.Device(like.__dlpack_device__()[1]):
                return self.lend(_cupy_for(like, "x").asarray(result), like)
        return self.lend(result, like)

    def check_output(self, out: Any) -> None:
        """InputError where an array of the library is not to be written to."""

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

    def _check_memory(self, x: Any, name: str) -> None:
        if not is_exchangeable(x):
            raise self._no_memory(x, name)
        if obstacle := self._obstacle(x, in_code(name)):
            raise InputError(f"{name} {obstacle}")

    def _check_way_back(self, x: Any, name: str) -> None:
        """InputError where a result of the dtype of `x` could not go back: before the work, not after it."""
        self._way_back(x)

    def _memory(self, x: Any, name: str, on_cuda: bool) -> Array:
        if dtype_name(x.dtype) == "bfloat16":
            x = self._cast(x, None)
        with _explained(x, name):
            return _cupy_for(x, name).from_dlpack(x) if on_cuda else self._as_numpy(x)

    def _cast(self, x: Any, dtype: Any) -> Any:
        """`x` in another dtype of the library; float32 for None."""
        namespace = x.__array_namespace__() if hasattr(x, "__array_namespace__") else sys.modules[self.name]
        return namespace.astype(x, namespace.float32 if dtype is None else dtype)

    def _on_host(self, x: Any) -> Any:
        """A copy of `x` on the host by the library itself, or None where how to make one is not known."""
        return None

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
                f"supported are the CPU and CUDA. Copy it to the CPU first{self.to_cpu(in_code(name))}."
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


class NoLibrary(Library):
    """What is no array of a library, and becomes one of NumPy where that knows how: lists, for instance."""

    def borrow(self, x: Any, name: str) -> Array:
        """An array of NumPy."""
        return as_floating(self._made(x, name), name)

    def numbers(self, x: Any, name: str) -> Array:
        """An array of NumPy."""
        return _real(self._made(x, name), name)

    def lend(self, result: Array, like: Any) -> Any:
        """The result itself."""
        return result

    def restore(self, result: Array, like: Any) -> Any:
        """The result itself."""
        return result

    def hand_back(self, result: Array, like: Any) -> Any:
        """The result itself."""
        return result

    def _made(self, x: Any, name: str) -> Array:
        try:
            made = np.asarray(x)
        except Exception as error:  # whatever the __array__ of some type raises
            raise self._no_memory(x, name) from error
        if made.dtype.kind not in _NUMBERS + "c" or isinstance(x, str | bytes):
            raise self._no_memory(x, name)
        return made


class NumPy(NoLibrary):
    """Arrays on the host, which are what is computed with."""

    name = "numpy"

    def owns(self, x: object) -> bool:
        """Whether `x` is an array of NumPy."""
        return isinstance(x, np.ndarray)

    def restore(self, result: Array, like: Any) -> Any:
        """The result in the dtype of `like`."""
        return result if result.dtype == like.dtype else result.astype(like.dtype)

    def to_float32(self, name: str) -> str:
        """A conversion in NumPy."""
        return f"{name}.astype(numpy.float32)"

    def _made(self, x: Any, name: str) -> Array:
        if isinstance(x, np.ma.MaskedArray):
            raise self._no_memory(x, name)
        return np.asarray(x)


class CuPy(Library):
    """Arrays on a CUDA device, which are what is computed with."""

    name, array_type = "cupy", "ndarray"

    def borrow(self, x: Any, name: str) -> Array:
        """The array itself, checked."""
        if not is_exchangeable(x):
            raise self._no_memory(x, name)
        check_dtype(x, name)
        return x  # type: ignore[no-any-return]

    def numbers(self, x: Any, name: str) -> Array:
        """The array itself."""
        return _real(x, name)

    def lend(self, result: Array, like: Any) -> Any:
        """The result itself."""
        return result

    def restore(self, result: Array, like: Any) -> Any:
        """The result in the dtype of `like`."""
        return result if result.dtype == like.dtype else result.astype(like.dtype)

    def hand_back(self, result: Array, like: Any) -> Any:
        """The result, copied to the device of `like` where it is on the host."""
        if not isinstance(result, np.ndarray):
            return result
        with like.device:
            return sys.modules[self.name].asarray(result)

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

    def hand_back(self, result: Array, like: Any) -> Any:
        """A tensor on the device of `like`, wherever the result lies."""
        return self.lend(result, like).to(like.device)

    def check_output(self, out: Any) -> None:
        """PyTorch refuses to write to what its graph begins with, and we do."""
        if out.requires_grad:
            raise InputError("out requires grad, and cannot be written to. Pass out.detach().")
        if out.is_neg():
            raise InputError("out is stored as its negative, and cannot be written to. Leave it out.")

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
        return ""

    def _is_on_cuda(self, x: Any, name: str) -> bool:
        return x.device.type != "cpu" and super()._is_on_cuda(x, name)

    def _memory(self, x: Any, name: str, on_cuda: bool) -> Array:
        if x.requires_grad:
            warn_once(_CUT_OFF)
            x = x.detach()
        # tensors may be stored as their negatives, as imaginary parts of conjugates are
        return super()._memory(x.resolve_conj().resolve_neg(), name, on_cuda)

    def _cast(self, x: Any, dtype: Any) -> Any:
        return x.to(sys.modules[self.name].float32 if dtype is None else dtype)

    def _on_host(self, x: Any) -> Any:
        return x.cpu() if x.device.type != "meta" else None

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
        return ""

    def _check_way_back(self, x: Any, name: str) -> None:
        if str(x.dtype) == "float64" and not sys.modules[self.name].config.jax_enable_x64:
            raise InputError(
                f"{name} has dtype float64, but jax_enable_x64 is off, so that JAX would take the result for "
                f"float32. Switch it on, or pass {in_code(name)}.astype(jax.numpy.float32)."
            )

    def _cast(self, x: Any, dtype: Any) -> Any:
        return x.astype("float32" if dtype is None else dtype)

    def _on_host(self, x: Any) -> Any:
        jax = sys.modules[self.name]
        return jax.device_put(x, jax.devices("cpu")[0])

    def hand_back(self, result: Array, like: Any) -> Any:
        """A copy on the device of `like`; in single precision, unless jax_enable_x64 is on."""
        return self._moved(result, like)

    def _moved(self, result: Array, like: Any) -> Any:
        if isinstance(result, np.ndarray):
            # What came by DLPack is released by a thread of JAX, which kills a process that ends meanwhile.
            return sys.modules[self.name].device_put(result, device_of(like))
        return super()._moved(result, like)


class TensorFlow(Library):
    """Tensors whose memory is not shared: they are copied there and back."""

    name, array_type, writable = "tensorflow", "Tensor", False

    def borrow(self, x: Any, name: str) -> Array:
        """A copy on the host."""
        self._check_memory(x, name)
        return as_floating(x.numpy(), name)

    def numbers(self, x: Any, name: str) -> Array:
        """A copy on the host."""
        self._check_memory(x, name)
        return _real(x.numpy(), name)

    def lend(self, result: Array, like: Any) -> Any:
        """A tensor on the device of `like`."""
        tensorflow = sys.modules[self.name]
        with tensorflow.device(like.device):
            return tensorflow.convert_to_tensor(result)

    def restore(self, result: Array, like: Any) -> Any:
        """A tensor of the dtype of `like`."""
        return self.lend(result.astype(like.dtype.as_numpy_dtype, copy=False), like)

    def hand_back(self, result: Array, like: Any) -> Any:
        """A tensor on the device of `like`."""
        return self.lend(result, like)

    def to_numpy(self, name: str) -> str:
        """A conversion in TensorFlow."""
        return f"Convert it: {name}.numpy()."

    def to_float32(self, name: str) -> str:
        """A conversion in TensorFlow."""
        return f"tensorflow.cast({name}, tensorflow.float32)"

    def _check_memory(self, x: Any, name: str) -> None:
        if not hasattr(x, "numpy"):  # a symbol within a tf.function
            raise InputError(
                f"{name} is a tensorflow array that is being traced, and has no values. Call this outside of "
                f"tf.function, or let TensorFlow call it: tensorflow.py_function."
            )


_NONE = NoLibrary()
_KNOWN = (NumPy(), CuPy(), PyTorch(), JAX(), TensorFlow())


def owner_of(x: object) -> Library:
    """The library of an array; the one without a name where it is none."""
    for known in _KNOWN:
        if known.owns(x):
            return known
    return Library(type(x).__module__.partition(".")[0]) if is_exchangeable(x) else _NONE


def is_exchangeable(x: object) -> bool:
    """Whether it can share its memory by DLPack."""
    return all(hasattr(x, attribute) for attribute in ("__dlpack__", "__dlpack_device__", "dtype"))


def as_floating(x: object, name: str) -> Array:
    """`x` as a plain array of NumPy, float32 or float64; InputError unless it is one of floating point."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a {described(x)}; pass a NumPy array of float32 or float64. {_to_numpy(x, name)}"
        )
    if x.dtype not in FLOAT_DTYPES:
        check_dtype(x, name)
    return computable(np.asarray(x))


def computable(memory: Array) -> Array:
    """An array of NumPy of floating point, as one of float32 or float64 in the machine's order of bytes."""
    if memory.dtype in FLOAT_DTYPES:  # which are of the machine's order of bytes
        return memory
    return memory.astype(np.float64 if memory.dtype.itemsize == 8 else np.float32)


def check_dtype(x: Any, name: str) -> None:
    """InputError, with a way out, unless `x` is of a floating dtype that can be computed with."""
    dtype = dtype_name(x.dtype)
    if dtype in _SUPPORTED:
        return
    if dtype.startswith("complex"):
        remedy = f"Filter {in_code(name)}.real and {in_code(name)}.imag apart."
    else:
        remedy = f"Convert it: {owner_of(x).to_float32(in_code(name))}{' / 255' if dtype == 'uint8' else ''}."
    raise InputError(
        f"{name} has dtype {dtype}; supported are {', '.join(_SUPPORTED[:-1])} and {_SUPPORTED[-1]}. {remedy}"
    )


def _real(memory: Array, name: str) -> Array:
    """An array of NumPy or CuPy; InputError unless it holds real numbers or booleans."""
    if memory.dtype.kind in _NUMBERS:
        return memory
    if "float" in memory.dtype.name:  # the narrow ones that ml_dtypes adds to NumPy
        return memory.astype(np.float32)
    raise InputError(f"{name} has dtype {memory.dtype}; real numbers are wanted.")


def described(x: object) -> str:
    """What `x` is, for messages."""
    owner = owner_of(x).name
    return type(x).__name__ if not owner or isinstance(x, np.ma.MaskedArray) else f"{owner} array"


def device_of(x: Any) -> Any:
    """Where `x` lies, as its library or DLPack says it."""
    return x.device if hasattr(x, "device") else x.__dlpack_device__()


def _to_numpy(x: object, name: str) -> str:
    if isinstance(x, np.ma.MaskedArray):
        return f"Fill the masked pixels first: {in_code(name)}.filled(value)."
    return owner_of(x).to_numpy(in_code(name))


def in_code(name: str) -> str:
    """What a line of code calls an argument that messages call by that name, "the image" for instance."""
    return name.rpartition(" ")[2]


def dtype_name(dtype: Any) -> str:
    """The name of a dtype of any library, as NumPy has it."""
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
