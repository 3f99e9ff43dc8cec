"""The layers that the paper names, found in a network's file whoever exported it.

Keras, torchvision and timm name the tensors of an export each in its own way, and merge batch normalizations
into convolutions where they can. What all exports of an architecture share is the order of its convolutions
and where its rectifiers are, so that is what the table goes by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import onnx

from .. import checks
from ..errors import UnknownNameError, did_you_mean
from ..network import Network, is_pattern

# What may stand between a convolution and its rectifier, or between a rectifier and a convolution.
_AFFINE = {"BatchNormalization", "Add", "Mul", "Sub", "Div", "Identity", "Cast"}
_MOVES = {"Transpose", "Pad", "Identity", "Cast", "Reshape", "QuantizeLinear", "DequantizeLinear"}
_RECTIFIERS = {"Relu", "Clip"}


@dataclass(frozen=True)
class Place:
    """Where a layer is, in terms that every export shares.

    Parameters
    ----------
    convolutions : tuple of int
        How many the architecture has; another number means another architecture. timm's VGG has two more,
        which are its dense layers.
    convolution : int
        One of them, counted from 1.
    at : {"rectified after", "before rectifier after", "before rectifier before"}
        The value of the rectifier that follows the convolution; what that rectifier takes, a batch
        normalization that may be merged into the convolution; or what the rectifier in front of the
        convolution takes.
    """

    convolutions: tuple[int, ...]
    convolution: int
    at: Literal["rectified after", "before rectifier after", "before rectifier before"]


# DenseNet121: one convolution, then blocks of 6, 12, 24 and 16 layers of two each, with one after each of the
# first three blocks.
_DENSENET = 1 + 2 * (6 + 12 + 24 + 16) + 3
PLACES: dict[str, Place] = {
    "block5_conv1": Place((16, 18), 13, "rectified after"),
    "conv3_block3_1_bn": Place((_DENSENET,), 1 + 2 * 6 + 1 + 2 * 2 + 1, "before rectifier after"),
    "conv5_block12_0_bn": Place(
        (_DENSENET,), 1 + 2 * (6 + 12 + 24) + 3 + 2 * 11 + 1, "before rectifier before"
    ),
}


def find_layer(net: Network, name: str) -> str:
    """The tensor that a layer's name means: its own name, or one of the paper's.

    Parameters
    ----------
    net : Network
    name : str
        Any layer of `net`, as `Network.layer_name` reads it, or ``block5_conv1`` of a VGG19,
        ``conv3_block3_1_bn`` or ``conv5_block12_0_bn`` of a DenseNet121.

    Returns
    -------
    str
        The name of the tensor in the network's file.

    Raises
    ------
    UnknownNameError
        The network has no such layer, or several.
    """
    if not isinstance(net, Network):
        checks.refuse(net, "net", "a network opened by sf.load")
    names = list(net.shapes)
    if checks.text(name, "a layer", "the name of one") in names:
        return name
    place = PLACES.get(name)
    if place is None and net.layer_names(name):
        return net.layer_name(name)
    if place is None:
        raise UnknownNameError(f"{net.name} has no layer {name!r}.{did_you_mean(name, [*names, *PLACES])}")
    graph = _Wiring(net.model.graph)
    tensor = graph.tensor(place) if len(graph.convolutions) in place.convolutions else None
    if tensor is None or tensor not in names:
        raise UnknownNameError(
            f"{name!r} is a layer of a network with {place.convolutions[0]} convolutions; {net.name} has "
            f"{len(graph.convolutions)}, or is wired in another way. Name the layer by its tensor: "
            f"'sobolevflow inspect' lists them."
        )
    return tensor


def find_layers(net: Network, name: str) -> list[str]:
    """Every layer that a pattern fits, else the one that `find_layer` finds."""
    several = net.layer_names(name) if isinstance(name, str) and is_pattern(name) else []
    return several or [find_layer(net, name)]


class _Wiring:
    """Who makes a tensor, and who takes it."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.makers = {output: node for node in graph.node for output in node.output}
        self.takers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self.takers.setdefault(name, []).append(node)
        self.convolutions = [node for node in graph.node if node.op_type == "Conv"]

    def tensor(self, place: Place) -> str | None:
        convolution = self.convolutions[place.convolution - 1]
        if place.at == "before rectifier before":
            return self._before(convolution)
        rectifier = next(self._after(convolution), None)
        if rectifier is None:
            return None
        return str(rectifier.output[0] if place.at == "rectified after" else rectifier.input[0])

    def _after(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The rectifiers that follow a node with nothing but affine maps between."""
        for taker in self.takers.get(node.output[0], []):
            if taker.op_type in _RECTIFIERS:
                yield taker
            elif taker.op_type in _AFFINE | _MOVES:
                yield from self._after(taker)

    def _before(self, node: onnx.NodeProto) -> str | None:
        """What the rectifier takes whose value a node takes."""
        maker = self.makers.get(node.input[0])
        while maker is not None and maker.op_type in _MOVES:
            maker = self.makers.get(maker.input[0])
        return str(maker.input[0]) if maker is not None and maker.op_type in _RECTIFIERS else None
