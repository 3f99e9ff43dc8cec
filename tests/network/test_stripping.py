"""What follows the softmax or sigmoid at the end of a network: left out of class scores, or noted."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import sobolevflow as sf
from sobolevflow.network import load
from tests.support.gradient_cases import close, make_model, node
from tests.support.small_networks import SIZE, images, weights

NUMBERS = {
    "eps": 1e-6,
    "nothing": 0.0,
    "half": 0.5,
    "step": 1 / 255,
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "minus1": -1.0,
    "minus": -3.0,
}


def classifier(*tail: onnx.NodeProto, outputs: tuple[str, ...] = ("y",), opset: int = 18) -> onnx.ModelProto:
    """Behind "logits", (N, 6), come these nodes."""
    nodes = [
        node("Conv", "x w1 b1", "conv", pads=[1, 1, 1, 1]),
        node("LeakyRelu", "conv", "relu"),
        node("ReduceMean", "relu axes", "pooled", keepdims=0),
        node("MatMul", "pooled head", "logits"),
        *tail,
    ]
    own = {k: v for k, v in weights().items() if k in ("w1", "b1")}
    head = np.random.default_rng(5).standard_normal((4, 6)).astype(np.float32)
    numbers = {k: np.array(v, np.float32) for k, v in NUMBERS.items()}
    more: dict[str, Any] = {
        "axes": np.array([2, 3]),
        "head": head,
        "classes": np.array([1]),
        "six": np.array([-1, 6]),
        "last": np.array([[0.5, 1, 1, 1, 1, 1]], np.float32),
        "start": np.array([1]),
        "stop": np.array([6]),
        "bounds": np.array([1e-7, 1.0], np.float32),
    }
    return make_model(
        nodes, {"x": (("N", *SIZE), TensorProto.FLOAT)}, outputs, own | numbers | more, opset=opset
    )


SOFTMAX = node("Softmax", "logits", "p", axis=1)
SIGMOID = node("Sigmoid", "logits", "p")
EXP = node("Exp", "logits", "e")
FALLING = node("Neg", "logits", "n")

STRIPPED = {
    "log of a softmax": [SOFTMAX, node("Log", "p", "y")],
    "log of a softmax with something against zero": [
        SOFTMAX,
        node("Add", "p eps", "q"),
        node("Log", "q", "y"),
    ],
    "a log-softmax": [node("LogSoftmax", "logits", "y", axis=1)],
    "a softmax in percent": [SOFTMAX, node("Mul", "p three", "y")],
    "a softmax over a number": [SOFTMAX, node("Div", "p two", "y")],
    "a clipped softmax": [SOFTMAX, node("Clip", "p eps one", "y")],
    "a softmax of at least something": [SOFTMAX, node("Max", "p eps", "y")],
    "a power of a softmax": [SOFTMAX, node("Pow", "p two", "y")],
    "a reshaped log of a softmax": [SOFTMAX, node("Reshape", "p six", "q"), node("Log", "q", "y")],
    "a softmax that is quantised": [
        SOFTMAX,
        node("QuantizeLinear", "p step", "q"),
        node("DequantizeLinear", "q step", "y"),
    ],
    "log-odds": [SIGMOID, node("Sub", "p half", "q"), node("Mul", "q two", "y")],
    "one minus one minus a sigmoid": [SIGMOID, node("Sub", "one p", "q"), node("Sub", "one q", "y")],
    "minus a negative multiple": [SIGMOID, node("Mul", "p minus", "q"), node("Neg", "q", "y")],
    "two softmaxes": [SOFTMAX, node("Softmax", "p", "y", axis=1)],
    "exp of a log-softmax": [node("LogSoftmax", "logits", "q", axis=1), node("Exp", "q", "y")],
    "a sigmoid written out": [
        FALLING,
        node("Exp", "n", "e"),
        node("Add", "e one", "d"),
        node("Div", "one d", "y"),
    ],
    "a sigmoid by a reciprocal": [
        *(node("Mul", "logits minus1", "n"), node("Exp", "n", "e"), node("Add", "one e", "d")),
        node("Reciprocal", "d", "y"),
    ],
    "a sigmoid by a power": [
        *(node("Sub", "nothing logits", "n"), node("Exp", "n", "e"), node("Add", "one e", "d")),
        node("Pow", "d minus1", "y"),
    ],
    "a sigmoid that grows": [EXP, node("Add", "e one", "d"), node("Div", "e d", "y")],
    "a softmax written out": [EXP, node("ReduceSum", "e classes", "s"), node("Div", "e s", "y")],
    "a softmax that is shifted": [
        *(node("ReduceMax", "logits classes", "m"), node("Sub", "logits m", "z"), node("Exp", "z", "e")),
        *(node("ReduceSum", "e classes", "s"), node("Div", "e s", "q"), node("Log", "q", "y")),
    ],
    "a log-softmax written out": [
        *(EXP, node("ReduceSum", "e classes", "s"), node("Log", "s", "l"), node("Sub", "logits l", "y")),
    ],
    "a log-softmax by its own sum": [
        node("ReduceLogSumExp", "logits classes", "l"),
        node("Sub", "logits l", "y"),
    ],
}


@pytest.mark.parametrize("tail", STRIPPED)
def test_class_scores_come_before_what_keeps_the_order_of_classes(tail: str) -> None:
    net, u = load(classifier(*STRIPPED[tail]), preprocess="none"), images(3)
    assert net.score_layer == "logits"
    scores, logits, y = net.scores(u), *net.features(u, ["logits", "y"])
    close(scores, logits, 1e-6)
    assert (np.diff(np.take_along_axis(y.reshape(3, 6), np.argsort(scores), 1)) >= 0).all()
    assert (np.ptp(y.reshape(3, 6), axis=1) > 0).all()
    (note,) = (note for note in net.notes() if "left out" in note)
    assert "class scores are those of 'logits'" in note
    assert str(net.stripped) in note
    assert sf.Class(2).notes(net) == []


def test_what_is_left_out_is_named_in_its_order() -> None:
    net = load(classifier(*STRIPPED["log of a softmax with something against zero"]), preprocess="none")
    assert net.stripped == "Softmax, Add and Log"
    assert "the trailing Softmax, Add and Log are left out" in net.notes()[-1]


def test_a_sigmoid_by_a_tanh_comes_behind_the_argument_of_that() -> None:
    tail = [
        *(node("Mul", "logits half", "z"), node("Tanh", "z", "t")),
        *(node("Add", "t one", "q"), node("Mul", "q half", "y")),
    ]
    net, u = load(classifier(*tail), preprocess="none"), images()
    assert (net.score_layer, net.stripped) == ("z", "Sigmoid")
    close(net.scores(u), net.features(u, ["logits"])[0] / 2, 1e-6)


LEFT = {
    "no probability": [node("Mul", "logits two", "y")],
    "a logarithm of something else": [EXP, node("Log", "e", "y")],
    "a tanh": [node("Tanh", "logits", "t"), node("Mul", "t half", "y")],
    "a sigmoid as a gate": [SIGMOID, node("Mul", "p logits", "y")],
    "a softmax in steps of each class": [
        *(SOFTMAX, node("QuantizeLinear", "p steps", "q", axis=1)),
        node("DequantizeLinear", "q steps", "y", axis=1),
    ],
    "a prior of the classes": [node("Mul", "logits last", "y")],
}


@pytest.mark.parametrize("tail", LEFT)
def test_what_is_no_probability_stays(tail: str) -> None:
    net = load(classifier(*LEFT[tail]), preprocess="none")
    assert (net.score_layer, net.stripped) == ("y", None)
    assert sf.Class(2).notes(net) == []


NOTED = {
    "one minus a sigmoid": ([SIGMOID, node("Sub", "one p", "y")], "sf.Channel('logits', 2)"),
    "minus the log of a softmax": (
        [SOFTMAX, node("Log", "p", "q"), node("Neg", "q", "y")],
        "sf.Channel('logits', 2)",
    ),
    "a negative multiple": ([SIGMOID, node("Mul", "p minus", "y")], "sf.Channel('logits', 2)"),
    "a falling sigmoid written out": (
        [EXP, node("Add", "e one", "d"), node("Div", "one d", "y")],
        "sf.Channel('logits', 2)",
    ),
    "another factor for each class": ([SOFTMAX, node("Mul", "p last", "y")], "sf.Channel('logits', 2)"),
    "without the first class": ([SOFTMAX, node("Slice", "p start stop classes", "y")], "'logits'"),
    "two heads": (
        [SIGMOID, node("Softmax", "logits", "s"), node("Concat", "p s", "y", axis=1)],
        "sf.Channel('logits', 2)",
    ),
    "the mean of two": (
        [SIGMOID, node("Softmax", "logits", "s"), node("Add", "p s", "q"), node("Mul", "q half", "y")],
        "sf.Channel('logits', 2)",
    ),
    "turned round": (
        [SOFTMAX, node("Transpose", "p", "q", perm=[0, 1]), node("Log", "q", "y")],
        "sf.Channel('logits', 2)",
    ),
}


@pytest.mark.parametrize("tail", NOTED)
def test_what_cannot_be_left_out_is_noted_once_with_what_to_ask_for(tail: str) -> None:
    nodes, advised = NOTED[tail]
    net, u = load(classifier(*nodes), preprocess="none"), images()
    assert net.score_layer == "y"
    (note,) = sf.Class(2).notes(net)
    assert "a probability saturates" in note
    assert advised in note
    gradient = sf.value_and_grad(net, sf.Class(2))
    gradient(u)
    assert [each for each in gradient.notes if "saturates" in each] == [note]


def test_each_class_of_a_batch_is_told_what_comes_before_it() -> None:
    net = load(classifier(*NOTED["one minus a sigmoid"][0]), preprocess="none")
    (note,) = sf.Class([1, 4]).notes(net)
    assert "sf.Channel('logits', 1) (--channel logits:1), sf.Channel('logits', 4)" in note


def test_the_largest_of_sigmoids_over_positions_is_noted() -> None:
    nodes = [
        node("Conv", "x w1 b1", "maps"),
        node("Sigmoid", "maps", "p"),
        node("ReduceMax", "p", "y", axes=[2, 3], keepdims=0),
    ]
    own = {k: v for k, v in weights().items() if k in ("w1", "b1")}
    net = load(make_model(nodes, {"x": (("N", *SIZE), 1)}, ["y"], own, opset=13), preprocess="none")
    (note,) = sf.Class(2).notes(net)
    assert "sf.Channel('maps', 2)" in note
    (note,) = sf.Channel("y", 1).notes(net)
    assert "sf.Channel('maps', 1)" in note
