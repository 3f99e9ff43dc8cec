"""The cosine between a layer and a target: what embeddings of faces, and of CLIP, are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import checks
from ..arrays import shape_of
from ..errors import InputError, as_option
from ..named import Option, named
from .base import ARRAY, Leaf, as_array, repeated
from .channels import (
    AXIS,
    axis_elsewhere,
    channel_axis,
    probabilities,
    shape_with_units,
    unknown_channels,
)
from .inversion import target_features
from .spelling import Images, holds_array, read_vector, spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter

_LEAST_SQUARE = 1e-30  # of a length that still has a direction

By = Literal["layer", "position"]

_BY = Option(
    "by",
    "one cosine of the whole layer, or the mean over its positions of those along the channels (default: "
    "layer, and position for a vector with one number for each channel)",
    "text",
    ("layer", "position"),
)


def _cosine(given: Sequence[tuple[str, str]], net: Network, images: Images, **options: Any) -> Cosine:
    layers, files = zip(*given, strict=True)
    if len(set(layers)) > 1:
        raise InputError("--cosine can be repeated for one layer only")
    net.check_layer(layers[0])  # complains before files are read
    of_numpy = list(map(holds_array, files))
    if not any(of_numpy):
        return Cosine(layers[0], images(files, "sf.Cosine"), **options)
    if not all(of_numpy):
        raise InputError("--cosine takes photographs or .npy files, not both")
    vectors = [read_vector(file) for file in files]
    if len({vector.shape for vector in vectors}) > 1:
        raise InputError("the arrays of several --cosine must have one shape")
    return Cosine(layers[0], vectors[0] if len(vectors) == 1 else np.stack(vectors), **options)


@named(
    "objective",
    "cosine",
    AXIS,
    _BY,
    **spelled(
        ("LAYER", "PHOTO|FILE.npy"),
        "cosine between a layer and that of a photograph, or an embedding in a .npy file",
        _cosine,
        repeat=True,
        commands=("visualize", "gradient", "attribute"),
    ),
)
@dataclass(frozen=True, eq=False)
class Cosine(Leaf):
    """Cosine between a layer's value and a target, to be maximised; ``-sf.Cosine(...)`` drives them apart.

    ``<Phi(u), t> / (|Phi(u)| |t|)`` over the whole layer, for each image: from -1 to 1, whatever the length
    of either. It is how embeddings are compared: those of faces (ArcFace), and those of CLIP, where t may
    also come from the network of the texts.

    Parameters
    ----------
    layer : str
    target : array
        A photograph in [0, 1], (C, H, W) or (N, C, H, W) of the network's input, of which the layer's value
        is taken; or such a value, of the layer's shape or flattened: (D,), or (N, D) with a row for each
        image. A vector (C,), or (N, C), with one number for each channel is compared with each position. What
        fits the input is a photograph; the value of a layer of the same shape is given flattened.
    by : {"layer", "position"}, optional
        Whether the layer is one vector, or the value is the mean over its positions of the cosine along the
        channels. Default: "layer", and "position" for a target of the channels alone.
    axis : int, optional
        Axis of the channels, for positions; -1 is the last. Default: where the network shows that they are,
        else 1.

    Notes
    -----
    The cosine with a value that is zero throughout, as behind a closed ReLU, is 0, and so is its gradient; at
    a position alike. Lengths below 1e-15 are on the way to that. A target that is zero throughout is refused.
    """

    layer: str
    target: Any = field(metadata=ARRAY)
    by: By | None = None
    axis: int | None = None

    __repr__ = checks.summary

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by is not None:
            checks.one_of(self.by, "by", ("layer", "position"))

    def key(self, net: Network) -> tuple[Any, ...]:
        by = self._by(net)
        return (*super().key(net), by, by == "position" and channel_axis(net, self.layer, self.axis))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        rank = len(x.shape)
        whole = self._by(net) == "layer"
        axes = range(1, rank) if whole else [channel_axis(net, self.layer, self.axis)]
        dot = emit.sum(x * emit.parameter("target"), axes)  # the target has the length 1
        squares = emit.sum(x * x, axes)
        # no comparison, at which a part of the gradient would stop: the share is 1 but near zero
        bounded = emit.op("Max", squares, _LEAST_SQUARE)
        share = squares / bounded
        cosine = dot / emit.op("Sqrt", bounded) * share
        if whole or rank == 2:
            return cosine
        return emit.mean(cosine, range(1, rank - 1))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        target = self._targets(net).astype(np.float64)
        axis = channel_axis(net, self.layer, self.axis)
        axes = tuple(range(1, target.ndim)) if self._by(net) == "layer" else (axis,)
        if not np.any(target, axis=tuple(range(1, target.ndim))).all():
            raise InputError(f"the target of {self} is zero throughout, and a zero vector has no direction")
        target = target / np.abs(target).max(axis=tuple(range(1, target.ndim)), keepdims=True)
        length = np.sqrt(np.sum(target**2, axis=axes, keepdims=True))
        unit = np.divide(target, length, out=np.zeros_like(target), where=length > 0)
        return {"target": repeated(unit.astype(np.float32), batch, "target")}

    def _by(self, net: Network) -> By:
        """Whether the layer is one vector, or one at each position."""
        if self.by is not None:
            return self.by
        return "position" if self._kind(net) == "channels" else "layer"

    def _kind(self, net: Network) -> Literal["photograph", "layer", "flat", "channels"]:
        """What the target is, by its shape."""
        shape, given = shape_with_units(net, self.layer), shape_of(self.target)
        size, channels = int(np.prod(shape[1:])), shape[channel_axis(net, self.layer, self.axis)]
        if given[-3:] == net.input_shape and len(given) in (3, 4):
            return "photograph"
        if given[1:] == shape[1:] and len(given) == len(shape):
            return "layer"
        ambiguous = len(given) == 2 and given == shape[1:] and given[0] > 1  # tokens, or rows
        if given == shape[1:] and not ambiguous:
            return "layer"
        if len(given) in (1, 2) and not ambiguous and given[-1] in (size, channels):
            return "flat" if given[-1] == size else "channels"
        raise self._unfit(net, shape, size, channels)

    def _unfit(self, net: Network, shape: tuple[int, ...], size: int, channels: int) -> InputError:
        given = shape_of(self.target)
        if given == shape[1:]:
            return InputError(
                f"an array of shape {given} may be one value of layer {self.layer!r} or one row for each "
                f"image; give the value as shape {(1, *given)}, or ({size},)"
            )
        c, h, w = net.input_shape
        alone = "" if channels == size else f", or a vector ({channels},) of its channels"
        one = f"{shape} or ({size},)" if len(shape) > 2 else f"({size},)"
        return InputError(
            f"the target of a cosine in layer {self.layer!r} is a photograph of {c}x{h}x{w}, a value of the "
            f"layer, {one}, one for each image or for all{alone}; not an array of shape {given}"
        )

    def _targets(self, net: Network) -> np.ndarray:
        """The targets as they stand beside the layer, (N, ...)."""
        shape, kind = shape_with_units(net, self.layer), self._kind(net)
        if kind == "photograph":
            return target_features(net, self.layer, self.target, number_of_targets(self.target))
        target = as_array(self.target, "target of a cosine")
        if kind != "channels":
            return target.reshape(-1, *shape[1:])
        axis = channel_axis(net, self.layer, self.axis)
        channels = target.reshape(-1, *(shape[k] if k == axis else 1 for k in range(1, len(shape))))
        return np.broadcast_to(channels, (len(channels), *shape[1:]))

    def notes(self, net: Network) -> list[str]:
        unknown = unknown_channels(net, self) if self._by(net) == "position" else []
        return [*unknown, *probabilities(net, self)]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        axis = axis_elsewhere(net, self, layer)
        said = {"by": self.by, "axis": axis}
        more = {name: value for name, value in said.items() if value is not None}
        python = "".join(f", {name}={value!r}" for name, value in more.items())
        flags = "".join(f" --{name} {value}" for name, value in more.items())
        return f"sf.Cosine({layer!r}, target{python})", f"{as_option('cosine', layer)} FILE{flags}"

    def fits(self, layer: str, net: Network) -> bool:
        if len(net.layer_shape(layer)) < 2:
            return False
        there = replace(self, layer=layer, axis=axis_elsewhere(net, self, layer))
        try:
            return there._kind(net) == self._kind(net)
        except InputError:
            return False

    def arrays_of_images(self, net: Network) -> Sequence[str]:
        return ("target",) if number_of_targets(self.target) > 1 else ()

    @property
    def natural_batch(self) -> int:
        return number_of_targets(self.target)

    def __str__(self) -> str:
        return f"cosine in {self.layer}"


def number_of_targets(target: Any) -> int:
    """N of photographs (N, C, H, W) and rows (N, D); 1 of all else, as one photograph or one vector."""
    shape = shape_of(target)
    return shape[0] if len(shape) in (2, 4) else 1
