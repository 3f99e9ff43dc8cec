"""Write an ONNX model into a file, its weights beside it where they are large."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from ...errors import OutputError, OutputNameError
from .weights import Weights, write_apart

FILE_LIMIT = 1 << 30
"""Bytes of weights that are written into the model's own file."""


def write_model(model: onnx.ModelProto, weights: Weights, path: Path) -> None:
    """Write into a folder beside the target and move into place, so that no half-written file is left.

    Parameters
    ----------
    model : onnx.ModelProto
    weights : mapping
        Those that `detach` took out of it, which go to ``path + ".data"``; empty where they are in it.
    path : Path

    Raises
    ------
    OutputError
        It cannot be written, or is a folder.
    """
    if os.path.isdir(path):  # which a name that is too long is not
        raise OutputNameError(f"{path}: is a directory; name a file in it")
    try:
        with tempfile.TemporaryDirectory(prefix=".sobolevflow-", dir=path.absolute().parent) as folder:
            partial = Path(folder, path.name)
            if weights:
                data = Path(folder, path.name + ".data")
                with data.open("wb") as file:
                    write_apart(model, weights, file, data.name)
            partial.write_bytes(model.SerializeToString())
            if weights:  # once nothing else can fail
                os.replace(data, path.with_name(data.name))
            os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
