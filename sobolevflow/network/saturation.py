"""Layers that hold probabilities, and what comes before them.

A probability saturates: near 0 and 1 its gradient vanishes. The sigmoid at the end of a classifier is left
out by itself (`classes`); here are those that a layer of the user's choice lies behind, as in the heads of
detectors, where boxes and the sigmoids of scores are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ..onnxgrad import array_of, attributes_of
from .following import constants
from .layers import SAME_CONTENT
from .stripping import Functions

_MOVING = ("Transpose", "Slice", "Split", "Gather")
_LARGEST = ("ReduceMax", "ReduceMin", "MaxPool", "GlobalMaxPool")
# at the end of a network alone: inside, a sigmoid that is multiplied is a gate
_JOINING = ("Concat", "Mul", "Add", "Sum", "Mean", "Max", "Min")


@dataclass(frozen=True)
class Squashed:
    """What a layer is the sigmoid or softmax of.

    Attributes
    ----------
    operator : str
    layer : str
        The tensor before it.
    channel : int or None
        Where the channel that was asked for lies there; None where that cannot be told.
    """

    operator: str
    layer: str
    channel: int | None


def squashed(
    graph: onnx.GraphProto,
    makers: Mapping[str, onnx.NodeProto],
    shapes: Mapping[str, Sequence[int]],
    channel_axis: Callable[[str], int],
    layer: str,
    channels: Iterable[int] | None,
) -> list[Squashed]:
    """What channels of a layer are the probabilities of; empty where they are none.

    Seen through operators that move values about; at the end of a network also through those that join them,
    and through functions of one entry, such as a logarithm or a factor.
    Of a whole layer (`channels` is None) all parts have to be probabilities.

    Parameters
    ----------
    graph : onnx.GraphProto
    makers : mapping
        From the names of tensors to the nodes that make them.
    shapes : mapping
        Of the layers.
    channel_axis : callable
        From the name of a layer to the axis of its channels.
    layer : str
    channels : iterable of int, or None
    """
    functions = Functions(graph, makers)
    at_end = _leads_out(functions, layer)
    walk = _Walk(functions, shapes, channel_axis, at_end, whole=channels is None)
    asked = [None] if channels is None else channels
    return list(dict.fromkeys(each for channel in asked for each in walk.behind(layer, channel) or ()))


@dataclass(frozen=True)
class _Walk:
    functions: Functions
    shapes: Mapping[str, Sequence[int]]
    channel_axis: Callable[[str], int]
    at_end: bool
    whole: bool

    def behind(self, layer: str, channel: int | None) -> list[Squashed] | None:
        """What is found behind a tensor, None where it is no probability."""
        node = self.functions.makers.get(layer)
        if node is None or layer not in self.shapes:
            return None
        if (squashed := self.functions.squashed(layer)) is not None:
            return [Squashed(squashed.operator, squashed.layer, channel)]
        bent = self.functions.bent(layer)
        if bent is not None and (self.at_end or bent.operator in SAME_CONTENT):
            return self.behind(bent.layer, self._carried(layer, bent.layer, channel))
        if node.op_type in (*_MOVING, *_LARGEST):
            before = None if self._turns_round(node) else self._carried(layer, node.input[0], channel)
            return self.behind(node.input[0], before)
        if node.op_type in _JOINING and self.at_end:
            return self._joined(node, layer, channel)
        return None

    def _joined(self, node: onnx.NodeProto, layer: str, channel: int | None) -> list[Squashed] | None:
        found = [self.behind(name, inside) for name, inside in self._parts(node, layer, channel)]
        every = self.whole or node.op_type != "Concat"
        if every and None in found:
            return None
        return [each for some in found for each in some or ()] or None

    def _parts(
        self, node: onnx.NodeProto, layer: str, channel: int | None
    ) -> Iterator[tuple[str, int | None]]:
        """The inputs that are layers, of a Concat of channels only the one that holds the channel."""
        layers = [name for name in node.input if name in self.shapes]
        rank = max(1, len(self.shapes[layer]))
        axis, along = self.channel_axis(layer), attributes_of(node).get("axis", 1) % rank
        if node.op_type != "Concat" or channel is None or along != axis:
            yield from ((name, self._carried(layer, name, channel)) for name in layers)
        elif len(layers) == len(node.input):
            ends = np.cumsum([self.shapes[name][axis] for name in layers])
            part = int(np.searchsorted(ends, channel, side="right"))
            yield layers[part], channel - int(ends[part]) + self.shapes[layers[part]][axis]

    def _turns_round(self, node: onnx.NodeProto) -> bool:
        """Whether a Gather puts entries in another order, or a Slice goes backwards along an axis, or may."""
        if node.op_type == "Gather":
            return True
        if node.op_type != "Slice" or len(node.input) < 5 or not node.input[4]:
            return False
        steps = constants(self.functions.graph).get(node.input[4])
        return steps is None or bool((array_of(steps) < 0).any())

    def _carried(self, layer: str, before: str, channel: int | None) -> int | None:
        """The channel in the tensor before, where both have as many."""
        if not all(len(self.shapes.get(name, ())) > 1 for name in (layer, before)):
            return None
        of, there = (self.shapes[name][self.channel_axis(name)] for name in (layer, before))
        return channel if of == there else None


def _leads_out(functions: Functions, layer: str) -> bool:
    """Whether a layer is an output of the network, or joined and moved about only on the way to one."""
    reached = {layer}
    for node in functions.graph.node:
        moves = node.op_type in (*_MOVING, *_LARGEST, *_JOINING) or _bends(functions, node)
        if moves and reached.intersection(node.input):
            reached.update(node.output)
    return any(info.name in reached for info in functions.graph.output)


def _bends(functions: Functions, node: onnx.NodeProto) -> bool:
    return functions.bent(node.output[0]) is not None
