"""What a descent starts from: grey, with white or natural noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import sobolevflow as sf
from sobolevflow.descent.start import drawn, grey, natural
from sobolevflow.filters import Sobolev
from sobolevflow.schemes import fluid, gradient_descent
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
    u = natural(rng(), shape, 0.06, Sobolev(gamma=50))
    assert u.shape == shape
    assert u.dtype == np.float32
    assert u.std() == pytest.approx(0.06, rel=0.01)
    np.testing.assert_allclose(u.mean(axis=(1, 2)), 0.5, atol=1e-4)


def test_natural_noise_is_without_grain() -> None:
    u = natural(rng(), SHAPE, 16 / 255, Sobolev(gamma=184))
    assert 255 * rough(u) < 0.6
    assert rough(u) < rough(grey(rng(), SHAPE, 8 / 255)) / 10


def test_natural_noise_has_the_colours_of_photographs() -> None:
    u = np.stack([natural(rng(k), SHAPE, 0.06, Sobolev(gamma=20)) for k in range(4)])
    found = np.corrcoef(np.moveaxis(u, 1, 0).reshape(3, -1))
    wanted = np.array(sf.NaturalColour().covariance)
    deviation = np.sqrt(np.diag(wanted))
    np.testing.assert_allclose(found, wanted / np.outer(deviation, deviation), atol=1e-3)


def test_filters_in_natural_colours_change_nothing_of_the_colours() -> None:
    plain = natural(rng(), SHAPE, 0.06, Sobolev(gamma=20))
    mixed = natural(rng(), SHAPE, 0.06, sf.NaturalColour() @ Sobolev(gamma=20))
    for u in (plain, mixed):
        found = np.corrcoef(u.reshape(3, -1))
        assert found[0, 1] == pytest.approx(0.87 / np.sqrt(0.98 * 0.96), abs=1e-3)


def test_without_a_filter_the_noise_is_as_coarse_as_the_recipe_has_it() -> None:
    u = drawn("natural", rng(), (3, 224, 224), 0.06, gradient_descent())
    same = drawn("natural", rng(), (3, 224, 224), 0.06, fluid(Sobolev(gamma=1000)))
    np.testing.assert_array_equal(u, same)


def test_a_filter_that_passes_the_mean_alone_leaves_grey() -> None:
    u = natural(rng(), SHAPE, 0.06, lambda w: np.zeros_like(w))
    np.testing.assert_array_equal(u, np.full(SHAPE, 0.5, np.float32))


def test_a_descent_starts_from_it() -> None:
    net = sf.load(small_model(), preprocess="none")
    result = sf.visualize(
        net, sf.Class(0), start="natural", steps=1, batch=2, snapshots=[0], progress=False, seed=4
    )
    settings = result.manifest["parameters"]
    assert (settings["start"], settings["noise"]) == ("natural", 16 / 255)
    K_f = sf.schemes.Scheme.from_dict(settings["scheme"]).K_f
    pixels = result.snapshots[0]
    size = net.input_shape
    expected = np.stack([natural(rng(4 + k), size, 16 / 255, K_f) for k in range(2)])
    assert np.abs(pixels.astype(float) / 255 - np.moveaxis(expected, 1, -1)).max() <= 0.51 / 255


def test_white_noise_has_its_own_deviation() -> None:
    net = sf.load(small_model(), preprocess="none")
    result = sf.visualize(net, sf.Class(0), steps=1, progress=False)
    assert result.manifest["parameters"]["noise"] == 8 / 255
