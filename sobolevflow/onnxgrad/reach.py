"""Which tensors of a graph have a gradient: each node is asked once, and no backward pass is run.

Whether an operator lets a gradient through is a matter of its use: of attributes, of which inputs depend on
the source, of which output is asked for. So each rule is called, as the walker (`backward`) would, for every
output of its node, in a copy that is thrown away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import copy
from dataclasses import dataclass

from ..errors import ModelError, UnsupportedOpError
from .backward import Refusal, RuleTable, Step, downstream
from .graph import Graph, Node, subgraphs
from .raised import as_model_error
from .rules import RULES


@dataclass(frozen=True)
class _Reach:
    """How a gradient fares from one tensor on to the source."""

    works: bool  # no node refuses it, on any of its ways
    arrives: bool


def with_gradient(graph: Graph, wrt: str, rules: RuleTable = RULES) -> set[str]:
    """The tensors whose gradient with respect to `wrt` exists, and is not zero for want of a way.

    Parameters
    ----------
    graph : Graph
        In normal form, with static types. Not modified.
    wrt : str
        The source, an input.
    rules : RuleTable
        The gradient rules to use.

    Returns
    -------
    set of str
        Floating point tensors, and integers right behind an operator that quantises, for which
        `append_backward` meets no node without a rule, and arrives.
    """
    scratch = _scratch(graph)
    carries, linked = downstream(graph, wrt, rules)
    makers = {y: node for node in graph.nodes for y in node.outputs}
    reach = {wrt: _Reach(True, True)}
    for node in linked:
        for k, y in enumerate(node.outputs):
            if y in carries:
                reach[y] = _of_output(_step(scratch, node, k, makers, carries), carries, reach, rules)
    quantised = {y for y, node in makers.items() if node.op in rules.integers}
    real = {y for y in reach if graph.type(y).is_float or y in quantised}
    return {y for y in real if reach[y].works and reach[y].arrives}


def _scratch(graph: Graph) -> Graph:
    """A graph in whose place rules may append; what it holds is shared."""
    scratch = copy(graph)
    scratch.nodes, scratch.constants = list(graph.nodes), dict(graph.constants)
    scratch.inputs, scratch.types = dict(graph.inputs), dict(graph.types)
    return scratch


def _step(scratch: Graph, node: Node, k: int, makers: Mapping[str, Node], carries: Collection[str]) -> Step:
    """A node with a gradient of its k-th output alone."""
    y = node.outputs[k]
    seed = scratch.fresh("grad/asked")
    scratch.inputs[seed] = scratch.type(y)
    grads = [seed if at == k else None for at in range(len(node.outputs))]
    return Step(scratch, node, grads, makers, carries)


def _of_output(step: Step, carries: Collection[str], reach: Mapping[str, _Reach], rules: RuleTable) -> _Reach:
    try:
        with as_model_error("no gradient"):
            behind = [reach[x] for x in _takes_on(step, carries, rules) if x in reach]
    except (Refusal, UnsupportedOpError, ModelError):
        return _Reach(False, False)
    return _Reach(all(x.works for x in behind), any(x.arrives for x in behind))


def _takes_on(step: Step, carries: Collection[str], rules: RuleTable) -> Iterator[str]:
    """The tensors that a node passes its gradient on to."""
    entry = rules.entries.get(step.node.op)
    if entry is None or subgraphs(step.node):
        raise Refusal
    together = rules.composed(step)
    if together is not None:
        yield from together
        return
    for i, x in enumerate(step.node.inputs):
        if x in carries and entry.rule(step, i) is not None:
            yield x
