"""What opens a model: a file, bytes or a name, with what its metadata records."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..errors import ModelError
from ..models import METADATA_LABELS, METADATA_PREPROCESS, builtin_or_path
from ..onnxgrad import read_detached
from .constant_inputs import Image
from .labels import read_labels
from .network import Network
from .preprocess import Preprocess


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    preprocess: Preprocess | str | os.PathLike[str] | dict[str, Any] | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    background: int | None = None,
    input_shape: Sequence[int] | None = None,
    inputs: Mapping[str, np.ndarray | Image] | None = None,
    threads: int | None = None,
    output: str | None = None,
) -> Network:
    """Open an ONNX model.

    Parameters
    ----------
    source : path, bytes, onnx.ModelProto or "builtin:NAME"
        The model. "builtin:shapes-vgg" and "builtin:shapes-dense" come with the package.
    preprocess : Preprocess, str, path or dict, optional
        How the network wants its images: "torch", "caffe", "tf", "none", a JSON file, or a
        `Preprocess`. Default: what the file's metadata records, else "none", or a scale of 255 where the
        file declares its image as uint8. Other integers have no default.
    labels : sequence of str, or path, optional
        Class names, one per line in a file. Default: the file's metadata.
    background : {0, 1}, optional
        1 if output 0 is a background class, so that label k is output k + 1. Default: 1
        where the network has exactly one output more than there are labels, else 0.
    input_shape : (H, W) or (C, H, W), optional
        For models that leave their input size open.
    inputs : mapping of str to array or Image, optional
        Constant values for every input other than the image: arrays go in as they are, an `Image` is
        pre-processed.
    threads : int, optional
        Threads that onnxruntime uses inside an operator. Default: all cores.
    output : str, optional
        The output of the file that holds the class scores, which `labels` and `background` belong to.
        Default: the first of floating point numbers that has one score for each class of an image (where
        there are labels and some outputs have as many scores, the first of these).

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        The file cannot be read, is not ONNX, or has no image input.
    InputError
        An argument does not fit the model, or the image is declared as integers other than uint8 and
        nothing says what they mean.
    """
    name = "model"
    source = builtin_or_path(source)
    if isinstance(source, (str, os.PathLike)):
        name = Path(source).stem
    model, weights = read_detached(source)
    return Network(
        model,
        weights=weights,
        name=name,
        preprocess=preprocess if preprocess is not None else _recorded_preprocess(model),
        labels=read_labels(labels) if labels is not None else _recorded_labels(model),
        background=background,
        input_shape=input_shape,
        inputs=inputs,
        threads=threads,
        output=output,
    )


def _metadata(model: onnx.ModelProto, key: str) -> Any:
    for entry in model.metadata_props:
        if entry.key == key:
            try:
                return json.loads(entry.value)
            except ValueError:
                raise ModelError(f"the file's metadata {key!r} is not JSON") from None
    return None


def _recorded_preprocess(model: onnx.ModelProto) -> dict[str, Any] | None:
    recorded: dict[str, Any] | None = _metadata(model, METADATA_PREPROCESS)
    return recorded


def _recorded_labels(model: onnx.ModelProto) -> list[str] | None:
    labels = _metadata(model, METADATA_LABELS)
    return None if labels is None else [str(label) for label in labels]
