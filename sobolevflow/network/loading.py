"""What opens a model: a file, bytes or a name, with what its metadata records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .. import checks
from ..errors import InputError, ModelError
from ..models import METADATA_LABELS, METADATA_PREPROCESS, builtin_or_path, name_of
from ..onnxgrad import Limits, read_detached
from .constant_inputs import Image
from .exporting import exported, is_module
from .isolation import look_apart
from .labels import Labels, LabelSource, labels_beside, read_labels, recorded_names
from .network import Network
from .preprocess import Preprocess, PreprocessSource, preprocess_beside, read_preprocess
from .source import Source, kind_of, options_of, place
from .text_files import parsed_json

_NAMES = ("names", "class_names", "classes", "labels", "id2label", "class_labels")
"""Under which keys other exporters, as that of Ultralytics, keep class names in a file's metadata."""


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto | Any,
    example: Any = None,
    *,
    preprocess: PreprocessSource | None = None,
    labels: LabelSource | None = None,
    background: int | None = None,
    input_shape: Sequence[int] | None = None,
    inputs: Mapping[str, np.ndarray | Image] | None = None,
    threads: int | None = None,
    output: str | None = None,
    limits: Limits | None = None,
    isolate: bool = False,
) -> Network:
    """Open an ONNX model, or a module of PyTorch or Keras.

    Parameters
    ----------
    source : path, bytes, onnx.ModelProto, "builtin:NAME", or module
        The model. "builtin:shapes-vgg" and "builtin:shapes-dense" come with the package. A module in memory
        is exported first, as `export` does; nothing is written.
    example : array, shape (N, C, H, W) or (C, H, W), or size
        With a module alone: an image as it takes it, or the size of one, as of `export`.
    preprocess : Preprocess, str, path or dict, optional
        How the network wants its images: "torch", "caffe", "tf", "none", a `Preprocess`, or its fields in a
        JSON file; the preprocessor_config.json of Hugging Face, the config.json of timm, or a folder that has
        one of these. Default: what the file's metadata records, else "none", or a scale of 255 where the file
        declares its image as uint8. Other integers have no default.
    labels : sequence of str, mapping, or path, optional
        Class names: a list, {0: name} or {name: 0}, or a file of them: text with one a line, numbered, behind
        synsets or a table; JSON, YAML, TOML or a Python literal of a list, of such a mapping, or with one
        under a usual key (id2label, names, thing_classes, class_to_idx); a label map of TensorFlow; or a
        folder that has one. Any UTF with a byte order mark, or UTF-8. A column of pandas gives them by its
        index, where that numbers them. Default: the file's metadata.
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
        Default: of those of floating point numbers with one score for each class of an image the likeliest:
        with as many scores as there are labels, with more than one, behind a softmax or sigmoid, the first.
    limits : Limits, optional
        What it may cost to open and prepare the model, beyond what the network itself needs.
    isolate : bool
        Look at the model in another process first: it is read, checked, its shapes are inferred and it runs
        once there, within limits of memory and time, and this process opens it only if that goes well. It
        takes a second or two and as long again as loading does. What has to stay as it is meanwhile are the
        files: the process protects from what happens whenever this model is opened, not from code of an
        attacker in onnx or onnxruntime, since it may do all that the user may.

    Returns
    -------
    Network
        Threads may share it. Its sessions are closed by ``net.close()``, or at the end of ``with net:``.

    Raises
    ------
    ModelError
        The file cannot be read, is not ONNX, has no image input, or is over a limit; or the module cannot be
        exported; or the process that looked at it died.
    InputError
        An argument does not fit the model, there are neither as many labels as classes nor one fewer, or the
        image is declared as integers other than uint8 and
        nothing says what they mean.
    """
    given, source = source, builtin_or_path(source)
    said = preprocess is not None
    path = checks.path(source, "a model") if isinstance(source, (str, os.PathLike)) else None
    name, source, exporting = _as_model(source, example)
    limits = Limits.of(limits)
    if checks.flag(isolate, "isolate"):
        options = {"preprocess": preprocess, "input_shape": input_shape, "inputs": inputs, "output": output}
        look_apart("load", (source,), limits, {**options, "threads": threads})
    files: list[Path] = []
    model, weights = read_detached(source, files)
    if preprocess is None:
        preprocess = _recorded_preprocess(model)
    wanted, notes = read_preprocess(preprocess)
    net = Network(
        model,
        weights=weights,
        name=name,
        preprocess=None if preprocess is None else wanted,
        background=background,
        input_shape=input_shape,
        inputs=inputs,
        threads=threads,
        output=output,
        limits=limits,
    )
    net.files = tuple(files)
    notes += exporting + _name_classes(net, labels, model)
    if path is not None:
        notes += _notes_on(folder_of(path), net, preprocess is None)
    net.input_notes = [*net.input_notes, *notes]
    options, arrays = options_of(
        labels,
        net.labels,
        net.feeds,
        preprocess=net.preprocess.to_dict() if said else None,
        background=background,
        input_shape=None if input_shape is None else [int(n) for n in input_shape],
        threads=net.threads,
        output=output,
    )
    net.source = Source(place(given), kind_of(given), options, arrays)
    return net


def _as_model(source: Any, example: Any) -> tuple[str, Any, list[str]]:
    """What a source is called, a module as a model, and what is to be known of that."""
    if is_module(source):
        model, notes = exported(source, example)
        return name_of(source), model, notes
    if example is not None:
        raise InputError(
            "an example of the input is for modules of PyTorch and Keras; the size that a file leaves open "
            "is input_shape="
        )
    return Path(source).stem if isinstance(source, (str, os.PathLike)) else "model", source, []


def _name_classes(net: Network, given: LabelSource | None, model: onnx.ModelProto) -> list[str]:
    """Give the classes the names that were given, or are recorded and fit; return what was assumed."""
    if given is None:
        return _take_recorded(net, model)
    labels = read_labels(given).for_classes(net.could_be_named)
    net.name_classes(labels.names)
    if net.could_be_named(labels.names):
        return labels.notes
    return [
        *labels.notes,
        f"the output is no score per class, so that the {len(labels.names)} labels name none, but "
        "those that sf.Detection and sf.Region ask for",
    ]


def _take_recorded(net: Network, model: onnx.ModelProto) -> list[str]:
    for key, names in _recorded_labels(model):
        try:
            net.name_classes(Labels(names).for_classes(net.could_be_named).names)
        except InputError as error:
            return [f"the class names that the file records under {key!r} are left out: {error.full}"]
        break
    return []


def folder_of(path: Path) -> Path:
    """Where the configuration of a file lies: beside it, or above the folder "onnx" of a repository."""
    above = path.parent
    return above.parent if above.name == "onnx" else above


def _notes_on(folder: Path, net: Network, no_preprocessing: bool) -> list[str]:
    """What lies beside a file, and is taken only where it is given."""
    notes = []
    labels = labels_beside(folder, net.could_be_named) if net.labels is None else None
    if labels is not None:
        notes.append(f"{labels} has as many class names; labels={str(labels)!r} (--labels {labels}) reads it")
    beside = preprocess_beside(folder) if no_preprocessing else None
    if beside is not None:
        notes.append(
            f"{beside} has pre-processing; preprocess={str(beside)!r} (--preprocess {beside}) reads it"
        )
    return notes


def _metadata(model: onnx.ModelProto, key: str, kind: type) -> Any:
    """What the package itself has recorded in a file, a list or a mapping; None where it has not."""
    for entry in model.metadata_props:
        if entry.key == key:
            try:
                found = parsed_json(entry.value)
            except ValueError:
                raise ModelError(f"the file's metadata {key!r} is not JSON") from None
            if not isinstance(found, kind):
                raise ModelError(
                    f"the file's metadata {key!r} is {checks.shown(found)}, and not a {kind.__name__}"
                )
            return found
    return None


def _recorded_preprocess(model: onnx.ModelProto) -> dict[str, Any] | None:
    recorded: dict[str, Any] | None = _metadata(model, METADATA_PREPROCESS, dict)
    try:
        Preprocess.of(recorded)
    except (InputError, OverflowError) as error:
        raise ModelError(f"the file's metadata {METADATA_PREPROCESS!r} cannot be used: {error}") from None
    return recorded


def _recorded_labels(model: onnx.ModelProto) -> Iterator[tuple[str, list[str]]]:
    """What a file's metadata has as class names, the package's own first, with its key."""
    labels = _metadata(model, METADATA_LABELS, list)
    if labels is not None:
        yield METADATA_LABELS, [str(label) for label in labels]
    # what is no text in UTF-8 comes as bytes
    entries = {entry.key: entry.value for entry in model.metadata_props if isinstance(entry.value, str)}
    for key in _NAMES:
        names = recorded_names(entries.get(key, ""))
        if names:
            yield key, names
