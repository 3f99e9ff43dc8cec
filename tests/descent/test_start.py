"""What a descent starts from: grey, with white or natural noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import sobolevflow as sf
from sobolevflow.descent.start import grey, natural
from sobolevflow.filters import Sobolev
from tests.support.small_networks import small_model

SHAPE = (3, 96, 96)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rough(u: np.ndarray) -> float:
    """The root mean square of what a Gaussian of two pixels takes away."""
    smooth = ndimage.gaussian_filter(u.astype(float), (0, 2, 2), mode="reflect")
    return float(np.sqrt(np.mean((u - smooth) ** 2)))


@pytest.mark.parametrize("shape", [SHAPE, (1, 32, 48), (5, 64, 64)])
def test_natural_noise_has_the_deviation_that_is_asked_for(shape: tuple[int, ...]) -> None:
    u = natural(rng(), shape, 0.06)
    assert u.shape == shape
    assert u.dtype == np.float32
    assert u.std() == pytest.approx(0.06, rel=0.01)
    np.testing.assert_allclose(u.mean(axis=(1, 2)), 0.5, atol=1e-4)


def test_natural_noise_is_without_grain() -> None:
    u = natural(rng(), SHAPE, 16 / 255)
    assert 255 * rough(u) < 0.3
    assert rough(u) < rough(grey(rng(), SHAPE, 8 / 255)) / 20


def test_natural_noise_has_the_colours_of_photographs() -> None:
    u = np.stack([natural(rng(k), SHAPE, 0.06) for k in range(4)])
    found = np.corrcoef(np.moveaxis(u, 1, 0).reshape(3, -1))
    wanted = np.array(sf.NaturalColour().covariance)
    deviation = np.sqrt(np.diag(wanted))
    np.testing.assert_allclose(found, wanted / np.outer(deviation, deviation), atol=1e-3)


def test_one_pixel_is_grey() -> None:
    np.testing.assert_array_equal(natural(rng(), (3, 1, 1), 0.06), np.full((3, 1, 1), 0.5, np.float32))


def test_a_descent_starts_from_it() -> None:
    net = sf.load(small_model(), preprocess="none")
    result = sf.visualize(net, sf.Class(0), steps=1, batch=2, snapshots=[0], progress=False, seed=4)
    settings = result.manifest["parameters"]
    assert (settings["start"], settings["noise"]) == ("natural", 8 / 255)
    expected = np.stack([natural(rng(4 + k), net.input_shape, 8 / 255) for k in range(2)])
    found = result.snapshots[0].astype(float) / 255
    assert np.abs(found - np.moveaxis(expected, 1, -1)).max() <= 0.51 / 255


@pytest.mark.parametrize("given", [{"scheme": sf.fluid(Sobolev(size=3))}, {"recipe": "paper"}])
def test_the_paper_starts_from_white_noise(given: dict[str, Any]) -> None:
    net = sf.load(small_model(), preprocess="none")
    result = sf.visualize(net, sf.Class(0), steps=1, progress=False, **given)
    assert result.manifest["parameters"]["start"] == "grey"


def test_a_descent_leaves_nothing_of_the_roughness_of_its_start() -> None:
    """p = <h(u), h(u0)> / |h(u0)|^2, with h what a Gaussian of two pixels takes away."""
    net = sf.load("builtin:shapes-dense")
    for seed in range(2):
        u0 = natural(rng(seed), net.input_shape, 8 / 255)
        result = sf.visualize(net, sf.Class(3), steps=40, seed=seed, progress=False)
        h, h0 = (u - ndimage.gaussian_filter(u, (0, 2, 2), mode="reflect") for u in (result.u[0], u0))
        left = abs((h * h0).sum() / (h0**2).sum()) * np.sqrt((h0**2).mean())
        assert 255 * left < 0.3
        assert left < 0.05 * np.sqrt((h**2).mean())
