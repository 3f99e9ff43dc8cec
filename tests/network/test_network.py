"""Opening a network: its input, layers, labels and pre-processing, and every way in which that fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sobolevflow.errors import InputError, ModelError, SobolevflowError, UnknownNameError
from sobolevflow.gradient.check import check_gradient
from sobolevflow.gradient.function import value_and_grad
from sobolevflow.models.onnx_file import METADATA_LABELS, METADATA_PREPROCESS
from sobolevflow.network import load
from sobolevflow.network.preprocess import Preprocess
from sobolevflow.objectives.units import Channel, Class, Layer
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import close, make_model
from tests.support.small_networks import LABELS, SIZE, images, small_model, weights


def message(kind: type[SobolevflowError], source: Any, **options: Any) -> str:
    with pytest.raises(kind) as error:
        load(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def original(model: onnx.ModelProto, x: np.ndarray, *names: str) -> list[np.ndarray]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return list(session(copy).run(None, {copy.graph.input[0].name: x}))


# -- layers


def test_layers_are_the_files_own() -> None:
    layers = load(small_model()).layers
    names = ["conv1", "relu1", "pool1", "conv2", "relu2", "gap", "flat", "logits", "prob"]
    assert [info.name for info in layers] == names
    assert [info.op for info in layers][:3] == ["Conv", "Relu", "MaxPool"]
    assert layers[2].shape == (1, 4, 4, 5)
    assert all(info.differentiable and info.dtype == "float32" for info in layers)


def test_features_are_what_the_original_model_computes() -> None:
    model, u = small_model(), images(3)
    names = ["conv1", "pool1", "logits", "prob"]
    for found, expected in zip(load(model).features(u, names), original(model, u, *names), strict=True):
        close(found, expected, 1e-5)


@pytest.mark.parametrize(("by", "passes"), [("shape", True), ("value", False)])
def test_a_branch_passes_where_its_condition_does_not_depend_on_the_image(by: str, passes: bool) -> None:
    def branch(op: str) -> onnx.GraphProto:
        out = onnx.ValueInfoProto(name="out")
        nodes = [helper.make_node("Constant", [], ["two"], value_float=2.0)]
        nodes += [helper.make_node(op, ["x"], ["a"]), helper.make_node("Mul", ["a", "two"], ["out"])]
        return helper.make_graph(nodes, op, [], [out])

    how = {
        "shape": [helper.make_node("Size", ["x"], ["n"]), helper.make_node("Greater", ["n", "six"], ["on"])],
        "value": [
            helper.make_node("ReduceSum", ["x"], ["n"], keepdims=0),
            helper.make_node("IsNaN", ["n"], ["on"]),
        ],
    }
    nodes = [
        *how[by],
        helper.make_node("If", ["on"], ["y"], then_branch=branch("Tanh"), else_branch=branch("Exp")),
    ]
    model = make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y"], {"six": np.array(6)}, opset=16)
    net = load(model, preprocess="none")
    assert net.layer("y").differentiable is passes
    if passes:
        u = images(size=(3, 4, 4))
        _, g = value_and_grad(net, Channel("y", 1))(u)
        close(g[:, 1], 2 * (1 - np.tanh(u[:, 1]) ** 2) / 16, 1e-5)


def test_a_sequence_beside_the_path_does_no_harm() -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x"], ["parts"], axis=1),
        helper.make_node("SequenceAt", ["parts", "first"], ["part"]),
        helper.make_node("Tanh", ["x"], ["y"]),
    ]
    inputs = {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}
    net = load(make_model(nodes, inputs, ["part", "y"], {"first": np.array(0)}), preprocess="none")
    assert {info.name: info.differentiable for info in net.layers}["y"]
    _, g = value_and_grad(net, Channel("y", 1))(np.zeros((3, 4, 4), np.float32))
    close(g[1], np.full((4, 4), 1 / 16), 1e-6)


def test_bfloat16_weights_have_a_hash_and_a_gradient() -> None:
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, (1, 700), [0.5] * 700)
    nodes = [
        helper.make_node("Cast", ["w"], ["v"], to=1),
        helper.make_node("ReduceMean", ["v"], ["m"], keepdims=0),
    ]
    model = make_model(
        [*nodes, helper.make_node("Mul", ["x", "m"], ["y"])], {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y"]
    )
    model.graph.initializer.append(tensor)
    net = load(model, preprocess="none")
    assert len(net.sha256) == 64
    _, g = value_and_grad(net, Channel("y", 1))(np.ones((3, 4, 4), np.float32))
    close(g[1], np.full((4, 4), 0.5 / 16), 1e-6)


def test_indices_of_a_pool_carry_no_gradient() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y", "where"], kernel_shape=[2, 2])
    model = make_model([pool], {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y", "where"])
    layers = {info.name: info.differentiable for info in load(model, preprocess="none").layers}
    assert layers == {"y": True, "where": False}


def test_a_layer_behind_an_operator_without_a_rule_is_marked() -> None:
    model = small_model()
    model.graph.node.insert(1, helper.make_node("Trilu", ["conv1"], ["hard"], domain="com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[2].input[0] = "hard"
    good = {info.name for info in load(model).layers if info.differentiable}
    assert good == {"conv1"}


def test_shape_arithmetic_and_masks_block_no_gradient() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Greater", ["a", "half"], ["mask"]),
        helper.make_node("Cast", ["mask"], ["gate"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["a", "gate"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["y"]),
    ]
    constants = {"half": np.array(0.5, np.float32)}
    model = make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["y"], constants, opset=13)
    net = load(model)
    good = {info.name for info in net.layers if info.differentiable}
    assert good == {"a", "b", "y"}
    assert check_gradient(net, Layer("y")) < 1e-4


def test_an_unknown_layer_is_reported_with_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"no layer 'conv3'.*Did you mean.*'conv1'"):
        load(small_model()).layer("conv3")


# -- input


def test_an_open_size_must_be_given() -> None:
    model = small_model(size=(3, "H", "W"))
    assert "input_shape=(224, 224)" in message(InputError, model)
    net = load(model, input_shape=(8, 10))
    close(net.scores(images()), load(small_model()).scores(images()), 1e-6)


@pytest.mark.parametrize("shape", [(8,), (0, 8), (3, 8, 9, 9), (8, -1)])
def test_a_size_that_is_none(shape: tuple[int, ...]) -> None:
    assert "input_shape must be" in message(InputError, small_model(size=(3, "H", "W")), input_shape=shape)


def test_a_fixed_size_cannot_be_changed() -> None:
    assert "fixed height of 8, not 9" in message(InputError, small_model(), input_shape=(9, 10))
    assert "fixed channels of 3, not 4" in message(InputError, small_model(), input_shape=(4, 8, 10))


def test_a_network_without_an_image() -> None:
    nodes = [helper.make_node("Relu", ["tokens"], ["y"])]
    model = make_model(nodes, {"tokens": ((1, 7), TensorProto.FLOAT)}, ["y"])
    assert "no image input" in message(ModelError, model)
    assert "'tokens'" in message(ModelError, model)


@pytest.mark.parametrize("opset", [6, 25])
def test_an_opset_out_of_range(opset: int) -> None:
    model = small_model()
    model.opset_import[0].version = opset
    assert f"opset {opset}" in message(ModelError, model)


def second_input() -> onnx.ModelProto:
    nodes = [helper.make_node("Mul", ["x", "gain"], ["y"])]
    return make_model(nodes, {"x": ((1, *SIZE), 1), "gain": ((1,), 1)}, ["y"])


def test_other_inputs_take_a_constant() -> None:
    net = load(second_input(), inputs={"gain": np.array([3.0])})
    np.testing.assert_allclose(net.features(images(), ["y"])[0], 3 * images(), rtol=1e-6)
    with pytest.raises(ModelError, match="input 'gain' needs a value"):
        load(second_input()).features(images(), ["y"])
    assert "Did you mean 'gain'" in message(UnknownNameError, second_input(), inputs={"gan": np.ones(1)})


@pytest.mark.parametrize(
    ("u", "text"),
    [
        (np.zeros(SIZE, np.uint8), "divide by 255"),
        (np.zeros(SIZE[1:], np.float32), "must have shape"),
        (np.zeros((0, *SIZE), np.float32), "must have shape"),
        (np.zeros((1, 4, 8, 10), np.float32), "4 channels, but m takes 3"),
        (np.zeros((3, 10, 8), np.float32), "10x8, but m takes 8x10"),
        (np.full(SIZE, np.nan), "NaN"),
    ],
)
def test_images_that_do_not_fit(u: np.ndarray, text: str) -> None:
    net = load(small_model())
    net.name = "m"
    with pytest.raises(InputError, match=text):
        net.features(u, ["logits"])


# -- classes


def test_a_trailing_softmax_is_stripped() -> None:
    net = load(small_model())
    assert (net.score_layer, net.stripped, net.classes) == ("logits", "Softmax", 6)
    close(net.scores(images()), original(small_model(), images(), "logits")[0], 1e-5)
    np.testing.assert_array_equal(net.top(images(), 6)[0], np.argsort(-net.scores(images())[0]))


@pytest.mark.parametrize("name", ["king crab", "KING CRAB ", "King Crab"])
def test_a_class_by_its_name_in_any_case(name: str) -> None:
    assert load(small_model(), labels=LABELS).class_index(name) == 1


def test_a_class_by_a_synonym() -> None:
    net = load(small_model(), labels=LABELS)
    assert net.class_index("vulpes") == net.class_index("red fox") == net.class_index("red fox, vulpes") == 0


def test_an_ambiguous_name_lists_the_indices() -> None:
    with pytest.raises(UnknownNameError, match=r"'crane' is ambiguous: 2 \(Crane\), 3 \(crane\)"):
        load(small_model(), labels=LABELS).class_index("crane")


def test_an_unknown_class_is_reported_with_near_matches() -> None:
    with pytest.raises(UnknownNameError, match=r"no class 'king carb'.*'king crab'"):
        load(small_model(), labels=LABELS).class_index("king carb")


def test_a_name_needs_labels() -> None:
    with pytest.raises(InputError, match="without labels"):
        load(small_model()).class_index("king crab")


@pytest.mark.parametrize("index", [6, -1, 1000])
def test_an_index_out_of_range(index: int) -> None:
    with pytest.raises(InputError, match="0 to 5"):
        load(small_model()).class_index(index)


@pytest.mark.filterwarnings("ignore::sobolevflow.errors.ChangedWarning")
def test_a_background_class_shifts_the_output_and_no_class() -> None:
    automatic = load(small_model(), labels=LABELS[:5])
    explicit = load(small_model(), background=1)
    for net in (automatic, explicit):
        assert (net.class_index(1), net.output_index(1)) == (1, 2)
        with pytest.raises(InputError, match="0 to 4"):
            net.class_index(5)
        with pytest.raises(InputError, match="0 to 4"):
            net.output_index(5)
    assert (automatic.class_index("king crab"), automatic.output_index("king crab")) == (1, 2)
    assert automatic.class_name(1) == "king crab"
    assert load(small_model(), labels=LABELS[:5], background=0).output_index(1) == 1
    assert "background is 2; it must be 0 or 1" in message(InputError, small_model(), background=2)


def test_labels_from_a_file_and_from_metadata(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(LABELS) + "\n\n", encoding="utf-8")
    assert load(small_model(), labels=path).labels == LABELS
    model = small_model()
    helper.set_model_props(model, {METADATA_LABELS: json.dumps(LABELS)})
    assert load(model).labels == LABELS
    assert load(model, labels=LABELS[::-1]).labels == LABELS[::-1]


def test_labels_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in message(InputError, small_model(), labels=tmp_path / "no.txt")
    (tmp_path / "empty.txt").touch()
    assert "is empty" in message(InputError, small_model(), labels=tmp_path / "empty.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x80")
    assert "UTF-8" in message(InputError, small_model(), labels=tmp_path / "binary.txt")


def test_metadata_that_is_not_json() -> None:
    model = small_model()
    helper.set_model_props(model, {METADATA_LABELS: "red, green"})
    assert "not JSON" in message(ModelError, model)


# -- pre-processing

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE = np.array([103.939, 116.779, 123.68])


def column(v: np.ndarray) -> np.ndarray:
    return v.reshape(-1, 1, 1)


BY_HAND: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]] = {
    "torch": ("torch", lambda u: (u - column(MEAN)) / column(STD)),
    "caffe": ("caffe", lambda u: 255 * u[:, ::-1] - column(CAFFE)),
    "tf": ("tf", lambda u: 2 * u - 1),
    "none": ("none", lambda u: u),
    "custom": (
        {"scale": 10, "mean": [1, 2, 3], "std": [2, 4, 5], "order": "bgr"},
        lambda u: (10 * u[:, ::-1] - column(np.array([1, 2, 3]))) / column(np.array([2, 4, 5])),
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_preprocessing_equals_the_formula(name: str) -> None:
    given, formula = BY_HAND[name]
    net, u = load(small_model(), preprocess=given), images(2)
    expected = original(small_model(), formula(u).astype(np.float32), "conv2")[0]
    close(net.features(u, ["conv2"])[0], expected, 1e-5)
    assert check_gradient(net, Channel("conv2", 1), precision="double") < 1e-6
    assert check_gradient(net, Class(1)) < 1e-4


def test_preprocessing_of_one_grey_channel() -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    model = make_model(nodes, {"x": ((1, 1, 4, 5), 1)}, ["y"])
    net = load(model, preprocess={"scale": 255, "mean": 128, "std": 64})
    u = images(size=(1, 4, 5))
    close(net.features(u, ["y"])[0], ((255 * u - 128) / 64) ** 2, 1e-5)
    assert "mean has 3 channels, but the network takes 1" in message(InputError, model, preprocess="torch")


def test_channels_last_gives_the_same_values_as_channels_first() -> None:
    first = small_model()
    last = small_model()
    last.graph.node.insert(0, helper.make_node("Transpose", ["nhwc"], ["x"], perm=[0, 3, 1, 2]))
    last.graph.input[0].CopyFrom(helper.make_tensor_value_info("nhwc", TensorProto.FLOAT, ("N", 8, 10, 3)))
    a, b = load(first, preprocess="caffe"), load(last, preprocess="caffe")
    assert (a.channels_last, b.channels_last) == (False, True)
    assert b.input_shape == SIZE
    u = images(2)
    for x, y in zip(value_and_grad(a, Class(2))(u), value_and_grad(b, Class(2))(u), strict=True):
        close(y, x, 1e-5)


def test_preprocessing_from_a_file_and_from_metadata(tmp_path: Path) -> None:
    path = tmp_path / "pre.json"
    recorded = Preprocess.named("caffe").to_dict()
    path.write_text(json.dumps(recorded))
    model = small_model()
    helper.set_model_props(model, {METADATA_PREPROCESS: json.dumps(recorded)})
    assert (
        load(small_model(), preprocess=path).preprocess == load(model).preprocess == Preprocess.named("caffe")
    )
    assert load(model, preprocess="none").preprocess == Preprocess()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("tourch", "Did you mean 'torch'"),
        ({"means": 3}, "unknown preprocess key 'means'"),
        ({"std": 0}, "must not be zero"),
        ({"order": "gbr"}, "'rgb' or 'bgr'"),
        ({"layout": "hwc"}, "'nchw' or 'nhwc'"),
        ({"mean": "a"}, "number"),
        ({"mean": []}, "finite numbers"),
        ({"scale": float("nan")}, "finite numbers"),
        ("no/such.json", "cannot be read"),
    ],
)
def test_preprocessing_that_is_wrong(given: Any, text: str) -> None:
    assert text in message(InputError, small_model(), preprocess=given)


def test_a_preprocess_file_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "pre.json"
    path.write_text("[1, 2]")
    assert "holds no mapping of fields" in message(InputError, small_model(), preprocess=path)
    path.write_text("{")
    assert "not JSON" in message(InputError, small_model(), preprocess=path)


# -- names


@pytest.mark.parametrize(
    "name",
    [
        *("image", "value", "gradient", "class", "weights", "target", "channel", "y", "x_", "direction"),
        *(
            "mask",
            "0/class",
            "1/class",
            "image/weight",
            "image/preprocessed",
            "grad/Mul__1",
            "objective/Mul__1",
        ),
    ],
)
def test_a_users_tensor_may_bear_any_name(name: str) -> None:
    u = images()
    plain = load(small_model())
    expected = value_and_grad(plain, 2 * Class(1) - Channel("conv2", 2))(u)
    for tensor in ("x", "conv1", "w1", "conv2", "logits", "b3"):
        net = load(small_model(names={tensor: name}))
        layer = name if tensor == "conv2" else "conv2"
        found = value_and_grad(net, 2 * Class(1) - Channel(layer, 2))(u)
        for a, b in zip(found, expected, strict=True):
            close(a, b, 1e-6)


def test_names_that_moved_aside_do_not_collide() -> None:
    net = load(small_model(names={"conv1": "image", "relu1": "model/image", "conv2": "model/model/image"}))
    expected = load(small_model()).features(images(), ["conv1", "relu1", "conv2"])
    found = net.features(images(), ["image", "model/image", "model/model/image"])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_network_does_not_change_the_users_model() -> None:
    model = small_model()
    before = model.SerializeToString()
    check_gradient(load(model, preprocess="torch"), Class(0))
    assert model.SerializeToString() == before


def test_a_network_prints_what_it_is() -> None:
    assert repr(load(small_model())) == "Network('model', input 3x8x10, opset 13, 9 layers)"


def test_the_weights_are_the_ones_given() -> None:
    # guards the fixture: the layers above are computed from these
    u = images()
    w = weights()
    flat = load(small_model()).features(u, ["flat"])[0]
    close(load(small_model()).scores(u), flat @ w["w3"].T + w["b3"], 1e-5)


# -- what a file claims and does not hold


def claims_an_open_batch() -> onnx.ModelProto:
    """A batch axis left open in front of a Reshape that assumes one image, so that two would mix."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "one"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["s"]),
    ]
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "w": rng.standard_normal((2, 3, 4, 4)).astype(np.float32),
        "one": np.array([1, -1], np.int64),
        "m": rng.standard_normal((2, 5)).astype(np.float32),
    }
    return make_model(nodes, {"x": (("N", 3, 4, 4), TensorProto.FLOAT)}, ["s"], constants)


def test_images_that_would_mix_in_a_batch_run_one_by_one() -> None:
    net = load(claims_an_open_batch())
    u = images(3, size=(3, 4, 4))
    assert net.run_batch(3, ["a"]) == 3
    assert net.run_batch(3, ["s"]) == 1
    together = net.scores(u)
    np.testing.assert_allclose(together, np.concatenate([net.scores(image) for image in u]), rtol=1e-5)
    values, gradient = value_and_grad(net, Class([0, 1, 2]))(u)
    for k in range(3):
        value, g = value_and_grad(net, Class(k))(u[k])
        np.testing.assert_allclose(values[k], value[0], rtol=1e-5)
        np.testing.assert_allclose(gradient[k], g, rtol=1e-5)


def test_an_integer_input_gets_real_numbers_and_a_note() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["y"]),
    ]
    constants = {"w": np.ones((2, 3, 1, 1), np.float32)}
    model = make_model(nodes, {"x": ((1, 3, 4, 4), TensorProto.UINT8)}, ["y"], constants)
    net = load(model, preprocess={"scale": 255})
    assert any("uint8" in note for note in net.notes())
    _, g = value_and_grad(net, Channel("y", 0))(images(size=(3, 4, 4)))
    np.testing.assert_allclose(g, np.full((1, 3, 4, 4), 255 / 16), rtol=1e-5)


def test_a_size_that_does_not_fit_is_reported_with_the_runtimes_reason() -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["s"]),
    ]
    constants = {"w": np.ones((48, 2), np.float32)}
    model = make_model(nodes, {"x": (("N", 3, "H", "W"), TensorProto.FLOAT)}, ["s"], constants)
    assert load(model, input_shape=(4, 4)).classes == 2
    with pytest.raises(ModelError, match="3x5x5"):
        _ = load(model, input_shape=(5, 5)).classes


@pytest.mark.parametrize("labels", [["a", "b"], [str(k) for k in range(8)]])
def test_labels_that_do_not_fit_are_refused_at_once_with_both_counts(labels: list[str]) -> None:
    assert f"{len(labels)} labels do not fit 6 classes" in message(InputError, small_model(), labels=labels)


@pytest.mark.parametrize("which", [-1, 6, 1.5, True, None])
def test_a_class_that_is_no_index_is_refused(which: Any) -> None:
    net = load(small_model(), labels=LABELS[:5], background=1)
    with pytest.raises(InputError):
        value_and_grad(net, Class(which))(images())


def test_few_classes_are_listed_where_none_is_near() -> None:
    net = load(small_model(), labels=LABELS)
    with pytest.raises(UnknownNameError, match="There are: red fox, Vulpes, king crab"):
        net.class_index("zzz")


@pytest.mark.parametrize("source", [None, 3, ["model.onnx"]])
def test_what_is_no_model_is_refused(source: Any) -> None:
    assert "a model is a path" in message(InputError, source)


@pytest.mark.parametrize(
    "options",
    [{"labels": 3}, {"threads": -1}, {"threads": 1.5}, {"input_shape": 16}, {"input_shape": (8.5, 8)}],
)
def test_options_of_the_wrong_kind_are_refused(options: dict[str, Any]) -> None:
    message(InputError, small_model(), **options)


def test_an_operator_of_another_domain_is_named_with_a_way_out() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Strange", ["a"], ["b"], name="odd", domain="org.example"),
    ]
    model = make_model(
        nodes, {"x": ((1, 3, 4, 4), TensorProto.FLOAT)}, ["b"], {"w": np.ones((2, 3, 1, 1), np.float32)}
    )
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    with pytest.raises(ModelError) as error:
        value_and_grad(load(model), Layer("b"))(images(size=(3, 4, 4)))
    for part in ("org.example:Strange", "'odd'", "--channel a:0"):
        assert part in str(error.value)


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.FLOAT16])
def test_a_network_of_another_precision_gives_single_precision(kind: int) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    rng = np.random.default_rng(0)
    w = (rng.integers(-4, 5, (3 * 16, 5)) / 4).astype(np.float32)  # exact in every precision
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=kind),
        helper.make_node("Flatten", ["c"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["s"]),
    ]
    weight = onnx.numpy_helper.from_array(w.astype(dtype), "w")
    model = make_model(nodes, {"x": (("N", 3, 4, 4), TensorProto.FLOAT)}, ["s"], {})
    model.graph.initializer.append(weight)
    net, u = load(model), images(2, size=(3, 4, 4))
    scores = np.maximum(u.reshape(2, -1) @ w, 0)
    np.testing.assert_allclose(net.scores(u), scores, rtol=1e-5)
    alive = int(np.argmax(scores[0]))
    values, g = value_and_grad(net, Class(alive))(u[:1])
    np.testing.assert_allclose(values, scores[:1, alive], rtol=1e-5)
    np.testing.assert_allclose(g.ravel(), w[:, alive], rtol=1e-6)
