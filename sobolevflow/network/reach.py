"""What part of the image an entry of a layer sees: its receptive field.

Along one axis of the image the entry at position p of a tensor depends on the pixels from
``stride p + first`` to ``stride p + last``. A window of k taps, d apart, with stride s behind b zeros makes
of that (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019)

    stride' = s stride,   first' = first - b stride,   last' = last + ((k - 1) d - b) stride,

and what joins several branches sees what any of them sees. Fractions, since transposed convolutions and
resizing divide strides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from .. import checks
from ..onnxgrad import IMAGE, Graph, Node

if TYPE_CHECKING:
    from .network import Network


@dataclass(frozen=True)
class ReceptiveField:
    """What the entries of a layer see of an image, in pixels, rows first.

    The entry at (i, j) sees the pixels from ``offset + (i, j) * stride`` on, `size` of them; those outside
    the image are padding.

    Attributes
    ----------
    size : (int, int)
        Where an entry sees all of the image, that of the image.
    stride : (float, float)
        Pixels between neighbouring entries; 0 where each sees all of the image. A fraction where a layer is
        finer than the image.
    offset : (float, float)
        Of the entry at (0, 0).
    """

    size: tuple[int, int]
    stride: tuple[float, float]
    offset: tuple[float, float]

    @property
    def is_whole(self) -> bool:
        """Whether each entry sees all of the image, as behind a dense layer or a global pool."""
        return self.stride == (0.0, 0.0)


def receptive_field(net: Network, layer: str, *, gates: bool = True) -> ReceptiveField:
    """What part of the image an entry of a layer sees.

    Parameters
    ----------
    net : Network
    layer : str
    gates : bool
        Whether what a map is multiplied by, added to or normalised with, and sees all of the image, counts:
        squeeze-and-excitation and instance normalisation. Without them the field is that of the map alone.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    SobolevflowError
        As `Network.features`.

    Notes
    -----
    The field is what the operators allow, no weight is looked at; gradients are often concentrated in the
    middle of it. It costs as much as to bring the network to normal form, and no run of it.

    Examples
    --------
    >>> receptive_field(net, "features/conv1").size  # doctest: +SKIP
    (3, 3)
    """
    layer = net.layer_name(layer)
    net.check_differentiable(layer)
    graph, names = net.graph([layer], net.run_batch(1, [layer]))
    _, height, width = net.input_shape
    seen = _Walk(graph, checks.flag(gates, "gates")).of(names[layer])
    if seen is None:
        return ReceptiveField((height, width), (0.0, 0.0), (0.0, 0.0))
    spans = (seen.rows, seen.columns)
    if all(graph.shape(names[layer])[axis] == 1 for axis in (seen.row, seen.column)):
        # one entry alone has no stride: a pool over the whole map, written as one of that size
        return ReceptiveField((height, width), (0.0, 0.0), (0.0, 0.0))
    return ReceptiveField(
        size=(spans[0].length, spans[1].length),
        stride=(float(spans[0].stride), float(spans[1].stride)),
        offset=(float(spans[0].first), float(spans[1].first)),
    )


@dataclass(frozen=True)
class _Span:
    """The pixels along one axis that the entry at 0 depends on, and how far they move to the next entry."""

    stride: Fraction = Fraction(1)
    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)

    @property
    def length(self) -> int:
        return math.floor(self.last) - math.ceil(self.first) + 1

    def window(self, taps: int, stride: int, begin: int) -> _Span:
        """Behind a window that reaches over so many entries."""
        a = self.stride
        return _Span(a * stride, self.first - a * begin, self.last + a * (taps - 1 - begin))

    def spread(self, taps: int, stride: int, begin: int) -> _Span:
        """Behind the transpose of such a window."""
        a = self.stride / stride
        return _Span(a, self.first + a * (begin - taps + 1), self.last + a * begin)

    def joined(self, other: _Span) -> _Span | None:
        """What sees both; None where the two move at different paces."""
        if self.stride != other.stride:
            return None
        return _Span(self.stride, min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True)
class _Seen:
    """A tensor that has positions of the image: on which axes, and what its entries see."""

    row: int
    column: int
    rows: _Span
    columns: _Span

    def both(self, change: Callable[[_Span, int], _Span]) -> _Seen:
        """With both spans changed, given which of the two axes of the tensor theirs is, 0 or 1."""
        first = 0 if self.row < self.column else 1
        return replace(self, rows=change(self.rows, first), columns=change(self.columns, 1 - first))


_ELEMENTWISE = frozenset(
    (
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Celu", "Selu", "Gelu", "Mish", "Softplus", "Softsign"),
        *("Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Swish", "ThresholdedRelu", "Shrink", "Clip", "Erf"),
        *("Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Sign", "Floor", "Ceil", "Round", "Sin", "Cos"),
        *("Tan", "Atan", "Asin", "Acos", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Identity", "Dropout"),
        *("Cast", "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "Where", "Not"),
        *("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "CastLike"),
        *("BatchNormalization", "LRN", "QuantizeLinear", "DequantizeLinear", "IsNaN", "IsInf"),
    )
)
_SAME_AXES = frozenset(("Reshape", "Flatten", "Squeeze", "Unsqueeze"))
_REDUCING = ("Reduce", "ArgM")


class _Walk:
    """What each tensor of a graph sees; those without positions see all of the image, or nothing of it."""

    def __init__(self, graph: Graph, gates: bool) -> None:
        self._graph, self._gates = graph, gates
        self._seen: dict[str, _Seen | None] = {IMAGE: _Seen(2, 3, _Span(), _Span())}
        for node in graph.nodes:
            found = self._of_node(node)
            if found is not _NOTHING:
                self._seen.update(dict.fromkeys(node.outputs, found))

    def of(self, name: str) -> _Seen | None:
        """None where a tensor sees all of the image."""
        return self._seen.get(name)

    def _of_node(self, node: Node) -> _Seen | None:
        read = [x for x in node.inputs if x in self._seen]
        if not read:
            return _NOTHING
        if node.op in _ELEMENTWISE or node.op == "Concat":
            return self._merged(node, read)
        first = self._seen[read[0]]
        if first is None or read != [node.inputs[0]]:
            return None
        rule = _RULES.get(node.op)
        if node.op.startswith(_REDUCING) or node.op == "GlobalAveragePool":
            return self._reduced(node, first)
        return None if rule is None else rule(self, node, first)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._graph.shape(name)

    def numbers(self, node: Node, place: int) -> list[int] | None:
        """An input that holds whole numbers, if it is constant."""
        if len(node.inputs) <= place or not node.inputs[place]:
            return []
        value = self._graph.constant(node.inputs[place])
        return None if value is None else [int(n) for n in np.ravel(value)]

    # -- rules

    def _merged(self, node: Node, read: Sequence[str]) -> _Seen | None:
        """What is broadcast against each other, or joined along another axis."""
        rank, found = len(self.shape(node.outputs[0])), None
        for x in read:
            seen = self._seen[x]
            if seen is None or 1 in (self.shape(x)[seen.row], self.shape(x)[seen.column]) != (1, 1):
                if self._gates or node.op == "Concat":
                    return None
                continue
            more = rank - len(self.shape(x))
            moved = replace(seen, row=seen.row + more, column=seen.column + more)
            found = moved if found is None else _joined(found, moved)
            if found is None:
                return None
        if node.op == "Concat" and found is not None:
            axis = node.attrs["axis"] % rank
            return None if axis in (found.row, found.column) else found
        return found

    def _reduced(self, node: Node, seen: _Seen) -> _Seen | None:
        shape, out = self.shape(node.inputs[0]), self.shape(node.outputs[0])
        if len(shape) != len(out):
            return self._same_axes(node, seen)
        kept = all(shape[axis] == out[axis] for axis in (seen.row, seen.column))
        return seen if kept and node.op != "GlobalAveragePool" else None

    def _same_axes(self, node: Node, seen: _Seen) -> _Seen | None:
        """A new shape in which rows and columns are axes of their own as before."""
        shape, out = self.shape(node.inputs[0]), self.shape(node.outputs[0])
        places = [_same_axis(shape, axis, out) for axis in (seen.row, seen.column)]
        row, column = places
        return None if row is None or column is None else replace(seen, row=row, column=column)

    def _transposed(self, node: Node, seen: _Seen) -> _Seen | None:
        rank = len(self.shape(node.inputs[0]))
        order = list(node.attrs.get("perm") or reversed(range(rank)))
        return replace(seen, row=order.index(seen.row), column=order.index(seen.column))

    def _windowed(self, node: Node, seen: _Seen) -> _Seen | None:
        if sorted((seen.row, seen.column)) != [2, 3] or len(self.shape(node.inputs[0])) != 4:
            return None
        kernel = node.attrs.get("kernel_shape") or self.shape(node.inputs[1])[2:]
        strides = node.attrs.get("strides") or [1, 1]
        dilations = node.attrs.get("dilations") or [1, 1]
        pads = node.attrs.get("pads") or [0, 0, 0, 0]
        taps = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if node.op == "ConvTranspose":
            return seen.both(lambda span, k: span.spread(taps[k], strides[k], pads[k]))
        return seen.both(lambda span, k: span.window(taps[k], strides[k], pads[k]))

    def _padded(self, node: Node, seen: _Seen) -> _Seen | None:
        pads, axes = self.numbers(node, 1), self.numbers(node, 3)
        if pads is None or axes is None:
            return None
        rank = len(self.shape(node.inputs[0]))
        front = dict(zip([a % rank for a in axes] or range(rank), pads[: len(pads) // 2], strict=True))
        mirrored = node.attrs.get("mode", b"constant") not in (b"constant", "constant")
        if mirrored and (front.get(seen.row) or front.get(seen.column)):
            return None if self._gates else seen
        rows, columns = (
            span.window(1, 1, front.get(axis, 0))
            for span, axis in ((seen.rows, seen.row), (seen.columns, seen.column))
        )
        return replace(seen, rows=rows, columns=columns)

    def _sliced(self, node: Node, seen: _Seen) -> _Seen | None:
        starts, axes, steps = (self.numbers(node, k) for k in (1, 3, 4))
        if starts is None or axes is None or steps is None:
            return None
        shape = self.shape(node.inputs[0])
        named = [a % len(shape) for a in axes] or list(range(len(starts)))
        moved = dict(zip(named, zip(starts, steps or [1] * len(starts), strict=True), strict=True))
        spans = []
        for span, axis in ((seen.rows, seen.row), (seen.columns, seen.column)):
            start, step = moved.get(axis, (0, 1))
            if step < 1:
                return None
            start = min(max(start + shape[axis] if start < 0 else start, 0), shape[axis])
            spans.append(_shifted(span, start, step))
        return replace(seen, rows=spans[0], columns=spans[1])

    def _resized(self, node: Node, seen: _Seen) -> _Seen | None:
        """What is interpolated sees its neighbours: a pixel to either side, of cubic ones two."""
        mode = node.attrs.get("mode", b"nearest")
        beside = 2 if mode in (b"cubic", "cubic") else 1
        shape, out = self.shape(node.inputs[0]), self.shape(node.outputs[0])
        if len(shape) != len(out):
            return None
        spans = []
        for span, axis in ((seen.rows, seen.row), (seen.columns, seen.column)):
            scale = Fraction(shape[axis], out[axis])
            reach = beside * max(1, math.ceil(scale)) if scale != 1 else 0
            a = span.stride
            spans.append(_Span(a * scale, span.first - a * reach, span.last + a * reach))
        return replace(seen, rows=spans[0], columns=spans[1])

    def _weighted_last(self, node: Node, seen: _Seen) -> _Seen | None:
        """A matrix of weights for the last axis, which is none of positions."""
        last = len(self.shape(node.inputs[0])) - 1
        return None if last in (seen.row, seen.column) else seen

    def _along_an_axis(self, node: Node, seen: _Seen) -> _Seen | None:
        rank = len(self.shape(node.inputs[0]))
        axis = node.attrs.get("axis", 1 if node.op == "Split" else -1) % rank
        touched = range(axis, rank) if node.op in _TO_THE_END else [axis]
        return None if {seen.row, seen.column}.intersection(touched) else seen

    def _normalised(self, node: Node, seen: _Seen) -> _Seen | None:
        return None if self._gates else seen

    def _in_blocks(self, node: Node, seen: _Seen) -> _Seen | None:
        block = node.attrs["blocksize"]
        if node.op == "SpaceToDepth":
            return seen.both(lambda span, k: span.window(block, block, 0))
        return seen.both(lambda span, k: span.spread(block, block, 0))


_NOTHING = _Seen(-1, -1, _Span(), _Span())  # of what does not depend on the image
_TO_THE_END = ("LayerNormalization", "RMSNormalization")
_Rule = Callable[[_Walk, Node, _Seen], "_Seen | None"]
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"), _Walk._windowed),
    **dict.fromkeys(_SAME_AXES, _Walk._same_axes),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Split", "Gather", *_TO_THE_END), _Walk._along_an_axis),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "LpNormalization"), _Walk._normalised),
    **dict.fromkeys(("SpaceToDepth", "DepthToSpace"), _Walk._in_blocks),
    **dict.fromkeys(("Resize", "Upsample"), _Walk._resized),
    "Transpose": _Walk._transposed,
    "Pad": _Walk._padded,
    "Slice": _Walk._sliced,
    "MatMul": _Walk._weighted_last,
}


def _shifted(span: _Span, start: int, step: int) -> _Span:
    a = span.stride
    return _Span(a * step, span.first + a * start, span.last + a * start)


def _joined(one: _Seen, two: _Seen) -> _Seen | None:
    if (one.row, one.column) != (two.row, two.column):
        return None
    rows, columns = one.rows.joined(two.rows), one.columns.joined(two.columns)
    return None if rows is None or columns is None else replace(one, rows=rows, columns=columns)


def _same_axis(shape: Sequence[int], axis: int, out: Sequence[int]) -> int | None:
    """The axis of another shape of the same entries that is this one, and not cut or merged."""
    before = math.prod(shape[:axis])
    return next(
        (k for k, size in enumerate(out) if math.prod(out[:k]) == before and size == shape[axis]), None
    )
