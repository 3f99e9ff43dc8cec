"""A model one can look into: its layers, its labels, its features, its normal form."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .errors import InputError, ModelError, UnknownNameError, did_you_mean
from .models import path as builtin_path
from .onnxgrad import (
    GRADIENT,
    IMAGE,
    RULES,
    VALUE,
    Graph,
    Node,
    TensorType,
    check_operators,
    drop_initializer_inputs,
    normalize,
    read_model,
)
from .onnxgrad.ceil_mode import infer_runtime_shapes
from .onnxgrad.graph import opset_of, reads, tensor_type
from .onnxgrad.runtime import session, session_options
from .preprocess import Preprocess

METADATA_LABELS, METADATA_PREPROCESS = "sobolevflow.labels", "sobolevflow.preprocess"
_BUILTIN = "builtin:"
# How the names of tensors begin that are added to the network; a user's tensor of such a name moves aside.
_RESERVED_PREFIXES = ("image/", "objective/", "grad/")
_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid")
_SHAPE_ONLY = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast")


@dataclass(frozen=True)
class LayerInfo:
    """One tensor that the network computes from the image.

    Attributes
    ----------
    name : str
        The tensor's name in the user's file; the name to give to objectives.
    op : str
        The operator that makes it.
    shape : tuple of int or None
        At batch size 1.
    dtype : str
        NumPy name of its type in the file.
    differentiable : bool
        Whether every operator between the image and this tensor has a gradient rule.
    """

    name: str
    op: str
    shape: tuple[int, ...] | None
    dtype: str
    differentiable: bool


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    preprocess: Preprocess | str | os.PathLike[str] | dict[str, Any] | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    background: int | None = None,
    input_shape: Sequence[int] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    threads: int | None = None,
) -> Network:
    """Open an ONNX model.

    Parameters
    ----------
    source : path, bytes, onnx.ModelProto or "builtin:NAME"
        The model. "builtin:shapes-vgg" and "builtin:shapes-dense" come with the package.
    preprocess : Preprocess, str, path or dict, optional
        How the network wants its images: "torch", "caffe", "tf", "none", a JSON file, or a
        `Preprocess`. Default: what the file's metadata records, else "none".
    labels : sequence of str, or path, optional
        Class names, one per line in a file. Default: the file's metadata.
    background : {0, 1}, optional
        1 if output 0 is a background class, so that label k is output k + 1. Default: 1
        where the network has exactly one output more than there are labels, else 0.
    input_shape : (H, W) or (C, H, W), optional
        For models that leave their input size open.
    inputs : mapping of str to array, optional
        Constant values for every input other than the image.
    threads : int, optional
        Threads that onnxruntime uses inside an operator. Default: all cores.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        The file cannot be read, is not ONNX, or has no image input.
    InputError
        An argument does not fit the model.
    """
    name = "model"
    if isinstance(source, str) and source.startswith(_BUILTIN):
        source = builtin_path(source.removeprefix(_BUILTIN))
    if isinstance(source, (str, os.PathLike)):
        name = Path(source).stem
    model = read_model(source)
    return Network(
        model,
        name=name,
        preprocess=preprocess if preprocess is not None else _recorded_preprocess(model),
        labels=_read_labels(labels) if labels is not None else _recorded_labels(model),
        background=background,
        input_shape=input_shape,
        inputs=inputs,
        threads=threads,
    )


class Network:
    """An ONNX model with everything needed to visualize it; made by `load`."""

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        name: str = "model",
        preprocess: Preprocess | str | os.PathLike[str] | dict[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        background: int | None = None,
        input_shape: Sequence[int] | None = None,
        inputs: Mapping[str, np.ndarray] | None = None,
        threads: int | None = None,
    ) -> None:
        self.name = name
        self.sha256 = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        self.model = drop_initializer_inputs(model)
        try:
            check_operators(self.model)
        except ModelError as error:
            raise ModelError(f"{name}: {error}") from None
        self.opset = opset_of(self.model)
        self.preprocess_given = preprocess is not None
        self.preprocess = Preprocess.of(preprocess)
        self.labels = list(labels) if labels is not None else None
        self.threads = threads
        self.feeds = dict(inputs or {})
        self.sessions: dict[Any, Any] = {}  # onnxruntime sessions by what they compute
        self._check_other_inputs()
        self.input_name, dims = self._find_image_input()
        self.channels_last = self._is_channels_last(dims)
        self.input_shape = self._resolve_input_shape(dims, input_shape)
        # a batch size written into the file is often repeated inside it (Reshape): such files run one by one
        self.batch_is_free = dims[0] is None
        self.preprocess.matrix_and_bias(self.input_shape[0])  # fails early where the channels do not match
        self.background = background
        if background not in (None, 0, 1):
            raise InputError(f"background must be 0 or 1, not {background!r}")

    def __repr__(self) -> str:
        c, h, w = self.input_shape
        return f"Network({self.name!r}, input {c}x{h}x{w}, opset {self.opset}, {len(self.layers)} layers)"

    # -- input

    def _find_image_input(self) -> tuple[str, list[int | None]]:
        candidates = []
        for info in self.model.graph.input:
            dims = [
                d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
                for d in info.type.tensor_type.shape.dim
            ]
            if len(dims) == 4 and info.name not in self.feeds:
                candidates.append((info.name, dims))
        if not candidates:
            shapes = ", ".join(f"{i.name!r}" for i in self.model.graph.input) or "none"
            raise ModelError(
                f"{self.name}: no image input (4 axes: batch, channels, height, width) among: {shapes}"
            )
        return candidates[0]

    def _check_other_inputs(self) -> None:
        known = [info.name for info in self.model.graph.input]
        for name in self.feeds:
            if name not in known:
                raise UnknownNameError(f"{self.name}: no input {name!r}.{did_you_mean(name, known)}")

    def _is_channels_last(self, dims: list[int | None]) -> bool:
        if self.preprocess.layout != "auto":
            return self.preprocess.layout == "nhwc"
        few = (1, 3, 4)
        return dims[1] not in few and dims[3] in few

    def _resolve_input_shape(
        self, dims: list[int | None], given: Sequence[int] | None
    ) -> tuple[int, int, int]:
        in_file = [dims[3], dims[1], dims[2]] if self.channels_last else dims[1:]
        asked: list[int | None] = list(given or [])
        if given is not None and (len(asked) not in (2, 3) or any(int(d or 0) < 1 for d in asked)):
            raise InputError(f"input_shape must be (H, W) or (C, H, W), all positive, not {tuple(given)}")
        if len(asked) == 2:
            asked.insert(0, None)
        shape = []
        for axis, fixed, wanted in zip(
            ("channels", "height", "width"), in_file, asked or [None] * 3, strict=True
        ):
            if fixed is not None and wanted is not None and fixed != wanted:
                raise InputError(f"{self.name}: its input has a fixed {axis} of {fixed}, not {wanted}")
            size = fixed or wanted
            if size is None:
                raise InputError(
                    f"{self.name}: its input leaves the {axis} open; give a size, "
                    "e.g. input_shape=(224, 224) or --input-shape 224x224"
                )
            shape.append(int(size))
        return (shape[0], shape[1], shape[2])

    def model_input_shape(self, batch: int) -> tuple[int, ...]:
        """Shape of the model's own input tensor, in its own layout."""
        c, h, w = self.input_shape
        return (batch, h, w, c) if self.channels_last else (batch, c, h, w)

    # -- layers

    @cached_property
    def layers(self) -> list[LayerInfo]:
        """Every tensor computed from the image, in the file's order."""
        types = self._types()
        infos = []
        # what depends on the image, what carries a gradient to it, and what would but meets no rule
        reached, carries = {self.input_name}, {self.input_name}
        blocked: set[str] = set()
        for node in self.model.graph.node:
            inputs = set(reads(node))
            if not inputs & reached:
                continue
            has_rule = node.op_type in RULES.entries or node.op_type in _LEGACY_WITH_RULE
            flows = bool(inputs & carries) and node.op_type not in RULES.stops
            for name in filter(None, node.output):
                kind = types.get(name)
                reached.add(name)
                if flows and (kind is None or kind.is_float):
                    carries.add(name)
                    if not has_rule or inputs & blocked:
                        blocked.add(name)
                infos.append(
                    LayerInfo(
                        name,
                        node.op_type,
                        kind.shape if kind else None,
                        str(kind.dtype) if kind else "?",
                        name in carries and name not in blocked,
                    )
                )
        return infos

    def _types(self) -> dict[str, TensorType]:
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for info in model.graph.input:
            if info.name == self.input_name:
                elem = info.type.tensor_type.elem_type
                info.CopyFrom(helper.make_tensor_value_info(info.name, elem, self.model_input_shape(1)))
        del model.graph.value_info[:]
        for output in model.graph.output:
            if output.type.tensor_type.HasField("shape"):
                output.type.tensor_type.ClearField("shape")
        inferred = infer_runtime_shapes(model)
        known = {
            i.name: t
            for i in (*inferred.graph.value_info, *inferred.graph.output)
            if (t := tensor_type(i)) is not None
        }
        return known if self._all_typed(known) else {**known, **self._probed_types(model, known)}

    def _all_typed(self, known: Mapping[str, TensorType]) -> bool:
        return all(name in known for node in self.model.graph.node for name in node.output if name)

    def _probed_types(self, model: onnx.ModelProto, known: Mapping[str, TensorType]) -> dict[str, TensorType]:
        """Types that inference leaves open, seen by running the network once on grey."""
        names = [n for node in model.graph.node for n in node.output if n and n not in known]
        outputs = {info.name for info in model.graph.output}
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in outputs)
        model.ir_version = max(model.ir_version, 4)
        try:
            values = session(model, session_options(self.threads)).run(names, self._grey_feeds(model))
        except Exception:  # a network that does not run is reported where it is used, not where it is listed
            return {}
        return {n: TensorType(v.shape, v.dtype) for n, v in zip(names, values, strict=True) if v is not None}

    def _grey_feeds(self, model: onnx.ModelProto) -> dict[str, np.ndarray]:
        feeds = dict(self.feeds)
        for info in model.graph.input:
            if info.name == self.input_name:
                dtype = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
                feeds[info.name] = np.zeros(self.model_input_shape(1), dtype)
        return feeds

    def layer(self, name: str) -> LayerInfo:
        """The layer of that name.

        Raises
        ------
        UnknownNameError
            There is none; lists near matches.
        """
        for info in self.layers:
            if info.name == name:
                return info
        known = [info.name for info in self.layers]
        raise UnknownNameError(
            f"{self.name}: no layer {name!r}.{did_you_mean(name, known)} "
            "List the layers with net.layers or 'sobolevflow inspect'"
        )

    # -- classes

    @cached_property
    def score_layer(self) -> str:
        """The tensor of class scores: the first output, without a trailing softmax or sigmoid."""
        name = str(self.model.graph.output[0].name)
        makers = {y: node for node in self.model.graph.node for y in node.output}
        cursor = name
        while (node := makers.get(cursor)) is not None and node.op_type in (*_SHAPE_ONLY, *_SQUASHING):
            cursor = str(node.input[0])
            if node.op_type in _SQUASHING:
                return cursor
        return name

    @property
    def stripped(self) -> str | None:
        """The operator that was stripped to reach `score_layer`, or None."""
        makers = {y: node for node in self.model.graph.node for y in node.output}
        cursor = self.model.graph.output[0].name
        while cursor != self.score_layer:
            node = makers[cursor]
            cursor = node.input[0]
            if cursor == self.score_layer:
                return str(node.op_type)
        return None

    @cached_property
    def classes(self) -> int:
        """Number of class scores.

        Raises
        ------
        ModelError
            The output is not one score per class.
        """
        shape = self.layer(self.score_layer).shape
        if shape is None:
            raise ModelError(f"{self.name}: the shape of its output {self.score_layer!r} is not known")
        wide = [d for d in shape[1:] if d > 1]
        if len(wide) > 1 or (shape and shape[0] != 1):
            raise ModelError(
                f"{self.name}: its output {self.score_layer!r} of shape {shape} is not one score per class; "
                "ask for a channel, neuron or layer instead"
            )
        return wide[0] if wide else 1

    @property
    def offset(self) -> int:
        """Output index of class 0: 1 where output 0 is a background class."""
        if self.background is not None:
            return self.background
        return int(self.labels is not None and self.classes == len(self.labels) + 1)

    def class_index(self, which: str | int) -> int:
        """Output index of a class, given by name or by index (the background offset is added).

        A name matches a whole label or one of its comma-separated synonyms, in any case.

        Raises
        ------
        UnknownNameError
            No label matches (near matches are listed), or more than one does.
        InputError
            The index is out of range, or a name was given and the network has no labels.
        """
        if isinstance(which, str):
            return self._index_of_name(which) + self.offset
        index = int(which) + self.offset
        if not 0 <= index < self.classes:
            raise InputError(
                f"{self.name}: class {which} is out of range; there are {self.classes - self.offset} "
                f"classes, 0 to {self.classes - self.offset - 1}"
            )
        return index

    def _index_of_name(self, name: str) -> int:
        if self.labels is None:
            raise InputError(
                f"{self.name}: class {name!r} cannot be found without labels; "
                "pass labels= (--labels FILE) or an index"
            )
        wanted = name.strip().casefold()
        matches = [k for k, label in enumerate(self.labels) if wanted in _names(label)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            found = ", ".join(f"{k} ({self.labels[k]})" for k in matches)
            raise UnknownNameError(f"class {name!r} is ambiguous: {found}; give the index")
        synonyms = [part for label in self.labels for part in _synonyms(label)]
        raise UnknownNameError(f"{self.name}: no class {name!r}.{did_you_mean(name, synonyms)}")

    def class_name(self, index: int) -> str:
        """Label of an output index, or the index as text."""
        k = index - self.offset
        if self.labels is not None and 0 <= k < len(self.labels):
            return self.labels[k]
        return "background" if k < 0 else str(k)

    # -- running

    def graph(
        self, layers: Sequence[str], batch: int, reserved: Iterable[str] = ()
    ) -> tuple[Graph, dict[str, str]]:
        """The normal form from the image to `layers`, pre-processing included.

        Parameters
        ----------
        layers : sequence of str
        batch : int
        reserved : iterable of str
            Names that the caller will give a meaning of its own; a tensor of the network
            that bears one of them, or "image", "value" or "gradient", moves aside.

        Returns
        -------
        graph : Graph
            With input "image" (batch, C, H, W). A fresh copy at each call.
        names : dict
            From the user's layer names to tensor names in the graph.
        """
        graph = normalize(
            self.model,
            input_shapes={self.input_name: self.model_input_shape(batch)},
            keep=list(dict.fromkeys(layers)),
            feeds=self.feeds,
        )
        public, names = {IMAGE, VALUE, GRADIENT, *reserved}, _all_names(graph)
        taken = sorted(name for name in names if name in public or name.startswith(_RESERVED_PREFIXES))
        moved = {name: _moved(name, names) for name in taken}
        graph.rename(moved)
        self._prepend_preprocessing(graph, moved.get(self.input_name, self.input_name), batch)
        return graph, {layer: moved.get(layer, layer) for layer in layers}

    def _prepend_preprocessing(self, graph: Graph, target: str, batch: int) -> None:
        channels = self.input_shape[0]
        kind = graph.inputs.pop(target, TensorType(self.model_input_shape(batch), np.dtype(np.float32)))
        graph.types[target] = kind
        image = TensorType((batch, *self.input_shape), np.dtype(np.float32))
        graph.inputs[IMAGE] = image
        nodes, cursor = [], IMAGE
        if not self.preprocess.is_identity:
            matrix, bias = self.preprocess.matrix_and_bias(channels)
            graph.constants["image/weight"] = matrix.astype(np.float32).reshape(channels, channels, 1, 1)
            graph.constants["image/bias"] = bias.astype(np.float32)
            nodes.append(
                Node(
                    "Conv",
                    [cursor, "image/weight", "image/bias"],
                    ["image/preprocessed"],
                    {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4},
                )
            )
            cursor = "image/preprocessed"
            graph.types[cursor] = image
        if self.channels_last:
            nodes.append(Node("Transpose", [cursor], ["image/transposed"], {"perm": [0, 2, 3, 1]}))
            cursor = "image/transposed"
            graph.types[cursor] = TensorType(kind.shape, image.dtype)
        cast = {"to": helper.np_dtype_to_tensor_dtype(kind.dtype)}
        nodes.append(
            Node("Identity", [cursor], [target])
            if kind.dtype == image.dtype
            else Node("Cast", [cursor], [target], cast)
        )
        graph.nodes[:0] = nodes

    def run_batch(self, batch: int) -> int:
        """How many of `batch` images may go through the network at once: all, or one."""
        return batch if self.batch_is_free else 1

    def features(self, image: np.ndarray, layers: Sequence[str]) -> list[np.ndarray]:
        """Values of `layers` at `image`.

        Parameters
        ----------
        image : ndarray, shape (N, C, H, W) or (C, H, W)
            Float, in [0, 1].
        layers : sequence of str

        Returns
        -------
        list of ndarray
            float32, one per layer, with N first.
        """
        u = self.check_image(image)
        for name in layers:
            self.layer(name)
        step = self.run_batch(len(u))
        names, run = self._forward(tuple(layers), step)
        chunks = [run.run(names, {IMAGE: u[k : k + step]}) for k in range(0, len(u), step)]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _forward(self, layers: tuple[str, ...], batch: int) -> tuple[list[str], Any]:
        key = ("forward", layers, batch)
        if key not in self.sessions:
            graph, names = self.graph(layers, batch)
            graph.outputs = list(dict.fromkeys(names.values()))
            self.sessions[key] = (
                [names[layer] for layer in layers],
                session(graph.to_model(), session_options(self.threads)),
            )
        names_and_session: tuple[list[str], Any] = self.sessions[key]
        return names_and_session

    def scores(self, image: np.ndarray) -> np.ndarray:
        """Class scores before softmax, shape (N, classes), float32."""
        (values,) = self.features(image, [self.score_layer])
        return values.reshape(len(values), self.classes)

    def top(self, image: np.ndarray, k: int = 1) -> np.ndarray:
        """Output indices of the `k` largest scores, best first, shape (N, k)."""
        return np.argsort(-self.scores(image), axis=1, kind="stable")[:, :k]

    def check_image(self, image: np.ndarray) -> np.ndarray:
        """`image` as contiguous float32 (N, C, H, W) that fits this network.

        Raises
        ------
        InputError
            Wrong rank, channels or size; not floating point; not finite.
        """
        u = np.asarray(image)
        if not np.issubdtype(u.dtype, np.floating):
            raise InputError(f"an image must be floating point in [0, 1], not {u.dtype}; divide by 255")
        if u.ndim == 3:
            u = u[None]
        if u.ndim != 4 or not len(u):
            raise InputError(f"an image must have shape (N, C, H, W) or (C, H, W), not {np.shape(image)}")
        c, h, w = self.input_shape
        if u.shape[1] != c:
            raise InputError(f"the image has {u.shape[1]} channels, but {self.name} takes {c}")
        if u.shape[2:] != (h, w):
            raise InputError(
                f"the image is {u.shape[2]}x{u.shape[3]}, but {self.name} takes {h}x{w} (height x width)"
            )
        u = np.ascontiguousarray(u, np.float32)
        if not np.isfinite(u).all():
            raise InputError("the image holds NaN or infinite values")
        return u

    # -- advice

    def notes(self) -> list[str]:
        """What was assumed or changed on the way in, for the user to know."""
        notes = []
        if not self.preprocess_given:
            notes.append(
                "no pre-processing is recorded or given; the network gets the image in [0, 1] as it is"
            )
        if self.stripped is not None:
            notes.append(
                f"the trailing {self.stripped} is left out; class scores are those of {self.score_layer!r}"
            )
        if (
            self.background is None
            and self.labels is not None
            and self._classes_or_none() == len(self.labels) + 1
        ):
            notes.append("there is one output more than labels; output 0 is taken for a background class")
        return notes

    def _classes_or_none(self) -> int | None:
        try:
            return self.classes
        except ModelError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """What identifies the network, JSON-able."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "opset": self.opset,
            "input": list(self.input_shape),
            "layout": "nhwc" if self.channels_last else "nchw",
            "preprocess": self.preprocess.to_dict(),
            "classes": self._classes_or_none(),
            "scores": self.score_layer,
            "labels": self.labels,
        }

    def pre_activation(self, layer: str) -> str | None:
        """The input of the last rectifier before `layer`, seen through pools and reshapes, or None."""
        makers = {y: node for node in self.model.graph.node for y in node.output}
        cursor = layer
        while (node := makers.get(cursor)) is not None:
            if node.op_type in ("Relu", "Clip", "LeakyRelu"):
                return str(node.input[0])
            if node.op_type not in (
                *_SHAPE_ONLY,
                "GlobalAveragePool",
                "AveragePool",
                "MaxPool",
                "ReduceMean",
            ):
                return None
            cursor = node.input[0]
        return None

    def preactivation_hint(self, objective: Any) -> str | None:
        """A sentence that says which pre-activation to ask for when `objective` is dead, or None."""
        for leaf in objective.leaves():
            before = self.pre_activation(leaf.tensor(self))
            if before is not None:
                python, flag = leaf.spelled_at(before, self)
                return (
                    f"{leaf.tensor(self)!r} lies behind a rectifier that is closed here; "
                    f"ask for its pre-activation: {python} ({flag})"
                )
        return None

    def first_non_finite(self, image: np.ndarray) -> str | None:
        """The first layer whose value at `image` is not finite, or None."""
        layers = [info.name for info in self.layers if info.differentiable]
        try:
            values = self.features(image, layers)
        except ModelError:
            return None
        bad: Iterable[str] = (n for n, v in zip(layers, values, strict=True) if not np.isfinite(v).all())
        return next(iter(bad), None)


# Rewritten into operators with a rule before the rules see them.
_LEGACY_WITH_RULE = (
    *("Upsample", "ImageScaler", "Affine", "Crop"),
    *("Gelu", "Swish", "GroupNormalization", "RMSNormalization", "CastLike"),
)


def _all_names(graph: Graph) -> set[str]:
    names = {*graph.inputs, *graph.constants, *graph.types}
    for node in graph.nodes:
        names.update(node.inputs, node.outputs)
    return names


def _moved(name: str, taken: set[str]) -> str:
    """Another name for a tensor, not in use; it joins `taken`."""
    other = f"model/{name}"
    while other in taken:
        other = f"model/{other}"
    taken.add(other)
    return other


def _synonyms(label: str) -> list[str]:
    return [part.strip() for part in label.split(",")]


def _names(label: str) -> set[str]:
    return {label.strip().casefold(), *(part.casefold() for part in _synonyms(label))}


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


def _read_labels(labels: Sequence[str] | str | os.PathLike[str]) -> list[str]:
    if not isinstance(labels, (str, os.PathLike)):
        return [str(label) for label in labels]
    path = Path(labels)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"labels file {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"labels file {path}: not a text file in UTF-8") from None
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise InputError(f"labels file {path}: is empty")
    return names


__all__ = ["LayerInfo", "Network", "load"]
