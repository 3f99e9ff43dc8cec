"""The command line: what it writes, what it prints, how it fails."""

from __future__ import annotations

import inspect
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tifffile
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import sobolevflow as sf
from sobolevflow import models, pictures
from sobolevflow.descent import parameters
from sobolevflow.descent.defaults import filled
from sobolevflow.gradient.engine import Engine
from sobolevflow.objectives import Objective
from tests.support.command_line import run
from tests.support.gradient_cases import close, make_model
from tests.support.small_networks import LABELS, generator, small_model

VGG = "builtin:shapes-vgg"
FAST = ["--steps", "3", "--quiet"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_visualize_writes_picture_manifest_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "spiral.png", tmp_path / "spiral.html"
    assert run("visualize", VGG, "--class", "spiral", *FAST, "-o", out, "--report", report, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["picture"] == str(out)
    assert outcome["stopped_by"] == "steps"
    assert Image.open(out).size == (96, 96)
    manifest = json.loads(out.with_suffix(".manifest.json").read_text())
    assert manifest["parameters"]["steps"] == 3
    assert manifest["objective"]["which"] == "spiral"
    assert report.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"name": "fluid"}),
        (["--scheme", "fluid", "--gamma", "4"], {"name": "fluid"}),
        (["--scheme", "elastic", "--filter", "gaussian", "--size", "9"], {"name": "elastic"}),
        (["--sigma", "1.5"], {"name": "fluid"}),
        (["--tv-weight", "0.02"], {"name": "tv"}),
        (["--filter", "bilateral", "--sigma", "2", "--sigma-range", "0.2"], {"name": "elastic"}),
        (["--scheme", "none"], {"name": "gradient-descent"}),
        (["--filter", "multiscale", "--levels", "3"], {"name": "fluid"}),
        (["--natural-colour"], {"name": "fluid"}),
        (["--recipe", "paper"], {"name": "fluid-elastic"}),
        (["--recipe", "paper", "--gamma", "4"], {"name": "fluid-elastic"}),
        (["--recipe", "paper", "--natural-colour"], {"name": "fluid-elastic"}),
        (["--natural-colour", "--scheme", "fluid", "--gamma", "4"], {"name": "fluid"}),
        (["--natural-colour", "--scheme", "elastic"], {"name": "elastic"}),
    ],
)
def test_scheme_options_reach_the_manifest(
    tmp_path: Path, options: list[str], expected: dict[str, str]
) -> None:
    out = tmp_path / "a.png"
    assert run("visualize", VGG, "--class", "0", *FAST, "-o", out, *options) == 0
    scheme = json.loads(out.with_suffix(".manifest.json").read_text())["parameters"]["scheme"]
    assert scheme["name"] == expected["name"]
    recipe_keeps_colours = scheme["name"] == "fluid" and "--scheme" not in options
    if "--natural-colour" in options or recipe_keeps_colours:
        colour, *rest = scheme["K_f"].get("maps", [scheme["K_f"]])
        assert colour["operator"] == "NaturalColour"
        assert len(rest) == (scheme["name"] != "elastic")
        scheme["K_f"] = rest[0] if rest else None
    if "--gamma" in options:
        assert scheme["K_f"]["gamma"] == 4
    if "multiscale" in options:
        assert (scheme["K_f"]["operator"], scheme["K_f"]["levels"]) == ("Multiscale", 3)
    if "gaussian" in options:
        assert scheme["K_e"]["size"] == 9
        assert scheme["K_e"]["filter"].lower() == "gaussian"
    if "bilateral" in options:
        assert (scheme["K_e"]["sigma"], scheme["K_e"]["sigma_range"]) == (2, 0.2)


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (["--gamma", "1000"], {"scheme"}),
        (["--size", "11"], {"scheme"}),
        (["--filter", "gaussian"], {"scheme"}),
        (["--natural-colour"], set()),
        (["--tau", "9/255"], {"tau"}),
        (["--jitter", "3"], {"jitter"}),
        (["--start", "grey"], {"start"}),
        (["--scheme", "fluid", "--recipe", "natural"], {"scheme"}),
    ],
)
def test_an_option_changes_one_thing(
    options: list[str], changed: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def parameters(*more: str) -> dict[str, Any]:
        out = tmp_path / "a.png"
        assert run("visualize", VGG, "--class", "0", *FAST, "-o", out, *more) == 0
        told: dict[str, Any] = json.loads(out.with_suffix(".manifest.json").read_text())["parameters"]
        return told

    before, after = parameters(), parameters(*options)
    assert {name for name in before if before[name] != after[name]} == changed
    assert "as in the paper" not in capsys.readouterr().err


def test_a_scheme_brings_the_settings_of_the_paper_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    words = ["visualize", VGG, "--class", "0", *(each for each in FAST if each != "--quiet"), "-o", out]
    assert run(*words, "--scheme", "fluid") == 0
    told = json.loads(out.with_suffix(".manifest.json").read_text())["parameters"]
    assert (told["jitter"], told["optimizer"]["name"]) == (2, "descent")
    assert "--recipe natural" in capsys.readouterr().err


def test_other_coordinates_are_descended_along(tmp_path: Path) -> None:
    for name in ("fourier", "phase"):
        out = tmp_path / f"{name}.png"
        assert run("visualize", VGG, "--class", "0", "--parametrization", name, *FAST, "-o", out) == 0
        manifest = json.loads(out.with_suffix(".manifest.json").read_text())
        assert manifest["parameters"]["parametrization"]["name"] == name
    assert run("visualize", VGG, "--class", "0", "--parametrization", "phase", "--gamma", "4", "-o", out) == 2


def test_a_generator_stands_in_front(tmp_path: Path) -> None:
    onnx.save(generator((96, 96)), tmp_path / "gan.onnx")
    out = tmp_path / "drawn.png"
    options = ["--generator", tmp_path / "gan.onnx", "--class", "spiral"]
    assert run("visualize", VGG, *options, *FAST, "-o", out) == 0
    assert Image.open(out).size == (96, 96)


def test_a_caricature_of_a_photograph(tmp_path: Path, photo: Path) -> None:
    out = tmp_path / "caricature.png"
    assert run("visualize", VGG, "--caricature", "block2_relu2", photo, *FAST, "-o", out) == 0
    manifest = json.loads(out.with_suffix(".manifest.json").read_text())
    assert manifest["objective"]["type"] == "Caricature"
    assert run("visualize", VGG, "--caricature", "block2_relu2", photo, "--class", "0", "-o", out) == 2


@pytest.mark.parametrize(
    "objective",
    [
        ["--class", "0", "--class", "1"],
        ["--channel", "block2_relu2:3"],
        ["--neuron", "block2_relu2:3"],
        ["--neuron", "block2_conv2:3:5:7"],
        ["--layer", "block2_relu2"],
    ],
)
def test_every_objective_runs(tmp_path: Path, objective: list[str]) -> None:
    assert run("visualize", VGG, *objective, *FAST, "-o", tmp_path / "a.png") == 0


def test_invert_reads_several_photographs(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "inverse.png"
    options = ["--layer", "block2_relu2", "--p", "1", *FAST, "-o", out, "--json"]
    assert run("invert", VGG, photo, photo, *options) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["shape"] == [2, 3, 96, 96]


READ_AS_ASKED = [
    ["visualize", VGG, "--caricature", "block2_relu2", "stack.tif", *FAST],
    ["invert", VGG, "stack.tif", "--layer", "block2_relu2", *FAST],
    ["attribute", VGG, "stack.tif", "--method", "saliency"],
    ["gradient", VGG, "--inversion", "block2_relu2", "stack.tif"],
]


@pytest.mark.parametrize("words", READ_AS_ASKED, ids=lambda words: words[0])
def test_photographs_are_read_by_the_range_and_the_page_that_are_asked_for(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    stack = rng.integers(-900, 900, (3, 100, 100), dtype=np.int16)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    asked: list[dict[str, object]] = []
    real = pictures.read_image

    def listening(*where: Any, **how: Any) -> Any:
        asked.append(how)
        return real(*where, **how)

    monkeypatch.setattr(pictures, "read_image", listening)
    out = "a.onnx" if words[0] == "gradient" else "a.png"
    assert run(*words, "--range", "-1000:1000", "--page", "2", "-o", out) == 0
    assert asked
    assert all(how == {"range": (-1000, 1000), "page": 2} for how in asked)
    assert "pages" not in capsys.readouterr().err


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_assumed_of_a_photograph_is_a_note(
    tmp_path: Path, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "a.tif"
    tifffile.imwrite(photo, np.linspace(-900, 900, 10000).astype(np.int16).reshape(100, 100))
    words = ["attribute", VGG, photo, "--method", "saliency", "-o", tmp_path / "a.png"]
    assert run(*words, *(["--quiet"] if quiet else [])) == 0
    assert ("note: " in capsys.readouterr().err) == (not quiet)


@pytest.fixture
def vector(tmp_path: Path) -> Path:
    """A direction in the 32 channels of block2_relu2."""
    path = tmp_path / "vector.npy"
    np.save(path, np.random.default_rng(1).standard_normal(32).astype(np.float32))
    return path


def test_a_direction_is_visualized(tmp_path: Path, vector: Path) -> None:
    out = tmp_path / "a.png"
    np.save(vector, np.stack([np.load(vector), np.ones(32, np.float32)]))
    direction = ["--direction", "block2_relu2", vector, "--batch", "2"]
    assert run("visualize", VGG, *direction, *FAST, "-o", out) == 0
    manifest = json.loads(out.with_suffix(".manifest.json").read_text())
    assert manifest["objective"]["type"] == "Direction"
    assert manifest["objective"]["vector"]["shape"] == [2, 32]


# Options, the objective they stand for, and the runtime inputs it has.
GRADIENTS: dict[str, tuple[list[str], Callable[[Path], Objective], list[str]]] = {
    "class": (["--class", "spiral"], lambda folder: sf.Class("spiral"), ["class"]),
    "channel": (["--channel", "block2_relu2:3"], lambda folder: sf.Channel("block2_relu2", 3), ["channel"]),
    "neuron": (
        ["--neuron", "block2_conv2:3:5:7", "--neuron", "block2_conv2:1:0:2"],
        lambda folder: sf.Neuron("block2_conv2", [3, 1], [5, 0], [7, 2]),
        ["channel", "y", "x"],
    ),
    "layer": (["--layer", "block2_relu2"], lambda folder: sf.Layer("block2_relu2"), []),
    "direction": (
        ["--direction", "block2_relu2", "vector.npy"],
        lambda folder: sf.Direction("block2_relu2", np.load(folder / "vector.npy")),
        ["direction"],
    ),
    "inversion": (
        ["--inversion", "block2_relu2", "photo.png", "--p", "1"],
        lambda folder: sf.Inversion(
            "block2_relu2", sf.read_image(folder / "photo.png", size=(96, 96), channels=3), p=1
        ),
        ["target"],
    ),
}


@pytest.mark.usefixtures("photo", "vector")
@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_of_every_objective_runs_in_a_plain_session(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options, objective, parameters = GRADIENTS[name]
    layers = ["block1_pool", "logits", "block1_pool"]
    activations = [word for layer in layers for word in ("--activation", layer)]
    assert run("gradient", VGG, *options, *activations, "-o", "grad.onnx", "--json") == 0
    facts = json.loads(capsys.readouterr().out)

    onnx.checker.check_model("grad.onnx", full_check=True)
    model = onnx.load("grad.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    assert len(model.graph.node) == facts["nodes"]
    session = onnxruntime.InferenceSession("grad.onnx", providers=["CPUExecutionProvider"])
    assert [i["name"] for i in facts["inputs"]] == ["image", *parameters]
    for kind, infos in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        # onnxruntime counts optional inputs apart
        assert [(t["name"], t["shape"]) for t in facts[kind] if not t.get("optional")] == [
            (info.name, info.shape) for info in infos
        ]
    assert [t.get("layer") for t in facts["outputs"]] == [None, None, "block1_pool", "logits"]

    net = sf.load(VGG)
    batch = facts["inputs"][0]["shape"][0]
    u = np.random.default_rng(2).random((batch, 3, 96, 96), np.float32)
    value, gradient, pool, logits = session.run(None, {"image": u})
    for found, expected in zip(
        (value, gradient, pool, logits),
        (
            *sf.value_and_grad(net, objective(tmp_path))(u),
            *net.features(u, ["block1_pool", "logits"]),
        ),
        strict=True,
    ):
        close(found, expected, 1e-5)


def test_the_signature_of_a_gradient_gives_types_and_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grad.onnx"
    assert run("gradient", VGG, "--class", "2", "--batch", "3", "-o", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    image = {"name": "image", "shape": [3, 3, 96, 96], "dtype": "float32", "optional": False, "default": None}
    which = {"name": "class", "shape": [3], "dtype": "int64", "optional": True, "default": [2, 2, 2]}
    assert facts["inputs"] == [image, which]
    assert facts["outputs"] == [
        {"name": "value", "shape": [3], "dtype": "float32"},
        {"name": "gradient", "shape": [3, 3, 96, 96], "dtype": "float32"},
    ]


def test_a_gradient_without_defaults_must_be_told_its_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grad.onnx"
    assert run("gradient", VGG, "--class", "2", "--no-defaults", "-o", out, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(i["name"], i["optional"], i["default"]) for i in facts["inputs"]] == [
        ("image", False, None),
        ("class", False, None),
    ]
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    u = np.full((1, 3, 96, 96), 0.5, np.float32)
    with pytest.raises(ValueError, match="class"):
        session.run(None, {"image": u})
    value, _ = session.run(None, {"image": u, "class": np.array([3])})
    close(value, sf.load(VGG).scores(u)[:, 3], 1e-5)


def test_the_report_of_a_gradient_lists_what_it_takes_and_gives(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grad.onnx"
    assert run("gradient", VGG, "--class", "2", "--class", "4", "-o", out) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(f"wrote {out}: class 2, 4 of shapes-vgg; ")
    assert [" ".join(row.split()) for row in rows] == [
        "input image 2 x 3 x 96 x 96 float32",
        "input class 2 int64 default [2, 4]",
        "output value 2 float32",
        "output gradient 2 x 3 x 96 x 96 float32",
    ]
    assert run("gradient", VGG, "--inversion", "block2_relu2", photo, "-o", out) == 0
    assert "1 x 32 x 48 x 48  float32  default in the file" in capsys.readouterr().out


def test_a_gradient_keeps_the_labels_in_the_order_of_its_input(tmp_path: Path) -> None:
    out, labels, model = tmp_path / "grad.onnx", tmp_path / "labels.txt", tmp_path / "net.onnx"
    onnx.save(small_model(), model)
    options = ["gradient", model, "--channel", "conv2:0", "--quiet", "-o", out]

    def recorded() -> list[str] | None:
        metadata = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
        return json.loads(metadata["sobolevflow.labels"]) if metadata else None

    for names, expected in (
        (LABELS, LABELS),
        (LABELS[:5], ["background", *LABELS[:5]]),
    ):
        labels.write_text("\n".join(names))
        assert run(*options, "--labels", labels) == 0
        assert recorded() == expected
    assert run(*options) == 0
    assert recorded() is None


@pytest.mark.usefixtures("photo", "vector")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--direction", "block2_relu2", "absent.npy"], "absent.npy"),
        (["--direction", "block2_relu2", "photo.png"], "photo.png"),
        (["--direction", "block2_relu2", "vector.npy"] * 2, "given once"),
        (["--direction", "block1_relu1", "vector.npy"], "(16,)"),
        (
            ["--inversion", "block2_relu1", "photo.png", "--inversion", "block2_relu2", "photo.png"],
            "one layer",
        ),
        (["--inversion", "block9", "photo.png"], "no layer 'block9'"),
        (["--class", "1", "--activation", "block9"], "no layer 'block9'"),
        (["--class", "1", "--class", "2", "--batch", "3"], "batch of 3"),
        (["--class", "1", "--batch", "0"], "batch is 0; it must be a whole number of at least 1"),
    ],
)
def test_a_gradient_that_cannot_be_is_refused_in_one_line(
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    unreadable = "--direction" in options and says in ("absent.npy", "photo.png")
    assert run("gradient", VGG, *options, "-o", "grad.onnx") == (1 if unreadable else 2)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not Path("grad.onnx").exists()


def test_inspect_lists_layers_as_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", VGG, "--grep", "pool") == 0
    text = capsys.readouterr().out
    assert "block1_pool" in text
    assert "block1_relu1" not in text
    assert run("inspect", VGG, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["input"] == [3, 96, 96]
    assert {"name": "block1_pool", "op": "MaxPool"}.items() <= next(
        layer for layer in found["layers"] if layer["name"] == "block1_pool"
    ).items()


@pytest.mark.parametrize("command", ["demo", "inspect", "visualize", "invert", "gradient", "attribute"])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"example:\n  sobolevflow {command}" in capsys.readouterr().out


@pytest.mark.parametrize("function", [sf.visualize, sf.invert])
def test_help_states_the_defaults_of_the_library(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = inspect.signature(function).parameters["steps"].default
    task: Any = function.__name__
    open_ = {"scheme": None, "tau": None, "schedule": "auto", "optimizer": "auto", "normalise": "auto"}
    open_ |= {"jitter": None, "rotate": None, "zoom": None, "clipped": None}
    alone = {**filled(task, open_, (3, 224, 224)), "steps": steps}
    with_one = {**filled(task, {**open_, "scheme": sf.gradient_descent()}, (3, 224, 224)), "steps": steps}
    told = {each.name: str(each.otherwise) for each in parameters(task) if each.name in alone and each.kind}
    assert told.keys() == alone.keys() - {"scheme", "clip", "start"}
    monkeypatch.setenv("COLUMNS", "1000")
    assert run(task, "--help") == 0
    page = " ".join(capsys.readouterr().out.split())
    for name, text in told.items():
        assert re.search(rf" --{name} [^()]* \(default: {re.escape(text)}\)", page)
        first, _, second = text.partition("; with a scheme ")
        for said, default in ((first.removesuffix(" at 224 pixels"), alone), (second or first, with_one)):
            value = default[name]
            assert said == value if isinstance(value, str) else float(Fraction(said)) == pytest.approx(value)


def unknown_op_model(path: Path) -> Path:
    """A network whose second layer has no gradient rule."""
    nodes = [
        helper.make_node("Relu", ["x"], ["first"]),
        helper.make_node("Det", ["first"], ["second"], name="determinant"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("second", TensorProto.FLOAT, [1, 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def external_model(path: Path) -> Path:
    """A network whose weights lie in a file that has gone."""
    weight = numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()
    return path


def bad_file(folder: Path, kind: str) -> Path:
    path = folder / "bad.onnx"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "truncated":
        path.write_bytes(models.path("shapes-vgg").read_bytes()[:5000])
    elif kind == "text":
        path.write_text("this is not a model\n" * 20)
    elif kind == "lfs":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    elif kind == "external":
        external_model(path)
    elif kind == "directory":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "no such file"),
        ("empty", "empty"),
        ("truncated", "truncated"),
        ("text", "not an ONNX"),
        ("lfs", "git lfs pull"),
        ("external", "weights.bin"),
        ("directory", "directory"),
    ],
)
def test_a_bad_model_file_gets_one_line(
    tmp_path: Path, kind: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    assert run("visualize", bad_file(tmp_path, kind), "--class", "0", *FAST, "-o", out) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert says in lines[0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--class", "sprial"], 2, "'spiral'"),
        (["--class", "99"], 2, "out of range"),
        (["--channel", "block2_relu:3"], 2, "'block2_relu1'"),
        (["--channel", "block2_relu2:3000"], 2, "0 to 31"),
        (["--class", "0", "--preprocess", "tourch"], 2, "'torch'"),
        (["--class", "0", "--labels", "absent.txt"], 1, "absent.txt"),
        (["--class", "0", "--tau", "fast"], 2, "5/255"),
        (["--class", "0", "--size", "10"], 2, "odd"),
        (["--class", "0", "--sigma", "2", "--filter", "sobolev"], 2, "--gamma"),
        (["--class", "0", "--scheme", "fluid", "--tv-weight", "1"], 2, "--scheme tv"),
        (["--class", "0", "--filter", "multiscale", "--scheme", "elastic"], 2, "use --scheme fluid"),
        (["--class", "0", "--filter", "multiscale", "--size", "5"], 2, "has --levels"),
        (["--class", "0", "--levels", "3"], 2, "--levels belongs to --filter multiscale"),
        (["--class", "0", "--scheme", "fluid", "--filter", "bilateral"], 2, "use --scheme elastic"),
        (["--class", "0", "--sigma-range", "1"], 2, "belongs to --filter bilateral, not to sobolev"),
        (["--class", "0", "--filter", "bilateral", "--gamma", "1"], 2, "bilateral has --sigma"),
        (
            ["--class", "0", "--filter", "bilateral", "--sigma", "0"],
            2,
            "sigma is 0.0; it must be a finite number above zero",
        ),
        (["--class", "0", "--canvas", "40x40"], 2, "40"),
        (["--class", "0", "--device", "tpu"], 2, "tpu"),
        (["--class", "0", "--input-shape", "64x64"], 2, "fixed"),
        (["--class", "0", "--input-shape", "4x96x96"], 2, "channels of 3, not 4"),
        (["--class", "0", "--input-shape", "96"], 2, "224x224"),
        (["--class", "²"], 2, "no class '²'"),
        (["--channel", "block2_relu2:²"], 2, "LAYER:C"),
        (["--class", "0", "--stpes", "3"], 2, "--help"),
        ([], 2, "required"),
    ],
)
def test_a_bad_argument_gets_a_clear_line(
    tmp_path: Path, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    assert run("visualize", VGG, *FAST, "-o", out, *arguments) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n truncated"])
def test_an_image_that_is_none_is_refused(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "photo.png", tmp_path / "a.png"
    path.write_bytes(content)
    assert run("invert", VGG, path, "--layer", "block2_relu2", *FAST, "-o", out) == 1
    assert str(path) in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(("output", "code"), [("absent/a.png", 1), ("a.xyz", 2), (".", 2)])
def test_an_unwritable_output_is_refused_before_the_work(
    tmp_path: Path, output: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    assert run("visualize", VGG, "--class", "0", "--steps", "100000", "-o", tmp_path / output) == code
    assert time.perf_counter() - began < 5
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_demonstration_shows_every_scheme_and_inversions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", "--steps", "2", "--quiet", "--json", "-o", tmp_path / "out") == 0
    found = json.loads(capsys.readouterr().out)
    demons = {f"{K}-{s}" for K in ("sobolev", "gaussian") for s in ("fluid", "elastic", "fluid-elastic")}
    assert {*demons, "tv"} <= set(found["top1"])
    inversions = set(found["top1"]) - demons - {"tv"}
    assert len(inversions) == 3
    for name in (*demons, "tv", *(f"inversion-{layer}" for layer in inversions)):
        manifest = json.loads((tmp_path / "out" / f"{name}.manifest.json").read_text())
        assert manifest["parameters"]["steps"] == 2
        assert Image.open(tmp_path / "out" / f"{name}.png").size == (96, 96)
    # four columns of schemes beside the labels, and three rows
    width, height = Image.open(found["sheet"]).size
    assert width > 4 * 192
    assert height > 3 * 192


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--class", "sprial"], 2, "'spiral'"),
        (["--network", "builtin:shapes"], 2, "shapes-vgg"),
        (["-o", "/proc/self"], 1, "cannot be written"),
    ],
)
def test_the_demonstration_fails_before_the_work(
    tmp_path: Path, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    assert run("demo", "-o", tmp_path / "out", *arguments) == code
    assert time.perf_counter() - began < 5
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert not list(tmp_path.iterdir())


def test_a_network_with_open_channels_takes_a_whole_shape(tmp_path: Path) -> None:
    model = onnx.load(unknown_op_model(tmp_path / "det.onnx"))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]:
        dim.ClearField("dim_value")
    onnx.save(model, tmp_path / "open.onnx")
    out = tmp_path / "a.png"
    options = ["--layer", "first", "--input-shape", "1x8x9", *FAST]
    assert run("visualize", tmp_path / "open.onnx", *options, "-o", out) == 0
    assert Image.open(out).size == (9, 8)


def test_a_network_of_four_channels_takes_files_of_four_planes(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(unknown_op_model(tmp_path / "det.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    out = tmp_path / "a.png"
    invert = ["invert", tmp_path / "four.onnx", "--layer", "first", *FAST, "-o", out]
    assert run(*invert, photo) == 1
    assert "has 3 planes, but 4 are wanted" in (said := capsys.readouterr().err)
    assert "takes 4 channels" in said
    planes = np.random.default_rng(0).random((4, 8, 8), np.float32)
    np.save(tmp_path / "planes.npy", planes)
    tifffile.imwrite(
        tmp_path / "planes.tif", planes.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig"
    )
    for file in ("planes.npy", "planes.tif"):
        assert run(*invert, tmp_path / file, "--start", tmp_path / file, "--npy", tmp_path / "u.npy") == 0
        assert np.load(tmp_path / "u.npy").shape == (1, 4, 8, 8)


def test_an_operator_without_a_rule_is_named_with_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = unknown_op_model(tmp_path / "det.onnx")
    assert run("visualize", model, "--class", "0", *FAST, "-o", tmp_path / "a.png") == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    for part in ("Det", "'determinant'", "opset 17", "--channel first:0"):
        assert part in line


@pytest.fixture
def _ctrl_c_interrupts() -> Iterator[None]:
    """A process that was started in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_interrupts")
@pytest.mark.parametrize(("at", "steps"), [(4, range(1)), (150, range(40, 101))])
def test_ctrl_c_saves_what_there_is(
    at: int,
    steps: range,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it is tried how smooth updates may be, and in the descent after it."""
    out, evaluate, calls = tmp_path / "a.png", Engine.__call__, iter(range(1000))

    def interrupted(engine: Engine, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if next(calls) == at:
            signal.raise_signal(signal.SIGINT)
        return evaluate(engine, u)

    monkeypatch.setattr(Engine, "__call__", interrupted)
    assert run("visualize", VGG, "--class", "spiral", "--steps", "100", "-o", out) == 130
    printed = capsys.readouterr()
    told = re.search(r"Interrupted after (\d+) of 100 steps", printed.err)
    assert told is not None
    assert int(told[1]) in steps
    assert f"wrote {out}" in printed.out
    manifest = json.loads(out.with_suffix(".manifest.json").read_text())
    assert manifest["outcome"]["stopped_by"] == "interrupt"
    assert Image.open(out).size == (96, 96)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m sobolevflow inspect {VGG} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert not done.stderr


def test_units_of_one_layer_make_a_batch(tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    units = ["--channel", "block2_relu2:3", "--channel", "block2_relu2:4"]
    assert run("visualize", VGG, *units, *FAST, "-o", out) == 0
    manifest = json.loads(out.with_suffix(".manifest.json").read_text())
    assert manifest["objective"]["channel"] == [3, 4]
    assert manifest["objective"]["indices"] == {"channel": [3, 4]}


@pytest.mark.parametrize(
    "units",
    [
        ["--channel", "block2_relu2:3", "--channel", "block1_relu1:4"],
        ["--neuron", "block2_relu2:3", "--neuron", "block2_relu2:4:1:1"],
        ["--layer", "block2_relu2", "--layer", "block1_relu1"],
    ],
)
def test_units_that_make_no_batch_are_refused(tmp_path: Path, units: list[str]) -> None:
    assert run("visualize", VGG, *units, *FAST, "-o", tmp_path / "a.png") == 2


def test_gradient_of_several_classes_is_a_batch_and_notes_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grad.onnx"
    path = models.path("shapes-vgg")
    assert run("gradient", path, "--class", "1", "--class", "2", "--preprocess", "none", "-o", out) == 0
    assert [d.dim_value for d in onnx.load(out).graph.output[0].type.tensor_type.shape.dim] == [2]
    bare = onnx.load(path)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")
    capsys.readouterr()
    assert run("gradient", tmp_path / "bare.onnx", "--class", "1", "-o", out) == 0
    assert "no pre-processing" in capsys.readouterr().err


def test_gradient_says_once_where_a_part_of_it_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        helper.make_node("Round", ["x"], ["r"], name="the rounding"),
        helper.make_node("Mul", ["x", "r"], ["product"]),
        helper.make_node("GlobalAveragePool", ["product"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["scores"]),
    ]
    onnx.save(make_model(nodes, {"x": ((1, 3, 4, 4), 1)}, ["scores"]), tmp_path / "rounding.onnx")
    assert run("gradient", tmp_path / "rounding.onnx", "--class", "1", "-o", tmp_path / "grad.onnx") == 0
    assert capsys.readouterr().err.count("stops at Round 'the rounding'") == 1
    assert run("gradient", tmp_path / "rounding.onnx", "--channel", "r:0", "-o", tmp_path / "no.onnx") == 1
    assert "no gradient reaches the image" in capsys.readouterr().err


def test_another_top1_than_the_class_asked_for_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--class", "spiral", "--steps", "1", "--tau", "1/10000", "--quiet", "-o", tmp_path / "a.png"]
    assert run("visualize", VGG, *options) == 0
    assert "(not the class asked for)" in capsys.readouterr().out


def test_inspect_never_cuts_a_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # which processes of tests are given
    name = "block2_relu2/" + 300 * "x"
    model = onnx.load(models.path("shapes-vgg"))
    for node in model.graph.node:
        for names in (node.input, node.output):
            for k, tensor in enumerate(names):
                if tensor == "block2_relu2":
                    names[k] = name
    onnx.save(model, tmp_path / "long.onnx")
    assert run("inspect", tmp_path / "long.onnx") == 0
    assert name in capsys.readouterr().out


@pytest.mark.usefixtures("_ctrl_c_interrupts")
def test_ctrl_c_ends_the_demonstration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, calls = Engine.__call__, iter(range(1000))

    def interrupted_in_the_second_run(engine: Engine, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if next(calls) == 6:
            signal.raise_signal(signal.SIGINT)
        return evaluate(engine, u)

    monkeypatch.setattr(Engine, "__call__", interrupted_in_the_second_run)
    assert run("demo", "--steps", "4", "--quiet", "-o", tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
    pictures = sorted(p.name for p in (tmp_path / "out").glob("*.png"))
    assert pictures == ["sobolev-elastic.png", "sobolev-fluid.png"]
