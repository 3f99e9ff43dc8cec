"""The reverse walker: appends the backward pass of a graph to that graph.

Rules (see `rules`) know one operator each. What is common to all of them lives here, once:
which nodes lie on a path from the image to the objective, un-broadcasting, the sum where a
tensor feeds several nodes, and the refusal of an operator without a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import UnsupportedOpError
from .builder import Builder, Value
from .graph import Graph, Node, Shape, needed_nodes, node_label, reads, subgraphs
from .optimized import without_rule
from .raised import as_model_error

T = TypeVar("T")


class Refusal(Exception):  # noqa: N818  (internal signal, becomes an UnsupportedOpError with the node's name)
    """Raised by a rule whose operator is known but not with these attributes or inputs."""


class Step(Builder):
    """One forward node as a rule sees it, with the gradients of its outputs; appends to the backward pass."""

    def __init__(
        self,
        graph: Graph,
        node: Node,
        grads: Sequence[str | None],
        makers: Mapping[str, Node] | None = None,
        carries: Collection[str] = (),
    ) -> None:
        super().__init__(graph)
        self.node = node
        self._makers = makers or {}
        self._carries = carries
        self._computed: Any = None
        # gradient of each output; None where it is zero
        self.grads = [None if g is None else self.named(g) for g in grads]

    @property
    def g(self) -> Value:
        """Gradient of the first output."""
        if self.grads[0] is None:
            raise Refusal("there is one for its first output alone")
        return self.grads[0]

    @property
    def x(self) -> list[Value]:
        """The inputs."""
        return [self.named(x) for x in self.node.inputs]

    @property
    def y(self) -> Value:
        """The first output."""
        return self.named(self.node.outputs[0])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that this node computes in, that of its first input."""
        return self.graph.type(self.node.inputs[0]).dtype

    def once(self, compute: Callable[[], T]) -> T:
        """What a rule computes for the first input that it is asked for, and needs for all of them."""
        if self._computed is None:
            self._computed = compute()
        return cast(T, self._computed)

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, text decoded."""
        value = self.node.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, i: int) -> bool:
        """Whether optional input `i` is given."""
        return i < len(self.node.inputs) and bool(self.node.inputs[i])

    def maker(self, name: str) -> Node | None:
        """The node of the forward pass that makes a tensor."""
        return self._makers.get(name)

    def carries(self, name: str) -> bool:
        """Whether a gradient is wanted of a tensor."""
        return name in self._carries

    def value(self, i: int) -> np.ndarray:
        """The constant value of input `i`; refuses the node if it is computed at run time."""
        known = self.graph.constant(self.x[i])
        if known is None:
            raise Refusal(f"its input {i} ({self.x[i]!r}) is computed at run time")
        return known


Rule = Callable[[Step, int], str | None]


@dataclass(frozen=True)
class RuleEntry:
    """A gradient rule: called as ``rule(step, i)`` for each input `i` that carries a gradient.

    It returns the gradient with respect to input `i` (None for zero). With ``broadcasts``
    it may return a gradient in the shape of the output; the walker sums it down.
    """

    rule: Rule
    broadcasts: bool = False
    linear: bool = False  # in the image-dependent inputs, jointly; for tests and documentation


Composed = Callable[[Step], Mapping[str, str] | None]


@dataclass(frozen=True)
class Composition:
    """One rule for several operators at once: called at the last of them, as ``rule(step)``.

    It returns the gradient of each tensor that those operators read, in that tensor's shape, and the nodes
    in between get none from there; or None, where the node does not end such a composition.
    """

    rule: Composed
    of: Mapping[str, RuleEntry]  # the rules of the operators, which it stands for


class RuleTable:
    """Gradient rules by operator name, and the operators through which nothing flows."""

    def __init__(self) -> None:
        self.entries: dict[str, RuleEntry] = {}
        self.compositions: dict[str, list[Composition]] = {}  # by the last operator
        self.stops: dict[str, str] = {}  # with the reason
        self.integers: set[str] = set()  # operators whose first output carries a gradient, though of integers

    def add(self, *ops: str, broadcasts: bool = False, linear: bool = False) -> Callable[[Rule], Rule]:
        """Decorator that registers one rule for the named operators."""

        def register(rule: Rule) -> Rule:
            for op in ops:
                self.entries[op] = RuleEntry(rule, broadcasts, linear)
                self.stops.pop(op, None)
            return rule

        return register

    def compose(self, *ops: str) -> Callable[[Composed], Composed]:
        """Decorator that registers one rule for the named operators at once, of which the first is the last.

        It holds as long as each of them has the rule that it has now: who gives one of them another rule
        means that one.
        """

        def register(rule: Composed) -> Composed:
            known = Composition(rule, {op: self.entries[op] for op in ops})
            self.compositions.setdefault(ops[0], []).append(known)
            return rule

        return register

    def composed(self, step: Step) -> Mapping[str, str] | None:
        """The gradients by a composition that ends at a node; None if there is none."""
        for composition in self.compositions.get(step.node.op, []):
            if all(self.entries.get(op) is entry for op, entry in composition.of.items()):
                gradients = composition.rule(step)
                if gradients is not None:
                    return gradients
        return None

    def stop(self, *ops: str, because: str) -> None:
        """Register operators whose derivative is zero wherever it exists."""
        self.stops.update(dict.fromkeys(ops, because))

    def covers(self, op: str) -> bool:
        """Whether a node of this operator can stand between the image and the objective."""
        return op in self.entries or op in self.stops


def append_backward(graph: Graph, value: str, wrt: str, rules: RuleTable, scale: float = 1.0) -> str:
    """Append the gradient of the sum of `value` with respect to `wrt`; return its name.

    Parameters
    ----------
    graph : Graph
        With static types of all tensors on the path. Extended in place.
    value : str
        A float tensor, usually of shape (N,). The gradient is seeded with ones, so entry n
        of a per-sample value gives the gradient of sample n.
    wrt : str
        The tensor to differentiate with respect to.
    rules : RuleTable
        The gradient rules to use.
    scale : float
        The gradient is of `scale` times the value.

    Raises
    ------
    UnsupportedOpError
        A node on the path has no rule; names the operator and the node.
    """
    total = gradient_that_arrives(graph, value, wrt, rules, scale)
    if total is None:  # nothing flows: the gradient exists and is zero
        kind = graph.type(wrt)
        total = graph.add("Identity", [graph.add_constant(np.zeros(kind.shape, kind.dtype), "zeros")])
    return total


def gradient_that_arrives(
    graph: Graph, value: str, wrt: str, rules: RuleTable, scale: float = 1.0
) -> str | None:
    """As `append_backward`, but None where no way leads to `wrt`."""
    carries, linked = downstream(graph, wrt, rules)
    path = leading_to(value, carries, linked)
    kind = graph.type(value)
    seed = np.full(kind.shape, scale, kind.dtype)
    pending: dict[str, list[str]] = {value: [graph.add_constant(seed, "seed")]}
    makers = {y: node for node in graph.nodes for y in node.outputs}
    for node in reversed(path):
        grads = [_accumulated(graph, pending.pop(y, [])) for y in node.outputs]
        if any(g is not None for g in grads):
            _backward_node(Step(graph, node, grads, makers, carries), carries, pending, rules)
    total = _accumulated(graph, pending.get(wrt, []))
    return None if total is None else str(total)


def leading_to(value: str, reached: set[str], downstream: Sequence[Node]) -> list[Node]:
    """Of the nodes that a gradient links to its source, those on a way to `value`, in order."""
    wanted, path = {value}, []
    for node in reversed(downstream):
        if wanted.intersection(node.outputs):
            wanted.update(reached.intersection(reads(node)))
            path.append(node)
    return path[::-1]


def stopped_nodes(graph: Graph, wrt: str, value: str, rules: RuleTable) -> list[Node]:
    """The nodes through which `wrt` influences `value` without a gradient, in order.

    They take a float tensor that depends on `wrt`, and something that they make of it, an index or a
    mask for instance, enters `value`. The derivative is zero there wherever it exists.
    """
    reached, _ = downstream(graph, wrt, rules)
    enters = {x for node in needed_nodes(graph.nodes, [value]) for x in reads(node)} | {value}
    return [
        node
        for node in graph.nodes
        if reached.intersection(reads(node)) and enters.intersection(node.outputs) - reached
    ]


def downstream(graph: Graph, wrt: str, rules: RuleTable) -> tuple[set[str], list[Node]]:
    """The tensors that a gradient links to `wrt`, and the nodes that make them.

    Those are floating point, and integers that stand for real numbers (`rules.quantization`).
    """
    reached, quantised, nodes = {wrt}, set[str](), []
    for node in graph.nodes:
        if node.op not in rules.stops and reached.intersection(reads(node)):
            if node.op in rules.integers or quantised.intersection(node.inputs):
                quantised.update(y for y in node.outputs[:1] if not graph.type(y).is_float)
            made = [y for y in node.outputs if y and (y in quantised or graph.type(y).is_float)]
            reached.update(made)
            if made:
                nodes.append(node)
    return reached, nodes


_MOST_NAMED = 4


def describe_stops(nodes: Sequence[Node], rules: RuleTable) -> str:
    """Stopped nodes for a message: operator, name, reason."""
    named = [
        f"{node.op} {node_label(node)} ({rules.stops.get(node.op, 'its result is not a float tensor')})"
        for node in nodes[:_MOST_NAMED]
    ]
    more = len(nodes) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _backward_node(step: Step, carries: set[str], pending: dict[str, list[str]], rules: RuleTable) -> None:
    """Append the gradient of a node; what its attributes and constants make impossible names the node."""
    with as_model_error(f"{step.node.op} node {node_label(step.node)} has no gradient as it is written"):
        _append_gradient(step, carries, pending, rules)


def _append_gradient(step: Step, carries: set[str], pending: dict[str, list[str]], rules: RuleTable) -> None:
    node = step.node
    entry = rules.entries.get(node.op)
    if entry is None or subgraphs(node):
        raise UnsupportedOpError(without_rule(node.op, node_label(node)))
    together = rules.composed(step)
    if together is not None:
        for x, g in together.items():
            pending.setdefault(x, []).append(g)
        return
    for i, x in enumerate(node.inputs):
        if x not in carries:
            continue
        try:
            found = entry.rule(step, i)
        except Refusal as refusal:
            raise UnsupportedOpError(
                f"no gradient rule for this use of operator {node.op} (node {node_label(node)}): {refusal}"
            ) from None
        if found is None:
            continue
        if entry.broadcasts:
            found = unbroadcast(step, found, step.shape(step.y), step.shape(x))
        pending.setdefault(x, []).append(found)


def unbroadcast(step: Step, g: str, from_shape: Shape, to_shape: Shape) -> str:
    """Sum a gradient of `from_shape` over the axes along which `to_shape` was repeated."""
    if from_shape == to_shape:
        return g
    lead = len(from_shape) - len(to_shape)
    padded = (1,) * lead + to_shape
    axes = [i for i, (a, b) in enumerate(zip(from_shape, padded, strict=True)) if a != b]
    if axes:
        g = step.sum(g, axes, keepdims=True)
    return step.reshape(g, to_shape) if lead else g


def _accumulated(graph: Graph, parts: list[str]) -> str | None:
    if not parts:
        return None
    # a chain of Add, not one Sum: onnxruntime fuses the Add of a convolution's output into the convolution
    return reduce(lambda a, b: graph.add("Add", [a, b]), parts)
