"""What the tests of pages share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from sobolevflow.onnxgrad import RULES
from tests.support.gradient_cases import make_model, node
from tests.support.small_networks import DETECTED, detector

CLASSES = 1000
NAMED = {2: "spiral", 121: "king crab, Alaska crab", 281: "tabby, tabby cat"}
# the name of each network that a page reads, and of the layers that it asks for
NETWORKS = {"model": "features.12", "a": "features.12", "b": "conv5", "squeezenet1_1": "features.12"}


@pytest.fixture
def text(request: pytest.FixtureRequest) -> str:
    """The page that a file of tests is about, its `PAGE`."""
    page: Path = request.module.PAGE
    return page.read_text(encoding="utf-8")


def network(layer: str) -> onnx.ModelProto:
    """A classifier of ImageNet's classes that takes a moment, with a layer of that name."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "w2": (12, 8, 3, 3), "w3": (12, CLASSES)}
    constants = {name: 0.3 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        node("Conv", "x w1", "stem", strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", "stem", "relu"),
        node("Conv", "relu w2", layer, pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", layer, "pooled"),
        node("Flatten", "pooled", "flat"),
        node("MatMul", "flat w3", "scores"),
    ]
    inputs = {"x": (("N", 3, 32, 32), onnx.TensorProto.FLOAT)}
    return make_model(nodes, inputs, ["scores"], constants, opset=17)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the networks, labels and photographs that the pages name; the current one."""
    for name, layer in NETWORKS.items():
        onnx.save(network(layer), tmp_path / f"{name}.onnx")
    for name, kind in (("detector", "yolov5"), ("segmentation", "dense")):
        onnx.save(detector(kind), tmp_path / f"{name}.onnx")
    (tmp_path / "objects.txt").write_text("\n".join(DETECTED), encoding="utf-8")
    labels = "\n".join(NAMED.get(k, f"class {k}") for k in range(CLASSES))
    for name in ("classes.txt", "imagenet_classes.txt"):
        (tmp_path / name).write_text(labels, encoding="utf-8")
    for seed, name in enumerate(("photo.jpg", "other.jpg")):
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 120)).save(tmp_path / name)
    np.save(tmp_path / "bands.npy", np.linspace(0, 1, 6 * 8 * 10, dtype=np.float32).reshape(6, 8, 10))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(RULES, "entries", dict(RULES.entries))  # a page enters a rule of its own
    return tmp_path
