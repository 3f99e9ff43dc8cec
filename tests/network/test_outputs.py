"""Which output of a file holds the class scores, and outputs without an axis for the images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest

import sobolevflow as sf
from sobolevflow.errors import InputError, ModelError, UnknownNameError
from tests.support.gradient_cases import close, make_model, node
from tests.support.small_networks import LABELS, SIZE, images, small_model

U = images(2)


def with_outputs(*names: str, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    model = small_model()
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return model


BEST = node("ArgMax", "logits", "best", axis=1)
HEAD = node("GlobalMaxPool", "conv2", "head")


def test_integers_and_maps_in_front_of_the_scores_are_passed_over() -> None:
    net = sf.load(with_outputs("best", "conv2", "prob", nodes=(BEST,)), labels=LABELS, preprocess="none")
    plain = sf.load(small_model(), labels=LABELS, preprocess="none")
    assert (net.score_layer, net.classes, net.stripped) == ("logits", 6, "Softmax")
    assert any(
        "output 'prob', which looks more like one score per class than 'best'" in note for note in net.notes()
    )
    for a, b in zip(
        sf.value_and_grad(net, sf.Class("king crab"))(U),
        sf.value_and_grad(plain, sf.Class("king crab"))(U),
        strict=True,
    ):
        close(a, b, 1e-6)


def test_labels_tell_between_outputs_that_could_both_be_scores() -> None:
    model = with_outputs("head", "logits", nodes=(HEAD,))
    assert sf.load(model).score_layer == "head"
    assert sf.load(model, labels=LABELS).score_layer == "logits"
    with pytest.raises(InputError, match="6 labels do not fit 5 classes"):
        sf.load(model, labels=LABELS, output="head")


def test_several_scores_win_over_a_number_and_probabilities_over_features() -> None:
    most = node("ReduceMax", "prob", "most", axes=[1], keepdims=0)
    rows = node("Flatten", "head", "rows")
    cases: list[tuple[tuple[str, ...], str, str]] = [
        (("best", "most", "prob"), "prob", "more like one score per class than 'best'"),
        (("most", "head"), "head", "more like one score per class than 'most'"),
        (("head", "prob"), "prob", "more like one score per class than 'head'"),
        (
            ("most", "head", "logits", "rows"),
            "head",
            "the first that looks like it; so do 'logits' and 'rows'",
        ),
        (("prob", "head"), "prob", ""),
        (("most", "best"), "most", ""),
    ]
    for names, scored, said in cases:
        net = sf.load(with_outputs(*names, nodes=(BEST, HEAD, most, rows)), preprocess="none")
        assert net.score_layer == ("logits" if scored == "prob" else scored)
        notes = [note for note in net.notes() if "taken from output" in note]
        assert len(notes) == bool(said)
        assert all(f"output {scored!r}" in note and said in note for note in notes)
    model = with_outputs("most", "head", "prob", nodes=(HEAD, most))
    assert sf.load(model, labels=LABELS[:5]).classes == 5


def test_an_output_is_named_at_load_or_in_the_objective() -> None:
    model = with_outputs("head", "logits", nodes=(HEAD,))
    chosen, first = sf.load(model, output="logits"), sf.load(model)
    assert (chosen.classes, first.classes) == (6, 5)
    assert not any("taken from output" in note for note in chosen.notes())
    logits = chosen.features(U, ["logits"])[0]
    close(sf.value_and_grad(chosen, sf.Class(4))(U)[0], logits[:, 4], 1e-5)
    objective = sf.Class([4, 2], output="logits")
    close(sf.value_and_grad(first, objective)(U)[0], logits[[0, 1], [4, 2]], 1e-5)
    assert str(objective) == "class 4, 2 of output logits"
    assert objective.to_dict()["output"] == "logits"
    assert "output" not in sf.Class(4).to_dict()
    with pytest.raises(InputError, match="5 classes"):
        sf.value_and_grad(first, sf.Class(5))(U)


def test_notes_are_of_the_output_that_an_objective_names() -> None:
    falls = node("Neg", "prob", "falls")
    model = with_outputs("head", "falls", nodes=(HEAD, falls))
    first, chosen = sf.load(model, preprocess="none"), sf.load(model, preprocess="none", output="falls")
    (note,) = sf.Class(5, output="falls").notes(first)
    assert "'falls' lies behind a Softmax" in note
    assert "--channel logits:5" in note
    assert sf.Class(5).notes(chosen) == [note]
    assert sf.Class(4).notes(first) == []


def test_an_output_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(UnknownNameError, match=r"no output 'probs'.*'prob'"):
        sf.load(small_model(), output="probs")
    with pytest.raises(UnknownNameError, match="no output 'logits'"):
        sf.value_and_grad(sf.load(small_model()), sf.Class(1, output="logits"))(U)


def test_the_command_line_marks_and_chooses_outputs(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from sobolevflow.cli.main import main

    path = tmp_path / "two.onnx"
    path.write_bytes(with_outputs("head", "logits", nodes=(HEAD,)).SerializeToString())
    assert main(["inspect", str(path), "--scores", "logits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outputs"] == [{"name": "head", "scores": False}, {"name": "logits", "scores": True}]
    assert main(["inspect", str(path)]) == 0
    assert "head (scores), logits" in capsys.readouterr().out
    grad = tmp_path / "grad.onnx"
    assert main(["gradient", str(path), "--class", "5", "--scores", "logits", "-o", str(grad)]) == 0


# -- outputs without an axis for the images

W = np.random.default_rng(0).standard_normal((3, 3, 5, 5)).astype(np.float32)


def squeezed(batch: int | str, channels: int, *tail: onnx.NodeProto) -> sf.Network:
    nodes = [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "g"), *tail]
    constants = {"w": W[:channels], "all": np.array([-1]), "last": np.array([1, 2, 3])}
    model = make_model(nodes, {"x": ((batch, *SIZE), 1)}, [tail[-1].output[0]], constants, opset=13)
    return sf.load(model, preprocess="none")


def pooled(u: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(u, (5, 5), axis=(2, 3))
    return np.asarray(np.einsum("nchwij,dcij->ndhw", windows, W).mean(axis=(2, 3)))


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "tail",
    [[node("Squeeze", "g", "y")], [node("Reshape", "g all", "y")], [node("Squeeze", "g last", "y")]],
    ids=["squeeze", "reshape", "of channels"],
)
def test_classes_of_an_output_whose_axes_were_dropped(
    tail: list[onnx.NodeProto], channels: int, batch: int | str
) -> None:
    if channels == 3 and tail[0].input[-1] == "last":
        tail = [node("ReduceMax", "g", "y", axes=[1, 2, 3], keepdims=0)]  # (N,)
    net = squeezed(batch, channels, *tail)
    expected = pooled(U)[:, :channels]
    if tail[0].op_type == "ReduceMax":
        expected = expected.max(axis=1, keepdims=True)
    assert net.classes == expected.shape[1]
    close(net.scores(U), expected, 1e-5)
    objective = sf.Class(expected.shape[1] - 1)
    values, gradient = sf.value_and_grad(net, objective)(U)
    close(values, expected[:, -1], 1e-5)
    assert sf.check_gradient(net, objective, U, precision="double") < 1e-6
    for k in range(2):
        close(sf.value_and_grad(net, objective)(U[k])[1], gradient[k], 1e-5)
    if len(net.layer_shape("y")) == 1:
        close(sf.value_and_grad(net, sf.Neuron("y", ()))(U)[0], expected[:, 0], 1e-5)
        with pytest.raises(InputError, match="a single number for each image"):
            sf.value_and_grad(net, sf.Channel("y", 0))(U)
    close(sf.value_and_grad(net, sf.Layer("y"))(U)[0], (expected**2).mean(axis=1) / 2, 1e-5)


@pytest.mark.parametrize("batch", ["N", 4])
@pytest.mark.parametrize(
    "tail",
    [
        [node("ReduceMean", "c", "mean", axes=[1, 2, 3]), node("Squeeze", "mean", "y")],
        [node("ReduceMean", "c", "y", axes=[1, 2, 3], keepdims=0)],
    ],
    ids=["squeeze", "no axes"],
)
def test_objectives_of_a_single_number_for_each_image(tail: list[onnx.NodeProto], batch: int | str) -> None:
    net, u = squeezed(batch, 3, *tail), images(3)
    y, x = pooled(u).mean(axis=1), pooled(u[:1]).mean(axis=1)
    ratio = ((y - x) / x) ** 2
    expected = [
        (sf.Class(0), y),
        (sf.Neuron("y", ()), y),
        (sf.Layer("y"), y**2 / 2),
        (sf.Inversion("y", u[:1]), ratio),
        (sf.Inversion("y", u[:1], p=1), np.sqrt(ratio + 1e-12)),
        (sf.Caricature("y", u[:1]), y / x * np.maximum(np.sign(y * x), 0.1)),
        (sf.Caricature("y", u[:1], power=0) - sf.Layer("y"), y / x - y**2 / 2),
    ]
    close(net.scores(u)[:, 0], y, 1e-5)
    for objective, value in expected:
        close(sf.value_and_grad(net, objective)(u)[0], value, 1e-4)
        assert sf.check_gradient(net, objective, u[1:], precision="double") < 1e-6
    one = sf.attribution.grad_cam(net, sf.Class(0), u[1], layer="c", signed=True)
    close(sf.attribution.grad_cam(net, sf.Class(0), u, layer="c", signed=True)[1], one, 1e-5)


def test_an_image_too_small_for_the_network_is_said_to_be() -> None:
    nodes = [node("Conv", "x w", "c"), node("GlobalAveragePool", "c", "g"), node("Squeeze", "g", "y")]
    model = make_model(nodes, {"x": ((1, 3, "h", "w"), 1)}, ["y"], {"w": W[:1]}, opset=13)
    assert sf.load(model, input_shape=(5, 5)).scores(images(size=(3, 5, 5))).shape == (1, 1)
    net, u = sf.load(model, input_shape=(4, 4)), images(size=(3, 4, 4))
    for ask in (
        lambda: sf.value_and_grad(net, sf.Class(0))(u),
        lambda: net.scores(u),
        lambda: net.features(u, ["g"]),
        lambda: sf.gradient_model(net, sf.Layer("g")),
        lambda: sf.check_gradient(net, sf.Layer("g"), u),
    ):
        with pytest.raises(ModelError, match="3x4x4 is too small: nothing is left of it in layer 'c'"):
            ask()


# -- neurons by their index


def five_axes() -> sf.Network:
    """(N, anchors, H, W, values), as detectors have it."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Reshape", "c shape", "r"),
        node("Transpose", "r", "y", perm=[0, 1, 3, 4, 2]),
    ]
    w = np.random.default_rng(2).standard_normal((6, 3, 3, 3)).astype(np.float32)
    constants = {"w": w, "shape": np.array([0, 2, 3, 6, 8])}
    model = make_model(nodes, {"x": (("N", *SIZE), 1)}, ["y"], constants, opset=13)
    return sf.load(model, preprocess="none")


FIVE = five_axes()


def test_neurons_of_any_rank() -> None:
    (y,) = FIVE.features(U, ["y"])
    close(sf.value_and_grad(FIVE, sf.Neuron("y", (1, 2, 3, 0)))(U)[0], y[:, 1, 2, 3, 0], 1e-6)
    both = sf.Neuron("y", [(1, 2, 3, 0), (0, 5, 7, 2)])
    assert sf.objectives.natural_batch(both) == 2
    close(sf.value_and_grad(FIVE, both)(U)[0], y[[0, 1], [1, 0], [2, 5], [3, 7], [0, 2]], 1e-6)
    assert sf.check_gradient(FIVE, both, U, precision="double") < 1e-7
    (c,) = FIVE.features(U, ["c"])
    close(sf.value_and_grad(FIVE, sf.Neuron("c", (1, 2, 3)))(U)[0], c[:, 1, 2, 3], 1e-6)


def test_an_index_that_could_have_been_channels_is_said_to_be_one() -> None:
    three = images(3)
    with pytest.warns(sf.errors.ChangedWarning, match="the unit of that index in all 3 images"):
        sf.value_and_grad(FIVE, sf.Neuron("c", (1, 2, 3)))(three)
    sf.value_and_grad(FIVE, sf.Neuron("c", (1, 2, 7)))(three)  # there is no channel 7
    sf.value_and_grad(FIVE, sf.Neuron("c", [(1, 2, 3)]))(three)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (lambda: sf.Neuron("y", 1), r"sf.Neuron\('y', \(i, j, k, l\)\)"),
        (lambda: sf.Neuron("y", (1, 2, 3)), "4 in all"),
        (lambda: sf.Neuron("y", (1, 2, 8, 0)), "axis3 of 'y' is 8; it must lie in 0 to 7"),
        (lambda: sf.Neuron("y", (1, 2, 3, 0), axis=1), "leave out y, x and axis"),
        (lambda: sf.Neuron("y", (1, 2), 3), "an index for each axis"),
    ],
)
def test_what_is_no_index_is_said(objective: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        sf.value_and_grad(FIVE, objective())(U)


def test_indices_on_the_command_line(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from sobolevflow.cli.main import main

    path, grad = tmp_path / "five.onnx", str(tmp_path / "grad.onnx")
    path.write_bytes(FIVE.model.SerializeToString())
    assert main(["gradient", str(path), "--neuron", "y:1:2:3:0", "-o", grad]) == 0
    assert "neuron (1, 2, 3, 0) of y" in capsys.readouterr().out
    assert main(["gradient", str(path), "--neuron", "y:1:2", "-o", grad]) != 0
    assert "4 in all" in capsys.readouterr().err


def test_whoever_has_the_outputs_goes_on_with_the_names_that_it_has() -> None:
    net = sf.load(small_model(), preprocess="none", labels=LABELS)
    before = net._outputs
    net.name_classes([f"class {k}" for k in range(6)])
    assert before.labels == LABELS
    assert before.classes().name(1) == "king crab"
    with pytest.raises(InputError, match="labels do not fit"):
        net.name_classes(["a", "b"])
    assert net.class_name(1) == "class 1"
