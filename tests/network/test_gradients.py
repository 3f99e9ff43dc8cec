"""`differentiable` says exactly whether the gradient of a layer can be computed; messages suggest no others.

Random small graphs mix operators with a rule, without one, at which the gradient stops, and those that only
look at a shape; each layer is then asked for.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import SobolevflowError
from sobolevflow.network import Network, load
from tests.support.command_line import run
from tests.support.gradient_cases import make_model, node
from tests.support.small_networks import SIZE, small_model

SHAPE = (3, 4, 4)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
CONSTANTS: dict[str, np.ndarray] = {
    "weight": np.random.default_rng(1).standard_normal((3, 3, 1, 1)).astype(np.float32),
    "half": np.array(0.5, np.float32),
    "ones": np.ones((1, *SHAPE), np.float32),
    "places": np.array([1, 3, 1, 1]),
    "rows": np.array([2, 3]),
    "channels": np.ones(3, np.float32),
    "axis": np.array(1),
}
Make = Callable[[str, str, str], list[onnx.NodeProto]]
# From tensors a and b, (1, 3, 4, 4), to y of that shape; names in between begin with that of y.
PIECES: dict[str, Make] = {
    "tanh": lambda a, b, y: [node("Tanh", a, y)],
    "convolution": lambda a, b, y: [node("Conv", f"{a} weight", y)],
    "sum": lambda a, b, y: [node("Add", f"{a} {b}", y)],
    "product": lambda a, b, y: [node("Mul", f"{a} {b}", y)],
    "gate": lambda a, b, y: [node("Greater", f"{a} half", f"{y}m"), node("Where", f"{y}m {b} {a}", y)],
    "rounded": lambda a, b, y: [node("Round", a, y)],
    "whole numbers": lambda a, b, y: [
        node("Cast", a, f"{y}i", to=INT64),
        node("Cast", f"{y}i", y, to=FLOAT),
    ],
    "mask": lambda a, b, y: [node("Greater", f"{a} half", f"{y}m"), node("Cast", f"{y}m", y, to=FLOAT)],
    "index": lambda a, b, y: [
        *(node("ArgMax", a, f"{y}i", axis=1), node("Cast", f"{y}i", f"{y}f", to=FLOAT)),
        node("Mul", f"ones {y}f", y),
    ],
    "shape": lambda a, b, y: [
        *(node("Shape", a, f"{y}s"), node("Cast", f"{y}s", f"{y}f", to=FLOAT)),
        *(node("ReduceMean", f"{y}f", f"{y}n", keepdims=0), node("Mul", f"ones {y}n", y)),
    ],
    "shape beside": lambda a, b, y: [node("Shape", a, f"{y}s"), node("Reshape", f"{b} {y}s", y)],
    "no rule": lambda a, b, y: [
        *(node("Det", a, f"{y}d"), node("Reshape", f"{y}d places", f"{y}r"), node("Mul", f"{b} {y}r", y)),
    ],
    "no rule on constants": lambda a, b, y: [
        *(
            node("Det", "ones", f"{y}d"),
            node("Reshape", f"{y}d places", f"{y}r"),
            node("Mul", f"{a} {y}r", y),
        ),
    ],
    "no rule behind a step": lambda a, b, y: [
        *(node("Sign", a, f"{y}g"), node("Det", f"{y}g", f"{y}d"), node("Reshape", f"{y}d places", f"{y}r")),
        node("Add", f"{b} {y}r", y),
    ],
    "in training mode": lambda a, b, y: [
        helper.make_node(
            "BatchNormalization",
            [a, "channels", "channels", "channels", "channels"],
            [y, f"{y}mean", f"{y}variance"],
            training_mode=1,
        )
    ],
    "scale of the image": lambda a, b, y: [
        *(node("ReduceMax", f"{a}", f"{y}t", keepdims=0), node("Abs", f"{y}t", f"{y}u")),
        *(node("Add", f"{y}u half", f"{y}k"), node("QuantizeLinear", f"{b} {y}k", f"{y}q")),
        node("DequantizeLinear", f"{y}q half", y),
    ],
    "quantised": lambda a, b, y: [
        *(node("QuantizeLinear", f"{a} half", f"{y}q"), node("DequantizeLinear", f"{y}q half", y)),
    ],
    "statistics": lambda a, b, y: [
        helper.make_node("LayerNormalization", [a, "ones"], [f"{y}n", f"{y}mean", f"{y}inverse"], axis=1),
        node("Mul", f"{b} {y}mean", y),
    ],
}


@st.composite
def graphs(draw: st.DrawFn) -> onnx.ModelProto:
    names, nodes = ["x"], list[onnx.NodeProto]()
    for k in range(draw(st.integers(1, 6))):
        a, b = (draw(st.sampled_from(names)) for _ in range(2))
        nodes += PIECES[draw(st.sampled_from(sorted(PIECES)))](a, b, f"y{k}")
        names.append(f"y{k}")
    return make_model(nodes, {"x": ((1, *SHAPE), FLOAT)}, names[-1:], CONSTANTS, opset=18)


def works(net: Network, layer: str) -> bool:
    u = np.random.default_rng(3).random((1, *net.input_shape)).astype(np.float32)
    try:
        sf.value_and_grad(net, sf.Layer(layer))(u)
    except SobolevflowError:
        return False
    return True


def asked(net: Network) -> dict[str, bool]:
    """What becomes of each layer with units that is asked for."""
    return {info.name: works(net, info.name) for info in net.layers if len(info.shape or ()) > 1}


def marked(net: Network) -> dict[str, bool]:
    return {info.name: info.differentiable for info in net.layers if len(info.shape or ()) > 1}


@settings(max_examples=25)
@given(graphs())
def test_a_layer_is_differentiable_exactly_where_its_gradient_can_be_computed(model: onnx.ModelProto) -> None:
    net = load(model, preprocess="none")
    assert asked(net) == marked(net)


@pytest.mark.parametrize("piece", PIECES)
def test_each_piece_by_itself_and_behind_another(piece: str) -> None:
    nodes = [*PIECES["tanh"]("x", "x", "a"), *PIECES[piece]("a", "x", "y"), *PIECES["sum"]("y", "a", "z")]
    net = load(make_model(nodes, {"x": ((1, *SHAPE), FLOAT)}, ["z"], CONSTANTS, opset=18), preprocess="none")
    assert asked(net) == marked(net)


def test_a_shape_alone_is_no_gradient() -> None:
    nodes = [*PIECES["tanh"]("x", "x", "a"), *PIECES["shape"]("a", "a", "y")]
    net = load(make_model(nodes, {"x": ((1, *SHAPE), FLOAT)}, ["y"], CONSTANTS, opset=18), preprocess="none")
    with pytest.raises(
        SobolevflowError, match=r"no gradient reaches the image; .* at most on its shape"
    ) as error:
        sf.value_and_grad(net, sf.Layer("y"))(np.zeros((1, *SHAPE), np.float32))
    assert "sf.Channel('a', 0)" in str(error.value)


def test_a_function_of_the_model_is_its_body() -> None:
    body = [helper.make_node("Tanh", ["p"], ["t"]), helper.make_node("Mul", ["t", "p"], ["q"])]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model = make_model(
        [helper.make_node("Gate", ["x"], ["y"], domain="own")], {"x": ((1, *SHAPE), FLOAT)}, ["y"], opset=18
    )
    model.opset_import.append(opsets[1])
    model.functions.append(helper.make_function("own", "Gate", ["p"], ["q"], body, opsets[:1]))
    net = load(model, preprocess="none")
    assert net.layer("y").differentiable
    assert works(net, "y")


def test_a_fixed_batch_whose_size_is_written_into_a_node() -> None:
    """As a shuffle of channels is, exported for four images."""
    nodes = [
        node("Conv", "x weight", "a"),
        node("Reshape", "a apart", "parts"),
        node("Transpose", "parts", "turned", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "turned together", "shuffled"),
        node("Concat", "a shuffled", "y", axis=1),
    ]
    sizes = {"apart": np.array([4, 3, 1, 4, -1]), "together": np.array([4, *SHAPE])}
    model = make_model(nodes, {"x": ((4, *SHAPE), FLOAT)}, ["y"], CONSTANTS | sizes, opset=18)
    net = load(model, preprocess="none")
    assert marked(net) == asked(net) == dict.fromkeys(["a", "parts", "turned", "shuffled", "y"], True)


def test_inspect_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        *PIECES["tanh"]("x", "x", "a"),
        *PIECES["shape"]("a", "a", "b"),
        *PIECES["scale of the image"]("a", "a", "c"),
    ]
    model = make_model(nodes, {"x": ((1, *SHAPE), FLOAT)}, ["c"], CONSTANTS, opset=18)
    onnx.save(model, tmp_path / "m.onnx")
    assert run("inspect", tmp_path / "m.onnx", "--json", "--preprocess", "none") == 0
    listed = json.loads(capsys.readouterr().out)["layers"]
    assert {each["name"] for each in listed if each["differentiable"]} == {"a", "ct", "cu", "ck"}
    assert run("inspect", tmp_path / "m.onnx", "--preprocess", "none") == 0
    lines = capsys.readouterr().out.splitlines()
    (at,) = (line.index("gradient") for line in lines if line.split()[:1] == ["index"])
    yes = {line.split()[1] for line in lines if line[at:].startswith("yes")}
    assert yes == {"a", "ct", "cu", "ck"}


# -- what messages suggest


def suggestions(said: str) -> tuple[list[str], list[str]]:
    """The objectives that a message spells, in Python and for the command line."""
    python = re.findall(r"sf\.\w+\((?:'[^']*'|\"[^\"]*\"|[^()])*\)", said)
    flags = re.findall(
        r"--(?:channel|neuron|layer)[ =](?:'[^']*'|\"[^\"]*\"|[^\s),])+(?: --axis -?\d+)?", said
    )
    return python, flags


def check_suggestions(net: Network, path: Path, said: str, least: int = 1) -> None:
    """Each of them works as it is spelled."""
    python, flags = suggestions(said)
    assert len(python) >= least, said
    assert len(flags) >= least, said
    u = np.random.default_rng(0).random((1, *net.input_shape)).astype(np.float32)
    for spelled in python:
        sf.value_and_grad(net, eval(spelled, {"sf": sf}))(u)
    for k, spelled in enumerate(flags):
        out = path.with_name(f"g{k}.onnx")
        assert run("gradient", path, *shlex.split(spelled), "-o", out, "--preprocess", "none") == 0, spelled
    for name in re.findall(r"'([^']+)'", said.partition("the last layers with a gradient: ")[2]):
        assert net.layer(name).differentiable


ENDS: dict[str, tuple[list[onnx.NodeProto], str, str]] = {
    "maps": ([], "conv", "sf.Channel('conv', 0)"),
    "a dense layer": (
        [node("ReduceMean", "conv rows", "flat", keepdims=0)],
        "flat",
        "sf.Neuron('flat', 0) or --neuron flat:0",
    ),
    "tokens": (
        [node("Reshape", "conv tokens", "seen"), node("Transpose", "seen", "tokens_", perm=[0, 2, 1])],
        "tokens_",
        "sf.Channel('tokens_', 0) or --channel tokens_:0",
    ),
    "five axes": (
        [node("Reshape", "conv five", "boxes")],
        "boxes",
        "sf.Channel('boxes', 0) or --channel boxes:0",
    ),
    "a name for a shell": (
        [helper.make_node("Tanh", ["conv"], ["my layer;1"])],
        "my layer;1",
        "sf.Channel('my layer;1', 0) or --channel 'my layer;1:0'",
    ),
    "a name with a dash": (
        [helper.make_node("Tanh", ["conv"], ["-layer"])],
        "-layer",
        "sf.Channel('-layer', 0) or --channel=-layer:0",
    ),
    "a name with an apostrophe": (
        [helper.make_node("Tanh", ["conv"], ["l'ayer"])],
        "l'ayer",
        'sf.Channel("l\'ayer", 0)',
    ),
}


@pytest.mark.filterwarnings("ignore::sobolevflow.errors.ChangedWarning")
@pytest.mark.parametrize("end", ENDS)
def test_the_layer_that_is_suggested_can_be_asked_for(end: str, tmp_path: Path) -> None:
    nodes, last, spelled = ENDS[end]
    model = make_model(
        [
            node("Conv", "x weight", "conv"),
            *nodes,
            helper.make_node("Round", [last], ["rounded"]),
            node("Det", "conv", "blocked"),
            helper.make_node("ArgMax", [last], ["index"], axis=1),
            *PIECES["shape"]("conv", "conv", "sized"),
        ],
        {"x": (("N", *SHAPE), FLOAT)},
        ["rounded", "blocked", "index", "sized"],
        CONSTANTS | {"tokens": np.array([-1, 3, 16]), "five": np.array([-1, 3, 2, 2, 4])},
        opset=18,
    )
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    net = load(path, preprocess="none")
    for layer in ("rounded", "blocked", "index", "sized"):
        with pytest.raises(SobolevflowError) as error:
            sf.value_and_grad(net, sf.Layer(layer))(np.zeros((1, *SHAPE), np.float32))
        assert f"e.g. {spelled}" in str(error.value)
        if "'" not in last:
            check_suggestions(net, path, str(error.value))


def test_without_any_gradient_none_is_suggested() -> None:
    model = make_model([node("Round", "x", "y")], {"x": ((1, *SHAPE), FLOAT)}, ["y"])
    net = load(model, preprocess="none")
    with pytest.raises(SobolevflowError, match="No layer has a gradient"):
        sf.value_and_grad(net, sf.Layer("y"))(np.zeros((1, *SHAPE), np.float32))


def test_a_name_that_is_mistyped_finds_layers_with_a_gradient() -> None:
    nodes = [
        node("Tanh", "x", "scores"),
        node("ArgMax", "scores", "scores_index", axis=1),
        node("Round", "scores", "whole"),
    ]
    inputs = {"x": ((1, *SHAPE), FLOAT)}
    net = load(make_model(nodes, inputs, ["scores_index", "whole"]), preprocess="none")
    with pytest.raises(SobolevflowError) as error:
        net.layer("score")
    assert "Did you mean 'scores'?" in str(error.value)
    assert "scores_index" not in str(error.value)
    with pytest.raises(SobolevflowError, match="Near to it, but without a gradient: 'whole'"):
        net.layer("whol")


DEAD: dict[str, tuple[list[onnx.NodeProto], Any, str]] = {
    "a channel": ([], sf.Channel("relu", 2), "sf.Channel('low', 2) (--channel low:2)"),
    "a neuron": ([], sf.Neuron("relu", 2, 1, 3), "sf.Neuron('low', 2, 1, 3) (--neuron low:2:1:3)"),
    "a layer": ([], sf.Layer("relu"), "sf.Layer('low') (--layer low)"),
    "a direction": (
        [],
        sf.Direction("relu", np.ones(3)),
        "sf.Direction('low', vector) (--direction low FILE)",
    ),
    "a direction in another shape": (
        [node("Reshape", "relu long", "flat")],
        sf.Direction("flat", np.ones(48)),
        "sf.Layer('low') (--layer low)",
    ),
    "a channel of another shape": (
        [node("Reshape", "relu long", "flat")],
        sf.Channel("flat", 40),
        "sf.Layer('low') (--layer low)",
    ),
    "a neuron behind a pool": (
        [node("MaxPool", "relu", "pool", kernel_shape=[2, 2], strides=[2, 2])],
        sf.Neuron("pool", 2, 1, 1),
        "sf.Channel('low', 2) (--channel low:2)",
    ),
    "a class": ([node("ReduceMean", "relu rows", "y", keepdims=0)], sf.Class(2), "sf.Channel('low', 2)"),
    "classes": (
        [node("ReduceMean", "relu rows", "y", keepdims=0)],
        sf.Class([2, 0]),
        "sf.Channel('low', 2) (--channel low:2), sf.Channel('low', 0) (--channel low:0)",
    ),
}


def dead(*more: onnx.NodeProto) -> onnx.ModelProto:
    """ "relu" is zero at every image."""
    nodes = [
        node("Conv", "x weight", "conv"),
        *(node("Abs", "conv", "abs"), node("Neg", "abs", "low"), node("Relu", "low", "relu")),
        *more,
    ]
    last = (more or nodes)[-1].output[0]
    constants = CONSTANTS | {"long": np.array([-1, 48])}
    return make_model(nodes, {"x": (("N", *SHAPE), FLOAT)}, [last], constants, opset=17 if not more else 18)


@pytest.mark.parametrize("case", DEAD)
def test_the_pre_activation_of_what_is_dead_can_be_asked_for(case: str, tmp_path: Path) -> None:
    nodes, objective, spelled = DEAD[case]
    path = tmp_path / "m.onnx"
    onnx.save(dead(*nodes), path)
    net = load(path, preprocess="none")
    hint = net.preactivation_hint(objective)
    assert hint is not None
    assert hint.endswith(f"ask for its pre-activation: {spelled}") or spelled in hint
    if "direction low" not in hint:
        check_suggestions(net, path, hint)
    else:
        sf.value_and_grad(net, eval(suggestions(hint)[0][0], {"sf": sf, "vector": np.ones(3)}))


@pytest.mark.parametrize(
    ("objective", "images", "named", "spelled"),
    [
        (sf.Channel("relu", [0, 1, 2]), {1}, "channel 1 of relu", "sf.Channel('low', 1)"),
        (sf.Channel("relu", [0, 1, 2]), {1, 2}, "channel 1, 2 of relu", "sf.Channel('low', 2)"),
        (sf.Neuron("relu", [0, 1, 2], 1, [3, 2, 1]), {2}, "neuron 2 at (1, 1)", "sf.Neuron('low', 2, 1, 1)"),
        (sf.Channel("relu", [0, 1, 2]) * 2.0, {2}, "2 * (channel 2 of relu)", "sf.Channel('low', 2)"),
    ],
)
def test_a_batch_is_told_of_the_target_that_has_no_gradient(
    objective: Any, images: set[int], named: str, spelled: str
) -> None:
    # a channel is closed where the kernel that makes it is negative
    model = make_model(
        [node("Conv", "x signs", "low"), node("Relu", "low", "relu")],
        {"x": (("N", *SHAPE), FLOAT)},
        ["relu"],
        {
            "signs": np.array([-1.0 if k in images else 1.0 for k in range(3)], np.float32).reshape(
                3, 1, 1, 1
            )
            * np.ones((1, 3, 1, 1), np.float32)
        },
    )
    net = load(model, preprocess="none")
    with pytest.raises(SobolevflowError) as error:
        sf.visualize(net, objective, steps=2, progress=False)
    said = str(error.value)
    assert f"The gradient of {named}" in said
    assert spelled in said
    assert f"'low', {min({0, 1, 2} - images)}" not in said


def test_a_batch_is_told_of_the_image_whose_gradient_is_not_finite() -> None:
    nodes = [node("Identity", "x", "a"), node("Log", "a", "log"), node("Tanh", "log", "y")]
    net = load(make_model(nodes, {"x": (("N", *SHAPE), FLOAT)}, ["y"]), preprocess="none")
    u = np.full((3, *SHAPE), 0.5, np.float32)
    u[1] = -0.4
    with pytest.raises(SobolevflowError) as error:
        sf.value_and_grad(net, sf.Channel("y", [0, 1, 2]))(u)
    assert "image 1 (channel 1 of y): the value of layer 'log' is not finite" in str(error.value)
    assert str(error.value).endswith("or ask for a layer before it: sf.Channel('a', 0) (--channel a:0)")
    net = load(make_model([node("Log", "x", "y")], {"x": ((1, *SHAPE), FLOAT)}, ["y"]), preprocess="none")
    with pytest.raises(SobolevflowError, match=r"check the pre-processing \(net.preprocess\)$"):
        sf.value_and_grad(net, sf.Channel("y", 0))(u[1])


def test_a_rectifier_of_the_image_itself_has_no_layer_before_it() -> None:
    net = load(make_model([node("Relu", "x", "y")], {"x": ((1, *SHAPE), FLOAT)}, ["y"]), preprocess="none")
    assert net.preactivation_hint(sf.Channel("y", 0)) is None


def test_opening_a_network_and_running_it_does_not_look_for_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("looked for the gradients of all layers")

    monkeypatch.setattr("sobolevflow.network.gradients.with_gradient", unexpected)
    net, u = load(small_model(), preprocess="none"), np.zeros((1, *SIZE), np.float32)
    net.features(u, ["relu2"])
    net.scores(u)
    assert net.notes()
    sf.value_and_grad(net, sf.Class(1))(u)
