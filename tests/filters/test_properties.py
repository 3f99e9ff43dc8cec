"""Filters of all strengths on images of all shapes and layouts, against direct solves and their bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from sobolevflow.filters import Filter, Gaussian, Sobolev, SobolevProduct, from_dict
from sobolevflow.filters.convolution import Convolution
from tests.support.filter_oracles import (
    Image,
    Pair,
    differences_1d,
    pair,
    random_image,
    solve_directly,
    solve_product,
    worst_input,
)
from tests.support.filter_strategies import (
    LAYOUTS,
    boundaries,
    dtypes,
    filters,
    finite,
    gammas,
    layouts,
    seeds,
    shapes,
    sizes,
    windows,
)

orders = st.sampled_from((1, 1, 1, 2, 3))


def applied(f: Filter, method: str) -> Filter:
    """The same filter by another method."""
    return from_dict({**f.to_dict(), "method": method})


def largest(x: Image) -> float:
    return float(np.abs(x).max())


def assert_solves(y: Image, x: Image, expected: Image) -> None:
    """`y` has the dtype of `x` and is `expected` to 1e-5 or 1e-11 of the largest value."""
    assert y.dtype == x.dtype
    assert y.shape == x.shape
    tolerance = 1e-5 if x.dtype == np.float32 else 1e-11
    assert largest(y - expected) <= tolerance * largest(expected)


# --- exact filters ------------------------------------------------------------------------------


@given(shapes, gammas, orders, boundaries, dtypes, layouts, seeds)
@example((64, 64), 100.0, 3, "reflect", np.float32, LAYOUTS["plain"], 0)
@example((64, 1), (1e-3, 100.0), 1, "zero", np.float64, LAYOUTS["backwards"], 0)
@settings(max_examples=100)
def test_exact_sobolev_is_the_direct_solve(
    shape: tuple[int, int],
    gamma: Pair,
    order: int,
    boundary: Any,
    dtype: Any,
    layout: Callable[[Image], Image],
    seed: int,
) -> None:
    x = random_image(seed, *shape, dtype=dtype)
    seen = layout(x)
    y = Sobolev(gamma=gamma, order=order, boundary=boundary)(seen)
    assert_solves(y, seen, solve_directly(x, gamma, boundary, order))


@given(shapes, gammas, st.floats(0.01, 0.99), orders, boundaries, dtypes, seeds)
@settings(max_examples=60)
def test_fractional_orders_add_up_to_the_direct_solve(
    shape: tuple[int, int], gamma: Pair, share: float, order: int, boundary: Any, dtype: Any, seed: int
) -> None:
    x = random_image(seed, *shape, dtype=dtype)
    whole = Sobolev(gamma=gamma, order=order, boundary=boundary)
    first, rest = whole**share, whole ** (1 - share)
    assert isinstance(first, Sobolev)
    assert first.order == order * share
    assert_solves(rest(first(x)), x, solve_directly(x, gamma, boundary, order))


@given(shapes, gammas, st.integers(1, 3), boundaries, dtypes, layouts, seeds)
@settings(max_examples=60)
def test_product_is_a_solve_along_each_axis(
    shape: tuple[int, int],
    gamma: Pair,
    order: int,
    boundary: Any,
    dtype: Any,
    layout: Callable[[Image], Image],
    seed: int,
) -> None:
    x = random_image(seed, *shape, dtype=dtype)
    seen = layout(x)
    y = SobolevProduct(gamma, order, boundary)(seen)
    assert_solves(y, seen, solve_product(x, gamma, boundary, order))


@given(shapes, gammas, boundaries, seeds)
@settings(max_examples=60)
def test_sobolev_gradient_represents_the_derivative_in_h1(
    shape: tuple[int, int], gamma: Pair, boundary: Any, seed: int
) -> None:
    """Riesz: <S g, v> + gamma <grad S g, grad v> = <g, v> for every v, behind eqs. (13) to (16)."""
    g, v = random_image(seed, 2, *shape)
    s = Sobolev(gamma=gamma, boundary=boundary)(g)
    along_y, along_x = (differences_1d(n, boundary) for n in shape)
    gamma_y, gamma_x = pair(gamma)
    h1 = np.vdot(s, v)
    h1 += gamma_y * np.vdot(along_y @ s, along_y @ v) + gamma_x * np.vdot(s @ along_x.T, v @ along_x.T)
    assert abs(h1 - np.vdot(g, v)) <= 1e-11 * np.linalg.norm(g) * np.linalg.norm(v)


# --- finite filters and their bounds ------------------------------------------------------------


def truncation(f: Filter) -> float:
    return f.plan((8, 8)).truncation  # it does not depend on the shape


def rounding(f: Convolution, x: Image) -> float:
    return f.plan(x.shape, x.dtype).rounding


@given(shapes, gammas, orders, sizes, finite, boundaries, dtypes, layouts, seeds)
@settings(max_examples=100)
def test_windows_are_within_their_bound_of_the_direct_solve(
    shape: tuple[int, int],
    gamma: Pair,
    order: int,
    size: int,
    method: Any,
    boundary: Any,
    dtype: Any,
    layout: Callable[[Image], Image],
    seed: int,
) -> None:
    x = random_image(seed, *shape, dtype=dtype)
    seen = layout(x)
    f = Sobolev(size, gamma, order, boundary, method)
    y = f(seen)
    assert y.dtype == dtype
    assert y.shape == seen.shape
    of_the_solver = 1e-13
    bound = truncation(f) + rounding(f, x) + of_the_solver
    assert largest(y - solve_directly(x, gamma, boundary, order)) <= bound * largest(x)


@given(shapes, windows(), dtypes, seeds)
@settings(max_examples=60)
def test_windows_are_within_their_bound_of_the_exact_filter(
    shape: tuple[int, int], f: Convolution, dtype: Any, seed: int
) -> None:
    x = random_image(seed, *shape, dtype=dtype)
    exact = applied(f, "exact")(x.astype(np.float64))
    bound = truncation(f) + rounding(f, x) + 1e-13
    assert largest(f(x) - exact) <= bound * largest(x)


@given(windows(), dtypes)
@settings(max_examples=40)
def test_bound_on_truncation_is_attained(f: Convolution, dtype: Any) -> None:
    assert f.size is not None
    side = 2 * f.size + 63
    x = worst_input(f, side, side, dtype)
    error = largest(f(x) - applied(f, "exact")(x.astype(np.float64)))
    noise = rounding(f, x) + 1e-13
    assert error <= truncation(f) + noise
    assert truncation(f) <= 2 * error + noise


def test_worst_input_is_worse_than_any_other() -> None:
    f = Sobolev(7, 1.0)
    exact = applied(f, "exact")
    x = worst_input(f, 41, 51)
    at_worst = (f(x) - exact(x))[20, 25]
    assert at_worst == pytest.approx(truncation(f), rel=1e-6)
    for seed in range(20):
        other = np.sign(random_image(seed, 41, 51))
        assert largest(f(other) - exact(other)) < at_worst


@given(shapes, windows(st.just("fir")), seeds)
@settings(max_examples=60)
def test_terms_are_within_their_tolerance_of_the_window(
    shape: tuple[int, int], f: Convolution, seed: int
) -> None:
    x = random_image(seed, *shape)
    kernel = f.kernel()
    # |K|_1 <= size |K|_F, and what restores the sum is no larger than what was dropped
    dropped = 2 * len(kernel) * 1e-6 * np.linalg.norm(kernel)
    assert largest(f(x) - applied(f, "dense")(x)) <= (dropped + 1e-13) * largest(x)


def test_bounds_of_what_is_made_of_others() -> None:
    a, b = Sobolev(5, 0.5), Gaussian(5, 1.2)
    x = np.sign(random_image(0, 40, 40))
    whole = applied(a, "exact"), applied(b, "exact")
    for f, exact in ((a @ b, whole[0] @ whole[1]), (3 * a - b, 3 * whole[0] - whole[1])):
        assert largest(f(x) - exact(x)) <= truncation(f) <= 4 * truncation(b) + 1
        assert truncation(exact) == 0
        assert largest(f(x)) <= f._gain
    assert truncation(a @ b) >= max(truncation(a), truncation(b))
    assert truncation(3 * a - b) == pytest.approx(3 * truncation(a) + truncation(b))


# --- every filter -------------------------------------------------------------------------------


@given(shapes, filters(), dtypes, seeds)
@settings(max_examples=150)
def test_dot_product_with_the_adjoint(shape: tuple[int, int], f: Filter, dtype: Any, seed: int) -> None:
    x, y = random_image(seed, 2, *shape, dtype=dtype)
    there = np.vdot(f(x).astype(np.float64), y)
    back = np.vdot(x, f.adjoint(y).astype(np.float64))
    scale = f._gain * np.linalg.norm(x) * np.linalg.norm(y)
    assert abs(there - back) <= (1e-5 if dtype == np.float32 else 1e-12) * scale
    assert f.adjoint.adjoint == f


def test_adjoint_of_a_composition_is_reversed() -> None:
    f = Sobolev(gamma=4.0, boundary="zero") @ Gaussian(5, boundary="periodic")
    x, y = random_image(0, 2, 9, 7)
    assert np.vdot(f(x), y) == pytest.approx(np.vdot(x, f.adjoint(y)), abs=1e-12)
    assert abs(np.vdot(f(x), y) - np.vdot(x, f(y))) > 1e-3  # they do not commute
    assert f.adjoint == Gaussian(5, boundary="periodic") @ Sobolev(gamma=4.0, boundary="zero")
    assert Sobolev(9).adjoint == Sobolev(9)


@given(shapes, filters(), dtypes, layouts, seeds)
@settings(max_examples=80)
def test_layout_and_shape_of_the_stack_change_nothing(
    shape: tuple[int, int], f: Filter, dtype: Any, layout: Callable[[Image], Image], seed: int
) -> None:
    x = random_image(seed, *shape, dtype=dtype)
    expected, kept = f(x), x.copy()
    seen = layout(x)
    before = seen.copy()
    np.testing.assert_array_equal(f(seen), np.broadcast_to(expected, seen.shape))
    np.testing.assert_array_equal(seen, before)
    np.testing.assert_array_equal(x, kept)
