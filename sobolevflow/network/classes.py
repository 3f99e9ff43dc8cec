"""The classes that a network tells apart: where their scores are, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import onnx

from .. import checks
from ..errors import InputError, ModelError, UnknownNameError
from .labels import find_label
from .stripping import Functions, Stripped


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
    def _stripped(self) -> Stripped | None:
        """The softmax or sigmoid at the end of the network, with what follows it, or None."""
        return Functions(self._model.graph, self._makers).strip(self._output)

    @property
    def layer(self) -> str:
        """The tensor of class scores: the first output, without a trailing softmax or sigmoid."""
        return self._output if self._stripped is None else self._stripped.layer

    @property
    def stripped(self) -> str | None:
        """The operators that were stripped to reach them, or None."""
        return None if self._stripped is None else str(self._stripped)

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
        except ModelError:
            return None

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
