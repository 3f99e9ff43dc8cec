"""Show what a convolutional network has learned, from its ONNX file alone.

The names below are loaded on first use, so that ``import sobolevflow`` stays cheap: numba,
onnx and onnxruntime are imported by the first call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module of sobolevflow that defines it
_HOME = {
    "SobolevflowError": "errors",
    "load": "network",
    "Network": "network",
    "LayerInfo": "layers",
    "Preprocess": "preprocess",
    "Class": "objectives",
    "Channel": "objectives",
    "Neuron": "objectives",
    "Direction": "objectives",
    "Layer": "objectives",
    "Fourier": "parametrization",
    "Phase": "parametrization",
    "Inversion": "objectives",
    "compose": "composition",
    "Device": "devices",
    "Diversity": "diversity",
    "Caricature": "caricature",
    "value_and_grad": "engine",
    "gradient_model": "engine",
    "check_gradient": "engine",
    "fluid": "schemes",
    "elastic": "schemes",
    "fluid_elastic": "schemes",
    "gradient_descent": "schemes",
    "proximal_tv": "schemes",
    "Bilateral": "bilateral",
    "NaturalColour": "colour",
    "Multiscale": "multiscale",
    "PeronaMalik": "diffusion",
    "visualize": "descent",
    "invert": "descent",
    "Octave": "settings",
    "Result": "result",
    "read_image": "images",
}
_MODULES = (
    *(
        "attribution",
        "errors",
        "filters",
        "metrics",
        "total_variation",
        "onnxgrad",
        "objectives",
        "proximal",
        "schemes",
        "optimizers",
    ),
    *("transforms", "models", "kernels"),
)

# spelled out, because type checkers read no other form
__all__ = [
    "Bilateral",
    "Caricature",
    "Channel",
    "Class",
    "Device",
    "Direction",
    "Diversity",
    "Fourier",
    "Inversion",
    "Layer",
    "LayerInfo",
    "Multiscale",
    "NaturalColour",
    "Network",
    "Neuron",
    "Octave",
    "PeronaMalik",
    "Phase",
    "Preprocess",
    "Result",
    "SobolevflowError",
    "__version__",
    "attribution",
    "check_gradient",
    "compose",
    "elastic",
    "errors",
    "filters",
    "fluid",
    "fluid_elastic",
    "gradient_descent",
    "gradient_model",
    "invert",
    "kernels",
    "load",
    "metrics",
    "models",
    "objectives",
    "onnxgrad",
    "optimizers",
    "proximal",
    "proximal_tv",
    "read_image",
    "schemes",
    "total_variation",
    "transforms",
    "value_and_grad",
    "visualize",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from . import (
        attribution,
        errors,
        filters,
        kernels,
        metrics,
        models,
        objectives,
        onnxgrad,
        optimizers,
        proximal,
        schemes,
        total_variation,
        transforms,
    )
    from .bilateral import Bilateral
    from .caricature import Caricature
    from .colour import NaturalColour
    from .composition import compose
    from .descent import invert, visualize
    from .devices import Device
    from .diffusion import PeronaMalik
    from .diversity import Diversity
    from .engine import check_gradient, gradient_model, value_and_grad
    from .errors import SobolevflowError
    from .images import read_image
    from .layers import LayerInfo
    from .multiscale import Multiscale
    from .network import Network, load
    from .objectives import Channel, Class, Direction, Inversion, Layer, Neuron
    from .parametrization import Fourier, Phase
    from .preprocess import Preprocess
    from .result import Result
    from .schemes import elastic, fluid, fluid_elastic, gradient_descent, proximal_tv
    from .settings import Octave
