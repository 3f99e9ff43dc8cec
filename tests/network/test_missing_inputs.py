"""Inputs beside the image without a value: what depends on them is refused in those words, the rest works."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow.errors import InputError, ModelError, UnknownNameError
from sobolevflow.network import Network, load
from tests.support.command_line import run
from tests.support.gradient_cases import close, node
from tests.support.small_networks import SIZE, generator, images, small_model

FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
tensor = helper.make_tensor_type_proto


def model_with(
    kind: onnx.TypeProto, nodes: Sequence[onnx.NodeProto], defaults: Sequence[onnx.TensorProto] = ()
) -> onnx.ModelProto:
    """From the image "x" and an input "b" of some type to "y"; "a" depends on the image alone."""
    inputs = [
        helper.make_tensor_value_info("x", FLOAT, ["N", *SIZE]),
        helper.make_value_info("b", kind),
    ]
    nodes = [node("Tanh", "x", "a"), *nodes]
    graph = helper.make_graph(nodes, "two", inputs, [onnx.ValueInfoProto(name="y")], list(defaults))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    return model


def summed(cast: bool = False) -> list[onnx.NodeProto]:
    """y = a * mean(b)"""
    first = [node("Cast", "b", "c", to=FLOAT)] if cast else [node("Identity", "b", "c")]
    return [*first, node("ReduceMean", "c", "m", keepdims=0), node("Mul", "a m", "y")]


SIAMESE = [node("Tanh", "b", "ab"), node("ReduceMean", "ab", "m", keepdims=0), node("Mul", "a m", "y")]
TEXT = [
    node("StringNormalizer", "b", "c"),
    node("Shape", "c", "n"),
    node("Cast", "n", "m", to=FLOAT),
    node("Mul", "a m", "y"),
]
CASES: dict[str, tuple[onnx.TypeProto, list[onnx.NodeProto], str, Any]] = {
    "open axes": (tensor(FLOAT, ["N", "k"]), summed(), "float32 of shape (N, k)", np.full((1, 4), 2.0)),
    "axes without a name": (
        tensor(FLOAT, [1, None]),
        summed(),
        "float32 of shape (1, ?)",
        np.full((1, 4), 2.0),
    ),
    "fixed axes": (tensor(FLOAT, [1, 4]), summed(), "float32 of shape (1, 4)", np.full((1, 4), 2.0)),
    "no shape": (tensor(FLOAT, None), summed(), "float32 of any shape", np.full((2, 2, 2), 2.0)),
    "a scalar": (tensor(FLOAT, []), [node("Mul", "a b", "y")], "a single float32", 2.0),
    "a flag": (
        tensor(BOOL, []),
        [node("Add", "a a", "d"), node("Where", "b d a", "y")],
        "a single bool; pass it as inputs={'b': True}",
        True,
    ),
    "a mask": (tensor(INT64, ["N", "L"]), summed(cast=True), "int64 of shape (N, L)", np.full((1, 5), 2)),
    "another picture": (tensor(FLOAT, ["N", 3, "h", "w"]), SIAMESE, "float32 of shape (N, 3, h, w)", None),
    "text": (tensor(STRING, ["k"]), TEXT, "string of shape (k)", np.array(["a", "b"])),
    "half precision": (
        tensor(TensorProto.FLOAT16, ["k"]),
        summed(cast=True),
        "float16 of shape (k)",
        np.full(3, 2.0, np.float16),
    ),
}


def refusals(net: Network) -> set[str]:
    """What is said of "y" at every door."""
    said = set()
    for ask in (
        lambda: net.features(images(), ["y"]),
        lambda: net.layer_shape("y"),
        lambda: net.scores(images()),
        lambda: sf.value_and_grad(net, sf.Layer("y"))(images()),
        lambda: sf.value_and_grad(net, sf.Class(0))(images()),
        lambda: sf.visualize(net, sf.Channel("y", 0), steps=1, progress=False),
    ):
        with pytest.raises(ModelError) as error:
            ask()
        said.add(str(error.value))
    return said


@pytest.mark.parametrize("case", CASES)
def test_what_depends_on_an_input_without_a_value_is_refused(case: str) -> None:
    kind, nodes, described, value = CASES[case]
    net = load(model_with(kind, nodes), preprocess="none")
    (said,) = refusals(net)
    assert said.startswith(f"model: input 'b' needs a value, {described}")
    assert "--input b=FILE" in said
    assert [f"model: {note}" for note in net.notes()] == [said]  # told when it is opened, too
    assert (net.layer("a").differentiable, net.layer("y").differentiable) == (True, False)
    if value is not None:
        net = load(model_with(kind, nodes), preprocess="none", inputs={"b": value})
        close(net.features(images(), ["y"])[0], 2 * np.tanh(images()), 1e-5)
        assert net.layer("y").differentiable
        assert net.notes() == []


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_depend_on_it_works(case: str) -> None:
    kind, nodes, _, _ = CASES[case]
    net, u = load(model_with(kind, nodes), preprocess="none"), images()
    close(net.features(u, ["a"])[0], np.tanh(u), 1e-5)
    _, g = sf.value_and_grad(net, sf.Channel("a", 1))(u)
    close(g[:, 1], (1 - np.tanh(u[:, 1]) ** 2) / 80, 1e-5)


NO_TENSOR = {
    "optional": (
        helper.make_optional_type_proto(tensor(FLOAT, [1])),
        [node("OptionalGetElement", "b", "m"), node("Mul", "a m", "y")],
    ),
    "sequence": (
        helper.make_sequence_type_proto(tensor(FLOAT, [1])),
        [node("ConcatFromSequence", "b", "m", axis=0), node("Mul", "a m", "y")],
    ),
}


@pytest.mark.parametrize("kind", NO_TENSOR)
def test_what_is_no_tensor_cannot_be_given(kind: str) -> None:
    model = model_with(*NO_TENSOR[kind])
    (said,) = refusals(load(model, preprocess="none"))
    assert f"input 'b' takes no tensor (its type is: {kind})" in said
    with pytest.raises(InputError, match="takes no tensor"):
        load(model, preprocess="none", inputs={"b": np.ones(1)})


def test_numbers_are_no_text_and_text_no_numbers() -> None:
    kind, nodes, _, _ = CASES["text"]
    with pytest.raises(InputError, match="takes an array of text"):
        load(model_with(kind, nodes), inputs={"b": np.ones(2)})
    kind, nodes, _, _ = CASES["a mask"]
    with pytest.raises(InputError, match="takes an array of numbers"):
        load(model_with(kind, nodes), inputs={"b": np.array(["a"])})


@pytest.mark.parametrize("ir_version", [3, 10])
def test_an_input_with_a_default_needs_none_and_takes_another(ir_version: int) -> None:
    default = numpy_helper.from_array(np.array([2.0], np.float32), "b")
    model = model_with(tensor(FLOAT, [1]), [node("Mul", "a b", "y")], [default])
    model.ir_version = ir_version
    net, u = load(model, preprocess="none"), images()
    assert net.notes() == []
    close(net.features(u, ["y"])[0], 2 * np.tanh(u), 1e-5)
    other = load(model, preprocess="none", inputs={"b": np.array([5.0])})
    close(other.features(u, ["y"])[0], 5 * np.tanh(u), 1e-5)
    assert other.sha256 != net.sha256 or other.to_dict() != net.to_dict()
    with pytest.raises(UnknownNameError, match="no input 'c'"):
        load(model, inputs={"c": np.ones(1)})


def test_a_default_of_more_than_a_kilobyte_gives_way() -> None:
    default = numpy_helper.from_array(np.full((1, 700), 2.0, np.float32), "b")
    model = model_with(tensor(FLOAT, [1, 700]), summed(), [default])
    u = images()
    for given, factor in ((None, 2), ({"b": np.full((1, 700), 5.0)}, 5)):
        close(load(model, preprocess="none", inputs=given).features(u, ["y"])[0], factor * np.tanh(u), 1e-5)


def test_the_command_line_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind, nodes, described, value = CASES["a mask"]
    path = tmp_path / "two.onnx"
    onnx.save(model_with(kind, nodes), path)
    assert run("inspect", path, "--preprocess", "none") == 0
    printed = capsys.readouterr()
    assert f"note: input 'b' needs a value, {described}" in " ".join((printed.out + printed.err).split())
    arguments = (path, "--channel", "y:0", "--steps", "1", "-o", tmp_path / "y.png", "--preprocess", "none")
    assert run("visualize", *arguments) == 2
    assert f"error: two: input 'b' needs a value, {described}" in capsys.readouterr().err
    np.save(tmp_path / "b.npy", value)
    assert run("visualize", *arguments, "--input", f"b={tmp_path / 'b.npy'}") == 0


def test_a_name_is_quoted_where_a_shell_needs_it() -> None:
    model = model_with(tensor(FLOAT, ["k"]), summed())
    model.graph.input[1].name = model.graph.node[1].input[0] = "my input"
    (said,) = refusals(load(model, preprocess="none"))
    assert "(--input 'my input=FILE')" in said


def test_behind_a_generator_the_network_needs_its_inputs_too() -> None:
    kind = CASES["a scalar"][0]
    network = small_model()
    network.graph.node[-1].input[0] = "scaled"
    network.graph.node.insert(len(network.graph.node) - 1, node("Mul", "logits b", "scaled"))
    network.graph.input.append(helper.make_value_info("b", kind))
    with pytest.raises(ModelError, match="input 'b' needs a value"):
        sf.compose(generator(), network)
    net = sf.compose(generator(), network, inputs={"b": 3.0})
    plain = sf.compose(generator(), small_model())
    codes = np.random.default_rng(0).standard_normal((1, 5, 1, 1)).astype(np.float32)
    close(net.features(codes, ["scaled"])[0], 3 * plain.features(codes, ["logits"])[0], 1e-5)
    with pytest.raises(UnknownNameError, match="no input 'c'"):
        sf.compose(generator(), network, inputs={"b": 3.0, "c": 1.0})


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (1, 5)], ids=str)
def test_a_value_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    model = model_with(tensor(FLOAT, ["N", 4]), summed())
    with pytest.raises(InputError, match=r"model's input 'b' is of shape \(N, 4\), not \("):
        load(model, preprocess="none", inputs={"b": np.ones(shape, np.float32)})


def test_a_single_number_has_as_many_axes_as_its_input() -> None:
    model = model_with(tensor(FLOAT, [1, 1]), [node("Mul", "a b", "y")])
    net = load(model, preprocess="none", inputs={"b": np.array(2.0)})
    close(net.features(images(), ["y"])[0], 2 * np.tanh(images()), 1e-5)
