"""The command line, where layers keep their channels elsewhere than on axis 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from PIL import Image

from tests.support.command_line import run
from tests.support.gradient_cases import close
from tests.support.layouts import CHANNELS, HEIGHT, IMAGE, WIDTH, network

U = np.random.default_rng(1).random((1, *IMAGE), dtype=np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A network that names its layers as TensorFlow does, "map:0"."""
    model = network("last")
    for node in model.graph.node:
        node.input[:] = [f"{name}:0" if name in ("map", "tokens") else name for name in node.input]
        node.output[:] = [f"{name}:0" if name in ("map", "tokens") else name for name in node.output]
    model.graph.output[-1].name = "tokens:0"
    path = tmp_path / "keras.onnx"
    onnx.save(model, path)
    return path


def layer(file: Path, name: str) -> np.ndarray:
    model = onnx.load(file)
    model.graph.output.append(helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {"x": U})[0])


def value(file: Path, *asked: str) -> float:
    """The value of an objective, by the gradient model that the command writes."""
    out = file.with_name("gradient.onnx")
    assert run("gradient", file, *asked, "--preprocess", "none", "--quiet", "-o", out) == 0
    session = onnxruntime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    return float(session.run(["value"], {"image": U})[0][0])


def test_units_are_found_where_they_are(file: Path) -> None:
    nhwc, tokens = layer(file, "map:0")[0], layer(file, "tokens:0")[0]
    for asked, expected in (
        (("--channel", "map:0:5"), nhwc[..., 5].mean()),
        (("--channel", "map:0:3", "--axis", "1"), nhwc[3].mean()),
        (("--channel", "map:0:3", "--axis", "-1"), nhwc[..., 3].mean()),
        (("--neuron", "map:0:5"), nhwc[HEIGHT // 2, WIDTH // 2, 5]),
        (("--neuron", "map:0:5:3:0"), nhwc[3, 0, 5]),
        (("--neuron", "map:0:3:1:5", "--axis", "1"), nhwc[3, 1, 5]),
        (("--neuron", "tokens:0:4"), tokens[HEIGHT * WIDTH // 2, 4]),
        (("--neuron", "tokens:0:4:7"), tokens[7, 4]),
    ):
        close(np.array(value(file, *asked)), np.array(expected), 1e-5)


def test_a_direction_is_along_the_channels(file: Path, tmp_path: Path) -> None:
    vector = np.arange(CHANNELS, dtype=np.float32)
    np.save(tmp_path / "vector.npy", vector)
    found = value(file, "--direction", "map:0", str(tmp_path / "vector.npy"))
    close(np.array(found), np.array((layer(file, "map:0")[0] @ vector).mean()), 1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--channel", "map:0:6"], "it must lie in 0 to 5, the channels on axis 3"),
        (["--neuron", "map:0:5:1"], "has rows and columns; write --neuron LAYER:C:Y:X"),
        (["--neuron", "tokens:0:5:1:1"], "one axis of positions; give x alone"),
        (["--channel", "map:0:0", "--axis", "0"], "it must be an axis from 1 to 3"),
        (["--layer", "map:0", "--axis", "1"], "--axis belongs to --channel or --neuron or --region or"),
    ],
)
def test_what_does_not_fit_is_refused(
    file: Path, asked: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("gradient", file, *asked, "-o", file.with_name("gradient.onnx")) in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())


def test_notes_are_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.with_name("gradient.onnx")
    assert run("gradient", file, "--channel", "sigmoid:2", "-o", out) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "behind a Sigmoid" in said
    assert "--channel scores:2" in said
    assert run("gradient", file, "--channel", "map:0:2", "-o", out) == 0
    assert "channels on axis 3" in " ".join(capsys.readouterr().err.split())
    assert run("gradient", file, "--channel", "map:0:2", "--quiet", "-o", out) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["visualize", "attribute"])
def test_every_note_of_the_objective_is_said_once(
    file: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray((U[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    words: dict[str, list[object]] = {
        "visualize": [file, "--steps", "1"],
        "attribute": [file, tmp_path / "photo.png", "--method", "saliency"],
    }
    asked = ["--channel", "sigmoid:2", "-o", tmp_path / "map.png"]
    assert run(command, *words[command], *asked) == 0
    assert " ".join(capsys.readouterr().err.split()).count("behind a Sigmoid") == 1
    assert run(command, *words[command], *asked, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_attribute_takes_the_axis_too(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray((U[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(photo)
    common = ["attribute", file, photo, "--method", "saliency", "--quiet", "-o", tmp_path / "map.png"]
    for axis, shape in ((None, None), ("1", 1)):
        more = [] if axis is None else ["--axis", axis]
        assert run(*common, "--channel", "map:0:3", *more, "--json") == 0
        assert json.loads(capsys.readouterr().out)["objective"]["axis"] == shape


@pytest.mark.parametrize("command", ["visualize", "gradient", "attribute"])
def test_the_help_says_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    page = " ".join(capsys.readouterr().out.split())
    assert "on which the layer keeps its channels" in page
    assert "LAYER:C:X" in page
