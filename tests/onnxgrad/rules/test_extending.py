"""A gradient rule added from outside the package: one function, and nothing else to touch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import RULES, Refusal, Step, Value, register
from tests.support.gradient_cases import make_model

U = np.random.default_rng(3).random((3, 6, 6), np.float32)


@pytest.fixture(autouse=True)
def _rules_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(RULES, "entries", dict(RULES.entries))
    monkeypatch.setattr(RULES, "stops", dict(RULES.stops))


def network(op: str, **attributes: Any) -> sf.Network:
    """A convolution, and the operator behind it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(op, ["a"], ["y"], name="bend", **attributes),
    ]
    w = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    model = make_model(nodes, {"x": ((1, 3, 6, 6), TensorProto.FLOAT)}, ["y"], {"w": w})
    return sf.load(model, preprocess="none")


def softplus(step: Step, i: int) -> Value:
    """d/dx log(1 + exp x) = 1 - exp(-y), where the package's own rule takes the sigmoid of x."""
    return step.g * (1 - 1 / step.op("Exp", step.y))


def test_a_rule_is_used_by_the_public_functions() -> None:
    net, objective = network("Softplus"), sf.Layer("y")
    _, own = sf.value_and_grad(net, objective)(U)
    register("Softplus")(softplus)
    assert sf.check_gradient(net, objective, U, precision="double") < 1e-6
    _, g = sf.value_and_grad(net, objective)(U)
    np.testing.assert_allclose(g, own, rtol=0, atol=1e-6 * float(np.abs(own).max()))
    ops = [node.op_type for node in sf.gradient_model(net, objective).graph.node]
    assert "Exp" in ops
    assert "Sigmoid" not in ops


def test_a_wrong_rule_is_found() -> None:
    register("Softplus")(lambda step, i: 2 * softplus(step, i))
    assert sf.check_gradient(network("Softplus"), sf.Layer("y"), U, precision="double") > 0.1


def test_a_rule_may_refuse_a_use() -> None:
    @register("Elu")
    def elu(step: Step, i: int) -> Value:
        if step.attr("alpha", 1.0) != 1:
            raise Refusal("its alpha is not 1")
        return step.g * (1 + step.op("Min", step.y, 0))

    assert sf.check_gradient(network("Elu"), sf.Layer("y"), U, precision="double") < 1e-6
    with pytest.raises(UnsupportedOpError, match=r"Elu \(node 'bend'\): its alpha is not 1"):
        sf.value_and_grad(network("Elu", alpha=0.5), sf.Layer("y"))(U)


def test_a_rule_may_take_values_for_names() -> None:
    """As rules did before values had an arithmetic: keys, pieces of names, inputs of nodes made by hand."""

    @register("Exp")
    def exponential(step: Step, i: int) -> str:
        outputs: dict[str, str] = {step.x[0]: step.y}
        y = outputs[step.node.inputs[i]]
        return step.graph.add("Mul", [step.g, y], output=step.y + "/" + "gradient")

    net = network("Exp")
    assert sf.check_gradient(net, sf.Layer("y"), U, precision="double") < 1e-6
    assert "y/gradient" in {node.name for node in sf.gradient_model(net, sf.Layer("y")).graph.node}
