"""Operators that onnxruntime fuses: their parts compute what it computes for them, and have its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import normalize
from sobolevflow.onnxgrad.normal_form.fused import FUSED
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import Case, Var, check, close, forward_graph, make_model, run_single


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fused(op: str, *inputs: Any, outputs: str = "y", label: str = "", **attrs: Any) -> Case:
    """One node of an operator; inputs as for `tests.support.gradient_cases.case`."""
    names = ["" if given is None else f"x{k}" for k, given in enumerate(inputs)]
    at = {f"x{k}": given.at for k, given in enumerate(inputs) if isinstance(given, Var)}
    constants = {f"x{k}": given for k, given in enumerate(inputs) if isinstance(given, np.ndarray)}
    domain = "" if op == "SimplifiedLayerNormalization" else "com.microsoft"
    made = ["" if name == "-" else name for name in outputs.split()]
    node = helper.make_node(op, names, made, name="the node", domain=domain, **attrs)
    wanted = {k: (v.shape, TensorProto.FLOAT) for k, v in at.items()}
    model = make_model([node], wanted, [y for y in made if y], constants, opset=17)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    shown = ", ".join(f"{k}={v}" for k, v in attrs.items())
    return Case(f"{op}({label or shown})", model, at, 2e-7)


X, W, B = Var(drawn(0, 2, 4, 6, 5)), drawn(1, 6, 4, 3, 3), drawn(2, 6)
Z = Var(drawn(3, 2, 6, 4, 3))
ACTIVATIONS: list[dict[str, Any]] = [
    {},
    *({"activation": name} for name in ("Relu", "Tanh", "Sigmoid")),
    {"activation": "HardSwish", "activation_params": [1 / 6, 0.5]},
    {"activation": "LeakyRelu", "activation_params": [0.1]},
    {"activation": "HardSigmoid", "activation_params": [0.1, 0.4]},
    {"activation": "Clip", "activation_params": [-2.0, 3.0]},
]
OF_GEMM: list[dict[str, Any]] = [
    *({"activation": name} for name in ("Relu", "Tanh", "Sigmoid", "Softplus", "Softsign")),
    *({"activation": name, "activation_alpha": 0.3} for name in ("LeakyRelu", "Elu", "Celu")),
    {"activation": "ThresholdedRelu", "activation_alpha": 0.3},
    {"activation": "HardSigmoid", "activation_alpha": 0.1, "activation_beta": 0.4},
    {"activation": "Selu", "activation_alpha": 1.2, "activation_gamma": 1.1},
]
OF_PRODUCT: list[dict[str, Any]] = [
    *({flag: 1} for flag in ("transBatchA", "transBatchB")),
    *({f"trans{k}": 1, f"transBatch{k}": 1} for k in "AB"),
]
A3, B3 = Var(drawn(4, 3, 4, 2, 4)), Var(drawn(5, 3, 4, 2, 4))
SQUARE = Var(drawn(6, 3, 3, 3, 3)), Var(drawn(7, 3, 3, 3, 3))
TOKENS, SKIP, GAMMA, BETA, BIAS = Var(drawn(8, 2, 3, 8)), Var(drawn(9, 2, 3, 8)), *drawn(10, 3, 8)

CASES = [
    *(fused("FusedConv", X, W, B, **attrs) for attrs in ACTIVATIONS),
    *(fused("FusedConv", X, W, B, Z, label=f"Z, {attrs}", **attrs) for attrs in ACTIVATIONS),
    fused("FusedConv", X, W, None, Z, label="no bias", activation="Relu"),
    fused("FusedConv", X, W, label="strided", activation="Relu", strides=[2, 1], pads=[1, 0, 1, 2]),
    fused("FusedConv", X, W, label="auto_pad", activation="Tanh", strides=[2, 2], auto_pad="SAME_UPPER"),
    fused("FusedConv", Var(drawn(11, 1, 4, 9)), drawn(12, 6, 2, 3), label="1D", activation="Relu", group=2),
    *(fused("FusedGemm", Var(drawn(13, 3, 4)), drawn(14, 4, 5), drawn(15, 5), **attrs) for attrs in OF_GEMM),
    fused("FusedGemm", Var(drawn(13, 4, 3)), drawn(14, 5, 4), None, label="scaled", activation="Relu",
          alpha=0.5, transA=1, transB=1),
    fused("FusedMatMul", Var(drawn(16, 2, 3, 4)), Var(drawn(17, 2, 4, 5)), alpha=0.25),
    fused("FusedMatMul", Var(drawn(16, 2, 4, 3)), Var(drawn(17, 5, 4)), transA=1, transB=1),
    fused("FusedMatMul", A3, B3, transB=1, alpha=0.5),
    *(fused("FusedMatMul", *SQUARE, **attrs) for attrs in OF_PRODUCT),
    fused("FusedMatMul", Var(drawn(18, 4)), Var(drawn(17, 4, 5)), label="vector", transA=1),
    fused("TransposeMatMul", Var(drawn(16, 2, 4, 3)), Var(drawn(17, 2, 4, 5)), transA=1),
    fused("Gelu", TOKENS),
    fused("BiasGelu", TOKENS, BIAS),
    fused("FastGelu", TOKENS),
    fused("FastGelu", TOKENS, BIAS, label="bias"),
    fused("QuickGelu", TOKENS),
    fused("QuickGelu", TOKENS, alpha=1.0),
    fused("QuickGelu", TOKENS, alpha=1.3),
    fused("SkipLayerNormalization", TOKENS, SKIP, GAMMA, BETA, epsilon=1e-3),
    fused("SkipLayerNormalization", TOKENS, SKIP, GAMMA, label="no beta"),
    fused("SkipLayerNormalization", TOKENS, SKIP, GAMMA, BETA, BIAS, label="sum", outputs="y - - total"),
    fused("SkipLayerNormalization", TOKENS, SKIP, GAMMA, None, BIAS, label="bias, no beta"),
    fused("SkipSimplifiedLayerNormalization", TOKENS, SKIP, GAMMA, epsilon=1e-3),
    fused("SkipSimplifiedLayerNormalization", TOKENS, SKIP, GAMMA, BIAS, label="sum", outputs="y - - total"),
    fused("SimplifiedLayerNormalization", TOKENS, GAMMA, epsilon=1e-3),
    fused("SimplifiedLayerNormalization", TOKENS, drawn(20, 3, 8), axis=1),
]  # fmt: skip


def test_every_fused_operator_has_a_case() -> None:
    named = {case.model.graph.node[0].op_type for case in CASES}
    assert named == {op.rpartition(":")[2] for op in FUSED}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_its_parts_compute_it_and_have_its_gradient(case: Case) -> None:
    graph = forward_graph(case.model, {name: v.shape for name, v in case.at.items()})
    assert not [node for node in graph.nodes if node.op in FUSED]
    expected = session(case.model).run(None, dict(case.at))
    for y, own in zip(run_single(graph, case.at), expected, strict=True):
        close(y, own, 2e-6)
    check(case)


REFUSED = [
    fused("SkipLayerNormalization", TOKENS, SKIP, GAMMA, BETA, outputs="y mean deviation"),
]


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_not_known_is_refused_by_name(case: Case) -> None:
    with pytest.raises(UnsupportedOpError, match=r"SkipLayerNormalization \(node 'the node'\).*BASIC"):
        check(case)


def test_functions_of_newer_opsets_behind_them_are_given_their_types() -> None:
    """Gelu of opset 20 is replaced by its body, for which the type in front of it has to be known."""
    nodes = [
        helper.make_node("FusedMatMul", ["x", "w"], ["a"], domain="com.microsoft", alpha=0.5),
        helper.make_node("Gelu", ["a"], ["y"]),
    ]
    x = drawn(21, 2, 3, 4)
    model = make_model(nodes, {"x": (x.shape, TensorProto.FLOAT)}, ["y"], {"w": drawn(22, 4, 300)}, opset=20)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    graph = normalize(model, input_shapes={"x": x.shape}, keep=["y"])
    close(run_single(graph, {"x": x})[0], session(model).run(None, {"x": x})[0], 2e-6)
    check(Case("Gelu", model, {"x": x}, 2e-7))


def test_layer_normalization_in_files_of_older_opsets() -> None:
    """The optimiser writes it into files of opset 13, which do not know it."""
    node = helper.make_node("LayerNormalization", ["x", "scale"], ["y"], axis=-1)
    x = drawn(23, 2, 3, 8)
    model = make_model([node], {"x": (x.shape, TensorProto.FLOAT)}, ["y"], {"scale": drawn(24, 8)}, opset=13)
    close(
        run_single(forward_graph(model, {"x": x.shape}), {"x": x})[0],
        session(model).run(None, {"x": x})[0],
        2e-6,
    )
    check(Case("LayerNormalization", model, {"x": x}, 2e-7))


def test_what_a_reflecting_pad_would_fill_in_is_nobodys_business() -> None:
    """The optimiser writes out all attributes; this one outlives the conversion of an old Pad."""
    node = helper.make_node("Pad", ["x"], ["y"], mode="reflect", pads=[0, 0, 1, 2, 0, 0, 2, 1], value=0.0)
    x = drawn(25, 1, 2, 5, 5)
    model = make_model([node], {"x": (x.shape, TensorProto.FLOAT)}, ["y"], opset=9)
    graph = forward_graph(model, {"x": x.shape})
    assert isinstance(graph.to_model(), onnx.ModelProto)
    close(run_single(graph, {"x": x})[0], np.pad(x, [(0, 0), (0, 0), (1, 2), (2, 1)], mode="reflect"), 0)
