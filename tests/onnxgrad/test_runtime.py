"""Sessions whose largest matrices are fed at every run."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.onnxgrad import runtime
from sobolevflow.onnxgrad.runtime import FedSession
from tests.support.gradient_cases import make_model

W = np.random.default_rng(6).standard_normal((12, 5)).astype(np.float32)
U = np.random.default_rng(7).random((1, 3, 2, 2), np.float32)


def network(op: str) -> sf.Network:
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node(op, ["flat", "w"], ["y"])]
    model = make_model(nodes, {"x": ((1, 3, 2, 2), TensorProto.FLOAT)}, ["y"], {"w": W})
    return sf.load(model, preprocess="none")


@pytest.mark.parametrize(("op", "fed"), [("Gemm", True), ("MatMul", False)])
def test_a_matrix_is_fed_where_all_take_it_as_it_is(
    op: str, fed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "_HUGE", W.nbytes)
    net = network(op)
    value, g = sf.value_and_grad(net, sf.Class(2))(U)
    (compiled,) = net.sessions.values()
    assert isinstance(compiled.session, FedSession) is fed
    np.testing.assert_allclose(value, U.ravel() @ W[:, 2:3], rtol=1e-5)
    np.testing.assert_allclose(g.ravel(), W[:, 2], rtol=1e-6)
    np.testing.assert_allclose(net.features(U, ["y"])[0], U.reshape(1, -1) @ W, rtol=1e-5)
