"""Layouts followed through a network, operator by operator.

ONNX does not say what an axis means. The layout of the image is known: a convolution makes (N, C, ...) of
anything, weights behind a matrix product make channels of its last axis, a Transpose permutes, a Reshape
merges and splits, most operators leave the layout alone. Where it is lost, an operator further on that takes
axis 1 for the channels may tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ..onnxgrad import array_of, attributes_of, reads
from .layout import CHANNELS, COLUMNS, DEPTH, HEADS, IMAGES, MIXED, PLACES, ROWS, UNKNOWN, Axis, Layout


def follow(
    model: onnx.ModelProto, image: str, layout: Layout, shapes: Mapping[str, Sequence[int]]
) -> dict[str, Layout]:
    """The layout of every tensor that is computed from the image, as far as it can be followed.

    Parameters
    ----------
    model : onnx.ModelProto
    image : str
        Its input.
    layout : Layout
        Of that input.
    shapes : mapping
        Of all tensors that nodes make.
    """
    trail = _Trail({image: layout}, shapes, constants(model.graph))
    asked = _channels_asked_for(model.graph.node, shapes)
    for node in model.graph.node:
        rule = _RULES.get(node.op_type, _alike)
        for k, name in enumerate(node.output):
            shape = shapes.get(name)
            if not name or shape is None or not trail.reaches(node):
                continue
            found = rule(_Made(trail, node, k, tuple(shape)))
            if name in asked and (found is None or len(found.channel_axes) != 1):
                found = _with_channels_at(asked[name], found, shape)
            if found is not None and len(found.axes) == len(shape):
                trail.layouts[name] = found
            trail.reached.add(name)
    return trail.layouts


@dataclass
class _Trail:
    """What is known so far."""

    layouts: dict[str, Layout]
    shapes: Mapping[str, Sequence[int]]
    constants: Mapping[str, onnx.TensorProto]
    reached: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reached |= self.layouts.keys()

    def reaches(self, node: onnx.NodeProto) -> bool:
        """Whether a node depends on the image."""
        return any(name in self.reached for name in reads(node))


@dataclass(frozen=True)
class _Made:
    """An output of a node, whose layout is asked for."""

    trail: _Trail
    node: onnx.NodeProto
    which: int
    shape: tuple[int, ...]

    @property
    def inputs(self) -> list[str]:
        return list(self.node.input)

    def layout(self, k: int) -> Layout | None:
        return self.trail.layouts.get(self.node.input[k]) if k < len(self.node.input) else None

    def varies(self, k: int) -> bool:
        """Whether an input depends on the image."""
        return k < len(self.node.input) and self.node.input[k] in self.trail.reached

    def rank(self, k: int) -> int | None:
        """The number of axes of an input."""
        name = self.node.input[k]
        if name in self.trail.constants:
            return len(self.trail.constants[name].dims)
        shape = self.trail.shapes.get(name)
        return None if shape is None else len(shape)

    def attribute(self, name: str, default: Any = None) -> Any:
        return attributes_of(self.node).get(name, default)

    def axes(self) -> list[int] | None:
        """The axes that are named by an attribute, or by the second input."""
        named = self.attribute("axes")
        if named is None and len(self.node.input) > 1 and self.node.input[1] in self.trail.constants:
            named = array_of(self.trail.constants[self.node.input[1]]).reshape(-1)
        return None if named is None else [int(k) for k in named]


def constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Initializers and what Constant nodes hold, by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            value = next(iter(attributes_of(node).values()), None)
            if isinstance(value, (int, float, list)):
                value = numpy_helper.from_array(np.asarray(value))
            if isinstance(value, onnx.TensorProto):
                found[node.output[0]] = value
    return found


# -- what operators behind a tensor take for its channels

_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv", "DeformConv")
_CHANNELS_FIRST = (
    *_CONVOLUTIONS,
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN"),
    *("AveragePool", "MaxPool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"),
    *("QLinearAveragePool", "QLinearGlobalAveragePool", "DepthToSpace", "SpaceToDepth", "GridSample"),
)
_TURNING = ("Reshape", "MatMul", "Gemm", "Einsum", "Flatten", "Gather", "MatMulInteger", "QLinearMatMul")


def _channels_asked_for(
    nodes: Sequence[onnx.NodeProto], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """The axis that the operators behind a tensor take for its channels, seen through those in between."""
    asked: dict[str, int] = {}
    for node in reversed(nodes):
        if node.op_type in _CHANNELS_FIRST:
            if node.input and not attributes_of(node).get("channels_last", 0):
                asked.setdefault(node.input[0], 1)
            continue
        axis = next((asked[name] for name in node.output if name in asked), None)
        if axis is None or node.op_type in _TURNING:
            continue
        rank = len(shapes.get(node.output[0], ()))
        if node.op_type == "Transpose":
            order = attributes_of(node).get("perm", range(rank)[::-1])
            if axis < len(order):  # of a file that contradicts itself it may be longer
                asked.setdefault(node.input[0], order[axis])
            continue
        for name in node.input:
            if name in shapes and len(shapes[name]) == rank:
                asked.setdefault(name, axis)
    return asked


_MAPS = {1: (COLUMNS,), 2: (ROWS, COLUMNS), 3: (DEPTH, ROWS, COLUMNS)}


def _with_channels_at(axis: int, layout: Layout | None, shape: Sequence[int]) -> Layout | None:
    """A layout whose channels are known to lie on one axis, the others being images and positions."""
    if axis >= len(shape):
        return layout
    before = layout if layout is not None and len(layout.axes) == len(shape) else None
    first = before.axes[0] if before is not None and before.meanings[0] else ((IMAGES, shape[0]),)
    places = iter(_MAPS.get(len(shape) - 2, (PLACES,) * len(shape)))
    axes: list[Axis] = [first]
    for k, size in enumerate(shape[1:], 1):
        axes.append(((CHANNELS, size),) if k == axis else ((next(places), size),))
    return Layout(tuple(axes))


# -- what an operator makes of a layout

_Rule = Callable[[_Made], Layout | None]


def _lost(made: _Made) -> Layout | None:
    return None


def _alike(made: _Made) -> Layout | None:
    """Operators that keep every axis in its place; of inputs that are broadcast, the one that says most."""
    rank = len(made.shape)
    known = [each for k in range(len(made.inputs)) if (each := made.layout(k)) is not None]
    if not known or max(len(each.axes) for each in known) > rank:
        return None
    axes: list[Axis] = []
    for k, size in enumerate(made.shape):
        aligned = [(each, k - rank + len(each.axes)) for each in known]
        here = [each.axis(at, size) for each, at in aligned if at >= 0 and _fits(each.axes[at], size)]
        here = here or [each.axis(at, size) for each, at in aligned if at >= 0] or [()]
        axes.append(min(here, key=_vagueness))
    return Layout(tuple(axes))


def _fits(axis: Axis, size: int) -> bool:
    return math.prod(length for _, length in axis) == size


def _vagueness(axis: Axis) -> int:
    """How little an axis says; those of the image and its channels say most."""
    return max((1 + "PMG?".find(meaning) for meaning, _ in axis), default=5)


def _first(made: _Made) -> Layout | None:
    """Operators that keep the axes of their first input, whatever the others are."""
    layout = made.layout(0)
    return layout.resized(made.shape) if layout and len(layout.axes) == len(made.shape) else None


def _channels_first(made: _Made) -> Layout | None:
    """Operators that take axis 1 for the channels, unless they say that these come last."""
    if made.attribute("channels_last", 0):
        return _channels_last(made)
    return _first(made) or (None if made.which else _with_channels_at(1, None, made.shape))


def _channels_last(made: _Made) -> Layout | None:
    return _with_channels_at(len(made.shape) - 1, made.layout(0), made.shape)


def _convolution(made: _Made) -> Layout | None:
    if made.attribute("channels_last", 0):
        return _channels_last(made)
    layout, plain = made.layout(0), _with_channels_at(1, made.layout(0), made.shape)
    if layout is None or plain is None or len(layout.axes) != len(plain.axes):
        return plain
    slid = [_slid(layout, k, size) or plain.axes[k] for k, size in enumerate(made.shape) if k > 1]
    return Layout((*plain.axes[:2], *slid))


def _slid(layout: Layout, k: int, size: int) -> Axis | None:
    """An axis that a window slid along: positions, if it was that before."""
    axis = layout.axis(k, size)
    meanings = {meaning for meaning, _ in axis}
    if meanings <= {ROWS, COLUMNS, DEPTH, PLACES, MIXED} and meanings:
        return axis
    if CHANNELS in meanings and len(meanings) == 2:  # channels that have become pixels
        return ((next(each for each in meanings if each != CHANNELS), size),)
    return None


def _transpose(made: _Made) -> Layout | None:
    layout = made.layout(0)
    if layout is None:
        return None
    return layout.permuted(made.attribute("perm", range(len(layout.axes))[::-1]))


def _reshape(made: _Made) -> Layout | None:
    layout = made.layout(0)
    return None if layout is None else layout.reshaped(made.shape)


def _unsqueeze(made: _Made) -> Layout | None:
    layout, added = made.layout(0), made.axes()
    if layout is None or added is None:
        return _reshape(made)
    rest = iter(layout.axes)
    new = {k % len(made.shape) for k in added}
    return Layout(tuple(() if k in new else next(rest) for k in range(len(made.shape))))


def _squeeze(made: _Made) -> Layout | None:
    layout, gone = made.layout(0), made.axes()
    return _reshape(made) if layout is None or gone is None else layout.without(gone)


def _reduce(made: _Made) -> Layout | None:
    layout = made.layout(0)
    if layout is None or len(layout.axes) == len(made.shape):
        return _first(made)
    gone = made.axes()
    if made.node.op_type in ("ArgMax", "ArgMin"):
        gone = [made.attribute("axis", 0)]
    return layout.without(range(len(layout.axes)) if gone is None else gone)


def _gather(made: _Made) -> Layout | None:
    layout = made.layout(0)
    if layout is None:
        return None
    axis, more = made.attribute("axis", 0) % len(layout.axes), len(made.shape) - len(layout.axes) + 1
    if more == 0:
        return layout.without([axis])
    if more == 1:
        return layout.resized(made.shape)
    new = [((UNKNOWN, size),) for size in made.shape[axis : axis + more]]
    return Layout((*layout.axes[:axis], *new, *layout.axes[axis + 1 :]))


def _weighted_last(layout: Layout | None, made: _Made) -> Layout:
    """Behind weights along the last axis: channels, unless they lie on another."""
    *rest, size = made.shape
    if layout is None or len(layout.axes) != len(made.shape):
        return Layout((*(((UNKNOWN, each),) for each in rest), ((CHANNELS, size),)))
    elsewhere = layout.channel_axes and len(rest) not in layout.channel_axes
    return Layout((*layout.axes[:-1], ((MIXED if elsewhere else CHANNELS, size),)))


def _matmul(made: _Made, left: int = 0, right: int = 1) -> Layout | None:
    a, b = made.layout(left), made.layout(right)
    if made.node.op_type == "FusedMatMul":
        a, b = _turned(a, made.attribute("transA", 0)), _turned(b, made.attribute("transB", 0))
    if not made.varies(right):
        return a and a.without([-1]) if made.rank(right) == 1 else _weighted_last(a, made)
    if not made.varies(left):
        return _weighted_rows(b, made)
    if a is None or b is None or min(len(a.axes), len(b.axes)) < 2:
        return None
    return _attended(a, b, len(made.shape))


def _turned(layout: Layout | None, turns: int) -> Layout | None:
    """With the last two axes exchanged."""
    if layout is None or not turns:
        return layout
    *others, row, column = range(len(layout.axes))
    return layout.permuted([*others, column, row])


def _weighted_rows(layout: Layout | None, made: _Made) -> Layout | None:
    """Behind weights along the last axis but one: channels if it was of channels, else mixed positions."""
    if layout is None or len(layout.axes) != len(made.shape) or len(made.shape) < 2:
        return None
    row = len(made.shape) - 2
    found = layout.resized(made.shape)
    return found.renamed(row, CHANNELS if row in layout.channel_axes else MIXED)


def _attended(a: Layout, b: Layout, rank: int) -> Layout:
    """A product of two layers: maps of positions for each head, or what such maps gather."""
    summed = len(a.axes) - 1
    heads = summed in a.channel_axes  # a product over channels is none itself
    axes: list[Axis] = []
    for k in range(rank - 2):
        aligned = [(each, k - rank + len(each.axes)) for each in (a, b)]
        axis = min((each.axes[at] for each, at in aligned if at >= 0), key=_vagueness, default=())
        axes.append(tuple((HEADS if heads and k and m == CHANNELS else m, size) for m, size in axis))
    return Layout((*axes, a.axes[-2], b.axes[-1]))


def _gemm(made: _Made) -> Layout | None:
    layout = made.layout(0)
    if made.varies(1):
        return None
    if layout is not None and made.attribute("transA", 0):
        layout = layout.permuted([1, 0])
    return _weighted_last(layout, made)


def _einsum(made: _Made) -> Layout | None:
    equation = made.attribute("equation", b"").decode().replace(" ", "")
    if "->" not in equation or "." in equation:
        return None
    terms, out = equation.split("->")
    seen: dict[str, Axis] = {}
    channels: set[str] = set()
    for k, term in enumerate(terms.split(",")):
        layout = made.layout(k)
        for letter, axis in zip(term, layout.axes if layout else (), strict=False):
            seen[letter] = min(seen.get(letter, axis), axis, key=_vagueness)
        channels |= {term[k] for k in layout.channel_axes if k < len(term)} if layout else set()
    attends = all(made.varies(k) for k in range(len(made.inputs))) and bool(channels - set(out))
    axes: list[Axis] = []
    for letter, size in zip(out, made.shape, strict=True):
        axis = seen.get(letter, ((CHANNELS, size),))
        axes.append(tuple((HEADS if attends and m == CHANNELS else m, n) for m, n in axis))
    return Layout(tuple(axes))


def _normalised_last(made: _Made) -> Layout | None:
    """Layer normalisation: over the channels, where nothing else is known."""
    return _first(made) or (None if made.which else _weighted_last(None, made))


def _attention(made: _Made) -> Layout | None:
    """Like the queries; beside it the keys and values of each head, and the maps of weights."""
    if made.which == 0:
        return _normalised_last(made)
    if made.node.domain == "com.microsoft" or len(made.shape) != 4:
        return None
    images, heads, rows, columns = made.shape
    first = ((IMAGES, images),)
    if made.which == 3:
        return Layout((first, ((HEADS, heads),), _positions(made, 0, rows), _positions(made, 1, columns)))
    places = _positions(made, made.which, rows)
    return Layout((first, ((CHANNELS, heads),), places, ((CHANNELS, columns),)))


def _positions(made: _Made, k: int, size: int) -> Axis:
    """The positions of an input (..., T, D), of another number where some were kept from before."""
    layout = made.layout(k)
    return ((PLACES, size),) if layout is None else layout.axis(len(layout.axes) - 2, size)


def _recurrent(made: _Made) -> Layout | None:
    """(T, N, D) to (T, directions, N, C), and to the last states (directions, N, C)."""
    layout = made.layout(0)
    if layout is None or len(layout.axes) != 3:
        return None
    time, images, _ = layout.axes
    last = ((CHANNELS, made.shape[-1]),)
    return Layout((time, (), images, last) if made.which == 0 else ((), images, last))


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_CHANNELS_FIRST, _channels_first),
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys(("NhwcMaxPool", "AffineGrid"), _channels_last),
    "Dropout": lambda made: None if made.which else _alike(made),  # its mask is no layer to look at
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten"), _reshape),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    **dict.fromkeys(
        (
            *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
            *("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin"),
        ),
        _reduce,
    ),
    "Gather": _gather,
    **dict.fromkeys(("MatMul", "MatMulInteger", "FusedMatMul"), _matmul),
    "QLinearMatMul": lambda made: _matmul(made, 0, 3),
    **dict.fromkeys(("Gemm", "FusedGemm"), _gemm),
    "Einsum": _einsum,
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "MultiHeadAttention"), _normalised_last),
    "Attention": _attention,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(
        (
            *("Slice", "Split", "Pad", "Resize", "Upsample", "Tile", "Crop", "TopK", "Softmax", "LogSoftmax"),
            *("GatherElements", "ScatterElements", "ScatterND", "MaxUnpool", "PRelu", "CumSum", "Trilu"),
        ),
        _first,
    ),
    **dict.fromkeys(
        (
            *("Shape", "Size", "NonZero", "NonMaxSuppression", "ConstantOfShape", "OneHot", "Range"),
            *("If", "Loop", "Scan", "EyeLike", "GatherND", "RoiAlign", "MaxRoiPool"),
        ),
        _lost,
    ),
}
