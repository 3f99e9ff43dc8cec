"""Small ONNX models and the checks that their gradients must pass.

A `Case` is a model of one or a few nodes with a point at which to differentiate it. The value
differentiated is the sum of all outputs times fixed random weights. `check` holds the gradient

* in double precision against the value itself: exactly, by the dot-product test, where the
  model is linear; by central differences where it is not;
* in single precision, as onnxruntime computes it, against double precision.

Points are chosen away from kinks and ties, so that no tolerance has to cover them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sobolevflow.onnxgrad import RULES, Graph, append_backward, normalize
from sobolevflow.onnxgrad.float64 import evaluate
from sobolevflow.onnxgrad.graph import OPSET
from sobolevflow.onnxgrad.runtime import session

STEP = 1e-6


class Var:
    """A float input of a case: differentiated at `at`."""

    def __init__(self, at: Any) -> None:
        self.at = np.asarray(at, np.float32)


@dataclass(frozen=True)
class Case:
    """A model, the point at which to differentiate it, and the relative tolerance in float64."""

    name: str
    model: onnx.ModelProto
    at: Mapping[str, np.ndarray]
    tolerance: float
    single: bool = True  # False where onnxruntime has no kernel

    def __str__(self) -> str:
        return self.name

    @property
    def ops(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}

    @property
    def linear(self) -> bool:
        return all(op in RULES.entries and RULES.entries[op].linear for op in self.ops)


def node(op: str, inputs: str, outputs: str, **attrs: Any) -> onnx.NodeProto:
    """A node, called as its first output; names are separated by blanks, "-" is an input that is left out."""
    given = ["" if name == "-" else name for name in inputs.split()]
    made = outputs.split()
    return helper.make_node(op, given, made, **{"name": made[0], **attrs})


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[Sequence[Any], int]],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = OPSET,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A model whose outputs are left untyped; `inputs` maps names to (shape, element type)."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, kind, shape) for name, (shape, kind) in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    return model


def case(
    op: str,
    *inputs: Var | np.ndarray | None,
    label: str = "",
    outputs: int = 1,
    unused: Sequence[int] = (),
    tolerance: float | None = None,
    single: bool = True,
    **attrs: Any,
) -> Case:
    """One node. Inputs are a `Var`, a constant array, or None where an optional one is absent."""
    names, at, constants = [], {}, {}
    for k, given in enumerate(inputs):
        names.append("" if given is None else f"x{k}")
        if isinstance(given, Var):
            at[f"x{k}"] = given.at
        elif given is not None:
            constants[f"x{k}"] = given
    results = [f"y{k}" for k in range(outputs)]
    node = helper.make_node(op, names, results, name="node", **attrs)
    shown = ", ".join(f"{k}={v}" for k, v in attrs.items())
    model = make_model(
        [node],
        {k: (v.shape, onnx.TensorProto.FLOAT) for k, v in at.items()},
        [y for k, y in enumerate(results) if k not in unused],
        constants,
    )
    linear = RULES.entries[op].linear
    return Case(f"{op}({label or shown})", model, at, tolerance or (1e-12 if linear else 2e-7), single)


def weights_of(graph: Graph, seed: int = 7) -> dict[str, np.ndarray]:
    """Fixed random weights for every float output."""
    rng = np.random.default_rng(seed)
    kinds = {y: graph.type(y) for y in graph.outputs}
    return {y: rng.standard_normal(t.shape).astype(t.dtype) for y, t in kinds.items() if t.is_float}


def add_weighted_sum(graph: Graph) -> str:
    """Append sum over outputs of sum(weights * output), a scalar; its name."""
    terms = []
    for y, weights in weights_of(graph).items():
        product = graph.add("Mul", [y, graph.add_constant(weights, "w")])
        terms.append(graph.add("ReduceSum", [product], keepdims=0))
    value = terms[0] if len(terms) == 1 else graph.add("Sum", terms)
    graph.outputs = [value]
    graph.infer_types()
    return value


def forward_graph(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    return normalize(model, input_shapes=shapes, keep=[info.name for info in model.graph.output])


def gradient_graph(forward: Graph, wrt: str) -> Graph:
    """Outputs: the weighted sum and its gradient with respect to `wrt`."""
    graph = copy.deepcopy(forward)
    value = add_weighted_sum(graph)
    gradient = append_backward(graph, value, wrt, RULES)
    graph.types[gradient] = graph.type(wrt)
    graph.outputs = [value, gradient]
    graph.prune()
    return graph


def run_single(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """On onnxruntime in float32, after the model has passed onnx's full check."""
    model = graph.to_model()
    onnx.checker.check_model(model, full_check=True)
    assert all(node.domain == "" for node in model.graph.node)
    known = {k: np.asarray(v, graph.type(k).dtype) for k, v in feeds.items() if k in graph.inputs}
    return list(session(model).run(None, known))


def check(which: Case) -> None:
    """Assert that every gradient of the case is right."""
    forward = forward_graph(which.model, {k: v.shape for k, v in which.at.items()})
    double = forward.astype(np.float64)
    at = {k: v.astype(np.float64) for k, v in which.at.items()}
    gradients = {}
    for wrt in which.at:
        graph = gradient_graph(double, wrt)
        _, gradients[wrt] = evaluate(graph)({k: at[k] for k in graph.inputs})
        assert gradients[wrt].shape == at[wrt].shape
        if which.single:
            single = run_single(gradient_graph(forward, wrt), at)[1]
            close(single, gradients[wrt], 1e-5, least=1.0)
    if which.single:
        for y, expected in zip(run_single(forward, at), evaluate(double)(at), strict=True):
            close(y.astype(np.float64), expected.astype(np.float64), 1e-5, least=1.0)
    _compare_with_value(which, double, at, gradients)


def _compare_with_value(
    which: Case, double: Graph, at: dict[str, np.ndarray], gradients: dict[str, np.ndarray]
) -> None:
    value = weighted_value(double)
    size = 1.0 if which.linear else STEP
    for d in _directions(at):
        ahead, behind = (value(_moved(at, d, t * size)) for t in (1, -1))
        found = (ahead - behind) / (2 * size)
        claimed = sum(float((gradients[k] * d[k]).sum()) for k in at)
        scale = sum(float(np.linalg.norm(g) * np.linalg.norm(d[k])) for k, g in gradients.items())
        # rounding of the difference itself, where the value is large beside its change
        noise = 4e-16 * max(abs(ahead), abs(behind), 1.0) * 10 / size
        assert abs(found - claimed) <= which.tolerance * scale + noise, (
            f"{which}: along a random direction {found}, but the gradient says {claimed}"
        )


def weighted_value(double: Graph) -> Callable[[Mapping[str, np.ndarray]], float]:
    """The weighted sum that is differentiated, as a function of the inputs."""
    objective = copy.deepcopy(double)
    add_weighted_sum(objective)
    objective.prune()
    run = evaluate(objective)
    return lambda at: float(run({k: at[k] for k in objective.inputs})[0])


def _directions(at: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    for _ in range(2):
        yield {k: rng.standard_normal(v.shape) for k, v in at.items()}


def _moved(at: Mapping[str, np.ndarray], d: Mapping[str, np.ndarray], t: float) -> dict[str, np.ndarray]:
    return {k: at[k] + t * d[k] for k in at}


def is_smooth_at(value: Callable[[Mapping[str, np.ndarray]], float], at: Mapping[str, np.ndarray]) -> bool:
    """Whether `value` is finite and has no kink within the steps that `check` takes from `at`.

    The change of slope over a step halves with the step where the value is smooth, and does not
    where there is a kink or a jump. No gradient enters, so a wrong one is not taken for a kink.
    """
    for d in _directions(at):
        ahead, near, here, far, behind = (value(_moved(at, d, t * STEP)) for t in (1, 0.5, 0, -0.5, -1))
        if not np.isfinite([ahead, near, here, far, behind]).all():
            return False
        bend, bend_at_half = ahead - 2 * here + behind, near - 2 * here + far
        noise = 4e-16 * max(abs(ahead), abs(behind), 1.0) * 10
        if abs(bend_at_half - bend / 4) > 1e-7 * max(abs(ahead - here), abs(here - behind)) + noise:
            return False
    return True


def close(found: Any, expected: Any, tolerance: float, least: float = 0.0) -> None:
    """Equal to a tolerance relative to the largest entry, or to `least`.

    `least` is the size of the terms that are summed: the sum may cancel, its rounding does not.
    """
    largest = float(np.abs(expected).max(initial=least))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * largest + 1e-9)


def spaced(rng: np.random.Generator, *shape: int, gap: float = 0.13) -> np.ndarray:
    """Distinct values at least `gap` apart, none within gap / 4 of zero: no ties and no kinks."""
    count = int(np.prod(shape))
    values = (np.arange(count) - count // 2 + 0.5) * gap
    return rng.permutation(values).reshape(shape)
