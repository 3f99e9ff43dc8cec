"""Values far outside of [0, 1] are warned of, wherever images go in, and nothing else is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import sobolevflow as sf
from sobolevflow import attribution, metrics
from sobolevflow.errors import AssumptionWarning, InputError
from sobolevflow.network import load
from tests.support.small_networks import SIZE, generator, images, small_model

CLASS = sf.Class(2)

TAKES: dict[str, Callable[[sf.Network, np.ndarray], Any]] = {
    "value_and_grad": lambda net, u: sf.value_and_grad(net, CLASS)(u),
    "check_gradient": lambda net, u: sf.check_gradient(net, CLASS, u, precision="single", directions=1),
    "features": lambda net, u: net.features(u, ["relu1"]),
    "scores": lambda net, u: net.scores(u),
    "top": lambda net, u: net.top(u),
    "saliency": lambda net, u: attribution.saliency(net, CLASS, u),
    "smooth_grad": lambda net, u: attribution.smooth_grad(net, CLASS, u, samples=4, noise=2.0),
    "integrated_gradients": lambda net, u: attribution.integrated_gradients(net, CLASS, u, steps=4),
    "completeness_error": lambda net, u: attribution.completeness_error(net, CLASS, u, np.zeros(u.shape)),
    "grad_cam": lambda net, u: attribution.grad_cam(net, CLASS, u, "conv1"),
    "in_top": lambda net, u: metrics.in_top(net, u, 2),
    "agreement": lambda net, u: metrics.agreement(net, u, u),
    "relative_feature_error": lambda net, u: metrics.relative_feature_error(net, "relu1", u, u / 2),
    "robustness": lambda net, u: metrics.robustness(net, CLASS, u, draws=1, jitter=1),
}


@pytest.fixture(scope="module")
def net() -> sf.Network:
    return load(small_model(), preprocess="none")


@pytest.mark.parametrize("name", TAKES)
def test_everything_that_takes_an_image_says_that_it_counts_to_255(net: sf.Network, name: str) -> None:
    u = images(1)
    u.flat[0], u.flat[1] = 0, 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TAKES[name](net, u)
    with pytest.warns(AssumptionWarning, match=r"holds values from 0 to 255.*\[0, 1\].*divide by 255"):
        TAKES[name](net, 255 * u)


@pytest.mark.parametrize("name", ["smooth_grad", "integrated_gradients", "completeness_error"])
def test_it_is_said_once_and_not_of_what_is_computed_on_the_way(net: sf.Network, name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        TAKES[name](net, 255 * images(1))
    assert len(caught) == 1
    assert caught[0].filename == __file__


@given(low=st.floats(-300, 300), high=st.floats(-300, 300), dtype=st.sampled_from(["f2", "f4", "f8"]))
def test_a_little_beyond_is_not_far(net: sf.Network, low: float, high: float, dtype: str) -> None:
    u = np.full((1, *SIZE), 0.5, dtype)
    u.flat[0], u.flat[1] = low, high
    far = bool(u.min() < -0.5 or u.max() > 1.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net.check_image(u)
    assert [each.category for each in caught] == [AssumptionWarning] * far
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.check_image(u, bounded=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_an_error(net: sf.Network, value: float) -> None:
    u = images(2)
    u[1, 2, -1, -1] = value
    for bounded in (True, False):
        with pytest.raises(InputError, match="NaN or infinite"):
            net.check_image(u, bounded=bounded)
    with pytest.raises(InputError, match="divide by 255"):
        net.check_image((255 * images(1)).astype(np.uint8))


def test_what_is_refused_is_not_warned_of_as_well(net: sf.Network) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="must lie in"):
            sf.value_and_grad(net, sf.Inversion("relu1", 255 * images(1)))(images(1))


def test_codes_of_a_generator_have_no_range() -> None:
    latent = sf.compose(generator(), small_model(), preprocess="none")
    codes = 5 * np.random.default_rng(0).standard_normal((1, 5, 1, 1)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sf.value_and_grad(latent, CLASS)(codes)
        attribution.integrated_gradients(latent, CLASS, codes, baseline=-3.0, steps=2)
        sf.visualize(latent, CLASS, start=codes, steps=2, progress=False)


def test_the_baseline_is_an_image_too(net: sf.Network) -> None:
    with pytest.warns(AssumptionWarning, match="the baseline holds values from 128 to 128"):
        attribution.integrated_gradients(net, CLASS, images(1), baseline=128.0, steps=2)


def test_the_start_of_a_descent_is_one_too(net: sf.Network) -> None:
    scheme = sf.gradient_descent()
    with pytest.warns(AssumptionWarning, match="start holds values from"):
        sf.visualize(
            net, CLASS, scheme=scheme, start=255 * images(1), clip=False, jitter=0, steps=1, progress=False
        )
    with pytest.raises(InputError, match="start must lie in"):
        sf.visualize(net, CLASS, scheme=scheme, start=255 * images(1), jitter=0, steps=1, progress=False)


def test_a_descent_that_does_not_clip_goes_where_it_will(net: sf.Network) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = sf.visualize(
            net, CLASS, scheme=sf.gradient_descent(), tau=5.0, clip=False, jitter=0, steps=4, progress=False
        )
    assert np.abs(result.u).max() > 2
