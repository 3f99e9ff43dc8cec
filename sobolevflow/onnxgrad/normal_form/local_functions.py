"""Functions that a file defines itself, replaced by their bodies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import inliner

from ..files.checking import check_model
from ..graph import subgraphs
from ..raised import as_model_error


def inline_own_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the bodies of its functions in place of their calls; itself where it has none.

    Raises
    ------
    ModelError
        Functions call themselves, or a call does not fit its function.
    """
    if not model.functions:
        return model
    _give_defaults(model)
    with as_model_error("the functions of the model cannot be replaced by their bodies"):
        inlined = inliner.inline_local_functions(model)
    check_model(
        inlined, "with its functions replaced by their bodies"
    )  # attributes are now those of the calls
    return inlined


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
