"""Read an ONNX model from a path, from bytes or from a proto, with errors a user can act on.

`read_model` gives an ordinary ModelProto; `read_detached` keeps the weights apart (see `weights`),
those in external data mapped from their file rather than read, so that size is no matter.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_tensor,
    uses_external_data,
)

from ...errors import InputError, ModelError
from .checking import check_model
from .door import LARGEST_MESSAGE, check_regular
from .weights import LARGE, Weights, array_of, detach, is_stub, size_of, stub
from .wire import read_apart

_LFS_MARK = b"version https://git-lfs"  # how every Git-LFS pointer file begins


def read_model(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """The model in `source`, external data loaded.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        A proto is returned as it is, not copied.

    Raises
    ------
    ModelError
        The file is missing, unreadable, empty, a Git-LFS pointer, truncated, not ONNX, its external
        data is missing, or a node or weight of it is not valid (`checking`).
    InputError
        `source` is something else.
    """
    model, path = _read(source)
    check_model(model, _called(source))
    if path is not None and _external(model):
        with _external_data_errors(model, path):
            for tensor in _external(model):
                _load_external(tensor, path)
    return model


def read_detached(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto, files: list[Path] | None = None
) -> tuple[onnx.ModelProto, Weights]:
    """The structure of the model in `source`, and its large weights; arguments and errors as `read_model`.

    The files that were read are added to `files`.
    """
    model, path, weights = _read_apart(source)
    try:
        structure, more = detach(model)
    except ModelError as error:
        raise ModelError(f"{_called(source)}: {error}") from error
    weights |= more
    del model, more  # with their weights, before more are read
    check_model(structure, _called(source))
    if path is not None and files is not None:
        files.append(path)
    if path is not None and _external(structure):
        with _external_data_errors(structure, path):
            if files is not None:
                files += sorted({_named(path, _location(tensor)) for tensor in _external(structure)})
            for tensor in structure.graph.initializer:
                if _is_external(tensor):
                    _take_external(tensor, path, weights)
            for tensor in _external(structure):  # within nodes
                _load_external(tensor, path)
    return structure, weights


def _read_apart(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
) -> tuple[onnx.ModelProto, Path | None, Weights]:
    """As `_read`, but weights that lie in a file itself are left out of the model, in the usual case."""
    if isinstance(source, (str, os.PathLike)):
        path = _path_of(source)
        with suppress(OSError, ValueError):  # `_read` says what is wrong
            check_regular(path)
            structure, weights = read_apart(path)
            return _parse(structure, str(path)), path, weights
    return *_read(source), {}


def _take_external(tensor: onnx.TensorProto, path: Path, weights: Weights) -> None:
    """Load a tensor from external data: a small one in place, a large one into `weights`, mapped."""
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    size = size_of(tensor)
    info = ExternalDataInfo(tensor)
    if size < LARGE or (info.length or size) != size or (info.offset or 0) % dtype.itemsize:
        _load_external(tensor, path)  # also where elements are packed
        if size >= LARGE:
            weights[tensor.name] = array_of(tensor)
            tensor.CopyFrom(stub(tensor.name, tensor.data_type, tensor.dims))
        return
    file = _beside(path, info.location)
    weights[tensor.name] = np.memmap(file, dtype, "r", info.offset or 0, tuple(tensor.dims))
    tensor.CopyFrom(stub(tensor.name, tensor.data_type, tensor.dims))


def _beside(path: Path, location: str) -> Path:
    """The file of external data that a model names, links followed.

    It lies in the model's folder, or in that of the file to which a link to the model leads, as in a cache in
    which all files are links into a folder of their contents. Nothing else is opened, whatever a file says.

    Raises
    ------
    ModelError
        It leads elsewhere, or to no regular file.
    """
    folders = dict.fromkeys((path.parent.resolve(), path.resolve().parent))
    if not location or os.path.isabs(location):
        raise ModelError(f"its external data is named {location!r}, which is no file beside it")
    file = _named(path, location).resolve()
    if not any(file.is_relative_to(folder) for folder in folders):
        raise ModelError(f"its external data {location!r} leads out of the model's folder; copy it there")
    check_regular(file)
    return file


def _named(path: Path, location: str) -> Path:
    """Where a file of external data is looked for: beside the model, or beside what a link to it leads to."""
    beside = path.parent / location
    return beside if os.path.lexists(beside) else path.resolve().parent / location


def _load_external(tensor: onnx.TensorProto, path: Path) -> None:
    """Load a tensor from external data, in place."""
    file = _beside(path, ExternalDataInfo(tensor).location)
    for entry in tensor.external_data:
        if entry.key == "location":
            entry.value = file.name  # onnx takes no links
    load_external_data_for_tensor(tensor, str(file.parent))
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    array_of(tensor)


def _read(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    """The model as it lies in `source`, and the path it came from."""
    if isinstance(source, onnx.ModelProto):
        return _complete(_checked(source, _called(source)), _called(source)), None
    if isinstance(source, bytes):
        return _complete(_parse(source, _called(source)), _called(source)), None
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}")
    path = _path_of(source)
    return _parse(_read_bytes(path), str(path)), path


def _path_of(source: str | os.PathLike[str]) -> Path:
    try:
        path = Path(source)
        os.fsencode(path)
    except Exception:  # the __fspath__ of any class, and half of a character that takes two
        raise InputError("a model is a path that a file can have; this one is none") from None
    return path


def _called(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> str:
    """What messages call a source."""
    if isinstance(source, onnx.ModelProto):
        return "the given ModelProto"
    return "the given bytes" if isinstance(source, bytes) else str(source)


def _read_bytes(path: Path) -> bytes:
    try:
        check_regular(path, LARGEST_MESSAGE)
        with path.open("rb") as file:
            return file.read(path.stat().st_size)  # of /proc some have no size, and no end
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: is a directory, not an ONNX file") from None
    except (OSError, ValueError) as error:  # the latter of a path with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path}: cannot be read ({reason})") from None


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{where}: the file is empty")
    if data.startswith(_LFS_MARK):
        raise ModelError(f"{where}: this is a Git-LFS pointer, not the model; run 'git lfs pull' to fetch it")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(f"{where}: not an ONNX file, or truncated ({len(data)} bytes)") from None
    return _checked(model, where)


def _checked(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    if not model.graph.node or not model.opset_import:
        missing = "no opset" if model.graph.node else "no nodes"
        raise ModelError(f"{where}: not an ONNX model (it has {missing})")
    return model


def _complete(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Refuse a model that has no folder in which its external data could be found."""
    if external := _external(model):
        raise ModelError(
            f"{where}: its weights lie in external data ({_location(external[0])}); give the file's path"
        )
    return model


def _external(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The tensors of a model whose values lie in other files, those within nodes included."""
    nodes = (model.graph.node, *(function.node for function in model.functions))
    tensors = itertools.chain(model.graph.initializer, *map(_inner_tensors, nodes))
    return [t for t in tensors if _is_external(t)]


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(uses_external_data(tensor)) and not is_stub(tensor)


def _inner_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """The tensors within nodes: constants, and the weights and constants of their sub-graphs."""
    for attribute in (a for node in nodes for a in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from body.initializer
            yield from _inner_tensors(body.node)


@contextmanager
def _external_data_errors(model: onnx.ModelProto, path: Path) -> Iterator[None]:
    files = sorted({_location(t) for t in _external(model)})
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, onnx.checker.ValidationError, ValueError, ArithmeticError, LookupError, TypeError):
        raise ModelError(
            f"{path}: its external data cannot be read; expected beside it: {', '.join(files[:3])}"
        ) from None


def _location(tensor: onnx.TensorProto) -> str:
    return cast(str, next((e.value for e in tensor.external_data if e.key == "location"), "?"))
