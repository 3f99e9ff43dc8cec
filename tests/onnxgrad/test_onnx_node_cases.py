"""The node tests that ship with onnx: their gradients are checked wherever there is one.

A test of onnx is one node, or the body of a function operator, with the inputs to feed. Float inputs
become the point at which to differentiate, moved at random off the test's own; all others become
constants. Tests without a gradient are told by what they are made of, counted and printed
(``pytest -s``); nothing else is left out but what the tables below name.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad import RULES, Graph, Node
from sobolevflow.onnxgrad.backward import downstream, leading_to
from sobolevflow.onnxgrad.graph import opset_of
from sobolevflow.onnxgrad.normal_form.opset import NEWEST_OPSET
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import (
    Case,
    check,
    forward_graph,
    gradient_graph,
    is_smooth_at,
    weighted_value,
)

# onnx's evaluator meets masks of minus infinity and logarithms of zero
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

LEAST_CHECKED = 1057

# How a test that is left out fails, or one with an input or an output more; see `_failure`.
REFUSED = "UnsupportedOpError: no gradient rule for this use of operator"
NOT_RUN = "ModelError: onnxruntime cannot run this model"
NOT_CONVERTED = "ModelError: cannot be converted from opset"
NOT_SMOOTH = r"AssertionError: \w+: no smooth point was found"
OFF = r"AssertionError: \w+: along a random direction"

# Float inputs that stay constant, because the operator has no gradient for them. By test and input: why, and
# what is said where one is varied.
CONSTANT = {
    "test_batchnorm_*:s": ("the scale is folded with the statistics", f"{REFUSED} .*its input 1 .'s'"),
    "test_batchnorm_*:bias": ("only the normalised input has a rule", f"{REFUSED} BatchNormalization"),
    "test_batchnorm_*:mean": ("the statistics are constant at inference", f"{REFUSED} BatchNormalization"),
    "test_batchnorm_*:var": ("the statistics are constant at inference", f"{REFUSED} .*its input 4 .'var'"),
    "test_causal_conv_*:weight": ("weights of a convolution", f"{REFUSED} Conv "),
    "test_*conv_with*:W": ("weights of a convolution", f"{REFUSED} Conv .*its weights depend on the image"),
    "test_convtranspose*:W": ("weights of a convolution", f"{REFUSED} ConvTranspose .*its weights depend"),
    "test_dropout_*:r": ("the ratio is not used at inference", f"{REFUSED} Dropout"),
    "test_gridsample*:Grid": ("the grid has no rule", f"{REFUSED} GridSample .*its input 1 .'Grid'"),
    "test_resize_*:roi": ("a region, not data", f"{REFUSED} Resize .*its input 1 .'roi'"),
    "test_onehot_*:indices": (
        "whole numbers; onnxruntime rounds others, onnx's evaluator does not",
        f"{REFUSED} OneHot .*it rounds what depends on the image",
    ),
    "test_onehot_*:depth": ("a size, not data", f"{NOT_RUN}.*Depth is negative"),
    "test_resize_*:scales": ("sizes, not data", f"{NOT_RUN}.*Resize"),
    "test_upsample_*:scales": ("sizes, not data", "Excluded: of operators without a rule .Upsample"),
}

# Outputs that are not looked at. By test and output.
UNUSED = {
    "test_attention_*_qk_matmul_bias_*_mask_causal*:qk_matmul_output": (
        "minus infinity at masks",
        NOT_SMOOTH,
    ),
}

# Tests that are left out although all their operators have rules.
LEFT_OUT = {
    "test_mod_float*_fmod_0*": ("refused: onnxruntime has no kernel", f"{REFUSED} Mod .*fmod=0"),
    "test_dequantizelinear_[eiuf]*": (
        "types that opset 18 does not know: float8, float4, 2, 4 and 16 bits",
        f"{NOT_CONVERTED}|{NOT_RUN}.*Type Error",
    ),
    "test_dequantizelinear_blocked": ("scales by blocks, which opset 18 does not know", NOT_CONVERTED),
    "test_dynamicquantizelinear*adjusted": ("the straight-through estimator is not the derivative", OFF),
    "test_dynamicquantizelinear": ("the straight-through estimator is not the derivative", OFF),
    "test_quantizelinear*": (
        "the straight-through estimator is not the derivative",
        "Excluded: without a float output .QuantizeLinear",
    ),
    "test_gridsample_volumetric_*": ("refused: volumes", f"{REFUSED} GridSample .*it samples a volume"),
    "test_maxunpool_export_with_output_shape": (
        "refused: onnx and onnxruntime count positions differently",
        f"{REFUSED} MaxUnpool .*its output_shape is given",
    ),
    "test_batchnorm_*_training_mode": ("refused: batch statistics", f"{REFUSED} .*training mode"),
    "test_mvn": ("onnx's full check refuses the test's own model", "InferenceError: "),
    "test_resize_downsample_scales_*_align_corners": (
        "onnx and onnxruntime place the corners differently",
        "AssertionError: Not equal to tolerance",
    ),
    "test_training_dropout*": ("refused: random at run time", f"{REFUSED} Dropout .*training mode"),
}

# Relative to the gradient, where float64 is not exact all the way. By test.
TOLERANCE = {
    "test_batchnorm_*": (1e-9, "onnx's evaluator rounds epsilon to single precision"),
    "test_resize_*": (1e-6, "the matrix of a resampling is measured in single precision"),
}

FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
}
DRAWS = 20


@dataclass(frozen=True)
class NodeTest:
    """One test of onnx: its model and the values of its inputs, none where onnx has none."""

    name: str
    model: onnx.ModelProto
    inputs: Mapping[str, np.ndarray]

    @property
    def op(self) -> str:
        """The operator under test."""
        base = node_tests().get(self.name.partition("_expanded")[0], self)
        ops = [node.op_type for node in base.model.graph.node]
        return ops[0] if len(ops) == 1 else "several"

    @property
    def floats(self) -> list[str]:
        """The float inputs."""
        return [i.name for i in self.model.graph.input if i.type.tensor_type.elem_type in FLOATS]


@dataclass(frozen=True)
class Excluded:
    """Why a test has no gradient to check."""

    category: str
    detail: str


@cache
def node_tests() -> dict[str, NodeTest]:
    """All tests by name, in onnx's order."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():  # onnx's own inputs overflow and divide by zero
        warnings.simplefilter("ignore")
        loaded = load_model_tests(kind="node")
    return {t.name: NodeTest(t.name, t.model, _inputs(t)) for t in loaded if t.model is not None}


def _inputs(test: Any) -> dict[str, Any]:
    names = [info.name for info in test.model.graph.input]
    values = test.data_sets[0][0] if test.data_sets else []
    values = [numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for v in values]
    return dict(zip(names, values, strict=True)) if len(names) == len(values) else {}


# -- from a test to a case


@cache
def sorted_out(name: str) -> Case | Excluded:
    """The case that a test makes, or why it has no gradient to check."""
    test = node_tests()[name]
    return as_case(test, _varied(test), _looked_at(test))


def _varied(test: NodeTest, more: str | None = None) -> list[str]:
    return [x for x in test.floats if x == more or _entry(f"{test.name}:{x}", CONSTANT) is None]


def _looked_at(test: NodeTest, more: str | None = None) -> list[str]:
    names = [y.name for y in test.model.graph.output]
    return [y for y in names if y == more or _entry(f"{test.name}:{y}", UNUSED) is None]


def _entry(name: str, table: Mapping[str, Any]) -> str | None:
    """The pattern of a table that names this."""
    return next((pattern for pattern in table if fnmatch(name, pattern)), None)


def as_case(test: NodeTest, varied: list[str], looked_at: list[str]) -> Case | Excluded:
    """Differentiate with respect to the inputs `varied`, and sum over the outputs `looked_at`."""
    if (reason := _has_no_gradient(test)) is not None:
        return reason
    model = _model(test, varied, looked_at)
    if not _is_defined(model):
        return Excluded(f"of operators newer than opset {NEWEST_OPSET}", test.op)
    at = {x: np.asarray(test.inputs[x]).astype(np.float32) for x in varied}
    unknown = {node.op_type for node in model.graph.node} - RULES.entries.keys() - RULES.stops.keys()
    try:
        forward = forward_graph(model, {k: v.shape for k, v in at.items()})
    except ModelError:
        if unknown:
            return Excluded("of operators without a rule", ", ".join(sorted(unknown)))
        raise
    path = _path(forward)
    if not path:
        return Excluded("through which nothing flows", test.op)
    if missing := sorted({node.op for node in path} - RULES.entries.keys()):
        return Excluded("of operators without a rule", ", ".join(missing))
    for x in forward.inputs:
        gradient_graph(forward, x)  # a refusal is heard before a point is looked for
    which = Case(test.name, model, at, 2e-7, single=_runs_in_single(forward))
    rounded = _entry(test.name, TOLERANCE)
    exact = 1e-12 if which.linear else 2e-7
    return _placed(replace(which, tolerance=TOLERANCE[rounded][0] if rounded else exact), forward)


def _has_no_gradient(test: NodeTest) -> Excluded | None:
    graph = test.model.graph
    infos = (*graph.input, *graph.output)
    if any(node.domain not in ("", "ai.onnx") for node in graph.node):
        return Excluded("of another domain", test.op)
    if not all(info.type.HasField("tensor_type") for info in infos):
        return Excluded("of sequences and optionals", test.op)
    if not test.floats:
        return Excluded("without a float input", test.op)
    if not any(info.type.tensor_type.elem_type in FLOATS for info in graph.output):
        return Excluded("without a float output", test.op)
    if all(node.op_type in RULES.stops for node in graph.node):
        return Excluded("through which nothing flows", test.op)
    if any(np.size(test.inputs[x]) == 0 for x in test.floats):
        return Excluded("of empty tensors", test.op)
    return None


def _model(test: NodeTest, varied: list[str], looked_at: list[str]) -> onnx.ModelProto:
    """The test's model with all other inputs fixed, in an opset that is supported."""
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    inputs = {info.name: info for info in test.model.graph.input}
    outputs = {info.name: info for info in test.model.graph.output}
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.extend(inputs[x] for x in varied)
    model.graph.output.extend(outputs[y] for y in looked_at)
    for name in [x for x in inputs if x not in varied]:
        dtype = helper.tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type)
        model.graph.initializer.append(numpy_helper.from_array(test.inputs[name].astype(dtype), name))
    for version in model.opset_import:
        version.version = min(version.version, NEWEST_OPSET)
    return model


def _is_defined(model: onnx.ModelProto) -> bool:
    """Whether all nodes are valid in the newest opset that is supported."""
    if opset_of(model) < NEWEST_OPSET:
        return True
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        return False
    return True


def _path(forward: Graph) -> list[Node]:
    """The nodes on a path from any input to any output."""
    linked = [downstream(forward, x, RULES) for x in forward.inputs]
    paths = [leading_to(y, *each) for each in linked for y in forward.outputs]
    return [node for path in paths for node in path]


def _runs_in_single(forward: Graph) -> bool:
    """Whether the test is of single precision and onnxruntime has kernels for its operators."""
    if any(kind.dtype == np.float64 for kind in forward.types.values()):
        return False
    try:
        session(forward.to_model())
    except ModelError as error:
        if "Could not find an implementation" not in str(error):
            raise
        return False
    return True


def _placed(which: Case, forward: Graph) -> Case:
    """The case at a random point near its own, away from kinks and where all is finite."""
    value = weighted_value(forward.astype(np.float64))
    rng = np.random.default_rng(11)
    for _ in range(DRAWS):
        at = {k: _near(rng, v) for k, v in which.at.items()}
        if is_smooth_at(value, {k: v.astype(np.float64) for k, v in at.items()}):
            return replace(which, at=at)
    raise AssertionError(f"{which}: no smooth point was found in {DRAWS} draws")


def _near(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Ten per cent off, so that signs stay; near zero where `x` is zero, NaN or infinite."""
    u = rng.uniform(-1, 1, x.shape)
    plain = np.isfinite(x) & (x != 0)
    return np.asarray(np.where(plain, np.where(plain, x, 0) * (1 + 0.1 * u), 0.3 * u), np.float32)


# -- the tests


@cache
def checked(name: str) -> Case | Excluded:
    """The case that a test makes, its gradient found right, or why it has none."""
    if _entry(name, LEFT_OUT) is not None:
        return Excluded("left out, each with a reason", node_tests()[name].op)
    which = sorted_out(name)
    if isinstance(which, Case):
        check(which)
    return which


def ops_under_test() -> list[str]:
    """The operators with a test that has a gradient, if there is a rule."""
    return sorted({test.op for test in node_tests().values() if _has_no_gradient(test) is None})


@pytest.mark.parametrize("op", ops_under_test())
def test_gradients(op: str) -> None:
    outcomes = [checked(name) for name, test in node_tests().items() if test.op == op]
    if not any(isinstance(outcome, Case) for outcome in outcomes):
        reasons = {f"{o.category} ({o.detail})" for o in outcomes if isinstance(o, Excluded)}
        pytest.skip("; ".join(sorted(reasons)))


def test_how_many_were_checked() -> None:
    outcomes = [checked(name) for name in node_tests()]
    cases = [outcome for outcome in outcomes if isinstance(outcome, Case)]
    excluded: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        if isinstance(outcome, Excluded):
            excluded[outcome.category][outcome.detail] += 1
    print(f"\n{len(cases)} of onnx's {len(outcomes)} node tests: gradient checked")
    print(f"{sum(which.single for which in cases)} of them also in single precision on onnxruntime")
    for category, details in sorted(excluded.items()):
        shown = ", ".join(f"{detail} {count}" for detail, count in sorted(details.items()))
        print(f"{details.total()} {category}: {shown}")
    assert len(cases) >= LEAST_CHECKED


@pytest.mark.parametrize("pattern", LEFT_OUT)
def test_what_is_left_out_cannot_be_checked(pattern: str) -> None:
    names = [name for name in node_tests() if fnmatch(name, pattern)]
    assert names
    _, shows = LEFT_OUT[pattern]
    for name in names:
        failure = _failure(name)
        assert failure, f"{name} passes: narrow {pattern!r} in LEFT_OUT, or drop it"
        assert re.match(shows, failure), f"{name} is left out for another reason than it fails: {failure}"


def _failure(name: str, varied: str | None = None, looked_at: str | None = None) -> str:
    """Why a test cannot be checked, with one more input varied or one more output looked at; "" if it can."""
    test = node_tests()[name]
    try:
        which = as_case(test, _varied(test, varied), _looked_at(test, looked_at))
        if isinstance(which, Excluded):
            return f"Excluded: {which.category} ({which.detail})"
        check(which)
    except (AssertionError, ModelError, onnx.shape_inference.InferenceError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


@pytest.mark.parametrize("pattern", CONSTANT)
def test_what_is_constant_has_no_gradient(pattern: str) -> None:
    pairs = [(name, x) for name, test in node_tests().items() for x in test.floats]
    own = [(name, x) for name, x in pairs if _entry(f"{name}:{x}", CONSTANT) == pattern]
    _, says = CONSTANT[pattern]
    failures = {name: _failure(name, varied=x) for name, x in own if isinstance(checked(name), Case)}
    assert failures
    for name, failure in failures.items():
        assert failure, f"{name} passes with that input varied: narrow {pattern!r} in CONSTANT, or drop it"
        assert re.match(says, failure), f"{name} fails for another reason than it is given: {failure}"


@pytest.mark.parametrize("pattern", UNUSED)
def test_what_is_unused_has_no_gradient(pattern: str) -> None:
    pairs = [(name, y.name) for name, test in node_tests().items() for y in test.model.graph.output]
    own = [(name, y) for name, y in pairs if fnmatch(f"{name}:{y}", pattern)]
    _, shows = UNUSED[pattern]
    failures = [_failure(name, looked_at=y) for name, y in own if isinstance(checked(name), Case)]
    assert any(re.match(shows, failure) for failure in failures), failures


@pytest.mark.parametrize("pattern", TOLERANCE)
def test_a_larger_tolerance_is_needed(pattern: str) -> None:
    cases = [
        sorted_out(name) for name in node_tests() if fnmatch(name, pattern) and not _entry(name, LEFT_OUT)
    ]
    linear = [which for which in cases if isinstance(which, Case) and which.linear]
    with pytest.raises(AssertionError, match="along a random direction"):
        _check_all([replace(which, tolerance=1e-12) for which in linear])


def _check_all(cases: list[Case]) -> None:
    for which in cases:
        check(which)
