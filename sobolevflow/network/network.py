"""A model one can look into: its layers, its labels, its features, its normal form."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..arrays import is_cupy_array, namespace, to_host
from ..devices import Precision
from ..errors import GradientError, InputError, ModelError, UnknownNameError, UnsupportedOpError, did_you_mean
from ..models import builtin_or_path
from ..models.onnx_file import METADATA_LABELS, METADATA_PREPROCESS
from ..onnxgrad import (
    GRADIENT,
    IMAGE,
    VALUE,
    Graph,
    TensorType,
    Weights,
    check_operators,
    detach,
    drop_initializer_inputs,
    graph_session,
    node_label,
    normalize,
    operator_of,
    opset_of,
    read_detached,
    run,
    session_options,
)
from .image_input import find_image_input, prepend_preprocessing, take_real_numbers
from .labels import find_label, read_labels
from .layers import LayerInfo, blocking_node, layer_types, list_layers
from .preprocess import Preprocess

_IMAGENET = 1000  # classes; networks with one output more are common, and the extra one is a background class

# How the names of tensors begin that are added to the network; a user's tensor of such a name moves aside.
_RESERVED_PREFIXES = ("image/", "objective/", "grad/")

_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid")

_RECTIFYING = ("Relu", "Clip", "LeakyRelu")

_POOLING = ("GlobalAveragePool", "AveragePool", "MaxPool", "ReduceMean")

_SHAPE_ONLY = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast")


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
        weights: Weights | None = None,
    ) -> None:
        self.name = name
        structure, self.weights = detach(model) if weights is None else (model, weights)
        self.model = drop_initializer_inputs(structure)
        self.opset = opset_of(self.model)
        self.preprocess_given = preprocess is not None
        self.preprocess = Preprocess.of(preprocess)
        self.labels = list(labels) if labels is not None else None
        self.threads = threads
        self.feeds = dict(inputs or {})
        self._batchable: dict[frozenset[str], bool] = {}
        self.sessions: dict[Any, Any] = {}  # onnxruntime sessions by what they compute
        self._more_notes: list[str] = []
        self._check_other_inputs()
        try:
            check_operators(self.model)
            self.image_input = find_image_input(self.model, self.feeds, self.preprocess.layout, input_shape)
        except (ModelError, InputError) as error:
            raise type(error)(f"{name}: {error}") from None
        take_real_numbers(self.model, self.input_name)
        self.preprocess.matrix_and_bias(self.input_shape[0])  # fails early where the channels do not match
        self.latent = False  # whether its image is the code of a generator (`compose`)
        self.background = background
        if background not in (None, 0, 1):
            raise InputError(f"background must be 0 or 1, not {background!r}")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads must be a positive integer, not {threads!r}")

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which opens sessions of its own."""
        return {**vars(self), "sessions": {}}

    def __repr__(self) -> str:
        c, h, w = self.input_shape
        return f"Network({self.name!r}, input {c}x{h}x{w}, opset {self.opset}, {len(self.layers)} layers)"

    @cached_property
    def sha256(self) -> str:
        """What identifies the content of the file: its structure and its weights."""
        digest = hashlib.sha256(self.model.SerializeToString(deterministic=True))
        for name, value in sorted(self.weights.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    # -- input

    def _check_other_inputs(self) -> None:
        known = [info.name for info in self.model.graph.input]
        for name in self.feeds:
            if name not in known:
                raise UnknownNameError(f"{self.name}: no input {name!r}.{did_you_mean(name, known)}")
            if np.asarray(self.feeds[name]).dtype.kind not in "biuf":
                raise InputError(f"{self.name}: input {name!r} takes an array of numbers")

    @property
    def input_name(self) -> str:
        """Name of the image input in the file."""
        return self.image_input.name

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return self.image_input.shape

    @property
    def channels_last(self) -> bool:
        """Whether the file takes its images as (N, H, W, C)."""
        return self.image_input.channels_last

    # -- layers

    @cached_property
    def _types(self) -> tuple[dict[str, TensorType], ModelError | None]:
        return layer_types(
            self.model, self.input_name, self.image_input.tensor_shape(1), self.feeds, self.weights
        )

    @cached_property
    def layers(self) -> list[LayerInfo]:
        """Every tensor computed from the image, in the file's order."""
        return list_layers(self.model, self.input_name, self._types[0])

    def layer_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a layer at batch size 1.

        Raises
        ------
        UnknownNameError
            There is no such layer.
        UnsupportedOpError
            An operator between the image and the layer has no gradient rule.
        ModelError
            The network does not run at its input size; gives onnxruntime's reason.
        """
        info = self.layer(name)
        self.check_differentiable(name)
        if info.shape is not None:
            return info.shape
        c, h, w = self.input_shape
        raise ModelError(f"{self.name}: does not run on an image of {c}x{h}x{w}: {self._types[1]}")

    def check_differentiable(self, name: str) -> None:
        """Refuse a layer that no gradient reaches for want of a rule.

        Raises
        ------
        UnsupportedOpError
            Names the operator, its node, the opset, and layers with a gradient.
        """
        if self.layer(name).differentiable:
            return
        node = blocking_node(self.model, self.input_name, name, self._types[0])
        if node is not None:
            raise self.unsupported(
                f"no gradient rule for operator {operator_of(node)} (node {node_label(node)})"
            )
        dtype = self.layer(name).dtype
        if dtype != "?" and "float" not in dtype:
            raise self.unsupported(f"layer {name!r} holds numbers of type {dtype}, which have no gradient")

    def unsupported(self, what: str) -> UnsupportedOpError:
        """The error that says what has no gradient in this network, and which layers have one."""
        return UnsupportedOpError(f"{self.name} (opset {self.opset}): {what}. {self._advice()}")

    def unreached(self, what: str) -> GradientError:
        """The error that says why no gradient reaches the image, and which layers have one."""
        return GradientError(f"{self.name}: {what}. {self._advice()}")

    def _advice(self) -> str:
        usable = [info for info in self.layers if info.differentiable and info.shape and len(info.shape) == 4]
        if not usable:
            return "No layer of four axes has a gradient"
        last = [info.name for info in usable[-3:]][::-1]
        return (
            f"Choose a layer with a gradient, e.g. sf.Channel({last[0]!r}, 0) or --channel {last[0]}:0 "
            f"(the last layers with a gradient: {', '.join(last)})"
        )

    def layer(self, name: str) -> LayerInfo:
        """The layer of that name.

        Raises
        ------
        UnknownNameError
            There is none; lists near matches.
        """
        if not isinstance(name, str):
            raise InputError(f"a layer is given by its name, not by {name!r}")
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
    def _makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {y: node for node in self.model.graph.node for y in node.output}

    @cached_property
    def _squashing(self) -> onnx.NodeProto | None:
        """The softmax or sigmoid at the end of the network, seen through reshapes, or None."""
        node = self._makers.get(self.model.graph.output[0].name)
        while node is not None and node.op_type in _SHAPE_ONLY:
            node = self._makers.get(node.input[0])
        return node if node is not None and node.op_type in _SQUASHING else None

    @property
    def score_layer(self) -> str:
        """The tensor of class scores: the first output, without a trailing softmax or sigmoid."""
        squashing = self._squashing
        return str(self.model.graph.output[0].name if squashing is None else squashing.input[0])

    @property
    def stripped(self) -> str | None:
        """The operator that was stripped to reach `score_layer`, or None."""
        return None if self._squashing is None else str(self._squashing.op_type)

    @cached_property
    def classes(self) -> int:
        """Number of class scores.

        Raises
        ------
        ModelError
            The output is not one score per class.
        """
        shape = self.layer_shape(self.score_layer)
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
        if isinstance(which, bool) or not isinstance(which, (int, np.integer)):
            raise InputError(f"a class is a name or an integer, not {which!r}")
        count = self.classes - self.offset
        if not 0 <= which < count:
            raise InputError(
                f"{self.name}: class {which} is out of range; there are {count} classes, 0 to {count - 1}"
            )
        return int(which) + self.offset

    def _index_of_name(self, name: str) -> int:
        if self.labels is None:
            raise InputError(
                f"{self.name}: class {name!r} cannot be found without labels; "
                "pass labels= (--labels FILE) or an index"
            )
        if len(self.labels) + self.offset != self.classes:
            raise InputError(
                f"{self.name}: {len(self.labels)} labels do not fit {self.classes} classes"
                + (" and a background" if self.offset else "")
            )
        try:
            return find_label(name, self.labels)
        except UnknownNameError as error:
            raise UnknownNameError(f"{self.name}: {error}") from None

    def class_name(self, index: int) -> str:
        """Label of an output index, or the index as text."""
        k = index - self.offset
        if self.labels is not None and 0 <= k < len(self.labels):
            return self.labels[k]
        return "background" if k < 0 else str(k)

    # -- running

    def graph(
        self,
        layers: Sequence[str],
        batch: int,
        reserved: Iterable[str] = (),
        dtype: Any = np.float32,
        precision: Precision = "float32",
    ) -> tuple[Graph, dict[str, str]]:
        """The normal form from the image to `layers`, pre-processing included.

        Parameters
        ----------
        layers : sequence of str
        batch : int
        reserved : iterable of str
            Names that the caller will give a meaning of its own; a tensor of the network
            that bears one of them, or "image", "value" or "gradient", moves aside.
        dtype : dtype
            float64 for checks in double precision; see `normalize`.
        precision : {"float32", "float16"}
            Of the network itself, between the pre-processed image and the layers, which stay float32.

        Returns
        -------
        graph : Graph
            With input "image" (batch, C, H, W). A fresh copy at each call.
        names : dict
            From the user's layer names to tensor names in the graph.
        """
        graph = normalize(
            self.model,
            input_shapes={self.input_name: self.image_input.tensor_shape(batch)},
            keep=list(dict.fromkeys(layers)),
            feeds=self.feeds,
            weights=self.weights,
            dtype=dtype,
        )
        if precision != "float32":
            graph = graph.astype(np.dtype(precision))
        public, names = {IMAGE, VALUE, GRADIENT, *reserved}, _all_names(graph)
        taken = sorted(name for name in names if name in public or name.startswith(_RESERVED_PREFIXES))
        moved = {name: _moved(name, names) for name in taken}
        graph.rename(moved)
        target = moved.get(self.input_name, self.input_name)
        prepend_preprocessing(graph, target, self.image_input, self.preprocess, batch)
        if dtype != np.float32:
            return graph.astype(dtype), {layer: moved.get(layer, layer) for layer in layers}
        return graph, {layer: _in_single_precision(graph, moved.get(layer, layer)) for layer in layers}

    def run_batch(self, batch: int, layers: Sequence[str]) -> int:
        """How many of `batch` images may go to `layers` at once: all, or one.

        A file whose batch size is fixed at one often repeats the one inside (Reshape), and so may
        a file that claims an open one. Only where all shapes grow with the batch do images stay apart.
        """
        if batch == 1 or not self.image_input.batch_is_open:
            return 1
        key = frozenset(layers)
        if key not in self._batchable:
            self._batchable[key] = self._grows_with_batch(layers)
        return batch if self._batchable[key] else 1

    def _grows_with_batch(self, layers: Sequence[str]) -> bool:
        """Whether two images make every tensor on the way twice as long as one image does."""
        try:
            one, two = (self.graph(layers, batch)[0] for batch in (1, 2))
        except ModelError:
            return False
        names = [y for node in one.nodes for y in node.outputs if y]
        if names != [y for node in two.nodes for y in node.outputs if y]:
            return False
        pairs = [(one.shape(y), two.shape(y)) for y in names]
        return all(len(a) > 0 and b == (2 * a[0], *a[1:]) for a, b in pairs)

    def features(self, image: np.ndarray, layers: Sequence[str]) -> list[np.ndarray]:
        """Values of `layers` at `image`.

        Parameters
        ----------
        image : array, shape (N, C, H, W) or (C, H, W)
            Float, in [0, 1]; of NumPy, or of CuPy, which is copied to the host, where this is computed.
        layers : sequence of str

        Returns
        -------
        list of ndarray
            float32, one per layer, with N first.
        """
        u = to_host(self.check_image(image))
        for name in layers:
            self.layer(name)
        step = self.run_batch(len(u), layers)
        names, forward = self._forward(tuple(layers), step)
        chunks = [run(forward, names, {IMAGE: u[k : k + step]}) for k in range(0, len(u), step)]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _forward(self, layers: tuple[str, ...], batch: int) -> tuple[list[str], Any]:
        key = ("forward", layers, batch)
        if key not in self.sessions:
            graph, names = self.graph(layers, batch)
            graph.outputs = list(dict.fromkeys(names.values()))
            self.sessions[key] = (
                [names[layer] for layer in layers],
                graph_session(graph, session_options(self.threads)),
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
        """`image`, an array of NumPy or CuPy, as contiguous float32 (N, C, H, W) that fits this network.

        Raises
        ------
        InputError
            Wrong rank, channels or size; not floating point; not finite, where it lies on the host.
        """
        u: np.ndarray = image if is_cupy_array(image) else np.asarray(image)
        xp, (c, h, w) = namespace(u), self.input_shape
        if not np.issubdtype(u.dtype, np.floating):
            raise InputError(
                f"an image is an array of floating point numbers in [0, 1], not {_described(image)}; "
                f"divide by 255, or let sf.read_image(path, size=({h}, {w}), channels={c}) read it"
            )
        if u.ndim == 3:
            u = u[None]
        if u.ndim != 4 or not len(u):
            raise InputError(f"an image must have shape (N, C, H, W) or (C, H, W), not {np.shape(image)}")
        if u.shape[1] != c:
            raise InputError(f"the image has {u.shape[1]} channels, but {self.name} takes {c}")
        if u.shape[2:] != (h, w):
            raise InputError(
                f"the image is {u.shape[2]}x{u.shape[3]}, but {self.name} takes {h}x{w} (height x width)"
            )
        u = xp.ascontiguousarray(u, np.float32)
        if xp is np and not np.isfinite(u).all():
            raise InputError("the image holds NaN or infinite values")
        return u

    # -- advice

    def notes(self) -> list[str]:
        """What was assumed or changed on the way in and left out of gradients, for the user to know."""
        notes = list(self._more_notes)
        declared = self.image_input.declared
        if "int" in declared:
            notes.append(
                f"the input is declared {declared}; it is given real numbers, for the gradient's sake"
            )
        if not self.preprocess_given:
            notes.append(
                "no pre-processing is recorded or given; the network gets the image in [0, 1] as it is"
            )
        if self.stripped is not None:
            notes.append(
                f"the trailing {self.stripped} is left out; class scores are those of {self.score_layer!r}"
            )
        if self.background is None and self.labels is None and self._classes_or_none() == _IMAGENET + 1:
            notes.append(
                f"{_IMAGENET + 1} outputs and no labels: class k is output k; if output 0 is a background "
                "class, say background=1 (--background 1)"
            )
        if (
            self.background is None
            and self.labels is not None
            and self._classes_or_none() == len(self.labels) + 1
        ):
            notes.append("there is one output more than labels; output 0 is taken for a background class")
        return notes

    def add_notes(self, notes: Iterable[str]) -> None:
        """Add to `notes` what came up later, each once."""
        self._more_notes += [note for note in notes if note not in self._more_notes]

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
        node = self._makers.get(layer)
        while node is not None and node.op_type in (*_SHAPE_ONLY, *_POOLING):
            node = self._makers.get(node.input[0])
        return str(node.input[0]) if node is not None and node.op_type in _RECTIFYING else None

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


def _in_single_precision(graph: Graph, name: str) -> str:
    """The tensor, or its float32 copy where the network computes in another precision."""
    kind = graph.type(name)
    if kind.dtype == np.float32 or not kind.is_float:
        return name
    single = graph.add("Cast", [name], output=graph.fresh(f"{name}/single"), to=onnx.TensorProto.FLOAT)
    graph.types[single] = TensorType(kind.shape, np.dtype(np.float32))
    return single


def uncast(graph: Graph, name: str) -> str:
    """The tensor of the network itself, where `name` is the float32 copy that `Network.graph` made of it."""
    maker = graph.maker(name)
    copied = maker is not None and maker.op == "Cast" and name.startswith(f"{maker.inputs[0]}/single__")
    return maker.inputs[0] if maker is not None and copied else name


def _described(image: object) -> str:
    return f"of {image.dtype}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"


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
