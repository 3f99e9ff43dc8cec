"""From a forward graph in normal form to a gradient graph: objective, backward pass, doors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import GradientError
from .backward import RuleTable, describe_stops, gradient_that_arrives, stopped_nodes
from .blocked import open_doors
from .graph import Graph, TensorType
from .rules import RULES

IMAGE, VALUE, GRADIENT = "image", "value", "gradient"


@dataclass(frozen=True)
class Parameter:
    """A runtime input of the gradient model with the value it has unless one is fed."""

    name: str
    default: np.ndarray

    def astype(self, dtype: Any) -> Parameter:
        """The same in another precision; integers stay."""
        single = self.default.dtype == np.float32
        return Parameter(self.name, self.default.astype(dtype)) if single else self


def add_parameters(graph: Graph, parameters: Sequence[Parameter]) -> None:
    """Declare optional inputs: each is a graph input and an initializer of the same name."""
    for parameter in parameters:
        graph.inputs[parameter.name] = TensorType(parameter.default.shape, parameter.default.dtype)
        graph.constants[parameter.name] = parameter.default


def differentiate(
    graph: Graph,
    emit_value: Callable[[Graph], str],
    *,
    activations: Sequence[str] = (),
    rules: RuleTable = RULES,
    dtype: Any = np.float32,
    wrt: str = IMAGE,
    scale: float = 1.0,
) -> Graph:
    """Turn `graph` into a gradient graph, in place unless another precision is asked for.

    Parameters
    ----------
    graph : Graph
        Forward graph with an input named "image" of shape (N, C, H, W).
    emit_value : callable
        Appends the objective and returns the name of its value, shape (N,).
    activations : sequence of str
        Tensors to offer as further outputs.
    rules : RuleTable
        The gradient rules to use.
    dtype : dtype
        float64 to compute in double precision, for checks.
    wrt : str
        The tensor to differentiate with respect to.
    scale : float
        The backward pass is computed of `scale` times the value, and its result divided by it: in half
        precision small gradients would otherwise be lost on the way. A power of two changes no digit.

    Returns
    -------
    Graph
        The same graph (a copy in another precision): outputs "value" (N,), "gradient" of the shape
        of `wrt`, and the activations. Its ``stopped`` names the nodes at which a part of the
        gradient ends.

    Raises
    ------
    UnsupportedOpError
        A node between the image and the objective has no rule.
    GradientError
        No gradient arrives: the value does not depend on `wrt`, or through nodes alone at which it ends.
    """
    value = emit_value(graph)
    if dtype != np.float32:
        graph = graph.astype(dtype)
    graph.outputs = [value]
    graph.infer_types()
    graph.stopped = stopped_nodes(graph, wrt, value, rules)
    gradient = gradient_that_arrives(graph, value, wrt, rules, scale)
    if gradient is None:
        raise GradientError(f"no gradient reaches {_source(wrt)}; {_why(graph, rules)}")
    if scale != 1:
        whole = np.asarray(1 / scale, graph.type(wrt).dtype)
        gradient = graph.add("Mul", [gradient, graph.add_constant(whole)])
    for public, name, like in ((VALUE, value, value), (GRADIENT, gradient, wrt)):
        graph.add("Identity", [name], output=public)
        graph.types[public] = graph.type(like)
    graph.outputs = [VALUE, GRADIENT, *activations]
    graph.prune()
    graph.infer_types()
    open_doors(graph)
    return graph


def _source(wrt: str) -> str:
    return "the image" if wrt == IMAGE else f"layer {wrt!r}"


def _why(graph: Graph, rules: RuleTable) -> str:
    if graph.stopped:
        return f"it stops at {describe_stops(graph.stopped, rules)}"
    return "the value does not depend on what is in it, but at most on its shape"
