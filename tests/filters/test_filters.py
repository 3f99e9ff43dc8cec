"""Filters against direct solves, closed forms and the laws they must obey."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import ndimage

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.filters import (
    Combination,
    Composition,
    Filter,
    Gaussian,
    Identity,
    Sobolev,
    SobolevProduct,
    convolution,
    from_dict,
    match,
    noise_gain,
    variance,
)
from sobolevflow.filters.parameters import per_axis
from sobolevflow.filters.separable import separable_terms
from sobolevflow.filters.spectral import multiply
from tests.support.filter_oracles import random_image, solve_directly
from tests.support.filter_strategies import boundaries, families, gammas, seeds

sides = st.integers(1, 14)
orders = st.floats(0.1, 4)


def turned(f: Filter) -> Filter:
    """The filter with its axes exchanged."""
    name = "sigma" if isinstance(f, Gaussian) else "gamma"
    strength = getattr(f, name)
    swapped = strength[::-1] if isinstance(strength, tuple) else strength
    return from_dict({**f.to_dict(), name: swapped})


# --- the exact operator -------------------------------------------------------------------------


@given(sides, sides, gammas, orders, boundaries, seeds)
@settings(max_examples=30, deadline=None)
def test_orders_add_up(h: int, w: int, gamma: Any, order: float, boundary: Any, seed: int) -> None:
    f = random_image(seed, h, w)
    once = Sobolev(gamma=gamma, order=order, boundary=boundary)
    twice = Sobolev(gamma=gamma, order=2 * order, boundary=boundary)
    np.testing.assert_allclose(once(once(f)), twice(f), atol=1e-12)


def test_exact_gaussian_is_the_untruncated_one() -> None:
    x = random_image(0, 20, 31)
    for sigma in (0.4, 0.99, 1.01, 2.5):
        expected = ndimage.gaussian_filter(x, sigma, mode="reflect", truncate=40)
        np.testing.assert_allclose(Gaussian(sigma=sigma)(x), expected, atol=1e-12)


# --- the truncated kernel -----------------------------------------------------------------------


@given(sides, sides, st.floats(0.02, 2), st.sampled_from((5, 11, 21)), boundaries, seeds)
@settings(max_examples=60, deadline=None)
def test_truncation_costs_no_more_than_the_mass_outside(
    h: int, w: int, gamma: float, size: int, boundary: Any, seed: int
) -> None:
    f = random_image(seed, h, w)
    exact = solve_directly(f, gamma, boundary)
    fir = Sobolev(size, gamma, boundary=boundary)
    raw = fir.kernel(normalised=False)
    outside = 1 - raw.sum()
    rounding = 4e-6  # of the separable terms
    largest = np.abs(f).max()
    raw_result = fir(f) * raw.sum()
    assert np.abs(raw_result - exact).max() <= (outside + rounding) * largest
    assert np.abs(fir(f) - exact).max() <= (2 * outside + rounding) * largest


@given(families(), sides, sides, seeds)
@settings(max_examples=60, deadline=None)
def test_response_is_the_spectrum_of_the_filter(f: Any, h: int, w: int, seed: int) -> None:
    x = random_image(seed, h, w)
    np.testing.assert_allclose(f(x), multiply(x, f.response(h, w), f.boundary), atol=1e-5)


def test_kernel_is_the_response_to_a_point() -> None:
    point = np.zeros((31, 31))
    point[15, 15] = 1
    for f in (Sobolev(size=11), Gaussian(size=11), Sobolev(size=7, gamma=2.0, order=0.5)):
        radius = f.size // 2 if f.size else 0
        window = f(point)[15 - radius : 16 + radius, 15 - radius : 16 + radius]
        np.testing.assert_allclose(window, f.kernel(), atol=1e-6)
        np.testing.assert_allclose(f(point).sum(), 1, atol=1e-13)
    exact = Sobolev(gamma=0.3)
    assert exact.size is None
    k = exact.kernel()
    around = exact(np.pad([[1.0]], len(k)))[len(k) // 2 + 1 : -(len(k) // 2) - 1, len(k)]
    np.testing.assert_allclose(around, k[len(k) // 2], atol=2e-6)


def test_kernel_without_truncation_is_the_inverse_of_the_five_point_operator() -> None:
    k = Sobolev(size=41, gamma=0.7).kernel(normalised=False)
    applied = k - 0.7 * ndimage.laplace(k, mode="constant")
    delta = np.zeros_like(k)
    delta[20, 20] = 1
    np.testing.assert_allclose(applied[1:-1, 1:-1], delta[1:-1, 1:-1], atol=1e-13)


@given(
    st.floats(0.01, 30), orders, st.sampled_from((3, 5, 11, 21)), st.sampled_from((1e-2, 1e-4, 1e-6, 1e-9))
)
@settings(max_examples=40, deadline=None)
def test_separable_terms_are_few_and_close(gamma: float, order: float, size: int, tolerance: float) -> None:
    k = Sobolev(size, gamma, order).kernel()
    terms = separable_terms(k, tolerance)
    total = sum((np.outer(a, b) for a, b in terms), np.zeros_like(k))
    assert np.linalg.norm(total - k) <= 3 * tolerance * np.linalg.norm(k) * size
    assert total.sum() == pytest.approx(1, abs=1e-14)
    assert len(terms) <= size // 2 + 1  # symmetry bounds the rank
    for a, b in terms:
        np.testing.assert_array_equal(a, a[::-1])
        np.testing.assert_array_equal(b, b[::-1])


def test_default_rank_at_the_papers_sizes() -> None:
    assert [len(separable_terms(Sobolev(n).kernel())) for n in (5, 9, 11, 21)] == [2, 4, 5, 7]
    assert len(separable_terms(Gaussian(11).kernel())) == 1


def test_a_hundred_elastic_steps_keep_the_mean() -> None:
    flat = np.full((9, 13), 0.7, np.float32)
    u = flat
    for _ in range(300):
        u = Sobolev(size=11)(u)
    np.testing.assert_allclose(u, flat, rtol=3e-5)


# --- the product and the dense window -----------------------------------------------------------


def test_kernel_of_the_product_is_made_of_two_sided_exponentials() -> None:
    for gamma in (0.02, 0.375, 1.0, 30.0):
        k = SobolevProduct(gamma).kernel(normalised=False)
        theta = 1 + 1 / (2 * gamma) - math.sqrt((1 + 1 / (2 * gamma)) ** 2 - 1)
        line = theta ** np.abs(np.arange(len(k)) - len(k) // 2) / math.sqrt(1 + 4 * gamma)
        np.testing.assert_allclose(k, np.outer(line, line), atol=1e-15)
        assert k[1:-1, 1:-1].sum() < 1 - 1e-6 <= k.sum()
        assert SobolevProduct(gamma).kernel().sum() == pytest.approx(1, abs=1e-14)
    tall = SobolevProduct((2.0, 0.1), order=3).kernel(normalised=False)
    applied = tall
    for _ in range(3):
        applied = applied - 2.0 * ndimage.correlate1d(applied, [1, -2, 1], axis=0, mode="constant")
        applied = applied - 0.1 * ndimage.correlate1d(applied, [1, -2, 1], axis=1, mode="constant")
    delta = np.zeros_like(tall)
    delta[len(tall) // 2, len(tall) // 2] = 1
    np.testing.assert_allclose(applied[3:-3, 3:-3], delta[3:-3, 3:-3], atol=1e-13)


@pytest.mark.parametrize(
    ("gamma", "kernels", "symbols"),
    [(0.176, 0.058, 0.071), (0.375, 0.118, 0.090), (1.0, 0.205, 0.090), (25.0, 0.275, 0.090)],
)
def test_product_is_not_the_sobolev_filter(gamma: float, kernels: float, symbols: float) -> None:
    size = 201
    sobolev = Sobolev(size, gamma).kernel()
    product = SobolevProduct(gamma).kernel()
    width = (size - len(product)) // 2
    product = np.pad(product, width) if width > 0 else product[-width:, -width:][:size, :size]
    distance = np.linalg.norm(product - sobolev) / np.linalg.norm(sobolev)
    assert distance == pytest.approx(kernels, abs=1e-3)
    apart = np.abs(SobolevProduct(gamma).response(400, 400) - Sobolev(gamma=gamma).response(400, 400))
    assert apart.max() == pytest.approx(symbols, abs=1e-3)


def test_dense_window_is_the_textbook_convolution() -> None:
    x = random_image(7, 2, 13, 9)
    modes: dict[Any, str] = {"reflect": "reflect", "periodic": "wrap"}
    for f in (Sobolev(9, (1.0, 0.2), 0.7, method="dense"), Gaussian(5, (0.5, 2.0), method="dense")):
        for boundary, mode in modes.items():
            expected = [ndimage.convolve(plane, f.kernel(), mode=mode) for plane in x]
            np.testing.assert_allclose(replace(f, boundary=boundary)(x), expected, atol=1e-14)
        wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))  # a zero, then the image turned over, and so on
        odd = np.pad(wide, ((0, 0), (6, 6), (6, 6)), mode="reflect", reflect_type="odd")
        expected = [ndimage.convolve(plane, f.kernel(), mode="constant")[7:-7, 7:-7] for plane in odd]
        np.testing.assert_allclose(replace(f, boundary="zero")(x), expected, atol=1e-14)


# --- laws of all filters ------------------------------------------------------------------------


@given(families(), sides, sides, seeds)
@settings(max_examples=60, deadline=None)
def test_filters_are_linear_and_self_adjoint(f: Filter, h: int, w: int, seed: int) -> None:
    x, y = random_image(seed, 2, h, w)
    np.testing.assert_allclose(f(2.5 * x - y), 2.5 * f(x) - f(y), atol=1e-12)
    assert np.vdot(f(x), y) == pytest.approx(np.vdot(x, f(y)), abs=1e-10)


@given(families(st.sampled_from(("reflect", "periodic"))), sides, sides, seeds)
@settings(max_examples=40, deadline=None)
def test_filters_keep_the_mean(f: Filter, h: int, w: int, seed: int) -> None:
    x = random_image(seed, h, w)
    assert f(x).mean() == pytest.approx(x.mean(), abs=1e-12)
    np.testing.assert_allclose(f(np.full((h, w), 3.0)), 3.0, atol=1e-12)


@given(families(), sides, sides, seeds)
@settings(max_examples=40, deadline=None)
def test_filters_commute_with_the_symmetries_of_the_grid(f: Filter, h: int, w: int, seed: int) -> None:
    x = random_image(seed, h, w)
    np.testing.assert_allclose(f(x[::-1]), f(x)[::-1], atol=1e-12)
    np.testing.assert_allclose(f(x[:, ::-1]), f(x)[:, ::-1], atol=1e-12)
    np.testing.assert_allclose(turned(f)(x.T), f(x).T, atol=1e-5)  # separable terms are symmetric as a sum


@given(families(), seeds)
@settings(max_examples=30, deadline=None)
def test_planes_are_filtered_one_by_one_whatever_their_strides(f: Filter, seed: int) -> None:
    x = random_image(seed, 2, 3, 8, 9, dtype=np.float32)
    x.flags.writeable = False
    y = f(x)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(f(x[i, j]), y[i, j])
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))  # channels last, seen as channels first
    np.testing.assert_array_equal(f(np.moveaxis(last, -1, 1)), y)
    np.testing.assert_array_equal(f(x[..., ::-2, 1::3]), f(x[..., ::-2, 1::3].copy()))


@given(families(), seeds)
@settings(max_examples=20, deadline=None)
def test_out_may_be_the_input_or_overlap_it(f: Filter, seed: int) -> None:
    memory = random_image(seed, 9, 8)
    expected = f(memory[:8])
    assert f(memory[:8], out=memory[1:]).base is memory
    np.testing.assert_array_equal(memory[1:], expected)
    x = random_image(seed, 9, 8)
    expected = f(x)
    assert f(x, x) is x
    np.testing.assert_array_equal(x, expected)


def test_gaussian_variances_add() -> None:
    x = random_image(1, 24, 17)
    for n in (2, 3, 9):
        repeated = (Gaussian(sigma=1.36) ** n)(x)
        np.testing.assert_allclose(repeated, Gaussian(sigma=math.sqrt(n) * 1.36)(x), atol=1e-8)
        assert np.abs(repeated - Gaussian(sigma=n * 1.36)(x)).max() > 0.01  # as the paper's eq. (12) has it


def test_planning_is_done_once() -> None:
    x = random_image(2, 6, 7)
    plan = convolution._planned
    for f in (Sobolev(11), Sobolev(gamma=4.0)):
        f(x)
        before = plan.cache_info()
        Sobolev(f.size, f.gamma, method=f.method)(x)
        assert plan.cache_info().misses == before.misses
        assert plan.cache_info().hits == before.hits + 1


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sigma", "gamma"),
    [
        (5, 0.4764, 0.0106),
        (7, 0.7528, 0.0608),
        (9, 1.0484, 0.1761),
        (11, 1.3601, 0.3753),
        (15, 2.0277, 1.0716),
        (21, 3.1345, 3.1569),
    ],
)
def test_support_rule(size: int, sigma: float, gamma: float) -> None:
    assert Gaussian(size).sigma == pytest.approx(sigma, abs=6e-5)
    assert Sobolev(size).gamma == pytest.approx(gamma, abs=6e-5)
    for f in (Gaussian(size), Sobolev(size), Sobolev(size, order=2.0), Sobolev(size, order=0.5)):
        ring = f.kernel()
        ring[1:-1, 1:-1] = 0
        assert ring.max() == pytest.approx(1e-4, rel=1e-9)


def test_what_is_given_decides_which_operator_it_is() -> None:
    assert Sobolev() == Sobolev(size=11) == Sobolev(11, Sobolev(11).gamma)
    assert (Sobolev(11).method, Sobolev(gamma=2.0).method) == ("fir", "exact")
    assert Sobolev(gamma=2.0).size is None
    assert Sobolev(11, method="exact").gamma == Sobolev(11).gamma
    adequate = Sobolev(gamma=2.0, method="fir")
    assert adequate.size is not None
    masses = [Sobolev(n, 2.0).kernel(normalised=False).sum() for n in (adequate.size - 2, adequate.size)]
    assert masses[0] < 1 - 1e-6 <= masses[1]
    x = random_image(3, 40, 50)
    np.testing.assert_allclose(adequate(x), Sobolev(gamma=2.0)(x), atol=1e-5)
    wide = Gaussian(sigma=2.0, method="fir")
    np.testing.assert_allclose(wide(x), Gaussian(sigma=2.0)(x), atol=1e-5)


def test_same_support_is_not_same_strength() -> None:
    assert noise_gain(Sobolev(11)) == pytest.approx(0.475, abs=5e-4)
    assert noise_gain(Gaussian(11)) == pytest.approx(0.207, abs=5e-4)


@given(st.floats(0.6, 6))
@settings(max_examples=15, deadline=None)
def test_match_is_its_own_inverse(sigma: float) -> None:
    g = Gaussian(sigma=sigma, boundary="periodic")
    for measure in ("variance", "noise"):
        s = match(g, to=measure)
        assert isinstance(s, Sobolev)
        assert s.boundary == "periodic"
        back = match(s, to=measure)
        assert isinstance(back, Gaussian)
        assert back.sigma == pytest.approx(sigma, rel=1e-7)
    assert noise_gain(match(g, to="noise")) == pytest.approx(noise_gain(g), rel=1e-9)


def test_match_to_variance_has_the_variance() -> None:
    for f in (
        Sobolev(gamma=(0.1, 1.5), order=2.0),
        Sobolev(11),
        Gaussian(sigma=0.4),
        Gaussian(7, (0.5, 3.0)),
    ):
        assert variance(match(f, to="variance")) == pytest.approx(variance(f), rel=1e-9)
    s = Sobolev(gamma=1.5, order=2.0)
    assert variance(s) == (6.0, 6.0)
    assert match(s, to="variance") == Gaussian(sigma=match(s, to="variance").sigma)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "f",
    [
        Sobolev(gamma=(0.3, 2.0), order=1.5),
        SobolevProduct((0.3, 2.0), 2),
        Gaussian(sigma=(0.4, 1.2)),
        Sobolev(9, (0.3, 2.0)),
    ],
)
def test_variance_is_that_of_the_response_to_a_point(f: Filter) -> None:
    point = np.zeros((161, 161))
    point[80, 80] = 1
    spread = f(point)
    squares = (np.arange(161) - 80) ** 2
    along = (spread.sum(axis=1) @ squares, spread.sum(axis=0) @ squares)
    assert variance(f) == pytest.approx(along, rel=1e-5)
    assert variance(f @ f) == pytest.approx(2 * np.array(along), rel=3e-3)


@given(st.floats(0.7, 3), st.floats(0.7, 3), st.floats(0.3, 3), st.sampled_from(("variance", "noise")))
@settings(max_examples=10, deadline=None)
def test_match_takes_any_order_and_both_axes(sigma_y: float, sigma_x: float, order: float, to: Any) -> None:
    g = Gaussian(sigma=(sigma_y, sigma_x), boundary="zero")
    s = match(g, to=to, order=order)
    assert isinstance(s, Sobolev)
    assert (s.order, s.boundary, s.method) == (order, "zero", "exact")
    back = match(s, to=to)
    assert isinstance(back, Gaussian)
    np.testing.assert_allclose(per_axis(back.sigma), (sigma_y, sigma_x), rtol=1e-6)
    again = match(s, to=to, order=1.0)
    assert isinstance(again, Sobolev)
    assert again.order == 1
    measured = variance if to == "variance" else noise_gain
    assert measured(again) == pytest.approx(measured(g), rel=1e-8)


def test_match_to_support_has_the_size() -> None:
    assert match(Sobolev(9), to="support") == Gaussian(9)
    assert match(Gaussian(9, method="exact"), to="support") == Sobolev(9, method="exact")
    assert match(Gaussian(9, method="dense"), to="support", order=2) == Sobolev(9, order=2, method="dense")
    assert match(Sobolev(9), to="support", order=0.5) == Sobolev(9, order=0.5)


def test_white_noise_is_damped_by_the_noise_gain() -> None:
    noise = random_image(5, 600, 600)
    for f in (Sobolev(11, boundary="periodic"), Gaussian(sigma=2.0, boundary="periodic")):
        assert f(noise).std() == pytest.approx(noise_gain(f), rel=0.02)


# --- algebra and serialisation ------------------------------------------------------------------


@given(families(st.just("reflect")), families(st.just("reflect")), seeds)
@settings(max_examples=30, deadline=None)
def test_algebra(f: Filter, g: Filter, seed: int) -> None:
    x = random_image(seed, 12, 9)
    np.testing.assert_allclose((f @ g)(x), f(g(x)), atol=1e-12)
    np.testing.assert_allclose((0.5 * f + np.float64(0.5) * g)(x), 0.5 * f(x) + 0.5 * g(x), atol=1e-12)
    np.testing.assert_allclose((f - g @ f)(x), f(x) - g(f(x)), atol=1e-12)
    np.testing.assert_allclose((f**3)(x), f(f(f(x))), atol=1e-12)
    for h in (f @ g, 2 * f - g, (f + g) ** 2):
        np.testing.assert_allclose(h(x), multiply(x, h.response(12, 9), "reflect"), atol=4e-5)
        assert from_dict(json.loads(json.dumps(h.to_dict()))) == h
    np.testing.assert_array_equal((Identity() @ f)(x), f(x))
    assert f @ Identity() == f
    assert f**0 == Identity()


def test_kernels_of_combined_filters() -> None:
    point = np.zeros((61, 61))
    point[30, 30] = 1
    for f in (Sobolev(11) @ Gaussian(7), Sobolev(11) ** 3, Identity() - 0.25 * Gaussian(9)):
        k = f.kernel()
        r = len(k) // 2
        np.testing.assert_allclose(f(point)[30 - r : 31 + r, 30 - r : 31 + r], k, atol=2e-6)


def test_filters_are_values() -> None:
    f = Sobolev(size=9, order=2, boundary="zero")
    assert eval(repr(f)) == f
    assert hash(f) == hash(Sobolev(size=9, order=2.0, boundary="zero"))
    assert pickle.loads(pickle.dumps(f)) == f
    assert f not in {Gaussian(size=9, boundary="zero"), Sobolev(size=9), Identity()}
    assert isinstance(f @ f, Composition)
    assert isinstance(-f, Combination)
    with pytest.raises(AttributeError):
        f.gamma = 1.0  # type: ignore[misc]
    k = f.kernel()
    k[:] = 0
    assert f.kernel().sum() == pytest.approx(1)  # the plan is not the caller's to change


@pytest.mark.parametrize(
    "f",
    [
        Sobolev(gamma=(0.5, 2.0), order=1.5),
        Sobolev(9, gamma=(0.5, 2.0), method="dense"),
        Gaussian(sigma=(1.0, 0.3), boundary="periodic"),
        SobolevProduct((0.5, 2.0), 2, "zero"),
        SobolevProduct(1.0),
    ],
)
def test_strengths_per_axis_survive_a_round_trip(f: Filter) -> None:
    assert eval(repr(f)) == f
    assert from_dict(json.loads(json.dumps(f.to_dict()))) == f
    assert json.loads(json.dumps(f.to_dict())) == f.to_dict()
    assert hash(from_dict(f.to_dict())) == hash(f)
    assert replace(f) == f  # type: ignore[type-var]
    assert turned(turned(f)) == f


def test_equal_strengths_are_one() -> None:
    assert Sobolev(gamma=(2, 2.0)) == Sobolev(gamma=2)
    assert Gaussian(sigma=[1.5, 1.5]) == Gaussian(sigma=1.5)  # type: ignore[arg-type]
    assert SobolevProduct((2, 2)).gamma == 2.0
    assert Sobolev(gamma=[1, 2]).gamma == (1.0, 2.0)  # type: ignore[arg-type]


def test_adequate_size_is_that_of_the_stronger_axis() -> None:
    for tall, both in (
        (Sobolev(gamma=(2.0, 0.1), method="dense"), Sobolev(gamma=2.0, method="dense")),
        (Gaussian(sigma=(2.0, 0.1), method="fir"), Gaussian(sigma=2.0, method="fir")),
    ):
        assert tall.size is not None
        assert both.size is not None
        assert both.size - 4 <= tall.size <= both.size
        assert tall.kernel(normalised=False).sum() >= 1 - 1e-6
        x = random_image(4, 30, 40)
        np.testing.assert_allclose(tall(x), replace(tall, method="exact")(x), atol=1e-5)


def test_real_powers_of_exact_filters() -> None:
    s = Sobolev(gamma=(0.5, 2.0), order=2.0, boundary="zero")
    assert s**0.25 == Sobolev(gamma=(0.5, 2.0), order=0.5, boundary="zero")
    assert s**1.5 == replace(s, order=3.0)
    x = random_image(6, 20, 21)
    root = Gaussian(sigma=(2.0, 4.0)) ** 0.5
    assert isinstance(root, Gaussian)
    np.testing.assert_allclose(per_axis(root.sigma), (math.sqrt(2), math.sqrt(8)))
    np.testing.assert_allclose((root @ root)(x), Gaussian(sigma=(2.0, 4.0))(x), atol=1e-8)
    assert s**2 == s @ s
    assert SobolevProduct(1.0) ** 2 == SobolevProduct(1.0) @ SobolevProduct(1.0)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 10}, "odd"),
        ({"size": 1}, "at least 3"),
        ({"size": 11.0}, r"whole number .* odd"),
        ({"size": True}, r"whole number .* odd"),
        ({"size": 501}, "too large for the support rule"),
        ({"gamma": 0.0}, "above zero"),
        ({"gamma": -1.0}, "above zero"),
        ({"gamma": math.inf}, "finite"),
        ({"gamma": math.nan}, "finite"),
        ({"gamma": "1"}, "number"),
        ({"gamma": 1e8, "method": "fir"}, "exact method"),
        ({"order": 0}, "order"),
        ({"gamma": (1.0, 0.0)}, "gamma_x"),
        ({"gamma": (math.nan, 1.0)}, "gamma_y"),
        ({"gamma": (1.0, 2.0, 3.0)}, "gamma_y, gamma_x"),
        ({"gamma": ()}, "gamma_y, gamma_x"),
        ({"gamma": (1e8, 1.0), "method": "dense"}, r"Sobolev\(gamma=\(1e\+08, 1\), order=1\)"),
    ],
)
def test_bad_parameters(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sobolev(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "above zero"),
        ({"gamma": (1.0, math.inf)}, "gamma_x .* finite"),
        ({"gamma": 1.0, "order": 0.5}, "Sobolev has any real order"),
        ({"gamma": 1.0, "order": 0}, "at least 1"),
        ({"gamma": 1.0, "order": True}, "at least 1"),
    ],
)
def test_bad_parameters_of_the_product(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SobolevProduct(**arguments)


def test_kernel_too_large_to_write_down() -> None:
    f = SobolevProduct(1e8)
    with pytest.raises(InputError, match="too many to write down"):
        f.kernel()
    assert f(np.ones((3, 4))).mean() == pytest.approx(1)


def test_unknown_names_come_with_near_matches() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'reflect'"):
        Sobolev(boundary="reflct")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="'auto', 'fir', 'dense', 'exact'"):
        Gaussian(method="fft")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean 'noise'"):
        match(Gaussian(), to="noisy")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean 'Sobolev'"):
        from_dict({"filter": "Sobolov"})
    with pytest.raises(InputError, match="lacks the key 'filter'"):
        from_dict({"size": 3})
    with pytest.raises(InputError, match="unexpected keyword"):
        from_dict({"filter": "Gaussian", "gamma": 1.0})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([["red"]], "list"),
        (np.float64(3.0), "shape \\(\\)"),
        (np.array(3.0), "shape \\(\\)"),
        (np.zeros(5), "\\(H, W\\)"),
        (np.zeros((0, 5)), "empty"),
        (np.zeros((5, 5), np.uint8), "dtype uint8"),
        (np.zeros((5, 5), bool), "dtype bool"),
        (np.zeros((5, 5), complex), "dtype complex128"),
        (np.array([[1.0, np.nan]]), "1 of 2 values"),
        (np.array([[np.inf, np.nan]], np.float32), "2 of 2 values"),
        (np.ma.masked_equal(np.eye(3), 0), "MaskedArray"),
    ],
)
def test_bad_input(x: Any, message: str) -> None:
    for f in (
        Sobolev(),
        Sobolev(gamma=(1.0, 2.0)),
        Sobolev(method="dense"),
        Gaussian(),
        SobolevProduct(1.0),
        Identity(),
        Sobolev() @ Gaussian(),
    ):
        with pytest.raises(InputError, match=message):
            f(x)


def test_bad_output() -> None:
    x = np.zeros((4, 5))
    read_only = np.zeros((4, 5))
    read_only.flags.writeable = False
    for out in (np.zeros((5, 4)), np.zeros((4, 5), np.float32), read_only, [[0.0]]):
        with pytest.raises(InputError, match=r"^out"):
            Sobolev()(x, out=out)  # type: ignore[arg-type]


def test_bad_algebra() -> None:
    for f, power in ((Sobolev(), 0.5), (SobolevProduct(1.0), 0.5), (Sobolev() @ Gaussian(), 1.5)):
        with pytest.raises(InputError, match=r"integer, 0 or more.*exact Sobolev filter"):
            f**power
    unfit: tuple[Any, ...] = (-1, -0.5, math.inf, math.nan, True, "2", 0.0)
    for power in unfit:
        with pytest.raises(InputError, match="above zero"):
            Sobolev(gamma=1.0) ** power
    with pytest.raises(InputError, match="finite"):
        math.nan * Sobolev()
    with pytest.raises(TypeError):
        Sobolev() + 1
    with pytest.raises(TypeError):
        Sobolev() @ np.eye(3)
    mixed = Sobolev(boundary="zero") @ Sobolev()
    assert mixed(np.ones((3, 3))).shape == (3, 3)
    with pytest.raises(InputError, match="reflect, zero are mixed"):
        mixed.response(3, 3)
    with pytest.raises(InputError, match="no counterpart"):
        match(Identity(), to="noise")
    with pytest.raises(InputError, match="no counterpart"):
        match(SobolevProduct(1.0), to="variance")
    with pytest.raises(InputError, match="has no size"):
        match(Sobolev(gamma=1.0), to="support")
    with pytest.raises(InputError, match="differs between the axes"):
        match(Sobolev(9, (1.0, 2.0)), to="support")
    with pytest.raises(InputError, match="order is -1"):
        match(Gaussian(), to="variance", order=-1.0)
    with pytest.raises(InputError, match="sums to 0"):
        variance(Gaussian(9) - Identity())
