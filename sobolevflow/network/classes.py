"""The classes that a network tells apart: where their scores are, and what they are called."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import onnx

from .. import checks
from ..errors import InputError, ModelError, UnknownNameError
from .labels import find_label
from .layers import SHAPE_ONLY, seen_through

if TYPE_CHECKING:
    from .network import Network

_SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid")


class Classes:
    """The class scores of a network; what `Network` says of classes is looked up here.

    Parameters
    ----------
    net : Network
        Its ``labels`` and ``background`` are read whenever they are needed.
    """

    def __init__(self, net: Network) -> None:
        self._net = net

    @cached_property
    def _squashing(self) -> onnx.NodeProto | None:
        """The softmax or sigmoid at the end of the network, seen through reshapes, or None."""
        node = seen_through(self._net.makers, self._net.model.graph.output[0].name, SHAPE_ONLY)
        return node if node is not None and node.op_type in _SQUASHING else None

    @property
    def layer(self) -> str:
        """The tensor of class scores: the first output, without a trailing softmax or sigmoid."""
        squashing = self._squashing
        return str(self._net.model.graph.output[0].name if squashing is None else squashing.input[0])

    @property
    def stripped(self) -> str | None:
        """The operator that was stripped to reach them, or None."""
        return None if self._squashing is None else str(self._squashing.op_type)

    @cached_property
    def count(self) -> int:
        """Their number, a background class included; ModelError if the output is not one score per class."""
        shape = self._net.layer_shape(self.layer)
        wide = [d for d in shape[1:] if d > 1]
        if len(wide) > 1 or (shape and shape[0] != 1):
            raise ModelError(
                f"{self._net.name}: its output {self.layer!r} of shape {shape} is not one score per class; "
                "ask for a channel, neuron or layer instead"
            )
        return wide[0] if wide else 1

    @property
    def count_or_none(self) -> int | None:
        """Their number, or None where the output is not one score per class."""
        try:
            return self.count
        except ModelError:
            return None

    @property
    def offset(self) -> int:
        """Output index of class 0: 1 where output 0 is a background class."""
        net = self._net
        if net.background is not None:
            return net.background
        return int(net.labels is not None and self.count == len(net.labels) + 1)

    def index(self, which: str | int) -> int:
        """Output index of a class, given by name or by index; see `Network.class_index`."""
        if isinstance(which, str):
            return self._index_of_name(which) + self.offset
        if not checks.is_integer(which):
            checks.refuse(which, "a class", "a name or an integer")
        count = self.count - self.offset
        if not 0 <= which < count:
            raise InputError(
                f"{self._net.name}: class {which} is out of range; "
                f"there are {count} classes, 0 to {count - 1}"
            )
        return int(which) + self.offset

    def _index_of_name(self, name: str) -> int:
        net, labels = self._net, self._net.labels
        if labels is None:
            raise InputError(
                f"{net.name}: class {name!r} cannot be found without labels; "
                "pass labels= (--labels FILE) or an index"
            )
        if len(labels) + self.offset != self.count:
            raise InputError(
                f"{net.name}: {len(labels)} labels do not fit {self.count} classes"
                + (" and a background" if self.offset else "")
            )
        try:
            return find_label(name, labels)
        except UnknownNameError as error:
            raise UnknownNameError(f"{net.name}: {error}") from None

    def name(self, index: int) -> str:
        """Label of an output index, or the index as text."""
        labels, k = self._net.labels, index - self.offset
        if labels is not None and 0 <= k < len(labels):
            return labels[k]
        return "background" if k < 0 else str(k)
