"""Objectives take channels and positions from where a layer keeps them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import ChangedWarning, InputError
from sobolevflow.gradient.function import value_and_grad
from sobolevflow.network import Network, load
from sobolevflow.objectives import Leaf, structure
from tests.support.gradient_cases import close, make_model
from tests.support.layouts import CHANNELS, HEIGHT, IMAGE, ORDERS, WIDTH, laid, network

NETS = {layout: load(network(layout), preprocess="none") for layout in ORDERS}
U = np.random.default_rng(1).random((2, *IMAGE), dtype=np.float32)
PHOTO = np.random.default_rng(2).random((1, *IMAGE), dtype=np.float32)
(MAP,) = NETS["first"].features(U, ["map"])
POSITIONS = HEIGHT * WIDTH


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChangedWarning)
        yield


def both(layout: str, objective: Leaf, plain: Leaf) -> None:
    """The same value and gradient as of `plain` in the network with channels first."""
    expected = value_and_grad(NETS["first"], plain)(U)
    for found, right in zip(value_and_grad(NETS[layout], objective)(U), expected, strict=True):
        close(found, right, 1e-5)


OTHERS = sorted(set(ORDERS) - {"first"})
channels = st.integers(0, CHANNELS - 1)


@settings(max_examples=12)
@given(st.sampled_from(OTHERS), st.lists(channels, min_size=2, max_size=2), st.data())
def test_units_are_the_same_in_every_layout(layout: str, several: list[int], data: st.DataObject) -> None:
    c, y, x = several[0], data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    order = ORDERS[layout]
    there = {2: y, 3: x}
    rows, columns = (there[k] for k in order if k in there)
    both(layout, sf.Channel("map", several), sf.Channel("map", several, axis=1))
    both(layout, sf.Neuron("map", c, rows, columns), sf.Neuron("map", c, y, x, axis=1))
    both(layout, sf.Neuron("map", several), sf.Neuron("map", several))
    both(layout, sf.Channel("line", c), sf.Channel("line", c))
    both(layout, sf.Neuron("line", several, x=x), sf.Neuron("line", several, x=x))
    both(layout, sf.Channel("map", c, axis=order.index(1) - 4), sf.Channel("map", c))


@settings(max_examples=8)
@given(st.sampled_from(OTHERS), st.integers(0, 99))
def test_directions_and_masks_are_the_same_in_every_layout(layout: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((2, CHANNELS)).astype(np.float32)
    whole = rng.standard_normal((2, CHANNELS, HEIGHT, WIDTH)).astype(np.float32)
    small, large = rng.random((HEIGHT, WIDTH)), rng.random(IMAGE[1:])
    turned = small.T if layout == "turned" else small
    both(layout, sf.Direction("map", vectors[0]), sf.Direction("map", vectors[0]))
    both(layout, sf.Direction("map", vectors), sf.Direction("map", vectors))
    both(layout, sf.Direction("map", laid(whole, layout)), sf.Direction("map", whole))
    both(layout, sf.Direction("line", vectors), sf.Direction("line", vectors))
    both(layout, sf.Inversion("map", PHOTO, mask=turned), sf.Inversion("map", PHOTO, mask=small))
    both(layout, sf.Inversion("map", PHOTO, mask=large), sf.Inversion("map", PHOTO, mask=large))
    both(layout, sf.Inversion("map", PHOTO), sf.Inversion("map", PHOTO))
    both(layout, sf.Caricature("map", PHOTO), sf.Caricature("map", PHOTO))


@pytest.mark.parametrize("layout", OTHERS)
def test_diversity_is_of_channels_in_every_layout(layout: str) -> None:
    both(layout, sf.Diversity("map"), sf.Diversity("map"))
    both(layout, sf.Diversity("line"), sf.Diversity("line"))
    own = value_and_grad(NETS["first"], sf.Diversity("line"))(U)[0]
    line = MAP.mean(axis=2)
    grams = np.einsum("ncw,ndw->ncd", line, line).reshape(2, -1).astype(np.float64)
    first, second = grams / np.linalg.norm(grams, axis=1, keepdims=True)
    close(own, -np.full(2, first @ second), 1e-5)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_tokens_have_channels_and_one_axis_of_positions(layout: str) -> None:
    net = NETS[layout]
    tokens = MAP.reshape(2, CHANNELS, POSITIONS)
    vector = np.arange(CHANNELS, dtype=np.float32)
    whole = np.random.default_rng(3).standard_normal((CHANNELS, POSITIONS)).astype(np.float32)
    given = whole if layout == "first" else whole.T
    expected: list[tuple[Leaf, Any]] = [
        (sf.Channel("tokens", 4), tokens[:, 4].mean(axis=1)),
        (sf.Neuron("tokens", 4), tokens[:, 4, POSITIONS // 2]),
        (sf.Neuron("tokens", [4, 0], x=[3, 7]), tokens[[0, 1], [4, 0], [3, 7]]),
        (sf.Direction("tokens", vector), np.einsum("c,ncp->n", vector, tokens) / POSITIONS),
        (sf.Direction("tokens", np.stack([vector, -vector])), None),
        (sf.Direction("tokens", given), np.einsum("cp,ncp->n", whole, tokens)),
        (sf.Layer("tokens"), (tokens**2).mean(axis=(1, 2)) / 2),
    ]
    for objective, value in expected:
        found = value_and_grad(net, objective)(U)[0]
        close(
            found,
            np.einsum("c,ncp,n->n", vector, tokens, [1, -1]) / POSITIONS if value is None else value,
            1e-5,
        )
        assert sf.check_gradient(net, objective, U, precision="double") < 1e-6
    both(layout, sf.Diversity("tokens"), sf.Diversity("map"))
    mask = np.random.default_rng(4).random((HEIGHT, WIDTH))
    both(layout, sf.Inversion("tokens", PHOTO, mask=mask), sf.Inversion("map", PHOTO, mask=mask))
    large = np.random.default_rng(4).random(IMAGE[1:])
    both(layout, sf.Inversion("tokens", PHOTO, mask=large), sf.Inversion("map", PHOTO, mask=large))


def shaped(shape: list[int], last: bool) -> Network:
    """A layer "y" of some shape of 8 channels behind a global pool."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Transpose", ["conv"], ["laid"], perm=[0, 2, 3, 1] if last else [0, 1, 2, 3]),
        helper.make_node("ReduceMean", ["laid"], ["pool"], axes=[1, 2] if last else [2, 3], keepdims=0),
        helper.make_node("Reshape", ["pool", "shape"], ["y"]),
    ]
    w = np.random.default_rng(0).standard_normal((8, 3, 2, 2)).astype(np.float32)
    constants = {"w": w, "shape": np.array(shape)}
    return load(make_model(nodes, {"x": (("N", *IMAGE), TensorProto.FLOAT)}, ["y"], constants, opset=13))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [[0, 8], [0, 8, 1, 1], [-1, 1, 1, 8], [0, 8, 1], [-1, 1, 8]])
def test_a_pooled_layer_has_its_channels_wherever_they_lie(shape: list[int], last: bool) -> None:
    net = shaped(shape, last)
    (y,) = net.features(U, ["y"])
    flat = y.reshape(2, 8)
    for objective in (sf.Channel("y", 5), sf.Neuron("y", 5)):
        close(value_and_grad(net, objective)(U)[0], flat[:, 5], 1e-6)
    vector = np.arange(8, dtype=np.float32)
    close(value_and_grad(net, sf.Direction("y", vector))(U)[0], flat @ vector, 1e-5)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda: sf.Channel("map", CHANNELS), "channel of 'map' is 6; .* 0 to 5, the channels on axis 3"),
        (lambda: sf.Neuron("map", 6), "channel of 'map' is 6; .* 0 to 5, the channels on axis 3"),
        (lambda: sf.Neuron("map", 0, y=HEIGHT), "y of 'map' is 4; .* 0 to 3"),
        (lambda: sf.Neuron("map", 0, x=WIDTH), "x of 'map' is 5; .* 0 to 4"),
        (lambda: sf.Channel("map", 4, axis=1), r"0 to 3\."),
        (lambda: sf.Neuron("tokens", 0, y=1), "one axis of positions; give x alone"),
        (lambda: sf.Neuron("tokens", 0, x=POSITIONS), "x of 'tokens' is 20; .* 0 to 19"),
        (lambda: sf.Neuron("scores", 0, x=0), "no rows and columns"),
        (lambda: sf.Direction("map", np.ones(HEIGHT)), r"has shape \(6,\) or \(4, 5, 6\), not \(4,\)"),
        (lambda: sf.Channel("map", 0, axis=0), "an axis from 1 to 3"),
        (
            lambda: sf.Channel("map", 0, axis=True),
            "the axis of the channels is True; it must be a whole number",
        ),
        (lambda: sf.Neuron("map", 0, axis=4), "an axis from 1 to 3"),
        (lambda: sf.Direction("map", np.ones(6), axis=-4), "an axis from 1 to 3"),
        (lambda: sf.Diversity("scores"), "needs a layer with positions"),
        (lambda: sf.Inversion("map", PHOTO, mask=np.ones((WIDTH, CHANNELS))), r"layer's size \(4, 5\)"),
        (lambda: sf.Inversion("line", PHOTO, mask=np.ones(WIDTH)), "does not show.*rows and columns before"),
    ],
)
def test_what_does_not_fit_is_refused(objective: Callable[[], Leaf], message: str) -> None:
    with pytest.raises(InputError, match=message):
        value_and_grad(NETS["last"], objective())(U)


@pytest.mark.parametrize(
    ("shape", "perm"),
    [([0, 2, 3, 20], [0, 1, 3, 2]), ([0, 6, 20, 1], [0, 1, 2, 3]), ([0, 6, 4, 5], [0, 2, 3, 1])],
    ids=["heads", "rows one after another", "an axis of the user's own"],
)
def test_a_mask_of_the_image_needs_rows_and_columns(shape: list[int], perm: list[int]) -> None:
    """One of the layer's own size is taken as it is."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], strides=[2, 2]),
        helper.make_node("Reshape", ["conv", "shape"], ["cut"]),
        helper.make_node("Transpose", ["cut"], ["y"], perm=perm),
    ]
    w = np.random.default_rng(0).standard_normal((CHANNELS, 3, 2, 2)).astype(np.float32)
    constants = {"w": w, "shape": np.array(shape)}
    inputs = {"x": (("N", *IMAGE), TensorProto.FLOAT)}
    net = load(make_model(nodes, inputs, ["y"], constants, opset=13), preprocess="none")
    size = net.layer_shape("y")[2:]
    value_and_grad(net, sf.Inversion("y", PHOTO, mask=np.ones(size), axis=1))(U)
    with pytest.raises(InputError, match="does not show"):
        value_and_grad(net, sf.Inversion("y", PHOTO, mask=np.ones(IMAGE[1:]), axis=1))(U)


def test_a_layer_whose_first_axis_is_not_that_of_images_is_shown_with_them_first() -> None:
    """(T, N, D), as recurrent networks and the first detection transformers have it."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], strides=[2, 2]),
        helper.make_node("Reshape", ["conv", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["turned"], perm=[2, 0, 1]),
        helper.make_node("Tanh", ["turned"], ["y"]),
        helper.make_node("Transpose", ["y"], ["back"], perm=[1, 0, 2]),
    ]
    w = np.random.default_rng(0).standard_normal((CHANNELS, 3, 2, 2)).astype(np.float32)
    constants = {"w": w, "shape": np.array([0, CHANNELS, -1])}
    inputs = {"x": (("N", *IMAGE), TensorProto.FLOAT)}
    net = load(make_model(nodes, inputs, ["back"], constants, opset=13), preprocess="none")
    vector = np.ones(CHANNELS)
    assert net.layer_shape("y") == net.layer_shape("back") == (1, 20, CHANNELS)
    for make in (
        lambda layer: sf.Channel(layer, 3),
        lambda layer: sf.Neuron(layer, 3),
        lambda layer: sf.Direction(layer, vector),
        lambda layer: sf.Diversity(layer),
        lambda layer: sf.Layer(layer),
        lambda layer: sf.Inversion(layer, PHOTO),
        lambda layer: sf.Caricature(layer, PHOTO),
    ):
        for found, expected in zip(
            *(value_and_grad(net, make(name))(U) for name in ("y", "back")), strict=True
        ):
            close(found, expected, 1e-5)
    (back,) = net.features(U, ["back"])
    close(value_and_grad(net, sf.Channel("y", 3))(U)[0], back[..., 3].mean(axis=1), 1e-5)


def test_an_axis_of_the_users_own() -> None:
    (nhwc,) = NETS["last"].features(U, ["map"])
    of_last = NETS["last"]
    close(value_and_grad(of_last, sf.Channel("map", 2, axis=1))(U)[0], nhwc[:, 2].mean(axis=(1, 2)), 1e-5)
    close(value_and_grad(of_last, sf.Neuron("map", 2, 1, 3, axis=1))(U)[0], nhwc[:, 2, 1, 3], 1e-5)
    close(value_and_grad(of_last, sf.Neuron("map", 2, 1, 3, axis=2))(U)[0], nhwc[:, 1, 2, 3], 1e-5)
    rows = np.arange(HEIGHT, dtype=np.float32)
    found = value_and_grad(of_last, sf.Direction("map", rows, axis=1))(U)[0]
    close(found, np.einsum("nhwc,h->n", nhwc, rows) / (WIDTH * CHANNELS), 1e-5)


def test_structures_differ_only_where_graphs_do() -> None:
    of_first, of_last = NETS["first"], NETS["last"]
    vector = np.ones(CHANNELS)
    for make in (
        lambda **axis: sf.Channel("map", 1, **axis),
        lambda **axis: sf.Neuron("map", 1, **axis),
        lambda **axis: sf.Direction("map", vector, **axis),
        lambda **axis: sf.Diversity("map", **axis),
        lambda **axis: sf.Inversion("map", PHOTO, mask=np.ones((HEIGHT, WIDTH)), **axis),
    ):
        assert structure(make(), of_first) == structure(make(axis=1), of_first)
        assert structure(make(), of_last) == structure(make(axis=-1), of_last)
        assert structure(make(), of_last) != structure(make(axis=1), of_last)
    whole, plain = sf.Direction("map", np.ones((4, 5, 6))), sf.Inversion("map", PHOTO)
    assert structure(whole, of_last) == structure(sf.Direction("map", np.ones((4, 5, 6)), 1), of_last)
    assert structure(plain, of_last) == structure(sf.Inversion("map", PHOTO, axis=1), of_last)


# -- warnings and notes


@pytest.mark.parametrize(
    ("objective", "warns"),
    [
        (lambda: sf.Channel("map", 3), True),
        (lambda: sf.Channel("map", 5), False),  # no index of axis 1: it was refused
        (lambda: sf.Channel("map", 3, axis=1), False),
        (lambda: sf.Channel("map", 3, axis=-1), False),
        (lambda: sf.Neuron("map", 3), True),
        (lambda: sf.Neuron("map", 5), False),
        (lambda: sf.Neuron("map", 3, y=0, x=4), True),
        (lambda: sf.Neuron("tokens", 5), False),
        (lambda: sf.Direction("map", np.ones(CHANNELS)), False),
        (lambda: sf.Diversity("map"), True),
        (lambda: sf.Inversion("map", PHOTO, mask=np.ones(IMAGE[1:])), True),
        (lambda: sf.Inversion("map", PHOTO, mask=np.ones((HEIGHT, WIDTH))), False),
        (lambda: sf.Inversion("map", PHOTO), False),
        (lambda: sf.Layer("map"), False),
        (lambda: sf.Channel("pooled", 3), False),
    ],
)
def test_only_what_went_on_silently_is_warned_of(objective: Callable[[], Leaf], warns: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value_and_grad(NETS["last"], objective())(U)
        value_and_grad(NETS["first"], sf.Channel("map", 3))(U)
    assert {each.category for each in caught} == ({ChangedWarning} if warns else set())
    if warns:
        assert "channels on axis 3" in str(caught[0].message)
        assert "axis=1" in str(caught[0].message)
        assert caught[0].filename == __file__


def without_channels() -> Network:
    """Layers whose channels are gone ("strongest"), or split over two axes ("groups")."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("ReduceMax", ["conv"], ["strongest"], axes=[1], keepdims=0),
        helper.make_node("Reshape", ["conv", "shape"], ["groups"]),
        helper.make_node("Tanh", ["groups"], ["y"]),
    ]
    constants = {"w": np.ones((8, 3, 2, 2), np.float32), "shape": np.array([0, 2, 4, 7, 9])}
    inputs = {"x": (("N", *IMAGE), TensorProto.FLOAT)}
    return load(make_model(nodes, inputs, ["y", "strongest"], constants, opset=13))


def test_a_note_says_which_axis_was_assumed() -> None:
    net = without_channels()
    gone, split = sf.Channel("strongest", 2), sf.Channel("groups", 1)
    (note,) = value_and_grad(net, gone).notes or gone.notes(net)
    assert "'strongest' of shape (1, 7, 9)" in note
    assert "axis 1 is taken" in note
    assert "axis=" in note
    (note,) = (gone + gone).notes(net)
    (note,) = split.notes(net)
    assert "split over axes 1 and 2; axis 1 is taken" in note
    for said in (sf.Channel("strongest", 2, axis=1), sf.Channel("conv", 2), sf.Layer("strongest")):
        assert said.notes(net) == []
    grad = value_and_grad(net, gone)
    grad(U)
    assert gone.notes(net)[0] in grad.notes


def test_a_pre_activation_may_lie_in_another_layout() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Transpose", ["conv"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Relu", ["last"], ["relu"]),
    ]
    constants = {"w": np.ones((8, 3, 2, 2), np.float32)}
    net = load(make_model(nodes, {"x": (("N", *IMAGE), TensorProto.FLOAT)}, ["relu"], constants, opset=13))
    assert sf.Channel("relu", 3).spelled_at("conv", net) == ("sf.Channel('conv', 3)", "--channel conv:3")
    assert sf.Channel("relu", 3, axis=-1).spelled_at("conv", net)[0] == "sf.Channel('conv', 3)"
    rows = sf.Channel("relu", 3, axis=1).spelled_at("conv", net)
    assert rows == ("sf.Channel('conv', 3, axis=2)", "--channel conv:3 --axis 2")
    neuron = sf.Neuron("relu", 3, 1, 2, axis=3)
    assert neuron.spelled_at("conv", net) == ("sf.Neuron('conv', 3, 1, 2)", "--neuron conv:3:1:2")
    half = sf.Neuron("relu", 3, x=2).spelled_at("conv", net)
    assert half == ("sf.Neuron('conv', 3, 3, 2)", "--neuron conv:3:3:2")
    hint = net.preactivation_hint(sf.Neuron("relu", 3, 1, 2))
    assert hint is not None
    assert "sf.Neuron('last', 3, 1, 2) (--neuron last:3:1:2)" in hint


def test_tokens_are_spelled_with_x_alone() -> None:
    found = sf.Neuron("tokens", 3, x=2).spelled_at("tokens", NETS["last"])
    assert found == ("sf.Neuron('tokens', 3, x=2)", "--neuron tokens:3:2")
    vector = sf.Direction("map", np.ones(6)).spelled_at("map", NETS["last"])
    assert vector == ("sf.Direction('map', vector)", "--direction map FILE")


# -- probabilities


def test_a_sigmoid_that_is_asked_for_is_noted() -> None:
    net = NETS["last"]
    for objective, instead in (
        (sf.Channel("sigmoid", 2), "sf.Channel('scores', 2) (--channel scores:2)"),
        (sf.Neuron("sigmoid", 1), "sf.Neuron('scores', 1) (--neuron scores:1)"),
        (sf.Layer("sigmoid"), "sf.Layer('scores') (--layer scores)"),
    ):
        (note,) = objective.notes(net)
        assert "behind a Sigmoid" in note
        assert instead in note
    assert sf.Class(1).notes(net) == []  # whose sigmoid is left out
    assert sf.Channel("scores", 2).notes(net) == []


def detector() -> Network:
    """Two heads as detectors have them: (N, 4 + 1 + 3, T) of boxes, sigmoids of objectness and classes."""
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["features"]),
        helper.make_node("Sigmoid", ["features"], ["gate"]),
        helper.make_node("Mul", ["gate", "slope"], ["scaled"]),
        helper.make_node("Mul", ["features", "scaled"], ["swish"]),
    ]
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {"stem": rng.standard_normal((5, 3, 1, 1)).astype(np.float32)}
    for name, size in (("box", 4), ("obj", 1), ("cls", 3)):
        constants[name] = rng.standard_normal((size, 5, 1, 1)).astype(np.float32)
    constants["shape"], constants["slope"] = np.array([0, 8, -1]), np.array([2], np.float32)
    for k in "ab":
        for name in ("box", "obj", "cls"):
            nodes.append(helper.make_node("Conv", ["swish", name], [f"{name}_{k}"]))
        for name in ("obj", "cls"):
            nodes.append(helper.make_node("Sigmoid", [f"{name}_{k}"], [f"p_{name}_{k}"]))
        parts = [f"box_{k}", f"p_obj_{k}", f"p_cls_{k}"]
        nodes.append(helper.make_node("Concat", parts, [f"head_{k}"], axis=1))
        nodes.append(helper.make_node("Reshape", [f"head_{k}", "shape"], [f"flat_{k}"]))
    nodes.append(helper.make_node("Concat", ["flat_a", "flat_b"], ["joined"], axis=2))
    nodes.append(helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]))
    return load(
        make_model(nodes, {"x": (("N", *IMAGE), TensorProto.FLOAT)}, ["output"], constants, opset=13),
        preprocess="none",
    )


def test_the_heads_of_a_detector() -> None:
    net = detector()
    (note,) = sf.Channel("output", 6).notes(net)
    assert "sf.Channel('cls_a', 1) (--channel cls_a:1), sf.Channel('cls_b', 1) (--channel cls_b:1)" in note
    (note,) = sf.Channel("joined", 4).notes(net)
    assert "sf.Channel('obj_a', 0)" in note
    (note,) = sf.Neuron("head_b", 7).notes(net)
    assert "sf.Neuron('cls_b', 2) (--neuron cls_b:2)" in note
    for quiet in (
        sf.Channel("output", 3),
        sf.Channel("head_a", 0),
        sf.Channel("swish", 0),
        sf.Channel("scaled", 0),
        sf.Layer("output"),
        sf.Layer("features"),
    ):
        assert quiet.notes(net) == [], quiet
    assert sf.Channel("gate", 0).notes(net)


def test_boxes_by_classes_behind_a_softmax() -> None:
    """(N, boxes, classes), as detectors have it that choose among boxes: no class scores, none left out."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Transpose", ["conv"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "shape"], ["boxes"]),
        helper.make_node("Softmax", ["boxes"], ["y"], axis=2),
    ]
    w = np.random.default_rng(0).standard_normal((8, 3, 2, 2)).astype(np.float32)
    constants = {"w": w, "shape": np.array([0, -1, 4])}
    inputs = {"x": (("N", *IMAGE), TensorProto.FLOAT)}
    net = load(make_model(nodes, inputs, ["y"], constants, opset=13), preprocess="none")
    (said,) = net.notes()
    assert said.startswith("the output is the Softmax of 'boxes', and probabilities saturate")
    (note,) = sf.Channel("y", 3).notes(net)
    assert "sf.Channel('boxes', 3) (--channel boxes:3)" in note
    (y,) = net.features(U, ["y"])
    close(value_and_grad(net, sf.Channel("y", 3))(U)[0], y[..., 3].mean(axis=1), 1e-5)
    (left_out,) = NETS["last"].notes()
    assert left_out == "the trailing Sigmoid is left out; class scores are those of 'scores'"


def test_indices_of_an_axis_of_the_users_own_are_no_channels() -> None:
    """Box 6 of (N, boxes, classes) is not class 6, and there may be more boxes than classes."""
    net = detector()
    assert sf.Channel("output", 6, axis=1).notes(net) == []
    assert sf.Neuron("output", 50, x=1, axis=1).notes(net) == []
    assert sf.Channel("output", 6, axis=-1).notes(net) == sf.Channel("output", 6).notes(net)
    (note,) = sf.Channel("p_cls_a", 3, axis=2).notes(net)
    assert note.endswith("ask for what is before it: 'cls_a'")
    for objective in (sf.Channel("output", 8), sf.Neuron("output", -1)):
        with pytest.raises(InputError, match=r"channel of 'output' is .*0 to 7"):
            objective.notes(net)


@pytest.mark.parametrize(
    ("ends", "step", "asked"), [((0, 4), 1, "sf.Channel('c', 1)"), ((-1, -9), -1, "'c'")]
)
def test_a_slice_that_goes_backwards_has_other_channels(ends: tuple[int, int], step: int, asked: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["p"]),
        helper.make_node("Slice", ["p", "start", "end", "axis", "step"], ["y"]),
    ]
    constants = {"w": np.ones((4, 3, 1, 1), np.float32), "axis": np.array([1]), "step": np.array([step])}
    constants |= {"start": np.array([ends[0]]), "end": np.array([ends[1]])}
    inputs = {"x": (("N", *IMAGE), TensorProto.FLOAT)}
    net = load(make_model(nodes, inputs, ["y"], constants, opset=13), preprocess="none")
    (note,) = sf.Channel("y", 1).notes(net)
    assert f"what is before it: {asked}" in note


def test_the_note_reaches_every_caller(tmp_path: Any) -> None:
    net = detector()
    objective = 2 * sf.Channel("output", 6) + sf.Channel("swish", 0)
    (note,) = objective.notes(net)
    grad = value_and_grad(net, objective)
    grad(U)
    assert note in grad.notes
    result = sf.visualize(net, sf.Channel("output", 6), steps=1, progress=False)
    assert any("behind a Sigmoid" in each for each in result.notes)
