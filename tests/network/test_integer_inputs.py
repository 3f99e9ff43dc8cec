"""Networks whose image is declared as integers: what they are shown, and what comes back."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import ChangedWarning, GradientError, InputError
from sobolevflow.network import Network, Preprocess, load
from tests.support.gradient_cases import close, make_model, node
from tests.support.small_networks import generator

FLOAT, UINT8, INT8 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8
INT32, INT64, UINT16 = TensorProto.INT32, TensorProto.INT64, TensorProto.UINT16
BYTES = {"scale": 255}
CLASS = sf.Class(1)
SIDE = 8

Constants = dict[str, Any]


def network(
    nodes: Sequence[onnx.NodeProto],
    constants: Constants | None = None,
    kind: int = UINT8,
    last: bool = False,
    batch: int | str = "N",
) -> onnx.ModelProto:
    """What makes the float tensor "f" of the image "x", and a small classifier behind it."""
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(4).astype(np.float32),
        "head": rng.standard_normal((4, 3)).astype(np.float32),
    }
    behind = [
        node("Conv", "f w b", "conv"),
        node("LeakyRelu", "conv", "relu"),
        node("GlobalAveragePool", "relu", "gap"),
        node("Flatten", "gap", "flat"),
        node("MatMul", "flat head", "y"),
    ]
    shape = (batch, SIDE, SIDE, 3) if last else (batch, 3, SIDE, SIDE)
    constants = {**weights, **(constants or {})}
    return make_model([*nodes, *behind], {"x": (shape, kind)}, ["y"], constants, opset=17)


def plain(kind: int = UINT8, last: bool = False) -> onnx.ModelProto:
    moved = [node("Transpose", "x", "i", perm=[0, 3, 1, 2])] if last else []
    return network([*moved, node("Cast", "i" if last else "x", "f", to=FLOAT)], kind=kind, last=last)


def pixels(seed: int = 0, count: int = 2, most: int = 255) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most + 1, (count, 3, SIDE, SIDE))


def computed(model: onnx.ModelProto, x: np.ndarray, last: bool = False) -> np.ndarray:
    """What onnxruntime makes of integers, in the model as it is."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    x = x.astype(dtype)
    given = x.transpose(0, 2, 3, 1) if last else x
    return np.concatenate([session.run(None, {"x": each[None]})[0] for each in given])


def assert_same(
    net: Network, model: onnx.ModelProto, x: np.ndarray, last: bool = False, tolerance: float = 1e-5
) -> np.ndarray:
    """The value of a class is the runtime's on pixels that are those of the image; returns the gradient."""
    u = (x / 255).astype(np.float32)
    values, gradient = sf.value_and_grad(net, CLASS)(u)
    expected = computed(model, x, last)
    close(values, expected[:, 1], tolerance)
    close(net.scores(u), expected, tolerance)
    return np.asarray(gradient)


# -- what they are shown


@pytest.mark.parametrize("last", [False, True])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_bytes_are_shown_as_0_to_255(last: bool, seed: int) -> None:
    with pytest.warns(ChangedWarning):
        net = load(plain(last=last))
    gradient = assert_same(net, plain(last=last), pixels(seed), last)
    floats = load(plain(FLOAT, last=last), preprocess=BYTES)
    expected = sf.value_and_grad(floats, CLASS)((pixels(seed) / 255).astype(np.float32))[1]
    np.testing.assert_array_equal(gradient, expected)
    assert np.abs(gradient).max() > 0


def test_what_is_assumed_of_bytes_is_announced_noted_and_recorded() -> None:
    with pytest.warns(ChangedWarning, match=r'preprocess=\{"scale": 255\}.*preprocess="none"') as caught:
        net = load(plain())
    assert len(caught) == 1
    assert str(caught[0].message) in net.notes()
    assert caught[0].filename == __file__
    assert net.to_dict()["preprocess"]["scale"] == 255
    assert not any("as it is" in note for note in net.notes())


@pytest.mark.parametrize("how", ["dict", "text", "file", "instance", "metadata"])
def test_what_is_said_of_bytes_is_taken_without_a_word(tmp_path: Path, how: str) -> None:
    model, file = plain(), tmp_path / "how.json"
    file.write_text(json.dumps(BYTES))
    ways = {"dict": BYTES, "text": json.dumps(BYTES), "file": file, "instance": Preprocess(255.0)}
    said: Any = ways.get(how)
    if how == "metadata":
        model.metadata_props.add(key="sobolevflow.preprocess", value=json.dumps(BYTES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = load(model, preprocess=said)
    assert_same(net, plain(), pixels())
    assert not any("255" in note for note in net.notes())


def test_bytes_in_0_to_1_are_taken_at_their_word_with_a_note(recwarn: pytest.WarningsRecorder) -> None:
    net, u = load(plain(), preprocess="none"), (pixels() / 255).astype(np.float32)
    assert not recwarn.list
    assert any("leaves the image in [0, 1]" in note for note in net.notes())
    expected = sf.value_and_grad(load(plain(FLOAT), preprocess="none"), CLASS)(u)
    for found, wanted in zip(sf.value_and_grad(net, CLASS)(u), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("said", [{"layout": "nchw"}, {"order": "bgr"}, {}])
def test_order_and_layout_say_nothing_of_the_unit(said: dict[str, Any]) -> None:
    with pytest.warns(ChangedWarning):
        net = load(plain(), preprocess=said)
    assert net.preprocess == Preprocess.of({"scale": 255, **said})


@pytest.mark.parametrize("kind", [INT8, INT32, INT64, UINT16])
def test_other_integers_need_to_be_explained(kind: int) -> None:
    name = str(np.dtype(helper.tensor_dtype_to_np_dtype(kind)))
    for said in (None, {"layout": "nchw"}):
        with pytest.raises(InputError, match=rf"'x' is declared {name}, .*\"scale\": 255.*--preprocess"):
            load(plain(kind), preprocess=said)
    advised = {"scale": 255, "mean": 128} if kind == INT8 else BYTES
    with pytest.raises(InputError, match=re.escape(f"--preprocess '{json.dumps(advised)}'")):
        load(plain(kind))
    assert_same(load(plain(kind), preprocess=BYTES), plain(kind), pixels(most=100))


@pytest.mark.parametrize(
    ("kind", "said", "low", "high"),
    [
        (INT8, BYTES, 0, 255),
        (UINT8, {"scale": 255, "mean": 128}, -128, 127),
        (INT8, {"scale": 255, "mean": 128}, None, None),
        (UINT16, {"scale": 4095}, None, None),
        (FLOAT, {"scale": 1e9}, None, None),
    ],
)
def test_numbers_that_the_type_does_not_hold_are_noted(
    kind: int, said: dict[str, Any], low: int | None, high: int | None
) -> None:
    found = [note for note in load(plain(kind), preprocess=said).notes() if "does not hold" in note]
    assert len(found) == (low is not None)
    assert all(f"numbers from {low} to {high}, which" in note for note in found)


def test_a_generator_in_front_keeps_real_numbers() -> None:
    with pytest.warns(ChangedWarning):
        bytes_behind = sf.compose(generator((SIDE, SIDE)), plain())
    floats_behind = sf.compose(generator((SIDE, SIDE)), plain(FLOAT), preprocess=BYTES)
    codes = np.random.default_rng(0).standard_normal((2, 5, 1, 1)).astype(np.float32)
    found, expected = (sf.value_and_grad(n, CLASS)(codes) for n in (bytes_behind, floats_behind))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(found[1]).min() > 0
    assert any("declared uint8" in note for note in bytes_behind.notes())


# -- the first operators of the file

_TO_FLOAT = node("Cast", "i", "f", to=FLOAT)


def byte(value: int) -> np.ndarray:
    return np.full((1, 3, 1, 1), value, np.uint8)


EXACT: dict[str, tuple[list[onnx.NodeProto], Constants]] = {
    "channels turned round": (
        [node("Split", "x", "r g u", axis=1), node("Concat", "u g r", "i", axis=1), _TO_FLOAT],
        {},
    ),
    "channels apart": (
        [
            node("Split", "x", "r g u", axis=1),
            node("Cast", "g", "wide", to=INT32),
            *(node("Cast", a, b, to=FLOAT) for a, b in (("r", "rf"), ("wide", "gf"), ("u", "uf"))),
            node("Concat", "rf gf uf", "f", axis=1),
        ],
        {},
    ),
    "channels gathered": ([node("Gather", "x k", "i", axis=1), _TO_FLOAT], {"k": np.array([2, 0, 1])}),
    "sliced and joined with a constant": (
        [node("Slice", "x a e k", "s"), node("Concat", "s c", "i", axis=1), _TO_FLOAT],
        {
            "a": np.array([1]), "e": np.array([3]), "k": np.array([1]),
            "c": np.full((1, 1, SIDE, SIDE), 9, np.uint8),
        },
    ),
    "padded with a constant": (
        [node("Pad", "x p v", "i"), _TO_FLOAT],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": np.array(114, np.uint8)},
    ),
    "resized to the nearest": (
        [node("Resize", "x - s", "i", mode="nearest"), _TO_FLOAT],
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
    "clipped": ([node("Clip", "x - v", "i"), _TO_FLOAT], {"v": np.array(114, np.uint8)}),
    "pooled": ([node("MaxPool", "x", "i", kernel_shape=[2, 2]), _TO_FLOAT], {}),
    "chosen": ([node("Where", "m x v", "i"), _TO_FLOAT], {"m": byte(1) > 0, "v": byte(3)}),
    "reshaped by its own shape": (
        [node("Shape", "x", "s"), node("Flatten", "x", "t"), node("Reshape", "t s", "i"), _TO_FLOAT],
        {},
    ),
    "widened, then shifted and scaled": (
        [
            node("Cast", "x", "j", to=INT32),
            node("Sub", "j m", "k"),
            node("Mul", "k t", "i"),
            _TO_FLOAT,
        ],
        {"m": np.full((1, 3, 1, 1), 120, np.int32), "t": np.array(2, np.int32)},
    ),
    "cast like a float": ([node("CastLike", "x w", "f")], {}),
    "cast to float64 on the way": ([node("Cast", "x", "i", to=TensorProto.DOUBLE), _TO_FLOAT], {}),
}  # fmt: skip


@pytest.mark.parametrize("case", EXACT)
def test_what_moves_numbers_or_cannot_wrap_is_computed_in_real_ones(case: str) -> None:
    nodes, constants = EXACT[case]
    model = network(nodes, constants)
    net = load(model, preprocess=BYTES)
    x = pixels(3)
    assert_same(net, model, x)
    # a point away from the kinks of Clip and MaxPool, where the network is smooth: nothing is rounded
    u = (x / 255 + np.random.default_rng(1).uniform(0.0005, 0.001, x.shape)).astype(np.float32)[:1]
    assert sf.check_gradient(net, CLASS, u, precision="double", step=1e-6) < 1e-5
    function = sf.value_and_grad(net, CLASS)
    function(u)
    assert not function.notes  # no part of it stops
    made = [y for each in model.graph.node for y in each.output]
    assert [info.name for info in net.layers] == made  # nothing is added to what is listed
    assert not any("Resize" in note for note in net.notes())


def test_a_linear_resize_is_that_of_real_numbers() -> None:
    nodes = [node("Resize", "x - s", "i", mode="linear"), _TO_FLOAT]
    constants = {"s": np.array([1, 1, 2, 2], np.float32)}
    u = (pixels() / 255).astype(np.float32)
    net, floats = (load(network(nodes, constants, kind), preprocess=BYTES) for kind in (UINT8, FLOAT))
    assert any("Resize" in note and "truncates" in note for note in net.notes())
    assert not any("Resize" in note for note in floats.notes())
    found, expected = (sf.value_and_grad(each, CLASS)(u) for each in (net, floats))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


SCALE, QUANTISED = np.float32(0.02), np.random.default_rng(7).integers(-9, 10, (3, 3, 1, 1)).astype(np.int8)
STRAIGHT: dict[str, tuple[list[onnx.NodeProto], Constants, list[onnx.NodeProto]]] = {
    # the nodes, their constants, and the same in floating point, behind which the gradient is the same
    "DequantizeLinear": (
        [node("DequantizeLinear", "x s z", "f")],
        {"s": SCALE, "z": np.uint8(110), "zf": np.float32(110)},
        [node("Sub", "x zf", "t"), node("Mul", "t s", "f")],
    ),
    "QLinearConv": (
        [node("QLinearConv", "x s z q s v t o", "i"), node("DequantizeLinear", "i t o", "f")],
        {
            "s": SCALE, "z": np.uint8(110), "q": QUANTISED, "v": np.int8(0),
            "t": np.float32(0.05), "o": np.uint8(128),
            "qf": QUANTISED * SCALE, "zf": np.float32(110),
        },
        [node("Sub", "x zf", "d"), node("Mul", "d s", "e"), node("Conv", "e qf", "f")],
    ),
    "ConvInteger": (
        [node("ConvInteger", "x q z", "i"), _TO_FLOAT],
        {"q": QUANTISED, "z": np.uint8(110), "qf": QUANTISED.astype(np.float32), "zf": np.float32(110)},
        [node("Sub", "x zf", "d"), node("Conv", "d qf", "f")],
    ),
    "MatMulInteger": (
        [node("MatMulInteger", "x q z", "i"), _TO_FLOAT],
        {
            "q": np.arange(SIDE * SIDE, dtype=np.int8).reshape(SIDE, SIDE) - 30, "z": np.uint8(7),
            "qf": np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE) - 30, "zf": np.float32(7),
        },
        [node("Sub", "x zf", "d"), node("MatMul", "d qf", "f")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STRAIGHT)
def test_quantised_operators_get_whole_numbers_and_pass_the_gradient_on(case: str) -> None:
    nodes, constants, real = STRAIGHT[case]
    model = network(nodes, {k: v for k, v in constants.items() if not k.endswith("f")})
    net, x = load(model, preprocess=BYTES), pixels(4)
    # the output of QLinearConv is rounded, and may be by one step to the other side
    gradient = assert_same(net, model, x, tolerance=0.02 if case == "QLinearConv" else 1e-5)
    u = (x / 255).astype(np.float32)
    if case != "QLinearConv":  # which moves units across the kinks behind it
        floats = load(network(real, constants, FLOAT), preprocess=BYTES)
        close(gradient, sf.value_and_grad(floats, CLASS)(u)[1], 1e-4)
    assert np.abs(gradient).max() > 0
    # between whole numbers it is the nearest that is computed with
    close(net.scores(u + np.float32(0.3 / 255)), net.scores(u), 1e-6)
    assert net.layers[0].name == nodes[0].output[0]


WRAPS: dict[str, tuple[int, list[onnx.NodeProto], Constants]] = {
    "Sub": (UINT8, [node("Sub", "x m", "i")], {"m": byte(100)}),
    "Mul": (UINT8, [node("Mul", "x m", "i")], {"m": byte(3)}),
    "Div": (UINT8, [node("Cast", "x", "j", to=INT32), node("Div", "j m", "i")], {"m": np.array(7, np.int32)}),
    "Cast": (
        INT32,
        [node("Add", "x m", "j"), node("Cast", "j", "i", to=UINT8)],
        {"m": np.array(99, np.int32)},
    ),
    "to bool": (UINT8, [node("Cast", "x", "i", to=TensorProto.BOOL)], {}),
}


@pytest.mark.parametrize("case", WRAPS)
def test_arithmetic_that_may_wrap_or_truncate_has_no_gradient(case: str) -> None:
    """Never a silent wrong one: uint8 wraps around, a division of integers truncates."""
    kind, nodes, constants = WRAPS[case]
    model = network([*nodes, _TO_FLOAT], constants, kind)
    net, x = load(model, preprocess=BYTES), pixels()
    u = (x / 255).astype(np.float32)
    close(net.scores(u), computed(model, x), 1e-5)
    with pytest.raises(GradientError, match=f"stops at .*whole_for_{'Cast' if case == 'to bool' else case}"):
        sf.value_and_grad(net, CLASS)(u)


def test_a_part_that_stops_is_noted_and_the_rest_is_right() -> None:
    nodes = [
        node("Div", "x m", "h"),
        node("Cast", "h", "k", to=FLOAT),
        node("Cast", "x", "l", to=FLOAT),
        node("Add", "k l", "f"),
    ]
    model = network(nodes, {"m": byte(7)}, batch=1)
    net, x = load(model, preprocess=BYTES), pixels(6, count=1)
    function = sf.value_and_grad(net, CLASS)
    u = (x / 255).astype(np.float32)
    values, gradient = function(u)
    close(values, computed(model, x)[:, 1], 1e-5)
    assert any("stops at" in note and "Div" in note for note in function.notes)
    model = network([node("Add", "x c", "f")], {"c": (x // 7).astype(np.float32)}, FLOAT, batch=1)
    floats = load(model, preprocess=BYTES)
    close(gradient, sf.value_and_grad(floats, CLASS)(u)[1], 1e-5)
