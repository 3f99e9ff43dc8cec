"""What turns a network's normal form into the graph that an objective is put behind."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from onnx import TensorProto

from ..onnxgrad import GRADIENT, IMAGE, VALUE, Graph, Node, TensorType

# How the names of tensors begin that are added to the network; a user's tensor of such a name moves aside.
_RESERVED_PREFIXES = ("image/", "objective/", "grad/")


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


def uncast(graph: Graph, name: str) -> str:
    """The tensor of the network itself, where `name` is the copy that `in_single_precision` made of it."""
    maker = graph.maker(name)
    copied = maker is not None and maker.op == "Cast" and name.startswith(f"{maker.inputs[0]}/single__")
    return maker.inputs[0] if maker is not None and copied else name


def in_real_numbers(graph: Graph, name: str) -> str:
    """The real numbers that a quantised tensor stands for, which the rest of the graph is computed from.

    They are quantised again for those that read it, which gives the same numbers; other tensors stay as they
    are.
    """
    maker = graph.maker(name)
    if graph.type(name).is_float or maker is None or maker.op != "QuantizeLinear":
        return name
    shape, real, again = graph.shape(name), graph.fresh(f"{name}/real"), graph.fresh(f"{name}/again")
    graph.types[real] = TensorType(shape, graph.type(maker.inputs[1]).dtype)
    graph.types[again] = graph.type(name)
    at = graph.nodes.index(maker) + 1
    for node in graph.nodes[at:]:
        node.inputs = [again if x == name else x for x in node.inputs]
    scales = maker.inputs[1:]
    graph.nodes[at:at] = [
        Node("DequantizeLinear", [name, *scales], [real], dict(maker.attrs)),
        Node("QuantizeLinear", [real, *scales], [again], dict(maker.attrs)),
    ]
    return real


def is_twice(two: Graph, one: Graph) -> bool:
    """Whether every tensor of a graph for two images is twice as long as in that for one."""
    names = [y for node in one.nodes for y in node.outputs if y]
    if names != [y for node in two.nodes for y in node.outputs if y]:
        return False
    pairs = [(one.shape(y), two.shape(y)) for y in names]
    return all(len(a) > 0 and b == (2 * a[0], *a[1:]) for a, b in pairs)
