"""Every public function with arguments that it takes, each of which a test replaces by what it does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow import attribution, experiments, gradient, models, objectives
from sobolevflow.models import export, zoo
from tests.support.gradient_cases import make_model
from tests.support.small_networks import generator as small_generator

SIZE = (3, 4, 5)
"""Of the network's image."""


@dataclass(frozen=True)
class Case:
    """A function, what it is given, and which of its arguments are not tried."""

    function: Callable[..., Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    left_alone: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """The arguments to try."""
        taken = inspect.signature(self.function).parameters.values()
        named = [p.name for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        return [name for name in named if name not in self.left_alone]

    def call(self, **other: Any) -> Any:
        """Call the function with some arguments replaced, and what it returns if it is called itself."""
        given = {**self.given, **other}
        taken = inspect.signature(self.function).parameters
        first = [given.pop(name) for name, p in taken.items() if p.kind is p.POSITIONAL_ONLY and name in given]
        return self.function(*first, **given)


@cache
def tiny_model() -> onnx.ModelProto:
    """Layers conv, relu, scores of two classes: the smallest network that has all kinds."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["gap"]),
        helper.make_node("Flatten", ["gap"], ["scores"]),
    ]
    constants = {
        "w": rng.standard_normal((2, 3, 3, 3)).astype(np.float32),
        "b": np.ones(2, np.float32),
    }
    inputs = {"x": (("N", *SIZE), TensorProto.FLOAT)}
    return make_model(nodes, inputs, ["scores"], constants, opset=13)


@cache
def tiny_network() -> sf.Network:
    """The network, with names for its classes."""
    return sf.load(tiny_model(), labels=["cat", "dog"])


@cache
def image() -> np.ndarray:
    return np.random.default_rng(0).random(SIZE, np.float32)


def _evaluated(net: sf.Network, objective: Any, device: Any = "cpu") -> Any:
    """`value_and_grad` and a call of what it returns, which is when the objective meets the network."""
    return sf.value_and_grad(net, objective, device=device)(image())


def _of(kind: Callable[..., Any]) -> Callable[..., Any]:
    """A constructor of objectives, each of which is evaluated, spelled, listed and written down."""

    @wraps(kind)
    def made(**given: Any) -> Any:
        objective = kind(**given)
        str(objective), repr(objective), objective.to_dict()
        return _evaluated(tiny_network(), objective)

    made.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
    return made


def _scaled(weight: Any) -> Any:
    return _evaluated(tiny_network(), weight * sf.Class(0) + sf.Layer("relu"))


def _added(other: Any) -> Any:
    return _evaluated(tiny_network(), sf.Class(0) + other)


def _subtracted(other: Any) -> Any:
    return _evaluated(tiny_network(), sf.Class(0) - other)


def _combined(terms: Any, maximize: Any = True) -> Any:
    return _evaluated(tiny_network(), objectives.Combination(terms, maximize))


def _descended(task: Callable[..., Any], objective: Any) -> Case:
    """A descent of two steps, by default without a progress bar."""
    return Case(task, {"net": tiny_network(), "objective": objective, "steps": 2, "progress": False})


def _in_coordinates(kind: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(kind)
    def made(**given: Any) -> Any:
        return sf.visualize(
            tiny_network(), sf.Class(0), parametrization=kind(**given), steps=2, progress=False
        )

    made.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
    return made


def _octaves(**given: Any) -> Any:
    octave = sf.Octave(**given)
    octave.to_dict()
    return sf.visualize(tiny_network(), sf.Class(0), octaves=[octave], progress=False)


_octaves.__signature__ = inspect.signature(sf.Octave)  # type: ignore[attr-defined]


def _device(**given: Any) -> Any:
    device = sf.Device(**given)
    str(device), repr(device), device.to_dict(), device.providers()
    return device


_device.__signature__ = inspect.signature(sf.Device)  # type: ignore[attr-defined]


def _preprocessed(**given: Any) -> Any:
    preprocess = sf.Preprocess(**given)
    repr(preprocess), preprocess.to_dict(), preprocess.is_identity
    return preprocess.range(3)


_preprocessed.__signature__ = inspect.signature(sf.Preprocess)  # type: ignore[attr-defined]


def cases(folder: Path) -> dict[str, Case]:
    """All of them by name; files are written into a folder."""
    net, u, of = tiny_network(), image(), sf.Class(0)
    on_image = {"net": net, "objective": of, "u": u}
    result = sf.visualize(net, of, steps=2, progress=False)
    grad = sf.value_and_grad(net, of)
    png, html = folder / "picture.png", folder / "page.html"
    return {
        "load": Case(sf.load, {"source": tiny_model().SerializeToString()}),
        "Network": Case(sf.Network, {"model": tiny_model()}, ("weights",)),
        "compose": Case(sf.compose, {"generator": small_generator(), "network": tiny_model()}),
        "export": Case(sf.export, {"module": object(), "example": (3, 4, 5)}),
        "Image": Case(sf.Image, {"picture": u}),
        "Network.layer": Case(net.layer, {"name": "relu"}),
        "Network.check_layer": Case(net.check_layer, {"name": "relu"}),
        "Network.layer_shape": Case(net.layer_shape, {"name": "relu"}),
        "Network.channel_axis": Case(net.channel_axis, {"layer": "relu"}),
        "Network.check_differentiable": Case(net.check_differentiable, {"name": "relu"}),
        "Network.classes_of": Case(net.classes_of, {"output": "scores"}),
        "Network.name_classes": Case(sf.load(tiny_model()).name_classes, {"labels": ["a", "b"]}),
        "Network.could_be_named": Case(net.could_be_named, {"labels": ["a", "b"]}),
        "Network.class_index": Case(net.class_index, {"which": 0}),
        "Network.class_name": Case(net.class_name, {"index": 0}),
        "Network.features": Case(net.features, {"image": u, "layers": ["relu"]}),
        "Network.scores": Case(net.scores, {"image": u}),
        "Network.top": Case(net.top, {"image": u, "k": 1}),
        "Network.check_image": Case(net.check_image, {"image": u}),
        "Network.run_batch": Case(net.run_batch, {"batch": 2, "layers": ["relu"]}),
        "Network.stay_apart": Case(net.stay_apart, {"layers": ["relu"]}),
        "Network.pre_activation": Case(net.pre_activation, {"layer": "relu"}),
        "Network.first_non_finite": Case(net.first_non_finite, {"image": u}),
        "Network.preactivation_hint": Case(net.preactivation_hint, {"objective": of}),
        "Preprocess": Case(_preprocessed, {"mean": [0.5] * 3, "std": [0.2] * 3}),
        "Preprocess.named": Case(sf.Preprocess.named, {"name": "torch"}),
        "Preprocess.of": Case(sf.Preprocess.of, {"what": "torch"}),
        "Preprocess.for_input": Case(
            sf.Preprocess.for_input, {"what": "torch", "name": "x", "declared": "float32"}
        ),
        "Preprocess.matrix_and_bias": Case(sf.Preprocess().matrix_and_bias, {"channels": 3}),
        "Preprocess.range": Case(sf.Preprocess().range, {"channels": 3}),
        "value_and_grad": Case(_evaluated, {"net": net, "objective": of}),
        "GradientFunction.__call__": Case(grad.__call__, {"u": u}),
        "gradient_model": Case(sf.gradient_model, {"net": net, "objective": of}),
        "check_gradient": Case(sf.check_gradient, {"net": net, "objective": of}),
        "Engine": Case(gradient.Engine, {"net": net, "objective": of}),
        "Engine.__call__": Case(gradient.Engine(net, of).__call__, {"u": u[None]}),
        "Class": Case(_of(sf.Class), {"which": 0}),
        "Channel": Case(_of(sf.Channel), {"layer": "relu", "channel": 1}),
        "Neuron": Case(_of(sf.Neuron), {"layer": "relu", "channel": 1, "y": 0, "x": 0}),
        "Layer": Case(_of(sf.Layer), {"layer": "relu"}),
        "Direction": Case(_of(sf.Direction), {"layer": "relu", "vector": [1.0, 2.0]}),
        "Inversion": Case(_of(sf.Inversion), {"layer": "relu", "image": u}),
        "Caricature": Case(_of(sf.Caricature), {"layer": "relu", "image": u}),
        "Cosine": Case(_of(sf.Cosine), {"layer": "relu", "target": [1.0, 2.0]}),
        "Diversity": Case(_of(sf.Diversity), {"layer": "relu"}),
        "Reconstruction": Case(_of(sf.Reconstruction), {"layer": "relu"}),
        "objectives.Combination": Case(_combined, {"terms": ((1.0, of),)}),
        "objectives.maximize": Case(objectives.maximize, {"objective": of}),
        "objectives.minimize": Case(objectives.minimize, {"objective": of}),
        "objectives.natural_batch": Case(objectives.natural_batch, {"objective": of}),
        "objectives.holds_array": Case(objectives.holds_array, {"path": "a.npy"}),
        "objectives.read_vector": Case(objectives.read_vector, {"path": "a.npy"}),
        "objectives.read_weights": Case(objectives.read_weights, {"path": "a.npy", "size": (4, 5)}),
        "weight * objective": Case(_scaled, {"weight": 2.0}),
        "objective + objective": Case(_added, {"other": of}),
        "objective - objective": Case(_subtracted, {"other": of}),
        "visualize": _descended(sf.visualize, of),
        "invert": _descended(sf.invert, sf.Inversion("relu", u)),
        "Octave": Case(_octaves, {"scale": 1.0, "steps": 1}),
        "Fourier": Case(_in_coordinates(sf.Fourier)),
        "Phase": Case(_in_coordinates(sf.Phase)),
        "Device": Case(_device),
        "Device.of": Case(sf.Device.of, {"device": "cpu"}),
        "Device.provider_options": Case(sf.Device().provider_options),
        "Device.providers": Case(sf.Device().providers),
        "attribution.saliency": Case(attribution.saliency, on_image),
        "attribution.smooth_grad": Case(attribution.smooth_grad, {**on_image, "samples": 1}),
        "attribution.integrated_gradients": Case(attribution.integrated_gradients, {**on_image, "steps": 1}),
        "attribution.completeness_error": Case(
            attribution.completeness_error, {**on_image, "attribution": np.zeros(SIZE)}
        ),
        "attribution.grad_cam": Case(attribution.grad_cam, {**on_image, "layer": "relu"}),
        "attribution.default_layer": Case(attribution.default_layer, {"net": net, "objective": of}),
        "Result.save": Case(result.save, {"path": png}),
        "Result.report": Case(result.report, {"path": html}),
        "models.path": Case(models.path, {"name": "shapes-vgg"}),
        "models.draw": Case(models.draw, {"name": "spiral", "rng": np.random.default_rng(0), "size": 8}),
        "models.export.from_torchvision": Case(export.from_torchvision, {"name": "vgg11"}),
        "models.export.from_timm": Case(export.from_timm, {"name": "vgg11"}),
        "models.export.from_keras": Case(export.from_keras, {"name": "VGG16"}),
        "models.export.from_torch": Case(export.from_torch, {"network": None, "size": 8}),
        "models.export.probed": Case(export.probed, {"function": lambda x: x}),
        "models.zoo.download": Case(
            zoo.download, {"name": "none", "folder": folder, "home": "http://127.0.0.1:9/"}
        ),
        "experiments.run_demo": Case(experiments.run_demo, {"folder": folder, "network": "none"}),
        "experiments.find_layer": Case(experiments.find_layer, {"net": net, "name": "relu"}),
        "experiments.Folder": Case(experiments.Folder, {"path": folder / "out"}),
    }
