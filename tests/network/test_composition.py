"""A generator in front of a classifier, held against running the two one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.random import default_rng
from onnx import TensorProto, helper

import sobolevflow as sf
from sobolevflow.errors import InputError
from sobolevflow.network.composition import pictures
from sobolevflow.onnxgrad.runtime import run, session
from tests.support.gradient_cases import make_model
from tests.support.small_networks import LABELS, generator, images, small_model

PREPROCESS = sf.Preprocess(2.0, (0.5, 0.6, 0.7), (0.5, 0.4, 0.3), order="bgr")


def drawn(model: onnx.ModelProto, codes: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
    (x,) = run(session(model), None, {"z": codes.reshape(len(codes), 5), **inputs})
    return np.asarray((x + 1) / 2)


@pytest.fixture
def latent() -> sf.Network:
    return sf.compose(generator(), small_model(), preprocess=PREPROCESS, labels=LABELS)


def codes(count: int = 3) -> np.ndarray:
    return default_rng(1).standard_normal((count, 5, 1, 1)).astype(np.float32)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_the_composition_is_one_after_the_other(opset: int) -> None:
    latent = sf.compose(generator(opset=opset), small_model(), preprocess=PREPROCESS, labels=LABELS)
    net = sf.load(small_model(), preprocess=PREPROCESS)
    expected = drawn(generator(opset=opset), codes())
    np.testing.assert_allclose(pictures(latent, codes()), expected, atol=1e-6)
    np.testing.assert_allclose(latent.scores(codes()), net.scores(expected), rtol=1e-4, atol=1e-5)
    (features,) = latent.features(codes(), ["relu1"])
    np.testing.assert_allclose(features, net.features(expected, ["relu1"])[0], rtol=1e-4, atol=1e-5)
    assert latent.labels == LABELS
    assert latent.input_shape == (5, 1, 1)


def test_channels_last_and_codes_of_four_axes() -> None:
    latent = sf.compose(generator(flat=False, last=True), small_model(), preprocess="none")
    x = drawn(generator(last=True), codes())
    np.testing.assert_allclose(pictures(latent, codes()), np.moveaxis(x, -1, 1), atol=1e-6)


@pytest.mark.parametrize("size", [(4, 5), (16, 20), (7, 9), (12, 11)])
def test_pictures_of_another_size_are_fitted(size: tuple[int, int]) -> None:
    latent = sf.compose(generator(size), small_model(), preprocess="none")
    found = pictures(latent, codes())
    assert found.shape == (3, 3, 8, 10)
    expected = between_pixels(between_pixels(drawn(generator(size), codes()), -2, 8), -1, 10)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert found.mean() == pytest.approx(drawn(generator(size), codes()).mean(), abs=0.05)


def between_pixels(x: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Linear interpolation along an axis, on half-pixel centres."""
    count = x.shape[axis]
    at = (np.arange(size) + 0.5) * count / size - 0.5
    return np.apply_along_axis(lambda line: np.interp(at, np.arange(count), line), axis, x)


def test_other_inputs_of_the_generator_are_constants() -> None:
    label = default_rng(2).standard_normal((1, 5)).astype(np.float32)
    latent = sf.compose(generator(label=True), small_model(), preprocess="none", inputs={"label": label})
    np.testing.assert_allclose(
        pictures(latent, codes()), drawn(generator(label=True), codes(), label=label), atol=1e-6
    )


def test_the_gradient_by_the_code_is_one_graph(latent: sf.Network) -> None:
    assert sf.check_gradient(latent, sf.Class("king crab"), codes()) < 1e-3
    model = sf.gradient_model(latent, sf.Class(1), batch=2)
    value, gradient = run(session(model), ["value", "gradient"], {"image": codes(2)})
    expected = sf.value_and_grad(latent, sf.Class(1))(codes(2))
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-6)


def test_visualize_descends_along_the_code(latent: sf.Network, tmp_path: Path) -> None:
    result = sf.visualize(latent, sf.Class(["king crab", "tabby"]), steps=30, snapshots=2, progress=False)
    assert result.value is not None
    assert (result.value > result.history.value[0] + 0.05).all()
    assert result.u.shape == (2, 5, 1, 1)
    assert np.abs(result.u).max() > 1  # codes have no bounds
    assert result.image.shape == (2, 8, 10, 3)
    expected = np.rint(255 * np.moveaxis(pictures(latent, result.u), 1, -1))
    np.testing.assert_array_equal(result.image, expected)
    np.testing.assert_array_equal(result.snapshots[30], result.image)
    assert np.abs(result.snapshots[15].astype(int) - result.image).mean() > 1  # there was a way to go
    assert result.manifest["parameters"]["start"] == "normal"
    assert result.save(tmp_path / "drawn.png").exists()
    assert result.report(tmp_path / "drawn.html").exists()
    assert json.dumps(result.manifest)


def test_inversion_finds_a_code_that_draws_the_picture(latent: sf.Network) -> None:
    u = pictures(latent, codes(1))
    net = sf.load(small_model(), preprocess=PREPROCESS)
    assert net.features(u, ["relu1"])[0].any()
    result = sf.invert(latent, sf.Inversion("relu1", codes(1).clip(0, 1)), steps=150, progress=False)
    assert result.value is not None
    assert result.value[0] < 0.1 * result.history.value[0][0]


def test_the_bundled_networks_can_stand_behind(tmp_path: Path) -> None:
    onnx.save(generator((96, 96)), tmp_path / "gan.onnx")
    latent = sf.compose(tmp_path / "gan.onnx", "builtin:shapes-vgg")
    result = sf.visualize(latent, sf.Class("spiral"), steps=2, progress=False)
    assert result.image.shape == (1, 96, 96, 3)
    picture = drawn(generator((96, 96)), result.u)
    np.testing.assert_array_equal(result.image, np.rint(255 * np.moveaxis(picture, 1, -1)))
    expected = sf.load("builtin:shapes-vgg").scores(picture)
    np.testing.assert_allclose(latent.scores(result.u), expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="takes one code, this one 'z', 'label'"):
        sf.compose(generator(label=True), small_model())
    with pytest.raises(InputError, match="black and white"):
        sf.compose(generator(), small_model(), values=(1, -1))
    with pytest.raises(InputError, match=r"\(N, 1, H, W\)"):
        sf.compose(generator(), _grey())
    with pytest.raises(InputError, match="no generator in front"):
        pictures(sf.load(small_model()), images(1))


def _grey() -> onnx.ModelProto:
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    constants = {"w": np.ones((80, 3), np.float32)}
    return make_model(nodes, {"x": (("N", 1, 8, 10), TensorProto.FLOAT)}, ["y"], constants, opset=15)
