"""Weights read from the file one by one are those that onnx reads, and the rest is what onnx reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import sobolevflow as sf
from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad.files.reading import read_detached
from sobolevflow.onnxgrad.files.weights import LARGE, detach
from sobolevflow.onnxgrad.files.wire import WireError, read_apart
from tests.support.gradient_cases import make_model

RNG = np.random.default_rng(2)
LARGE_FLOATS = RNG.standard_normal((LARGE // 8, 3)).astype(np.float32)


def model_with(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    """x plus all tensors' sums; of parts in every place where a model can have one."""
    names = [t.name for t in tensors]
    nodes = [helper.make_node("Cast", [n], [f"{n}/float"], to=1) for n in names]
    nodes += [helper.make_node("ReduceSum", [f"{n}/float"], [f"{n}/sum"], keepdims=0) for n in names]
    nodes.append(helper.make_node("Sum", ["x", *(f"{n}/sum" for n in names)], ["y"]))
    model = make_model(nodes, {"x": ((2, 2), TensorProto.FLOAT)}, ["y"])
    model.graph.initializer.extend(tensors)
    model.graph.doc_string = "d" * 300  # a length of two bytes
    helper.set_model_props(model, {"key": "value"})
    return model


TENSORS = {
    "large": numpy_helper.from_array(LARGE_FLOATS, "w"),
    "small": numpy_helper.from_array(LARGE_FLOATS[:3], "w"),
    "half": numpy_helper.from_array(LARGE_FLOATS.astype(np.float16), "w"),
    "integers": numpy_helper.from_array(np.arange(LARGE, dtype=np.int64), "w"),
    "floats one by one": helper.make_tensor("w", TensorProto.FLOAT, LARGE_FLOATS.shape, LARGE_FLOATS.ravel()),
    "two to a byte": helper.make_tensor("w", TensorProto.INT4, [4 * LARGE], np.zeros(4 * LARGE, np.int8)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_file_is_what_onnx_reads(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    path, tensor = tmp_path / "model.onnx", TENSORS[name]
    other = numpy_helper.from_array(rng.standard_normal((40, 40)), "v")
    model = model_with(tensor, other)
    onnx.save(model, path)
    structure, weights = read_detached(path)
    expected_structure, expected_weights = detach(onnx.load(path))
    assert structure == expected_structure
    assert weights.keys() == expected_weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(value, expected_weights[key])
        assert value.dtype == expected_weights[key].dtype
        assert value.flags.aligned
        assert value.flags.writeable


def test_large_weights_are_left_out_of_the_structure(tmp_path: Path) -> None:
    onnx.save(model_with(TENSORS["large"], TENSORS["small"]), tmp_path / "model.onnx")
    structure, weights = read_apart(tmp_path / "model.onnx")
    assert len(structure) < LARGE_FLOATS.nbytes
    assert list(weights) == ["w"]


def test_references_to_external_data_stay(tmp_path: Path) -> None:
    model = model_with(TENSORS["large"])
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    structure, weights = read_apart(tmp_path / "model.onnx")
    assert not weights
    assert onnx.ModelProto.FromString(structure).graph.initializer[0].external_data[0].value == "w.bin"
    np.testing.assert_array_equal(read_detached(tmp_path / "model.onnx")[1]["w"], LARGE_FLOATS)


@pytest.mark.parametrize("kept", [1, 40, 0.5, 0.99])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    data = model_with(TENSORS["large"]).SerializeToString()
    path.write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    with pytest.raises(WireError):
        read_apart(path)
    with pytest.raises(ModelError, match="not an ONNX"):
        read_detached(path)


@pytest.mark.parametrize("data", [b"\x07", b"\x0b\x01", b"\x80" * 12, b"\x00\x00"], ids=repr)
def test_what_is_no_message_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(WireError):
        read_apart(path)


def test_a_tensor_with_too_few_bytes_is_left_to_onnx(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(LARGE_FLOATS, "w")
    tensor.raw_data = tensor.raw_data[:-4]
    onnx.save(model_with(tensor), tmp_path / "model.onnx")
    assert not read_apart(tmp_path / "model.onnx")[1]


def test_a_tensor_of_an_unknown_type_is_an_error_in_words(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(LARGE_FLOATS, "w")
    tensor.data_type = 99
    (tmp_path / "model.onnx").write_bytes(model_with(tensor).SerializeToString())
    with pytest.raises(ModelError):
        sf.load(tmp_path / "model.onnx", preprocess="none")
