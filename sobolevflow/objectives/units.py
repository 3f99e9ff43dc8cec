"""A class, a channel, a neuron, a direction or a whole layer, to be maximised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import fingerprint
from ..errors import InputError
from .base import Leaf, _array, _Emitter, _repeat

if TYPE_CHECKING:
    from ..network import Network


Index = int | Sequence[int] | None


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

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        batch, classes = emit.graph.shape(x)[0], net.classes
        scores = emit.reshape(x, (batch, classes))
        return emit.sum(emit("Mul", scores, emit.one_hot("class", classes)), [1])

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

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Class", "which": _plain(self.which)}

    def __str__(self) -> str:
        return f"class {_joined(self.which)}"


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

    def tensor(self, net: Network) -> str:
        return self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.axis)

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        shape = emit.graph.shape(x)
        axis = self.axis % len(shape)
        others = [k for k in range(1, len(shape)) if k != axis]
        mean = emit("ReduceMean", x, emit.const(others, np.int64), keepdims=0) if others else x
        return emit.sum(emit("Mul", mean, emit.one_hot("channel", shape[axis])), [1])

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        size = _axis_size(net, self.layer, self.axis)
        return {"channel": _in_range(self.channel, size, batch, f"channel of {self.layer!r}")}

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        channel = int(np.atleast_1d(self.channel)[0])
        return f"sf.Channel({layer!r}, {channel})", f"--channel {layer}:{channel}"

    @property
    def natural_batch(self) -> int:
        return np.size(self.channel)

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Channel", "layer": self.layer, "channel": _plain(self.channel), "axis": self.axis}

    def __str__(self) -> str:
        return f"channel {_joined(self.channel)} of {self.layer}"


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

    def tensor(self, net: Network) -> str:
        return self.layer

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        batch, *unit = emit.graph.shape(x)
        pick = emit.one_hot("channel", unit[0])
        for k, (name, size) in enumerate(zip(("y", "x"), unit[1:], strict=False)):
            row = emit.reshape(emit.one_hot(name, size), (batch, *[1] * (k + 1), size))
            pick = emit("Mul", emit.reshape(pick, (batch, *unit[: k + 1], 1)), row)
        return emit.sum_all(emit("Mul", x, pick), (batch, *unit))

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
        given = (self.channel, self.y, self.x)
        unit = [int(np.atleast_1d(k)[0]) for k in given if k is not None]
        return (
            f"sf.Neuron({layer!r}, {', '.join(map(str, unit))})",
            f"--neuron {layer}:{':'.join(map(str, unit))}",
        )

    @property
    def natural_batch(self) -> int:
        return max(np.size(v) for v in (self.channel, self.y, self.x) if v is not None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": "Neuron",
            "layer": self.layer,
            "channel": _plain(self.channel),
            "y": _plain(self.y),
            "x": _plain(self.x),
        }

    def __str__(self) -> str:
        where = "centre" if self.y is None and self.x is None else f"({self.y}, {self.x})"
        return f"neuron {_joined(self.channel)} at {where} of {self.layer}"


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
    vector: np.ndarray

    def tensor(self, net: Network) -> str:
        return self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self._per_channel(net))

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        shape = emit.graph.shape(x)
        product = emit("Mul", x, emit.parameter("direction"))
        total = emit.sum_all(product, shape)
        positions = int(np.prod(shape[2:])) if self._per_channel(net) else 1
        return emit("Div", total, emit.const(positions))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        shape = _layer_shape(net, self.layer)
        v = _array(self.vector, "direction")
        unit = shape[1:2] if self._per_channel(net) else shape[1:]
        if v.shape == unit:
            v = v[None]
        elif v.shape[1:] != unit:
            raise InputError(
                f"a direction in layer {self.layer!r} has shape {shape[1:2]} or {shape[1:]}, not {v.shape}"
            )
        if self._per_channel(net):
            v = v.reshape(len(v), -1, *[1] * (len(shape) - 2))
        return {"direction": _repeat(v, batch, "direction")}

    def _per_channel(self, net: Network) -> bool:
        rank = len(_layer_shape(net, self.layer))
        return np.ndim(self.vector) < rank - 1

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Direction", "layer": self.layer, "vector": fingerprint(self.vector)}

    def __str__(self) -> str:
        return f"direction in {self.layer}"


@dataclass(frozen=True)
class Layer(Leaf):
    """Half the mean of squares of a whole layer, to be maximised (DeepDream)."""

    layer: str

    def tensor(self, net: Network) -> str:
        return self.layer

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        shape = emit.graph.shape(x)
        half_mean = 0.5 / np.prod(shape[1:])
        return emit("Mul", emit.sum_all(emit("Mul", x, x), shape), emit.const(half_mean))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        _layer_shape(net, self.layer)
        return {}

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Layer", "layer": self.layer}

    def __str__(self) -> str:
        return f"layer {self.layer}"


def _layer_shape(net: Network, layer: str) -> tuple[int, ...]:
    shape = net.layer_shape(layer)
    if len(shape) < 2:
        raise InputError(f"layer {layer!r} of shape {shape} has no units")
    return shape


def _axis_size(net: Network, layer: str, axis: int) -> int:
    shape = _layer_shape(net, layer)
    if not -len(shape) < axis < len(shape) or axis == 0:
        raise InputError(f"layer {layer!r} of shape {shape} has no channel axis {axis}")
    return shape[axis]


def _in_range(index: Any, size: int, batch: int, what: str) -> np.ndarray:
    values = np.atleast_1d(index)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"{what} must be an integer or a list of integers, not {index!r}")
    if values.min() < 0 or values.max() >= size:
        raise InputError(f"{what} must lie in 0 to {size - 1}, not {_joined(index)}")
    return _per_image(values.tolist(), batch, what)


def _per_image(values: Sequence[int], batch: int, what: str) -> np.ndarray:
    return _repeat(np.array(values, np.int64), batch, what)


def _plain(value: Any) -> Any:
    """NumPy scalars and sequences as JSON knows them."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value]


def _joined(value: Any) -> str:
    plain = _plain(value)
    return ", ".join(map(str, plain)) if isinstance(plain, list) else str(plain)
