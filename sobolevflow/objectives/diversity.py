"""Diversity: the images of a batch are to differ from one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .base import Leaf
from .channels import channel_axis, place_axes, unknown_channels, warn_of_another_axis

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter


@dataclass(frozen=True)
class Diversity(Leaf):
    """Minus the mean cosine between the Gram matrices of an image and of the others, to be maximised.

    The Gram matrix of a layer, sums over positions of products of two channels, says which features occur
    together, wherever they are. Added to another objective with a weight, the term shows several things that
    excite the same unit (Olah, Mordvintsev and Schubert, Distill 2017)::

        sf.visualize(net, sf.Channel("mixed4a", 97) + 2 * sf.Diversity("mixed4a"), batch=4)

    Parameters
    ----------
    layer : str
        With channels and positions: (N, C, H, W), (N, H, W, C), tokens (N, T, D), ...
    axis : int, optional
        Axis of the channels; -1 is the last. Default: where the network shows that they are, else 1.

    Notes
    -----
    The value of an image depends on the others. What is differentiated is the sum over the batch, which has
    every pair twice.
    """

    layer: str
    axis: int | None = None

    whole_batch = True

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), channel_axis(net, self.layer, self.axis))

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        axis, rank = channel_axis(net, self.layer, self.axis), len(x.shape)
        batch, channels = x.shape[0], x.shape[axis]
        places = [x.shape[k] for k in place_axes(rank, axis)]
        if axis != 1:
            x = emit.op("Transpose", x, perm=[0, axis, *place_axes(rank, axis)])
        flat = emit.reshape(x, (batch, channels, int(np.prod(places))))
        gram = emit.op("MatMul", flat, emit.op("Transpose", flat, perm=[0, 2, 1]))
        row = emit.reshape(gram, (batch, channels * channels))
        squares = emit.reshape(emit.sum(row * row, [1]), (batch, 1))
        unit = row / emit.op("Sqrt", squares + 1e-12)
        cosines = emit.op("MatMul", unit, emit.op("Transpose", unit, perm=[1, 0]))
        with_itself = emit.sum(unit * unit, [1])
        return -((emit.sum(cosines, [1]) - with_itself) / emit.parameter("others"))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        shape = net.layer_shape(self.layer)
        if len(shape) < 3:
            raise InputError(
                f"diversity needs a layer with positions, as one of shape (N, C, H, W); {self.layer!r} is of "
                f"shape {shape}"
            )
        channel_axis(net, self.layer, self.axis)
        if batch < 2:
            raise InputError("diversity is between the images of a batch; ask for batch=2 or more")
        if len(shape) == 4:
            warn_of_another_axis(net, self)
        return {"others": np.full(batch, batch - 1, np.float32)}

    def notes(self, net: Network) -> list[str]:
        return unknown_channels(net, self)

    def __str__(self) -> str:
        return f"diversity in {self.layer}"
