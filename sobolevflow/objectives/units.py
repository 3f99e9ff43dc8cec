"""A class, a channel, a neuron, a direction or a whole layer, to be maximised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..errors import InputError
from ..named import named
from .base import ARRAY, Leaf, as_array, joined, repeated
from .spelling import number_or_name, of_one_layer, read_vector, spelled, unit

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter


Index = int | Sequence[int] | None

_EVERYWHERE = ("visualize", "gradient", "attribute")


@named(
    "objective",
    "class",
    **spelled(
        "NAME|INDEX",
        "class",
        lambda given, net, images: Class(given[0] if len(given) == 1 else given),
        parse=number_or_name,
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
    """

    which: int | str | Sequence[int | str]

    def tensor(self, net: Network) -> str:
        return net.score_layer

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        scores = emit.reshape(x, (x.shape[0], net.classes))
        return emit.sum(scores * emit.one_hot("class", net.classes), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        return {"class": _per_image(self.indices(net), batch, "class")}

    def indices(self, net: Network) -> list[int]:
        """Output indices of the classes."""
        return [net.class_index(w) for w in self._each()]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        return Channel(layer, net.class_index(self._each()[0])).spelled_at(layer, net)

    @property
    def natural_batch(self) -> int:
        return len(self._each())

    def _each(self) -> list[int | str]:
        several = isinstance(self.which, (list, tuple, np.ndarray, range))
        return list(self.which) if several else [self.which]  # type: ignore[arg-type,list-item]

    def __str__(self) -> str:
        return f"class {joined(self.which)}"


@named(
    "objective",
    "channel",
    **spelled(
        "LAYER:C",
        "mean of one channel",
        lambda given, net, images: Channel(*of_one_layer("--channel", given)),
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
        Name of the layer's tensor, shape (N, C, ...).
    channel : int or sequence of int
    axis : int
        Axis of the channels; -1 for layers that keep them last.
    """

    layer: str
    channel: int | Sequence[int]
    axis: int = 1

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.axis)

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        axis = self.axis % len(x.shape)
        others = [k for k in range(1, len(x.shape)) if k != axis]
        mean = emit.op("ReduceMean", x, emit.ints(others), keepdims=0) if others else x
        return emit.sum(mean * emit.one_hot("channel", x.shape[axis]), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        shape = _layer_shape(net, self.layer)
        axis = checks.axis(self.axis, f"the channel axis of layer {self.layer!r}", len(shape), least=1)
        return {"channel": _in_range(self.channel, shape[axis], batch, f"channel of {self.layer!r}")}

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        channel = int(np.atleast_1d(self.channel)[0])
        return f"sf.Channel({layer!r}, {channel})", f"--channel {layer}:{channel}"

    @property
    def natural_batch(self) -> int:
        return np.size(self.channel)

    def __str__(self) -> str:
        return f"channel {joined(self.channel)} of {self.layer}"


@named(
    "objective",
    "neuron",
    **spelled(
        "LAYER:C[:Y:X]",
        "one unit, by default the central one",
        lambda given, net, images: Neuron(*of_one_layer("--neuron", given)),
        parse=unit(1, 3),
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
        Shape (N, C, H, W), or (N, C) where y and x do not apply.
    channel : int or sequence of int
    y, x : int or sequence of int, optional
        Row and column; default the centre.
    """

    layer: str
    channel: int | Sequence[int]
    y: Index = None
    x: Index = None

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        batch, *sizes = x.shape
        pick = emit.one_hot("channel", sizes[0])
        for k, (name, size) in enumerate(zip(("y", "x"), sizes[1:], strict=False)):
            row = emit.reshape(emit.one_hot(name, size), (batch, *[1] * (k + 1), size))
            pick = emit.reshape(pick, (batch, *sizes[: k + 1], 1)) * row
        return emit.sum_all(x * pick, x.shape)

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        shape = _layer_shape(net, self.layer)
        if len(shape) not in (2, 4):
            raise InputError(f"layer {self.layer!r} of shape {shape} has no neurons (N, C) or (N, C, H, W)")
        if len(shape) == 2 and (self.y is not None or self.x is not None):
            raise InputError(f"layer {self.layer!r} of shape {shape} has no rows and columns")
        out = {"channel": _in_range(self.channel, shape[1], batch, f"channel of {self.layer!r}")}
        for name, where, size in zip(("y", "x"), (self.y, self.x), shape[2:], strict=False):
            index = size // 2 if where is None else where
            out[name] = _in_range(index, size, batch, f"{name} of {self.layer!r}")
        return out

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        numbers = [int(np.atleast_1d(k)[0]) for k in self._given()]
        return (
            f"sf.Neuron({layer!r}, {', '.join(map(str, numbers))})",
            f"--neuron {layer}:{':'.join(map(str, numbers))}",
        )

    @property
    def natural_batch(self) -> int:
        return max(map(np.size, self._given()))

    def _given(self) -> list[int | Sequence[int]]:
        return [k for k in (self.channel, self.y, self.x) if k is not None]

    def __str__(self) -> str:
        where = "centre" if self.y is None and self.x is None else f"({self.y}, {self.x})"
        return f"neuron {joined(self.channel)} at {where} of {self.layer}"


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
        _layer_shape(net, self.layer)
        return {}

    def __str__(self) -> str:
        return f"layer {self.layer}"


def _direction(given: Sequence[tuple[str, str]], net: Network, images: object) -> Direction:
    layer, path = given[0]
    return Direction(layer, read_vector(path))


@named(
    "objective",
    "direction",
    **spelled(
        ("LAYER", "FILE"),
        "inner product of a layer with the vector in a .npy file (one for each image with --batch)",
        _direction,
        instead="its file may hold a vector for each image of --batch",
    ),
)
@dataclass(frozen=True, eq=False)
class Direction(Leaf):
    """Inner product of a layer with a vector, averaged over positions, to be maximised.

    Parameters
    ----------
    layer : str
    vector : array
        Shape (C,) for one direction in channel space, or (C, H, W) for the inner product
        with a whole feature map; with a batch axis in front for one direction per image.
    """

    layer: str
    vector: np.ndarray = field(metadata=ARRAY)

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self._per_channel(net))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        positions = int(np.prod(x.shape[2:])) if self._per_channel(net) else 1
        return emit.sum_all(x * emit.parameter("direction"), x.shape) / positions

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        shape = _layer_shape(net, self.layer)
        v = as_array(self.vector, "direction")
        one = shape[1:2] if self._per_channel(net) else shape[1:]
        if v.shape == one:
            v = v[None]
        elif v.shape[1:] != one:
            raise InputError(
                f"a direction in layer {self.layer!r} has shape {shape[1:2]} or {shape[1:]}, not {v.shape}"
            )
        if self._per_channel(net):
            v = v.reshape(len(v), -1, *[1] * (len(shape) - 2))
        return {"direction": repeated(v, batch, "direction")}

    def _per_channel(self, net: Network) -> bool:
        rank = len(_layer_shape(net, self.layer))
        return np.ndim(self.vector) < rank - 1

    def __str__(self) -> str:
        return f"direction in {self.layer}"


def _layer_shape(net: Network, layer: str) -> tuple[int, ...]:
    shape = net.layer_shape(layer)
    if len(shape) < 2:
        raise InputError(f"layer {layer!r} of shape {shape} has no units")
    return shape


def _in_range(index: Any, size: int, batch: int, what: str) -> np.ndarray:
    values = np.atleast_1d(index)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        checks.refuse(index, what, "an integer or a list of integers")
    if values.min() < 0 or values.max() >= size:
        raise InputError(f"{what} is {joined(index)}; it must lie in 0 to {size - 1}.")
    return _per_image(values.tolist(), batch, what)


def _per_image(values: Sequence[int], batch: int, what: str) -> np.ndarray:
    return repeated(np.array(values, np.int64), batch, what)
