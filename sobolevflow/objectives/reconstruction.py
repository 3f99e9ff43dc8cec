"""The error of an autoencoder, |f(u) - u|^2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import checks
from ..errors import InputError, as_option
from ..named import Option, named
from .base import Leaf
from .spelling import spelled

if TYPE_CHECKING:
    from ..network import Network
    from ..onnxgrad import Value
    from .emitter import Emitter

_OUTPUT = "output"  # what stands for the network's first output on the command line

# The attributes of a convolution, in normal form, that maps each pixel by itself.
_OF_ONE_PIXEL = {"kernel_shape": [1, 1], "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, "group": 1}

_OF = Option(
    "of",
    "what it is compared with: the network's input, pre-processed, or the image in [0, 1] (default: input)",
    "text",
    ("input", "image"),
)


def _reconstruction(given: Sequence[str], net: Network, images: object, **options: Any) -> Reconstruction:
    stands_for_it = given[0] == _OUTPUT and _OUTPUT not in net.shapes
    return Reconstruction(None if stands_for_it else given[0], **options)


@named(
    "objective",
    "reconstruction",
    _OF,
    **spelled(
        f"LAYER|{_OUTPUT}",
        "squared error of an autoencoder, between the image and a layer, or its output, that reproduces it",
        _reconstruction,
        commands=("visualize", "gradient", "attribute"),
    ),
)
@dataclass(frozen=True)
class Reconstruction(Leaf):
    """Squared error of an autoencoder, ``|f(u) - x(u)|^2`` per image, to be minimised.

    The sum of squares over all pixels and channels. The gradient goes through both, what the network makes of
    the image and the image itself. Descending leads to images that the autoencoder reproduces, ascending,
    ``sf.objectives.maximize(sf.Reconstruction())``, to what it cannot; its attribution says which pixels of a
    photograph the error comes from.

    Parameters
    ----------
    layer : str, optional
        The reconstruction: of the image's shape, with channels first or last, or flattened, (N, D). Default:
        the network's first output.
    of : {"input", "image"}
        What f is compared with: the network's own input, ``x = (u * scale - mean) / std`` in the network's
        order of channels, which an autoencoder is trained to reproduce; or the image u itself, RGB in [0, 1],
        where the output is in that unit, by a sigmoid for instance, and the input is not. The same where
        nothing is pre-processed.
    """

    layer: str | None = None  # type: ignore[assignment]  # None until there is a network
    of: Literal["input", "image"] = "input"

    maximize = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of(self.of, "of", ("input", "image"))

    def tensor(self, net: Network) -> str:
        return str(net.model.graph.output[0].name) if self.layer is None else self.layer

    def key(self, net: Network) -> tuple[Any, ...]:
        return (*super().key(net), self.of)

    def emit(self, emit: Emitter, x: Value, net: Network) -> Value:
        difference = x - self._compared(emit, x, net)
        return emit.sum_all(difference * difference, x.shape)

    def _compared(self, emit: Emitter, x: Value, net: Network) -> Value:
        """What the layer x is to reproduce, in its layout."""
        image = emit.image
        if self.of == "input" and not net.preprocess.is_identity:
            matrix, bias = net.preprocess.matrix_and_bias(net.input_shape[0])
            kernel = emit.const(matrix[:, :, None, None])
            image = emit.op("Conv", image, kernel, emit.const(bias), **_OF_ONE_PIXEL)
        if self._channels_last(net):
            image = emit.op("Transpose", image, perm=[0, 2, 3, 1])
        return image if len(x.shape) == 4 else emit.reshape(image, x.shape)

    def _channels_last(self, net: Network) -> bool:
        """Whether the layer has the channels last; flattened, it has the network's own layout.

        Raises
        ------
        InputError
            It has not the shape of the image.
        """
        layer = self.tensor(net)
        shape, (c, h, w) = net.layer_shape(layer), net.input_shape
        first, last = (1, c, h, w), (1, h, w, c)
        if shape in ((1, math.prod(net.input_shape)), first if not net.channels_last else last):
            return net.channels_last
        if shape in (first, last):
            return shape == last
        raise InputError(
            f"layer {layer!r} of shape {shape} is no reconstruction of the image, whose shape is {first}; "
            "name the layer that reproduces it, of that shape, with the channels last, or flattened"
        )

    def parameters(self, net: Network, batch: int) -> dict[str, np.ndarray]:
        self._channels_last(net)
        return {}

    def notes(self, net: Network) -> list[str]:
        layer, (low, high) = self.tensor(net), net.preprocess.range(net.input_shape[0])
        squashed = any(found.operator in ("Sigmoid", "HardSigmoid") for found in net.squashed(layer))
        if self.of == "image" or not squashed or (low >= 0 and high <= 1):
            return []
        return [
            f"the reconstruction {layer!r} lies in [0, 1], behind a sigmoid, and is compared with the "
            f"pre-processed input, from {low:.3g} to {high:.3g}; to compare it with the image, say "
            'of="image" (--of image)'
        ]

    def spelled_at(self, layer: str, net: Network) -> tuple[str, str]:
        of = ("", "") if self.of == "input" else (f", of={self.of!r}", f" --of {self.of}")
        return f"sf.Reconstruction({layer!r}{of[0]})", as_option("reconstruction", layer) + of[1]

    def fits(self, layer: str, net: Network) -> bool:
        try:
            Reconstruction(layer)._channels_last(net)
        except InputError:
            return False
        return True

    def __str__(self) -> str:
        return "reconstruction error" + ("" if self.layer is None else f" of {self.layer}")
