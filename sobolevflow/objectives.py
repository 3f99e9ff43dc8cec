"""What to maximise or to match, as values that can be added and scaled.

An objective reports one number per image and knows its sense: `Class`, `Channel`, `Neuron`,
`Direction` and `Layer` are maximised, `Inversion` is minimised. It becomes a few ONNX nodes
behind the network. What distinguishes one class, unit or target from another is a runtime
input of those nodes, so that one onnxruntime session serves all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import fingerprint
from .errors import InputError
from .onnxgrad import Graph, Parameter

if TYPE_CHECKING:
    from .network import Network

Index = int | Sequence[int] | None


class _Emitter:
    """Appends the nodes of one objective term, with its runtime inputs, to a graph."""

    def __init__(self, graph: Graph, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix

    def __call__(self, op: str, *inputs: str, **attrs: Any) -> str:
        return self.graph.add(op, inputs, output=self.graph.fresh(f"objective/{op}"), **attrs)

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        return self.graph.add_constant(np.asarray(value, dtype))

    def parameter(self, name: str) -> str:
        return self.prefix + name

    def one_hot(self, name: str, depth: int) -> str:
        """(N, depth) with a one at runtime input `name` (N,)."""
        return self("OneHot", self.parameter(name), self.const(depth, np.int64), self.const([0, 1]), axis=-1)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self("Reshape", x, self.const(shape, np.int64))

    def sum(self, x: str, axes: Sequence[int]) -> str:
        return self("ReduceSum", x, self.const(axes, np.int64), keepdims=0)

    def sum_all(self, x: str, shape: Sequence[int]) -> str:
        """Sum over everything but the batch."""
        return self.sum(x, range(1, len(shape)))


class Objective:
    """Base of all objectives: algebra and the interface to the gradient model."""

    maximize: bool | None = True
    whole_batch = False  # whether the value of an image depends on the others

    def __mul__(self, weight: float) -> Combination:
        return Combination(((_finite(weight), self),), self.maximize)

    __rmul__ = __mul__

    def __neg__(self) -> Combination:
        return self * -1.0

    def __add__(self, other: Objective) -> Combination:
        if not isinstance(other, Objective):
            return NotImplemented
        sense = self.maximize if self.maximize == other.maximize else None
        return Combination((*_terms(self), *_terms(other)), sense)

    def __sub__(self, other: Objective) -> Combination:
        if not isinstance(other, Objective):
            return NotImplemented
        return self + -other

    def leaves(self) -> list[Leaf]:
        """The elementary objectives this one is made of."""
        return [leaf for _, leaf in _terms(self)]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description for a run's manifest."""
        raise TypeError(f"{type(self).__name__} must define to_dict")


class Leaf(Objective):
    """An objective on one tensor of the network."""

    def tensor(self, net: Network) -> str:
        """The user's name of the tensor it looks at."""
        raise TypeError(f"{type(self).__name__} must define tensor")

    def key(self, net: Network) -> tuple[Any, ...]:
        """What the shape of its graph depends on; equal keys share a session."""
        return (type(self).__name__, self.tensor(net))

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        """Append its nodes; return the name of its value, shape (N,)."""
        raise TypeError(f"{type(self).__name__} must define emit")

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        """Values of its runtime inputs for a batch."""
        raise TypeError(f"{type(self).__name__} must define parameters")

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        """How to ask for the same unit in another layer, in Python and on the command line."""
        return f"sf.Layer({layer!r})", f"--layer {layer}"

    @property
    def natural_batch(self) -> int:
        """How many images it describes: the length of its index list or target batch."""
        return 1


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


@dataclass(frozen=True, eq=False)
class Inversion(Leaf):
    """Distance of a layer's features to those of a photograph, to be minimised (eq. 3).

    ``D(u) = ||m (Phi(u) - Phi_0)||^p / ||m Phi_0||^p`` with the Euclidean norm over the
    whole layer, per image; 1 means as far off as all-zero features.

    Parameters
    ----------
    layer : str
    image : array, shape (N, C, H, W) or (C, H, W)
        Float, in [0, 1]; Phi_0 are its features.
    p : {1, 2}
        Exponent of the norm. For p = 1 the root is taken of (ratio of squares + 1e-12), so
        that the gradient stays finite where the features agree.
    mask : array, optional
        Weights m in [0, 1] over positions: of the layer's (H', W'), or of the image's
        (H, W) and then averaged down. Needs a layer (N, C, H', W').
    """

    layer: str
    image: np.ndarray = field(repr=False)
    p: int = 2
    mask: np.ndarray | None = field(default=None, repr=False)

    maximize = False

    def __post_init__(self) -> None:
        if self.p not in (1, 2):
            raise InputError(f"p must be 1 or 2, not {self.p!r}")

    def tensor(self, net: Network) -> str:
        return self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.p, self.mask is not None)

    def emit(self, emit: _Emitter, x: str, net: Network) -> str:
        shape = emit.graph.shape(x)
        target = emit.parameter("target")
        difference = emit("Sub", x, target)
        if self.mask is not None:
            difference = emit("Mul", difference, emit.parameter("mask"))
            target = emit("Mul", target, emit.parameter("mask"))
        ratio = emit(
            "Div",
            emit.sum_all(emit("Mul", difference, difference), shape),
            emit.sum_all(emit("Mul", target, target), shape),
        )
        return emit("Sqrt", emit("Add", ratio, emit.const(1e-12))) if self.p == 1 else ratio

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        target = target_features(net, self.layer, self.image, batch)
        out = {"target": target}
        weighted = target
        if self.mask is not None:
            mask = _layer_mask(self.mask, target.shape, net.input_shape[1:])
            out["mask"] = np.broadcast_to(mask, (batch, *mask.shape[1:])).copy()
            weighted = target * mask
            _check_not_zero(weighted, self.layer)
        return out

    @property
    def natural_batch(self) -> int:
        return len(self.image) if np.ndim(self.image) == 4 else 1

    def to_dict(self) -> dict[str, Any]:
        mask = None if self.mask is None else fingerprint(self.mask)
        return {
            "type": "Inversion",
            "layer": self.layer,
            "image": fingerprint(self.image),
            "p": self.p,
            "mask": mask,
        }

    def __str__(self) -> str:
        return f"inversion of {self.layer}"


@dataclass(frozen=True, eq=False)
class Combination(Objective):
    """A weighted sum of objectives, as ``2 * a - b`` makes it.

    ``maximize`` is None where its terms disagree; `maximize` and `minimize` settle it.
    """

    terms: tuple[tuple[float, Objective], ...]
    maximize: bool | None = True

    def to_dict(self) -> dict[str, Any]:
        terms = [{"weight": w, "objective": leaf.to_dict()} for w, leaf in _terms(self)]
        return {"type": "Combination", "terms": terms, "maximize": self.maximize}

    def __str__(self) -> str:
        return " + ".join(f"{w:g} * ({leaf})" for w, leaf in _terms(self)).replace("+ -", "- ")


def maximize(objective: Objective) -> Combination:
    """The same value, to be maximised: settles the sense of a mixed sum."""
    return replace(1.0 * objective, maximize=True)


def minimize(objective: Objective) -> Combination:
    """The same value, to be minimised: settles the sense of a mixed sum."""
    return replace(1.0 * objective, maximize=False)


def structure(objective: Objective, net: Network) -> tuple[Any, ...]:
    """What the gradient graph of an objective depends on; equal structures share a session."""
    weighted = isinstance(objective, Combination)
    return (weighted, *(leaf.key(net) for leaf in objective.leaves()))


def emit_objective(objective: Objective, net: Network, graph: Graph, tensors: dict[str, str]) -> str:
    """Append the objective to a forward graph; return the name of its value, shape (N,)."""
    values = [
        leaf.emit(_Emitter(graph, prefix), tensors[leaf.tensor(net)], net)
        for prefix, leaf in _prefixed(objective)
    ]
    if not isinstance(objective, Combination):
        return values[0]
    emit = _Emitter(graph, "")
    batch = graph.shape(values[0])[0] if values[0] in graph.types else -1
    columns = [emit.reshape(v, (batch, 1)) for v in values]
    return emit.sum(emit("Mul", emit("Concat", *columns, axis=1), "weights"), [1])


def runtime_parameters(objective: Objective, net: Network, batch: int) -> list[Parameter]:
    """The objective's runtime inputs with their values, per image (batch, ...).

    Raises
    ------
    UnsupportedOpError
        No gradient reaches one of its layers.
    """
    for leaf in objective.leaves():
        net.check_differentiable(leaf.tensor(net))
    out = [
        Parameter(prefix + name, value)
        for prefix, leaf in _prefixed(objective)
        for name, value in leaf.parameters(net, batch).items()
    ]
    if isinstance(objective, Combination):
        weights = np.array([w for w, _ in _terms(objective)], np.float32)
        out.append(Parameter("weights", np.tile(weights, (batch, 1))))
    return out


def natural_batch(objective: Objective) -> int:
    """How many images an objective describes: the longest of its lists of targets."""
    return max(leaf.natural_batch for leaf in objective.leaves())


def _prefixed(objective: Objective) -> list[tuple[str, Leaf]]:
    """Leaves with the prefix of their runtime inputs: none where there is just one."""
    leaves = objective.leaves()
    return [("" if len(leaves) == 1 else f"{k}/", leaf) for k, leaf in enumerate(leaves)]


def _terms(objective: Objective) -> list[tuple[float, Leaf]]:
    if isinstance(objective, Combination):
        return [(w * v, leaf) for w, inner in objective.terms for v, leaf in _terms(inner)]
    assert isinstance(objective, Leaf)
    return [(1.0, objective)]


def target_features(net: Network, layer: str, image: np.ndarray, batch: int) -> np.ndarray:
    """A layer's features of the photographs to be matched, one for each image of a batch.

    Raises
    ------
    InputError
        The photographs do not fit the network or the batch, are not in [0, 1], or have no features at all.
    """
    images = net.check_image(image)
    if images.min() < 0 or images.max() > 1:
        raise InputError(
            f"the image to invert holds values from {images.min():g} to {images.max():g}; "
            "they must lie in [0, 1]"
        )
    (target,) = net.features(images, [layer])
    _check_not_zero(target, layer)
    return _repeat(target, batch, "target image")


def _check_not_zero(features: np.ndarray, layer: str) -> None:
    if not np.all(np.any(features.reshape(len(features), -1), axis=1)):
        raise InputError(f"the features of the image in layer {layer!r} are all zero; nothing to match")


def _finite(weight: Any) -> float:
    try:
        value = float(weight)
    except (TypeError, ValueError):
        raise InputError(f"an objective is scaled by a number, not by {weight!r}") from None
    if not np.isfinite(value):
        raise InputError(f"an objective's weight must be finite, not {value}")
    return value


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


def _repeat(values: np.ndarray, batch: int, what: str) -> np.ndarray:
    """One entry for all images, or one for each."""
    if len(values) not in (1, batch):
        fits = "1" if batch == 1 else f"1 or {batch}"
        raise InputError(f"{len(values)} entries of {what} were given for a batch of {batch}; give {fits}")
    return np.repeat(values, batch, axis=0) if len(values) == 1 else np.ascontiguousarray(values)


def _array(value: Any, what: str) -> np.ndarray:
    array = np.asarray(value, np.float32)
    if not array.ndim or not np.isfinite(array).all():
        raise InputError(f"a {what} must be an array of finite numbers")
    return array


def _layer_mask(mask: Any, layer: tuple[int, ...], image: tuple[int, ...]) -> np.ndarray:
    """A mask over positions as (1, 1, H', W') of the layer."""
    m = _array(mask, "mask")
    if m.min() < 0 or m.max() > 1:
        raise InputError(f"a mask holds weights in [0, 1], not from {m.min():g} to {m.max():g}")
    if len(layer) != 4:
        raise InputError(f"a mask needs a layer with positions, but its shape is {layer}")
    if m.shape == layer[2:]:
        return m[None, None]
    if m.shape != image:
        raise InputError(f"a mask has the layer's size {layer[2:]} or the image's {image}, not {m.shape}")
    rows = _averaging(image[0], layer[2])
    columns = _averaging(image[1], layer[3])
    return np.asarray(rows @ m @ columns.T, np.float32)[None, None]


def _averaging(size: int, out: int) -> np.ndarray:
    """Matrix (out, size) whose rows average equal shares of an axis."""
    edges = np.linspace(0, size, out + 1)
    lo, hi = edges[:-1, None], edges[1:, None]
    cell = np.arange(size)[None, :]
    overlap = np.clip(np.minimum(hi, cell + 1) - np.maximum(lo, cell), 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))


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
