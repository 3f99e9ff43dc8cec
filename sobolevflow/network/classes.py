"""The classes that a network tells apart: where their scores are, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError, ModelError, UnknownNameError, did_you_mean
from .label_formats import Unnamed
from .labels import find_label
from .layers import LayerInfo
from .stripping import Functions, Stripped

_MOST = 2**63 - 1


class Classes:
    """The class scores of a network; what `Network` says of classes is looked up here.

    Classes are counted as labels are, from 0 and without a background class; outputs with it.

    Parameters
    ----------
    network : str
        Its name, for messages.
    output : str
        The output of the file that they are read from.
    functions : Functions
        What the tensors are as functions of others.
    labels : list of str, optional
    background : {0, 1}, optional
        Whether output 0 is a background class. Unless given, it is one where there is one output more than
        labels.
    shape_of : callable
        From the name of a layer to its shape of one image, that first.
    """

    def __init__(
        self,
        network: str,
        output: str,
        functions: Functions,
        labels: list[str] | None,
        background: int | None,
        shape_of: Callable[[str], tuple[int, ...]],
    ) -> None:
        self.labels, self.background, self.output = labels, background, output
        self._network, self._functions, self._shape_of = network, functions, shape_of

    @cached_property
    def _stripped(self) -> Stripped | None:
        """The softmax or sigmoid at the end of the network, with what follows it, or None."""
        return self._functions.strip(self.output)

    @property
    def layer(self) -> str:
        """The tensor of class scores: the output, without a trailing softmax or sigmoid."""
        return self.output if self._stripped is None else self._stripped.layer

    @property
    def stripped(self) -> str | None:
        """The operators that were stripped to reach them, or None."""
        return None if self._stripped is None else str(self._stripped)

    @cached_property
    def count(self) -> int:
        """Their number, a background class included; ModelError if the output is not one score per class."""
        shape = self._shape_of(self.layer)
        count = count_of(shape)
        if count is None:
            raise ModelError(
                f"{self._network}: its output {self.layer!r} of shape {shape} is not one score per class; "
                "ask for a channel, neuron or layer instead"
            )
        return count

    @property
    def count_or_none(self) -> int | None:
        """Their number, or None where the output is not one score per class."""
        try:
            return self.count
        except (ModelError, UnknownNameError):  # the latter of an output that the image has no part in
            return None

    def check_labels(self, labels: Sequence[str]) -> None:
        """InputError if there are neither as many labels as classes nor one fewer."""
        check_fit(self._network, labels, self.count_or_none, self.background)

    def fits(self, labels: Sequence[str]) -> bool:
        """Whether there are class scores that could bear these names."""
        return len(labels) in sizes_of_labels(self.count_or_none, self.background)

    @property
    def offset(self) -> int:
        """Output index of class 0: 1 where output 0 is a background class."""
        if self.background is not None:
            return self.background
        return int(self.labels is not None and self.count == len(self.labels) + 1)

    @property
    def offset_or_none(self) -> int | None:
        """As `offset`, or None where the output is not one score per class."""
        return None if self.background is None and self.count_or_none is None else self.offset

    def output_index(self, which: str | int) -> int:
        """The output that holds the score of a class; see `Network.output_index`."""
        return self.index(which) + self.offset

    def index(self, which: str | int) -> int:
        """Index of a class, given by name or by index; see `Network.class_index`."""
        if isinstance(which, str):
            return self._index_of_name(which)
        if not checks.is_integer(which):
            checks.refuse(which, "a class", "a name or an integer")
        count = self.count - self.offset
        if not 0 <= int(which) < count:
            known = f"there are {count} classes, 0 to {count - 1}" if count > 1 else "the only class is 0"
            raise InputError(f"{self._network}: class {checks.shown(which)} is out of range; {known}")
        return int(which)

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
            raise UnknownNameError(f"{self._network}: {error.full}") from None

    def name(self, index: int) -> str:
        """Label of a class, or its index as text."""
        if not checks.is_integer(index) or abs(int(index)) > _MOST:
            checks.refuse(index, "the index of a class", f"a whole number up to {_MOST}")
        k = int(index)
        return self.labels[k] if self.labels is not None and 0 <= k < len(self.labels) else str(k)

    def output_names(self) -> list[str]:
        """What each output is the score of, a background class included."""
        return ["background"] * self.offset + [self.name(k) for k in range(self.count - self.offset)]

    @property
    def independent(self) -> bool:
        """Whether each score has a probability of its own: before a sigmoid, and where there is one alone."""
        return self.count == 1 or (self._stripped is not None and "Sigmoid" in self._stripped.operators[0])

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those of scores (N, outputs): their sigmoid where they are `independent`, else their softmax."""
        from scipy.special import expit, softmax

        found: NDArray[np.float64] = expit(scores) if self.independent else softmax(scores, axis=1)
        return found

    def ranked(self, scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
        """The `k` classes of the largest scores, best first: (N, k) of (N, outputs).

        A background class is left aside.
        """
        return np.argsort(-scores[:, self.offset :], axis=1, kind="stable")[:, :k]


def count_of(shape: Sequence[int]) -> int | None:
    """How many classes an output of that shape has scores of; None where it is not one score per class."""
    wide = _wide(shape)
    return None if len(wide) > 1 else (wide[0] if wide else 1)


def sizes_of_labels(count: int | None, background: int | None = None) -> tuple[int, ...]:
    """How many labels so many classes may have; empty where there are no class scores, so that any do."""
    if count is None:
        return ()
    return (count - 1,) if background == 1 else (count, count - 1)


def check_fit(network: str, labels: Sequence[str], count: int | None, background: int | None = None) -> None:
    """InputError if there are neither as many labels as classes nor one fewer; names the network."""
    sizes = sizes_of_labels(count, background)
    if not sizes or len(labels) in sizes:
        return
    named = [label for label in labels if not isinstance(label, Unnamed)]
    blank = sum(not label for label in named)
    of_them = f" ({blank} of them blank)" if blank else ""
    gaps = f", which are numbered with gaps ({len(labels)} with those between)," * (len(named) < len(labels))
    raise InputError(
        f"{network}: {len(named)} labels{of_them}{gaps} do not fit {count} classes; there must be "
        + (f"{sizes[0]}, or " if len(sizes) > 1 else "")
        + f"{sizes[-1]} where output 0 is a background class"
    )


def _wide(shape: Sequence[int]) -> list[int]:
    """The lengths of the axes behind that of the images, those of one entry left out."""
    return [d for d in shape[1:] if d > 1]


class Outputs:
    """The outputs of a file, and the classes whose scores each of them holds.

    Parameters
    ----------
    network : str
        Its name, for messages.
    model : onnx.ModelProto
    makers : mapping
        From the names of tensors to the nodes that make them.
    labels, background, shape_of
        As of `Classes`.
    find : callable
        From a name to what is known of that layer, None where there is none.
    asked : str, optional
        The output that holds the scores.
    """

    def __init__(
        self,
        network: str,
        model: onnx.ModelProto,
        makers: Mapping[str, onnx.NodeProto],
        labels: list[str] | None,
        background: int | None,
        shape_of: Callable[[str], tuple[int, ...]],
        find: Callable[[str], LayerInfo | None],
        asked: str | None = None,
    ) -> None:
        if background is not None:
            if not checks.is_integer(background) or int(background) not in (0, 1):
                checks.refuse(background, "background", "0 or 1")
            background = int(background)
        self.names = [str(info.name) for info in model.graph.output]
        self.labels, self.background, self._network = labels, background, network
        self._functions, self._shape_of, self._find = Functions(model.graph, makers), shape_of, find
        self._known: dict[str, Classes] = {}
        self.asked = None if asked is None else self._checked(asked)

    def _checked(self, name: str) -> str:
        if checks.text(name, "the name of an output") not in self.names:
            known = ", ".join(map(repr, self.names))
            raise UnknownNameError(
                f"{self._network}: no output {name!r}.{did_you_mean(name, self.names)} It has {known}"
            )
        return name

    def classes(self, output: str | None = None) -> Classes:
        """Those of an output, by default of the one that holds the scores."""
        name = self.scored if output is None else self._checked(output)
        if name not in self._known:
            self._known[name] = Classes(
                self._network, name, self._functions, self.labels, self.background, self._shape_of
            )
        return self._known[name]

    def among(self, count: int, background: int | None = None) -> Classes:
        """Those of an output that has as many scores at each of several places."""
        known = self.background if background is None else background
        return Classes(
            self._network, self.scored, self._functions, self.labels, known, lambda layer: (1, count)
        )

    def named(self, labels: list[str]) -> Outputs:
        """The same, with classes of these names; another output may have as many. InputError where none has.

        Who has this one, in another thread for instance, goes on with the names that it has.
        """
        others = copy(self)
        others.labels, others._known = labels, {}
        for known in ("scored", "alike"):
            others.__dict__.pop(known, None)
        others.classes().check_labels(labels)
        return others

    def fits(self, labels: Sequence[str]) -> bool:
        """Whether an output that may hold the scores has as many, or one more."""
        asked = self._real if self.asked is None else [self.asked]
        return any(self.classes(name).fits(labels) for name in asked)

    @cached_property
    def _real(self) -> list[str]:
        """The outputs of floating point numbers."""
        return [name for name in self.names if (info := self._find(name)) and "float" in info.dtype]

    @cached_property
    def scored(self) -> str:
        """The output that holds the scores: the one that was asked for, else the likeliest.

        One of floating point numbers with at most one axis of more than one entry, besides that of the
        images; where labels are known and only some outputs have as many, one of these, without a background
        class if there is one. Of several, one with more than a single number for each image, and of these one
        that ends in a softmax or sigmoid. Where there is none, the first of floating point numbers.
        """
        if self.asked is not None or len(self.names) == 1:
            return self.asked or self.names[0]
        return next(iter((*self.alike, *self._real, *self.names)))

    @cached_property
    def alike(self) -> list[str]:
        """The outputs that are as likely as each other to hold the scores, more than all others."""
        counts = {name: n for name in self._real if (n := self._count(name)) is not None}
        labels = -1 if self.labels is None else len(self.labels)
        fitting = {name: n for name, n in counts.items() if n in (labels, labels + 1)} or counts
        rank = {
            name: (n == labels, n > 1, self.classes(name).stripped is not None) for name, n in fitting.items()
        }
        return [name for name in rank if rank[name] == max(rank.values())]

    def _count(self, name: str) -> int | None:
        """How many scores an output may hold for an image; None where it is a map, or not known."""
        info = self._find(name)
        return None if info is None or info.shape is None else count_of(info.shape)
