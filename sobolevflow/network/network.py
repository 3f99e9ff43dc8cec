"""A model one can look into: its layers, its labels, its features, its normal form."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np
import onnx
from numpy.typing import NDArray

from .. import checks
from ..arrays import AnyArray, Array, fingerprint, hand_back, to_host
from ..devices import LEAST_BYTES, Precision, Sessions
from ..errors import (
    ChangedWarning,
    GradientError,
    InputError,
    ModelError,
    UnsupportedOpError,
    warn,
)
from ..onnxgrad import (
    Graph,
    Limits,
    Weights,
    as_loaded,
    check_operators,
    detach,
    opset_of,
)
from . import advice
from .batches import Batches
from .classes import Classes, Outputs
from .constant_inputs import (
    Image,
    Missing,
    Surroundings,
    as_arrays,
    check_inputs,
    taken_as_they_are,
    with_values_for_defaults,
    without_open_inputs,
)
from .forward import forward_graph
from .gradients import Layers
from .image_input import check_image, find_image_input
from .labels import of_texts
from .layers import Carried, LayerInfo
from .layout import Layout
from .path import gradient_path
from .places import Places
from .prediction import Prediction, predicted
from .preprocess import Preprocess, said
from .real_numbers import take_real_numbers
from .running import values_of
from .saturation import Squashed, squashed
from .source import Source

_MOST_THREADS = 4096  # which no machine has

_MOST_NAMED = 3  # targets of a batch that a message names


_SESSIONS_OF_WEIGHTS = (
    8  # what sessions may take, as a multiple of the weights, which each of them holds twice
)


class Network:
    """An ONNX model with everything needed to visualize it; made by `load`.

    Threads may share it. What it computes with, sessions of onnxruntime, is kept for whoever asks for the
    same again, up to ``sessions.most_bytes``, by default 1 GiB or eight times the bytes of the weights;
    `close`, or the end of a ``with`` block, lets go of it.

    Attributes
    ----------
    sessions : Sessions
        Those that are kept. ``sessions.most_bytes`` may be set at any time; ``sessions.bytes`` is about what
        they take.
    """

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
        limits: Limits | None = None,
    ) -> None:
        if not isinstance(model, onnx.ModelProto):
            checks.refuse(model, "model", "an onnx.ModelProto; sf.load opens files")
        self.name = checks.text(name, "name")
        self.limits = Limits.of(limits)
        given = (
            {} if inputs is None else checks.items(inputs, "inputs", "a mapping of names to arrays or Image")
        )
        structure, self.weights = detach(model) if weights is None else (model, weights)
        self.model = as_loaded(with_values_for_defaults(structure, given), self.limits)
        self.weights = {k: v for k, v in self.weights.items() if k not in given}
        self.opset = opset_of(self.model)
        self.threads = None if threads is None else checks.count(threads, "threads", most=_MOST_THREADS)
        size = sum(value.nbytes for value in self.weights.values())
        self.sessions = Sessions(max(LEAST_BYTES, _SESSIONS_OF_WEIGHTS * size))
        wanted = said(preprocess)
        layout = Preprocess.of(wanted).layout
        check_inputs(name, self.model, given)
        try:
            check_operators(self.model)
            self.image_input = find_image_input(self.model, given, layout, input_shape)
            declared = self.image_input.declared
            self.preprocess, assumed = Preprocess.for_input(wanted, self.input_name, declared)
        except (ModelError, InputError) as error:
            raise type(error)(f"{name}: {error.full}") from None
        self.preprocess.check_channels(self.input_shape[0])
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
        self.preprocess_known = preprocess is not None or assumed  # whether anybody said what it is
        self.files: tuple[Path, ...] = ()  # that it was read from, which nothing is written to
        self.latent = False  # whether its image is the code of a generator (`compose`)
        self.source: Source | None = None  # of what `load` and `compose` open
        names = None if labels is None else of_texts(labels)
        self._outputs = Outputs(
            name, self.model, self._makers, names, background, self.layer_shape, self._layers.find, output
        )

    def __repr__(self) -> str:
        (c, h, w), count = self.input_shape, len(self._layers.listed)
        return f"Network({self.name!r}, input {c}x{h}x{w}, opset {self.opset}, {count} layers)"

    def close(self) -> None:
        """Close the sessions, and free their memory; what is under way ends as it would have.

        Nothing else changes: a later use of the network, or of a gradient of it, opens anew what it needs.
        The weights go with the network itself.
        """
        self.sessions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

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
        known = without_open_inputs(self.model, self.missing.inputs)
        return Places(known, self.image_input, self.feeds, self.weights, self.limits)

    @cached_property
    def missing(self) -> Missing:
        """The inputs that have no value, and what depends on them."""
        return Missing.of(self.model, self.input_name, self.feeds)

    @cached_property
    def _batches(self) -> Batches:
        return Batches(self)

    @cached_property
    def _layers(self) -> Layers:
        return Layers(self, self._rounded)

    @property
    def layers(self) -> list[LayerInfo]:
        """Every tensor computed from the image, in the file's order."""
        return self._layers.with_gradients

    @property
    def shapes(self) -> dict[str, tuple[int, ...] | None]:
        """The shape of every layer, as `layer_shape` has it; None where it is not known.

        Unlike `layers` it does not ask each operator for its gradient, which takes longer.
        """
        return self._layers.shapes

    @property
    def carried(self) -> Carried:
        """What carries a gradient to the image, as far as operators and types tell."""
        return self._layers.carried

    def layer(self, name: str) -> LayerInfo:
        """The layer of that name.

        Raises
        ------
        UnknownNameError
            There is none; lists near matches.
        """
        name = self.layer_name(name)
        return next(info for info in self.layers if info.name == name)

    def layer_name(self, wanted: str) -> str:
        """The name in the file of the one layer that is meant, by its name, ``#12``, an end or a pattern.

        Raises
        ------
        UnknownNameError
            None is, or several are; lists them.
        """
        return self._layers.get(wanted).name

    def layer_names(self, wanted: str) -> list[str]:
        """The names of all layers that are meant, as `layer_name` reads it; may be none."""
        return self._layers.named(checks.text(wanted, "a layer", "the name of one"))

    def check_layer(self, name: str) -> None:
        """Refuse a name that no layer has; see `layer`."""
        self._layers.get(name)

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
        info = self._layers.get(name)
        name = info.name
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
        return _channel_axis(self.layouts.get(self._layers.get(layer).name))

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
        self._layers.check(name)

    def unsupported(self, what: str) -> UnsupportedOpError:
        """The error that says what has no gradient in this network, and which layers have one."""
        advised = f"{what}. {advice.layers_with_gradient(self.layers)}"
        return UnsupportedOpError(f"{self.name} (opset {self.opset}): {advised}")

    def of_whole_numbers(self, name: str) -> UnsupportedOpError:
        """The error that says that a layer holds numbers without a gradient, and which layers have one."""
        dtype = self._layers.get(name).dtype
        return self.unsupported(f"layer {name!r} holds numbers of type {dtype}, which have no gradient")

    def unreached(self, what: str) -> GradientError:
        """The error that says why no gradient reaches the image, and which layers have one."""
        return GradientError(f"{self.name}: {what}. {advice.layers_with_gradient(self.layers)}")

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

    def classes_among(self, count: int, *, background: int | None = None) -> Classes:
        """The classes where an output has as many scores at each of several places, as detectors have.

        Parameters
        ----------
        count : int
            How many scores there are, a background class included.
        background : {0, 1}, optional
            Whether score 0 is that of a background class. Default: what was said of output 0, else 1 where
            there is one score more than labels.
        """
        return self._outputs.among(count, background)

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
        names = of_texts(labels)
        self._outputs = self._outputs.named(names)
        if self.source is not None:  # which has what `load` was given
            self.source = replace(self.source, options={**self.source.options, "labels": names})

    def could_be_named(self, labels: Sequence[str]) -> bool:
        """Whether there are class scores, as many as labels, or one more."""
        return self._outputs.fits(of_texts(labels))

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
        """Index of a class, given by name or by index, as `labels`, `top` and `Class` count them.

        From 0, without a background class; `output_index` says which column of `scores` is its. A name
        matches a whole label or one of its comma-separated synonyms, in any case.

        Raises
        ------
        UnknownNameError
            No label matches (near matches are listed), or more than one does.
        InputError
            The index is out of range, or a name was given and the network has no labels.

        Warns
        -----
        ChangedWarning
            The network has a background class, which earlier versions counted.
        """
        found = self._classes.index(which)
        self._say_what_counts("class_index")
        return found

    def output_index(self, which: str | int) -> int:
        """The column of `scores` of a class, given as for `class_index`: one more beside a background class.

        Raises
        ------
        UnknownNameError, InputError
            As `class_index`.
        """
        return self._classes.output_index(which)

    def class_name(self, index: int) -> str:
        """Label of a class, or its index as text.

        Warns
        -----
        ChangedWarning
            The network has a background class, which earlier versions counted.
        """
        self._say_what_counts("class_name")
        return self._classes.name(index)

    def _say_what_counts(self, method: str) -> None:
        """Warn where indices are others than in earlier versions."""
        if self._classes.offset_or_none:
            warn(
                f"{self.name}: net.{method} counts classes as sf.Class and labels do, without the background "
                "class; earlier versions counted that too. net.output_index gives the column of net.scores",
                ChangedWarning,
            )

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
        self.missing.check(self.name, layers)
        for layer in layers:
            self.places.check_not_empty(self.name, layer)
        taken = self._batches.taken(batch, layers) if taken is None else taken
        return forward_graph(self, layers, batch, taken, reserved, dtype, precision)

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

    @overload
    def features(self, image: NDArray[Any], layers: Sequence[str]) -> list[NDArray[np.float32]]: ...

    @overload
    def features(self, image: AnyArray, layers: Sequence[str]) -> list[AnyArray]: ...

    def features(self, image: Any, layers: Sequence[str]) -> list[Any]:
        """Values of `layers` at `image`.

        Parameters
        ----------
        image : array, shape (N, C, H, W) or (C, H, W)
            Floating point, in [0, 1], of any library. This is computed on the host.
        layers : sequence of str
            As `layer_name` reads them; a pattern, as ``fire*/concat``, stands for every layer that fits it.

        Returns
        -------
        list of array
            float32, one per layer, of shape (N, ...): with N first wherever the file has it, the rest as
            `layer_shape` says; of quantised layers the real numbers that they stand for. Of the library and
            on the device of `image`.
        """
        found = self._features(to_host(self.check_image(image)), layers)
        return [hand_back(each, image) for each in found]

    def _features(self, u: np.ndarray, layers: Sequence[str]) -> list[np.ndarray]:
        """Values of `layers` at images that have been checked."""
        names = checks.entries(layers, "layers", "a list of names of layers")
        return values_of(self, u, [each for name in names for each in self._layers.meant(name)])

    @overload
    def scores(self, image: NDArray[Any]) -> NDArray[np.float32]: ...

    @overload
    def scores(self, image: AnyArray) -> AnyArray: ...

    def scores(self, image: Any) -> Any:
        """Class scores before softmax, shape (N, classes), float32: an array as `features` gives them."""
        return hand_back(self._scores(image), image)

    @overload
    def top(self, image: NDArray[Any], k: int = ...) -> NDArray[np.int64]: ...

    @overload
    def top(self, image: AnyArray, k: int = ...) -> AnyArray: ...

    def top(self, image: Any, k: int = 1) -> Any:
        """The `k` classes of the largest scores, best first, (N, k): an array of `image`'s library.

        They are counted as `Class` takes them and `labels` has them; a background class is left aside.

        Warns
        -----
        ChangedWarning
            The network has a background class, which earlier versions counted.
        """
        count = checks.count(k, "k")
        found = self._classes.ranked(self._scores(image), count)
        self._say_what_counts("top")
        return hand_back(found, image)

    def predict(
        self,
        photo: Any,
        top: int = 5,
        *,
        range: Sequence[float] | Literal["auto"] | None = None,
        page: int | None = None,
    ) -> Prediction:
        """What the network says of photographs: its best classes, by name, with their probabilities.

        Where no pre-processing is recorded or given, it is asked under each that is usual as well, and the
        likeliest is proposed, ``proposed``: a network that knows its pictures is sure of them, and of other
        pictures something else (docs/guide.md says how often that is right).

        Parameters
        ----------
        photo : path, array of shape (C, H, W) or (N, C, H, W), or list of them
            An array is floating point, in [0, 1], of any library. What is of another size than the network
            takes is fitted as by `read_image`: resized until it covers that, and cut in the middle.
        top : int
            How many classes; all where there are fewer. A background class is told apart, in ``background``.
        range, page : optional
            Of files, as of `read_image`.

        Returns
        -------
        Prediction
            Prints as a table; ``classes`` are what `Class` takes, ``to_dict()`` is JSON-able.

        Raises
        ------
        ModelError
            The output is not one score per class.
        ImageError
            A file cannot be read.
        InputError
            An array does not fit the network; `top`, `range` or `page` makes no sense.

        Examples
        --------
        >>> net = load("model.onnx", preprocess="torch", labels="classes.txt")  # doctest: +SKIP
        >>> net.predict("photo.jpg")  # doctest: +SKIP
        photo.jpg
           91.2 %  king crab (121)
        """
        return predicted(self, photo, top, range=range, page=page)

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
        missing = self.missing.wanted_by(info.name for info in self._layers.listed)
        assumed = [] if outputs.asked else advice.of_outputs(outputs.names, outputs.scored, outputs.alike)
        of_classes = [] if self.score_layer in self.missing.waiting else advice.of_classes(self._classes)
        return [*self.input_notes, *missing, *assumed, *of_classes]

    def pre_activation(self, layer: str) -> str | None:
        """The input of the last rectifier before `layer`, seen through pools and reshapes, or None."""
        return advice.pre_activation(self._makers, layer)

    def squashed(self, layer: str, channels: Iterable[int] | None = None) -> list[Squashed]:
        """What a layer, or channels of it, hold the probabilities of; empty where they hold none."""
        types, layouts = self.places.types, self.places.in_file
        shapes = {name: types[name].shape for name in self.shapes if name in types}
        return squashed(
            self.model.graph,
            self._makers,
            shapes,
            lambda name: _channel_axis(layouts.get(name)),
            layer,
            channels,
        )

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
        before = set(gradient_path(self, [layer]).names).difference(self._makers[layer].output)
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
