"""The engine, the gradient model as a file, and value_and_grad: batches, sharing, errors."""

from __future__ import annotations

import gc
import pickle
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sobolevflow.descent.descent import visualize
from sobolevflow.errors import (
    GradientError,
    InputError,
    ModelError,
    OutputError,
    UnknownNameError,
    UnsupportedOpError,
)
from sobolevflow.gradient import model as model_module
from sobolevflow.gradient.check import check_gradient
from sobolevflow.gradient.engine import Engine
from sobolevflow.gradient.function import value_and_grad
from sobolevflow.gradient.model import gradient_model, gradient_model_and_notes
from sobolevflow.network import Network, load
from sobolevflow.objectives import Objective
from sobolevflow.objectives.inversion import Inversion
from sobolevflow.objectives.units import Channel, Class, Layer, Neuron
from sobolevflow.onnxgrad import graph as graph_module
from sobolevflow.onnxgrad.graph import OPSET
from sobolevflow.onnxgrad.runtime import onnxruntime, session
from sobolevflow.schemes import gradient_descent
from tests.support.at_once import at_once
from tests.support.gradient_cases import close, make_model
from tests.support.small_networks import images, small_model


@pytest.fixture
def net() -> Network:
    return load(small_model(), preprocess="tf")


# -- value_and_grad


def stopping(*behind: onnx.NodeProto) -> Network:
    """The network image -> 10 x -> `behind` -> y, of which the mean over space are the scores."""
    nodes = [helper.make_node("Mul", ["x", "ten"], ["scaled"]), *behind]
    nodes.append(helper.make_node("ReduceMean", ["y", "space"], ["scores"], keepdims=0))
    constants: dict[str, np.ndarray] = {
        "ten": np.array(10, np.float32),
        "five": np.array(5, np.float32),
        "space": np.array([2, 3], np.int64),
    }
    return load(make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["scores"], constants))


def test_a_partial_stop_is_noted_once_and_the_rest_differentiated() -> None:
    net = stopping(
        helper.make_node("Round", ["scaled"], ["r"], name="the rounding"),
        helper.make_node("Mul", ["scaled", "r"], ["y"]),
    )
    u = images(1, size=(3, 4, 4))
    _, notes = gradient_model_and_notes(net, Class(1))
    evaluate = value_and_grad(net, Class(1))
    for batch in (1, 2):
        evaluate(np.repeat(u, batch, axis=0))
    assert check_gradient(net, Class(1), u, precision="double") < 1e-6
    _, gradient = value_and_grad(net, Class(1))(u)
    close(gradient[0, 1], 10 * np.round(10 * u[0, 1]) / 16, 1e-6)
    (note,) = evaluate.notes
    assert notes == [note]
    assert note not in net.notes()
    assert "Round 'the rounding' (it is constant between its steps)" in note
    result = visualize(net, Class(1), scheme=gradient_descent(), steps=1, progress=False)
    assert note in result.notes


def test_a_comparison_that_masks_is_noted() -> None:
    net = stopping(
        helper.make_node("Greater", ["scaled", "five"], ["m"], name="the mask"),
        helper.make_node("Cast", ["m"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scaled", "f"], ["y"]),
    )
    u = images(1, size=(3, 4, 4))
    evaluate = value_and_grad(net, Class(0))
    _, gradient = evaluate(u)
    close(gradient[0, 0], 10 / 16 * (10 * u[0, 0] > 5), 1e-6)
    (note,) = evaluate.notes
    assert "stops at Greater 'the mask' (its result is true or false);" in note


def test_a_gradient_that_stops_altogether_is_an_error_that_names_the_nodes() -> None:
    net = stopping(helper.make_node("Round", ["scaled"], ["y"], name="the rounding"))
    with pytest.raises(GradientError, match=r"no gradient reaches .* Round 'the rounding' .*'scaled'"):
        value_and_grad(net, Class(1))(images(1, size=(3, 4, 4)))
    with pytest.raises(GradientError, match="Round 'the rounding'"):
        gradient_model(net, Class(1))


def test_operators_on_whole_numbers_behind_a_stop_are_not_blamed() -> None:
    net = stopping(
        helper.make_node("Cast", ["scaled"], ["i"], to=TensorProto.INT64, name="the cast"),
        helper.make_node("Mod", ["i", "i"], ["j"]),
        helper.make_node("Cast", ["j"], ["y"], to=TensorProto.FLOAT),
    )
    with pytest.raises(GradientError, match="stops at Cast 'the cast'"):
        gradient_model(net, Class(1))


def test_a_network_without_stops_has_no_note_of_them(net: Network) -> None:
    evaluate = value_and_grad(net, Class(1))
    evaluate(images())
    assert evaluate.notes == []
    assert Engine(net, Class(1)).notes == []


@pytest.mark.parametrize(
    "targets",
    [
        (Class([0, 3, 5]), [Class(0), Class(3), Class(5)]),
        (Channel("conv2", [4, 0, 1]), [Channel("conv2", 4), Channel("conv2", 0), Channel("conv2", 1)]),
        (
            Neuron("conv2", 2, y=[0, 1, 1], x=[2, 1, 0]),
            [Neuron("conv2", 2, 0, 2), Neuron("conv2", 2, 1, 1), Neuron("conv2", 2, 1, 0)],
        ),
        (2 * Class([0, 3, 5]) - Class(1), [2 * Class(k) - Class(1) for k in (0, 3, 5)]),
        (
            Inversion("conv2", images(3, seed=2)),
            [Inversion("conv2", image) for image in images(3, seed=2)],
        ),
    ],
    ids=lambda t: str(t[0])[:30],
)
@pytest.mark.parametrize("batch", ["N", 1])
def test_a_batch_of_different_targets_equals_single_runs(
    targets: tuple[Objective, list[Objective]], batch: int | str
) -> None:
    # a file with its batch size fixed to one runs image by image
    net = load(small_model(batch))
    assert net.run_batch(3, ["conv2"]) == (3 if batch == "N" else 1)
    together, each = targets
    u = images(3)
    values, gradient = value_and_grad(net, together)(u)
    for k, objective in enumerate(each):
        value, g = value_and_grad(net, objective)(u[k])
        assert (value.shape, g.shape) == ((1,), u[k].shape)
        close(values[k : k + 1], value, 1e-5)
        close(gradient[k], g, 1e-5)


def test_runs_are_bitwise_repeatable(net: Network) -> None:
    u = images(2)
    first = value_and_grad(net, Class(2))(u)
    again = value_and_grad(load(small_model(), preprocess="tf"), Class(2))(u)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_call_returns_new_arrays(net: Network) -> None:
    grad = value_and_grad(net, Class(2))
    first, second = grad(images()), grad(images(seed=1))
    assert not np.array_equal(first[1], second[1])
    assert not np.shares_memory(first[1], second[1])


def test_float64_images_are_taken(net: Network) -> None:
    u = images()
    close(value_and_grad(net, Class(1))(u.astype(np.float64))[1], value_and_grad(net, Class(1))(u)[1], 0)


def test_running_a_network_leaves_the_arithmetic_of_the_process_alone(net: Network) -> None:
    # flushing subnormal numbers to zero would change results of NumPy code that has nothing to do with us
    value_and_grad(net, Class(1))(images())
    assert np.float64(5e-324) * np.float64(1) > 0
    assert np.float32(1e-45) * np.float32(1) > 0


# -- the engine


def test_engines_of_one_structure_share_a_session(net: Network) -> None:
    a, b = Engine(net, Class(0)), Engine(net, Class(5))
    shared = a._session()[1]
    assert b._session()[1] is shared
    assert Engine(net, Class(0), batch=2)._session()[1] is not shared
    assert Engine(net, Channel("conv2", 0))._session()[1] is not shared
    u = images()
    # each keeps its own target although the session is one
    close(a(u)[0], net.scores(u)[:, 0], 1e-5)
    close(b(u)[0], net.scores(u)[:, 5], 1e-5)
    close(a(u)[0], net.scores(u)[:, 0], 1e-5)


def test_the_gradient_is_a_buffer_bound_once(net: Network) -> None:
    engine = Engine(net, Class(0), batch=2)
    values, gradient = engine(images(2))
    kept = gradient.copy()
    more_values, same = engine(images(2, seed=1))
    assert same is gradient
    assert not np.array_equal(kept, same)
    assert more_values is not values


def test_shapes_and_devices_that_do_not_fit(net: Network) -> None:
    with pytest.raises(InputError, match=r"shape \(2, 3, 8, 10\), not \(1, 3, 8, 10\)"):
        Engine(net, Class(0), batch=2)(images())
    with pytest.raises(UnknownNameError, match="no device 'tpu'; the names are cpu, cuda, tensorrt"):
        Engine(net, Class(0), device="tpu")
    for batch in (0, -1, 1.5):
        with pytest.raises(InputError, match=rf"batch is {batch}; it must be a whole number of at least 1"):
            Engine(net, Class(0), batch=batch)  # type: ignore[arg-type]


def log_network() -> Network:
    """a = x - 0.5, b = log a, y = mean b: not finite where x <= 0.5."""
    nodes = [
        helper.make_node("Sub", ["x", "half"], ["a"]),
        helper.make_node("Log", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    constants = {"half": np.array(0.5, np.float32)}
    return load(make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y"], constants, opset=13))


def test_a_value_that_is_not_finite_names_the_first_such_layer() -> None:
    with pytest.raises(GradientError, match="the value of layer 'b' is not finite"):
        Engine(log_network(), Channel("y", 0))(np.full((1, 3, 4, 4), 0.25, np.float32))


def test_an_image_that_is_not_finite_is_blamed_itself(net: Network) -> None:
    with pytest.raises(GradientError, match="image itself is not finite"):
        Engine(net, Class(0))(np.full((1, 3, 8, 10), np.nan, np.float32))


def test_a_gradient_that_overflows_is_told_from_a_layer_that_does() -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
    net = load(make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y"], opset=13))
    with pytest.raises(GradientError, match="backward pass"):
        Engine(net, Channel("y", 0))(np.zeros((1, 3, 4, 4), np.float32))


# -- the gradient model


def test_it_runs_with_the_image_alone_and_reacts_to_its_parameters(net: Network) -> None:
    model = gradient_model(net, Class(2))
    run, u = session(model), images()
    value, gradient = run.run(None, {"image": u})
    expected = value_and_grad(net, Class(2))(u)
    close(value, expected[0], 1e-6)
    close(gradient, expected[1], 1e-6)
    value, gradient = run.run(None, {"image": u, "class": np.array([4])})
    expected = value_and_grad(net, Class(4))(u)
    close(value, expected[0], 1e-6)
    close(gradient, expected[1], 1e-6)


def test_every_parameter_can_be_fed(net: Network) -> None:
    target = images(seed=3)
    objective = 2 * Neuron("conv2", 1, 0, 0) - Inversion("conv2", target, mask=np.ones((2, 3)))
    model, u = gradient_model(net, objective), images()
    names = [info.name for info in model.graph.input]
    assert names == ["image", "0/channel", "0/y", "0/x", "1/target", "1/mask", "weights"]
    other = Inversion("conv2", images(seed=4), mask=np.full((2, 3), 0.5, np.float32))
    feeds = {
        "0/channel": np.array([3]),
        "0/y": np.array([1]),
        "0/x": np.array([2]),
        "1/target": net.features(images(seed=4), ["conv2"])[0],
        "1/mask": np.full((1, 1, 2, 3), 0.5, np.float32),
        "weights": np.array([[5, 0.25]], np.float32),
    }
    value, gradient = session(model).run(None, {"image": u, **feeds})
    expected = value_and_grad(net, 5 * Neuron("conv2", 3, 1, 2) + 0.25 * other)(u)
    close(value, expected[0], 1e-5)
    close(gradient, expected[1], 1e-5)


def test_its_form(net: Network) -> None:
    model = gradient_model(net, Class([1, 2]), batch=2, activations=["relu1", "prob"])
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert {n.domain for n in model.graph.node} == {""}
    assert [o.name for o in model.graph.output] == ["value", "gradient", "relu1", "prob"]
    u = images(2)
    _, _, relu, prob = session(model).run(None, {"image": u})
    for found, expected in zip((relu, prob), net.features(u, ["relu1", "prob"]), strict=True):
        close(found, expected, 1e-6)
    with pytest.raises(UnknownNameError, match="no layer 'relu9'"):
        gradient_model(net, Class(0), activations=["relu9"])


def test_only_the_needed_prefix_of_the_network_is_in_it(net: Network) -> None:
    names = {n.name for n in gradient_model(net, Layer("relu1")).graph.node}
    assert "conv1" in names
    assert not names & {"pool1", "conv2", "logits"}


def test_it_is_written_to_a_file(net: Network, tmp_path: Path) -> None:
    path = tmp_path / "gradient.onnx"
    model = gradient_model(net, Class(2), path=path)
    assert onnx.load(path) == model
    assert [p.name for p in tmp_path.iterdir()] == ["gradient.onnx"]


def test_large_weights_go_to_a_second_file(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "FILE_LIMIT", 100)
    monkeypatch.setattr(graph_module, "LARGE", 200)
    monkeypatch.chdir(tmp_path)
    sizes = []
    for _ in range(2):  # a second time, over the first
        model = gradient_model(net, Class(2), path="gradient.onnx")
        assert onnx.load("gradient.onnx", load_external_data=False) == model
        files = {p.name: p.stat().st_size for p in tmp_path.iterdir()}
        sizes.append(files)
        # what any other program does: hand onnxruntime the path
        run = onnxruntime().InferenceSession("gradient.onnx", providers=["CPUExecutionProvider"])
        value, _ = run.run(None, {"image": images()})
        close(value, net.scores(images())[:, 2], 1e-5)
    assert sizes[0] == sizes[1]
    assert sizes[0].keys() == {"gradient.onnx", "gradient.onnx.data"}
    assert sizes[0]["gradient.onnx.data"] > 1000


def test_weights_beyond_the_limit_of_protobuf_need_a_path(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "_PROTO_LIMIT", 100)
    with pytest.raises(ModelError, match="give a path"):
        gradient_model(net, Class(2))
    monkeypatch.setattr(model_module, "FILE_LIMIT", 100)
    gradient_model(net, Class(2), path=tmp_path / "gradient.onnx")


@pytest.mark.parametrize("place", ["no/such/folder/g.onnx", "folder", "file/g.onnx"])
def test_a_path_that_cannot_be_written_leaves_nothing(net: Network, tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError) as error:
        gradient_model(net, Class(2), path=tmp_path / place)
    assert place.split("/")[-1] in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_operator_without_a_rule_names_op_node_opset_and_a_layer_before_it() -> None:
    model = small_model()
    unknown = helper.make_node("Trilu", ["conv1"], ["hard"], domain="com.microsoft", name="the node")
    model.graph.node.insert(1, unknown)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[2].input[0] = "hard"
    net = load(model)
    with pytest.raises(UnsupportedOpError) as error:
        gradient_model(net, Class(0))
    text = str(error.value)
    assert "\n" not in text
    for part in ("com.microsoft:Trilu", "'the node'", "opset 13", "sf.Channel('conv1', 0)"):
        assert part in text
    assert check_gradient(net, Channel("conv1", 0)) < 1e-4  # the advice works


# -- check_gradient


def test_it_finds_a_wrong_gradient(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_gradient(net, Class(1)) < 1e-4
    original = Engine.__call__

    def wrong(self: Engine, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradient = original(self, u)
        return values, gradient * 1.01

    monkeypatch.setattr(Engine, "__call__", wrong)
    assert check_gradient(net, Class(1)) == pytest.approx(0.01, rel=0.05)


def test_a_gradient_of_zero_has_no_relative_error() -> None:
    nodes = [helper.make_node("Sub", ["x", "two"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    constants = {"two": np.array(2, np.float32)}
    net = load(make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y"], constants, opset=13))
    with pytest.raises(GradientError, match=r"gradient is zero.*pre-activation.*sf.Channel\('a', 1\)"):
        check_gradient(net, Channel("y", 1))


def test_the_precision_is_single_or_double(net: Network) -> None:
    with pytest.raises(InputError, match="'single' or 'double'"):
        check_gradient(net, Class(0), precision="half")


# --- several threads -------------------------------------------------------------------------------


def test_threads_share_a_gradient_function() -> None:
    """Fails by chance where buffers are shared, so that it is tried often: 63 of 240 were wrong."""
    function = value_and_grad(load("builtin:shapes-vgg", threads=1), Class(0))
    given = [np.full((1, 3, 96, 96), k / 16, np.float32) for k in range(4)]
    expected = [function(u)[1] for u in given]

    def work(first: int) -> list[bool]:
        order = [(first + step) % len(given) for step in range(20)]
        return [bool(np.array_equal(function(given[k])[1], expected[k])) for k in order]

    for count in (2, 4):
        found = at_once([lambda t=t: work(t) for t in range(count)])  # type: ignore[misc]
        assert all(map(all, found))


def test_each_thread_has_the_buffers_of_an_engine_that_it_writes_to(net: Network) -> None:
    engine = Engine(net, Class(1))
    engine.image[...] = images(1)
    expected = engine(engine.image)[1]
    before = expected.copy()
    values: list[np.ndarray] = at_once([lambda: engine(images(1, seed=3))[1]] * 2)
    np.testing.assert_array_equal(expected, before)
    assert len({id(each) for each in [expected, *values]}) == 3
    np.testing.assert_array_equal(engine.image, images(1))


def test_the_buffers_of_a_thread_end_with_it(net: Network) -> None:
    engine = Engine(net, Class(1))
    engine(images(1))
    ended = at_once([lambda: (engine(images(1)), weakref.ref(engine._buffers))[1]] * 3)
    gc.collect()
    assert [buffers() for buffers in ended] == [None] * 3
    assert len(engine._session()[1].bound) == 1


def test_a_function_keeps_what_few_sizes_of_batch_need(net: Network) -> None:
    function = value_and_grad(net, Class(1))
    for batch in (1, 2, 3, 4, 5, 6, 1):
        assert function(images(batch))[0].shape == (batch,)
    assert list(function._engines) == [4, 5, 6, 1]


def test_a_gradient_function_can_be_handed_to_a_process(net: Network) -> None:
    function = value_and_grad(net, Class(1))
    expected = function(images(2))[1]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(function))(images(2))[1], expected)
