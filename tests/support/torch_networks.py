"""Networks of torchvision with random weights, and their ONNX exports: oracles of tests and benches.

Nothing is downloaded. Weights come from a seed; batch normalization gets statistics that fit them,
and whatever an initialisation leaves constant (heads of zeros, layer scales) is perturbed, so that
every parameter takes part in the gradient.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

# Options that make a constructor build the plain classifier, with no auxiliary heads.
_PLAIN = {"aux_logits": False, "init_weights": False}
# (options of the constructor, smallest useful image size) by torchvision's name
ARCHITECTURES: dict[str, tuple[dict[str, Any], int]] = {
    # the adaptive pool of VGG has no TorchScript export at sizes that 7 does not divide
    "vgg19": ({"init_weights": False}, 224),
    "vgg19_bn": ({"init_weights": False}, 224),
    "resnet50": ({}, 64),
    "densenet121": ({}, 64),
    "squeezenet1_1": ({}, 64),
    "googlenet": (_PLAIN, 64),
    "inception_v3": ({**_PLAIN, "transform_input": False}, 96),
    "mobilenet_v2": ({}, 64),
    "mobilenet_v3_large": ({}, 64),
    "shufflenet_v2_x1_0": ({}, 64),
    "efficientnet_b0": ({}, 64),
    "regnet_y_400mf": ({}, 64),
    "convnext_tiny": ({}, 64),
    "vit_b_16": ({"image_size": 64}, 64),
    "swin_t": ({}, 64),
}
EXPORTERS = ("dynamo", "torchscript")
_OPSET = {"dynamo": 18, "torchscript": 17}  # what each exporter writes by default or knows at most


def torchvision_models() -> Any:
    """The module torchvision.models, without torchvision's compiled operators.

    They are built for one build of torch only, and no classifier needs them. Declaring
    those that the package registers shapes for lets the import pass.
    """
    Library: Any = torch.library.Library
    if not hasattr(torch.ops.torchvision, "nms"):
        library: Any = Library("torchvision", "DEF")
        for op in ("nms", "qnms"):
            library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)  # what it declares lives as long as it does
    from torchvision import models

    return models


_libraries: list[Any] = []


def build(name: str, seed: int = 0, **options: Any) -> Any:
    """The network, a torch.nn.Module in evaluation mode, its weights frozen."""
    torch.manual_seed(seed)
    given, size = ARCHITECTURES[name]
    with quiet():
        network = getattr(torchvision_models(), name)(weights=None, **{**given, **options})
    for module in network.modules():
        if hasattr(module, "eps"):
            module.eps = float(np.float32(module.eps))  # as an ONNX file holds it
    _perturb_constants(network)
    _calibrate(network, options.get("image_size", size))
    return network.eval().requires_grad_(False)


def _perturb_constants(network: Any) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            first = float(parameter.flatten()[0])
            if parameter.numel() > 1 and bool((parameter == first).all()):
                if 0 < first < 0.1:  # a layer scale of 1e-6 would hide its branch
                    parameter.fill_(0.3)
                parameter.add_(0.1 * torch.randn_like(parameter))


def _calibrate(network: Any, size: int) -> None:
    """Give batch normalization the statistics of a batch of noise, and change them a little."""
    norms: list[Any] = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if not norms:
        return
    network.eval()  # but for the normalization: dropout and stochastic depth would spoil what it sees
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(4, 3, size, size))
        for norm in norms:
            # by a part of what the channel varies: more would carry it far from where the next layers bend
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= 0.8 + 0.4 * torch.rand_like(norm.running_var)
            # a channel that hardly varies over so few samples would blow up all rounding behind it
            norm.running_var.clamp_(min=0.2 * float(norm.running_var.mean()))


def export(network: Any, size: int, exporter: str = "torchscript", *, exact: bool = False) -> onnx.ModelProto:
    """The ONNX model that torch writes of the network.

    Both exporters fold batch normalization into convolutions, in the precision of the network. With
    `exact` nothing is rounded: one exporter is given a double network, the other told not to fold.
    """
    dynamo = exporter == "dynamo"
    dtype = torch.float64 if exact and dynamo else torch.float32
    image = torch.rand(1, 3, size, size, dtype=dtype)
    options: dict[str, Any] = {"dynamo": dynamo, "opset_version": _OPSET[exporter], "verbose": False}
    if exact and not dynamo and any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()):
        options |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    write: Any = torch.onnx.export
    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        write(network.to(dtype), (image,), str(path), **options)
        network.float()
        return onnx.load(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress and advice, and without a fused attention that one of the exporters does not know."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(False)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
