"""Diversity: the images of a batch are to differ from one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .base import Leaf

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
        Of shape (N, C, H, W).

    Notes
    -----
    The value of an image depends on the others. What is differentiated is the sum over the batch, which has
    every pair twice.
    """

    layer: str

    whole_batch = True

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        batch, channels, *places = x.shape
        flat = emit.reshape(x, (batch, channels, int(np.prod(places))))
        gram = emit.op("MatMul", flat, emit.op("Transpose", flat, perm=[0, 2, 1]))
        row = emit.reshape(gram, (batch, channels * channels))
        squares = emit.reshape(emit.sum(row * row, [1]), (batch, 1))
        unit = row / emit.op("Sqrt", squares + 1e-12)
        cosines = emit.op("MatMul", unit, emit.op("Transpose", unit, perm=[1, 0]))
        with_itself = emit.sum(unit * unit, [1])
        return -((emit.sum(cosines, [1]) - with_itself) / emit.parameter("others"))

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        if len(net.layer_shape(self.layer)) != 4:
            raise InputError(f"diversity needs a layer of shape (N, C, H, W); {self.layer!r} has another")
        if batch < 2:
            raise InputError("diversity is between the images of a batch; ask for batch=2 or more")
        return {"others": np.full(batch, batch - 1, np.float32)}

    def __str__(self) -> str:
        return f"diversity in {self.layer}"
