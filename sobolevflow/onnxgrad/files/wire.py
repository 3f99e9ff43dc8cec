"""Large weights read straight from an ONNX file, one by one.

To parse a model as one message takes its size in memory three times over: the file, the message,
and the arrays made of it. Here the file is walked through instead, along the lengths that
Protocol Buffers write in front of everything (https://protobuf.dev/programming-guides/encoding),
and each large ``raw_data`` is read into an array of its own. What is left, the structure with
stubs in their places, is parsed by onnx.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper

from .weights import LARGE, Weights, stub

# Numbers of the fields in onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_RAW_DATA = 9
_BYTES = 2  # the wire type of everything with a length


class WireError(ValueError):
    """The file is no Protocol Buffers message, or of a form that is not walked through."""


@dataclass(frozen=True)
class _Field:
    number: int
    wire_type: int
    start: int  # of the key
    begin: int  # of the value
    end: int


def read_apart(path: Path) -> tuple[bytes, Weights]:
    """The serialised structure of the model in a file, and its large initializers.

    Memory: the weights once, and as much again as the largest of them where the machine's byte order is
    not that of the file.

    Raises
    ------
    WireError
        The file cannot be walked through; onnx may know why.
    OSError
        It cannot be read.
    """
    weights: Weights = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        parts = []
        for field in _fields(data, 0, len(data)):
            if field.number == _MODEL_GRAPH and field.wire_type == _BYTES:
                parts += _prefixed(_MODEL_GRAPH, _graph(data, field, path, weights))
            else:
                parts.append(data[field.start : field.end])
    return b"".join(parts), weights


def _graph(data: mmap.mmap, graph: _Field, path: Path, weights: Weights) -> bytes:
    parts = []
    for field in _fields(data, graph.begin, graph.end):
        large = field.end - field.begin >= LARGE
        if field.number == _GRAPH_INITIALIZER and field.wire_type == _BYTES and large:
            parts += _prefixed(_GRAPH_INITIALIZER, _tensor(data, field, path, weights))
        else:
            parts.append(data[field.start : field.end])
    return b"".join(parts)


def _tensor(data: mmap.mmap, message: _Field, path: Path, weights: Weights) -> bytes:
    """The serialised tensor, or its stub if its values lie in ``raw_data`` and went to `weights`."""
    fields = list(_fields(data, message.begin, message.end))
    raw = [f for f in fields if f.number == _TENSOR_RAW_DATA and f.wire_type == _BYTES]
    if len(raw) != 1 or raw[0].end - raw[0].begin < LARGE:
        return data[message.begin : message.end]
    rest = b"".join(data[f.start : f.end] for f in fields if f is not raw[0])
    try:
        tensor = onnx.TensorProto.FromString(rest)
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
    except (DecodeError, KeyError) as error:
        raise WireError(f"a tensor at byte {message.begin} is none: {error}") from error
    count, size = int(np.prod(tensor.dims, dtype=np.int64)), raw[0].end - raw[0].begin
    if count * dtype.itemsize != size:  # packed elements, or an error that onnx can name
        return data[message.begin : message.end]
    value = np.fromfile(path, dtype, count, offset=raw[0].begin).reshape(tuple(tensor.dims))
    weights[tensor.name] = value.astype(dtype.newbyteorder("="), copy=False)
    return bytes(stub(tensor.name, tensor.data_type, tensor.dims).SerializeToString())


def _prefixed(number: int, message: bytes) -> list[bytes]:
    """A message as a field of another: key, length, content."""
    return [_varint(number << 3 | _BYTES), _varint(len(message)), message]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        key, begin = _read_varint(data, start)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _, stop = _read_varint(data, begin)
        elif wire_type in (1, 5):
            stop = begin + (8 if wire_type == 1 else 4)
        elif wire_type == _BYTES:
            length, begin = _read_varint(data, begin)
            stop = begin + length
        else:
            raise WireError(f"wire type {wire_type} at byte {start}")
        if stop > end or not number:
            raise WireError(f"a field at byte {start} ends behind its message")
        yield _Field(number, wire_type, start, begin, stop)
        start = stop


def _read_varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError(f"no number at byte {at}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
