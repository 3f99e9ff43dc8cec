"""What turns a network's normal form into the graph that an objective is put behind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from ..devices import Precision
from ..onnxgrad import GRADIENT, IMAGE, RULES, VALUE, Graph, Node, TensorType, check_memory, normalize
from .image_input import prepend_preprocessing
from .places import Place, untold
from .protocol import NetworkLike

# How the names of tensors begin that are added to the network; a user's tensor of such a name moves aside.
_RESERVED_PREFIXES = ("image/", "objective/", "grad/")


# How the names of tensors end that show a layer in single precision, in real numbers, images first, without
# those filled up.
_MADE = re.compile("/(single|real|by_image|given)__[0-9]+$")


def forward_graph(
    net: NetworkLike,
    layers: Sequence[str],
    batch: int,
    taken: int,
    reserved: Iterable[str],
    dtype: Any,
    precision: Precision,
) -> tuple[Graph, dict[str, str]]:
    """The normal form from `batch` images to layers, of which the network is given `taken`; see `Network`."""
    image = net.image_input
    graph = normalize(
        net.model,
        input_shapes={image.name: image.tensor_shape(taken)},
        keep=list(dict.fromkeys(layers)),
        feeds=net.feeds,
        weights=net.weights,
        dtype=dtype,
        limits=net.limits,
    )
    check_memory(graph, net.limits, images=taken)
    names = {layer: in_real_numbers(graph, layer) for layer in layers}
    if precision != "float32":
        graph = graph.astype(np.dtype(precision))
    moved = make_room(graph, reserved)
    prepend_preprocessing(graph, moved.get(image.name, image.name), image, net.preprocess, batch, taken)
    if dtype != np.float32:
        graph = graph.astype(dtype)
    names = {layer: moved.get(name, name) for layer, name in names.items()}
    if dtype == np.float32:
        names = {layer: in_single_precision(graph, name) for layer, name in names.items()}
    for layer, name in names.items():
        place = net.places.place_in(layer, graph.shape(name), taken)
        if place is None:
            raise untold(net.name, layer)
        names[layer] = cut(graph, place.show(graph, name, taken), batch)
    return graph, names


def make_room(graph: Graph, reserved: Iterable[str]) -> dict[str, str]:
    """Rename the tensors that bear a name with a meaning of its own; return their new names."""
    public, names = {IMAGE, VALUE, GRADIENT, *reserved}, _all_names(graph)
    taken = sorted(name for name in names if name in public or name.startswith(_RESERVED_PREFIXES))
    moved = {name: _moved(name, names) for name in taken}
    graph.rename(moved)
    return moved


def _all_names(graph: Graph) -> set[str]:
    names = {*graph.inputs, *graph.constants, *graph.types}
    for node in graph.nodes:
        names.update(node.inputs, node.outputs)
    return names


def _moved(name: str, taken: set[str]) -> str:
    """Another name for a tensor, not in use; it joins `taken`."""
    other = f"model/{name}"
    while other in taken:
        other = f"model/{other}"
    taken.add(other)
    return other


def in_single_precision(graph: Graph, name: str) -> str:
    """The tensor, or its float32 copy where the network computes in another precision."""
    kind = graph.type(name)
    if kind.dtype == np.float32 or not kind.is_float:
        return name
    single = graph.add("Cast", [name], output=graph.fresh(f"{name}/single"), to=TensorProto.FLOAT)
    graph.types[single] = TensorType(kind.shape, np.dtype(np.float32))
    return single


def cut(graph: Graph, name: str, count: int) -> str:
    """The first `count` entries of a tensor, along its first axis."""
    kind = graph.type(name)
    if kind.shape[0] == count:
        return name
    ends = [graph.add_constant(np.array([k], np.int64)) for k in (0, count, 0)]
    part = graph.add("Slice", [name, *ends], output=graph.fresh(f"{name}/given"))
    graph.types[part] = TensorType((count, *kind.shape[1:]), kind.dtype)
    return part


def differentiable_at(graph: Graph, name: str, place: Place, count: int) -> str:
    """The tensor to differentiate with respect to, for a layer as `Network.graph` returns it.

    It is that of the network itself, where that is of real numbers and has its images first, and no more than
    `count`. Otherwise the network is led through a copy of which this holds, so that the gradient is of its
    shape.
    """
    own = _led_through_real_numbers(graph, _of_network(graph, name))
    shape = graph.shape(own)
    taken = place.images(shape)
    if place.is_first and taken == count:
        return own
    readers = [node for node in graph.nodes if own in node.inputs]
    before = len(graph.nodes)
    shown = place.show(graph, own, taken)
    at = cut(graph, shown, count)
    whole = at if taken == count else _joined(graph, at, shown)
    back = place.undo(graph, whole, shape, taken)
    added, graph.nodes = graph.nodes[before:], graph.nodes[:before]
    maker = graph.maker(own)
    assert maker is not None  # a layer is computed
    behind = graph.nodes.index(maker) + 1
    graph.nodes[behind:behind] = added
    for node in readers:
        node.inputs = [back if x == own else x for x in node.inputs]
    return at


def _joined(graph: Graph, part: str, whole: str) -> str:
    """A tensor made of its first entries, and of the others."""
    kind, start = graph.type(whole), graph.shape(part)[0]
    ends = [graph.add_constant(np.array([k], np.int64)) for k in (start, kind.shape[0], 0)]
    rest = graph.add("Slice", [whole, *ends], output=graph.fresh(f"{whole}/filling"))
    joined = graph.add("Concat", [part, rest], output=graph.fresh(f"{whole}/joined"), axis=0)
    graph.types[rest] = TensorType((kind.shape[0] - start, *kind.shape[1:]), kind.dtype)
    graph.types[joined] = kind
    return joined


def _of_network(graph: Graph, name: str) -> str:
    """The tensor of the network itself that `Network.graph` made a layer of."""
    while _MADE.search(name) and (maker := graph.maker(name)) is not None:
        if not name.startswith(f"{maker.inputs[0]}/"):
            break
        name = maker.inputs[0]
    return name


def in_real_numbers(graph: Graph, name: str) -> str:
    """The real numbers that a quantised tensor stands for; other tensors as they are."""
    scales = _scales(graph, name)
    if scales is None:
        return name
    node = _dequantizing(graph, name, scales)
    graph.nodes.append(node)
    return node.outputs[0]


def _scales(graph: Graph, name: str) -> list[str] | None:
    """Scale and zero point of a quantised tensor; None for others."""
    maker = graph.maker(name)
    if maker is None or name != maker.outputs[0] or maker.op not in RULES.integers:
        return None
    return maker.inputs[1:] if maker.op == "QuantizeLinear" else maker.outputs[1:]


def _axis(graph: Graph, name: str) -> dict[str, Any]:
    """The axis of the scales of a quantised tensor, as an attribute."""
    maker = graph.maker(name)
    return {} if maker is None else {k: v for k, v in maker.attrs.items() if k == "axis"}


def _dequantizing(graph: Graph, name: str, scales: list[str]) -> Node:
    real = graph.fresh(f"{name}/real")
    graph.types[real] = TensorType(graph.shape(name), graph.type(scales[0]).dtype)
    return Node("DequantizeLinear", [name, *scales], [real], _axis(graph, name), real)


def _led_through_real_numbers(graph: Graph, name: str) -> str:
    """As `in_real_numbers`, and what reads the tensor is computed from these.

    They are quantised again for that, which gives the same numbers.
    """
    scales = _scales(graph, name)
    if scales is None:
        return name
    to_real, again = _dequantizing(graph, name, scales), graph.fresh(f"{name}/again")
    real = to_real.outputs[0]
    to_again = Node("QuantizeLinear", [real, *scales], [again], _axis(graph, name), again)
    graph.types[again] = graph.type(name)
    at = next(k for k, node in enumerate(graph.nodes) if name in node.outputs) + 1
    for node in graph.nodes[at:]:
        node.inputs = [again if x == name else x for x in node.inputs]
    graph.nodes[at:at] = [to_real, to_again]
    return real
