"""A module of PyTorch or Keras in memory as an ONNX model that needs no further explanation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from .. import checks
from ..arrays import borrow_numbers, to_host
from ..errors import InputError, ModelError
from ..files import check_output, destination
from ..models import OPSET, Converted, convert, described, input_size_of, library_of, name_of
from ..onnxgrad import FILE_LIMIT, detach, opset_of, run, session, session_options, size_of, write_model
from .classes import check_fit, count_of, sizes_of_labels
from .labels import LabelSource, read_labels
from .preprocess import Preprocess, PreprocessSource

_TOLERANCE = {"float16": 2e-2}  # of the largest value, or of one; other types
_USUAL_TOLERANCE = 1e-3
MODELS = (".onnx",)
"""How the name of a model's file ends."""

_SEED = 0  # of the image that a size stands for


def export(
    module: Any,
    example: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    labels: LabelSource | None = None,
    preprocess: PreprocessSource | None = None,
    output: str | int | None = None,
    opset: int = OPSET,
    dynamic_batch: bool = True,
    exporter: str | None = None,
) -> onnx.ModelProto:
    """A module of PyTorch or Keras in memory as an ONNX model, checked against the module itself.

    Parameters
    ----------
    module : torch.nn.Module or keras.Model
        On the CPU, with one input. It is exported in evaluation mode, and left in the mode it was in.
    example : array, shape (N, C, H, W) or (C, H, W), or size
        An image as the module takes it, of NumPy or of the module's library; of Keras with the channels where
        the module has them. Or its size alone, (C, H, W) or, for three channels, (H, W): noise then stands
        for it. May be left out for a network of Keras that states its size.
    path : path, optional
        Also write it there, into a file that ends in .onnx; weights go to ``path + ".data"`` where they
        exceed one gigabyte.
    labels : sequence of str, mapping, or path, optional
        Class names, as of `load`; ``module.config.id2label`` of Hugging Face is such a mapping.
    preprocess : Preprocess, str, path or dict, optional
        What `load` is to do to an image in [0, 1], as of `load`; ``module.pretrained_cfg`` of timm is such a
        dict.
    output : str or int, optional
        Which output, by name or place, where the module returns a mapping or several. Default: the first one
        of floating point numbers.
    opset : int
        Of the model, as far as the library's exporter writes it.
    dynamic_batch : bool
        Whether the number of images is left open. False for modules that take one image alone.
    exporter : {"dynamo", "torchscript"}, optional
        Which of PyTorch's two. Default: "dynamo", by torch.export, where onnxscript is installed and the
        module can be followed; else "torchscript", by tracing.

    Returns
    -------
    onnx.ModelProto
        Input ``image``, weights included, class names and pre-processing in the metadata, so that `load` is
        told nothing more. Tensors of PyTorch's networks bear the names of the modules that compute them:
        ``features.28``, ``layer4.1.bn2``.

    Raises
    ------
    InputError
        `module` is none, is not on the CPU or in bfloat16; the example is missing, or is no image; there
        are neither as many labels as classes nor one fewer.
    ModelError
        The module does not run on the example, the library cannot export it, or what it exports differs from
        the module by more than a thousandth at the example.
    UnknownNameError
        There is no such output.
    RuntimeMissingError
        onnxruntime, or what exports, is not installed.
    OutputError
        `path` cannot be written.

    Examples
    --------
    >>> model = export(network, (3, 224, 224), "net.onnx", preprocess="torch")  # doctest: +SKIP
    """
    if path is not None:
        path = check_output(checks.path(path, "path"), MODELS)
    given = None if labels is None else read_labels(labels)
    known = None if preprocess is None else Preprocess.of(preprocess).to_dict()
    model, notes, count = _exported(
        module, example, output=output, opset=opset, dynamic_batch=dynamic_batch, exporter=exporter
    )
    names = None
    if given is not None:
        fitting = given.for_classes(lambda names: len(names) in sizes_of_labels(count))
        names, notes = fitting.names, [*notes, *fitting.notes]
        check_fit(name_of(module), names, count)
    described(model, names, known, f"{name_of(module)}: {'; '.join(notes)}")
    if path is not None:
        large = sum(map(size_of, model.graph.initializer)) > FILE_LIMIT
        structure, weights = detach(model) if large else (model, {})
        if weights:
            check_output(f"{os.fspath(path)}.data")
        write_model(structure, weights, destination(path))
    return model


def exported(
    module: Any,
    example: Any,
    *,
    output: str | int | None = None,
    opset: int = OPSET,
    dynamic_batch: bool = True,
    exporter: str | None = None,
) -> tuple[onnx.ModelProto, list[str]]:
    """The model without description, and what is to be known of it; arguments and errors as of `export`."""
    model, notes, _ = _exported(
        module, example, output=output, opset=opset, dynamic_batch=dynamic_batch, exporter=exporter
    )
    return model, notes


def _exported(
    module: Any,
    example: Any,
    *,
    output: str | int | None,
    opset: int,
    dynamic_batch: bool,
    exporter: str | None,
) -> tuple[onnx.ModelProto, list[str], int | None]:
    """As `exported`, and of how many classes the model gives the scores, None of another output."""
    if library_of(module) is None:
        raise InputError(
            f"a module of PyTorch or Keras in memory is exported, not {_said(module)}; networks by name are "
            "by 'python -m sobolevflow.models.export'"
        )
    opset = checks.count(opset, "opset", least=7)
    converted = convert(
        module,
        _image(module, example),
        output=output,
        opset=opset,
        dynamic_batch=checks.flag(dynamic_batch, "dynamic_batch"),
        exporter=exporter,
    )
    written = opset_of(converted.model)
    if written != opset:
        raise ModelError(
            f"{name_of(module)}: the exporter writes opset {written}, and not {opset}, for which it was "
            f"asked; load takes {written} as well"
        )
    difference = _difference(converted, name_of(module))
    notes = [
        f"exported from {name_of(module)}; differs from it by at most {difference:.1g} at the example",
        *converted.notes,
    ]
    return converted.model, notes, count_of(converted.examples[0][1].shape)


def is_module(source: Any) -> bool:
    """Whether a thing is a module that `export` takes."""
    return library_of(source) is not None


def _said(module: Any) -> str:
    return repr(module) if isinstance(module, str) else f"a {type(module).__name__}"


def _image(module: Any, example: Any) -> np.ndarray:
    """Images (N, ...) from an example of one or several, or from a size."""
    keras = library_of(module) == "keras"
    if example is None:
        example = input_size_of(module) if keras else None
        if example is None:
            size = "(224, 224, 3)" if keras else "(3, 224, 224)"
            raise InputError(
                f"exporting {name_of(module)} needs an example of its input, or the size of one: "
                f"sf.export(module, {size}), sf.load(module, {size})"
            )
    if isinstance(example, (tuple, list)) and example and all(map(checks.is_integer, example)):
        return _noise([int(d) for d in example], keras)
    try:
        image = to_host(borrow_numbers(example, "an example"))
    except InputError:
        image = np.array(None)
    if image.dtype.kind not in "fiu" or image.ndim not in (3, 4) or not image.size:
        shape = (
            f"of shape {image.shape} and {image.dtype}"
            if image.dtype.kind in "fiu"
            else type(example).__name__
        )
        raise InputError(
            "an example is one array of shape (N, C, H, W) or (C, H, W), or a size (C, H, W) or (H, W), not "
            f"one {shape}; wrap a module of several inputs in one that takes the image"
        )
    return image[None] if image.ndim == 3 else image


def _noise(size: Sequence[int], channels_last: bool) -> np.ndarray:
    """Images of a size, of normal noise."""
    if len(size) == 2:
        size = [*size, 3] if channels_last else [3, *size]
    if len(size) not in (3, 4) or min(size) < 1:
        raise InputError(f"the size of an example is (C, H, W), (H, W) or (N, C, H, W), not {tuple(size)}")
    shape = size if len(size) == 4 else [1, *size]
    return np.random.default_rng(_SEED).standard_normal(shape).astype(np.float32)


def _difference(converted: Converted, name: str) -> float:
    """By how much the model differs from the module at the examples, of the largest value or of one.

    Raises
    ------
    ModelError
        By more than rounding explains; or it does not run, or not for another number of images.
    """
    structure, weights = detach(converted.model)
    try:
        opened = session(structure, session_options(), weights=weights)
    except ModelError as error:
        if not any(image.dtype == np.float64 for image, _ in converted.examples):
            raise
        raise ModelError(
            f"{name} is in double precision, in which onnxruntime has not all operators: pass module.float() "
            f"({error.full})"
        ) from error
    taken = structure.graph.input[0]
    worst = 0.0
    for k, (image, expected) in enumerate(converted.examples):
        remedy = "; sf.export(..., dynamic_batch=False) fixes the batch at one image" if k else ""
        what = f"{name}: what was exported, at an example of {len(image)} image{'s'[: len(image) > 1]},"
        try:
            (found,) = run(opened, None, {taken.name: image})
        except ModelError as error:
            raise ModelError(f"{what} does not run: {error.full}{remedy}") from None
        if found.shape != expected.shape:
            raise ModelError(f"{what} has shape {found.shape}, and the module {expected.shape}{remedy}")
        off = _relative(found.astype(np.float64), expected.astype(np.float64))
        allowed = _TOLERANCE.get(str(expected.dtype), _USUAL_TOLERANCE)
        if not off <= allowed:
            raise ModelError(
                f"{what} differs from the module by {off:.2g}, more than {allowed:g}: it may draw random "
                f"numbers, decide by values, or give NaN or infinity there{remedy}"
            )
        worst = max(worst, off)
    return worst


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, of the largest value or of one; NaN where something is not finite."""
    scale = np.abs(expected).max(initial=1.0)
    return float(np.abs(found - expected).max(initial=0.0) / scale)
