"""What docs/coming-from.md says of other libraries: on one network, their numbers are ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from tests.support.gradient_cases import close

REASON = "needs torch and the libraries that `make networks` installs"
torch = pytest.importorskip("torch", reason=REASON)
captum = pytest.importorskip("captum.attr", reason=REASON)
objectives = pytest.importorskip("lucent.optvis.objectives", reason=REASON)

LAYER, CLASS, SIZE, CLASSES = "features", 3, 24, 5


class Small(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A classifier with a layer of positions before the last pool."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv, act = torch.nn.Conv2d, torch.nn.Softplus
        self.features = torch.nn.Sequential(
            conv(3, 8, 3, 2, 1), act(), conv(8, 6, 3, 1, 1), act(), torch.nn.AvgPool2d(2)
        )
        self.head = torch.nn.Linear(6, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.head(self.features(x).mean((2, 3)))


@pytest.fixture(scope="module")
def module() -> Any:
    return Small().eval()


@pytest.fixture(scope="module")
def net(module: Any, tmp_path_factory: pytest.TempPathFactory) -> sf.Network:
    path = tmp_path_factory.mktemp("peers") / "small.onnx"
    example = torch.zeros(1, 3, SIZE, SIZE)
    torch.onnx.export(
        module,
        (example,),
        str(path),
        dynamo=False,
        opset_version=17,
        dynamic_axes={"x": [0]},
        input_names=["x"],
    )
    return sf.load(path, preprocess="none")


@pytest.fixture(scope="module")
def layer(net: sf.Network) -> str:
    """The last layer with positions, as the file names it."""
    return [info.name for info in net.layers if info.shape is not None and len(info.shape) == 4][-1]


@pytest.fixture
def u() -> np.ndarray:
    return np.random.default_rng(0).random((2, 3, SIZE, SIZE), dtype=np.float32)


@pytest.fixture
def x(u: np.ndarray) -> Any:
    return torch.from_numpy(u.copy()).requires_grad_()


def of(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach())


def test_saliency(module: Any, net: sf.Network, u: np.ndarray, x: Any) -> None:
    theirs = captum.Saliency(module)
    signed = of(theirs.attribute(x, target=CLASS, abs=False))
    close(sf.attribution.saliency(net, sf.Class(CLASS), u, reduce=None), signed, 1e-5)
    sizes = of(theirs.attribute(x, target=CLASS)).max(axis=1)
    close(sf.attribution.saliency(net, sf.Class(CLASS), u), sizes, 1e-5)
    product = of(captum.InputXGradient(module).attribute(x, target=CLASS))
    close(u * sf.value_and_grad(net, sf.Class(CLASS))(u)[1], product, 1e-5)
    targets = of(theirs.attribute(x, target=[1, 3], abs=False))
    close(sf.attribution.saliency(net, sf.Class([1, 3]), u, reduce=None), targets, 1e-5)


def test_integrated_gradients_by_the_same_quadrature(
    module: Any, net: sf.Network, u: np.ndarray, x: Any
) -> None:
    theirs, delta = captum.IntegratedGradients(module).attribute(
        x, target=CLASS, n_steps=7, return_convergence_delta=True
    )
    ours = sf.attribution.integrated_gradients(net, sf.Class(CLASS), u, steps=7)
    close(ours, of(theirs), 1e-4)
    error = sf.attribution.completeness_error(net, sf.Class(CLASS), u, ours)
    np.testing.assert_allclose(np.abs(error), np.abs(of(delta)), atol=2e-6)


def test_activations_and_grad_cam(module: Any, net: sf.Network, layer: str, u: np.ndarray, x: Any) -> None:
    activation = of(captum.LayerActivation(module, module.features).attribute(x))
    close(net.features(u, [layer])[0], activation, 1e-5)
    cam = captum.LayerGradCam(module, module.features).attribute(x, target=CLASS, relu_attributions=True)
    theirs = of(captum.LayerAttribution.interpolate(cam, (SIZE, SIZE), "bilinear"))[:, 0]
    close(sf.attribution.grad_cam(net, sf.Class(CLASS), u, layer), theirs, 1e-4)


def test_grad_cam_of_pytorch_grad_cam(module: Any, net: sf.Network, layer: str, u: np.ndarray) -> None:
    from tests.support.torch_networks import torchvision_models

    torchvision_models()  # it imports torchvision, whose operators are for another build of torch
    grad_cam = pytest.importorskip("pytorch_grad_cam", reason=REASON)
    targets = [grad_cam.utils.model_targets.ClassifierOutputTarget(CLASS)] * len(u)
    cam = grad_cam.GradCAM(module, target_layers=[module.features])
    theirs = cam(input_tensor=torch.from_numpy(u), targets=targets)
    ours = sf.attribution.grad_cam(net, sf.Class(CLASS), u, layer)
    low, high = (edge(ours, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    close((ours - low) / (high - low), theirs, 1e-4)


@pytest.mark.parametrize("name", ["channel", "neuron", "central neuron", "diversity"])
def test_objectives_of_lucent(name: str, module: Any, net: sf.Network, layer: str, u: np.ndarray) -> None:
    """Theirs are means over the batch, to be minimised."""
    activation, count = module.features(torch.from_numpy(u)), len(u)
    theirs, ours = {
        "channel": (objectives.channel(layer, 2), sf.Channel(layer, 2)),
        "neuron": (objectives.neuron(layer, 2, x=3, y=1), sf.Neuron(layer, 2, y=1, x=3)),
        "central neuron": (objectives.neuron(layer, 2), sf.Neuron(layer, 2)),
        "diversity": (
            objectives.channel(layer, 2) - 5 * objectives.diversity(layer),
            sf.Channel(layer, 2) + 5 * (count - 1) * sf.Diversity(layer),
        ),
    }[name]
    values, _ = sf.value_and_grad(net, ours)(u)
    close(values.mean(), -of(theirs(lambda _: activation)), 1e-5)
