"""A network opened again, from what its `Source` wrote into a manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, InputFileError
from ..onnxgrad import Limits
from .composition import compose
from .loading import load
from .network import Network
from .source import check_same, digest

Find = Callable[[str, Mapping[str, Any]], np.ndarray]
"""From what an array is, for messages, and its fingerprint to the array."""

_PLAIN = ("preprocess", "background", "input_shape", "output")


def reopened(
    data: Mapping[str, Any],
    arrays: Find,
    *,
    model: Any = None,
    threads: int | None = None,
    limits: Limits | None = None,
    isolate: bool = False,
    beside: Path | None = None,
) -> Network:
    """The network that `Source.to_dict` describes.

    Parameters
    ----------
    data : mapping
    arrays : callable
        Finds the constant values of inputs.
    model : path, bytes, onnx.ModelProto or module, optional
        Instead of the file that is recorded.
    threads : int, optional
        Instead of those recorded.
    limits, isolate
        As of `load`.
    beside : Path, optional
        A folder in which to look for files that are not where they were.

    Raises
    ------
    InputError
        There is no file that it could be opened from, or the class names are others now.
    SobolevflowError
        As `load` and `compose` raise.
    """
    if model is None:
        if data.get("path") is None:
            raise InputError(f"the network was opened from {data.get('kind')}; give it as model= (--model)")
        model = found("the network", data["path"], beside)
    options: dict[str, Any] = {name: data.get(name) for name in _PLAIN}
    options |= {"limits": limits, "isolate": isolate}
    options["threads"] = data.get("threads") if threads is None else threads
    labels = data.get("labels")
    options["labels"] = found("the labels file", labels, beside) if isinstance(labels, Mapping) else labels
    inputs = data.get("inputs") or {}
    options["inputs"] = {name: _value(name, each, arrays) for name, each in inputs.items()} or None
    opened: Callable[..., Network] = load
    if "generator" in data:
        if data["generator"] is None:
            raise InputError(
                "the generator was opened from no file, and cannot be opened again; write it into one, and "
                "run with that"
            )
        generator = found("the generator", data["generator"], beside)
        opened = partial(compose, generator, values=tuple(data["values"]))
    net = opened(model, **options)
    if isinstance(labels, Mapping):
        check_same(f"the class names in {options['labels']}", labels["sha256"], digest(net.labels))
    return net


def found(what: str, place: Mapping[str, Any], beside: Path | None = None) -> str:
    """Where something lies: where it did, else as its path was written, else beside the manifest."""
    given = str(place["given"])
    if given.startswith("builtin:"):
        return given
    tried = [Path(str(place["full"])), Path(given), *([] if beside is None else [beside / Path(given).name])]
    for path in tried:
        if os.path.isfile(path) or (os.path.isdir(path) and what == "the labels file"):
            return str(path)
    raise InputFileError(f"{what} {tried[0]} is not there any more, or is no file")


def _value(name: str, data: Mapping[str, Any], arrays: Find) -> np.ndarray:
    return np.array(data["text"]) if "text" in data else arrays(f"the input {name!r}", data)
