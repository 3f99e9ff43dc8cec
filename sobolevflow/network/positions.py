"""Layers whose entries lie at places of the image: maps, and tokens that are the rows of one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..onnxgrad import array_of, attributes_of
from .following import constants
from .layers import seen_through
from .layout import COLUMNS, DEPTH, IMAGES, PLACES, ROWS, Layout
from .path import Path, gradient_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

    from .network import Network

# Operators that pass on what another made, in another shape, order or type of number.
_PASSING = (
    *("Identity", "Dropout", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze"),
    *("QuantizeLinear", "DequantizeLinear"),
)

# So many products of two layers behind the last map, each attention being two, make it one of the stem.
_ATTENTIONS_OF_A_TRANSFORMER = 3


@dataclass(frozen=True)
class Positions:
    """How the entries of a layer lie in the image.

    Attributes
    ----------
    shape : tuple of int
        Of the layer, with its image first.
    channel_axis : int
    size : (int, int)
        Rows and columns.
    first : int
        How many tokens stand in front of those that lie in the image, as a class token does.
    """

    shape: tuple[int, ...]
    channel_axis: int
    size: tuple[int, int]
    first: int = 0

    @property
    def tokens(self) -> int | None:
        """The number of tokens of a layer (N, T, D); None for a map."""
        return self.shape[3 - self.channel_axis] if len(self.shape) == 3 else None

    @property
    def has_others(self) -> bool:
        """Whether some tokens lie nowhere in the image."""
        return self.tokens is not None and self.tokens != math.prod(self.size)

    def unfolded(self, values: np.ndarray) -> np.ndarray:
        """The layer's values as (N, rows, columns, C)."""
        last = np.moveaxis(values, self.channel_axis, -1)
        if last.ndim == 3:
            places = last[:, self.first : self.first + math.prod(self.size)]
            last = places.reshape(len(last), *self.size, last.shape[-1])
        return last


def positions(net: Network, path: Path) -> dict[str, Positions]:
    """The layers on a path that have channels and positions, in the file's order.

    They are (N, C, H, W) or (N, H, W, C), or tokens (N, T, D) or (N, D, T) of which the network shows that
    they are the rows of a map one after another, with some that are none in front or behind, or without
    those again.
    """
    found: dict[str, Positions] = {}
    # of tokens among which some have no position, by their number: the size of the map, how many are in front
    beside: dict[int, tuple[tuple[int, int], int]] = {}
    makers = {y: node for node in path.nodes for y in node.output}
    known = constants(net.model.graph)
    for name in path.names:
        layout, shape = net.layouts.get(name), net.shapes.get(name)
        if layout is None or shape is None or layout.meanings[:1] not in ((IMAGES,), ("",)):
            continue
        place = _of_a_layout(layout, shape)
        if place is None and len(shape) == 3 and layout.channel_axes in ((1,), (2,)):
            tokens = shape[3 - layout.channel_axes[0]]
            if tokens not in beside:
                told = _joined(makers[name], found, tokens) or _parted(makers[name], found, tokens, known)
                beside |= {} if told is None else {tokens: told}
            held = beside.get(tokens)
            if held is not None and PLACES in layout.meanings[3 - layout.channel_axes[0]]:
                place = Positions(shape, layout.channel_axes[0], *held)
        if place is not None:
            found[name] = place
    return found


def _of_a_layout(layout: Layout, shape: tuple[int, ...]) -> Positions | None:
    """As the meanings of the axes of a layer say."""
    if layout.is_map:
        channels = layout.channel_axes[0]
        height, width = (math.prod(n for _, n in layout.axes[k]) for k in (1, 2, 3) if k != channels)
        return Positions(shape, channels, (height, width))
    if len(layout.axes) == 3 and layout.channel_axes in ((1,), (2,)) and layout.grid is not None:
        return Positions(shape, layout.channel_axes[0], layout.grid) if min(layout.grid) > 1 else None
    return None


def _joined(
    node: onnx.NodeProto, found: Mapping[str, Positions], tokens: int
) -> tuple[tuple[int, int], int] | None:
    """Where so many tokens lie that a Concat makes of those of a map and of others, such as a class token.

    Rows and columns of the map, and how many others are in front.
    """
    if node.op_type != "Concat":
        return None
    for name in (node.input[0], node.input[-1]):
        place = found.get(name)
        if place is not None and attributes_of(node)["axis"] % 3 == 3 - place.channel_axis:
            others = tokens - math.prod(place.size)
            return place.size, 0 if name == node.input[0] else others
    return None


def _parted(
    node: onnx.NodeProto,
    found: Mapping[str, Positions],
    tokens: int,
    known: Mapping[str, onnx.TensorProto],
) -> tuple[tuple[int, int], int] | None:
    """Where so many tokens lie that a Slice leaves, if these are exactly those that are rows of a map."""
    place = found.get(node.input[0]) if node.op_type == "Slice" else None
    if place is None or place.tokens is None or tokens != math.prod(place.size):
        return None
    inputs = dict(zip(("data", "starts", "ends", "axes", "steps"), node.input, strict=False))
    given = {
        **attributes_of(node),  # as before opset 10
        **{key: array_of(known[x]).tolist() for key, x in inputs.items() if x in known},
    }
    starts = given.get("starts")
    if starts is None:
        return None
    axes = [axis % 3 for axis in given.get("axes", range(len(starts)))]
    axis = 3 - place.channel_axis
    if axis not in axes:
        return None
    k = axes.index(axis)
    rising = given.get("steps", [1] * len(starts))[k] == 1
    return (place.size, 0) if rising and starts[k] % place.tokens == place.first else None


def has_positions(net: Network, layer: str) -> bool:
    """Whether the entries of a layer lie at several places, as those of a segmentation or of boxes do."""
    layout = net.layouts.get(layer)
    if layout is None:
        return False
    factors = [factor for axis in layout.axes[1:] for factor in axis]
    return any(meaning in (ROWS, COLUMNS, DEPTH, PLACES) and size > 1 for meaning, size in factors)


def last_with_positions(net: Network, ends: Collection[str]) -> tuple[str | None, bool]:
    """The layer with positions that says most of where some layers come from.

    Parameters
    ----------
    net : Network
    ends : collection of str
        The layers, of class scores for instance.

    Returns
    -------
    name : str or None
        The last layer on the path that has positions, that no other with positions lies beside, and that no
        pool made. Where something goes past it, as past a side branch that a pooled map is added to, the last
        of its size that nothing goes past.
        Where the ends have positions themselves, as in a segmentation, it is the last of the smallest size
        behind which positions are still put together: the end of an encoder. None where there is none.
    early : bool
        Whether a transformer goes on behind it, in tokens whose places the network does not show.
    """
    path = gradient_path(net, ends)
    found = {name: place for name, place in positions(net, path).items() if name not in ends}
    makers = {y: node for node in path.nodes for y in node.output}
    usual = [name for name in found if not _of_a_pool(makers, name) and path.leads_to_all(name, ends)]
    usual = _of_the_stream(usual, found)
    placed = any(has_positions(net, end) for end in ends)
    usual = _of_an_encoder(usual, found, path) if placed else _without(usual, path.beside(usual, found))
    if not usual:
        return None, False
    mixed = found[usual[-1]].has_others
    if mixed:  # the score may be that of a token without a place
        usual = [name for name in usual if any(map(path.attends, path.behind(name)))] or usual
    attentions = sum(map(path.attends, path.behind(usual[-1])))
    if not placed and not mixed:
        usual = _of_the_trunk(usual, found, path)
    return usual[-1], attentions >= _ATTENTIONS_OF_A_TRANSFORMER


def _of_the_trunk(names: list[str], found: Mapping[str, Positions], path: Path) -> list[str]:
    """Up to the last that nothing goes past, where that is of the size of the last."""
    size = found[names[-1]].size
    trunk = [k for k, name in enumerate(names) if found[name].size == size and path.passes_all(name)]
    return names[: trunk[-1] + 1] if trunk else names


def _of_an_encoder(names: list[str], found: Mapping[str, Positions], path: Path) -> list[str]:
    """Those of the smallest size, behind which positions are still put together.

    A map of another would be the end itself, drawn small. What lies beside and goes on from the smallest maps
    are the heads of other scales; what comes from larger ones are ways past the smallest.
    """
    mixed = [name for name in names if any(map(path.mixes, path.behind(name)))] or names
    least = min((math.prod(found[name].size) for name in mixed), default=0)
    smallest = [name for name in mixed if math.prod(found[name].size) == least]
    return _without(smallest, path.beside(smallest, path.computed_from(smallest)))


def _without(names: list[str], others: Collection[str]) -> list[str]:
    """Without others, if any are left."""
    return [name for name in names if name not in others] or names


def _of_a_pool(makers: dict[str, onnx.NodeProto], name: str) -> bool:
    """Whether a layer is what a pool made, seen through what passes it on."""
    node = seen_through(makers, name, _PASSING)
    return node is not None and "Pool" in node.op_type


def _of_the_stream(names: list[str], found: Mapping[str, Positions]) -> list[str]:
    """Without tokens of another width than most: queries, keys and values, and the middle of a perceptron."""
    width = {name: found[name].shape[found[name].channel_axis] for name in names}
    widths: dict[int, Counter[int]] = {}
    for name in names:
        if (tokens := found[name].tokens) is not None:
            widths.setdefault(tokens, Counter())[width[name]] += 1
    usual = {tokens: counted.most_common(1)[0][0] for tokens, counted in widths.items()}
    return [name for name in names if (n := found[name].tokens) is None or usual[n] == width[name]]
