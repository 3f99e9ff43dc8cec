"""Layers wherever they keep their images, and files of every batch size: each image has its own values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings, strategies as st

import sobolevflow as sf
from sobolevflow.errors import InputError
from tests.support.gradient_cases import close, make_model, node
from tests.support.moved_images import IMAGE, Moved, moved_images
from tests.support.small_networks import SIZE, images, small_model

U = np.random.default_rng(0).random((3, *IMAGE), np.float32)


def in_file(case: Moved, u: np.ndarray) -> np.ndarray:
    """The layer as onnxruntime computes it."""
    model = case.model(len(u)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([case.layer], {"x": u})[0])


@settings(max_examples=40)
@given(moved_images(), st.sampled_from(("N", 1, 2, 3)), st.integers(1, 3))
def test_images_are_found_wherever_a_layer_keeps_them(case: Moved, batch: int | str, count: int) -> None:
    """Values are onnxruntime's own, put by NumPy to the images that they belong to."""
    net, u = sf.load(case.model(batch), preprocess="none"), U[:count]
    values, owners = in_file(case, u), case.owners(count)
    (found,) = net.features(u, [case.layer])
    assert found.shape == (count, *net.layer_shape(case.layer)[1:])
    for k in range(count):
        close(found[k].ravel(), values[owners == k], 1e-6)


@settings(max_examples=25)
@given(moved_images(), st.sampled_from(("N", 1, 2)), st.integers(1, 3))
def test_gradients_are_those_of_each_image_and_of_the_plain_network(
    case: Moved, batch: int | str, count: int
) -> None:
    moving = sf.value_and_grad(sf.load(case.model(batch), preprocess="none"), sf.Layer(case.layer))
    plain = sf.value_and_grad(sf.load(case.model("N", moving=False), preprocess="none"), sf.Layer(case.layer))
    values, gradient = moving(U[:count])
    close(values, plain(U[:count])[0], 1e-5)
    close(gradient, plain(U[:count])[1], 1e-5)
    for k in range(count):
        value, g = moving(U[k])
        close(values[k : k + 1], value, 1e-5)
        close(gradient[k], g, 1e-5)


# -- a time-major head


def time_major(batch: int | str) -> Any:
    """(T, N, C), as recognisers of text have it."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", "x w", "map", pads=[0, 1, 0, 1]),
        node("Squeeze", "map two", "line"),
        node("Transpose", "line", "turned", perm=[2, 0, 1]),
        node("MatMul", "turned m", "y"),
    ]
    constants: dict[str, np.ndarray] = {
        "w": rng.standard_normal((4, 3, 8, 3)).astype(np.float32),
        "m": rng.standard_normal((4, 5)).astype(np.float32),
        "two": np.array([2]),
    }
    return make_model(nodes, {"x": ((batch, *SIZE), 1)}, ["y"], constants, opset=13)


HEADS = {batch: sf.load(time_major(batch), preprocess="none") for batch in ("N", 1, 4)}
V = images(3, seed=4)


def head(u: np.ndarray) -> np.ndarray:
    """(N, T, C) by NumPy."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3, 8, 3)).astype(np.float32)
    m = rng.standard_normal((4, 5)).astype(np.float32)
    padded = np.pad(u, ((0, 0), (0, 0), (0, 0), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=3)
    return np.asarray(np.einsum("nchtk,dchk,de->nte", windows, w, m))


OBJECTIVES: dict[str, tuple[Any, Any]] = {
    "layer": (sf.Layer("y"), lambda y: (y**2).mean(axis=(1, 2)) / 2),
    "channel": (sf.Channel("y", 2), lambda y: y[..., 2].mean(axis=1)),
    "channels": (sf.Channel("y", [2, 0, 1]), lambda y: y[range(3), :, [2, 0, 1]].mean(axis=1)),
    "another axis": (sf.Channel("y", 7, axis=1), lambda y: y[:, 7].mean(axis=1)),
    "neuron": (sf.Neuron("y", 2, x=3), lambda y: y[:, 3, 2]),
    "index": (sf.Neuron("y", (3, 2)), lambda y: y[:, 3, 2]),
    "direction": (sf.Direction("y", np.arange(5.0)), lambda y: (y @ np.arange(5.0)).mean(axis=1)),
}


@pytest.mark.parametrize("batch", HEADS)
@pytest.mark.parametrize("what", OBJECTIVES)
@pytest.mark.filterwarnings("ignore::sobolevflow.errors.ChangedWarning")
def test_objectives_on_a_time_major_head(what: str, batch: int | str) -> None:
    net, (objective, expected) = HEADS[batch], OBJECTIVES[what]
    assert net.layer_shape("y") == (1, 10, 5)
    assert net.channel_axis("y") == 2
    close(sf.value_and_grad(net, objective)(V)[0], expected(head(V)), 1e-4)
    assert sf.check_gradient(net, objective, V, precision="double") < 1e-6


@pytest.mark.parametrize("batch", HEADS)
def test_what_matches_features_on_a_time_major_head(batch: int | str) -> None:
    net, target = HEADS[batch], images(1, seed=9)
    y, wanted = head(V), head(target)
    expected = ((y - wanted) ** 2).sum(axis=(1, 2)) / (wanted**2).sum()
    close(sf.value_and_grad(net, sf.Inversion("y", target))(V)[0], expected, 1e-4)
    close(sf.value_and_grad(net, sf.Caricature("y", target, power=0))(target)[0], np.ones(1), 1e-5)
    assert sf.invert(net, sf.Inversion("y", target[0]), steps=2, progress=False).u.shape == (1, *SIZE)


def test_diversity_needs_images_that_go_together() -> None:
    values, _ = sf.value_and_grad(HEADS["N"], sf.Diversity("y"))(V)
    assert values.shape == (3,)
    assert HEADS["N"].run_batch(3, ["y"]) == 3
    with pytest.raises(InputError, match="compares the images of a batch"):
        sf.value_and_grad(HEADS[1], sf.Diversity("y"))(V)


# -- batches that a file fixes


def hard_coded(batch: int | str, shape: list[int]) -> Any:
    """Its Reshape repeats the batch size; "turned" keeps its images on the third axis, "mixed" in none."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", "x w", "map", pads=[1, 1, 1, 1]),
        node("Relu", "map", "relu"),
        node("Reshape", "relu shape", "flat"),
        node("MatMul", "flat m", "y"),
        node("Transpose", "map", "turned", perm=[2, 3, 0, 1]),
        node("Tanh", "turned", "curved"),
        node("ReduceMean", "flat", "mixed", axes=[0]),
    ]
    constants: dict[str, np.ndarray] = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "m": rng.standard_normal((320, 5)).astype(np.float32) / 10,
        "shape": np.array(shape),
    }
    return make_model(nodes, {"x": ((batch, *SIZE), 1)}, ["y", "curved", "mixed"], constants, opset=13)


FREE = sf.load(hard_coded("N", [-1, 320]), preprocess="none")
FILLED = sf.load(hard_coded(4, [4, -1]), preprocess="none")


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
@pytest.mark.parametrize(
    "objective",
    [sf.Class(1), sf.Layer("curved"), sf.Channel("curved", 2, axis=3), sf.Class(0) - sf.Layer("map")],
)
def test_a_batch_that_the_file_fixes_is_filled_up_and_cut(objective: Any, count: int) -> None:
    u = images(count)
    for found, expected in zip(
        sf.value_and_grad(FILLED, objective)(u), sf.value_and_grad(FREE, objective)(u), strict=True
    ):
        close(found, expected, 1e-5)
    close(FILLED.scores(u), FREE.scores(u), 1e-6)
    close(FILLED.features(u, ["curved"])[0], FREE.features(u, ["curved"])[0], 1e-6)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_filled_batches_are_checked_as_they_run(precision: str) -> None:
    for count in (3, 5):
        assert sf.check_gradient(FILLED, sf.Class(1), images(count), precision=precision) < 1e-4


@pytest.mark.parametrize(("objective", "layer"), [(sf.Class(1), "map"), (sf.Layer("curved"), "turned")])
def test_gradients_by_a_layer_of_a_filled_batch(objective: Any, layer: str) -> None:
    u = images(3)
    found, expected = (sf.attribution.grad_cam(net, objective, u, layer=layer) for net in (FILLED, FREE))
    assert expected.max() > 0
    close(found, expected, 1e-5)


def test_the_exported_model_takes_as_many_images_as_asked() -> None:
    model = sf.gradient_model(FILLED, sf.Class(1), batch=3)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": images(3)})
    for a, b in zip(found, sf.value_and_grad(FREE, sf.Class(1))(images(3)), strict=True):
        close(a, b, 1e-5)
    with pytest.raises(InputError, match="takes 4 images at once, not 5"):
        sf.gradient_model(FILLED, sf.Class(1), batch=5)


def test_a_fixed_batch_that_no_node_repeats_is_as_good_as_an_open_one() -> None:
    net = sf.load(small_model(4))
    assert net.run_batch(7, ["logits"]) == 7
    close(net.scores(images(7)), sf.load(small_model()).scores(images(7)), 1e-6)


# -- images that are mixed


@pytest.mark.parametrize("net", [FREE, FILLED], ids=["open", "fixed"])
def test_values_of_several_images_are_refused(net: sf.Network) -> None:
    with pytest.raises(InputError, match="'mixed' are made of several images"):
        sf.value_and_grad(net, sf.Layer("mixed"))(images(3))


def test_a_softmax_over_the_batch_is_refused_for_several_images() -> None:
    nodes = [node("GlobalAveragePool", "x", "g"), node("Softmax", "g", "s", axis=0), node("Mul", "s g", "y")]
    net = sf.load(make_model(nodes, {"x": (("N", *SIZE), 1)}, ["y"], {}, opset=13), preprocess="none")
    with pytest.raises(InputError, match=r"made of several images, at node 's' \(Softmax\)"):
        sf.value_and_grad(net, sf.Layer("y"))(images(2))
    (g,) = net.features(images(1), ["g"])
    close(sf.value_and_grad(net, sf.Channel("y", 1))(images(1))[0], g[:, 1].ravel(), 1e-6)


def test_images_that_a_reshape_interleaves_go_one_by_one() -> None:
    """(T, N, C) read as (N, T, C): all shapes grow as if images stayed apart."""
    nodes = [
        node("Transpose", "x", "t", perm=[2, 0, 1, 3]),
        node("Tanh", "t", "h"),
        node("Reshape", "h shape", "y"),
    ]
    constants = {"shape": np.array([-1, 8, 3, 10])}
    model = make_model(nodes, {"x": (("N", *SIZE), 1)}, ["y"], constants, opset=13)
    net = sf.load(model, preprocess="none")
    assert net.run_batch(2, ["y"]) == 1
    close(net.features(images(2), ["y"])[0], np.tanh(images(2).transpose(0, 2, 1, 3)), 1e-6)
    with pytest.raises(InputError, match="one image at a time"):
        sf.gradient_model(net, sf.Layer("y"), batch=2)
