"""Files in training mode: refused in plain words where the gradient would pass, taken elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

import sobolevflow as sf
from sobolevflow.errors import ModelError, UnsupportedOpError
from sobolevflow.onnxgrad.training import training_nodes
from tests.support.gradient_cases import close, make_model, node

EVAL = r"export the network in eval mode \(model\.eval\(\), training=TrainingMode\.EVAL\)"
BEFORE = r"e\.g\. sf\.Channel\('c', 0\).*\(the last layers with a gradient: 'c'\)"  # no other has one
SHAPE = (3, 6, 6)


def model_of(last: onnx.NodeProto, opset: int, **constants: Any) -> onnx.ModelProto:
    """A convolution, then the node, then a rectifier."""
    rng = np.random.default_rng(0)
    known = {"W": rng.standard_normal((4, 3, 3, 3)).astype(np.float32)}
    known |= {name: (0.5 + rng.random(4)).astype(np.float32) for name in ("scale", "bias", "mean", "var")}
    read = {*last.input, "W"}
    return make_model(
        [node("Conv", "x W", "c"), last, node("Relu", "y", "z")],
        {"x": (("N", *SHAPE), TensorProto.FLOAT)},
        ["z"],
        {name: v for name, v in {**known, **constants}.items() if name in read},
        opset=opset,
    )


def normalization(opset: int, outputs: str, **attrs: Any) -> onnx.ModelProto:
    return model_of(node("BatchNormalization", "c scale bias mean var", outputs, **attrs), opset)


def dropout(ratio: float, training: bool) -> onnx.ModelProto:
    flags = {"ratio": np.float32(ratio), "training": np.array(training)}
    return model_of(node("Dropout", "c ratio training", "y"), 13, **flags)


TRAINING = {
    "opset 15": normalization(15, "y new_mean new_var", training_mode=1),
    "opset 14": normalization(14, "y new_mean new_var", training_mode=1),
    "opset 13": normalization(13, "y new_mean new_var saved_mean saved_var"),
    "opset 9": normalization(9, "y new_mean new_var saved_mean saved_var"),
    "opset 7": normalization(7, "y new_mean new_var saved_mean saved_var"),
    "dropout": dropout(0.5, True),
}
EVALUATION = {
    "opset 15": normalization(15, "y", training_mode=0),
    "opset 9": normalization(9, "y"),
    "dropout": dropout(0.5, False),
}


@pytest.mark.parametrize("name", TRAINING)
def test_no_gradient_passes_and_the_remedy_is_named(name: str) -> None:
    net = sf.load(TRAINING[name], preprocess="none")
    with pytest.raises(
        UnsupportedOpError, match=rf"\(node 'y'\): it is in training mode: .*{EVAL}\. .*{BEFORE}"
    ):
        sf.value_and_grad(net, sf.Layer("z"))(np.zeros((1, *SHAPE), np.float32))
    assert sf.check_gradient(net, sf.Layer("c")) < 1e-4  # in front of it


@pytest.mark.parametrize("name", [name for name in TRAINING if "opset" in name])
def test_its_values_are_those_of_onnxruntime(name: str) -> None:
    """Batch statistics of one image, which the conversion of an old file keeps."""
    u = np.random.default_rng(1).random((1, *SHAPE), dtype=np.float32)
    own = onnxruntime.InferenceSession(TRAINING[name].SerializeToString(), providers=["CPUExecutionProvider"])
    (z,) = sf.load(TRAINING[name], preprocess="none").features(u, ["z"])
    close(z, own.run(["z"], {"x": u})[0], 1e-6)


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_mode_has_its_gradient(name: str) -> None:
    assert not list(training_nodes(EVALUATION[name]))
    assert sf.check_gradient(sf.load(EVALUATION[name], preprocess="none"), sf.Layer("z")) < 1e-4


def test_a_dropout_of_nothing_is_none() -> None:
    """With a ratio of 0 nothing is random, in training mode too."""
    assert sf.check_gradient(sf.load(dropout(0.0, True), preprocess="none"), sf.Layer("z")) < 1e-4


def test_a_file_that_onnxruntime_does_not_run_for_it_is_told_so() -> None:
    net = sf.load(normalization(15, "y", training_mode=1), preprocess="none")
    with pytest.raises(ModelError, match=rf"BatchNormalization node 'y' is in training mode; {EVAL}"):
        sf.value_and_grad(net, sf.Layer("z"))(np.zeros((1, *SHAPE), np.float32))


def test_a_flag_in_a_constant_node_counts() -> None:
    model = dropout(0.5, True)
    flag = next(t for t in model.graph.initializer if t.name == "training")
    model.graph.initializer.remove(flag)
    model.graph.node.insert(0, node("Constant", "", "training", value=flag))
    assert [n.op_type for n in training_nodes(model)] == ["Dropout"]
