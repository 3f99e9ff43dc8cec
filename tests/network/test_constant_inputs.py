"""Inputs beside the image: pictures are pre-processed for them, arrays go in as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image as Pillow

import sobolevflow as sf
from sobolevflow.errors import AssumptionWarning, ImageError, InputError, UnknownNameError
from sobolevflow.network import Preprocess, load
from tests.support.gradient_cases import close, make_model, node
from tests.support.small_networks import generator, small_model

FLOAT, UINT8, HALF = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.FLOAT16
SIZE = (3, 8, 10)
CAFFE = {"scale": 255, "mean": (103.9, 116.8, 123.7), "std": (1.0, 2.0, 4.0), "order": "bgr"}


def siamese(
    kind: int = FLOAT, last: bool = False, size: tuple[Any, Any] = SIZE[1:], gain: float = 1.0
) -> onnx.ModelProto:
    """Scores of the difference between two pictures, "a" and "b", behind the same weights."""
    rng = np.random.default_rng(2)
    weights = {
        "w": 0.1 * rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "head": rng.standard_normal((4, 3)).astype(np.float32),
        "gain": np.array(gain, np.float32),
    }
    nodes = [node("Identity", "b", "b0")]
    if last:
        nodes = [node("Transpose", "b", "b0", perm=[0, 3, 1, 2])]
    nodes += [node("Cast", "b0", "b1", to=FLOAT), node("Mul", "b1 gain", "bf")]
    for x, given in (("a", "a"), ("b", "bf")):
        nodes += [
            node("Conv", f"{given} w", f"{x}_conv"),
            node("LeakyRelu", f"{x}_conv", f"{x}_relu"),
            node("GlobalAveragePool", f"{x}_relu", f"{x}_gap"),
        ]
    nodes += [
        node("Sub", "a_gap b_gap", "difference"),
        node("Flatten", "difference", "flat"),
        node("MatMul", "flat head", "y"),
    ]
    shape = (1, *size, 3) if last else (1, 3, *size)
    inputs: dict[str, Any] = {"a": ((1, *SIZE), FLOAT), "b": (shape, kind)}
    return make_model(nodes, inputs, ["y"], weights, opset=17)


def photos(size: tuple[int, ...] = SIZE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of pixels of 8 bits."""
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, 256, shape) / 255 for shape in (SIZE, size))
    return a.astype(np.float32), b.astype(np.float32)


def by_hand(u: np.ndarray, said: dict[str, Any]) -> np.ndarray:
    """x = (u * scale - mean) / std, in the network's order, channel by channel."""
    planes = u[::-1] if said.get("order") == "bgr" else u
    means = np.broadcast_to(said.get("mean", 0.0), 3)
    stds = np.broadcast_to(said.get("std", 1.0), 3)
    rows = [(p * said.get("scale", 1) - m) / s for p, m, s in zip(planes, means, stds, strict=True)]
    return np.stack(rows)[None].astype(np.float32)


def expected(model: onnx.ModelProto, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"a": a, "b": b})[0])


@pytest.mark.parametrize(
    ("said", "own", "kind", "last"),
    [
        (CAFFE, None, FLOAT, False),
        (CAFFE, None, FLOAT, True),
        (CAFFE, None, HALF, False),
        (CAFFE, {"scale": 2.0, "mean": 1.0}, FLOAT, True),  # the two want their pictures differently
        (CAFFE, {"scale": 255}, UINT8, True),
        ({"scale": 255}, None, UINT8, False),
        (None, None, UINT8, True),  # bytes count 0 to 255, whatever the image does
        (None, None, FLOAT, False),
    ],
)
def test_a_picture_is_what_the_original_model_gets_by_hand(
    said: dict[str, Any] | None, own: dict[str, Any] | None, kind: int, last: bool
) -> None:
    model, (a, b) = siamese(kind, last, gain=0.02), photos()
    b = np.float32(0.997) * b  # no whole numbers of 0 to 255
    net = load(model, preprocess=said, inputs={"b": sf.Image(b, preprocess=own)})
    unit = {"scale": 255} if kind == UINT8 else {}
    given = by_hand(b, own or said or unit).astype(helper.tensor_dtype_to_np_dtype(kind))
    if kind == UINT8:
        given = np.rint(255 * b)[None].astype(np.uint8)
    given = given.transpose(0, 2, 3, 1) if last else given
    assert net.feeds["b"].dtype == given.dtype
    if kind == UINT8:
        np.testing.assert_array_equal(net.feeds["b"], given)
    scores = expected(model, by_hand(a, said or {}), given)
    close(net.scores(a), scores, 1e-5)
    values, _ = sf.value_and_grad(net, sf.Class(1))(a)
    close(values, scores[:, 1], 1e-5)
    assert not any("as it is; sf.Image" in note for note in net.notes())
    # and it is not what the picture itself gives
    if said or own:
        assert abs(load(model, preprocess=said, inputs={"b": given * 0}).scores(a) - scores).max() > 1e-3


@pytest.mark.parametrize("shape", ["(C, H, W)", "(1, C, H, W)", "of PyTorch", "float64"])
def test_a_picture_is_an_array_of_any_kind(shape: str) -> None:
    a, b = photos()
    given: Any = {"(C, H, W)": b, "(1, C, H, W)": b[None], "float64": b.astype(np.float64)}.get(shape)
    if shape == "of PyTorch":
        given = pytest.importorskip("torch", reason="PyTorch is not installed").from_numpy(b)
    net = load(siamese(), preprocess=CAFFE, inputs={"b": sf.Image(given)})
    close(net.scores(a), expected(siamese(), by_hand(a, CAFFE), by_hand(b, CAFFE)), 1e-5)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_file_is_read_and_fitted_to_a_size_that_is_fixed(tmp_path: Path, fixed: bool) -> None:
    path, rng = tmp_path / "b.png", np.random.default_rng(1)
    Pillow.fromarray(rng.integers(0, 256, (31, 23, 3)).astype(np.uint8)).save(path)
    a, _ = photos()
    model = siamese(size=SIZE[1:] if fixed else ("h", "w"))
    b = sf.read_image(path, size=SIZE[1:] if fixed else None)
    net = load(model, preprocess=CAFFE, inputs={"b": sf.Image(path)})
    close(net.scores(a), expected(model, by_hand(a, CAFFE), by_hand(b, CAFFE)), 1e-5)


def test_a_plain_array_goes_in_as_it_is_and_is_noted_where_it_could_be_a_picture() -> None:
    a, b = photos()
    net = load(siamese(), preprocess=CAFFE, inputs={"b": b[None]})
    close(net.scores(a), expected(siamese(), by_hand(a, CAFFE), b[None]), 1e-5)
    (note,) = [note for note in net.notes() if "sf.Image(array)" in note]
    assert "'b'" in note
    assert "--input b=" in note
    quiet: list[tuple[Any, np.ndarray]] = [
        ("none", b[None]),  # nothing would change
        (CAFFE, by_hand(b, CAFFE)),  # pre-processed by hand
        (CAFFE, b[None] - 0.5),
    ]
    for said, array in quiet:
        net = load(siamese(), preprocess=said, inputs={"b": array})
        assert not any("sf.Image" in note for note in net.notes())


def test_what_inputs_are_fixed_to_identifies_a_network() -> None:
    _, b = photos()
    one, other = (load(siamese(), preprocess="tf", inputs={"b": sf.Image(x)}) for x in (b, b / 2))
    same = load(siamese(), preprocess="tf", inputs={"b": 2 * b.astype(np.float64)[None] - 1})
    assert one.to_dict()["inputs"]["b"] != other.to_dict()["inputs"]["b"]
    close(one.feeds["b"], same.feeds["b"], 1e-6)
    assert "inputs" not in load(small_model()).to_dict()


def test_mistakes_in_a_picture() -> None:
    _, b = photos()

    def refused(error: type[Exception], match: str, image: sf.Image, kind: int = FLOAT) -> None:
        with pytest.raises(error, match=match):
            load(siamese(kind), preprocess=CAFFE, inputs={"b": image})

    refused(InputError, "input 'b' takes 3", sf.Image(b[:1]))
    refused(InputError, "is 8x9, but model's input 'b' takes 8x10", sf.Image(b[:, :, :9]))
    refused(InputError, "one picture", sf.Image(np.stack([b, b])))
    refused(InputError, "one picture", sf.Image(b[0]))
    refused(InputError, "NaN", sf.Image(np.full(SIZE, np.nan, np.float32)))
    refused(InputError, "divide by 255|/ 255", sf.Image((255 * b).astype(np.uint8)))
    refused(InputError, "takes uint8, but .* from -.* to .*sf.Image", sf.Image(b), kind=UINT8)
    refused(InputError, "takes uint8", sf.Image(b, preprocess="none"), kind=UINT8)
    refused(InputError, "'b' is declared int32", sf.Image(b, preprocess={}), kind=TensorProto.INT32)
    refused(ImageError, "no file", sf.Image("absent.png"))
    with pytest.raises(InputError, match="range and page are of picture files"):
        sf.Image(b, range=(0, 4095))
    with pytest.raises(InputError, match="unknown preprocessing"):
        sf.Image(b, preprocess="cafe")
    with pytest.raises(UnknownNameError, match="no input 'c'"):
        load(siamese(), inputs={"c": sf.Image(b)})
    with pytest.warns(AssumptionWarning, match=r"from [\d.]+ to 25[\d.]+, but images lie in \[0, 1\]"):
        load(siamese(), preprocess=CAFFE, inputs={"b": sf.Image(255 * b)})


def test_an_input_that_is_no_image_takes_no_picture() -> None:
    model = small_model()
    model.graph.node.insert(0, node("Mul", "image_in gain", "x"))
    model.graph.input[0].name = "image_in"
    model.graph.input.append(helper.make_tensor_value_info("gain", FLOAT, ("n", 1)))
    with pytest.raises(InputError, match=r"'gain' of shape \(\?, 1\) takes no picture; give it an array"):
        load(model, inputs={"gain": sf.Image(photos()[1])})


def test_a_generator_takes_no_picture() -> None:
    given: Any = {"label": sf.Image(photos()[1])}
    with pytest.raises(InputError, match="generator's input 'label' takes an array"):
        sf.compose(generator(label=True), small_model(), inputs=given)


def test_its_layout_is_that_of_the_input_as_said_or_as_it_looks() -> None:
    a, b = photos()
    image = sf.Image(b, preprocess=Preprocess(2.0, (1.0,), layout="nhwc"))
    net = load(siamese(last=True, size=("h", "w")), preprocess=CAFFE, inputs={"b": image})
    given = (2 * b - 1).transpose(1, 2, 0)[None]
    close(net.scores(a), expected(siamese(last=True), by_hand(a, CAFFE), given), 1e-5)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(300), np.int64(-1), np.int32(256)])
def test_whole_numbers_of_an_input_are_not_cut(value: Any) -> None:
    array = np.full((1, *SIZE), value)
    with pytest.raises(InputError, match=r"input 'b' takes uint8, and not all of its array"):
        load(siamese(UINT8), inputs={"b": array})


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_whole_numbers_of_another_type_are_taken(dtype: Any) -> None:
    a, b = photos()
    given = np.rint(255 * b)[None]
    net = load(siamese(UINT8, gain=0.02), inputs={"b": given.astype(dtype)})
    close(net.scores(a), expected(siamese(UINT8, gain=0.02), a[None], given.astype(np.uint8)), 1e-5)


def test_a_picture_of_few_levels_is_refused_for_whole_numbers() -> None:
    with pytest.raises(InputError, match="takes int8, but the pre-processing gives numbers"):
        load(siamese(TensorProto.INT8), preprocess="torch", inputs={"b": sf.Image(photos()[1])})
