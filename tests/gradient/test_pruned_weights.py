"""Networks of several heads: a layer is asked for without the weights of the others, wherever they lie.

Inference leaves a type open in each, so that onnxruntime is asked for it, with the weights that are left.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from tests.support.gradient_cases import close, make_model, node

SIZE = 8
Nodes = list[onnx.NodeProto]
Known = dict[str, np.ndarray]


def drawn(seed: int, *shape: int) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def upsampled() -> tuple[Nodes, Known, int]:
    """Upsample by scales that are computed from shapes, as PyTorch 1.x writes it."""
    nodes = [
        node("Shape", "c", "shape"),
        node("Slice", "shape", "hw", axes=[0], starts=[2], ends=[4]),
        node("Cast", "hw", "hw_float", to=TensorProto.FLOAT),
        node("Div", "size hw_float", "ratio"),
        node("Concat", "ones ratio", "scales", axis=0),
        node("Upsample", "c scales", "u", mode="nearest"),
    ]
    return nodes, {"ones": np.ones(2, np.float32), "size": np.full(2, 2 * SIZE, np.float32)}, 9


def branched() -> tuple[Nodes, Known, int]:
    """An If whose branches differ in rank, the large weight of one being the file's, of the other its own."""
    inner = [numpy_helper.from_array(drawn(5, 8, 8, 8, 8), "inner")]
    flat = helper.make_graph([node("Flatten", "c", "a")], "flat", [], [onnx.ValueInfoProto(name="a")], inner)
    taken = [node("Conv", "c outer", "b", pads=[1, 1, 1, 1])]
    conv = helper.make_graph(taken, "conv", [], [onnx.ValueInfoProto(name="b")])
    nodes = [
        node("Shape", "c", "shape"),
        node("Gather", "shape one", "channels"),
        node("Equal", "channels eight", "is_eight"),
        node("If", "is_eight", "u", then_branch=conv, else_branch=flat),
    ]
    return nodes, {"one": np.array(1), "eight": np.array(8), "outer": drawn(6, 8, 8, 3, 3)}, 13


def foreign() -> tuple[Nodes, Known, int]:
    """An operator of onnxruntime's own, of which onnx infers nothing."""
    return [node("QuickGelu", "c", "u", domain="com.microsoft")], {}, 17


def expanded() -> tuple[Nodes, Known, int]:
    """A class token expanded by the batch, and a matrix behind it, as TorchScript writes a transformer."""
    nodes = [
        node("Shape", "c", "shape"),
        node("Gather", "shape zero", "batch"),
        node("Concat", "batch minus_one minus_one minus_one", "wanted", axis=0),
        node("Shape", "wanted", "rank"),
        node("ConstantOfShape", "rank", "ones", value=numpy_helper.from_array(np.ones(1, np.int64))),
        node("Mul", "ones minus_one", "open"),
        node("Equal", "wanted open", "is_open"),
        node("Where", "is_open ones wanted", "sizes"),
        node("Expand", "token sizes", "tokens"),
        node("Concat", "c tokens", "joined", axis=3),
        node("MatMul", "joined onnx::MatMul_37", "u"),
    ]
    known = {"zero": np.array([0]), "minus_one": np.array([-1])}
    known |= {"token": drawn(7, 1, 8, SIZE, 1), "onnx::MatMul_37": drawn(8, SIZE + 1, 40)}
    return nodes, known, 13


KINDS: dict[str, Callable[[], tuple[Nodes, Known, int]]] = {
    "Upsample": upsampled,
    "If": branched,
    "com.microsoft": foreign,
    "MatMul": expanded,
}


def two_heads(kind: str, width: int) -> onnx.ModelProto:
    """x -> c -> what leaves a type open -> u -> the heads y0, y1, beside a weight that nothing reads."""
    nodes, known, opset = KINDS[kind]()
    heads = [node("Conv", f"u H{k}", f"y{k}", pads=[1, 1, 1, 1]) for k in range(2)]
    constants = {"W": drawn(1, 8, 3, 3, 3), "nobody": drawn(2, width, 8, 3, 3)}
    constants |= {f"H{k}": drawn(3 + k, width, 8, 3, 3) for k in range(2)}
    model = make_model(
        [node("Conv", "x W", "c", pads=[1, 1, 1, 1]), *nodes, *heads],
        {"x": ((1, 3, SIZE, SIZE), TensorProto.FLOAT)},
        ["y0", "y1"],
        {**constants, **known},
        opset=opset,
    )
    if kind == "com.microsoft":
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


LAYERS = ("c", "u", "y0", "y1")
WIDTHS = pytest.mark.parametrize("width", [16, 2], ids=["large", "small"])  # more and less than a kilobyte


def check_all(net: sf.Network) -> None:
    assert set(LAYERS) <= {info.name for info in net.layers if info.differentiable and info.shape}
    for layer in LAYERS:
        assert sf.check_gradient(net, sf.Layer(layer)) < 1e-4
        assert sf.check_gradient(net, sf.Layer(layer), precision="double") < 1e-6


@WIDTHS
@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_can_be_asked_for(kind: str, width: int) -> None:
    check_all(sf.load(two_heads(kind, width), preprocess="none"))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_files_beside_the_model(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "heads.onnx"
    onnx.save_model(
        two_heads(kind, 16), path, save_as_external_data=True, location="heads.data", size_threshold=0
    )
    check_all(sf.load(path, preprocess="none"))


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_onnxruntime(kind: str) -> None:
    model = two_heads(kind, 16)
    u = np.random.default_rng(9).random((1, 3, SIZE, SIZE), dtype=np.float32)
    plain = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, expected in zip(("y0", "y1"), plain.run(["y0", "y1"], {"x": u}), strict=True):
        (found,) = sf.load(model, preprocess="none").features(u, [name])
        close(found, expected, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_models_hold_what_they_need_and_no_more(kind: str, tmp_path: Path) -> None:
    net = sf.load(two_heads(kind, 16), preprocess="none")
    model = sf.gradient_model(net, sf.Layer("y1"), path=tmp_path / "gradient.onnx")
    names = {t.name for t in model.graph.initializer}
    assert "H1" in names
    assert names.isdisjoint({"H0", "nobody"})
    u = np.random.default_rng(10).random((1, 3, SIZE, SIZE), dtype=np.float32)
    own = ort.InferenceSession(tmp_path / "gradient.onnx", providers=["CPUExecutionProvider"])
    value, gradient = own.run(["value", "gradient"], {"image": u})
    expected = sf.value_and_grad(net, sf.Layer("y1"))(u)
    close(value, expected[0], 1e-6)
    close(gradient, expected[1], 1e-6)
