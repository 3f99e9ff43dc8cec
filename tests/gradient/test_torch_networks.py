"""Whole networks against PyTorch's own gradient, in double and in single precision."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.gradient.engine import Engine
from sobolevflow.gradient.model import gradient_graph
from sobolevflow.objectives import runtime_parameters
from sobolevflow.onnxgrad import IMAGE
from sobolevflow.onnxgrad.float64 import evaluate

torch = pytest.importorskip("torch", reason="needs the extra bench")
if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)
pytest.importorskip("onnxscript", reason="needs the extra bench")
from tests.support.torch_networks import ARCHITECTURES, EXPORTERS, build, export  # noqa: E402  (needs torch)

CLASS, FEWEST_IMAGES, MOST_IMAGES = 3, 3, 12
# Every architecture by one of the exporters, the quicker one of most, and of the two VGG, each a minute, the
# one with normalisation; `make full` checks the others.
BY_DYNAMO = ("vgg19_bn", "mobilenet_v3_large", "efficientnet_b0", "swin_t")
SAMPLE = {
    (name, "dynamo" if name in BY_DYNAMO else "torchscript") for name in ARCHITECTURES if name != "vgg19"
}
PAIRS = [(name, exporter) for name in ARCHITECTURES for exporter in EXPORTERS]
checked: set[tuple[str, str]] = set()


@pytest.fixture(autouse=True)
def _a_sixth_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hard sigmoid of PyTorch have the slope that ONNX stores, a float32, in double precision too."""
    functional, sixth = torch.nn.functional, float(np.float32(1 / 6))
    sigmoid, swish = functional.hardsigmoid, functional.hardswish

    def gate(x: Any) -> Any:
        return (sixth * x + 0.5).clamp(0, 1)

    def hardsigmoid(x: Any, inplace: bool = False) -> Any:
        return gate(x) if x.requires_grad and x.dtype == torch.float64 else sigmoid(x, inplace)

    def hardswish(x: Any, inplace: bool = False) -> Any:
        return x * gate(x) if x.requires_grad and x.dtype == torch.float64 else swish(x, inplace)

    monkeypatch.setattr(functional, "hardsigmoid", hardsigmoid)
    monkeypatch.setattr(functional, "hardswish", hardswish)


def torch_gradient(network: Any, u: np.ndarray, dtype: Any) -> np.ndarray:
    image = torch.tensor(u, dtype=dtype, requires_grad=True)
    network.to(dtype)(image)[0, CLASS].backward()
    network.float()
    return np.asarray(image.grad.numpy(), np.float64)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def errors_in_single_precision(network: Any, engine: Engine, images: np.ndarray) -> tuple[float, float]:
    """The least errors of ours and of PyTorch's over images, of which no more are tried than it takes.

    A rectifier within rounding of its kink goes either way, PyTorch's too, which more than half of the
    images of a deep network meet. A wrong derivative would be wrong in all of them.
    """
    ours, theirs = np.inf, np.inf
    for n, u in enumerate(images, 1):
        expected = torch_gradient(network, u, torch.float64)
        ours = min(ours, relative(engine(u)[1], expected))
        theirs = min(theirs, relative(torch_gradient(network, u, torch.float32), expected))
        if n >= FEWEST_IMAGES and close(ours, theirs):
            break
    return ours, theirs


def close(ours: float, theirs: float) -> bool:
    return ours <= max(3 * theirs, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "exporter"),
    [pytest.param(*pair, marks=() if pair in SAMPLE else pytest.mark.thorough) for pair in PAIRS],
)
def test_the_gradient_is_that_of_pytorch(name: str, exporter: str) -> None:
    network, size = build(name), ARCHITECTURES[name][1]
    images = np.random.default_rng(1).random((MOST_IMAGES, 1, 3, size, size), np.float32)
    objective = sf.Class(CLASS)

    net = sf.load(export(network, size, exporter, exact=True), preprocess="none")
    parameters = runtime_parameters(objective, net, 1)
    double = evaluate(gradient_graph(net, objective, parameters, 1, dtype=np.float64))
    expected = torch_gradient(network, images[0], torch.float64)
    assert relative(double({IMAGE: images[0].astype(np.float64)})[1], expected) < 1e-8

    del double  # which holds the network in double precision, as the check will
    if exporter == EXPORTERS[0]:
        # EfficientNet bends within 1e-8 of the image, where rounding is 1e-5
        assert sf.check_gradient(net, objective, images[0], precision="double") < 1e-4

    engine = Engine(sf.load(export(network, size, exporter), preprocess="none"), objective)
    ours, theirs = errors_in_single_precision(network, engine, images)
    print(f"{name} {exporter}: {ours:.1e}, PyTorch {theirs:.1e}")
    assert close(ours, theirs)
    checked.add((name, exporter))


@pytest.mark.slow
def test_every_network_was_checked(request: pytest.FixtureRequest) -> None:
    test = "test_the_gradient_is_that_of_pytorch"
    asked = {
        (item.callspec.params["name"], item.callspec.params["exporter"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test
    }
    if not asked >= SAMPLE:
        pytest.skip("only a part of the networks was selected")
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("other processes have checked a part of them; make networks checks all in one")
    assert checked == asked
