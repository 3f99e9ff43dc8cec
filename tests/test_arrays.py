"""Telling arrays apart without importing their libraries."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from sobolevflow import arrays
from sobolevflow.errors import InputError


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
    monkeypatch.setitem(sys.modules, name, module)
    assert arrays.library(ForeignArray()) == name
    assert arrays.is_cupy_array(ForeignArray()) == (name == "cupy")
    assert not arrays.is_numpy_array(ForeignArray())
    with pytest.raises(InputError, match=f"{name} array") as raised:
        arrays.as_planes(ForeignArray())
    assert remedy in str(raised.value)


def test_what_is_no_array_belongs_to_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))  # as it is while it is being imported
    assert arrays.library([1.0]) is None
    assert arrays.library(ForeignArray()) is None
    assert arrays.library(np.eye(2)) == "numpy"
    assert arrays.is_numpy_array(np.eye(2))


def test_planes_are_passed_on_without_a_copy() -> None:
    x = np.random.default_rng(0).random((2, 8, 9))[:, ::2]
    assert arrays.as_planes(x) is x
    assert type(arrays.as_planes(x.view(SubclassedArray))) is np.ndarray
