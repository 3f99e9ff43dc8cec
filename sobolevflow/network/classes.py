"""The classes that a network tells apart: where their scores are, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import onnx

from .. import checks
from ..errors import InputError, ModelError, UnknownNameError
from .labels import find_label
from .layers import SHAPE_ONLY, seen_through

SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid")


class Classes:
    """The class scores of a network; what `Network` says of classes is looked up here.

    Parameters
    ----------
    network : str
        Its name, for messages.
    model : onnx.ModelProto
    makers : mapping
        From the names of tensors to the nodes that make them.
    labels : list of str, optional
    background : {0, 1}, optional
        Whether output 0 is a background class. Unless given, it is one where there is one output more than
        labels.
    shape_of : callable
        From the name of a layer to its shape at batch size 1.
    """

    def __init__(
        self,
        network: str,
        model: onnx.ModelProto,
        makers: Mapping[str, onnx.NodeProto],
        labels: list[str] | None,
        background: int | None,
        shape_of: Callable[[str], tuple[int, ...]],
    ) -> None:
        if background not in (None, 0, 1):
            checks.refuse(background, "background", "0 or 1")
        self.labels, self.background = labels, background
        self._network, self._model, self._makers, self._shape_of = network, model, makers, shape_of

    @property
    def _output(self) -> str:
        return str(self._model.graph.output[0].name)

    @cached_property
    def _squashing(self) -> onnx.NodeProto | None:
        """The softmax or sigmoid at the end of the network, seen through reshapes, or None."""
        node = seen_through(self._makers, self._output, SHAPE_ONLY)
        return node if node is not None and node.op_type in SQUASHING else None

    @property
    def layer(self) -> str:
        """The tensor of class scores: the first output, without a trailing softmax or sigmoid."""
        squashing = self._squashing
        return self._output if squashing is None else str(squashing.input[0])

    @property
    def stripped(self) -> str | None:
        """The operator that was stripped to reach them, or None."""
        return None if self._squashing is None else str(self._squashing.op_type)

    @cached_property
    def count(self) -> int:
        """Their number, a background class included; ModelError if the output is not one score per class."""
        shape = self._shape_of(self.layer)
        wide = [d for d in shape[1:] if d > 1]
        if len(wide) > 1 or (shape and shape[0] != 1):
            raise ModelError(
                f"{self._network}: its output {self.layer!r} of shape {shape} is not one score per class; "
                "ask for a channel, neuron or layer instead"
            )
        return wide[0] if wide else 1

    @property
    def count_or_none(self) -> int | None:
        """Their number, or None where the output is not one score per class."""
        try:
            return self.count
        except (ModelError, UnknownNameError):  # the latter of an output that the image has no part in
            return None

    def take(self, labels: list[str]) -> None:
        """Call the classes so; InputError if there are neither as many labels as classes nor one fewer."""
        sizes = self._sizes_of_labels()
        if sizes and len(labels) not in sizes:
            blank = sum(not label for label in labels)
            of_them = f" ({blank} of them blank)" if blank else ""
            raise InputError(
                f"{self._network}: {len(labels)} labels{of_them} do not fit "
                f"{self.count} classes; there must be "
                + (f"{sizes[0]}, or " if len(sizes) > 1 else "")
                + f"{sizes[-1]} where output 0 is a background class"
            )
        self.labels = labels

    def fits(self, labels: list[str]) -> bool:
        """Whether there are class scores that could bear these names."""
        return len(labels) in self._sizes_of_labels()

    def _sizes_of_labels(self) -> tuple[int, ...]:
        """How many labels there may be; empty where there are no class scores, so that any do."""
        count = self.count_or_none
        if count is None:
            return ()
        return (count - 1,) if self.background == 1 else (count, count - 1)

    @property
    def offset(self) -> int:
        """Output index of class 0: 1 where output 0 is a background class."""
        if self.background is not None:
            return self.background
        return int(self.labels is not None and self.count == len(self.labels) + 1)

    def index(self, which: str | int) -> int:
        """Output index of a class, given by name or by index; see `Network.class_index`."""
        if isinstance(which, str):
            return self._index_of_name(which) + self.offset
        if not checks.is_integer(which):
            checks.refuse(which, "a class", "a name or an integer")
        count = self.count - self.offset
        if not 0 <= which < count:
            raise InputError(
                f"{self._network}: class {which} is out of range; there are {count} classes, 0 to {count - 1}"
            )
        return int(which) + self.offset

    def _index_of_name(self, name: str) -> int:
        if self.labels is None:
            raise InputError(
                f"{self._network}: class {name!r} cannot be found without labels; "
                "pass labels= (--labels FILE) or an index"
            )
        if len(self.labels) + self.offset != self.count:
            raise InputError(
                f"{self._network}: {len(self.labels)} labels do not fit {self.count} classes"
                + (" and a background" if self.offset else "")
            )
        try:
            return find_label(name, self.labels)
        except UnknownNameError as error:
            raise UnknownNameError(f"{self._network}: {error}") from None

    def name(self, index: int) -> str:
        """Label of an output index, or the index as text."""
        k = index - self.offset
        if self.labels is not None and 0 <= k < len(self.labels):
            return self.labels[k]
        return "background" if k < 0 else str(k)
