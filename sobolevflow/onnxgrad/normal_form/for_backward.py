"""Equal forms of the forward pass whose backward pass is cheaper.

* MaxPool(Relu(x)) = Relu(MaxPool(x)), exactly: the maximum is monotone. The mask of the
  rectifier is then taken, and applied, on the pooled tensor, a quarter of the size. A
  concatenation of rectified tensors in between lets them through as well.
* Concat(a, b, c, d) = Concat(Concat(a, b, c), d): where the inner one exists already, as
  in a DenseNet, whose every layer reads all before it, the gradient of the pieces
  accumulates in whole blocks: a chain of L additions in place of L^2 / 2.

Tensors that are to be kept stay what they are.
"""

from __future__ import annotations

from collections.abc import Collection

from ..graph import Graph, Node, TensorType


def rewrite_for_backward(graph: Graph, keep: Collection[str]) -> None:
    """Apply both rewritings, in place."""
    _pool_before_relu(graph, keep)
    _nest_concats(graph)


def _pool_before_relu(graph: Graph, keep: Collection[str]) -> None:
    makers = {y: node for node in graph.nodes for y in node.outputs}
    readers = graph.readers()

    def private(name: str) -> bool:
        return name in makers and name not in (*keep, *graph.outputs) and len(readers[name]) == 1

    for pool in [node for node in graph.nodes if node.op == "MaxPool" and len(node.outputs) == 1]:
        source = pool.inputs[0]
        if not private(source):
            continue
        concat = makers[source] if makers[source].op == "Concat" else None
        rectified = concat.inputs if concat is not None else [source]
        if not all(private(name) and makers[name].op == "Relu" for name in rectified):
            continue
        before = [makers[name].inputs[0] for name in rectified]
        if concat is not None:
            concat.inputs = before
        else:
            pool.inputs = before
        _append_relu(graph, pool)
    graph.prune()  # of the rectifiers in front


def _append_relu(graph: Graph, pool: Node) -> None:
    """Put a Relu behind a pool; its output takes the pool's name, and so the pool's readers."""
    name = pool.outputs[0]
    pooled = graph.fresh(f"{name}/pooled")
    graph.types[pooled] = TensorType(graph.shape(name), graph.type(name).dtype)
    pool.outputs, relu = [pooled], Node("Relu", [pooled], [name], name=f"{pooled}/relu")
    graph.nodes.insert(graph.position(pool) + 1, relu)


def _nest_concats(graph: Graph) -> None:
    known: dict[tuple[int, tuple[str, ...]], str] = {}
    for node in graph.nodes:
        if node.op != "Concat":
            continue
        inputs, axis = tuple(node.inputs), node.attrs["axis"] % len(graph.shape(node.outputs[0]))
        prefix = next((k for k in range(len(inputs) - 1, 1, -1) if (axis, inputs[:k]) in known), None)
        if prefix is not None:
            node.inputs = [known[axis, inputs[:prefix]], *inputs[prefix:]]
        known.setdefault((axis, inputs), node.outputs[0])
