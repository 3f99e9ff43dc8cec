"""Models that are broken, or made to do harm: each ends with one error that says where it is wrong.

Every kind was found by `tests/full/models.py`, of which a sample runs here as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from sobolevflow import attribution
from sobolevflow.errors import InputError, ModelError, SobolevflowError
from sobolevflow.gradient.function import value_and_grad
from sobolevflow.models.onnx_file import METADATA_LABELS, METADATA_PREPROCESS
from sobolevflow.network import compose, load
from sobolevflow.objectives.units import Channel, Class
from sobolevflow.onnxgrad import normalize
from tests.support.gradient_cases import make_model, node
from tests.support.model_trial import FAILURES, Trials
from tests.support.mutable_models import MODELS
from tests.support.small_networks import generator, images, small_model

FLOAT = TensorProto.FLOAT
Change = Callable[[onnx.ModelProto], None]


def refusal(source: onnx.ModelProto | bytes | Path) -> str:
    """What is said of a model that is opened, looked at and run."""
    with pytest.raises(SobolevflowError) as error:
        work_through(source)
    return str(error.value)


def work_through(source: onnx.ModelProto | bytes | Path) -> None:
    net = load(source)
    u = np.full((1, *net.input_shape), 0.5, np.float32)
    for facts in (lambda: net.layers, net.notes, net.to_dict):
        facts()
    net.scores(u)
    value_and_grad(net, Class(0))(u)


def weight(model: onnx.ModelProto, name: str) -> Any:
    return next(t for t in model.graph.initializer if t.name == name)


def named(model: onnx.ModelProto, name: str) -> Any:
    return next(n for n in model.graph.node if n.name == name)


def replace(name: str, value: np.ndarray) -> Change:
    return lambda model: weight(model, name).CopyFrom(numpy_helper.from_array(value, name))


def attribute(of: str, name: str, value: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        changed = named(model, of)
        for old in [a for a in changed.attribute if a.name == name]:
            changed.attribute.remove(old)
        changed.attribute.append(helper.make_attribute(name, value))

    return change


def raw(name: str, change: Callable[[bytes], bytes]) -> Change:
    def cut(model: onnx.ModelProto) -> None:
        weight(model, name).raw_data = change(weight(model, name).raw_data)

    return cut


def large(change: Callable[[bytes], bytes]) -> Change:
    """The same of a weight that is kept apart from its model."""

    def widen(model: onnx.ModelProto) -> None:
        replace("w3", np.ones((600, 5), np.float32))(model)
        raw("w3", change)(model)

    return widen


def odd_window(op: str, **attrs: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        pool = named(model, "pool1")
        pool.op_type = op
        del pool.attribute[:]
        pool.attribute.extend(helper.make_attribute(k, v) for k, v in attrs.items())

    return change


def typed(kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = kind

    return change


def sized(axis: int, size: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size

    return change


def recursive(model: onnx.ModelProto) -> None:
    calls = [helper.make_node("Loopy", ["a"], ["b"], domain="own")]
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "Loopy", ["a"], ["b"], calls, imports))
    model.opset_import.append(imports[1])
    named(model, "relu1").op_type, named(model, "relu1").domain = "Loopy", "own"


def called_with_two(model: onnx.ModelProto) -> None:
    recursive(model)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "Relu", ""
    named(model, "relu1").input.append("w1")


def called_with_numbers(model: onnx.ModelProto) -> None:
    """A function hands on an attribute that its operator has of another type."""
    recursive(model)
    inner = model.functions[0].node[0]
    inner.op_type, inner.domain = "LeakyRelu", ""
    inner.attribute.add(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope")
    model.functions[0].attribute.append("slope")
    attribute("relu1", "slope", "steep")(model)


def constant_elsewhere(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.initializer.remove(weight(model, "b1"))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["b1"], value=tensor))


def without_condition(model: onnx.ModelProto) -> None:
    body = helper.make_graph([node("Relu", "conv1", "o")], "body", [], [onnx.ValueInfoProto(name="o")])
    relu = named(model, "relu1")
    relu.op_type = "If"
    del relu.input[:]
    relu.attribute.extend(helper.make_attribute(k, body) for k in ("then_branch", "else_branch"))


def untyped(model: onnx.ModelProto) -> None:
    named(model, "conv1").attribute.add(name="strides")


def twice(model: onnx.ModelProto) -> None:
    conv = named(model, "conv1")
    conv.attribute.append(conv.attribute[0])


def cast_to(kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        named(model, "relu1").op_type = "Cast"
        attribute("relu1", "to", kind)(model)
        typed(TensorProto.UINT8)(model)

    return change


def reference(model: onnx.ModelProto) -> None:
    named(model, "conv1").attribute[0].ref_attr_name = "pads"


def renamed(of: str, side: str, name: str) -> Change:
    return lambda model: getattr(named(model, of), side).__setitem__(0, name)


def in_segments(model: onnx.ModelProto) -> None:
    weight(model, "b1").segment.begin = 1


def metadata(key: str, value: str) -> Change:
    return lambda model: helper.set_model_props(model, {key: value})


def no_outputs(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


CASES: dict[str, tuple[Change, str]] = {
    "raw data too long": (raw("b1", lambda d: d + b"1234"), "weight 'b1' of shape (4,)"),
    "raw data too short": (raw("b1", lambda d: d[:-4]), "weight 'b1' of shape (4,)"),
    "raw data of half an element": (raw("b1", lambda d: d[:-1]), "weight 'b1'"),
    "raw data too long, large": (large(lambda d: d + b"1234"), "weight 'w3' of shape (600, 5)"),
    "raw data too short, large": (large(lambda d: d[:-1]), "weight 'w3' of shape (600, 5)"),
    "more values than its type's field has": (
        lambda m: weight(m, "b1").CopyFrom(TensorProto(name="b1", data_type=1, dims=[4], float_data=[1, 2])),
        "weight 'b1' of shape (4,)",
    ),
    "weight of negative size": (
        lambda m: weight(m, "w1").dims.__setitem__(0, -1),
        "weight 'w1' has the shape",
    ),
    "weight of 2^62": (lambda m: weight(m, "w1").dims.__setitem__(0, 2**62), "weight 'w1'"),
    "weight of no type": (lambda m: setattr(weight(m, "w1"), "data_type", 77), "'w1' is of element type 77"),
    "weight of another type": (replace("w1", np.ones((4, 3, 3, 3), np.int8)), "conv1"),
    "weight of another rank": (replace("w1", np.ones((4, 27), np.float32)), "conv1"),
    "weight in segments": (in_segments, "weight 'b1'"),
    "no outputs": (no_outputs, "no outputs"),
    "attribute of another type": (
        attribute("conv1", "pads", 1.5),
        "Conv node 'conv1' is not valid: Mismatched",
    ),
    "attribute without a type": (untyped, "Conv node 'conv1' is not valid"),
    "attribute twice": (twice, "Attribute 'pads' appeared multiple times"),
    "unknown attribute": (attribute("relu1", "slope", 1), "Relu node 'relu1' is not valid: Unrecognized"),
    "missing attribute": (odd_window("MaxPool"), "MaxPool node 'pool1' is not valid: Required attribute"),
    "cast to no type": (cast_to(2**32), "Cast node 'relu1': its attribute 'to' names the type 4294967296"),
    "two inputs": (lambda model: model.graph.input.append(model.graph.input[0]), "two inputs are named 'x'"),
    "cast to type 0": (cast_to(0), "Cast node 'relu1': its attribute 'to' names the type 0"),
    "reference outside of a function": (reference, "Conv node 'conv1': its attribute 'pads' refers"),
    "text that is none": (attribute("conv1", "auto_pad", b"\xff\xfe"), "'conv1': its attribute 'auto_pad'"),
    "stride 0": (
        odd_window("MaxPool", kernel_shape=[2, 2], strides=[0, 0], ceil_mode=1),
        "MaxPool node 'pool1': its attribute 'strides' must be positive, not 0, 0",
    ),
    "one stride for two axes": (
        odd_window("AveragePool", kernel_shape=[2, 2], strides=[2], ceil_mode=1),
        "strides",
    ),
    "group 0": (attribute("conv1", "group", 0), "Conv node 'conv1': its attribute 'group' must be positive"),
    "constant elsewhere": (constant_elsewhere, "external data"),
    "image of no type": (typed(99), "input 'x' is of element type 99"),
    "image of texts": (typed(TensorProto.STRING), "image input 'x' is declared object"),
    "image of truth": (typed(TensorProto.BOOL), "image input 'x' is declared bool"),
    "image of four bits": (typed(TensorProto.INT4), "image input 'x' is declared int4"),
    "image of 100,000 channels": (sized(1, 100_000), "conv1"),
    "image of 2^62 channels": (sized(1, 2**62), "image input 'x' takes 1 x 4611686018427387904 x 8 x 10"),
    "image of 2^62 columns": (sized(3, 2**62), "image input 'x' takes"),
    "batch of 2^62": (sized(0, 2**62), "image input 'x' takes"),
    "function that calls itself": (recursive, "own::Loopy -> own::Loopy"),
    "function with one input given two": (called_with_two, "Loopy node 'relu1' has 2 inputs"),
    "cycle": (renamed("conv1", "input", "prob"), "depends on its own result"),
    "tensor made twice": (renamed("relu1", "output", "conv1"), "Relu node 'relu1' makes tensor 'conv1'"),
    "tensor that is an input": (renamed("relu1", "output", "x"), "Relu node 'relu1' makes tensor 'x'"),
    "tensor from nowhere": (renamed("relu1", "input", "nowhere"), "no layer 'logits'"),
    "too few inputs": (
        lambda m: named(m, "conv1").input.__delitem__(slice(1, 3)),
        "'conv1' is not valid: Node(conv1)",
    ),
    "attribute of a call of another type": (called_with_numbers, "Relu node"),
    "If without a condition": (without_condition, "If node 'relu1' is not valid"),
    "metadata of another kind": (metadata(METADATA_LABELS, "{}"), METADATA_LABELS),
    "metadata nested deep": (metadata(METADATA_PREPROCESS, "[" * 100_000), METADATA_PREPROCESS),
    "metadata of deep mappings": (metadata(METADATA_LABELS, '{"a":' * 100_000), METADATA_LABELS),
    "metadata of 400 digits": (
        metadata(METADATA_PREPROCESS, f'{{"scale": {"9" * 400}}}'),
        f"{METADATA_PREPROCESS!r} cannot be used",
    ),
    "metadata with a channel too many": (
        metadata(METADATA_PREPROCESS, '{"mean": [1, 2, 3, 4]}'),
        "4 channels",
    ),
    "metadata that is a path": (metadata(METADATA_PREPROCESS, '"/etc/passwd"'), METADATA_PREPROCESS),
    "metadata that is a convention": (metadata(METADATA_PREPROCESS, '"torch"'), METADATA_PREPROCESS),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_is_wrong_is_said_by_name(kind: str) -> None:
    change, expected = CASES[kind]
    model = small_model()
    change(model)
    assert expected in refusal(model)


def test_the_file_is_named_too(tmp_path: Path) -> None:
    model, path = small_model(), tmp_path / "net.onnx"
    attribute("conv1", "pads", 1.5)(model)
    onnx.save(model, path)
    assert refusal(path).startswith(f"{path}: Conv node 'conv1'")
    large(lambda d: d[:-1])(model)
    path.write_bytes(model.SerializeToString())
    assert refusal(path).startswith(f"{path}: weight 'w3'")


@pytest.mark.parametrize("name", ["conv1", "relu1", "w1", "x", "prob"])
def test_names_that_are_no_text(name: str) -> None:
    data = (
        small_model(names={name: "NoUtf8"})
        .SerializeToString()
        .replace(b"NoUtf8", b"\xff\xfe\xc0\x80\xff\xff")
    )
    assert "UTF-8" in refusal(data)


def test_operators_that_are_no_text() -> None:
    data = small_model().SerializeToString().replace(b"Softmax", b"\xff\xfe\xff\xfe\xff\xfe\xff")
    assert "a name in " in refusal(data)


def test_metadata_that_is_no_text_names_no_classes() -> None:
    model = small_model()
    metadata("names", "NoUtf8")(model)
    assert load(model.SerializeToString().replace(b"NoUtf8", b"\xff" * 6)).labels is None


def test_a_long_name_does_not_take_long_to_print() -> None:
    model = small_model()
    named(model, "relu1").op_type, named(model, "relu1").domain = "x" * 100_000, "own"
    start = time.monotonic()
    refusal(model)
    assert time.monotonic() - start < 10


def test_the_doors_of_a_generator_and_of_the_normal_form() -> None:
    model = generator()
    attribute("dense", "alpha", 1)(model)
    with pytest.raises(ModelError, match="MatMul node 'dense'"):
        compose(model, "builtin:shapes-vgg")
    with pytest.raises(ModelError, match="MatMul node 'dense'"):
        normalize(model, input_shapes={"z": (1, 5)}, keep=["x"])


def test_arithmetic_that_fails_names_the_node() -> None:
    model = small_model()
    attribute("conv2", "group", 2**31)(model)
    net = load(model)
    assert {info.name: info.differentiable for info in net.layers}["pool1"]
    assert not net.layer("conv2").differentiable
    with pytest.raises(SobolevflowError, match="conv2"):
        value_and_grad(net, Channel("conv2", 0))(images())


def test_an_image_too_small_for_the_network_lists_its_layers() -> None:
    net = load(small_model(size=(3, 8, 4)))
    assert net.layer("conv2").shape == (1, 5, 2, 0)
    with pytest.raises(ModelError, match="too small"):
        net.scores(images(size=(3, 8, 4)))


# -- external data


def external(tmp_path: Path, location: str | bytes, offset: str = "0") -> str:
    """What is said of a weight that lies in another file."""
    model = small_model()
    tensor = weight(model, "w1")
    replace("w1", np.ones((4, 3, 30, 3), np.float32))(model)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="LOCATION")
    tensor.external_data.add(key="offset", value=offset)
    path = tmp_path / "net.onnx"
    data = model.SerializeToString()
    if isinstance(location, bytes):
        path.write_bytes(data.replace(b"LOCATION", location))
    else:
        tensor.external_data[0].value = location
        onnx.save(model, path)
    return refusal(path)


@pytest.mark.parametrize("location", ["/etc/passwd", "../net.onnx", "", ".", "/dev/zero", b"\xff" * 8])
def test_weights_lie_within_the_folder(location: str | bytes, tmp_path: Path) -> None:
    assert str(tmp_path / "net.onnx") in external(tmp_path, location)


@pytest.mark.parametrize("offset", ["-8", str(2**62), str(2**70), "x"])
def test_weights_lie_within_the_file(offset: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(5000))
    assert "external data" in external(tmp_path, "w.bin", offset)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    assert "external data" in external(tmp_path, "w.bin")


# -- what has to pass


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"generator"}))
def test_models_of_every_kind_pass(name: str) -> None:
    net = load(MODELS[name]())
    u = np.full((1, *net.input_shape), 0.5, np.float32)
    assert np.isfinite(net.scores(u)).all()
    values, _ = value_and_grad(net, Class(0))(u)
    assert np.allclose(values, net.scores(u)[:, 0], rtol=1e-4, atol=1e-4)


def test_layers_in_half_precision_have_a_gradient_of_their_own() -> None:
    u = images()
    found, expected = (
        attribution.grad_cam(load(model), Class(0), u, layer="conv2", signed=True)
        for model in (MODELS["half"](), small_model())
    )
    assert np.allclose(found, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())


def test_the_name_of_a_large_weight_that_is_no_text(tmp_path: Path) -> None:
    model, path = small_model(names={"w3": "NoUtf8"}), tmp_path / "net.onnx"
    weight(model, "NoUtf8").CopyFrom(numpy_helper.from_array(np.zeros((64, 64), np.float32), "NoUtf8"))
    data = model.SerializeToString().replace(b"NoUtf8", b"\xff\xfe\xc0\x80\xff\xff")
    path.write_bytes(data)
    assert "UTF-8" in refusal(data)
    assert "UTF-8" in refusal(path)
    assert "UTF-8" in refusal(onnx.load_from_string(data))


def test_a_bias_of_another_length_than_the_channels_is_not_folded() -> None:
    model = small_model()
    conv = named(model, "conv1")
    channels = weight(model, "w1").dims[0]
    statistics = [numpy_helper.from_array(np.ones(channels, np.float32), name) for name in "sbmv"]
    statistics.append(numpy_helper.from_array(np.ones(2 * channels, np.float32), "long"))
    conv.input[2:] = ["long"]
    norm = helper.make_node("BatchNormalization", ["into_norm", "s", "b", "m", "v"], [conv.output[0]], "norm")
    conv.output[0] = "into_norm"
    at = list(model.graph.node).index(conv) + 1
    after = list(model.graph.node)[at:]
    del model.graph.node[at:]
    model.graph.node.extend([norm, *after])
    model.graph.initializer.extend(statistics)
    with pytest.raises(ModelError):
        load(model).scores(images())


def test_a_layer_without_axes_has_no_map() -> None:
    model = small_model()
    model.graph.node.append(helper.make_node("ReduceMax", ["prob"], ["single"], keepdims=0))
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="single"))
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    batch.Clear()
    batch.dim_value = 8
    with pytest.raises(SobolevflowError):
        attribution.grad_cam(load(model), Class(0), images())


def test_text_of_the_file_itself_that_is_none_is_refused() -> None:
    model = small_model()
    model.graph.name = "abcdefgh"
    model.graph.doc_string = "ijklmnop"
    for text in (b"abcdefgh", b"ijklmnop"):
        with pytest.raises(ModelError, match="of its GraphProto is no text in UTF-8"):
            load(model.SerializeToString().replace(text, text[:-2] + b"\xf4a"))


def test_a_code_of_a_size_below_zero_is_refused() -> None:
    model = generator()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -1
    with pytest.raises(InputError, match="all but N known"):
        compose(model, small_model())


def test_what_nothing_depends_on_passes() -> None:
    model = small_model()
    model.graph.node.append(helper.make_node("Foreign", ["x", "nowhere"], ["z"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "unused"))
    model.graph.initializer[-1].raw_data += b"1234"
    truth = onnx.TensorProto(name="unused too", data_type=TensorProto.BOOL, dims=[3, 4], raw_data=bytes(48))
    model.graph.initializer.append(truth)
    assert np.array_equal(load(model).scores(images()), load(small_model()).scores(images()))


def test_nodes_in_any_order_pass() -> None:
    model = small_model()
    nodes = list(model.graph.node)[::-1]
    turned = onnx.GraphProto(node=nodes)
    del model.graph.node[:]
    model.graph.node.extend(turned.node)
    net = load(model)
    assert [info.name for info in net.layers] == [info.name for info in load(small_model()).layers]
    assert np.array_equal(net.scores(images()), load(small_model()).scores(images()))


def test_an_image_of_many_channels_passes_as_it_is() -> None:
    nodes = [node("Mul", "x two", "m"), node("GlobalAveragePool", "m", "y")]
    model = make_model(nodes, {"x": ((1, 100_000, 2, 2), FLOAT)}, ["y"], {"two": np.array(2, np.float32)})
    u = np.full((1, 100_000, 2, 2), 0.25, np.float32)
    assert np.array_equal(load(model, preprocess="none").scores(u), np.full((1, 100_000), 0.5))
    with pytest.raises(SobolevflowError, match="at most 4096 channels"):
        load(model, preprocess={"scale": 255})


def test_empty_lists_of_attributes_say_nothing() -> None:
    resize = node("Resize", "x - scales", "y")
    resize.attribute.append(helper.make_attribute("axes", [], attr_type=AttributeProto.INTS))
    known = {"scales": np.array([1, 1, 2, 2], np.float32)}
    net = load(make_model([resize], {"x": ((1, 3, 4, 4), FLOAT)}, ["y"], known), preprocess="none")
    u = images(size=(3, 4, 4))
    assert np.array_equal(net.features(u, ["y"])[0], u.repeat(2, axis=2).repeat(2, axis=3))


# -- what ended the process

_SLICED = """
import numpy as np
from sobolevflow.errors import ModelError
from sobolevflow.network import load
from tests.support.gradient_cases import make_model, node

nodes = [
    node("Conv", "x w", "c"),
    node("Slice", "c one nine two", "s"),
    node("GlobalAveragePool", "s", "g"),
    node("Flatten", "g", "y"),
]
known = {"w": np.ones((3, 3, 10, 1), "f4"), "one": np.array([1]), "nine": np.array([9]), "two": np.array([2])}
model = make_model(nodes, {"x": (("N", 3, "H", 10), 1)}, ["y"], known, opset=OPSET)
image = np.full((1, 3, 12, 10), 0.5, "f4")
assert np.allclose(load(model, input_shape=(12, 10)).scores(image), 15)
net = load(model, input_shape=(8, 10))
try:
    print(net.layers, net.scores(image[:, :, :8]))
except ModelError as error:
    assert "'c' would leave a size of -1" in str(error), error
    print("refused")
"""


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_a_window_larger_than_the_image_before_a_slice_is_refused(opset: int) -> None:
    command = [sys.executable, "-c", _SLICED.replace("OPSET", str(opset))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "refused", done.stderr


# -- many at once


def test_a_sample_of_mutants_ends_with_results_or_errors_of_this_package() -> None:
    verdicts = list(Trials(2).run(range(60)))
    assert len(verdicts) == 60
    assert [str(verdict) for verdict in verdicts if verdict.how in FAILURES] == []
