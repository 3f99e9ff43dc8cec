"""Functions that a file defines itself, replaced by their bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import onnx
from onnx import inliner

from ...errors import ModelError
from ..files.checking import check_model
from ..graph import subgraphs
from ..limits import Limits, in_words, refused
from ..raised import as_model_error

_DEEPEST = 30  # bodies in bodies; a file can hold 33, and onnx fails at 32

_Key = tuple[str, str, str]  # domain, name and overload


def inline_own_functions(model: onnx.ModelProto, limits: Limits) -> onnx.ModelProto:
    """The model with the bodies of its functions in place of their calls; itself where it has none.

    Raises
    ------
    ModelError
        A function calls itself, also through others, or a call does not fit it; or the model would be too
        large.
    """
    _check_size(model, limits)
    if not model.functions:
        return model
    _give_defaults(model)
    with as_model_error("the functions of the model cannot be replaced by their bodies"):
        inlined = inliner.inline_local_functions(model)
    check_model(inlined, "with its functions replaced by their bodies")  # attributes are now those of calls
    return inlined


def _check_size(model: onnx.ModelProto, limits: Limits) -> None:
    """ModelError where there will be too many nodes, or too much in them, before there are."""
    deepest = max(map(_depth, (model.graph.node, *(f.node for f in model.functions))))
    if deepest > _DEEPEST:
        raise ModelError(f"the model's control flow is nested {deepest} deep, and {_DEEPEST} are allowed")
    nodes = _with_bodies(model, lambda _: 1)
    replaced = ", its functions replaced by their bodies" if model.functions else ""
    if nodes > limits.nodes:
        raise refused(
            f"the model has {nodes} nodes{replaced}, and {limits.nodes} are allowed", "nodes", nodes
        )
    if not model.functions:
        return
    size = _with_bodies(model, onnx.NodeProto.ByteSize)
    if size > limits.folded_bytes + model.ByteSize():
        what = f"the model's nodes take {in_words(size)}{replaced}"
        raise refused(f"{what}, and {in_words(limits.folded_bytes)} are allowed", "folded_bytes", size)


def _depth(nodes: Iterable[onnx.NodeProto]) -> int:
    return max((1 + _depth(body.node) for node in nodes for body in subgraphs(node)), default=0)


def _with_bodies(model: onnx.ModelProto, measure: Callable[[onnx.NodeProto], int]) -> int:
    """The sum of a measure over the nodes of a model, its functions replaced by their bodies."""
    functions = {(f.domain, f.name, f.overload): f.node for f in model.functions}
    sizes: dict[_Key, int] = {}
    for key in _callees_first(functions):
        sizes[key] = _sum(functions[key], sizes, measure)
    return _sum(model.graph.node, sizes, measure)


def _sum(
    nodes: Iterable[onnx.NodeProto], sizes: Mapping[_Key, int], measure: Callable[[onnx.NodeProto], int]
) -> int:
    each = (sizes.get(_callee(node)) or measure(node) for node in _with_inner(nodes))
    return sum(each)


def _callee(node: onnx.NodeProto) -> _Key:
    return node.domain, node.op_type, node.overload


def _callees_first(functions: Mapping[_Key, Sequence[onnx.NodeProto]]) -> Iterable[_Key]:
    """The functions in an order in which each comes behind those that it calls."""
    calls = {
        key: set(map(_callee, _with_inner(nodes))) & functions.keys() for key, nodes in functions.items()
    }
    try:
        return tuple(TopologicalSorter(calls).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{domain}::{name}" for domain, name, _ in error.args[1])
        raise ModelError(f"the model's functions call each other in a circle ({circle})") from None


def _give_defaults(model: onnx.ModelProto) -> None:
    """Write out the attributes that calls leave to their defaults, in place: the inliner drops those."""
    functions = {(f.domain, f.name): f for f in model.functions}
    bodies = (model.graph.node, *(f.node for f in model.functions))
    for node in (n for body in bodies for n in _with_inner(body)):
        if (function := functions.get((node.domain, node.op_type))) is not None:
            given = {a.name for a in node.attribute}
            node.attribute.extend(a for a in function.attribute_proto if a.name not in given)


def _with_inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for body in subgraphs(node):
            yield from _with_inner(body.node)
