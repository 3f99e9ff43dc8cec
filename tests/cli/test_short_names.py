"""Layers by less than their names, at the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.support.command_line import run
from tests.support.small_networks import small_model

NAMES = {"relu1": "fire2/relu", "conv2": "fire3/conv", "relu2": "fire3/concat", "pool1": "fire2/pool"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network and a photograph, in the working directory."""
    monkeypatch.chdir(tmp_path)
    onnx.save(small_model(names=NAMES, size=(3, 12, 14)), "net.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save("photos/0.png")
    return tmp_path


def recorded(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


@pytest.mark.parametrize(
    "words",
    [
        ("visualize", "--channel", "#4:2"),
        ("visualize", "--channel", "concat:2"),
        ("visualize", "--layer", "*concat"),
        ("invert", "photos/0.png", "--layer", "#4"),
    ],
)
def test_a_descent_records_the_whole_name(words: tuple[str, ...], folder: Path) -> None:
    command, *asked = words
    of = ("net.onnx", "--preprocess", "none", "--steps", "1", "--quiet", "-o", "a.png")
    assert run(command, *of[:1], *asked, *of[1:]) == 0
    assert recorded("a.manifest.json")["objective"]["layer"] == "fire3/concat"


def test_a_gradient_and_a_map_of_a_layer(folder: Path) -> None:
    of = ("net.onnx", "--preprocess", "none", "--quiet")
    assert run("gradient", *of, "--class", "1", "--activation", "#4", "-o", "g.onnx") == 0
    assert "fire3/concat" in [each.name for each in onnx.load("g.onnx").graph.output]
    maps = []
    for layer in ("fire3/concat", "#4"):
        assert run("attribute", *of, "photos/0.png", "--layer", layer, "-o", "map.png") == 0
        maps.append(Path("map.png").read_bytes())
    assert maps[0] == maps[1]


def test_what_may_be_several_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = ("net.onnx", "--preprocess", "none", "--layer", "fire3/*", "--steps", "1", "-o", "a.png")
    assert run("visualize", *of) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'fire3/*' may be any of 2 layers: #3 'fire3/conv', #4 'fire3/concat'; give the index" in line


def test_an_experiment_takes_patterns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = ("net.onnx", "--preprocess", "none", "--photos", "photos", "--steps", "1", "-o", "out", "--quiet")
    assert run("experiment", "sweep", *of, "--layers", "fire2/*,#4", "--json") == 0
    found = {row["layer"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert found == {"fire2/relu", "fire2/pool", "fire3/concat"}


def test_inspect_says_how_layers_can_be_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "net.onnx", "--layers", "fire*/conc*") == 0
    said = capsys.readouterr().out
    words = said.splitlines()[-1].split()
    assert (words[:2], words[-1]) == (["#4", "fire3/concat"], "concat")
    assert "fire2/relu" not in said
    assert run("inspect", "net.onnx", "--json") == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [each["index"] for each in layers] == list(range(len(layers)))
    assert {each["name"]: each["short"] for each in layers}["fire3/concat"] == "concat"
    assert run("inspect", "net.onnx", "--layers", "fire9/*") == 0
    assert "no layer is 'fire9/*'" in capsys.readouterr().err
