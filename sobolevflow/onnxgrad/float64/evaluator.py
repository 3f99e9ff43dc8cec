"""The nodes of a graph, evaluated one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

from ..graph import Graph, Node, TensorType, node_label, reads
from ..raised import as_model_error
from ..runtime import graph_session, run
from .convolutions import Conv, ConvTranspose
from .elementwise import Erf, Expand, Relu, Sigmoid
from .indexing import GatherElements, GridSample, ScatterElements, ScatterND
from .normalizations import LRN, LpNormalization, MeanVarianceNormalization
from .padding import Pad
from .pools import AveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool
from .quantization import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from .resampling import Resize

Feeds = Mapping[str, np.ndarray]
Arguments = Sequence[Any]  # an array, or None where an optional input is absent
Arrays = Sequence[np.ndarray]

_OPERATORS = [
    *(Conv, ConvTranspose, MaxPool, AveragePool, LpPool, GlobalLpPool, GlobalMaxPool),
    *(Relu, Sigmoid, Erf, Expand, Pad, LRN, MeanVarianceNormalization, LpNormalization),
    *(Resize, GatherElements, ScatterElements, ScatterND, GridSample),
    *(QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear),
]


@dataclass(frozen=True)
class Step:
    """One node, what computes it, and the tensors that nobody needs behind it."""

    node: Node
    compute: Callable[[Arguments, Feeds], Arrays]
    done: tuple[str, ...]

    def arguments(self, known: Feeds) -> Arguments:
        """The node's inputs, None where an optional one is absent."""
        return [known[x] if x else None for x in self.node.inputs]

    def __call__(self, known: Feeds) -> Arrays:
        """The node's outputs."""
        with as_model_error(f"NumPy cannot evaluate {self.node.op} (node {node_label(self.node)})"):
            return self.compute(self.arguments(known), known)


class Evaluation:
    """A graph made ready for `evaluate`, whose nodes a caller may stand beside.

    Attributes
    ----------
    single : list of Node
        Those that onnxruntime computes, in single precision.
    """

    def __init__(self, graph: Graph) -> None:
        self._outputs = list(graph.outputs)
        self._constants = {name: np.asarray(value) for name, value in graph.constants.items()}
        last = {name: k for k, node in enumerate(graph.nodes) for name in (*node.outputs, *reads(node))}
        kept = {*graph.outputs, *graph.constants}
        done: dict[int, list[str]] = {}
        for name, k in last.items():
            if name and name not in kept:
                done.setdefault(k, []).append(name)
        used = {name for node in graph.nodes for name in reads(node)} | set(graph.outputs)
        self.single: list[Node] = []
        self._steps = []
        for k, node in enumerate(graph.nodes):
            operator = _reference(graph, _without_indices(node, used))
            if operator is None:
                self.single.append(node)
            compute = _on_onnxruntime(node) if operator is None else _by_numpy(operator)
            self._steps.append(Step(node, compute, tuple(done.get(k, ()))))

    def __call__(self, feeds: Feeds, through: Callable[[Step, Feeds], Arrays] = Step.__call__) -> list[Any]:
        """The graph's outputs; `through` computes the outputs of each node."""
        known: dict[str, Any] = {**self._constants, **feeds}
        with np.errstate(all="ignore"):  # what is not finite is seen in the result
            for step in self._steps:
                known.update(zip(step.node.outputs, through(step, known), strict=False))
                for name in step.done:
                    known.pop(name, None)
        return [known[name] for name in self._outputs]


def evaluate(graph: Graph) -> Callable[[Feeds], list[np.ndarray]]:
    """A function from feeds to the graph's outputs, computed in the graph's own dtypes by NumPy.

    Optional inputs (those with a default) need not be fed. An operator that onnx has no reference for, such
    as one of onnxruntime's own domain, is computed by onnxruntime, in single
    precision: `Evaluation.single`.

    Raises
    ------
    ModelError
        A node cannot be evaluated; names it.
    """
    return Evaluation(graph)


def _without_indices(node: Node, used: set[str]) -> Node:
    """A max pool that was asked for its indices by a backward pass which is not there, without them."""
    if node.op == "MaxPool" and used.isdisjoint(node.outputs[1:]):
        return replace(node, outputs=node.outputs[:1])
    return node


def _by_numpy(operator: Any) -> Callable[[Arguments, Feeds], Arrays]:
    if operator.need_context():
        return lambda arguments, known: list(operator.run(*arguments, context=dict(known)))
    return lambda arguments, _: list(operator.run(*arguments))


def _reference(graph: Graph, node: Node) -> Any:
    """What computes a node in NumPy; None where onnx does not know the operator."""
    part = Graph()
    part.nodes, part.outputs = [node], [y for y in node.outputs if y]
    part.inputs = {x: graph.type(x) for x in node.inputs if x and _is_known(graph, x)}
    try:
        return ReferenceEvaluator(part.to_model(typed_outputs=False), new_ops=_OPERATORS).rt_nodes_[0]
    except (NotImplementedError, RuntimeError):
        return None


def _is_known(graph: Graph, name: str) -> bool:
    return any(name in known for known in (graph.types, graph.inputs, graph.constants))


def _on_onnxruntime(node: Node) -> Callable[[Arguments, Feeds], Arrays]:
    """A node on onnxruntime, which has it in single precision."""

    def compute(arguments: Arguments, _: Feeds) -> Arrays:
        given = {x: a for x, a in zip(node.inputs, arguments, strict=True) if a is not None}
        double = any(a.dtype == np.float64 for a in given.values())
        feeds = {x: a.astype(np.float32) if a.dtype == np.float64 else a for x, a in given.items()}
        part = Graph()
        part.nodes, part.outputs = [node], [y for y in node.outputs if y]
        part.inputs = {x: TensorType(a.shape, a.dtype) for x, a in feeds.items()}
        results = iter(run(graph_session(part, typed_outputs=False), part.outputs, feeds))
        made = [next(results) if y else np.empty(0) for y in node.outputs]
        return [y.astype(np.float64) if double and y.dtype == np.float32 else y for y in made]

    return compute
