"""The proximal map of total generalised variation against another solver, closed forms and invariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from scipy import optimize

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.proximal import GeneralisedVariation
from sobolevflow.schemes import elastic
from sobolevflow.total_variation import Method, differences, prox, prox_tgv, value
from sobolevflow.total_variation.value import lengths
from tests.support.tv_oracles import random_image

Image = NDArray[Any]

METHODS: tuple[Method, ...] = ("numba", "reference")
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 7)


def plane(height: int, width: int) -> Image:
    i, j = np.mgrid[:height, :width]
    return np.asarray(0.01 * i - 0.02 * j + 0.4)


def paid(u: Image, w: Image, weight: float, ratio: float) -> float:
    """weight TGV(u), for images (C, H, W), if w (2, C, H, W) is the best; else more."""
    slopes, bends = differences.gradient(u) - w, differences.strain(w)
    return weight * float(lengths(slopes).sum() + ratio * lengths(bends).sum())


def energy(x: Image, f: Image, weight: float, ratio: float) -> float:
    """Of primal variables (3, C, H, W)."""
    return 0.5 * float(((x[0] - f) ** 2).sum()) + paid(x[0], x[1:], weight, ratio)


def by_scipy(f: Image, weight: float, ratio: float) -> Image:
    """The minimiser for one tiny image (C, H, W), by SLSQP on the dual problem.

    min over q of 1/2 |f + div strain* q|^2 where no vector of q is longer than ratio weight, and none of
    strain* q than the weight.
    """
    size, shape = 3 * f.size, (3, *f.shape)
    unit = np.eye(size).reshape(size, *shape)
    pull = np.stack([differences.strain_adjoint(q).ravel() for q in unit], axis=1)
    flow = np.stack([differences.divergence(differences.strain_adjoint(q)).ravel() for q in unit], axis=1)

    def room_of(matrix: Image, parts: int, limit: float) -> dict[str, Any]:
        split = matrix.reshape(parts, f.shape[0], -1, size)

        def room(q: Image) -> Any:
            return limit**2 - ((split @ q) ** 2).sum(axis=(0, 1))

        def slope(q: Image) -> Any:
            return -2 * np.einsum("pcn,pcnk->nk", split @ q, split)

        return {"type": "ineq", "fun": room, "jac": slope}

    found = optimize.minimize(  # over q / weight
        lambda q: 0.5 * float(((f.ravel() + weight * flow @ q) ** 2).sum()) / weight,
        np.zeros(size),
        jac=lambda q: flow.T @ (f.ravel() + weight * flow @ q),
        method="SLSQP",
        constraints=[room_of(np.eye(size), 3, ratio), room_of(pull, 2, 1)],
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    assert found.status in (0, 8), found.message  # 8: rounding leaves the line search nothing to gain
    return np.asarray(f + weight * (flow @ found.x).reshape(f.shape))


# --- exactness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 4), (1, 1, 7)])
@pytest.mark.parametrize(("weight", "ratio"), [(0.05, 2.0), (0.2, 1.0), (0.4, 0.5)])
def test_against_a_convex_solver(weight: float, ratio: float, shape: Any, method: Method) -> None:
    f = random_image(0, *shape)
    found = prox_tgv(f, weight, ratio, 1e-8, 100_000, channel_axis=0, method=method)
    assert found.converged
    np.testing.assert_allclose(found.u, by_scipy(f, weight, ratio), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 2, 1, 5), (1, 2, 5, 1), (1, 1, 2, 3), (1, 1, 1, 1)])
def test_the_kernel_is_the_reference(shape: Any, axis: int | None, dtype: Any) -> None:
    f = random_image(1, *shape).astype(dtype)
    found, expected = (
        prox_tgv(f, 0.1, tol=1e-9, max_iterations=45, channel_axis=axis, method=m) for m in METHODS
    )
    unit = float(np.finfo(dtype).eps)
    assert found.u.dtype == dtype
    np.testing.assert_allclose(found.u, expected.u, atol=50 * unit)
    np.testing.assert_allclose(found.state.u, expected.state.u, atol=50 * unit)
    np.testing.assert_allclose(found.state.p, expected.state.p, atol=50 * unit)
    np.testing.assert_array_equal(found.iterations, expected.iterations)
    np.testing.assert_allclose(found.gap, expected.gap, rtol=1e-9, atol=200 * unit)


@given(seeds, sides, sides, st.floats(0.01, 0.5), st.floats(0.3, 5), st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_the_gap_bounds_the_excess_after_any_number_of_iterations(
    seed: int, height: int, width: int, weight: float, ratio: float, iterations: int
) -> None:
    f = random_image(seed, 2, height, width)
    for dtype in (np.float64, np.float32):
        found = prox_tgv(f.astype(dtype), weight, ratio, 1e-12, iterations, channel_axis=0)
        best = prox_tgv(f.astype(dtype).astype(np.float64), weight, ratio, 1e-9, 4000, channel_axis=0)
        x, y = found.state.u[0].astype(np.float64), best.state.u[0]
        given = f.astype(dtype).astype(np.float64)
        excess = energy(x, given, weight, ratio) - energy(y, given, weight, ratio)
        assert excess <= found.gap + 1e-12
        assert found.gap >= 0


def test_slopes_cost_nothing_and_planes_stay() -> None:
    f = plane(12, 15)
    found = prox_tgv(f, 0.2, tol=1e-6, max_iterations=50_000)
    assert found.converged
    np.testing.assert_allclose(found.u, f, atol=1e-5)
    assert abs(prox(f, 0.2).u - f).max() > 0.01


def test_ramps_come_out_better_than_by_total_variation() -> None:
    clean = plane(40, 50)
    clean[:, 25:] += 0.4
    f = clean + 0.03 * np.random.default_rng(2).standard_normal(clean.shape)

    def best(solve: Any) -> float:
        return min(float(np.sqrt(np.mean((solve(f, w).u - clean) ** 2))) for w in (0.02, 0.04, 0.06, 0.1))

    assert best(prox_tgv) < 0.6 * best(prox)


# --- limits -------------------------------------------------------------------------------------


def test_no_more_is_paid_than_for_total_variation() -> None:
    f = random_image(3, 1, 20, 22)
    for weight in (0.05, 0.3):
        found = prox_tgv(f[0], weight, tol=1e-5, max_iterations=20_000)
        tv = prox(f[0], weight, 1e-6, 20_000)
        least = float(0.5 * ((tv.u - f) ** 2).sum() + weight * value(tv.u))
        assert energy(found.state.u[0], f, weight, 2.0) <= least + found.gap


def test_where_bends_cost_nothing_the_image_stays() -> None:
    f = random_image(4, 9, 8)
    np.testing.assert_allclose(prox_tgv(f, 0.5, ratio=1e-5, tol=1e-7, max_iterations=50_000).u, f, atol=1e-3)


def test_with_much_weight_a_plane_is_left() -> None:
    f = plane(8, 9) + 0.2 * random_image(5, 8, 9)
    found = prox_tgv(f, 50.0, ratio=20.0, tol=1e-9, max_iterations=200_000)
    assert found.converged
    i, j = np.mgrid[:8, :9]
    basis = np.stack([np.ones(72), i.ravel(), j.ravel()], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, f.ravel(), rcond=None)[0]
    np.testing.assert_allclose(found.u, fitted.reshape(8, 9), atol=5e-3)


def test_no_weight_or_no_variation_changes_nothing() -> None:
    f = random_image(6, 3, 5, 6)
    f[2] = 0.7
    found = prox_tgv(f, [0.0, 0.1, 0.1])
    np.testing.assert_array_equal(found.u[[0, 2]], f[[0, 2]])
    assert found.iterations[1] > found.iterations[0] == found.iterations[2] == 0
    assert found.converged.all()


# --- invariances --------------------------------------------------------------------------------

EXACT: dict[str, Any] = {"tol": 1e-7, "max_iterations": 50_000}


@given(seeds, st.floats(0.02, 0.3))
@settings(max_examples=5, deadline=None)
def test_what_is_added_as_a_plane_comes_out_with_it(seed: int, weight: float) -> None:
    f = random_image(seed, 8, 7)
    moved = prox_tgv(f + plane(8, 7), weight, **EXACT).u - plane(8, 7)
    np.testing.assert_allclose(moved, prox_tgv(f, weight, **EXACT).u, atol=2e-3)


@given(seeds, st.floats(0.02, 0.3))
@settings(max_examples=5, deadline=None)
def test_transposing_and_scaling(seed: int, weight: float) -> None:
    f = random_image(seed, 8, 7)
    u = prox_tgv(f, weight, **EXACT).u
    np.testing.assert_allclose(prox_tgv(f.T, weight, **EXACT).u.T, u, atol=2e-3)
    np.testing.assert_allclose(prox_tgv(8 * f, 8 * weight, **EXACT).u / 8, u, atol=1e-9)


def test_a_stack_is_solved_image_by_image() -> None:
    f = random_image(7, 3, 2, 9, 8)
    weight = np.array([0.05, 0.1, 0.3])
    found = prox_tgv(f, weight, channel_axis=1)
    assert found.gap.shape == found.iterations.shape == found.converged.shape == (3,)
    for n in range(3):
        alone = prox_tgv(f[n], weight[n], channel_axis=0)
        np.testing.assert_array_equal(found.u[n], alone.u)
        assert found.iterations[n] == alone.iterations
    one = prox_tgv(np.moveaxis(f, 1, 0), weight, channel_axis=0)
    np.testing.assert_array_equal(np.moveaxis(one.u, 0, 1), found.u)


# --- starting, stopping, errors -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_state_is_a_start_and_is_left_alone(method: Method) -> None:
    f = random_image(8, 1, 30, 31)
    first = prox_tgv(f, 0.1, method=method)
    before = first.state.u.copy(), first.state.p.copy()
    again = prox_tgv(f, 0.1, state=first.state, method=method)
    assert again.iterations == 0
    np.testing.assert_array_equal(again.u, first.u)
    drifted = prox_tgv(f + 0.002 * random_image(9, 1, 30, 31), 0.1, state=first.state, method=method)
    assert drifted.converged
    assert drifted.iterations <= first.iterations / 3
    for kept, now in zip(before, (first.state.u, first.state.p), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_too_few_iterations_are_owned_up_to() -> None:
    found = prox_tgv(random_image(10, 12, 12), 0.3, max_iterations=7)
    assert not found.converged
    assert found.iterations == 7
    assert found.gap > 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": -1}, InputError, "weight"),
        ({"weight": np.inf}, InputError, "weight"),
        ({"weight": [0.1, 0.2]}, InputError, "weight"),
        ({"ratio": 0}, InputError, "ratio is 0"),
        ({"ratio": np.nan}, InputError, "ratio"),
        ({"tol": 0}, InputError, "tol"),
        ({"max_iterations": 0}, InputError, "max_iterations"),
        ({"check_every": 0}, InputError, "check_every"),
        ({"channel_axis": 0}, InputError, "channel_axis"),
        ({"method": "exact"}, UnknownNameError, "method"),
        ({"state": prox(np.eye(4), 0.1).state}, InputError, "takes \\(1, 3, 1, 4, 4\\)"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prox_tgv(np.eye(4), **{"weight": 0.1, **arguments})


@pytest.mark.parametrize("f", [np.array([[np.nan, 1.0]]), np.ones(3), np.ones((2, 2), int), np.ones((0, 3))])
def test_bad_images(f: Image) -> None:
    with pytest.raises(InputError):
        prox_tgv(f, 0.1)


def test_in_a_scheme_it_knows_its_weight() -> None:
    found = elastic(GeneralisedVariation(0.1)).effective_weight(tau=2.0)
    assert found is not None
    assert found.weight == pytest.approx(0.05)
    assert "TGV" in str(found)
