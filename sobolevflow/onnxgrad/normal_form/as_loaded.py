"""A model as onnxruntime takes its file.

Some things may be written in more than one way. Weights may be listed as inputs, which files had to before
IR version 4. And ONNX's own operators are of domain '' or 'ai.onnx', and a file may import several versions
of them, of which onnxruntime takes the last, for its functions too, whatever those import themselves. Such
functions stand for their bodies. Nodes may be written in any order.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import helper

from ..graph import opset_of, subgraphs
from ..limits import DEFAULT, Limits
from .in_order import put_in_order
from .local_functions import inline_own_functions

_OWN = ("", "ai.onnx")
_INITIALIZERS_APART = 4  # the IR version from which on weights need not be inputs


def as_loaded(model: onnx.ModelProto, limits: Limits = DEFAULT) -> onnx.ModelProto:
    """A copy whose inputs are what has to be fed, of one default opset, in order, without own functions.

    Raises
    ------
    ModelError
        Nodes wait for each other; with the bodies of its functions it would have more nodes than `limits`
        allow, or they call each other in a circle.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    weights = {t.name for t in out.graph.initializer}
    fed = [info for info in out.graph.input if info.name not in weights]
    del out.graph.input[:]
    out.graph.input.extend(fed)
    out.ir_version = max(out.ir_version, _INITIALIZERS_APART)
    _settle_default_opset(out)
    put_in_order(out.graph)
    return inline_own_functions(out, limits)


def _settle_default_opset(model: onnx.ModelProto) -> None:
    """Leave one version of ONNX's own operators, under the name '', in place."""
    version = opset_of(model)
    if not version:  # what reads the model next says that it imports none
        return
    for holder in (model, *model.functions):
        own = [(v.domain, v.version) for v in holder.opset_import if v.domain in _OWN]
        if own != [("", version)]:
            others = [v for v in holder.opset_import if v.domain not in _OWN]
            del holder.opset_import[:]
            holder.opset_import.extend([helper.make_opsetid("", version), *others])
    for function in model.functions:
        _settle_domain(function)
        _settle_nodes(function.node)
    _settle_nodes(model.graph.node)


def _settle_nodes(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        _settle_domain(node)
        for body in subgraphs(node):
            _settle_nodes(body.node)


def _settle_domain(holder: onnx.NodeProto | onnx.FunctionProto) -> None:
    if holder.domain == _OWN[1]:
        holder.ClearField("domain")
