"""Large weights, kept apart from the model that uses them.

A ModelProto with its weights inside is slow to copy, is serialised as a whole for every shape
inference, and cannot be serialised at all beyond 2 GB. In this package a model is therefore its
structure, with a stub in place of every large tensor, and a dictionary of the tensors by name.
onnx's tools read stubs as they read references to external data, and onnxruntime takes the
arrays beside the model, without a copy and without a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.external_data_helper import set_external_data, uses_external_data

from ...errors import ModelError
from ..raised import as_model_error

Weights = dict[str, np.ndarray]

LARGE = 1024  # bytes; shapes, axes and pads are smaller, and inference must see their values
_ALIGNMENT = 64  # bytes, of a tensor in a file: whatever its type, it can be mapped
_NOWHERE = "in-memory"  # the location of a stub; never opened


def detach(model: onnx.ModelProto) -> tuple[onnx.ModelProto, Weights]:
    """A copy of `model` with stubs for its large initializers, and their values.

    References to external data are stubs already and stay what they are. The given model is
    not modified, and its weights are copied once at most.
    """
    out = onnx.ModelProto()
    _copy_fields(model, out, but="graph")
    _copy_fields(model.graph, out.graph, but="initializer")
    weights: Weights = {}
    for tensor in model.graph.initializer:
        text = tensor.data_type == onnx.TensorProto.STRING
        if text or uses_external_data(tensor) or size_of(tensor) < LARGE:
            out.graph.initializer.append(tensor)
        else:
            weights[tensor.name] = array_of(tensor)
            with _read_as_text("the name of a weight"):
                out.graph.initializer.append(stub(tensor.name, tensor.data_type, tensor.dims))
    return out, weights


def array_of(tensor: onnx.TensorProto, called: str = "") -> np.ndarray:
    """The values of a tensor; ModelError where there are more or fewer than its shape says."""
    called = called or f"weight {tensor.name!r}"
    with as_model_error(f"{called} of shape {tuple(tensor.dims)} cannot be read"):
        return numpy_helper.to_array(tensor)


def size_of(tensor: onnx.TensorProto) -> int:
    """Bytes of the values, from shape and type (to ask the message for its size would serialise it)."""
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:  # no type that onnx knows; what reads the tensor will say so
        return 0
    return int(math.prod(tensor.dims) * dtype.itemsize)


def stub(name: str, data_type: int, shape: Any) -> onnx.TensorProto:
    """A tensor without its values."""
    tensor = onnx.TensorProto(name=name, data_type=data_type, dims=shape)
    _refer(tensor, _NOWHERE)
    return tensor


def is_stub(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor is a stub, rather than a reference to a file."""
    return any(entry.key == "location" and entry.value == _NOWHERE for entry in tensor.external_data)


def stub_of(name: str, value: np.ndarray) -> onnx.TensorProto:
    """The stub of an array."""
    return stub(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def write_apart(model: onnx.ModelProto, weights: Weights, file: BinaryIO, location: str) -> None:
    """Write `weights` into `file`, and let the stubs of `model` refer to it by the name `location`."""
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            value = np.ascontiguousarray(weights[tensor.name])
            file.write(bytes(-file.tell() % _ALIGNMENT))
            _refer(tensor, location, file.tell(), value.nbytes)
            file.write(value.data.cast("B"))


def _refer(
    tensor: onnx.TensorProto, location: str, offset: int | None = None, length: int | None = None
) -> None:
    tensor.raw_data = b""  # what set_external_data insists on
    set_external_data(tensor, location, offset, length)
    tensor.ClearField("raw_data")


def _copy_fields(source: Any, target: Any, *, but: str) -> None:
    """Copy a message field by field, leaving one out; ModelError where a text is none."""
    for field, value in source.ListFields():
        if field.name != but:
            with _read_as_text(f"{field.name!r} of its {source.DESCRIPTOR.name}"):
                _copy_field(field.name, value, target)


@contextmanager
def _read_as_text(what: str) -> Iterator[None]:
    """ModelError for what is no text: it is read as bytes, and not written."""
    try:
        yield
    except UnicodeDecodeError:
        raise ModelError(f"{what} is no text in UTF-8") from None


def _copy_field(name: str, value: Any, target: Any) -> None:
    if isinstance(value, (int, float, str, bytes)):
        setattr(target, name, value)
    elif hasattr(value, "CopyFrom"):
        getattr(target, name).CopyFrom(value)
    else:
        getattr(target, name).extend(value)
