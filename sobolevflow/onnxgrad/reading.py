"""Read an ONNX model from a path, from bytes or from a proto, with errors a user can act on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from ..errors import InputError, ModelError

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
        The file is missing, unreadable, empty, a Git-LFS pointer, truncated, not ONNX, or
        its external data is missing.
    InputError
        `source` is something else.
    """
    if isinstance(source, onnx.ModelProto):
        return _complete(_checked(source, "the given ModelProto"), "the given ModelProto")
    if isinstance(source, bytes):
        return _complete(_parse(source, "the given bytes"), "the given bytes")
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}")
    path = Path(source)
    model = _parse(_read_bytes(path), str(path))
    _load_external_data(model, path)
    return model


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: is a directory, not an ONNX file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None


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
        raise ModelError(f"{where}: not an ONNX model (it holds no graph)")
    return model


def _complete(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Refuse a model that has no folder in which its external data could be found."""
    if external := _external(model):
        raise ModelError(
            f"{where}: its weights lie in external data ({_location(external[0])}); give the file's path"
        )
    return model


def _external(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [t for t in model.graph.initializer if uses_external_data(t)]


def _load_external_data(model: onnx.ModelProto, path: Path) -> None:
    external = _external(model)
    if not external:
        return
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, onnx.checker.ValidationError, ValueError):
        files = sorted({_location(t) for t in external})
        raise ModelError(
            f"{path}: its external data cannot be read; expected beside it: {', '.join(files[:3])}"
        ) from None


def _location(tensor: onnx.TensorProto) -> str:
    return cast(str, next((e.value for e in tensor.external_data if e.key == "location"), "?"))
