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
def net(module: Any) -> sf.Network:
    return sf.load(module, (3, SIZE, SIZE), preprocess="none")


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


def test_signed_grad_cam_and_the_gradient_of_a_neuron(
    module: Any, net: sf.Network, layer: str, u: np.ndarray, x: Any
) -> None:
    cam = captum.LayerGradCam(module, module.features).attribute(x, target=1)
    theirs = of(captum.LayerAttribution.interpolate(cam, (SIZE, SIZE), "bilinear"))[:, 0]
    assert theirs.min() < 0 < theirs.max()
    close(sf.attribution.grad_cam(net, sf.Class(1), u, layer, signed=True), theirs, 1e-4)
    neuron = of(captum.NeuronGradient(module, module.features).attribute(x, (2, 1, 3)))
    close(sf.value_and_grad(net, sf.Neuron(layer, [(2, 1, 3)]))(u)[1], neuron, 1e-5)


@pytest.fixture
def grad_cam() -> Any:
    """The library pytorch-grad-cam."""
    from tests.support.torch_networks import torchvision_models

    torchvision_models()  # it imports torchvision, whose operators are for another build of torch
    return pytest.importorskip("pytorch_grad_cam", reason=REASON)


class SimilarityToConceptTarget:
    """As in its notebook on embeddings."""

    def __init__(self, features: Any) -> None:
        self.features = features

    def __call__(self, output: Any) -> Any:
        return torch.nn.CosineSimilarity(dim=0)(output, self.features)


@pytest.mark.parametrize("name", ["class", "concept"])
def test_grad_cam_of_pytorch_grad_cam(
    name: str, grad_cam: Any, module: Any, net: sf.Network, layer: str, u: np.ndarray
) -> None:
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((2, CLASSES)).astype(np.float32))
    one_class = grad_cam.utils.model_targets.ClassifierOutputTarget(CLASS)
    targets, objective = {
        "class": ([one_class] * 2, sf.Class(CLASS)),
        "concept": ([*map(SimilarityToConceptTarget, features)], sf.Cosine(net.score_layer, features)),
    }[name]
    cam = grad_cam.GradCAM(module, target_layers=[module.features])
    theirs = cam(input_tensor=torch.from_numpy(u), targets=targets)
    ours = sf.attribution.grad_cam(net, objective, u, layer)
    low, high = (edge(ours, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    close((ours - low) / (high - low), theirs, 1e-4)
    if name == "concept":
        outputs = module(torch.from_numpy(u))
        values = [float(target(output)) for target, output in zip(targets, outputs, strict=True)]
        close(sf.value_and_grad(net, objective)(u)[0], np.array(values), 1e-5)


@pytest.mark.parametrize("name", ["channel", "neuron", "central neuron", "direction", "diversity"])
def test_objectives_of_lucent(name: str, module: Any, net: sf.Network, layer: str, u: np.ndarray) -> None:
    """Theirs are means over the batch, to be minimised."""
    activation, count = module.features(torch.from_numpy(u)), len(u)
    v = np.random.default_rng(1).standard_normal(6).astype(np.float32)
    theirs, ours = {
        "channel": (objectives.channel(layer, 2), sf.Channel(layer, 2)),
        "neuron": (objectives.neuron(layer, 2, x=3, y=1), sf.Neuron(layer, 2, y=1, x=3)),
        "central neuron": (objectives.neuron(layer, 2), sf.Neuron(layer, 2)),
        "direction": (objectives.direction(layer, torch.from_numpy(v)), sf.Cosine(layer, v)),
        "diversity": (
            objectives.channel(layer, 2) - 5 * objectives.diversity(layer),
            sf.Channel(layer, 2) + 5 * (count - 1) * sf.Diversity(layer),
        ),
    }[name]
    values, _ = sf.value_and_grad(net, ours)(u)
    close(values.mean(), -of(theirs(lambda _: activation)), 1e-5)
