"""The cosine of a layer with a target against NumPy: what a target may be, zero vectors, the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper
from PIL import Image

import sobolevflow as sf
from sobolevflow.cli.main import main
from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.objectives import natural_batch
from tests.support.gradient_cases import make_model
from tests.support.small_networks import SIZE, images, small_model, weights

NET = sf.load(small_model(), preprocess="torch")
U, PHOTOS = images(2, seed=1), images(2, seed=2)
RNG = np.random.default_rng(9)
VECTORS = RNG.standard_normal((2, 5)).astype(np.float32)
MAPS = RNG.standard_normal((2, 5, 2, 3)).astype(np.float32)


def phi(layer: str, u: np.ndarray = U) -> np.ndarray:
    return NET.features(u, [layer])[0].astype(np.float64)


def cosine(a: np.ndarray, b: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """By hand, along some axes."""
    lengths = [np.sqrt((x.astype(np.float64) ** 2).sum(axes)) for x in (a, b)]
    return np.asarray((a.astype(np.float64) * b).sum(axes) / (lengths[0] * lengths[1]))


def columns(v: np.ndarray) -> np.ndarray:
    return v.reshape(-1, 5, 1, 1)


VALUES: dict[str, tuple[sf.Cosine, Any]] = {
    "a vector": (sf.Cosine("flat", VECTORS[0]), lambda: cosine(phi("flat"), VECTORS[:1], (1,))),
    "a vector each": (sf.Cosine("flat", VECTORS), lambda: cosine(phi("flat"), VECTORS, (1,))),
    "scores": (
        sf.Cosine("logits", np.arange(6.0)),
        lambda: cosine(phi("logits"), np.arange(6.0)[None], (1,)),
    ),
    "a photograph": (
        sf.Cosine("conv2", PHOTOS[0]),
        lambda: cosine(phi("conv2"), phi("conv2", PHOTOS[:1]), (1, 2, 3)),
    ),
    "photographs": (
        sf.Cosine("flat", PHOTOS),
        lambda: cosine(phi("flat"), phi("flat", PHOTOS), (1,)),
    ),
    "maps": (sf.Cosine("conv2", MAPS), lambda: cosine(phi("conv2"), MAPS, (1, 2, 3))),
    "one map": (sf.Cosine("conv2", MAPS[1]), lambda: cosine(phi("conv2"), MAPS[1:], (1, 2, 3))),
    "a map, flattened": (
        sf.Cosine("conv2", MAPS[1].ravel()),
        lambda: cosine(phi("conv2"), MAPS[1:], (1, 2, 3)),
    ),
    "maps, flattened": (
        sf.Cosine("conv2", MAPS.reshape(2, -1)),
        lambda: cosine(phi("conv2"), MAPS, (1, 2, 3)),
    ),
    "channels": (
        sf.Cosine("conv2", VECTORS[0]),
        lambda: cosine(phi("conv2"), columns(VECTORS[:1]), (1,)).mean((1, 2)),
    ),
    "channels each": (
        sf.Cosine("conv2", VECTORS),
        lambda: cosine(phi("conv2"), columns(VECTORS), (1,)).mean((1, 2)),
    ),
    "channels of the whole layer": (
        sf.Cosine("conv2", VECTORS, by="layer"),
        lambda: cosine(phi("conv2"), np.broadcast_to(columns(VECTORS), (2, 5, 2, 3)), (1, 2, 3)),
    ),
    "a photograph by position": (
        sf.Cosine("conv2", PHOTOS[0], by="position"),
        lambda: cosine(phi("conv2"), phi("conv2", PHOTOS[:1]), (1,)).mean((1, 2)),
    ),
    "positions along another axis": (
        sf.Cosine("conv2", MAPS, by="position", axis=-1),
        lambda: cosine(phi("conv2"), MAPS, (3,)).mean((1, 2)),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_value_is_the_one_computed_by_hand(name: str) -> None:
    objective, by_hand = VALUES[name]
    values, _ = sf.value_and_grad(NET, objective)(U)
    np.testing.assert_allclose(values, by_hand(), rtol=1e-5)


@pytest.mark.parametrize("name", VALUES)
def test_the_gradient_is_right_and_whole(name: str) -> None:
    objective, _ = VALUES[name]
    assert sf.check_gradient(NET, objective, U, precision="double", directions=2) < 1e-6
    assert sf.check_gradient(NET, objective, U, directions=2) < 1e-4
    evaluate = sf.value_and_grad(NET, objective)
    evaluate(U)
    assert evaluate.notes == []


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 100))
def test_lengths_do_not_matter(length: float, seed: int) -> None:
    target = np.random.default_rng(seed).standard_normal(5)
    (one, two) = (sf.value_and_grad(NET, sf.Cosine("flat", t))(U) for t in (target, length * target))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-3, atol=1e-6)
    assert (np.abs(one[0]) <= 1 + 1e-6).all()


def test_targets_of_any_size_of_number_have_their_direction() -> None:
    small, large = (sf.Cosine("flat", scale * VECTORS[0]) for scale in (np.float32(1e-30), np.float32(1e30)))
    expected, _ = sf.value_and_grad(NET, sf.Cosine("flat", VECTORS[0]))(U)
    for objective in (small, large):
        np.testing.assert_allclose(sf.value_and_grad(NET, objective)(U)[0], expected, rtol=1e-5)


def test_a_photograph_is_like_itself_and_unlike_its_opposite() -> None:
    for layer in ("conv2", "flat"):
        values, gradient = sf.value_and_grad(NET, sf.Cosine(layer, PHOTOS))(PHOTOS)
        np.testing.assert_allclose(values, 1, rtol=1e-5)
        np.testing.assert_allclose(gradient, 0, atol=1e-5)
        opposite, _ = sf.value_and_grad(NET, sf.Cosine(layer, -phi(layer, PHOTOS)))(PHOTOS)
        np.testing.assert_allclose(opposite, -1, rtol=1e-5)


# --- zero vectors -------------------------------------------------------------------------------


def closed() -> onnx.ModelProto:
    """A network whose rectifier is closed for every image in [0, 1] on all channels but the last."""
    bias = np.full(4, -1e3, np.float32)
    bias[3] = 1.0
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Slice", ["relu", "start", "end", "axis"], ["dark"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["y"]),
    ]
    constants = {"w": weights()["w1"], "b": bias}
    constants |= {k: np.array([v], np.int64) for k, v in {"start": 0, "end": 3, "axis": 1}.items()}
    return make_model(nodes, {"x": (("N", *SIZE), TensorProto.FLOAT)}, ["y"], constants, opset=15)


@pytest.mark.parametrize("by", ["layer", "position"])
def test_a_value_that_is_zero_has_the_cosine_zero_and_no_gradient(by: Any) -> None:
    net = sf.load(closed(), preprocess="none")
    objective = sf.Cosine("dark", np.ones(240), by=by)  # flattened: its shape is that of a photograph
    values, gradient = sf.value_and_grad(net, objective)(U)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(gradient, 0)
    together, finite = sf.value_and_grad(net, objective + sf.Channel("conv", 3))(U)
    np.testing.assert_allclose(together, sf.value_and_grad(net, sf.Channel("conv", 3))(U)[0], rtol=1e-6)
    assert np.isfinite(finite).all()
    assert finite.any()


def test_a_target_that_is_zero_is_refused() -> None:
    with pytest.raises(InputError, match="target of cosine in flat is zero throughout"):
        sf.value_and_grad(NET, sf.Cosine("flat", np.zeros(5)))(U)
    with pytest.raises(InputError, match="zero throughout"):
        sf.visualize(NET, sf.Cosine("flat", np.stack([VECTORS[0], np.zeros(5)])), progress=False)
    net = sf.load(closed(), preprocess="none")
    with pytest.raises(InputError, match="features of the image in layer 'dark' are all zero"):
        sf.value_and_grad(net, sf.Cosine("dark", PHOTOS[0]))(U)


def test_positions_without_a_target_count_as_unlike() -> None:
    target = MAPS[:1].copy()
    target[..., 0, 0] = 0
    values, gradient = sf.value_and_grad(NET, sf.Cosine("conv2", target, by="position"))(U)
    each = cosine(phi("conv2"), np.where(target == 0, 1, target), (1,))
    each[:, 0, 0] = 0
    np.testing.assert_allclose(values, each.mean((1, 2)), rtol=1e-5)
    assert np.isfinite(gradient).all()


# --- what a target may be -----------------------------------------------------------------------


def tokens() -> sf.Network:
    """Layers (N, 4, 80) and tokens (N, 80, 4)."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["conv", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
    ]
    constants = {"w": weights()["w1"], "b": weights()["b1"], "shape": np.array([0, 4, -1], np.int64)}
    inputs = {"x": (("N", *SIZE), TensorProto.FLOAT)}
    return sf.load(make_model(nodes, inputs, ["tokens"], constants, opset=15), preprocess="none")


def test_tokens_are_compared_as_a_whole_or_each_by_itself() -> None:
    net, target = tokens(), RNG.standard_normal((1, 80, 4)).astype(np.float32)
    (value,) = net.features(U, ["tokens"])
    whole = cosine(value, target, (1, 2))
    for given_as in (target, target.ravel(), target.reshape(1, -1)):
        np.testing.assert_allclose(
            sf.value_and_grad(net, sf.Cosine("tokens", given_as))(U)[0], whole, rtol=1e-5
        )
    each = cosine(value, target[:, :1], (2,)).mean(1)
    for given_as in (target[0, 0], target[:, 0]):
        objective = sf.Cosine("tokens", given_as)
        np.testing.assert_allclose(sf.value_and_grad(net, objective)(U)[0], each, rtol=1e-5)
    with pytest.raises(InputError, match=r"one row for each image; give the value as shape \(1, 80, 4\)"):
        sf.value_and_grad(net, sf.Cosine("tokens", target[0]))(U)


@pytest.mark.parametrize("shape", [(4,), (7, 4), (3, 8, 9), (1, 3, 2, 5), (1, 1, 5, 2, 3), ()])
def test_what_fits_nothing_is_refused_with_what_would(shape: tuple[int, ...]) -> None:
    objective = sf.Cosine("conv2", np.ones(shape, np.float32))
    with pytest.raises(
        InputError, match=r"photograph of 3x8x10, a value .*\(1, 5, 2, 3\) or \(30,\).*\(5,\)"
    ):
        sf.value_and_grad(NET, objective)(U)


def test_other_mistakes_are_named() -> None:
    with pytest.raises(UnknownNameError, match="by is 'channel'; known are 'layer', 'position'"):
        sf.Cosine("flat", VECTORS[0], by="channel")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="3 entries of target were given for a batch of 2"):
        sf.value_and_grad(NET, sf.Cosine("flat", np.ones((3, 5))))(U)
    with pytest.raises(InputError, match=r"from 0 to 255; they must lie in \[0, 1\]"):
        sf.value_and_grad(NET, sf.Cosine("flat", np.where(PHOTOS > 0.5, 255, 0).astype(np.float32)))(U)
    with pytest.raises(InputError, match="array of finite numbers"):
        sf.value_and_grad(NET, sf.Cosine("flat", np.full(5, np.nan)))(U)
    with pytest.raises(UnknownNameError, match="no layer 'embedding'"):
        sf.value_and_grad(NET, sf.Cosine("embedding", VECTORS[0]))(U)


def test_several_targets_make_a_batch() -> None:
    found = {
        "a vector": natural_batch(sf.Cosine("flat", VECTORS[0])),
        "vectors": natural_batch(sf.Cosine("flat", VECTORS)),
        "a photograph": natural_batch(sf.Cosine("flat", PHOTOS[0])),
        "photographs": natural_batch(sf.Cosine("flat", PHOTOS)),
    }
    assert found == {"a vector": 1, "vectors": 2, "a photograph": 1, "photographs": 2}


def test_descending_turns_an_image_to_the_target_or_away() -> None:
    given: dict[str, Any] = {"scheme": sf.gradient_descent(), "steps": 25, "jitter": 0, "progress": False}
    objective = sf.Cosine("flat", PHOTOS)
    start, _ = sf.value_and_grad(NET, objective)(U)
    towards = sf.visualize(NET, objective, start=U, **given)
    away = sf.visualize(NET, -objective, start=U, **given)
    assert towards.value is not None
    assert away.value is not None
    assert (towards.value > start + 0.5 * (1 - start)).all()
    assert (-away.value < start - 0.1).all()
    assert towards.manifest["objective"]["type"] == "Cosine"
    json.dumps(towards.manifest, allow_nan=False)


@pytest.mark.parametrize("by", [None, "position"])
def test_before_a_rectifier_the_same_cosine_is_asked_for(by: Any) -> None:
    more = ("", "") if by is None else (", by='position'", " --by position")
    for target in (PHOTOS[0], MAPS[0], MAPS):
        hint = NET.preactivation_hint(sf.Cosine("relu2", target, by=by))
        assert hint is not None
        assert f"sf.Cosine('conv2', target{more[0]}) (--cosine conv2 FILE{more[1]})" in hint


def test_what_does_not_fit_another_layer_is_not_asked_for_there() -> None:
    for fitting, layer in ((VECTORS[0], "conv2"), (MAPS[0], "relu2"), (PHOTOS[0], "flat")):
        assert sf.Cosine("relu2", fitting).fits(layer, NET)
    assert not sf.Cosine("relu2", MAPS[0]).fits("flat", NET)
    assert not sf.Cosine("relu2", VECTORS[0]).fits("conv1", NET)


def test_one_of_a_batch_has_its_own_target() -> None:
    for layer, targets in (("flat", VECTORS), ("conv2", MAPS), ("conv2", PHOTOS)):
        together, _ = sf.value_and_grad(NET, sf.Cosine(layer, targets))(U)
        for k in (0, 1):
            alone, _ = sf.value_and_grad(NET, sf.Cosine(layer, targets).for_images([k], NET))(U[k : k + 1])
            np.testing.assert_allclose(alone, together[k], rtol=1e-5)


# --- the command line ---------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "m.onnx").write_bytes(small_model().SerializeToString())
    rng = np.random.default_rng(1)
    for name in ("a.png", "b.png"):  # of another size than the network's
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8)).save(tmp_path / name)
    np.save(tmp_path / "v.npy", VECTORS[0])
    np.save(tmp_path / "w.npy", VECTORS[1])
    np.save(tmp_path / "wide.npy", VECTORS)
    return tmp_path


def given_to_visualize(files: Path, *targets: str, more: tuple[str, ...] = ()) -> list[str]:
    asked = ["visualize", str(files / "m.onnx"), "--preprocess", "none", "--steps", "2", "--json", "--quiet"]
    for target in targets:
        asked += ["--cosine", "flat", str(files / target)]
    return [*asked, *more, "-o", str(files / "out.png")]


@pytest.mark.parametrize(
    ("targets", "more", "batch"),
    [
        (("a.png",), (), 1),
        (("a.png", "b.png"), (), 2),
        (("v.npy",), (), 1),
        (("v.npy", "w.npy"), (), 2),
        (("wide.npy",), (), 2),
        (("a.png",), ("--by", "position", "--axis", "1"), 1),
    ],
    ids=["photo", "photos", "vector", "vectors", "rows", "by position"],
)
def test_the_command_line_takes_photographs_and_vectors(
    files: Path,
    targets: tuple[str, ...],
    more: tuple[str, ...],
    batch: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(given_to_visualize(files, *targets, more=more)) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [batch, *SIZE]
    manifest = json.loads((files / "out.manifest.json").read_text())
    assert manifest["objective"]["type"] == "Cosine"
    assert manifest["objective"]["by"] == ("position" if more else None)


def test_what_the_command_line_is_told_of_a_photograph_is_what_python_is(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = sf.read_image(files / "a.png", size=SIZE[1:])
    asked = ["attribute", str(files / "m.onnx"), str(files / "b.png"), "--method", "saliency", "--quiet"]
    asked += ["--preprocess", "none", "--cosine", "flat", str(files / "a.png"), "--size", "network"]
    assert main([*asked, "--npy", str(files / "map.npy"), "-o", str(files / "map.png")]) == 0
    net, seen = sf.load(small_model(), preprocess="none"), sf.read_image(files / "b.png", size=SIZE[1:])
    expected = sf.attribution.saliency(net, sf.Cosine("flat", photo), seen[None])
    np.testing.assert_allclose(np.load(files / "map.npy"), expected, rtol=1e-4, atol=1e-7)
    assert "saliency of cosine in flat" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("a.png", "v.npy"), "--cosine takes photographs or .npy files, not both"),
        (("v.npy", "wide.npy"), "the arrays of several --cosine must have one shape"),
        (("none.png",), "none.png"),
    ],
    ids=["mixed", "shapes", "missing"],
)
def test_files_that_do_not_go_together_are_refused(
    files: Path, targets: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given_to_visualize(files, *targets)) in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())
