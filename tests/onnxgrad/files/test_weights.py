"""Weights apart from their model: values, what stays inside, what is mapped, read, and refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad import Graph, session
from sobolevflow.onnxgrad.files.reading import read_detached, read_model
from sobolevflow.onnxgrad.files.weights import LARGE, detach, size_of, stub, stub_of, write_apart
from sobolevflow.onnxgrad.graph import weights_of

RNG = np.random.default_rng(6)
BIG = RNG.standard_normal((16, 33)).astype(np.float32)
VALUES: dict[str, np.ndarray] = {
    "big": BIG,
    "double": RNG.standard_normal((200,)),
    "integers": RNG.integers(-9, 9, (20, 20)),
    "half": BIG.astype(np.float16)[:, :32],
    "just large": np.arange(LARGE, dtype=np.int8),
    "small": np.arange(4, dtype=np.int64),
    "just small": np.arange(LARGE - 1, dtype=np.int8),
    "scalar": np.array(2, np.float32),
    "empty": np.zeros((0, 5), np.float32),
}
DETACHED = {"big", "double", "integers", "half", "just large"}


def model_with(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Identity", [tensors[0].name], ["y"])
    graph = helper.make_graph([node], "g", [], [onnx.ValueInfoProto(name="y")], list(tensors))
    graph.doc_string = "a graph"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="the test")
    helper.set_model_props(model, {"key": "value"})
    return model


def model_of(values: dict[str, np.ndarray]) -> onnx.ModelProto:
    return model_with(*(numpy_helper.from_array(value, name) for name, value in values.items()))


def external(name: str, data_type: int, shape: Any, location: str, **where: int) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=data_type, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **where}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def initializers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


# -- detach


def test_detaching_keeps_every_value() -> None:
    model = model_of(VALUES)
    before = model.SerializeToString()
    structure, weights = detach(model)
    assert model.SerializeToString() == before
    assert weights.keys() == DETACHED
    assert [t.name for t in structure.graph.initializer] == list(VALUES)
    for name, tensor in initializers(structure).items():
        assert (tensor.data_type, tuple(tensor.dims)) == (
            helper.np_dtype_to_tensor_dtype(VALUES[name].dtype),
            VALUES[name].shape,
        )
        assert uses_external_data(tensor) == (name in DETACHED)
        value = weights[name] if name in DETACHED else numpy_helper.to_array(tensor)
        assert value.dtype == VALUES[name].dtype
        np.testing.assert_array_equal(value, VALUES[name])
    assert len(structure.SerializeToString()) < len(before) / 2


def test_detaching_keeps_all_else() -> None:
    model = model_of(VALUES)
    structure, _ = detach(model)
    del model.graph.initializer[:], structure.graph.initializer[:]
    assert structure == model


def test_values_in_typed_fields_are_detached_as_well() -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, BIG.shape, BIG.ravel().tolist())
    assert not tensor.raw_data
    np.testing.assert_array_equal(detach(model_with(tensor))[1]["w"], BIG)


def test_text_stays_inside() -> None:
    words = numpy_helper.from_array(np.array(["a word"] * 500, object), "words")
    structure, weights = detach(model_with(words))
    assert not weights
    assert list(structure.graph.initializer) == [words]


def test_references_to_external_data_stay_references() -> None:
    tensor = external("w", TensorProto.FLOAT, BIG.shape, "there.bin", offset=4096, length=BIG.nbytes)
    structure, weights = detach(model_with(tensor))
    assert not weights
    assert list(structure.graph.initializer) == [tensor]


def test_the_size_of_a_tensor_needs_no_values() -> None:
    for name, value in VALUES.items():
        assert size_of(stub_of(name, value)) == value.nbytes
    assert size_of(stub("", TensorProto.FLOAT, (60_000, 60_000))) == 14_400_000_000


def test_shapes_are_inferred_through_stubs() -> None:
    model = model_with(numpy_helper.from_array(BIG, "w"))
    inferred = onnx.shape_inference.infer_shapes(detach(model)[0])
    assert [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim] == list(BIG.shape)


# -- write


def test_what_is_written_apart_is_read_back(tmp_path: Path) -> None:
    structure, weights = detach(model_of(VALUES))
    data = io.BytesIO()
    write_apart(structure, weights, data, "net.data")
    (tmp_path / "net.data").write_bytes(data.getvalue())
    path = write(tmp_path, structure)
    for name, tensor in initializers(onnx.load(path)).items():  # by onnx's own reader
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), VALUES[name])
    for tensor in structure.graph.initializer:
        places = {entry.key: entry.value for entry in tensor.external_data}
        assert int(places.get("offset", 0)) % 64 == 0
    _, again = read_detached(path)
    assert all(isinstance(value, np.memmap) for value in again.values())
    assert again.keys() == weights.keys()


# -- read_detached


def test_reading_gives_what_detaching_gives(tmp_path: Path) -> None:
    model = model_of(VALUES)
    path = write(tmp_path, model)
    for source in (path, path.read_bytes(), model):
        structure, weights = read_detached(source)
        assert structure == detach(model)[0]
        assert weights.keys() == DETACHED
        for name, value in weights.items():
            np.testing.assert_array_equal(value, VALUES[name])


@pytest.mark.parametrize("one_file", [True, False])
def test_large_external_data_is_mapped_and_small_is_inside(tmp_path: Path, one_file: bool) -> None:
    path = tmp_path / "net.onnx"
    options: dict[str, Any] = {"all_tensors_to_one_file": one_file, "size_threshold": 0}
    onnx.save(model_of(VALUES), path, save_as_external_data=True, **options)
    structure, weights = read_detached(path)
    assert weights.keys() == DETACHED
    for name, tensor in initializers(structure).items():
        if name in DETACHED:
            assert isinstance(weights[name], np.memmap)
            assert not weights[name].flags.writeable
            assert not tensor.raw_data
        else:
            assert not uses_external_data(tensor)
        value = weights[name] if name in DETACHED else numpy_helper.to_array(tensor)
        np.testing.assert_array_equal(value, VALUES[name])


@pytest.mark.parametrize(
    ("offset", "mapped"), [(0, True), (4, True), (4096, True), (2, False), (4097, False)]
)
@pytest.mark.parametrize("length", [{}, {"length": BIG.nbytes}], ids=["open", "given"])
def test_data_that_is_not_aligned_is_read(
    tmp_path: Path, offset: int, mapped: bool, length: dict[str, int]
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes([255]) * offset + BIG.tobytes())
    tensor = external("w", TensorProto.FLOAT, BIG.shape, "w.bin", offset=offset, **length)
    structure, weights = read_detached(write(tmp_path, model_with(tensor)))
    assert isinstance(weights["w"], np.memmap) == mapped
    np.testing.assert_array_equal(weights["w"], BIG)
    assert uses_external_data(structure.graph.initializer[0])  # a stub
    assert {e.key: e.value for e in structure.graph.initializer[0].external_data} == {"location": "in-memory"}


def test_packed_elements_are_read(tmp_path: Path, rng: np.random.Generator) -> None:
    value = rng.integers(-8, 8, 4 * LARGE)
    packed = helper.make_tensor("w", TensorProto.INT4, value.shape, value.tolist())
    raw = numpy_helper.from_array(numpy_helper.to_array(packed)).raw_data
    assert len(raw) == value.size // 2
    (tmp_path / "w.bin").write_bytes(raw)
    tensor = external("w", TensorProto.INT4, value.shape, "w.bin", length=len(raw))
    _, weights = read_detached(write(tmp_path, model_with(tensor)))
    np.testing.assert_array_equal(weights["w"].astype(np.int64), value)


@pytest.mark.parametrize("size", [BIG.nbytes, LARGE - 4])
@pytest.mark.parametrize("kind", ["parent", "absolute", "link"])
def test_a_location_outside_the_folder_is_refused(tmp_path: Path, kind: str, size: int) -> None:
    folder, secret = tmp_path / "model", tmp_path / "secret.bin"
    folder.mkdir()
    secret.write_bytes(BIG.tobytes()[:size])
    (folder / "link.bin").symlink_to(secret)
    location = {"parent": "../secret.bin", "absolute": str(secret), "link": "link.bin"}[kind]
    path = write(folder, model_with(external("w", TensorProto.FLOAT, (size // 4,), location)))
    for read in (read_detached, read_model):
        with pytest.raises(ModelError, match=r"external data (is named|.* leads out of the model's folder)"):
            read(path)


@pytest.mark.parametrize("size", [BIG.nbytes, LARGE - 4])
def test_links_of_a_cache_are_followed(tmp_path: Path, size: int) -> None:
    blobs, snapshot, elsewhere = (tmp_path / name for name in ("blobs", "snapshot", "elsewhere"))
    for folder in (blobs, snapshot, elsewhere):
        folder.mkdir()
    (blobs / "222").write_bytes(BIG.tobytes()[:size])
    model = write(blobs, model_with(external("w", TensorProto.FLOAT, (size // 4,), "w.bin")))
    (snapshot / "model.onnx").symlink_to(model)
    (snapshot / "w.bin").symlink_to(blobs / "222")
    _, weights = read_detached(snapshot / "model.onnx")
    values = weights["w"] if size >= LARGE else None
    found = numpy_helper.to_array(read_model(snapshot / "model.onnx").graph.initializer[0])
    np.testing.assert_array_equal(found, BIG.reshape(-1)[: size // 4])
    assert values is None or np.array_equal(values, found)
    (blobs / "w.bin").symlink_to(blobs / "222")  # within the model's own folder
    (elsewhere / "model.onnx").symlink_to(model)  # the weights beside what the link leads to
    assert read_model(elsewhere / "model.onnx").graph == read_model(model).graph


@pytest.mark.parametrize("content", [None, b"", BIG.tobytes()[:-1]], ids=["missing", "empty", "short"])
def test_data_that_is_not_there_is_missed(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "w.bin").write_bytes(content)
    path = write(tmp_path, model_with(external("w", TensorProto.FLOAT, BIG.shape, "w.bin")))
    with pytest.raises(ModelError, match=r"expected beside it: w\.bin"):
        read_detached(path)


def test_a_model_without_a_folder_brings_no_external_data() -> None:
    model = model_with(external("w", TensorProto.FLOAT, BIG.shape, "w.bin"))
    for source in (model, model.SerializeToString()):
        with pytest.raises(ModelError, match="give the file's path"):
            read_detached(source)


def nested(outer: onnx.TensorProto, inner: onnx.TensorProto) -> onnx.ModelProto:
    """A constant in a node, and a weight in the branch of an If."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["out"])],
        "b",
        [],
        [onnx.ValueInfoProto(name="out")],
        [inner],
    )
    nodes = [
        helper.make_node("Constant", [], ["constant"], value=outer),
        helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch),
    ]
    condition = numpy_helper.from_array(np.array(True), "condition")
    outputs = [onnx.ValueInfoProto(name="y"), onnx.ValueInfoProto(name="constant")]
    graph = helper.make_graph(nodes, "g", [], outputs, [condition])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_external_data_within_nodes_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(BIG.tobytes())
    tensors = [external(name, TensorProto.FLOAT, BIG.shape, "w.bin") for name in ("outer", "inner")]
    path = write(tmp_path, nested(*tensors))
    structure, weights = read_detached(path)
    assert not weights
    for y in session(structure, weights=weights).run(None, {}):
        np.testing.assert_array_equal(y, BIG)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"expected beside it: w\.bin$"):
        read_detached(path)


# -- which weights a model has


def test_the_weights_of_a_model_are_those_that_it_reads() -> None:
    """Stubs that no node reads are none: onnxruntime drops them before it is given the arrays."""
    structure, weights = detach(model_of({"big": BIG, "unread": BIG, "small": np.zeros(3, np.float32)}))
    assert set(weights_of(structure, {**weights, "of another model": BIG})) == {"big"}
    np.testing.assert_array_equal(session(structure, weights=weights).run(None, {})[0], BIG)
    assert set(Graph.from_model(structure, weights).constants) == {"big", "small"}


def test_weights_of_branches_and_of_outputs() -> None:
    structure, weights = detach(nested(numpy_helper.from_array(BIG), numpy_helper.from_array(BIG, "inner")))
    branch = structure.graph.node[1].attribute[0].g
    structure.graph.initializer.extend(stub(name, TensorProto.FLOAT, BIG.shape) for name in ("outer", "out"))
    branch.node[0].input[0] = "outer"
    structure.graph.output.append(onnx.ValueInfoProto(name="out"))
    found = weights_of(structure, {**weights, "outer": BIG, "out": 2 * BIG, "inner": BIG})
    assert set(found) == {"outer", "out"}


def test_a_weight_without_values_is_missed_by_name() -> None:
    structure, _ = detach(model_of({"big": BIG}))
    with pytest.raises(ModelError, match="'big' lie in external data that was not read"):
        weights_of(structure, {})
