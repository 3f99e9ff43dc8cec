"""Measures of images against values computed by hand, by other formulas and by scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg, stats
from skimage import metrics as peer

import sobolevflow as sf
from sobolevflow import metrics
from sobolevflow.errors import InputError, UnknownNameError
from tests.support.layouts import IMAGE, ORDERS, network
from tests.support.small_networks import images, small_model


@pytest.fixture
def net() -> sf.Network:
    return sf.load(small_model(), preprocess="none")


# --- recognition --------------------------------------------------------------------------------


def test_in_top_is_the_rank_of_the_score(net: sf.Network) -> None:
    u = images(12)
    (scores,) = net.features(u, ["logits"])
    ranks = (-scores).argsort(axis=1).argsort(axis=1)
    for k in (1, 2, 6):
        np.testing.assert_array_equal(metrics.in_top(net, u, 4, k), ranks[:, 4] < k)
        each = [n % 6 for n in range(12)]
        expected = [ranks[n, c] < k for n, c in enumerate(each)]
        np.testing.assert_array_equal(metrics.in_top(net, u, each, k), expected)


def test_probability_is_the_softmax_of_the_scores(net: sf.Network) -> None:
    u = images(5)
    (probabilities,) = net.features(u, ["prob"])
    each = [0, 5, 2, 2, 1]
    np.testing.assert_allclose(
        metrics.probability(net, u, each), probabilities[np.arange(5), each], rtol=1e-5
    )
    np.testing.assert_allclose(metrics.probability(net, u, 3), probabilities[:, 3], rtol=1e-5)
    with pytest.raises(InputError, match="2 classes are given for 5"):
        metrics.probability(net, u, [0, 1])


def test_agreement_needs_no_labels(net: sf.Network) -> None:
    u, v = images(10, seed=1), images(10, seed=2)
    (a,), (b,) = (net.features(x, ["logits"]) for x in (u, v))
    np.testing.assert_array_equal(metrics.agreement(net, u, v), a.argmax(axis=1) == b.argmax(axis=1))
    assert metrics.agreement(net, u, v, k=6).all()
    assert metrics.agreement(net, u, u).all()


def test_a_share_has_wilsons_interval() -> None:
    hits = [True] * 7 + [False] * 33
    p, n, z = 7 / 40, 40, stats.norm.ppf(0.975)
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = (centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)
    np.testing.assert_allclose(metrics.proportion_interval(hits), expected)
    low, high = metrics.proportion_interval([False] * 20)
    assert low == 0
    assert 0.1 < high < 0.2
    narrow = metrics.proportion_interval(hits, 0.5)
    assert expected[0] < narrow[0] < p < narrow[1] < expected[1]


# --- fidelity -----------------------------------------------------------------------------------


def pairs(channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    reference = rng.random((4, channels, 24, 31))
    return np.clip(reference + 0.1 * rng.standard_normal(reference.shape), 0, 1), reference


def test_psnr_by_hand_and_by_scikit_image() -> None:
    u, reference = pairs()
    expected = [peer.peak_signal_noise_ratio(r, x, data_range=1) for x, r in zip(u, reference, strict=True)]
    np.testing.assert_allclose(metrics.psnr(u, reference), expected)
    assert metrics.psnr(np.full((1, 2, 2), 0.1), np.zeros((1, 2, 2))) == pytest.approx(20)
    assert metrics.psnr(np.full((1, 2, 2), 25.5), np.zeros((1, 2, 2)), 255) == pytest.approx(20)
    assert np.isinf(metrics.psnr(u, u)).all()
    np.testing.assert_allclose(metrics.psnr(u, u[0])[1:], metrics.psnr(u[1:], np.stack([u[0]] * 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(channels: int) -> None:
    u, reference = pairs(channels)
    options: dict[str, Any] = {
        "data_range": 1.0,
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "channel_axis": 0,
    }
    expected = [peer.structural_similarity(x, r, **options) for x, r in zip(u, reference, strict=True)]
    np.testing.assert_allclose(metrics.ssim(u, reference), expected, rtol=1e-9)
    np.testing.assert_allclose(metrics.ssim(u, u), 1)
    assert (metrics.ssim(1 - reference, reference) < 0).all()


def test_ssim_of_constant_images_by_hand() -> None:
    a, b = np.full((1, 12, 12), 0.2), np.full((1, 12, 12), 0.6)
    assert metrics.ssim(a, b) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4))


def test_relative_feature_error_by_hand(net: sf.Network) -> None:
    u, v = images(3, seed=3), images(3, seed=4)
    a, b = (net.features(x, ["conv2"])[0].reshape(3, -1).astype(np.float64) for x in (u, v))
    error = ((a - b) ** 2).sum(axis=1)
    found = metrics.relative_feature_error(net, "conv2", u, v)
    np.testing.assert_allclose(found, error / (b**2).sum(axis=1))
    distances = [((b[i] - b[j]) ** 2).sum() for i in range(3) for j in range(3) if i != j]
    found = metrics.relative_feature_error(net, "conv2", u, v, "pairs")
    np.testing.assert_allclose(found, error / np.mean(distances))
    np.testing.assert_array_equal(metrics.relative_feature_error(net, "conv2", u, u), 0)
    one = metrics.relative_feature_error(net, "conv2", u, v[0])
    assert one[0] == pytest.approx(error[0] / (b[0] ** 2).sum())


# --- spectrum -----------------------------------------------------------------------------------


def noise_of_slope(exponent: float, height: int, width: int, count: int = 6) -> np.ndarray:
    """Noise whose power is frequency^exponent."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = np.inf
    white = np.fft.fft2(np.random.default_rng(5).standard_normal((count, 1, height, width)))
    return np.asarray(np.fft.ifft2(white * frequency ** (exponent / 2)).real)


@pytest.mark.parametrize("exponent", [0.0, -1.0, -2.0, -3.0])
@pytest.mark.parametrize("shape", [(192, 192), (128, 201)])
def test_the_slope_is_the_exponent_that_noise_was_made_with(shape: tuple[int, int], exponent: float) -> None:
    found = metrics.spectrum_slope(noise_of_slope(exponent, *shape))
    np.testing.assert_allclose(found.mean(), exponent, atol=0.1)
    np.testing.assert_allclose(found, exponent, atol=0.35)


def test_the_steady_states_of_a_fixed_and_of_fresh_noise_under_an_elastic_filter() -> None:
    """Power ~ 1 / lambda^2 and ~ 1 / (lambda (2 + gamma lambda)): slopes of -4 and -2 at low frequencies."""
    n, steps, K = 128, 1500, sf.filters.Sobolev(gamma=0.375, boundary="periodic")
    gain = K.response(n, n)
    noise = np.random.default_rng(6).standard_normal((4, 1, n, n))
    fixed = np.fft.ifft2(np.fft.fft2(noise) * np.where(gain < 1, gain / (1 - gain + (gain == 1)), 0)).real
    assert metrics.spectrum_slope(fixed, low=4 / n, high=24 / n).mean() == pytest.approx(-4, abs=0.25)
    u = np.zeros((1, n, n))
    draws = np.random.default_rng(7)
    for _ in range(steps):
        u = K(u + draws.standard_normal(u.shape))
    assert metrics.spectrum_slope(u, low=8 / n, high=24 / n)[0] == pytest.approx(-2, abs=0.4)


def test_the_share_of_high_frequencies_by_hand() -> None:
    i, j = np.mgrid[:64, :64]
    slow, fast = np.sin(2 * np.pi * 4 * i / 64), np.sin(2 * np.pi * 24 * j / 64)
    found = metrics.high_frequency_share(np.stack([slow, fast, slow + 3 * fast, np.ones((64, 64))])[:, None])
    np.testing.assert_allclose(found, [0, 1, 0.9, 0], atol=1e-4)
    checkers = ((i + j) % 2).astype(float)
    assert metrics.high_frequency_share(checkers[None], cutoff=0.6) == pytest.approx(1)


def test_a_wave_lies_in_its_ring_and_colours_count_as_luminance() -> None:
    i, _ = np.mgrid[:48, :80]
    wave = np.cos(2 * np.pi * 6 * i / 48)
    spectrum = metrics.power_spectrum(np.stack([0 * wave, wave, 0 * wave]))
    assert spectrum.frequency[0] == 1 / 48
    assert spectrum.frequency[-1] == 0.5
    assert spectrum.power[0].argmax() == 5
    grey = metrics.power_spectrum(wave[None])
    np.testing.assert_allclose(spectrum.power, 0.7152**2 * grey.power)


def test_a_constant_image_has_no_slope() -> None:
    assert np.isnan(metrics.spectrum_slope(np.full((1, 64, 64), 0.3)))


# --- robustness ---------------------------------------------------------------------------------


def test_robustness_is_of_the_image_alone_and_of_the_seed() -> None:
    net = sf.load("builtin:shapes-vgg")
    u = np.random.default_rng(8).random((2, *net.input_shape)).astype(np.float32)
    found = metrics.robustness(net, sf.Class("spiral"), u, draws=6, seed=3)
    assert set(found.mean) == set(found.std) == {"jitter", "blur", "noise"}
    expected = sf.value_and_grad(net, sf.Class("spiral"))(u)[0]
    np.testing.assert_allclose(found.value, expected)
    assert all(spread.shape == (2,) for spread in found.std.values())
    alone = metrics.robustness(net, sf.Class("spiral"), u[:1], draws=6, seed=3)
    np.testing.assert_allclose(alone.mean["noise"], found.mean["noise"][:1], rtol=1e-3)
    again = metrics.robustness(net, sf.Class("spiral"), u, draws=6, seed=3)
    np.testing.assert_array_equal(again.mean["blur"], found.mean["blur"])
    np.testing.assert_allclose(found.retained()["jitter"] * found.value, found.mean["jitter"], rtol=1e-6)


def test_draws_by_hand(net: sf.Network) -> None:
    u, objective = images(2, seed=9), sf.Channel("conv1", 1)
    found = metrics.robustness(net, objective, u, jitter=2, blur=0, noise=0, draws=5, seed=1)
    assert set(found.mean) == {"jitter"}
    evaluate = sf.value_and_grad(net, objective)
    for n in range(2):
        draws = np.random.default_rng([1, n])
        values = []
        for _ in range(5):
            dy, dx = draws.integers(-2, 2, size=2, endpoint=True)
            values.append(evaluate(np.roll(u[n], (dy, dx), axis=(-2, -1)))[0][0])
        assert found.mean["jitter"][n] == pytest.approx(np.mean(values), rel=1e-5)
        assert found.std["jitter"][n] == pytest.approx(np.std(values), rel=1e-3)


# --- distributions ------------------------------------------------------------------------------


def test_pooled_features_average_maps_and_leave_vectors(net: sf.Network) -> None:
    u = images(3, seed=10)
    maps, vectors = net.features(u, ["conv2", "logits"])
    np.testing.assert_allclose(metrics.pooled_features(net, "conv2", u), maps.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(metrics.pooled_features(net, "logits", u), vectors, rtol=1e-6)


@pytest.mark.parametrize("layout", ORDERS)
def test_pooled_features_are_the_same_in_every_layout(layout: str) -> None:
    u = np.random.default_rng(4).random((3, *IMAGE), dtype=np.float32)
    (maps,) = sf.load(network(), preprocess="none").features(u, ["map"])
    turned = sf.load(network(layout), preprocess="none")
    for name in ("map", "line", *(["tokens"] if layout in ("first", "last") else [])):
        found = metrics.pooled_features(turned, name, u)
        np.testing.assert_allclose(found, maps.mean(axis=(2, 3)), rtol=1e-4, atol=1e-6, err_msg=name)


def test_neighbours_by_hand(net: sf.Network) -> None:
    references = np.array([[0.0, 0], [3, 4], [6, 8]])
    rows = np.array([[0.0, 0], [3, 0]])
    np.testing.assert_allclose(metrics.neighbour_distance(rows, references), [0, 3])
    np.testing.assert_allclose(metrics.neighbour_distance(rows, references, k=2), [2.5, 3.5])
    turned = metrics.neighbour_distance([[0.0, 2.0]], [[5.0, 0.0], [0.0, -1.0]], normalise=True)
    assert turned == pytest.approx(np.sqrt(2))
    u, real = images(2, seed=11), images(5, seed=12)
    a, b = (metrics.pooled_features(net, "relu2", x) for x in (u, real))
    expected = np.linalg.norm(a[:, None] - b, axis=2).min(axis=1)
    np.testing.assert_allclose(metrics.plausibility(net, "relu2", u, real), expected)


@pytest.mark.parametrize(("n", "m"), [(300, 200), (9, 40), (7, 8)])
def test_frechet_distance_by_the_square_root_of_a_matrix(n: int, m: int, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((n, 12)), rng.standard_normal((m, 12)) @ np.diag(np.arange(1, 13)) + 0.3
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = linalg.sqrtm(covariances[0] @ covariances[1] + 1e-13 * np.eye(12))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sum(covariances) - 2 * root.real)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert metrics.frechet_distance(b, a) == pytest.approx(metrics.frechet_distance(a, b))


def test_frechet_distance_in_closed_form(net: sf.Network, rng: np.random.Generator) -> None:
    a = rng.standard_normal((50, 1))
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet_distance(a, a + 2) == pytest.approx(4)
    spread = a.std(ddof=1)  # of one feature: the difference of the deviations, squared
    assert metrics.frechet_distance(a, 3 * a) == pytest.approx(4 * a.mean() ** 2 + (2 * spread) ** 2)
    u, real = images(4, seed=13), images(6, seed=14)
    features = [metrics.pooled_features(net, "gap", x) for x in (u, real)]
    assert metrics.frechet(net, "gap", u, real) == pytest.approx(metrics.frechet_distance(*features))


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: metrics.in_top(net, images(3), [0, 1]), "2 classes are given for 3"),
        (lambda net: metrics.in_top(net, images(1), 0, k=7), "k is 7"),
        (lambda net: metrics.in_top(net, images(1), 0, k=0), "k is 0"),
        (lambda net: metrics.in_top(net, images(1), 9), "class 9 is out of range"),
        (lambda net: metrics.agreement(net, images(2), images(1)), "1 references"),
        (lambda net: metrics.proportion_interval([]), "hits is empty"),
        (lambda net: metrics.proportion_interval([True], 1.0), "between 0 and 1"),
        (lambda net: metrics.psnr(np.ones((1, 2, 2)), np.ones((1, 2, 3))), "must agree"),
        (lambda net: metrics.psnr(np.ones((1, 2, 2), int), np.ones((1, 2, 2))), "divide"),
        (lambda net: metrics.psnr(np.full((1, 2, 2), np.nan), np.ones((1, 2, 2))), "NaN"),
        (lambda net: metrics.psnr(np.ones((2, 2)), np.ones((2, 2))), r"u has shape \(2, 2\)"),
        (lambda net: metrics.psnr(np.ones((1, 2, 2)), np.ones((1, 2, 2)), 0), "data_range"),
        (lambda net: metrics.ssim(np.ones((1, 10, 20)), np.ones((1, 10, 20))), "smaller than the window"),
        (lambda net: metrics.relative_feature_error(net, "conv1", images(2), images(3)), "3 references"),
        (lambda net: metrics.relative_feature_error(net, "conv1", images(1), images(1), "pairs"), "differ"),
        (lambda net: metrics.spectrum_slope(np.ones((2, 16, 16))), "2 channels"),
        (lambda net: metrics.spectrum_slope(np.ones((1, 7, 16))), "8x8"),
        (lambda net: metrics.spectrum_slope(np.ones((1, 16, 16)), low=0.24), "no two"),
        (lambda net: metrics.high_frequency_share(np.ones((1, 16, 16)), 0.8), "cutoff"),
        (lambda net: metrics.robustness(net, sf.Class(0), images(1), jitter=-1), "jitter"),
        (lambda net: metrics.robustness(net, sf.Class(0), images(1), blur=np.nan), "blur"),
        (lambda net: metrics.robustness(net, sf.Class(0), images(1), draws=0), "draws"),
        (lambda net: metrics.robustness(net, sf.Class(0), np.zeros((3, 9, 9))), "9x9"),
        (lambda net: metrics.neighbour_distance(np.ones((2, 3)), np.ones((2, 4))), "features have shape"),
        (lambda net: metrics.neighbour_distance(np.ones((2, 3)), np.ones((2, 3)), k=3), "k is 3"),
        (lambda net: metrics.frechet_distance(np.ones((1, 3)), np.ones((5, 3))), "at least two"),
        (lambda net: metrics.frechet_distance(np.full((2, 3), np.inf), np.ones((5, 3))), "infinite"),
    ],
)
def test_bad_arguments(net: sf.Network, call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(net)


def test_unknown_layers_are_named(net: sf.Network) -> None:
    with pytest.raises(UnknownNameError, match=r"no layer 'conv9'.*'conv1'"):
        metrics.relative_feature_error(net, "conv9", images(1), images(1))


def test_unknown_scales_are_named(net: sf.Network) -> None:
    with pytest.raises(UnknownNameError, match="relative_to is 'images'; known are 'reference', 'pairs'"):
        metrics.relative_feature_error(net, "conv1", images(1), images(1), "images")  # type: ignore[call-overload]
