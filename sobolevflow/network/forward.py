"""What turns a network's normal form into the graph that an objective is put behind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from ..onnxgrad import GRADIENT, IMAGE, VALUE, Graph, Node, TensorType

if TYPE_CHECKING:
    from .places import Place

# How the names of tensors begin that are added to the network; a user's tensor of such a name moves aside.
_RESERVED_PREFIXES = ("image/", "objective/", "grad/")


# How the names of tensors end that show a layer in single precision, images first, without those filled up.
_MADE = re.compile("/(single|by_image|given)__[0-9]+$")


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


def in_parts(compute: Callable[[np.ndarray], list[np.ndarray]], u: np.ndarray, step: int) -> list[np.ndarray]:
    """What is computed of `step` images at once, of all; the last part may overlap the one before."""
    found: list[list[np.ndarray]] = []
    for k in range(0, len(u), step):
        start = min(k, len(u) - step)
        found.append([values[k - start :] for values in compute(u[start : start + step])])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


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

    It is that of the network itself, where that has its images first, and no more than `count`. Otherwise the
    network is led through a copy of which this holds, so that the gradient is of its shape.
    """
    own = _of_network(graph, name)
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
