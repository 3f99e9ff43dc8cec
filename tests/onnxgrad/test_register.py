"""A rule of the user's own, for an operator that ONNX does not define."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad import RULES
from sobolevflow.onnxgrad.rules import table
from tests.support.gradient_cases import close, make_model

ALPHA = 1.3


@pytest.fixture
def registered() -> Iterator[None]:
    """The rule in the documentation of `register`, for the time of a test."""
    examples = doctest.DocTestFinder().find(table.register, "register", globs={"register": table.register})
    assert doctest.DocTestRunner().run(examples[0]).failed == 0
    yield
    del RULES.entries["com.microsoft:QuickGelu"]


def network(op: str = "QuickGelu", **attrs: Any) -> sf.Network:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node(op, ["a"], ["y"], name="gate", domain="com.microsoft", **attrs),
    ]
    w = np.random.default_rng(0).standard_normal((2, 3, 3, 3)).astype(np.float32)
    model = make_model(nodes, {"x": ((1, 3, 5, 5), TensorProto.FLOAT)}, ["y"], {"w": w}, opset=17)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return sf.load(model, preprocess="none")


def test_an_operator_of_another_domain_is_refused_without_a_rule() -> None:
    net = network("Trilu")
    assert not net.layer("y").differentiable
    with pytest.raises(UnsupportedOpError, match=r"com\.microsoft:Trilu .*'gate'"):
        sf.value_and_grad(net, sf.Channel("y", 0))(np.zeros((3, 5, 5), np.float32))


@pytest.mark.usefixtures("registered")
def test_a_registered_rule_is_used() -> None:
    net = network(alpha=ALPHA)
    assert net.layer("y").differentiable
    u = np.random.default_rng(1).random((3, 5, 5), np.float32)
    value, g = sf.value_and_grad(net, sf.Channel("y", 0))(u)
    # the derivative at the convolution's output, in NumPy, times the gradient of that output
    a = net.features(u[None], ["a"])[0][0, 0].astype(np.float64)
    gate = 1 / (1 + np.exp(-ALPHA * a))
    close(value, (a * gate).mean(keepdims=True).ravel(), 1e-5)
    slope = gate + ALPHA * a * gate * (1 - gate)
    expected = sf.value_and_grad(net, sf.Direction("a", np.stack([slope, 0 * slope]).astype(np.float32)))(u)[
        1
    ]
    close(g, expected / slope.size, 1e-5)


@pytest.mark.usefixtures("registered")
def test_the_exported_model_names_the_domain() -> None:
    model = sf.gradient_model(network(alpha=ALPHA), sf.Channel("y", 0))
    assert {o.domain for o in model.opset_import} == {"", "com.microsoft"}
    onnx.checker.check_model(model)


def test_an_operator_at_which_the_flow_stopped_passes_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RULES, "stops", dict(RULES.stops))
    monkeypatch.setattr(RULES, "entries", dict(RULES.entries))
    table.register("Round", "ai.onnx")(lambda step, i: step.g)
    model = make_model(
        [helper.make_node("Round", ["x"], ["y"])], {"x": ((1, 1, 2, 2), TensorProto.FLOAT)}, ["y"]
    )
    _, g = sf.value_and_grad(sf.load(model, preprocess="none"), sf.Channel("y", 0))(np.ones((1, 2, 2)) * 0.3)
    np.testing.assert_allclose(g, 0.25)
