"""Models as they come: layouts, types, inputs and outputs, open sizes, opsets, and where weights lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow.errors import ModelError
from sobolevflow.network import Network, load
from sobolevflow.objectives import Objective
from tests.support.gradient_cases import close, make_model, node
from tests.support.small_networks import SIZE, images, small_model, weights

FLOAT, HALF, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
CLASS = sf.Class(2)


def retyped(model: onnx.ModelProto, shape: tuple[Any, ...], kind: int = FLOAT) -> onnx.ModelProto:
    """The model with another declaration of its first input."""
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(model.graph.input[0].name, kind, shape))
    return model


def assert_same_gradient(expected: Network, net: Network, u: np.ndarray, tolerance: float = 1e-5) -> None:
    found, wanted = (sf.value_and_grad(n, CLASS)(u) for n in (net, expected))
    assert np.abs(wanted[1]).max() > 0
    for a, b in zip(found, wanted, strict=True):
        close(a, b, tolerance)


# -- layouts and channels


def network_of(channels: int, last: bool) -> onnx.ModelProto:
    """Two convolutions with random weights; with `last` as tf2onnx writes them, transposed at both ends."""
    rng = np.random.default_rng(channels)
    shape = ("N", 6, 7, channels) if last else ("N", channels, 6, 7)
    nodes = [
        *([node("Transpose", "image_in", "x", perm=[0, 3, 1, 2])] if last else []),
        node("Conv", "x w1 b1" if last else "image_in w1 b1", "conv1", pads=[1, 1, 1, 1]),
        node("Relu", "conv1", "relu1"),
        node("Conv", "relu1 w2", "conv2", strides=[2, 2]),
        *([node("Transpose", "conv2", "nhwc", perm=[0, 2, 3, 1])] if last else []),
        node("ReduceMean", "nhwc" if last else "conv2", "y", axes=[1, 2] if last else [2, 3], keepdims=0),
    ]
    constants = {
        "w1": rng.standard_normal((4, channels, 3, 3)).astype(np.float32),
        "b1": rng.standard_normal(4).astype(np.float32),
        "w2": rng.standard_normal((5, 4, 3, 3)).astype(np.float32),
    }
    return make_model(nodes, {"image_in": (shape, FLOAT)}, ["y"], constants, opset=13)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels_first_or_last(channels: int) -> None:
    u = images(2, size=(channels, 6, 7))
    first = load(network_of(channels, last=False))
    # what an axis means cannot be seen from sizes that are rare for channels
    last = load(
        network_of(channels, last=True), preprocess={"layout": "nhwc"} if channels in (2, 7) else None
    )
    assert (first.channels_last, last.channels_last) == (False, True)
    assert first.input_shape == last.input_shape == (channels, 6, 7)
    assert_same_gradient(first, last, u)
    assert sf.check_gradient(first, CLASS, u, precision="double") < 1e-6


# -- types


def test_half_precision_from_the_input_on() -> None:
    single, half = small_model(), small_model()
    for tensor in half.graph.initializer:
        value = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    for tensor in single.graph.initializer:
        value = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    retyped(half, ("N", *SIZE), HALF)
    # computed in float32 from the float16 weights, so that nothing but these is rounded
    assert_same_gradient(load(single, preprocess="tf"), load(half, preprocess="tf"), images(2), 1e-6)


@pytest.mark.parametrize("last", [False, True])
def test_bytes_in_the_unit_of_255(last: bool) -> None:
    model = small_model()
    nodes = [node("Cast", "bytes", "cast", to=FLOAT), node("Mul", "cast scale", "x")]
    if last:
        nodes = [node("Transpose", "bytes", "moved", perm=[0, 3, 1, 2]), *nodes]
        nodes[1].input[0] = "moved"
    for k, made in enumerate(nodes):
        model.graph.node.insert(k, made)
    model.graph.initializer.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"))
    model.graph.input[0].name = "bytes"
    retyped(model, ("N", *SIZE[1:], 3) if last else ("N", *SIZE), UINT8)
    net = load(model, preprocess={"scale": 255})
    assert net.channels_last == last
    assert_same_gradient(load(small_model()), net, images(2))


# -- several inputs and outputs


def test_other_inputs_are_fed_and_stay_constant() -> None:
    model = small_model()
    model.graph.node.insert(0, node("Where", "keep image_in fill", "x"))
    model.graph.input[0].name = "image_in"
    mask, fill = np.random.default_rng(3).random((1, 1, *SIZE[1:])) < 0.7, np.array(0.25)
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("keep", TensorProto.BOOL, mask.shape),
            helper.make_tensor_value_info("fill", FLOAT, ()),
        ]
    )
    u = images(2)
    values, gradient = sf.value_and_grad(load(model, inputs={"keep": mask, "fill": fill}), CLASS)(u)
    filled = np.where(mask, u, np.float32(0.25))
    expected = sf.value_and_grad(load(small_model()), CLASS)(filled)
    close(values, expected[0], 1e-5)
    close(gradient, expected[1] * mask, 1e-5)


def test_the_image_need_not_be_the_first_input() -> None:
    model = small_model()
    model.graph.node.insert(0, node("Mul", "image_in gain", "x"))
    model.graph.input[0].name = "image_in"
    model.graph.input.insert(0, helper.make_tensor_value_info("gain", FLOAT, (1, 1)))
    net = load(model, inputs={"gain": np.array([[1.0]])})
    assert net.input_name == "image_in"
    assert_same_gradient(load(small_model()), net, images())


def test_the_first_output_holds_the_classes_and_others_are_layers() -> None:
    model = small_model()
    model.graph.node.append(node("GlobalMaxPool", "conv2", "second"))
    model.graph.output.append(onnx.ValueInfoProto(name="second"))
    net, u = load(model), images()
    assert net.score_layer == "logits"
    assert_same_gradient(load(small_model()), net, u)
    _, gradient = sf.value_and_grad(net, sf.Channel("second", 1))(u)
    best = int(net.features(u, ["conv2"])[0][0, 1].argmax())
    y, x = divmod(best, net.layer_shape("conv2")[-1])
    close(gradient, sf.value_and_grad(net, sf.Neuron("conv2", 1, y, x))(u)[1], 1e-6)


# -- open sizes


@pytest.mark.parametrize(
    "open_shape", [(None, 3, None, None), ("N", "C", "H", "W"), (-1, 3, -1, -1)], ids=str
)
@pytest.mark.parametrize("size", [(8, 10), (11, 6)])
def test_open_batch_and_sizes(open_shape: tuple[Any, ...], size: tuple[int, int]) -> None:
    shape = (3, *size)
    u = images(3, size=shape)
    net = load(retyped(small_model(), open_shape), input_shape=shape)
    assert net.run_batch(3, ["logits"]) == 3
    assert_same_gradient(load(small_model(1, size=shape)), net, u)


def test_no_shape_at_all_is_refused() -> None:
    model = small_model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match="no image input"):
        load(model, input_shape=SIZE)


# -- opsets


def written_in(opset: int) -> onnx.ModelProto:
    """One CNN in the way that each opset writes it: what was an attribute becomes an input with time."""
    rng = np.random.default_rng(8)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    constants: dict[str, np.ndarray] = {
        "w1": normal(6, 3, 3, 3),
        "b1": normal(6),
        "w2": normal(8, 3, 3, 3),
        "w3": normal(5, 4),
        "scale": normal(6),
        "bias": normal(6),
        "mean": normal(6),
        "var": rng.random(6).astype("f") + 0.5,
        "slope": normal(8, 1, 1),
        "b3": normal(5),
    }

    def either(since: int, op: str, x: str, y: str, given: dict[str, Any], **attrs: Any) -> onnx.NodeProto:
        """`given` as attributes before the opset `since`, as inputs from it on."""
        if opset < since:
            return node(op, x, y, **given, **attrs)
        values = {
            f"{y}/{k}": np.asarray(v, np.float32 if op == "Clip" else np.int64) for k, v in given.items()
        }
        constants.update(values)
        return node(op, " ".join([x, *values]), y, **attrs)

    sums = {"keepdims": 0}
    nodes = [
        either(11, "Pad", "x", "padded", {"pads": [0, 0, 1, 1, 0, 0, 1, 1]}),
        node("Conv", "padded w1 b1", "conv1"),
        node("BatchNormalization", "conv1 scale bias mean var", "bn"),
        either(11, "Clip", "bn", "relu6", {"min": 0.0, "max": 6.0}),
        node("Dropout", "relu6", "kept"),
        node("MaxPool", "kept", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "pool w2", "conv2", group=2, auto_pad="SAME_UPPER"),
        node("PRelu", "conv2 slope", "prelu"),
        either(10, "Slice", "prelu", "cut", {"starts": [1], "ends": [5], "axes": [1]}),
        node("AveragePool", "cut", "average", kernel_shape=[2, 2], pads=[1, 1, 0, 0]),
        either(13, "ReduceSum", "average", "rows", {"axes": [3]}, **sums),
        either(18, "ReduceMean", "rows", "features", {"axes": [2]}, **sums),
        node("Gemm", "features w3 b3", "logits", transB=1),
        either(13, "Unsqueeze", "logits", "deep", {"axes": [2]}),
        either(13, "Squeeze", "deep", "flat", {"axes": [2]}),
        node("Softmax", "flat", "prob", axis=1),
    ]
    model = make_model(nodes, {"x": (("N", 3, 10, 12), FLOAT)}, ["prob"], constants, opset=opset)
    model.ir_version = 3 if opset < 10 else 8
    if model.ir_version == 3:  # which lists the weights among the inputs
        model.graph.input.extend(
            helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer
        )
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("prob", FLOAT, ("N", 5)))
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("opset", range(7, 25))
def test_a_network_as_each_opset_writes_it(opset: int) -> None:
    net, u = load(written_in(opset)), images(2, size=(3, 10, 12))
    assert (net.opset, net.score_layer) == (opset, "flat")
    assert_same_gradient(load(written_in(18)), net, u)
    assert sf.check_gradient(net, CLASS, u, precision="double") < 1e-6


# -- where the weights lie


@pytest.mark.parametrize("one_file", [True, False])
def test_external_data(tmp_path: Path, one_file: bool) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(
        small_model(), path, save_as_external_data=True, all_tensors_to_one_file=one_file, size_threshold=0
    )
    assert len(list(tmp_path.iterdir())) == (2 if one_file else 7)
    assert_same_gradient(load(small_model()), load(path), images(2))


@pytest.mark.parametrize(
    ("objective", "last", "kept"),
    [
        (sf.Channel("conv1", 0), "conv1", ["w1", "b1"]),
        (sf.Layer("pool1"), "pool1", ["w1", "b1"]),
        (sf.Neuron("conv2", 1), "conv2", ["w1", "b1", "w2", "b2"]),
        (CLASS, "logits", ["w1", "b1", "w2", "b2", "w3", "b3"]),
    ],
    ids=str,
)
def test_only_the_needed_prefix_runs(objective: Objective, last: str, kept: list[str]) -> None:
    layers = [made.name for made in small_model().graph.node]
    model = sf.gradient_model(load(small_model()), objective)
    there = {made.name for made in model.graph.node}
    assert last in there
    assert not there.intersection(layers[layers.index(last) + 1 :])
    assert {t.name for t in model.graph.initializer}.intersection(weights()) == set(kept)
    read = {x for made in model.graph.node for x in made.input} | {"value", "gradient"}
    assert all(read.intersection(made.output) for made in model.graph.node)


def test_a_shorter_prefix_takes_fewer_nodes() -> None:
    net = load(small_model())
    counts = [len(sf.gradient_model(net, sf.Layer(x)).graph.node) for x in ("conv1", "pool1", "conv2", "gap")]
    assert counts == sorted(set(counts))


# -- above two gigabytes

PIXELS, CLASSES = (3, 64, 64), 45_000
BYTES = 4 * CLASSES * int(np.prod(PIXELS))


def free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_a_model_above_two_gigabytes(tmp_path: Path) -> None:
    if not hasattr(os, "sysconf") or free_memory() < 4 * BYTES:
        pytest.skip(f"{4 * BYTES / 1e9:.0f} GB of free memory are needed")
    if shutil.disk_usage(tmp_path).free < 3 * BYTES:
        pytest.skip(f"{3 * BYTES / 1e9:.0f} GB of free disk are needed")
    # one matrix, zero but for a class at its beginning and one at its end: row k is the gradient of class k
    rng, size = np.random.default_rng(0), int(np.prod(PIXELS))
    rows = {k: rng.standard_normal(size).astype(np.float32) for k in (7, CLASSES - 1)}
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(BYTES)
        for k, row in rows.items():
            file.seek(4 * k * size)
            file.write(row.tobytes())
    nodes = [node("Flatten", "x", "flat"), node("Gemm", "flat w", "y", transB=1)]
    model = make_model(nodes, {"x": ((1, *PIXELS), FLOAT)}, ["y"], opset=17)
    matrix = TensorProto(name="w", data_type=FLOAT, dims=(CLASSES, size), data_location=TensorProto.EXTERNAL)
    matrix.external_data.add(key="location", value="weights.bin")
    model.graph.initializer.append(matrix)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())

    net, u = load(tmp_path / "net.onnx"), images(size=PIXELS)
    first, last = rows
    values, gradient = sf.value_and_grad(net, sf.Class(last))(u)
    close(values, np.array([rows[last] @ u.ravel()]), 1e-5)
    np.testing.assert_array_equal(gradient.ravel(), rows[last])

    with pytest.raises(ModelError, match=r"2\.2 GB .* give a path"):
        sf.gradient_model(net, sf.Class(first))
    sf.gradient_model(net, sf.Class(first), path=tmp_path / "grad.onnx")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "1")  # or it would hold the matrix twice
    session = onnxruntime.InferenceSession(
        tmp_path / "grad.onnx", options, providers=["CPUExecutionProvider"]
    )
    for k, fed in ((first, {}), (last, {"class": np.array([last])})):
        value, gradient = session.run(None, {"image": u, **fed})
        close(value, np.array([rows[k] @ u.ravel()]), 1e-5)
        np.testing.assert_array_equal(gradient.ravel(), rows[k])
