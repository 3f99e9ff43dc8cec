"""Fold what does not depend on the input: constants, shape arithmetic, batch normalization.

onnxruntime's own optimizer would do this too, but the operators it rewrites to change from
release to release, and every one of them would need a gradient rule. Folding here keeps the
set of operators that the rules see equal to the set in the user's file.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import helper

from ..files.weights import array_of
from ..float64 import evaluate
from ..footprint import operations, peak_bytes, tensor_bytes
from ..graph import RANDOM, Graph, Node, node_label, reads, subgraphs
from ..limits import DEFAULT, Limits, in_words, refused
from ..runtime import run_within

# What becomes of operators that are gone before the rules are asked.
FOLDED = {
    "Constant": "a constant",
    "Shape": "a constant, since shapes are static",
    "Size": "a constant, since shapes are static",
    "CastLike": "a Cast, since types are static",
}
# Reading one of these needs the static type of a tensor, not its value.
_OF_TYPE = {"Shape", "Size"}
_DEQUANTIZED = 8  # numbers of four bits become single precision


def fold(graph: Graph, keep: Collection[str], *, double: bool = False, limits: Limits = DEFAULT) -> None:
    """Fold in place; tensors in `keep` stay what they are, and nothing is folded across them.

    Constants are computed by onnxruntime; with `double` by NumPy, of a graph that is in double precision, for
    which onnxruntime lacks most kernels. What is folded is the same.

    Raises
    ------
    ModelError
        The constants take more memory, or more computing, than `limits` allow.
    """
    _fold_types(graph)
    fold_constants(graph, double, limits)
    _fold_batch_normalization(graph, keep)
    graph.prune()


def inline_constant_nodes(graph: Graph) -> None:
    """Turn Constant nodes into constants of the graph, in place."""
    kept = []
    for node in graph.nodes:
        value = _constant_value(node) if node.op == "Constant" else None
        if value is None:
            kept.append(node)
        else:
            graph.constants[node.outputs[0]] = value
    graph.nodes = kept


def _constant_value(node: Node) -> np.ndarray | None:
    for name, value in node.attrs.items():
        if name == "value":
            return array_of(value)
        if name in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    return None


def _fold_types(graph: Graph) -> None:
    """Shapes and dtypes are static, so Shape and Size are constants, and CastLike is a Cast."""
    kept = []
    for node in graph.nodes:
        if node.op == "CastLike":
            dtype = graph.type(node.inputs[1]).dtype
            node.op, node.inputs = "Cast", node.inputs[:1]
            node.attrs = {"to": helper.np_dtype_to_tensor_dtype(dtype)}
        if node.op not in _OF_TYPE:
            kept.append(node)
            continue
        shape = graph.shape(node.inputs[0])
        part = shape[slice(node.attrs.get("start", 0), node.attrs.get("end"))]
        value = np.asarray(part if node.op == "Shape" else np.prod(shape), np.int64)
        graph.constants[node.outputs[0]] = value
    graph.nodes = kept


def fold_constants(graph: Graph, double: bool, limits: Limits) -> None:
    """Evaluate all nodes that depend on constants only, in one run."""
    fixed = {name for name in graph.constants if name not in graph.inputs}
    constant_nodes, kept = [], []
    for node in graph.nodes:
        foldable = node.op not in RANDOM and all(not x or x in fixed for x in node.inputs)
        # a node with a sub-graph may read the outer scope by name, which its inputs do not show
        if foldable and not subgraphs(node):
            constant_nodes.append(node)
            fixed.update(node.outputs)
        else:
            kept.append(node)
    if not constant_nodes:
        return
    made = {y for node in constant_nodes for y in node.outputs if y}
    wanted = sorted(made & ({x for node in kept for x in reads(node)} | set(graph.outputs)))
    part = Graph()
    part.nodes, part.constants, part.outputs = constant_nodes, dict(graph.constants), wanted
    part.prune()
    graph.nodes = kept
    if wanted:
        part.types = graph.types
        _check_cost(part, double, limits)
        evaluated = evaluate(part)({}) if double else _by_onnxruntime(part, limits)
        graph.constants.update(zip(wanted, evaluated, strict=True))


def _check_cost(part: Graph, double: bool, limits: Limits) -> None:
    """ModelError where constants would take too much, before any is computed."""
    given = sum(value.nbytes for value in part.constants.values())
    size = peak_bytes(part) // (2 if double else 1)
    if size > limits.folded_bytes + _DEQUANTIZED * given:
        largest = max(part.nodes, key=lambda node: max(tensor_bytes(part, y) for y in node.outputs))
        raise refused(
            f"the model's constants would take {in_words(size)} when they are computed, most of it for the "
            f"{largest.op} {node_label(largest)}, and {in_words(limits.folded_bytes)} are allowed",
            "folded_bytes",
            size,
        )
    count = operations(part)
    if count > limits.operations + _DEQUANTIZED * given:
        what = f"the model's constants would take {count:.3g} operations to compute"
        raise refused(f"{what}, and {limits.operations:.3g} are allowed", "operations", count)


def _by_onnxruntime(part: Graph, limits: Limits) -> list[np.ndarray]:
    model, weights = part.detached(typed_outputs=False)
    return run_within(
        limits, "computing the model's constants", model, part.outputs, {}, weights, own=peak_bytes(part)
    )


def _fold_batch_normalization(graph: Graph, keep: Collection[str]) -> None:
    """Conv then BatchNormalization becomes one Conv, where nobody else sees the Conv's output."""
    readers = graph.readers()
    makers = {node.outputs[0]: node for node in graph.nodes}
    merged = set[int]()
    for node in [n for n in graph.nodes if n.op == "BatchNormalization"]:
        before = makers.get(node.inputs[0])
        private = node.inputs[0] not in keep and len(readers[node.inputs[0]]) == 1
        if before is not None and before.op == "Conv" and private and _is_constant(graph, before, node):
            _merge(graph, before, node)
            merged.add(id(node))
    graph.nodes = [node for node in graph.nodes if id(node) not in merged]


def _is_constant(graph: Graph, convolution: Node, normalization: Node) -> bool:
    if normalization.attrs.get("training_mode", 0) or len(normalization.outputs) != 1:
        return False
    kernels, *of_channels = (
        graph.constant(x) for x in (*convolution.inputs[1:], *normalization.inputs[1:]) if x
    )
    return kernels is not None and all(
        value is not None and value.shape == kernels.shape[:1] for value in of_channels
    )


def _merge(graph: Graph, convolution: Node, normalization: Node) -> None:
    """Scale the kernels by scale / std and shift the bias accordingly, in double precision."""
    weight = graph.constants[convolution.inputs[1]]
    scale, shift, mean, variance = (graph.constants[x].astype(np.float64) for x in normalization.inputs[1:])
    slope = scale / np.sqrt(variance + normalization.attrs.get("epsilon", 1e-5))
    has_bias = len(convolution.inputs) > 2 and bool(convolution.inputs[2])
    bias = graph.constants[convolution.inputs[2]].astype(np.float64) if has_bias else np.zeros(len(slope))
    kernels = weight * slope.reshape(-1, *[1] * (weight.ndim - 1))
    convolution.inputs = [
        convolution.inputs[0],
        _new(graph, kernels.astype(weight.dtype), f"{convolution.inputs[1]}/folded"),
        _new(graph, ((bias - mean) * slope + shift).astype(weight.dtype), f"{convolution.outputs[0]}/bias"),
    ]
    convolution.outputs = list(normalization.outputs)


def _new(graph: Graph, value: np.ndarray, stem: str) -> str:
    name = graph.fresh(stem)
    graph.constants[name] = value
    return name
