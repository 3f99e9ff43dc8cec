"""Every public function with arguments that it takes, each of which a test replaces by what it does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow import attribution, experiments, gradient, models, objectives, onnxgrad
from sobolevflow.models import export, zoo
from sobolevflow.pictures import write_image
from tests.support.gradient_cases import make_model
from tests.support.small_networks import (
    OF_DETECTOR,
    generator as small_generator,
    images,
    small_detector,
)

SIZE = (3, 4, 5)
"""Of the network's image."""


USERS_OWN = ("schedule", "callback", "filter", "function")
"""Arguments that are called: what a user's own function raises is the user's."""

HOW_LONG = ("steps", "directions", "samples", "rounds")
"""Arguments that say how long something takes, and nothing of how much memory."""


@dataclass(frozen=True)
class Case:
    """A function, what it is given, which arguments are not tried, and what Python may raise itself."""

    function: Callable[..., Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    left_alone: tuple[str, ...] = ()
    raises: tuple[type[Exception], ...] = ()

    @property
    def _taken(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments to try, with what they are otherwise."""
        named = {k: p for k, p in self._taken.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        return {k: self.given.get(k, p.default) for k, p in named.items() if k not in self.left_alone}

    def call(self, **other: Any) -> Any:
        """Call the function with some arguments replaced."""
        given = {**self.given, **other}
        alone = [k for k, p in self._taken.items() if p.kind is p.POSITIONAL_ONLY and k in given]
        return self.function(*[given.pop(k) for k in alone], **given)


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
def two_inputs() -> onnx.ModelProto:
    """Two images that are added."""
    nodes = [
        helper.make_node("Add", ["x", "other"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["gap"]),
        helper.make_node("Flatten", ["gap"], ["scores"]),
    ]
    inputs = {"x": (("N", *SIZE), TensorProto.FLOAT), "other": ((1, *SIZE), TensorProto.FLOAT)}
    return make_model(nodes, inputs, ["scores"], {}, opset=13)


@cache
def autoencoder() -> onnx.ModelProto:
    """An image made darker."""
    inputs = {"x": (("N", *SIZE), TensorProto.FLOAT)}
    half = {"half": np.array(0.5, np.float32)}
    return make_model([helper.make_node("Mul", ["x", "half"], ["y"])], inputs, ["y"], half, opset=13)


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


def _of(kind: Callable[..., Any], net: sf.Network | None = None, batch: int = 1) -> Callable[..., Any]:
    """A constructor of objectives, each of which is evaluated, shown and written down."""

    @wraps(kind)
    def made(**given: Any) -> Any:
        objective = kind(**given)
        str(objective), repr(objective)
        u = image() if net is None else images(1, size=net.input_shape)[0]
        found = sf.value_and_grad(net or tiny_network(), objective)(np.stack([u] * batch))
        return found, objective.to_dict()

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


def _rerun(manifest: Any = None, **given: Any) -> Any:
    given = {"model": tiny_model(), "any_model": True, "progress": False, **given}
    return sf.rerun(_result().manifest if manifest is None else manifest, **given)


_rerun.__signature__ = inspect.signature(sf.rerun)  # type: ignore[attr-defined]


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


def _fitted(inputs: Any) -> Any:
    """A network of two inputs, the second of which is given."""
    return sf.load(two_inputs(), inputs=inputs).features(image(), ["sum"])


def _given(value: Any) -> Any:
    return _fitted({"other": value})


def _picture(**given: Any) -> Any:
    """A picture as the second input of a network."""
    return _fitted({"other": sf.Image(**given)})


_picture.__signature__ = inspect.signature(sf.Image)  # type: ignore[attr-defined]


def _experiment(subjects: Any, work: Any) -> Any:
    return experiments.EXPERIMENTS["sweep"].run(subjects, [], work)


def _on_image(**more: Any) -> dict[str, Any]:
    return {"net": tiny_network(), "objective": sf.Class(0), "u": image(), **more}


@cache
def _photograph(folder: Path) -> Path:
    """A file of a picture."""
    return write_image(folder / "photo.png", image())


def _result() -> sf.Result:
    return sf.visualize(tiny_network(), sf.Class(0), steps=2, progress=False)


def _work(folder: Path) -> dict[str, Any]:
    return {"folder": experiments.Folder(folder / "out")}


CASES: dict[str, Callable[[Path], Case]] = {
    "load": lambda folder: Case(sf.load, {"source": tiny_model().SerializeToString()}),
    "Network": lambda folder: Case(sf.Network, {"model": tiny_model()}, ("weights",)),
    "receptive_field": lambda folder: Case(
        partial(sf.receptive_field, sf.load(tiny_model())), {"layer": "relu", "gates": True}
    ),
    "compose": lambda folder: Case(sf.compose, {"generator": small_generator(), "network": tiny_model()}),
    "export": lambda folder: Case(sf.export, {"module": object(), "example": (3, 4, 5)}),
    "Image": lambda folder: Case(_picture, {"picture": image()}),
    "inputs": lambda folder: Case(_fitted, {"inputs": {"other": image()[None]}}),
    "an input": lambda folder: Case(_given, {"value": image()[None]}),
    "Network.layer": lambda folder: Case(tiny_network().layer, {"name": "relu"}),
    "Network.layer_name": lambda folder: Case(tiny_network().layer_name, {"wanted": "#1"}),
    "Network.layer_names": lambda folder: Case(tiny_network().layer_names, {"wanted": "re*"}),
    "Network.check_layer": lambda folder: Case(tiny_network().check_layer, {"name": "relu"}),
    "Network.layer_shape": lambda folder: Case(tiny_network().layer_shape, {"name": "relu"}),
    "Network.channel_axis": lambda folder: Case(tiny_network().channel_axis, {"layer": "relu"}),
    "Network.check_differentiable": lambda folder: Case(
        tiny_network().check_differentiable, {"name": "relu"}
    ),
    "Network.classes_of": lambda folder: Case(tiny_network().classes_of, {"output": "scores"}),
    "Network.name_classes": lambda folder: Case(sf.load(tiny_model()).name_classes, {"labels": ["a", "b"]}),
    "Network.could_be_named": lambda folder: Case(tiny_network().could_be_named, {"labels": ["a", "b"]}),
    "Network.class_index": lambda folder: Case(tiny_network().class_index, {"which": 0}),
    "Network.output_index": lambda folder: Case(tiny_network().output_index, {"which": 0}),
    "Network.predict": lambda folder: Case(
        tiny_network().predict, {"photo": _photograph(folder), "top": 1, "range": (0, 255), "page": 0}
    ),
    "Network.predict of an array": lambda folder: Case(
        tiny_network().predict, {"photo": image()}, ("top", "range", "page")
    ),
    "Network.class_name": lambda folder: Case(tiny_network().class_name, {"index": 0}),
    "Network.features": lambda folder: Case(tiny_network().features, {"image": image(), "layers": ["relu"]}),
    "Network.scores": lambda folder: Case(tiny_network().scores, {"image": image()}),
    "Network.top": lambda folder: Case(tiny_network().top, {"image": image(), "k": 1}),
    "Network.check_image": lambda folder: Case(tiny_network().check_image, {"image": image()}, ("bounded",)),
    "Preprocess": lambda folder: Case(_preprocessed, {"mean": [0.5] * 3, "std": [0.2] * 3}),
    "Preprocess.named": lambda folder: Case(sf.Preprocess.named, {"name": "torch"}),
    "Preprocess.of": lambda folder: Case(sf.Preprocess.of, {"what": "torch"}),
    "Preprocess.matrix_and_bias": lambda folder: Case(sf.Preprocess().matrix_and_bias, {"channels": 3}),
    "Preprocess.range": lambda folder: Case(sf.Preprocess().range, {"channels": 3}),
    "value_and_grad": lambda folder: Case(_evaluated, {"net": tiny_network(), "objective": sf.Class(0)}),
    "GradientFunction.__call__": lambda folder: Case(
        sf.value_and_grad(tiny_network(), sf.Class(0)), {"u": image()}
    ),
    "gradient_model": lambda folder: Case(
        sf.gradient_model, {"net": tiny_network(), "objective": sf.Class(0)}
    ),
    "check_gradient": lambda folder: Case(
        sf.check_gradient, {"net": tiny_network(), "objective": sf.Class(0)}
    ),
    "Engine": lambda folder: Case(gradient.Engine, {"net": tiny_network(), "objective": sf.Class(0)}),
    "Engine.__call__": lambda folder: Case(
        gradient.Engine(tiny_network(), sf.Class(0)).__call__, {"u": image()[None]}
    ),
    "Class": lambda folder: Case(_of(sf.Class), {"which": 0}),
    "Channel": lambda folder: Case(_of(sf.Channel), {"layer": "relu", "channel": 1}),
    "Neuron": lambda folder: Case(_of(sf.Neuron), {"layer": "relu", "channel": 1, "y": 0, "x": 0}),
    "Layer": lambda folder: Case(_of(sf.Layer), {"layer": "relu"}),
    "Direction": lambda folder: Case(_of(sf.Direction), {"layer": "relu", "vector": [1.0, 2.0]}),
    "Inversion": lambda folder: Case(_of(sf.Inversion), {"layer": "relu", "image": image()}),
    "Caricature": lambda folder: Case(_of(sf.Caricature), {"layer": "relu", "image": image()}),
    "Cosine": lambda folder: Case(_of(sf.Cosine), {"layer": "relu", "target": [1.0, 2.0]}),
    "Region": lambda folder: Case(_of(sf.Region), {"layer": "relu", "channel": 1, "box": (0, 0, 1, 1)}),
    "Detection": lambda folder: Case(_of(sf.Detection, small_detector()), {"which": 0, "anchor": 3}),
    "Detection.describe": lambda folder: Case(sf.Detection(0).describe, {"net": small_detector()}),
    "a detection at a box": lambda folder: Case(
        _of(sf.Detection, small_detector()),
        {"which": 0, "box": (0, 0, 1, 1), "image": images(1, size=OF_DETECTOR)[0]},
    ),
    "Diversity": lambda folder: Case(_of(sf.Diversity, batch=2), {"layer": "relu"}),
    "Reconstruction": lambda folder: Case(_of(sf.Reconstruction, sf.load(autoencoder())), {"layer": "y"}),
    "objectives.Combination": lambda folder: Case(_combined, {"terms": ((1.0, sf.Class(0)),)}),
    "objectives.maximize": lambda folder: Case(objectives.maximize, {"objective": sf.Class(0)}),
    "objectives.minimize": lambda folder: Case(objectives.minimize, {"objective": sf.Class(0)}),
    "objectives.natural_batch": lambda folder: Case(objectives.natural_batch, {"objective": sf.Class(0)}),
    "weight * objective": lambda folder: Case(_scaled, {"weight": 2.0}, (), (TypeError, AttributeError)),
    "objective + objective": lambda folder: Case(
        _added, {"other": sf.Class(0)}, (), (TypeError, AttributeError)
    ),
    "objective - objective": lambda folder: Case(
        _subtracted, {"other": sf.Class(0)}, (), (TypeError, AttributeError)
    ),
    "visualize": lambda folder: _descended(sf.visualize, sf.Class(0)),
    "invert": lambda folder: _descended(sf.invert, sf.Inversion("relu", image())),
    "Octave": lambda folder: Case(_octaves, {"scale": 1.0, "steps": 1}),
    "Fourier": lambda folder: Case(_in_coordinates(sf.Fourier)),
    "Phase": lambda folder: Case(_in_coordinates(sf.Phase)),
    "Device": lambda folder: Case(_device),
    "Device.of": lambda folder: Case(sf.Device.of, {"device": "cpu"}),
    "Device.provider_options": lambda folder: Case(sf.Device().provider_options),
    "Device.providers": lambda folder: Case(sf.Device().providers),
    "attribution.saliency": lambda folder: Case(attribution.saliency, _on_image()),
    "attribution.smooth_grad": lambda folder: Case(attribution.smooth_grad, {**_on_image(), "samples": 1}),
    "attribution.integrated_gradients": lambda folder: Case(
        attribution.integrated_gradients, {**_on_image(), "steps": 1}
    ),
    "attribution.completeness_error": lambda folder: Case(
        attribution.completeness_error, {**_on_image(), "attribution": np.zeros(SIZE)}
    ),
    "attribution.grad_cam": lambda folder: Case(attribution.grad_cam, {**_on_image(), "layer": "relu"}),
    "attribution.default_layer": lambda folder: Case(
        attribution.default_layer, {"net": tiny_network(), "objective": sf.Class(0)}
    ),
    "Result.compare": lambda folder: Case(_result().compare, {"manifest": _result().manifest}),
    "Result.levels": lambda folder: Case(_result().levels),
    "rerun": lambda folder: Case(_rerun),
    "Limits": lambda folder: Case(sf.Limits),
    "Result.save": lambda folder: Case(_result().save, {"path": folder / "picture.png"}),
    "Result.report": lambda folder: Case(_result().report, {"path": folder / "page.html"}),
    "models.path": lambda folder: Case(models.path, {"name": "shapes-vgg"}),
    "models.draw": lambda folder: Case(
        models.draw, {"name": "spiral", "rng": np.random.default_rng(0), "size": 8}
    ),
    "models.export.from_torchvision": lambda folder: Case(export.from_torchvision, {"name": "vgg11"}),
    "models.export.from_timm": lambda folder: Case(export.from_timm, {"name": "vgg11"}),
    "models.export.from_keras": lambda folder: Case(export.from_keras, {"name": "VGG16"}),
    "models.export.from_torch": lambda folder: Case(export.from_torch, {"network": None, "size": 8}),
    "models.export.probed": lambda folder: Case(export.probed, {"function": lambda x: x}),
    "models.zoo.download": lambda folder: Case(
        zoo.download, {"name": "none", "folder": folder, "home": "http://127.0.0.1:9/"}
    ),
    "experiments.run_demo": lambda folder: Case(experiments.run_demo, {"folder": folder, "network": "none"}),
    "experiments.find_layer": lambda folder: Case(
        experiments.find_layer, {"net": tiny_network(), "name": "relu"}
    ),
    "onnxgrad.read_model": lambda folder: Case(onnxgrad.read_model, {"source": tiny_model()}),
    "onnxgrad.read_detached": lambda folder: Case(onnxgrad.read_detached, {"source": tiny_model()}),
    "onnxgrad.register": lambda folder: Case(onnxgrad.register, {"op": "Mine"}),
    "experiments.Subject": lambda folder: Case(
        experiments.Subject, {"net": tiny_network(), "layers": ["relu"]}
    ),
    "experiments.Work": lambda folder: Case(experiments.Work, _work(folder)),
    "experiments.EXPERIMENTS": lambda folder: Case(
        _experiment, {"subjects": [], "work": experiments.Work(experiments.Folder(folder / "out"))}
    ),
    "experiments.benchmark_filters": lambda folder: Case(
        experiments.benchmark_filters, {"shapes": [(4, 5)], "rounds": 1}
    ),
    "experiments.benchmark_tv": lambda folder: Case(
        experiments.benchmark_tv, {"shapes": [(4, 5)], "rounds": 1}
    ),
    "experiments.benchmark_gradient": lambda folder: Case(
        experiments.benchmark_gradient, {"model": "builtin:shapes-vgg", "rounds": 1}
    ),
    "experiments.Folder": lambda folder: Case(experiments.Folder, {"path": folder / "out"}),
}
