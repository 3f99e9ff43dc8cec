"""Whole networks against PyTorch's own gradient, in double and in single precision."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.engine import Engine, gradient_graph
from sobolevflow.objectives import runtime_parameters
from sobolevflow.onnxgrad import IMAGE
from sobolevflow.onnxgrad.float64 import evaluate

torch = pytest.importorskip("torch", reason="needs the extra bench")
if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)
pytest.importorskip("onnxscript", reason="needs the extra bench")
import torch_networks  # noqa: E402  (needs torch)

CLASS = 3
checked: set[tuple[str, str]] = set()


def torch_gradient(network: Any, u: np.ndarray, dtype: Any) -> np.ndarray:
    image = torch.tensor(u, dtype=dtype, requires_grad=True)
    network.to(dtype)(image)[0, CLASS].backward()
    network.float()
    return np.asarray(image.grad.numpy(), np.float64)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.slow
@pytest.mark.parametrize("exporter", torch_networks.EXPORTERS)
@pytest.mark.parametrize("name", torch_networks.ARCHITECTURES)
def test_the_gradient_is_that_of_pytorch(name: str, exporter: str) -> None:
    network, size = torch_networks.build(name), torch_networks.ARCHITECTURES[name][1]
    net = sf.load(torch_networks.export(network, size, exporter), preprocess="none")
    u = np.random.default_rng(1).random((1, 3, size, size), np.float32)
    expected = torch_gradient(network, u, torch.float64)
    objective = sf.Class(CLASS)
    graph = gradient_graph(net, objective, runtime_parameters(objective, net, 1), 1)
    double = evaluate(graph.astype(np.float64))({IMAGE: u.astype(np.float64)})[1]
    assert relative(double, expected) < 1e-8
    single = Engine(net, objective)(u)[1].astype(np.float64)
    allowed = 3 * relative(torch_gradient(network, u, torch.float32), expected)
    assert relative(single, expected) <= max(allowed, 1e-6)
    checked.add((name, exporter))


@pytest.mark.slow
def test_every_network_was_checked(request: pytest.FixtureRequest) -> None:
    wanted = sum(i.name.startswith("test_the_gradient_is_that_of_pytorch") for i in request.session.items)
    if wanted < 30:
        pytest.skip("only a part of the networks was selected")
    assert len(checked) == 30
