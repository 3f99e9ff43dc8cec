"""``sobolevflow attribute``: maps of one photograph and of several, their size, place and colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import sobolevflow as sf
from sobolevflow.cli.heatmap_files import names
from sobolevflow.pictures import reading
from sobolevflow.pictures.decoding import decode
from tests.support.command_line import run
from tests.support.gradient_cases import close, make_model

VGG = "builtin:shapes-vgg"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return drawn_at_random(tmp_path / "photo.png")


def drawn_at_random(path: Path, height: int = 120, width: int = 100, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "saliency"],
        ["--method", "sobolev-saliency", "--gamma", "4"],
        ["--method", "smooth-grad", "--samples", "3", "--noise", "1/10", "--seed", "2", "--gamma", "2"],
        ["--method", "integrated-gradients", "--steps", "3", "--baseline", "0.5"],
        ["--method", "grad-cam", "--layer", "block2_relu2"],
    ],
    ids=lambda options: str(options[1]),
)
def test_attribute_draws_and_writes_what_the_library_computes(
    tmp_path: Path, photo: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, array = tmp_path / "map.png", tmp_path / "map.npy"
    targets = ["--class", "spiral", "--class", "rings"]
    sizes = ["--size", "network", "--json"]
    assert run("attribute", VGG, photo, photo, *options, *targets, "-o", out, "--npy", array, *sizes) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["picture"], outcome["array"]) == (str(out), str(array))
    assert outcome["method"] == options[1]
    assert outcome["classes"] == ["spiral", "rings"]
    net, objective = sf.load(VGG), sf.Class(["spiral", "rings"])
    u = np.stack([sf.read_image(photo, size=(96, 96))] * 2)
    K = sf.filters.Sobolev
    expected = {
        "saliency": lambda: sf.attribution.saliency(net, objective, u),
        "sobolev-saliency": lambda: sf.attribution.saliency(net, objective, u, filter=K(gamma=4)),
        "smooth-grad": lambda: sf.attribution.smooth_grad(
            net, objective, u, samples=3, noise=0.1, seed=2, filter=K(gamma=2)
        ),
        "integrated-gradients": lambda: sf.attribution.integrated_gradients(
            net, objective, u, steps=3, baseline=0.5, reduce="sum"
        ),
        "grad-cam": lambda: sf.attribution.grad_cam(net, objective, u, layer="block2_relu2"),
    }[options[1]]()
    close(np.load(array), expected, 1e-5)  # two images at once are computed in another order
    drawn = sf.attribution.heatmap(np.load(array))
    np.testing.assert_array_equal(np.array(Image.open(out))[:, :96], drawn[0])
    np.testing.assert_array_equal(np.array(Image.open(out))[:, -96:], drawn[1])


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_of_directions_has_one_for_each_photograph(tmp_path: Path, count: int) -> None:
    photos = [drawn_at_random(tmp_path / f"{k}.png", seed=k) for k in range(2)]
    layer = "block4_conv2"
    vectors = np.random.default_rng(3).standard_normal((count, 96)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    array = tmp_path / "map.npy"
    asked = ["--method", "saliency", "--direction", layer, tmp_path / "v.npy", "--size", "network"]
    assert run("attribute", VGG, *photos, *asked, "--npy", array, "-o", tmp_path / "map.png") == 0
    u = np.stack([sf.read_image(photo, size=(96, 96)) for photo in photos])
    expected = sf.attribution.saliency(sf.load(VGG), sf.Direction(layer, vectors), u)
    close(np.load(array), expected, 1e-5)


def test_attribute_takes_the_class_that_the_network_sees(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "map.png"
    assert (
        run("attribute", VGG, photo, "--method", "saliency", "--overlay", "--size", "network", "-o", out) == 0
    )
    net, u = sf.load(VGG), sf.read_image(photo, size=(96, 96))
    top = int(net.top(u)[0, 0])
    said = capsys.readouterr().out
    assert said == f"wrote {out}: saliency of {net.class_name(top)} (the network's own top-1)\n"
    drawn = sf.attribution.heatmap(sf.attribution.saliency(net, sf.Class(top), u), u)
    np.testing.assert_array_equal(np.array(Image.open(out)), drawn)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (
            ["--method", "grad-cam", "--steps", "3"],
            2,
            "--steps belongs to --method integrated-gradients, not",
        ),
        (
            ["--method", "saliency", "--gamma", "3"],
            2,
            "--method sobolev-saliency or smooth-grad, not to saliency",
        ),
        (["--method", "grad-cam", "--layer", "block9"], 2, "no layer 'block9'"),
        (["--method", "grad-cam", "--layer", "gap"], 2, "no layer 'gap'"),
        (["--method", "saliency", "--class", "0", "--class", "1"], 2, "2 entries of class were given"),
        (["--method", "saliency", "--npy", "map.txt"], 2, "use one of .npy"),
    ],
)
def test_attribute_refuses_what_does_not_fit_together(
    tmp_path: Path, photo: Path, options: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("attribute", VGG, photo, *options, "-o", tmp_path / "a.png") == code
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.png").exists()


def test_attribute_says_when_a_map_is_zero(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "closed.onnx"
    _closed_rectifier(path)
    options = ["--method", "saliency", "--class", "0", "-o", tmp_path / "a.png"]
    assert run("attribute", path, photo, *options) == 0
    assert f"note: the map of {photo} is zero everywhere" in capsys.readouterr().err


def _closed_rectifier(path: Path) -> None:
    """A network whose one score is relu(-1 - mean)."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Conv", ["mean", "w", "b"], ["z"]),
        helper.make_node("Relu", ["z"], ["s"]),
    ]
    constants = {"w": np.full((1, 3, 1, 1), -1, np.float32), "b": np.array([-1], np.float32)}
    graph = helper.make_graph(
        nodes,
        "closed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 1, 1, 1])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


# -- the size and the place of the photograph


def local(size: tuple[int, int]) -> onnx.ModelProto:
    """One score, the largest value of the image: its gradient lies where that is."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["soft"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["soft"], ["flat"]),
        helper.make_node("ReduceMax", ["flat"], ["s"], axes=[1], keepdims=1),
    ]
    return make_model(nodes, {"x": ((1, 3, *size), TensorProto.FLOAT)}, ["s"], {}, opset=17)


@pytest.mark.parametrize(
    ("original", "at"), [((300, 120), (170, 33)), ((90, 260), (40, 150)), ((40, 40), (9, 30))]
)
def test_a_map_lies_where_the_photograph_made_it(
    tmp_path: Path, original: tuple[int, int], at: tuple[int, int]
) -> None:
    onnx.save(local((64, 64)), tmp_path / "local.onnx")
    pixels = np.zeros((*original, 3), np.uint8)
    pixels[at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    words = ["attribute", tmp_path / "local.onnx", tmp_path / "photo.png", "--preprocess", "none"]
    array, out = tmp_path / "map.npy", tmp_path / "map.png"
    asked = ["--method", "saliency", "--class", "0", "-o", out, "--npy", array]
    assert run(*words, *asked) == 0
    found = np.load(array)
    assert found.shape == (1, *original)
    assert Image.open(out).size == original[::-1]
    weight = np.nan_to_num(found[0])
    for axis in (0, 1):
        centre = (weight.sum(axis=1 - axis) * np.arange(original[axis])).sum() / weight.sum()
        assert abs(centre - at[axis]) <= max(original) / 64 + 1
    assert run(*words, *asked, "--size", "network") == 0
    assert np.load(array).shape == (1, 64, 64)


def test_a_photograph_is_decoded_once(tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []

    def counted(path: Any, *how: Any) -> Any:
        decoded.append(path)
        return decode(path, *how)

    monkeypatch.setattr(reading, "decode", counted)
    words = ["attribute", VGG, photo, "--class", "0", "--overlay"]
    assert run(*words, "--size", "original", "-o", tmp_path / "map.png") == 0
    assert decoded == [str(photo)]


def test_colours_and_overlay_are_those_asked_for(tmp_path: Path, photo: Path) -> None:
    out = tmp_path / "map.png"
    net, whole = sf.load(VGG), sf.read_image(photo)
    m = sf.attribution.grad_cam(net, sf.Class(2), sf.read_image(photo, size=(96, 96)))
    back = sf.to_original(m, whole.shape[-2:])
    for options, expected in (
        ([], sf.heatmap(back)),
        (["--colormap", "viridis"], sf.heatmap(back, colormap="viridis")),
        (["--overlay", "0.4", "--colormap", "jet"], sf.heatmap(back, whole, alpha=0.4, colormap="jet")),
        (["--overlay"], sf.heatmap(back, whole)),
    ):
        assert run("attribute", VGG, photo, "--class", "2", *options, "-o", out) == 0
        np.testing.assert_array_equal(np.array(Image.open(out)), expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--colormap", "viridus"], "no colour map 'viridus'"),
        (["--overlay", "2"], "not a number from 0 to 1"),
        (["--samples", "3"], "--samples belongs to --method smooth-grad, not to grad-cam"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(
    tmp_path: Path, photo: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("attribute", VGG, photo, *options, "-o", tmp_path / "map.png") == 2
    assert says in capsys.readouterr().err


# -- the method


def test_the_method_is_grad_cam_where_a_layer_has_positions(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("attribute", VGG, photo, "-o", tmp_path / "map.png", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["method"], outcome["layer"]) == ("grad-cam", "block4_relu2")


def test_without_such_a_layer_it_is_sobolev_saliency_and_that_is_said(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["s"])]
    w = np.random.default_rng(0).standard_normal((3 * 64, 4)).astype(np.float32)
    model = make_model(nodes, {"x": ((1, 3, 8, 8), TensorProto.FLOAT)}, ["s"], {"w": w})
    onnx.save(model, tmp_path / "dense.onnx")
    words = ["attribute", tmp_path / "dense.onnx", photo, "--preprocess", "none", "-o", tmp_path / "map.png"]
    assert run(*words) == 0
    said = capsys.readouterr()
    assert "sobolev-saliency of" in said.out
    assert "the method is sobolev-saliency" in said.err
    assert run(*words, "--method", "grad-cam") == 2


# -- of what


def test_a_direction_and_an_inversion_are_explained(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vector = np.random.default_rng(1).standard_normal(32).astype(np.float32)
    np.save(tmp_path / "vector.npy", vector)
    other = drawn_at_random(tmp_path / "other.png", seed=1)
    net, u, target = sf.load(VGG), *(sf.read_image(path, size=(96, 96)) for path in (photo, other))
    for asked, objective in (
        (["--direction", "block2_relu2", tmp_path / "vector.npy"], sf.Direction("block2_relu2", vector)),
        (["--inversion", "block2_relu2", other, "--p", "1"], sf.Inversion("block2_relu2", target, p=1)),
    ):
        array = tmp_path / "map.npy"
        words = ["--method", "saliency", "--size", "network", "--npy", array, "--json"]
        assert run("attribute", VGG, photo, *asked, *words, "-o", tmp_path / "map.png") == 0
        expected = sf.attribution.saliency(net, objective, u)
        assert expected.any()
        close(np.load(array)[0], expected, 1e-5)
        outcome = json.loads(capsys.readouterr().out)
        assert outcome["objective"]["type"] == type(objective).__name__
        assert outcome["classes"] is None


# -- several photographs


def test_several_photographs_each_have_their_own_file(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = drawn_at_random(tmp_path / "sub" / "photo.png", 50, 80, seed=1)
    out, arrays = tmp_path / "maps", tmp_path / "arrays"
    targets = ["--class", "spiral", "--class", "rings"]
    assert run("attribute", VGG, photo, same, *targets, "-o", out, "--npy", arrays, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    pictures = [Path(each["picture"]) for each in outcome["photos"]]
    assert len(set(pictures)) == 2
    assert sorted(out.iterdir()) == sorted(pictures)
    assert [Image.open(path).size for path in pictures] == [(100, 120), (80, 50)]
    assert outcome["classes"] == ["spiral", "rings"]
    net = sf.load(VGG)
    for path, array, name in zip((photo, same), sorted(arrays.iterdir()), ("spiral", "rings"), strict=True):
        m = sf.attribution.grad_cam(net, sf.Class(name), sf.read_image(path, size=(96, 96)))
        expected = sf.to_original(m, sf.read_image(path).shape[-2:])
        found = np.load(next(a for a in arrays.iterdir() if np.load(a).shape == expected.shape))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert array.suffix == ".npy"


@pytest.mark.parametrize("sheet", [False, True])
def test_one_that_fails_is_named_and_the_others_are_done(
    tmp_path: Path, photo: Path, sheet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:200])
    other = drawn_at_random(tmp_path / "other.png", seed=2)
    out = tmp_path / "maps.png" if sheet else tmp_path / "maps"
    words = ["attribute", VGG, photo, broken, other, "-o", out, "--method", "saliency"]
    assert run(*words, *["--class", "1", "--class", "2", "--class", "3"]) == 1
    said = capsys.readouterr()
    assert said.err.count("error: ") == 1
    assert "broken.png" in said.err
    if sheet:
        assert Image.open(out).size == (96 + 4 + 96, 96)
    else:
        assert sorted(path.name for path in out.iterdir()) == ["other.png", "photo.png"]
    net, u = sf.load(VGG), sf.read_image(other, size=(96, 96))
    drawn = sf.heatmap(sf.attribution.saliency(net, sf.Class(3), u))
    if sheet:
        np.testing.assert_array_equal(np.array(Image.open(out))[:, -96:], drawn)


def test_where_all_fail_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "maps.png"
    assert run("attribute", VGG, tmp_path / "a.png", tmp_path / "b.png", "-o", out) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "all.png", "--size", "original"], "maps of several sizes side by side"),
        (["-o", "maps", "--npy", "all.npy"], "would hold maps of several sizes"),
        (["-o", "photo.png"], "is one of the inputs"),
        (["-o", "maps", "--class", "1", "--class", "2", "--class", "3"], "3 entries of class were given"),
        (["-o", "maps", "--layer", "nowhere"], "no layer 'nowhere'"),
    ],
)
def test_what_is_wrong_for_all_is_said_once(
    tmp_path: Path,
    photo: Path,
    options: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("attribute", VGG, photo, photo, *options) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_names_are_as_short_as_they_can_be_and_all_different() -> None:
    photos = ["b.jpg", "b.png", "sub/a.jpg", "a.jpg", "c.jpg", "c.jpg", "d.png"]
    assert names(photos) == ["b.jpg", "b.png", "sub-a", "a", "c", "c-2", "d"]
    crowded = ["x/a.jpg", "y/a.jpg", "x-a.jpg", "X/A.JPG"]
    assert len({name.casefold() for name in names(crowded)}) == 4


def test_a_zero_map_says_why_and_of_which_photograph(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "against.onnx"
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"], kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Neg", ["mean"], ["s"]),
    ]
    constants = {"w": np.ones((2, 3, 1, 1), np.float32)}
    onnx.save(make_model(nodes, {"x": ((1, 3, 8, 8), TensorProto.FLOAT)}, ["s"], constants), path)
    words = ["attribute", path, photo, photo, "--preprocess", "none", "--class", "0", "-o", tmp_path / "maps"]
    assert run(*words) == 0
    said = capsys.readouterr().err
    assert f"note: {photo}: the map is zero everywhere: layer 'map' holds nothing that speaks for" in said
    assert "--signed" in said
    assert run(*words, "--signed") == 0
    assert "zero everywhere" not in capsys.readouterr().err


def test_the_help_page_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attribute", "--help") == 0
    page = " ".join(capsys.readouterr().out.split())
    for word in ("--direction", "--inversion", "--colormap", "--overlay [X]", "viridis", "default: grad-cam"):
        assert word in page
