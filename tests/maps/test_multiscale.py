"""The Laplacian pyramid and the normalisation of its bands."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import ndimage

import sobolevflow as sf
from sobolevflow.errors import InputError
from sobolevflow.filters import Sobolev
from sobolevflow.maps.multiscale import Multiscale, collapse, pyramid
from sobolevflow.metrics import spectrum_slope
from sobolevflow.schemes import Scheme

sides, levels, seeds = st.integers(1, 21), st.integers(1, 6), st.integers(0, 1000)


def noise(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


@given(sides, sides, levels, seeds)
def test_collapsing_inverts_the_pyramid(h: int, w: int, levels: int, seed: int) -> None:
    x = noise(seed, 2, 3, h, w)
    bands = pyramid(x, levels)
    assert len(bands) <= levels + 1
    np.testing.assert_allclose(collapse(bands), x, atol=1e-12)
    assert collapse(pyramid(x.astype(np.float32), levels)).dtype == np.float32


@given(sides, sides, levels)
def test_constants_are_in_the_rest_alone(h: int, w: int, levels: int) -> None:
    *bands, rest = pyramid(np.full((1, 1, h, w), 0.7), levels)
    np.testing.assert_allclose(rest, 0.7)
    for band in bands:
        np.testing.assert_allclose(band, 0, atol=1e-12)


def test_sizes_are_halved_and_the_coarse_image_is_the_smoothed_one() -> None:
    x = noise(0, 1, 1, 21, 16)
    bands = pyramid(x, 3)
    assert [band.shape[-2:] for band in bands] == [(21, 16), (11, 8), (6, 4), (3, 2)]
    taps = np.array([1, 4, 6, 4, 1]) / 16
    smooth = ndimage.correlate1d(
        ndimage.correlate1d(x[0, 0], taps, 0, mode="reflect"), taps, 1, mode="reflect"
    )
    np.testing.assert_allclose(pyramid(x, 1)[1][0, 0], smooth[::2, ::2], atol=1e-12)


def test_what_lies_between_pixels_is_their_mean() -> None:
    *_, rest = bands = pyramid(np.zeros((1, 1, 9, 1)), 1)
    peak = np.zeros_like(rest)
    peak[0, 0, 2, 0] = 1
    found = collapse([bands[0], peak])[0, 0, :, 0]
    np.testing.assert_allclose(found[2:7], [1 / 8, 1 / 2, 6 / 8, 1 / 2, 1 / 8], atol=1e-12)


def test_bands_get_equal_weights_and_the_mean_size_stays() -> None:
    g = sf.filters.Gaussian(sigma=5.0)(noise(1, 2, 3, 64, 48)) + 0.001 * noise(5, 2, 3, 64, 48)
    found = Multiscale(3)(g, channel_axis=1)
    for n in range(2):
        bands = pyramid(g[n], 3)
        equal = collapse([band / band.std() for band in bands])
        np.testing.assert_allclose(found[n], equal * abs(g[n]).mean() / abs(equal).mean(), atol=1e-12)
        unequal, less = ([band.std() for band in pyramid(x[n], 3)] for x in (g, found))
        assert max(less) / min(less) < max(unequal) / min(unequal) / 2
    np.testing.assert_allclose(abs(found).mean(axis=(1, 2, 3)), abs(g).mean(axis=(1, 2, 3)))


@given(seeds, st.floats(1e-6, 1e6))
def test_it_is_homogeneous_and_of_each_image_alone(seed: int, factor: float) -> None:
    g = noise(seed, 2, 3, 12, 17)
    K = functools.partial(Multiscale(), channel_axis=1)
    np.testing.assert_allclose(K(factor * g), factor * K(g), rtol=1e-6, atol=1e-12 * factor)
    np.testing.assert_allclose(K(g[:1]), K(g)[:1], atol=1e-12)
    assert np.vdot(K(g), g) > 0  # still a direction of ascent
    assert not K(np.zeros((1, 3, 8, 8))).any()


def test_an_update_becomes_smoother_where_it_is_noise() -> None:
    g = noise(2, 4, 1, 128, 128)
    assert spectrum_slope(Multiscale(5)(g, channel_axis=1)).mean() < spectrum_slope(g).mean() - 1


def test_it_stands_at_k_f_and_survives_the_manifest() -> None:
    u, g = noise(3, 1, 3, 16, 16), noise(4, 1, 3, 16, 16)
    smooth = Sobolev(gamma=0.5)
    scheme = sf.fluid(Multiscale(2) @ smooth)
    found, state = scheme.step(u, g, 0.1)
    np.testing.assert_allclose(found, u - 0.1 * Multiscale(2)(smooth(g), channel_axis=1), atol=1e-12)
    assert state is None
    assert Scheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme
    assert sf.fluid(Multiscale()).effective_weight(1.0) is None


def test_a_real_descent_rises() -> None:
    net = sf.load("builtin:shapes-vgg")
    result = sf.visualize(net, sf.Class("spiral"), scheme=sf.fluid(Multiscale()), steps=20, progress=False)
    assert result.value is not None
    assert result.value[0] > result.history.value[0, 0] + 3


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "four"])
def test_levels_are_a_number(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"levels is .* whole number of at least 1"):
        Multiscale(wrong)


def test_planes_without_channels_are_pictures_of_their_own() -> None:
    g = noise(6, 5, 12, 9)
    found = Multiscale()(g, channel_axis=None)
    for plane, equal in zip(g, found, strict=True):
        np.testing.assert_array_equal(equal, Multiscale()(plane))
        np.testing.assert_array_equal(equal, Multiscale()(plane[None], channel_axis=0)[0])


@pytest.mark.parametrize("K", [sf.Multiscale(2), sf.NaturalColour()], ids=repr)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(K: Any, value: float) -> None:
    g = np.ones((3, 5, 6), np.float32)
    g[1, 2, 3] = value
    with pytest.raises(sf.SobolevflowError, match="g has 1 of 90 values that are NaN or infinite"):
        K(g, channel_axis=0)
