"""A class, a channel, a neuron, a direction or a whole layer, to be maximised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..arrays import shape_of
from ..errors import ChangedWarning, InputError, as_option, warn
from ..named import index_or_name, named
from .base import ARRAY, Leaf, as_array, joined, plain_index, repeated
from .channels import (
    AXIS,
    along,
    as_many_channels,
    axis_elsewhere,
    channel_axis,
    channels_of,
    has_channels,
    in_range,
    place_axes,
    probabilities,
    shape_with_units,
    unknown_channels,
    warn_of_another_axis,
)
from .spelling import Unit, of_one_layer, read_vector, spelled, unit

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter


Index = int | Sequence[int] | None

_MOST_AXES = 8  # numbers that a neuron may be written with on the command line

_EVERYWHERE = ("visualize", "gradient", "attribute")


@named(
    "objective",
    "class",
    **spelled(
        "NAME|INDEX",
        "class",
        lambda given, net, images: Class(given[0] if len(given) == 1 else given),
        parse=index_or_name,
        repeat=True,
        commands=_EVERYWHERE,
    ),
)
@dataclass(frozen=True)
class Class(Leaf):
    """Pre-softmax score of a class, to be maximised (eq. 4 with its sign set right).

    Parameters
    ----------
    which : int, str, or sequence of them
        Index or name; several make a batch of different targets. A trailing softmax or
        sigmoid of the network is left out: a probability can rise by lowering the others.
    output : str, optional
        The output of the file that holds the scores. Default: that of the network (`Network.classes_of`).
    """

    which: int | str | Sequence[int | str]
    output: str | None = None

    __repr__ = checks.summary

    def __post_init__(self) -> None:
        object.__setattr__(self, "which", plain_index(self.which, "a class", names=True))
        if self.output is not None:
            checks.text(self.output, "output", "the name of one")

    def tensor(self, net: Network) -> str:
        return net.classes_of(self.output).layer

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        count = net.classes_of(self.output).count
        scores = emit.reshape(x, (x.shape[0], count))
        return emit.sum(scores * emit.one_hot("class", count), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        return {"class": _per_image(self.indices(net), batch, "class")}

    def indices(self, net: Network) -> list[int]:
        """The outputs that hold the scores of the classes: a background class counts."""
        classes = net.classes_of(self.output)
        return [classes.output_index(w) for w in self._each()]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        return Channel(layer, self.indices(net)[0]).spelled_at(layer, net)

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        if self.output is None:
            del found["output"]
        return found

    def fits(self, layer: str, net: Network) -> bool:
        return has_channels(net, layer, net.classes_of(self.output).count)

    def notes(self, net: Network) -> list[str]:
        scores, indices = self.tensor(net), self.indices(net)
        if not self.fits(scores, net):
            return probabilities(net, self)
        return probabilities(net, Channel(scores, indices), indices)

    @property
    def natural_batch(self) -> int:
        return len(self._each())

    def _each(self) -> list[int | str]:
        several = isinstance(self.which, (list, tuple, range))
        return list(self.which) if several else [self.which]  # type: ignore[arg-type,list-item]

    def __str__(self) -> str:
        return f"class {joined(self.which)}" + ("" if self.output is None else f" of output {self.output}")


@named(
    "objective",
    "channel",
    AXIS,
    **spelled(
        "LAYER:C",
        "mean of one channel",
        lambda given, net, images, **options: Channel(*of_one_layer("--channel", given, net), **options),
        parse=unit(1, 1),
        repeat=True,
        commands=_EVERYWHERE,
    ),
)
@dataclass(frozen=True)
class Channel(Leaf):
    """Mean of one channel of a layer over all positions, to be maximised.

    Parameters
    ----------
    layer : str
        Name of the layer's tensor, shape (N, C, ...), (N, ..., C) or any that `Network.channel_axis` knows.
    channel : int or sequence of int
    axis : int, optional
        Axis of the channels; -1 is the last. Default: where the network shows that they are, else 1.
    """

    layer: str
    channel: int | Sequence[int]
    axis: int | None = None

    __repr__ = checks.summary

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channel", plain_index(self.channel, "channel"))

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), channel_axis(net, self.layer, self.axis))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        axis = channel_axis(net, self.layer, self.axis)
        others = place_axes(len(x.shape), axis)
        mean = emit.op("ReduceMean", x, emit.ints(others), keepdims=0) if others else x
        return emit.sum(mean * emit.one_hot("channel", x.shape[axis]), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        channels = channels_of(net, self)
        if max(channels) < net.layer_shape(self.layer)[1]:
            warn_of_another_axis(net, self)
        return {"channel": _per_image(channels, batch, f"channel of {self.layer!r}")}

    def notes(self, net: Network) -> list[str]:
        return [*unknown_channels(net, self), *probabilities(net, self, channels_of(net, self))]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        channel = int(np.atleast_1d(self.channel)[0])
        return _spelled("Channel", layer, {"channel": channel}, axis_elsewhere(net, self, layer))

    def fits(self, layer: str, net: Network) -> bool:
        return as_many_channels(net, self, layer)

    @property
    def natural_batch(self) -> int:
        return np.size(self.channel)

    def __str__(self) -> str:
        return f"channel {joined(self.channel)} of {self.layer}"


def _neuron(given: Sequence[Unit], net: Network, images: object, **options: Any) -> Neuron:
    layer, *numbers = of_one_layer("--neuron", given, net)
    shape = net.layer_shape(layer)
    rank = len(shape)
    if not numbers and rank > 1:
        raise InputError(f"layer {layer!r} of shape {shape} has channels; write --neuron LAYER:C")
    if rank > 4 or not numbers:
        each = zip(*map(np.atleast_1d, numbers), strict=True) if len(given) > 1 else [tuple(numbers)]
        indices = [tuple(map(int, index)) for index in each]
        return Neuron(layer, indices if len(indices) > 1 else indices[0], **options)
    if len(numbers) > 3:
        raise InputError(f"layer {layer!r} of shape {shape} has fewer axes than that; write LAYER:C[:Y:X]")
    names = {1: ("channel",), 2: ("channel", "x"), 3: ("channel", "y", "x")}[len(numbers)]
    if len(names) == 2 and rank > 3:
        raise InputError(f"layer {layer!r} of shape {shape} has rows and columns; write --neuron LAYER:C:Y:X")
    return Neuron(layer, **dict(zip(names, numbers, strict=True)), **options)


@named(
    "objective",
    "neuron",
    AXIS,
    **spelled(
        "LAYER[:C[:Y:X]]",
        "one unit, by default the central one; LAYER:C:X of a layer with one axis of positions, "
        "LAYER:I:J:K:L, an index for each axis, of one with more than two, LAYER of a single number",
        _neuron,
        parse=unit(*range(_MOST_AXES + 1)),
        repeat=True,
        commands=_EVERYWHERE,
    ),
)
@dataclass(frozen=True)
class Neuron(Leaf):
    """One unit of a layer, to be maximised.

    Parameters
    ----------
    layer : str
        With channels and two axes of positions, (N, C, H, W) or (N, H, W, C); with one, as tokens (N, T, D)
        or (N, C, L), where x counts along it; or (N, C) where y and x do not apply. By an index tuple, of any
        shape.
    channel : int, sequence of int, or tuple of int
        A tuple is the index of the unit in ``features(u, [layer])[0][n]``, one number for each axis behind
        that of the images, which takes the place of y, x and axis: ``(anchor, row, column, 4)`` of
        (N, anchors, H, W, 85), ``()`` of a layer (N,). A list of tuples makes a batch, and so does a list of
        channels.
    y, x : int or sequence of int, optional
        Row and column, along the axes that are left, in their order; default the centre.
    axis : int, optional
        Axis of the channels, as `Network.layer_shape` counts them; -1 is the last. Default: where the network
        shows that they are, else 1.
    """

    layer: str
    channel: int | Sequence[int] | Sequence[tuple[int, ...]]
    y: Index = None
    x: Index = None
    axis: int | None = None

    __repr__ = checks.summary

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channel", plain_index(self.channel, "channel", levels=2))
        for name in ("y", "x"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, plain_index(getattr(self, name), name))
        if self._indices is not None and (self.y, self.x, self.axis) != (None, None, None):
            raise InputError("the index of a neuron has a number for each axis; leave out y, x and axis")

    @property
    def _indices(self) -> list[tuple[int, ...]] | None:
        """The index tuples, where it is given by such."""
        if isinstance(self.channel, tuple) and self.y is None and self.x is None:
            return [self.channel]
        several = isinstance(self.channel, list) and len(self.channel) > 0
        if several and all(isinstance(each, (tuple, list, np.ndarray)) for each in self.channel):  # type: ignore[union-attr]
            return [tuple(each) for each in self.channel]  # type: ignore[union-attr,arg-type]
        return None

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), *self._names(net))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        batch, *sizes = x.shape
        if not sizes:
            return emit.op("Identity", x)
        first, *others = self._names(net)
        pick = emit.one_hot(first, sizes[0])
        for k, (name, size) in enumerate(zip(others, sizes[1:], strict=True)):
            row = emit.reshape(emit.one_hot(name, size), (batch, *[1] * (k + 1), size))
            pick = emit.reshape(pick, (batch, *sizes[: k + 1], 1)) * row
        return emit.sum_all(x * pick, x.shape)

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        shape, given = net.layer_shape(self.layer), self._asked(net)
        names, indexed = self._names(net), self._indices is not None
        where = "" if indexed else along(channel_axis(net, self.layer, self.axis))
        found: dict[str, list[int]] = {}
        for name, size in zip(names, shape[1:], strict=True):
            at = given.get(name)
            at = size // 2 if at is None else at
            found[name] = in_range(at, size, f"{name} of {self.layer!r}", where)
        before = dict(zip(("channel", "y", "x"), shape[1:], strict=False))  # as earlier versions had them
        by_channel = not indexed and len(shape) == 4
        if by_channel and all(given[k] is None or max(found[k]) < n for k, n in before.items()):
            warn_of_another_axis(net, self)
        if (
            isinstance(self.channel, tuple)
            and len(shape) == 4
            and batch == len(self.channel)
            and max(self.channel) < shape[1]
        ):  # an earlier version would have gone on
            warn(
                f"sf.Neuron({self.layer!r}, {self.channel}) is the unit of that index in all {batch} images; "
                "earlier versions took a tuple for one channel for each, which are written as a list",
                ChangedWarning,
            )
        return {name: _per_image(at, batch, f"{name} of {self.layer!r}") for name, at in found.items()}

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        if isinstance(self.channel, tuple) and self._indices is not None:
            found["channel"] = [
                [int(k) for k in self.channel]
            ]  # a plain list would be one channel for each image
        return found

    def _asked(self, net: Network) -> dict[str, Index]:
        """What was given for each axis, by its name."""
        shape, indices = net.layer_shape(self.layer), self._indices
        if indices is None:
            self._check_places(shape)
            return {"channel": self.channel, "y": self.y, "x": self.x}  # type: ignore[dict-item]
        if any(len(index) != len(shape) - 1 for index in indices):
            raise InputError(
                f"the index of a neuron has a number for each axis of layer {self.layer!r} but that of the "
                f"images, {len(shape) - 1} in all, since its shape is {shape}"
            )
        along_axes = zip(*indices, strict=True)
        return {name: list(at) for name, at in zip(self._names(net), along_axes, strict=False)}

    def _check_places(self, shape: tuple[int, ...]) -> None:
        if len(shape) > 4 or len(shape) < 2:
            each = ", ".join("ijklmnopq"[: len(shape) - 1])
            raise InputError(
                f"a neuron of layer {self.layer!r}, of shape {shape}, is given by an index for each axis but "
                f"that of the images: sf.Neuron({self.layer!r}, ({each}))"
            )
        if len(shape) == 2 and (self.y is not None or self.x is not None):
            raise InputError(f"layer {self.layer!r} of shape {shape} has no rows and columns")
        if len(shape) == 3 and self.y is not None:
            raise InputError(f"layer {self.layer!r} of shape {shape} has one axis of positions; give x alone")

    def _names(self, net: Network) -> list[str]:
        """What each axis but the first is indexed by."""
        rank = len(net.layer_shape(self.layer))
        if rank < 2 or rank > 4:
            return [f"axis{k}" for k in range(1, rank)]
        axis = channel_axis(net, self.layer, self.axis)
        places = iter(("y", "x")[4 - rank :])
        return ["channel" if k == axis else next(places) for k in range(1, rank)]

    def notes(self, net: Network) -> list[str]:
        if self._indices is None:
            return [*unknown_channels(net, self), *probabilities(net, self, channels_of(net, self))]
        if len(net.layer_shape(self.layer)) < 2:
            return probabilities(net, self)
        axis = net.channel_axis(self.layer)
        return probabilities(net, self, [index[axis - 1] for index in self._indices])

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        here, there = (len(net.layer_shape(name)) for name in (self.layer, layer))
        if self._indices is not None:
            if here != there:
                return super().spelled_at(layer, net)
            index = tuple(int(k) for k in self._indices[0])
            return f"sf.Neuron({layer!r}, {index})", as_option("neuron", ":".join((layer, *map(str, index))))
        numbers = {name: int(np.atleast_1d(k)[0]) for name, k in self._given().items()}
        if here != there:  # a position of one is none of the other
            numbers = {"channel": numbers["channel"]}
        elif len(numbers) == 2 and there == 4:  # which of the two cannot be told where one is left out
            axis = channel_axis(net, layer, axis_elsewhere(net, self, layer))
            height, width = (net.layer_shape(layer)[k] for k in place_axes(4, axis))
            numbers = {"channel": numbers["channel"], "y": height // 2, "x": width // 2} | numbers
        return _spelled("Neuron", layer, numbers, axis_elsewhere(net, self, layer))

    def fits(self, layer: str, net: Network) -> bool:
        here, there = (net.layer_shape(name)[1:] for name in (self.layer, layer))
        if self._indices is not None:
            return here == there
        central = self.y is None and self.x is None
        return as_many_channels(net, self, layer) and (central or here == there)

    def nearest_at(self, layer: str, net: Network) -> tuple[str, str]:
        if self.fits(layer, net) or self._indices is not None or not as_many_channels(net, self, layer):
            return super().nearest_at(layer, net)
        channel = Channel(self.layer, self.channel, self.axis)  # type: ignore[arg-type]  # no index tuples
        return channel.spelled_at(layer, net)

    @property
    def natural_batch(self) -> int:
        if self._indices is not None:
            return len(self._indices)
        return max(map(np.size, self._given().values()))

    def _given(self) -> dict[str, int | Sequence[int]]:
        given = {"channel": self.channel, "y": self.y, "x": self.x}
        return {name: k for name, k in given.items() if k is not None}  # type: ignore[misc]

    def __str__(self) -> str:
        if self._indices is not None:
            return f"neuron {', '.join(map(str, self._indices))} of {self.layer}"
        where = "centre" if self.y is None and self.x is None else f"({joined(self.y)}, {joined(self.x)})"
        return f"neuron {joined(self.channel)} at {where} of {self.layer}"


def _spelled(objective: str, layer: str, numbers: dict[str, int], axis: int | None) -> tuple[str, str]:
    """A unit as it is asked for in Python and on the command line."""
    python = [str(k) for name, k in numbers.items() if name != "x" or len(numbers) == 3]
    python += [f"x={numbers['x']}"] if "x" in numbers and len(numbers) == 2 else []
    python += [] if axis is None else [f"axis={axis}"]
    flag = as_option(objective.lower(), f"{layer}:{':'.join(map(str, numbers.values()))}")
    more = "" if axis is None else f" --axis {axis}"
    return f"sf.{objective}({layer!r}, {', '.join(python)})", flag + more


@named(
    "objective",
    "layer",
    **spelled(
        "LAYER",
        "energy of a whole layer (DeepDream)",
        lambda given, net, images: Layer(given[0]),
    ),
)
@dataclass(frozen=True)
class Layer(Leaf):
    """Half the mean of squares of a whole layer, to be maximised (DeepDream)."""

    layer: str

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        return emit.sum_all(x * x, x.shape) * (0.5 / np.prod(x.shape[1:]))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        net.layer_shape(self.layer)  # complains where there is none
        return {}

    def notes(self, net: Network) -> list[str]:
        return probabilities(net, self)

    def __str__(self) -> str:
        return f"layer {self.layer}"


def _direction(given: Sequence[tuple[str, str]], net: Network, images: object, **options: Any) -> Direction:
    layer, path = given[0]
    return Direction(layer, read_vector(path), **options)


@named(
    "objective",
    "direction",
    AXIS,
    **spelled(
        ("LAYER", "FILE"),
        "inner product of a layer with the vector in a .npy file, or with one for each image of the batch",
        _direction,
        instead="its file may hold a vector for each image of the batch",
        commands=_EVERYWHERE,
    ),
)
@dataclass(frozen=True, eq=False)
class Direction(Leaf):
    """Inner product of a layer with a vector, averaged over positions, to be maximised.

    Parameters
    ----------
    layer : str
    vector : array
        Of any library. Shape (C,) for one direction in channel space, or that of the layer without its batch
        axis, as (C, H, W), for the inner product with a whole feature map; with a batch axis in front for one
        direction per image.
    axis : int, optional
        Axis of the channels; -1 is the last. Default: where the network shows that they are, else 1.
    """

    layer: str
    vector: Any = field(metadata=ARRAY)
    axis: int | None = None

    __repr__ = checks.summary

    def key(self, net: Network) -> tuple[Any, ...]:
        per_channel = self._per_channel(net)
        return (*super().key(net), per_channel and channel_axis(net, self.layer, self.axis))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        places = place_axes(len(x.shape), channel_axis(net, self.layer, self.axis))
        positions = int(np.prod([x.shape[k] for k in places])) if self._per_channel(net) else 1
        return emit.sum_all(x * emit.parameter("direction"), x.shape) / positions

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        axis = channel_axis(net, self.layer, self.axis)
        shape, per_channel = net.layer_shape(self.layer), self._per_channel(net)
        v = as_array(self.vector, "direction")
        one = shape[axis : axis + 1] if per_channel else shape[1:]
        if v.shape == one:
            v = v[None]
        elif v.shape[1:] != one:
            shapes = " or ".join(map(str, dict.fromkeys((shape[axis : axis + 1], shape[1:]))))
            raise InputError(
                f"a direction in layer {self.layer!r} has shape {shapes}, not {v.shape}{along(axis)}"
            )
        if per_channel:
            if v.shape[1] == shape[1]:
                warn_of_another_axis(net, self)
            v = v.reshape(len(v), *(-1 if k == axis else 1 for k in range(1, len(shape))))
        return {"direction": repeated(v, batch, "direction")}

    def _per_channel(self, net: Network) -> bool:
        """Whether a vector has one number for each channel; one of (T, D) is of all tokens, where it fits."""
        whole, axes = shape_with_units(net, self.layer)[1:], len(shape_of(self.vector))
        return axes < len(whole) or (axes == len(whole) == 2 and shape_of(self.vector) != whole)

    def notes(self, net: Network) -> list[str]:
        unknown = unknown_channels(net, self) if self._per_channel(net) else []
        return [*unknown, *probabilities(net, self)]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        axis = axis_elsewhere(net, self, layer)
        python, flag = ("", "") if axis is None else (f", axis={axis}", f" --axis {axis}")
        return f"sf.Direction({layer!r}, vector{python})", f"{as_option('direction', layer)} FILE{flag}"

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        axes = 1 if self._per_channel(net) else len(net.layer_shape(self.layer)) - 1
        return ("vector",) if len(shape_of(self.vector)) > axes else ()

    def fits(self, layer: str, net: Network) -> bool:
        if self._per_channel(net):
            return as_many_channels(net, self, layer)
        return net.layer_shape(layer)[1:] == net.layer_shape(self.layer)[1:]

    def __str__(self) -> str:
        return f"direction in {self.layer}"


def _per_image(values: Sequence[int], batch: int, what: str) -> np.ndarray:
    return repeated(np.array(values, np.int64), batch, what)
