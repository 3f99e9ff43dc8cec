"""What the commands share: the network as it was asked for, its inputs, what is said of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tifffile
from onnx import TensorProto
from PIL import Image

from sobolevflow.cli.types import named_file
from sobolevflow.pictures import read_image
from tests.network.test_constant_inputs import CAFFE, by_hand, expected, siamese
from tests.network.test_integer_inputs import plain
from tests.support.command_line import run
from tests.support.gradient_cases import close


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo=1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 22, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("command", ["inspect", "gradient", "gradient --quiet"])
def test_what_is_assumed_of_bytes_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    model = save(plain(), tmp_path / "bytes.onnx")
    gradient = ["gradient", model, "--class", "0", "-o", tmp_path / "g.onnx"]
    words = ["inspect", model] if command == "inspect" else gradient
    assert run(*words, *(["--quiet"] if "quiet" in command else [])) == 0
    said = capsys.readouterr()
    count = re.sub(r"\s+", " ", said.out + said.err).count("no pre-processing says otherwise")
    assert count == (0 if "quiet" in command else 1)
    assert run(*words, "--preprocess", '{"scale": 255}') == 0
    said = capsys.readouterr()
    assert "says otherwise" not in said.out + said.err


def test_inspect_has_the_notes_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", save(plain(), tmp_path / "bytes.onnx"), "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert any("no pre-processing says otherwise" in note for note in found["notes"])
    assert found["preprocess"]["scale"] == 255
    assert not said.err


def test_integers_without_an_explanation_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save(plain(TensorProto.INT32), tmp_path / "int32.onnx")
    assert run("inspect", model) == 2
    assert "--preprocess '{\"scale\": 255}'" in capsys.readouterr().err
    assert run("inspect", model, "--preprocess", '{"scale": 255}') == 0
    assert run("inspect", model, "--preprocess", '{"scale": 255') == 2
    assert "not JSON" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["picture", "array"])
def test_an_input_beside_the_image(tmp_path: Path, photo: Path, kind: str) -> None:
    model, (height, width) = siamese(), (8, 10)
    b = by_hand(read_image(photo, size=(height, width)), CAFFE)
    np.save(tmp_path / "b.npy", b)
    given = photo if kind == "picture" else tmp_path / "b.npy"
    out = tmp_path / "gradient.onnx"
    words = [
        "gradient",
        save(model, tmp_path / "two.onnx"),
        "--preprocess",
        json.dumps(CAFFE),
        "--class",
        "1",
    ]
    assert run(*words, "--input", f"b={given}", "-o", out) == 0
    a = np.random.default_rng(1).random((1, 3, height, width), dtype=np.float32)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    values, gradient = session.run(["value", "gradient"], {"image": a})
    close(values, expected(model, by_hand(a[0], CAFFE), b)[:, 1], 1e-5)
    assert np.abs(gradient).max() > 0


def test_a_picture_is_attributed_beside_another(tmp_path: Path, photo: Path) -> None:
    model, out, npy = save(siamese(), tmp_path / "two.onnx"), tmp_path / "map.png", tmp_path / "map.npy"
    words = ["attribute", model, photo, "--preprocess", "tf", "--input", f"b={photo}", "--method", "saliency"]
    assert run(*words, "--class", "0", "-o", out, "--npy", npy, "--size", "network", "--quiet") == 0
    assert np.load(npy).shape == (1, 8, 10)


def test_pictures_beside_a_photo_are_read_as_it_is(tmp_path: Path) -> None:
    """Of both, the second page, and the range of 12 bits."""
    model, stack = save(siamese(), tmp_path / "two.onnx"), tmp_path / "stack.tif"
    pages = np.random.default_rng(0).integers(0, 4096, (2, 8, 10), dtype=np.uint16)
    tifffile.imwrite(stack, pages, photometric="minisblack")
    words = ["attribute", model, stack, "--range", "0:4095", "--page", "1", "--preprocess", "tf"]
    found = []
    b = read_image(stack, range=(0, 4095), page=1)[None]
    np.save(tmp_path / "b.npy", 2 * b - 1)
    for given in (stack, tmp_path / "b.npy"):
        npy = tmp_path / "map.npy"
        more = ["--input", f"b={given}", "--method", "saliency", "--class", "0", "--quiet"]
        assert run(*words, *more, "-o", tmp_path / "map.png", "--npy", npy) == 0
        found.append(np.load(npy))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-7)


def test_an_input_without_a_value_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gradient", save(siamese(), tmp_path / "two.onnx"), "--class", "0", "-o", tmp_path / "g.onnx"]
    assert run(*words) == 2
    said = " ".join(capsys.readouterr().err.split())
    needed = "input 'b' needs a value, float32 of shape (1, 3, 8, 10)"
    assert f"{needed}; pass it as inputs={{'b': array}} (--input b=FILE)" in said


def test_mistakes_in_an_input(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save(siamese(), tmp_path / "two.onnx")
    (tmp_path / "none.npy").write_text("nothing")

    def refused(code: int, match: str, *words: object) -> None:
        assert run("inspect", model, *words) == code
        assert re.search(match, capsys.readouterr().err)

    refused(2, "is not NAME=FILE", "--input", "b")
    refused(2, "no input 'c'", "--input", f"c={photo}")
    refused(2, "--input b is given twice", *("--input", f"b={photo}") * 2)
    refused(1, "none.npy: no array", "--input", f"b={tmp_path / 'none.npy'}")
    refused(1, "no file", "--input", "b=absent.png")


def test_a_plain_array_that_could_be_a_picture_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "b.npy", np.random.default_rng(0).random((1, 3, 8, 10), dtype=np.float32))
    words = ["inspect", save(siamese(), tmp_path / "two.onnx"), "--input", f"b={tmp_path / 'b.npy'}"]
    assert run(*words, "--preprocess", "tf") == 0
    assert "--input b=PICTURE" in capsys.readouterr().err
    assert run(*words, "--preprocess", "none") == 0
    assert "PICTURE" not in capsys.readouterr().err


def test_names_and_files_may_hold_signs_of_equality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one.npy", "a=b.npy"):
        (tmp_path / name).touch()
    assert named_file("s=t:0=one.npy") == ("s=t:0", "one.npy")
    assert named_file("b=a=b.npy") == ("b", "a=b.npy")
    assert named_file("b=none=.npy") == ("b", "none=.npy")
