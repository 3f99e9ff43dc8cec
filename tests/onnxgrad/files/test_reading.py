"""Files that are no models, each refused with one clear line."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad import read_model
from tests.support.small_networks import small_model


def refusal(source: Path | bytes | onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as error:
        read_model(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_path_bytes_and_a_proto_give_the_same_model(tmp_path: Path) -> None:
    model = small_model()
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    assert read_model(path) == read_model(str(path)) == read_model(path.read_bytes()) == model
    assert read_model(model) is model


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.onnx") == f"{tmp_path / 'no.onnx'}: no such file"


def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path)


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert "cannot be read" in refusal(tmp_path / "file" / "net.onnx")


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.touch()
    assert "empty" in refusal(path)


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refusal(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    data = small_model().SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("data", [b"\x00\x01\x02" * 50, b"GIF89a" * 9, b"{}", b"\n" * 3, "Привет".encode()])
def test_other_bytes(data: bytes) -> None:
    assert "not an ONNX" in refusal(data)


def test_a_proto_without_a_graph() -> None:
    assert "it has no nodes" in refusal(onnx.ModelProto())


def test_external_data_is_loaded_and_missed_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(small_model(), path, save_as_external_data=True, location="net.weights", size_threshold=0)
    loaded = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in read_model(path).graph.initializer}
    assert loaded == {t.name: onnx.numpy_helper.to_array(t).tolist() for t in small_model().graph.initializer}
    (tmp_path / "net.weights").write_bytes(b"")
    refusal(path)
    (tmp_path / "net.weights").unlink()
    assert "net.weights" in refusal(path)


def test_bytes_cannot_bring_external_data(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(small_model(), path, save_as_external_data=True, location="net.weights", size_threshold=0)
    assert "external data" in refusal(path.read_bytes())
    assert "external data" in refusal(onnx.load(path, load_external_data=False))
