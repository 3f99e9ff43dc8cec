"""Strengths and values at the ends of what floats hold: an average stays one, and keeps the mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

import sobolevflow as sf
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct, inverse, reference
from sobolevflow.total_variation import constrained, prox, prox_tgv
from tests.support.filter_oracles import solve_directly

STRENGTHS = st.floats(-30, 308).map(lambda e: min(10.0**e, 1.7e308))
DTYPES = st.sampled_from([np.float32, np.float64])


def eps(x: Any) -> float:
    return float(np.finfo(x.dtype).eps)


def assert_an_average(f: Filter, x: np.ndarray) -> np.ndarray:
    """The mean is kept to a millionth, and no value lies beyond those of x by more than the bound says."""
    y = np.asarray(f(x, channel_axis=None))
    assert np.isfinite(y).all()
    beyond = f.plan(x.shape, x.dtype, channel_axis=None).error_bound * np.abs(x).max()
    assert x.min() - beyond <= y.min() <= y.max() <= x.max() + beyond
    assert abs(y.mean(dtype=np.longdouble) / x.mean(dtype=np.longdouble) - 1) < 1e-6
    return y


@settings(max_examples=40, deadline=None)
@given(STRENGTHS, st.integers(0, 5).map(lambda e: 10**e), st.integers(1, 7), st.booleans(), DTYPES)
def test_the_mean_is_kept_whatever_the_strength(
    gamma: float, long: int, short: int, lying: bool, dtype: Any
) -> None:
    x = np.random.default_rng([long, short]).random((long, short)).astype(dtype)
    assert_an_average(Sobolev(gamma=gamma), x.T.copy() if lying else x)


@example(1.0, 1e-9, 1, "reflect", (1, 2), np.float64)
@settings(max_examples=40, deadline=None)
@given(
    STRENGTHS,
    STRENGTHS,
    st.sampled_from([1, 2, 3, 1.5, 0.5]),
    st.sampled_from(["reflect", "periodic"]),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    DTYPES,
)
def test_every_family_averages_whatever_its_strength(
    first: float, second: float, order: float, boundary: Any, shape: tuple[int, int], dtype: Any
) -> None:
    x = np.random.default_rng(shape).random(shape).astype(dtype)
    strengths = (first, second)
    for f in (
        Sobolev(gamma=strengths, order=order, boundary=boundary),
        SobolevProduct(strengths, max(1, int(order)), boundary),
        Gaussian(sigma=strengths, boundary=boundary),
    ):
        y = assert_an_average(f, x)
        bound = 8 * f.plan(shape, dtype).rounding
        np.testing.assert_allclose(reference(f, x), y, rtol=0, atol=bound)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-30, 7).map(lambda e: 10.0**e),
    st.sampled_from(["reflect", "periodic", "zero"]),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    DTYPES,
)
def test_it_is_the_direct_solution(gamma: float, boundary: Any, shape: tuple[int, int], dtype: Any) -> None:
    """Up to 1e7, where float64 solves the linear system to nine digits."""
    x = np.random.default_rng(shape).random(shape).astype(dtype)
    f = Sobolev(gamma=gamma, boundary=boundary)
    wanted, bound = solve_directly(x, (gamma, gamma), boundary), f.plan(shape, dtype).rounding
    np.testing.assert_allclose(f(x, channel_axis=None), wanted, rtol=0, atol=bound + 1e-8)


EVERY: tuple[Filter, ...] = (
    Sobolev(gamma=4.0),
    Sobolev(gamma=1e12),
    Sobolev(gamma=4.0, order=1.5),
    Sobolev(11),
    Sobolev(11, method="dense"),
    Sobolev(61, gamma=20.0),
    Gaussian(11),
    Gaussian(sigma=2.0),
    SobolevProduct(4.0),
    SobolevProduct(1e12, order=2),
    Identity(),
    Sobolev(11) @ SobolevProduct(4.0, boundary="periodic"),
    0.5 * Sobolev(11) + 0.5 * SobolevProduct(4.0, boundary="periodic"),
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("f", EVERY, ids=str)
def test_filters_are_homogeneous_to_the_ends_of_the_range(f: Filter, dtype: Any) -> None:
    """What a filter makes of an image it makes of its multiples, denormals to the last bit."""
    limits = np.finfo(dtype)
    x = np.random.default_rng(0).random((2, 12, 20)).astype(dtype) + dtype(0.5)
    y = f(x, channel_axis=None)
    scale = np.ldexp(dtype(1), limits.maxexp - 2)
    np.testing.assert_array_max_ulp(f(x * scale, channel_axis=None), y * scale, 64)
    least = limits.smallest_subnormal
    tiny = np.round(x * 1000) * least
    wanted = f(np.round(x * 1000), channel_axis=None).astype(np.float64)
    for made in (f(tiny, channel_axis=None), reference(f, tiny, channel_axis=None)):
        np.testing.assert_allclose((made / least).astype(np.float64), wanted, rtol=0, atol=0.51)


@pytest.mark.parametrize("f", EVERY, ids=str)
def test_the_largest_number_is_not_too_large(f: Filter) -> None:
    x = np.full((9, 13), np.finfo(np.float32).max)
    np.testing.assert_allclose(f(x) / x, 1, rtol=1e-5)
    np.testing.assert_allclose(reference(f, x) / x, 1, rtol=1e-5)


def test_a_row_that_overflows_alone_is_seen() -> None:
    """Elimination along rows comes last, so that the first pixel of the plane need not tell."""
    x = np.zeros((40, 30), np.float32)
    x[30, ::2], x[30, 1::2] = 3.2e38, -3.2e38
    found = SobolevProduct((1e-6, 4.0))(x)
    np.testing.assert_allclose(found, SobolevProduct((1e-6, 4.0))(x / 2) * np.float32(2), rtol=1e-5)


def test_inverse_at_the_ends_of_the_range() -> None:
    f, x = Sobolev(gamma=0.5), np.random.default_rng(0).random((8, 9))
    for scale in (1e300, 1e-312):
        np.testing.assert_allclose(inverse(f, f(x * scale)) / scale, x, rtol=1e-9 if scale > 1 else 1e-8)


def test_signs_of_zero_and_what_is_not_finite() -> None:
    f = Sobolev(gamma=4.0)
    assert not f(np.full((4, 5), -0.0)).any()
    for bad in (np.nan, np.inf, -np.inf):
        x = np.zeros((4, 5))
        x[2, 2] = bad
        with pytest.raises(sf.errors.InputError, match="1 of 20 values that are NaN or infinite"):
            f(x)


@pytest.mark.parametrize("solve", [prox, prox_tgv, constrained])
@pytest.mark.parametrize("scale", [1e-40, 1e20, 3e38])
def test_total_variation_refuses_what_it_cannot_square(solve: Any, scale: float) -> None:
    x = (np.random.default_rng(0).random((6, 7)) * scale).astype(np.float32)
    with pytest.raises(sf.errors.InputError, match="f is as large as"):
        solve(x, 0.1)
    assert np.isfinite(solve(np.zeros_like(x), 0.1).u).all()


@pytest.mark.parametrize("weight", [1e-320, 1e-30, 1e30, 1e308])
def test_total_variation_refuses_weights_that_it_cannot_square(weight: float) -> None:
    x = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    for solve in (prox, prox_tgv, constrained):
        with pytest.raises(sf.errors.InputError, match="it must be 0 or from"):
            solve(x, weight)
    with pytest.raises(sf.errors.InputError, match="huber is as large as"):
        prox(x, 0.1, huber=weight)


@pytest.mark.parametrize("weight", [1e-16, 1e-9, 1e9, 1e16])
def test_total_variation_is_finite_where_it_computes(weight: float) -> None:
    x = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    for solve in (prox, prox_tgv, constrained):
        found = solve(x, weight, max_iterations=200)
        assert np.isfinite(found.u).all()
        assert np.isfinite(found.gap).all()
        assert x.min() - 1e-3 <= found.u.min() <= found.u.max() <= x.max() + 1e-3


def repeated(grow: Callable[[Filter], Filter], times: int, f: Filter) -> Filter:
    for _ in range(times):
        f = grow(f)
    return f


def test_powers_and_nests_are_refused_by_their_cost() -> None:
    with pytest.raises(sf.errors.InputError, match=r"1e\+06 filters, about .* operations a pixel"):
        Sobolev(11) ** 1_000_000
    x = np.random.default_rng(0).random((16, 16))
    many = Sobolev(gamma=0.01) ** 10_000
    np.testing.assert_allclose(many(x), Sobolev(gamma=0.01, order=10_000)(x))
    grown: tuple[Callable[[Filter], Filter], ...] = (
        lambda f: f @ Sobolev(11),
        lambda f: 0.5 * (f @ SobolevProduct(1.0)) + Identity(),
        lambda f: (f + f) @ (f + f),
    )
    for grow in grown:
        with pytest.raises(sf.errors.InputError, match="operations a pixel"):
            repeated(grow, 10_000, Sobolev(11))
    with pytest.raises(sf.errors.InputError, match=r"takes some 2\^\d+ bytes"):
        Sobolev(gamma=1.0).plan((10**6, 10**6))
    with pytest.raises(sf.errors.InputError, match=r"takes some 2\^\d+ bytes"):
        Gaussian(10**9 + 1, sigma=1.0)
