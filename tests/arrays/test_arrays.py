"""Telling arrays apart without importing their libraries, their memory, and the checks on it."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sobolevflow import arrays
from sobolevflow.errors import InputError, RuntimeMissingError, how_to_install


class ForeignArray:
    """Stands in for the array type of a library that is not installed."""


class SubclassedArray(np.ndarray):
    """Stands in for array types that add behaviour, such as `numpy.memmap`."""


@pytest.mark.parametrize(
    ("name", "attribute", "remedy"),
    [("cupy", "ndarray", "cupy.asnumpy"), ("torch", "Tensor", "numpy()"), ("jax", "Array", "numpy.asarray")],
)
def test_arrays_of_other_libraries_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, attribute: str, remedy: str
) -> None:
    module = ModuleType(name)
    setattr(module, attribute, ForeignArray)
    module.core = SimpleNamespace(Tracer=())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    assert arrays.library(ForeignArray()) == name
    assert arrays.is_cupy_array(ForeignArray()) == (name == "cupy")
    with pytest.raises(InputError, match=f"{name} array") as raised:
        arrays.borrow(ForeignArray())
    assert remedy in str(raised.value)


def test_what_is_no_array_belongs_to_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))  # as it is while it is being imported
    assert arrays.library([1.0]) is None
    assert arrays.library(ForeignArray()) is None
    assert arrays.library(np.eye(2)) == "numpy"


def test_arrays_of_numpy_are_passed_on_without_a_copy() -> None:
    x = np.random.default_rng(0).random((2, 8, 9))[:, ::2]
    assert arrays.borrow(x) is x
    assert type(arrays.borrow(x.view(SubclassedArray))) is np.ndarray


# --- arrays that share their memory by DLPack ---------------------------------------------------


class SharedArray:
    """What DLPack asks of an array, and no more, on memory of NumPy; it can claim to be anywhere."""

    def __init__(self, memory: np.ndarray, kind: int = 1, number: int = 0) -> None:
        self.memory, self.where = memory, (kind, number)
        self.shape, self.dtype = memory.shape, memory.dtype

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.memory.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.where


class ArrayOnDevice(SharedArray):
    """Stands in for CuPy's arrays."""

    ndim, size, strides = 2, 20, (20, 4)


@pytest.fixture
def small_library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A library of `SharedArray`, which knows of the array API nothing but DLPack."""
    module = ModuleType("small_library")
    module.from_dlpack = lambda x: SharedArray(np.from_dlpack(x))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "small_library", module)
    monkeypatch.setattr(SharedArray, "__module__", "small_library.arrays")
    return module


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A CuPy that takes every array for one of its own."""
    module: Any = ModuleType("cupy")
    module.ndarray = ArrayOnDevice
    module.from_dlpack = lambda x: ArrayOnDevice(x.memory, *x.where)
    module.empty = lambda shape, dtype: ArrayOnDevice(np.empty(shape, dtype), 2)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module  # type: ignore[no-any-return]


def test_dlpack_alone_is_enough(small_library: ModuleType) -> None:
    memory = np.random.default_rng(0).random((4, 5))
    x = SharedArray(memory)
    assert arrays.library(x) == "small_library"
    assert np.shares_memory(arrays.borrow(x), memory)
    result = arrays.empty_like(arrays.borrow(x))
    lent = arrays.lend(result, x)
    assert type(lent) is SharedArray
    assert np.shares_memory(lent.memory, result)
    assert np.shares_memory(arrays.borrow_output(lent, x), result)


def test_where_the_result_could_not_go_back_nothing_is_begun(
    small_library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(small_library, "from_dlpack")
    with pytest.raises(InputError, match=r"small_library has no from_dlpack .* Pass numpy\.from_dlpack\(x\)"):
        arrays.borrow(SharedArray(np.ones((4, 5))))


@pytest.mark.parametrize(
    ("kind", "device"), [(7, "Vulkan"), (8, "Metal"), (10, "ROCm"), (14, "oneAPI"), (77, "unknown")]
)
def test_other_devices_are_named(small_library: ModuleType, kind: int, device: str) -> None:
    with pytest.raises(InputError, match=rf"a device of the kind {device} \(number {kind} of DLPack\)"):
        arrays.borrow(SharedArray(np.ones((4, 5)), kind))


@pytest.mark.parametrize("kind", [1, 3, 11])
def test_pinned_memory_is_host_memory(small_library: ModuleType, kind: int) -> None:
    memory = np.ones((4, 5))
    assert np.shares_memory(arrays.borrow(SharedArray(memory, kind)), memory)


def test_without_cupy_an_array_on_a_gpu_names_the_extra(
    small_library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeMissingError, match=re.escape(how_to_install("cuda13"))):
        arrays.borrow(SharedArray(np.ones((4, 5)), 2))


@pytest.mark.parametrize("kind", [2, 13])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_on_a_gpu_goes_through_cupy(
    small_library: ModuleType, cupy: ModuleType, kind: int, dtype: Any
) -> None:
    x = SharedArray(np.ones((4, 5), dtype), kind, 3)
    borrowed: Any = arrays.borrow(x)
    assert arrays.is_cupy_array(borrowed)
    assert borrowed.memory is x.memory
    assert arrays.borrow(borrowed) is borrowed
    assert arrays.lend(borrowed, borrowed) is borrowed
    result: Any = arrays.empty_like(borrowed)
    assert arrays.is_cupy_array(result)
    assert result.dtype == dtype
    with pytest.raises(InputError, match=r"out has device \(2, 4\), x has device \(\d+, 3\)"):
        arrays.borrow_output(SharedArray(x.memory, 2, 4), x)


def test_integers_are_refused_on_a_gpu_as_well(small_library: ModuleType, cupy: ModuleType) -> None:
    supported = "supported are float16, bfloat16, float32 and float64"
    with pytest.raises(InputError, match=f"x has dtype int32; {supported}.*small_library.astype"):
        arrays.borrow(SharedArray(np.ones((4, 5), np.int32), 2))
    with pytest.raises(InputError, match=rf"x has dtype int32; {supported}.*x\.astype\(cupy\.float32\)"):
        arrays.borrow(ArrayOnDevice(np.ones((4, 5), np.int32), 2))


def test_values_on_a_gpu_are_not_waited_for(cupy: ModuleType) -> None:
    x: Any = ArrayOnDevice(np.full((4, 5), np.nan), 2)
    arrays.check_shape(x)
    arrays.check_finite(x)
    with pytest.raises(InputError, match="x has 20 of 20 values that are NaN"):
        arrays.check_finite(x.memory)


# --- new memory, and checks of NumPy arrays -----------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1, 1), (3, 5, 7), (8, 3, 224, 224)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_new_memory_begins_a_cache_line(shape: tuple[int, ...], dtype: Any) -> None:
    kept = []
    for _ in range(8):  # chance aligns one in four
        a = arrays.empty_like(np.ones(shape, dtype))
        assert a.shape == shape
        assert a.dtype == dtype
        assert a.ctypes.data % 64 == 0
        assert a.flags.c_contiguous
        assert a.flags.writeable
        a.fill(1)
        kept.append(a)
    assert not any(np.shares_memory(a, b) for a, b in pairwise(kept))


@pytest.mark.parametrize(
    ("x", "cause", "remedy"),
    [
        (
            np.ones((4, 5), np.int64),
            "x has dtype int64; supported are float16, bfloat16, float32 and float64",
            "x.astype(numpy.float32)",
        ),
        (np.ones((4, 5), np.uint8), "x has dtype uint8", "x.astype(numpy.float32) / 255"),
        (np.ma.masked_array(np.ones((4, 5))), "x is a MaskedArray", "x.filled(value)"),
        ([["red"]], "x is a list", "numpy.asarray(x, dtype=numpy.float32)"),
        ([[1.0], [1.0, 2.0]], "x is a list", "numpy.asarray(x, dtype=numpy.float32)"),
        (None, "x is a NoneType", "numpy.asarray(x, dtype=numpy.float32)"),
    ],
    ids=["integers", "bytes", "masked", "words", "ragged", "None"],
)
def test_what_is_no_floating_array_is_named_with_a_remedy(x: Any, cause: str, remedy: str) -> None:
    with pytest.raises(InputError) as raised:
        arrays.borrow(x)
    assert cause in str(raised.value)
    assert remedy in str(raised.value)


def test_out_of_numpy_is_checked() -> None:
    x = np.ones((4, 5))
    read_only = np.ones((4, 5))
    read_only.flags.writeable = False
    twice = np.lib.stride_tricks.as_strided(np.ones(5), (4, 5), (0, 8))
    for out, cause in (
        (np.ones((5, 4)), r"out has shape \(5, 4\), x has shape \(4, 5\)"),
        (np.ones((4, 5), np.float32), "out has dtype float32, x has dtype float64"),
        (read_only, "out is read-only"),
        (twice, "out is broadcast"),
        ([1.0], "out is a list, x a numpy array"),
    ):
        with pytest.raises(InputError, match=rf"{cause}.*make out with numpy\.empty_like\(x\)"):
            arrays.borrow_output(out, x)
    reversed_view = np.ones((4, 5))[::-1]
    assert arrays.borrow_output(reversed_view, x) is reversed_view
