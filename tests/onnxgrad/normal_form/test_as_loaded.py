"""A file is taken as onnxruntime takes it: the opset that counts, domains, functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad import as_loaded, check_operators, opset_of
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import Case, check, close, forward_graph, run_single

Imports = list[tuple[str, int]]
X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)

IMPORTS: list[Imports] = [
    [("", 12)],
    [("ai.onnx", 12)],
    [("ai.onnx", 13)],
    [("", 12), ("", 13)],
    [("", 13), ("", 12)],
    [("", 12), ("ai.onnx", 13)],
    [("ai.onnx", 13), ("", 12)],
    [("", 13), ("ai.onnx", 12)],
    [("", 21), ("", 18)],
    [("ai.onnx", 18), ("own", 1), ("", 21)],
]


def model_of(
    *nodes: onnx.NodeProto, imports: Imports, functions: list[onnx.FunctionProto] | None = None
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.array(True), "yes")],
    )
    domains = {domain for domain, _ in imports}
    named = [*imports, *([("own", 1)] if functions and "own" not in domains else [])]
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*each) for each in named], functions=functions or []
    )
    model.ir_version = 8
    return model


def assert_same(model: onnx.ModelProto) -> None:
    """The normal form computes what onnxruntime computes for the file, and has its gradient."""
    (expected,) = session(model).run(None, {"x": X})
    (found,) = run_single(forward_graph(model, {"x": X.shape}), {"x": X})
    close(found, expected, 1e-6)
    check(Case("file", model, {"x": X}, 2e-7))


# Softmax of opset 12 is over all axes from the second on, of opset 13 over the last.
@pytest.mark.parametrize("domain", ["", "ai.onnx"])
@pytest.mark.parametrize("imports", IMPORTS, ids=str)
def test_of_several_opsets_the_last_counts(imports: Imports, domain: str) -> None:
    model = model_of(helper.make_node("Softmax", ["x"], ["y"], domain=domain), imports=imports)
    before = model.SerializeToString()
    assert_same(model)
    assert model.SerializeToString() == before
    assert opset_of(model) == [version for name, version in imports if name != "own"][-1]
    (expected,) = session(model).run(None, {"x": X})
    last_axis = bool(np.allclose(expected.sum(axis=-1), 1))
    assert last_axis == (opset_of(model) >= 13)


def test_in_branches_as_well() -> None:
    inner = helper.make_node("Softmax", ["x"], ["inner"])
    branch = helper.make_graph([inner], "branch", [], [onnx.ValueInfoProto(name="inner")])
    node = helper.make_node("If", ["yes"], ["y"], domain="ai.onnx", then_branch=branch, else_branch=branch)
    model = model_of(node, imports=[("", 13), ("ai.onnx", 12)])
    assert {n.domain for n in as_loaded(model).graph.node} == {""}
    assert_same(model)
    (x,) = run_single(forward_graph(model, {"x": X.shape}), {"x": X})
    for body in model.graph.node[0].attribute:  # onnxruntime does not take that there
        body.g.node[0].domain = "ai.onnx"
    close(run_single(forward_graph(model, {"x": X.shape}), {"x": X})[0], x, 0)


@pytest.mark.parametrize("own", [12, 13, 18])
@pytest.mark.parametrize("imports", IMPORTS, ids=str)
def test_functions_mean_what_the_file_means(imports: Imports, own: int) -> None:
    """Whatever a function imports itself, onnxruntime runs it in the opset of the file."""
    body = [helper.make_node("Softmax", ["a"], ["b"])]
    function = helper.make_function("own", "Share", ["a"], ["b"], body, [helper.make_opsetid("", own)])
    assert_same(
        model_of(helper.make_node("Share", ["x"], ["y"], domain="own"), imports=imports, functions=[function])
    )


@pytest.mark.parametrize("given", [{}, {"alpha": 0.5}], ids=["default", "given"])
def test_defaults_of_functions(given: dict[str, float]) -> None:
    elu = helper.make_node("Elu", ["a"], ["b"])
    elu.attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
    inner = helper.make_function(
        "own", "Bend", ["a"], ["b"], [elu], [helper.make_opsetid("", 18)],
        attribute_protos=[helper.make_attribute("slope", 3.0)],
    )  # fmt: skip
    call = helper.make_node("Bend", ["a"], ["b"], domain="own")
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    outer = helper.make_function("own", "Twice", ["a"], ["b"], [call], imports)
    attrs: dict[str, Any] = {"slope": given["alpha"]} if given else {}
    calls: list[tuple[str, dict[str, Any]]] = [("Bend", attrs), ("Twice", {})]
    for op, extra in calls:
        node = helper.make_node(op, ["x"], ["y"], domain="own", **extra)
        model = model_of(node, imports=[("", 18)], functions=[inner, outer])
        assert not as_loaded(model).functions
        assert_same(model)


def test_a_file_in_the_usual_form_stays_as_it_is() -> None:
    """Its digest identifies it."""
    imports = [("com.microsoft", 1), ("", 17)]
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), imports=imports)
    assert as_loaded(model) == model
    for version in model.opset_import:  # as PyTorch writes it: not an empty name, but none
        if not version.domain:
            version.ClearField("domain")
    assert as_loaded(model).SerializeToString() == model.SerializeToString()


def test_a_file_without_an_opset_is_refused() -> None:
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), imports=[("com.microsoft", 1)])
    with pytest.raises(ModelError, match="opset 0"):
        check_operators(as_loaded(model))
