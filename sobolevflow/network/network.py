"""A model one can look into: its layers, its labels, its features, its normal form."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from .. import checks
from ..arrays import AnyArray, Array, fingerprint, hand_back, to_host
from ..devices import Computation, Device, Opened, Precision, Sessions
from ..errors import (
    ChangedWarning,
    GradientError,
    InputError,
    ModelError,
    UnknownNameError,
    UnsupportedOpError,
    warn,
)
from ..onnxgrad import (
    IMAGE,
    Graph,
    Weights,
    as_loaded,
    check_operators,
    detach,
    graph_session,
    needed_nodes,
    node_label,
    normalize,
    operator_of,
    opset_of,
    run,
    session_options,
    without_rule,
)
from . import advice
from .batches import Batches
from .classes import Classes, Outputs
from .constant_inputs import (
    Image,
    Surroundings,
    as_arrays,
    check_inputs,
    missing_inputs,
    needs_a_value,
    taken_as_they_are,
    waiting_for,
    with_values_for_defaults,
    without_open_inputs,
)
from .forward import cut, in_parts, in_single_precision, make_room
from .gradients import with_gradients
from .image_input import check_image, find_image_input, prepend_preprocessing
from .layers import LayerInfo, blocking_node, list_layers
from .layout import Layout
from .places import Places
from .preprocess import Preprocess, said
from .real_numbers import take_real_numbers
from .saturation import Squashed, squashed

_MOST_NAMED = 3  # targets of a batch that a message names


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
        inputs: Mapping[str, np.ndarray | Image] | None = None,
        threads: int | None = None,
        weights: Weights | None = None,
        output: str | None = None,
    ) -> None:
        self.name = name
        structure, self.weights = detach(model) if weights is None else (model, weights)
        self.model = as_loaded(with_values_for_defaults(structure, inputs or {}))
        self.weights = {k: v for k, v in self.weights.items() if k not in (inputs or {})}
        self.opset = opset_of(self.model)
        self.threads = None if threads is None else checks.count(threads, "threads")
        self.sessions = Sessions()
        given, wanted = dict(inputs or {}), said(preprocess)
        layout = Preprocess.of(wanted).layout
        check_inputs(name, self.model, given)
        try:
            check_operators(self.model)
            self.image_input = find_image_input(self.model, given, layout, input_shape)
            declared = self.image_input.declared
            self.preprocess, assumed = Preprocess.for_input(wanted, self.input_name, declared)
        except (ModelError, InputError) as error:
            raise type(error)(f"{name}: {error}") from None
        self.preprocess.matrix_and_bias(self.input_shape[0])  # fails early where the channels do not match
        self.feeds = as_arrays(self.model, given, Surroundings(name, self.image_input, wanted))
        widened = take_real_numbers(self.model, self.input_name)
        self._rounded = widened.added
        plain = taken_as_they_are(self.model, given, self.input_shape[0])
        self.input_notes = advice.of_inputs(
            declared,
            self.preprocess,
            self.input_shape[0],
            preprocess is not None,
            assumed,
            plain,
            widened.interpolates,
        )
        if assumed:
            warn(advice.BYTES, ChangedWarning)
        self.latent = False  # whether its image is the code of a generator (`compose`)
        names = None if labels is None else list(labels)
        self._outputs = Outputs(
            name, self.model, self._makers, names, background, self.layer_shape, self._find, output
        )

    def __repr__(self) -> str:
        c, h, w = self.input_shape
        return f"Network({self.name!r}, input {c}x{h}x{w}, opset {self.opset}, {len(self._listed)} layers)"

    @cached_property
    def sha256(self) -> str:
        """What identifies the content of the file: its structure and its weights."""
        digest = hashlib.sha256(self.model.SerializeToString(deterministic=True))
        for name, value in sorted(self.weights.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    # -- input

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
    def _makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {y: node for node in self.model.graph.node for y in node.output}

    @cached_property
    def places(self) -> Places:
        """Where the layers keep the images of a batch, and what their other axes mean."""
        known = without_open_inputs(self.model, self.missing)
        return Places(known, self.image_input, self.feeds, self.weights)

    @cached_property
    def _batches(self) -> Batches:
        return Batches(self)

    @cached_property
    def layers(self) -> list[LayerInfo]:
        """Every tensor computed from the image, in the file's order."""
        return with_gradients(
            self._listed, self._waiting, self.model, self.image_input, self.feeds, self.weights
        )

    @cached_property
    def _listed(self) -> list[LayerInfo]:
        """The layers, those that may have a gradient as their operators tell."""
        layers = list_layers(self.model, self.input_name, self.places.types)
        return [
            replace(info, shape=self.places.shown(info.name))
            for info in layers
            if info.name not in self._rounded
        ]

    @cached_property
    def missing(self) -> dict[str, onnx.ValueInfoProto]:
        """The inputs that have no value."""
        return missing_inputs(self.model, self.input_name, self.feeds)

    @cached_property
    def _waiting(self) -> dict[str, str]:
        """The tensors that depend on an input without a value, each with that input."""
        return waiting_for(self.model, self.missing)

    def _check_given(self, layers: Iterable[str]) -> None:
        """Refuse layers that depend on an input without a value."""
        for layer in layers:
            if layer in self._waiting:
                raise ModelError(f"{self.name}: {needs_a_value(self.missing[self._waiting[layer]])}")

    def layer_shape(self, name: str) -> tuple[int, ...]:
        """Shape of a layer of one image, with the axis of the images first, as `features` returns it.

        A layer of shape (T, N, C) in the file is (1, T, C) here, one cut into windows, (N nW, 49, C), is
        (1, nW, 49, C), and a single number without axes is (1,).

        Raises
        ------
        UnknownNameError
            There is no such layer.
        UnsupportedOpError
            An operator between the image and the layer has no gradient rule.
        ModelError
            The network does not run at its input size; gives onnxruntime's reason. Or nothing is left of the
            image on the way to the layer.
        """
        info = self._layer(name)
        self.check_differentiable(name)
        self.places.check_not_empty(self.name, name)
        if info.shape is not None:
            return info.shape
        c, h, w = self.input_shape
        raise ModelError(f"{self.name}: does not run on an image of {c}x{h}x{w}: {self.places.problem}")

    @property
    def layouts(self) -> dict[str, Layout]:
        """What the axes of the layers mean, images first, of those where that can be followed."""
        return self.places.layouts

    def channel_axis(self, layer: str) -> int:
        """The axis on which a layer keeps its channels: 1, as ONNX has it, unless the network shows another.

        Axes are counted as `layer_shape` has them, the images first. Of channels that are split over several
        axes, as those of attention heads, it is the first.
        """
        return _channel_axis(self.layouts.get(self._layer(layer).name))

    def check_differentiable(self, name: str) -> None:
        """Refuse a layer that no gradient reaches for want of a rule, or that cannot be computed.

        What depends on how operators are used is left to who builds the gradient.

        Raises
        ------
        UnsupportedOpError
            Names the operator, its node, the opset, and layers with a gradient.
        ModelError
            It depends on an input that has no value.
        """
        info = self._layer(name)
        self._check_given([name])
        if info.differentiable:
            return
        node = blocking_node(self.model, self.input_name, name, self.places.types)
        if node is not None:
            raise self.unsupported(without_rule(operator_of(node), node_label(node)))
        dtype = info.dtype
        if dtype != "?" and "float" not in dtype:
            raise self.unsupported(f"layer {name!r} holds numbers of type {dtype}, which have no gradient")

    def unsupported(self, what: str) -> UnsupportedOpError:
        """The error that says what has no gradient in this network, and which layers have one."""
        advised = f"{what}. {advice.layers_with_gradient(self.layers)}"
        return UnsupportedOpError(f"{self.name} (opset {self.opset}): {advised}")

    def unreached(self, what: str) -> GradientError:
        """The error that says why no gradient reaches the image, and which layers have one."""
        return GradientError(f"{self.name}: {what}. {advice.layers_with_gradient(self.layers)}")

    def layer(self, name: str) -> LayerInfo:
        """The layer of that name.

        Raises
        ------
        UnknownNameError
            There is none; lists near matches.
        """
        self._layer(name)  # complains about a name that does not exist
        return next(info for info in self.layers if info.name == name)

    def check_layer(self, name: str) -> None:
        """Refuse a name that no layer has; see `layer`."""
        self._layer(name)

    def _layer(self, name: str) -> LayerInfo:
        """As `layer`, without looking at how its operators are used."""
        if not isinstance(name, str):
            raise InputError(f"a layer is given by its name, not by {checks.shown(name)}")
        found = self._find(name)
        if found is not None:
            return found
        raise UnknownNameError(
            f"{self.name}: no layer {name!r}.{advice.near_layers(name, self.layers)} "
            "List the layers with net.layers or 'sobolevflow inspect'"
        )

    def _find(self, name: str) -> LayerInfo | None:
        return next((info for info in self._listed if info.name == name), None)

    # -- classes

    @property
    def outputs(self) -> list[str]:
        """The names of the file's outputs."""
        return self._outputs.names

    @property
    def _classes(self) -> Classes:
        return self._outputs.classes()

    def classes_of(self, output: str | None = None) -> Classes:
        """The classes whose scores an output of the file holds: where they are, how many, which is which.

        Parameters
        ----------
        output : str, optional
            Default: what `load` was told, else the output of floating point numbers that is likeliest to be
            class scores.

        Raises
        ------
        UnknownNameError
            The file has no such output; lists those it has.
        """
        return self._outputs.classes(output)

    @property
    def labels(self) -> list[str] | None:
        """The names of the classes, where they are known."""
        return self._outputs.labels

    def name_classes(self, labels: Sequence[str]) -> None:
        """Give the classes names, those of class 0 first; they are kept where there are no class scores.

        Raises
        ------
        InputError
            There are neither as many labels as classes nor one fewer, as beside a background class.
        """
        self._outputs.take(list(labels))

    def could_be_named(self, labels: Sequence[str]) -> bool:
        """Whether there are class scores, as many as labels, or one more."""
        return self._outputs.fits(labels)

    @property
    def background(self) -> int | None:
        """What was said of output 0: 1 for a background class, 0 for none, None for nothing."""
        return self._outputs.background

    @property
    def score_layer(self) -> str:
        """The tensor of class scores: an output (`classes_of`), without a trailing softmax or sigmoid."""
        return self._classes.layer

    @property
    def stripped(self) -> str | None:
        """The operator that was stripped to reach `score_layer`, or None."""
        return self._classes.stripped

    @property
    def classes(self) -> int:
        """Number of class scores.

        Raises
        ------
        ModelError
            The output is not one score per class.
        """
        return self._classes.count

    @property
    def offset(self) -> int:
        """Output index of class 0: 1 where output 0 is a background class."""
        return self._classes.offset

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
        return self._classes.index(which)

    def class_name(self, index: int) -> str:
        """Label of an output index, or the index as text."""
        return self._classes.name(index)

    # -- running

    def graph(
        self,
        layers: Sequence[str],
        batch: int,
        reserved: Iterable[str] = (),
        dtype: Any = np.float32,
        precision: Precision = "float32",
        taken: int | None = None,
    ) -> tuple[Graph, dict[str, str]]:
        """The normal form from the image to `layers`, pre-processing included, which have their images first.

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
        taken : int, optional
            How many images the network is given; black ones fill up what `batch` lacks, and their results are
            cut off. Default: as the file fixes it.

        Returns
        -------
        graph : Graph
            With input "image" (batch, C, H, W). A fresh copy at each call.
        names : dict
            From the user's layer names to tensor names in the graph.
        """
        self._check_given(layers)
        for layer in layers:
            self.places.check_not_empty(self.name, layer)
        taken = self._batches.taken(batch, layers) if taken is None else taken
        graph = normalize(
            self.model,
            input_shapes={self.input_name: self.image_input.tensor_shape(taken)},
            keep=list(dict.fromkeys(layers)),
            feeds=self.feeds,
            weights=self.weights,
            dtype=dtype,
        )
        if precision != "float32":
            graph = graph.astype(np.dtype(precision))
        moved = make_room(graph, reserved)
        target = moved.get(self.input_name, self.input_name)
        prepend_preprocessing(graph, target, self.image_input, self.preprocess, batch, taken)
        if dtype != np.float32:
            graph = graph.astype(dtype)
        names = {layer: moved.get(layer, layer) for layer in layers}
        if dtype == np.float32:
            names = {layer: in_single_precision(graph, name) for layer, name in names.items()}
        return graph, {layer: self._shown(graph, layer, name, batch, taken) for layer, name in names.items()}

    def _shown(self, graph: Graph, layer: str, name: str, batch: int, taken: int) -> str:
        """The tensor of a layer with its images first, and without those that filled the batch up."""
        place = self.places.place_in(layer, graph.shape(name), taken)
        if place is None:
            raise InputError(f"{self.name}: where layer {layer!r} keeps its images cannot be told")
        return cut(graph, place.show(graph, name, taken), batch)

    def run_batch(self, batch: int, layers: Sequence[str]) -> int:
        """How many of `batch` images may go to `layers` at once; see `batches`.

        Raises
        ------
        InputError
            The values of a layer are made of several images.
        """
        return self._batches.at_once(batch, layers)

    def stay_apart(self, layers: Sequence[str]) -> bool:
        """Whether two images may go to `layers` together, whatever batch size the file fixes."""
        return self._batches.stay_apart(layers)

    def features(self, image: AnyArray, layers: Sequence[str]) -> list[AnyArray]:
        """Values of `layers` at `image`.

        Parameters
        ----------
        image : array, shape (N, C, H, W) or (C, H, W)
            Floating point, in [0, 1], of any library. This is computed on the host.
        layers : sequence of str

        Returns
        -------
        list of array
            float32, one per layer, of shape (N, ...): with N first wherever the file has it, the rest as
            `layer_shape` says. Of the library and on the device of `image`.
        """
        found = self._features(to_host(self.check_image(image)), layers)
        return [hand_back(each, image) for each in found]

    def _features(self, u: np.ndarray, layers: Sequence[str]) -> list[np.ndarray]:
        """Values of `layers` at images that have been checked."""
        for name in layers:
            self._layer(name)
        step = self.run_batch(len(u), layers)
        forward = self._forward(tuple(layers), step)
        names = list(forward.outputs)
        return in_parts(lambda part: run(forward.session, names, {IMAGE: part}), u, step)

    def _forward(self, layers: tuple[str, ...], batch: int) -> Opened:
        """The session from so many images to layers, which are its outputs."""
        computation = Computation("features", layers, batch, Device())
        opened = self.sessions.find(computation)
        if opened is not None:
            return opened
        graph, names = self.graph(layers, batch)
        graph.outputs = list(dict.fromkeys(names.values()))
        session = graph_session(graph, session_options(self.threads))
        return self.sessions.keep(computation, Opened(session, tuple(names[layer] for layer in layers)))

    def scores(self, image: AnyArray) -> AnyArray:
        """Class scores before softmax, shape (N, classes), float32: an array as `features` gives them."""
        return hand_back(self._scores(image), image)

    def top(self, image: AnyArray, k: int = 1) -> AnyArray:
        """Output indices of the `k` largest scores, best first, (N, k): an array of `image`'s library."""
        return hand_back(np.argsort(-self._scores(image), axis=1, kind="stable")[:, :k], image)

    def _scores(self, image: Any) -> np.ndarray:
        (values,) = self._features(to_host(self.check_image(image)), [self.score_layer])
        return values.reshape(len(values), self.classes)

    def check_image(self, image: Any, *, bounded: bool = True) -> Array:
        """`image`, an array of any library, as contiguous float32 (N, C, H, W) that fits this network.

        It comes as an array of NumPy, or of CuPy where it lies on a CUDA device.

        An AssumptionWarning says where values lie far outside of [0, 1], as those of 0 to 255 do: on the
        host, unless they are a generator's codes, or are not to be `bounded`, as noisy copies.

        Raises
        ------
        InputError
            Wrong rank, channels or size; not floating point; not finite, where it lies on the host.
        """
        return check_image(image, self.input_shape, self.name, bounded and not self.latent)

    # -- advice

    def notes(self) -> list[str]:
        """What was assumed or changed on the way in, for the user to know."""
        outputs = self._outputs
        waits = {self._waiting[info.name] for info in self._listed if info.name in self._waiting}
        missing = [needs_a_value(info) for name, info in self.missing.items() if name in waits]
        assumed = [] if outputs.asked else advice.of_outputs(outputs.names, outputs.scored, outputs.alike)
        of_classes = [] if self.score_layer in self._waiting else advice.of_classes(self._classes)
        return [*self.input_notes, *missing, *assumed, *of_classes]

    def pre_activation(self, layer: str) -> str | None:
        """The input of the last rectifier before `layer`, seen through pools and reshapes, or None."""
        return advice.pre_activation(self._makers, layer)

    def squashed(self, layer: str, channels: Iterable[int] | None = None) -> list[Squashed]:
        """What a layer, or channels of it, hold the probabilities of; empty where they hold none."""
        types, layouts = self.places.types, self.places.in_file
        shapes = {info.name: types[info.name].shape for info in self._listed if info.name in types}
        axes = {name: _channel_axis(layouts.get(name)) for name in shapes}
        return squashed(self.model.graph, self._makers, shapes, axes.__getitem__, layer, channels)

    def preactivation_hint(self, objective: Any) -> str | None:
        """A sentence that says which pre-activation to ask for when `objective` is dead, or None.

        Of an objective with several targets, one for each image of a batch, it is that of each.
        """
        usable = {info.name for info in self.layers if info.differentiable}
        for leaf in objective.leaves():
            layer = leaf.tensor(self)
            before = self.pre_activation(layer)
            if before in usable:
                each = [leaf.for_images([k]) for k in range(leaf.natural_batch)][:_MOST_NAMED]
                return advice.behind_a_rectifier(layer, [one.nearest_at(before, self) for one in each])
        return None

    def instead_of(self, layer: str) -> str:
        """Words that say which layer before this one to ask for, behind another remedy; none without one."""
        nodes = needed_nodes(self.model.graph.node, [layer])
        before = {y for node in nodes for y in node.output} - set(self._makers[layer].output)
        return advice.layer_before(self.layers, before)

    def first_non_finite(self, image: np.ndarray) -> str | None:
        """The first layer whose value at `image` is not finite, or None."""
        layers = [info.name for info in self.layers if info.differentiable]
        try:
            values = self._features(to_host(self.check_image(image, bounded=False)), layers)
        except (ModelError, InputError):
            return None
        finite = (np.isfinite(value).all() for value in values)
        return next((name for name, good in zip(layers, finite, strict=True) if not good), None)

    # -- record

    def to_dict(self) -> dict[str, Any]:
        """What identifies the network, JSON-able."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "opset": self.opset,
            "input": list(self.input_shape),
            "layout": "nhwc" if self.channels_last else "nchw",
            "preprocess": self.preprocess.to_dict(),
            **({"inputs": {k: fingerprint(v) for k, v in self.feeds.items()}} if self.feeds else {}),
            "classes": self._classes.count_or_none,
            "scores": self.score_layer,
            "labels": self.labels,
        }


def _channel_axis(layout: Layout | None) -> int:
    known = layout is not None and len(layout.axes) > 2 and layout.channel_axes
    return known[0] if known else 1
