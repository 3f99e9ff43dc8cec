"""Constants in the bodies of control flow, which onnxruntime computes when it opens a model."""

from __future__ import annotations

from contextlib import suppress

import onnx
from onnx import helper, numpy_helper

from ...errors import LimitError, ModelError
from ..graph import OPSET, Graph, reads, subgraphs, tensor_type, value_info
from ..limits import Limits
from ..shape_inference import infer_shapes
from .fold import fold_constants, inline_constant_nodes

_SMALL = 1000  # numbers of a constant that shapes may depend on


def check_bodies(graph: Graph, limits: Limits) -> None:
    """LimitError where the constants in a body take more than those of a graph may.

    They are computed for that, within the limits. What else is wrong with a body is left to who runs it.
    """
    for node in graph.nodes:
        for body in subgraphs(node):
            try:
                inner = _as_graph(body, graph)
                fold_constants(inner, False, limits)
            except LimitError:
                raise
            except ModelError:
                continue
            check_bodies(inner, limits)


def _as_graph(body: onnx.GraphProto, around: Graph) -> Graph:
    """A body as a graph of its own, whose inputs are what it reads of the graph around it."""
    own = {*(t.name for t in body.initializer), *(i.name for i in body.input)}
    own.update(y for node in body.node for y in node.output)
    outer = {x for node in body.node for x in reads(node) if x and x not in own}
    fixed = {x: value for x in outer if (value := around.constant(x)) is not None}
    alone = onnx.GraphProto()
    alone.CopyFrom(body)
    alone.initializer.extend(numpy_helper.from_array(v, x) for x, v in fixed.items() if v.size <= _SMALL)
    for x in outer - fixed.keys():
        with suppress(ModelError):  # of unknown type, as a sequence is
            alone.input.append(value_info(x, around.type(x)))
    inferred = infer_shapes(helper.make_model(alone, opset_imports=[helper.make_opsetid("", OPSET)]))
    graph = Graph.from_model(inferred)
    infos = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    graph.types = {info.name: kind for info in infos if (kind := tensor_type(info)) is not None}
    graph.constants |= fixed
    inline_constant_nodes(graph)
    return graph
