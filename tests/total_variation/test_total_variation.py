"""Total variation and its proximal map against closed forms, optimality and invariances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from sobolevflow import total_variation
from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.total_variation import Method, differences, duality_gap, prox, value
from tests.support.tv_oracles import random_image

Image = NDArray[Any]

METHODS: tuple[Method, ...] = ("numba", "reference")
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 8)
weights = st.floats(0.01, 1)


def noisy_squares(seed: int, size: int = 32) -> Image:
    u = np.zeros((size, size))
    u[size // 4 : size // 2, size // 4 : -size // 4] = 0.8
    u[size // 2 : -size // 8, size // 2 : -size // 8] += 0.4
    return u + 0.05 * np.random.default_rng(seed).standard_normal(u.shape)


def energy(u: Image, f: Image, weight: float, channel_axis: int | None = None) -> float:
    return float(0.5 * np.sum((u - f) ** 2) + weight * value(u, channel_axis).sum())


# --- the value ----------------------------------------------------------------------------------


def test_value_of_a_square_is_its_perimeter_up_to_one_corner() -> None:
    u = np.zeros((10, 12))
    u[2:6, 3:8] = 1
    # 4 + 5 pixels above and left, 4 + 5 below and right with the last corner counted as sqrt(2)
    assert value(u) == pytest.approx(2 * (4 + 5) - 2 + math.sqrt(2))


def test_value_couples_the_channels_that_it_is_told_to() -> None:
    step = np.repeat([[0.0, 1.0]], 3, axis=0)
    rgb = np.stack([3 * step, 4 * step])
    np.testing.assert_allclose(value(rgb), [9, 12])
    assert value(rgb, channel_axis=0) == pytest.approx(15)
    batch = np.stack([rgb, 2 * rgb], axis=2)  # (C, H, N, W) is no layout; move N to the front and back
    np.testing.assert_allclose(value(np.moveaxis(batch, 2, 0), channel_axis=1), [15, 30])
    np.testing.assert_allclose(value(np.moveaxis(batch, 2, 1), channel_axis=-4), [15, 30])


# --- closed forms of the proximal map -----------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("weight", "expected"), [(0.1, [[0.3, 0.9]]), (0.4, [[0.6, 0.6]]), (5.0, [[0.6, 0.6]])]
)
def test_two_pixels_move_towards_each_other(
    method: Method, weight: float, expected: list[list[float]]
) -> None:
    f = np.array([[0.2, 1.0]])
    for g, e in ((f, np.array(expected)), (f.T, np.array(expected).T)):
        np.testing.assert_allclose(
            prox(g, weight, tol=1e-12, max_iterations=9000, method=method).u, e, atol=1e-6
        )


@pytest.mark.parametrize("method", METHODS)
def test_a_step_edge_loses_contrast_and_stays_sharp(method: Method) -> None:
    f = np.zeros((6, 10))
    f[:, 4:] = 1
    # each side of area 6 n is pulled by weight along an edge of length 6
    expected = np.where(f == 0, 0.2 / 4, 1 - 0.2 / 6)
    np.testing.assert_allclose(
        prox(f, 0.2, tol=1e-10, max_iterations=9000, method=method).u, expected, atol=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_large_weight_leaves_the_mean_of_each_image(method: Method) -> None:
    f = random_image(0, 2, 3, 6, 5)
    u = prox(f, 50.0, tol=1e-9, max_iterations=5000, method=method).u
    np.testing.assert_allclose(u, np.broadcast_to(f.mean(axis=(2, 3), keepdims=True), u.shape), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_coupled_channels_of_a_grey_image_act_as_one_with_a_smaller_weight(method: Method) -> None:
    grey = noisy_squares(0, 16)
    rgb = prox(np.stack([grey] * 4), 0.1, tol=1e-10, max_iterations=9000, channel_axis=0, method=method).u
    alone = prox(grey, 0.05, tol=1e-10, max_iterations=9000, method=method).u  # sqrt(4) / 4 = 1/2
    np.testing.assert_allclose(rgb, np.broadcast_to(alone, rgb.shape), atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_to_do_returns_the_image(method: Method, dtype: Any) -> None:
    f = random_image(1, 3, 5, 4, dtype=dtype)
    f[2] = 0.5
    elsewhere = prox(random_image(2, 3, 5, 4, dtype=dtype), 0.3, method=method).state
    for state in (None, elsewhere):
        found = prox(f, [0.0, 0.0, 0.3], method=method, state=state)
        np.testing.assert_array_equal(found.u, f)
        np.testing.assert_array_equal(found.gap, 0)
        np.testing.assert_array_equal(found.iterations, 0)
        assert found.converged.all()
        assert found.u.dtype == dtype


# --- optimality ---------------------------------------------------------------------------------


@given(sides, sides, st.integers(1, 3), weights, seeds)
@settings(max_examples=25, deadline=None)
def test_the_gap_bounds_the_distance_to_the_minimum(h: int, w: int, c: int, weight: float, seed: int) -> None:
    f = random_image(seed, c, h, w)
    best = prox(f, weight, tol=1e-10, max_iterations=100_000, channel_axis=0)
    assert best.converged
    minimum = energy(best.u, f, weight, 0)
    for tol in (1e-1, 1e-2, 1e-4):
        found = prox(f, weight, tol=tol, max_iterations=10_000, channel_axis=0)
        excess = energy(found.u, f, weight, 0) - minimum
        assert found.converged
        assert excess <= found.gap + 1e-12
        assert found.gap <= tol * weight * value(f, 0) + 1e-15
        # 1/2 |u - u*|^2 <= E(u) - E(u*), since E is strongly convex
        assert 0.5 * np.sum((found.u - best.u) ** 2) <= found.gap + best.gap + 1e-12


@given(sides, sides, weights, seeds)
@settings(max_examples=25, deadline=None)
def test_the_gap_is_the_difference_of_the_energies(h: int, w: int, weight: float, seed: int) -> None:
    f, u = random_image(seed, 2, 1, h, w)
    p = random_image(seed + 1, 2, 1, h, w) - 0.5
    p *= weight / np.maximum(weight, np.sqrt((p**2).sum(axis=0)))
    dual = 0.5 * np.sum(f**2) - 0.5 * np.sum((f + differences.divergence(p)) ** 2)
    assert duality_gap(f, u, p, weight) == pytest.approx(energy(u, f, weight) - dual, abs=1e-12)


def test_no_neighbour_of_the_minimiser_has_less_energy() -> None:
    f = noisy_squares(3, 12)
    u = prox(f, 0.1, tol=1e-9, max_iterations=20_000).u
    rng = np.random.default_rng(0)
    for scale in (1e-1, 1e-2, 1e-3):
        for _ in range(20):
            assert energy(u + scale * rng.standard_normal(u.shape), f, 0.1) > energy(u, f, 0.1)


def test_single_precision_reaches_small_gaps() -> None:
    f = noisy_squares(0)
    single = prox(f.astype(np.float32), 0.1, tol=1e-5, max_iterations=3000)
    double = prox(f, 0.1, tol=1e-7, max_iterations=9000)
    assert single.u.dtype == np.float32
    assert single.converged
    np.testing.assert_allclose(single.u, double.u, atol=5e-3)


def test_too_few_iterations_are_owned_up_to() -> None:
    found = prox(noisy_squares(0), 0.2, tol=1e-4, max_iterations=7)
    assert found.iterations == 7
    assert not found.converged
    assert found.gap > 1e-4 * 0.2 * value(noisy_squares(0))
    assert prox(noisy_squares(0), 0.2, max_iterations=5000).converged


@pytest.mark.parametrize("method", METHODS)
def test_a_warm_start_takes_less_than_half_the_iterations(method: Method) -> None:
    f = noisy_squares(0, 48)
    drift = np.random.default_rng(1).standard_normal(f.shape)
    g = f + 0.002 * np.linalg.norm(f) / np.linalg.norm(drift) * drift
    for weight in (0.05, 0.1, 0.3):
        first = prox(f, weight, method=method)
        cold, warm = prox(g, weight, method=method), prox(g, weight, method=method, state=first.state)
        assert warm.converged
        assert 2 * warm.iterations <= cold.iterations
        assert prox(f, weight, method=method, state=first.state).iterations == 0


def test_a_state_is_not_changed_by_its_use_nor_by_the_user_of_the_result() -> None:
    f = noisy_squares(0)
    first = prox(f, 0.1)
    before = first.state.u.copy(), first.state.p.copy()
    prox(f + 0.1, 0.2, state=first.state)
    first.u[:] = 0
    np.testing.assert_array_equal(first.state.u, before[0])
    np.testing.assert_array_equal(first.state.p, before[1])


def test_the_documented_iteration_counts() -> None:
    """Relative gap 1e-3 on a noisy image with values in [0, 1]."""
    f = noisy_squares(0, 96)
    assert [int(prox(f, w).iterations) for w in (0.02, 0.1)] == [10, 60]
    assert int(prox(f, 0.5).iterations) <= 120
    assert int(prox(f, 0.1, algorithm="accelerated").iterations) <= 120


# --- invariances --------------------------------------------------------------------------------


@given(sides, sides, weights, seeds)
@settings(max_examples=20, deadline=None)
def test_symmetries_of_the_problem(h: int, w: int, weight: float, seed: int) -> None:
    f = random_image(seed, h, w)

    def minimiser(g: Image, weight: float = weight) -> Image:
        return np.asarray(prox(g, weight, tol=1e-10, max_iterations=50_000).u)

    u = minimiser(f)
    np.testing.assert_allclose(minimiser(f + 0.7), u + 0.7, atol=1e-4)
    np.testing.assert_allclose(minimiser(-f), -u, atol=1e-4)
    np.testing.assert_allclose(minimiser(f.T), u.T, atol=1e-4)
    np.testing.assert_allclose(minimiser(3 * f, 3 * weight), 3 * u, atol=3e-4)
    assert u.mean() == pytest.approx(f.mean(), abs=1e-5)
    assert f.min() - 1e-4 <= u.min() <= u.max() <= f.max() + 1e-4


@given(weights, seeds)
@settings(max_examples=10, deadline=None)
def test_mirror_images_have_mirrored_minimisers_in_one_dimension(weight: float, seed: int) -> None:
    """In two dimensions forward differences prefer one diagonal."""
    f = random_image(seed, 1, 9)
    u, mirrored = (prox(g, weight, tol=1e-10, max_iterations=50_000).u for g in (f, f[:, ::-1]))
    np.testing.assert_allclose(mirrored[:, ::-1], u, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channel_axis", [None, 0, 1, -3])
def test_a_batch_is_solved_as_its_images_one_by_one(method: Method, channel_axis: int | None) -> None:
    f = random_image(0, 2, 3, 9, 7, dtype=np.float32)
    by_image = np.moveaxis(f, channel_axis, -3) if channel_axis is not None else f.reshape(6, 1, 9, 7)
    weight = 0.004 * 5.0 ** np.arange(len(by_image))
    shape = (2, 3) if channel_axis is None else (len(by_image),)
    batch = prox(f, weight.reshape(shape), channel_axis=channel_axis, method=method, check_every=2)
    back = np.moveaxis(batch.u, channel_axis, -3) if channel_axis is not None else batch.u.reshape(6, 1, 9, 7)
    assert batch.gap.shape == batch.iterations.shape == batch.converged.shape == shape
    for n, image in enumerate(by_image):
        contiguous = np.ascontiguousarray(image)
        alone = prox(contiguous, float(weight[n]), channel_axis=0, method=method, check_every=2)
        np.testing.assert_array_equal(back[n], alone.u)
        assert batch.gap.flat[n] == alone.gap
        assert batch.iterations.flat[n] == alone.iterations
    assert np.unique(batch.iterations).size > 1  # every image stops by itself


@pytest.mark.parametrize("method", METHODS)
def test_strides_do_not_matter(method: Method) -> None:
    f = random_image(0, 10, 12, 3, dtype=np.float32)
    f.flags.writeable = False
    before = f.copy()
    planes = np.moveaxis(f, -1, 0)[:, ::2, ::-1]
    found = prox(planes, 0.1, channel_axis=0, method=method)
    np.testing.assert_array_equal(found.u, prox(planes.copy(), 0.1, channel_axis=0, method=method).u)
    np.testing.assert_array_equal(f, before)


# --- the smoothed gradient ----------------------------------------------------------------------


@given(sides, sides, st.sampled_from((1e-2, 0.3)), st.sampled_from((None, 0, 1)), seeds)
@settings(max_examples=25, deadline=None)
def test_the_gradient_is_the_derivative_of_the_smoothed_value(
    h: int, w: int, epsilon: float, channel_axis: int | None, seed: int
) -> None:
    u, v = random_image(seed, 2, 2, 3, h, w)
    t = 1e-6
    ahead, behind = (value(u + s * v, channel_axis, epsilon).sum() for s in (t, -t))
    derivative = np.vdot(total_variation.gradient(u, epsilon, channel_axis), v)
    assert derivative == pytest.approx((ahead - behind) / (2 * t), rel=1e-5, abs=1e-6)


def test_the_smoothed_value_tends_to_total_variation() -> None:
    u = noisy_squares(0)
    assert value(u, epsilon=1e-9) == pytest.approx(value(u), abs=1e-5)
    assert total_variation.gradient(u.astype(np.float32)).dtype == np.float32


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": -0.1}, "not negative"),
        ({"weight": math.nan}, "finite"),
        ({"weight": [0.1, 0.2]}, r"broadcasts to the axes \(3,\)"),
        ({"weight": "heavy"}, "neither a number"),
        ({"tol": 0.0}, "tol is 0.0"),
        ({"tol": math.nan}, "tol is nan"),
        ({"max_iterations": 0}, "at least 1"),
        ({"max_iterations": 2.5}, "whole number"),
        ({"channel_axis": 3}, "an axis from 0 to 2 of an array of 3 axes"),
        ({"channel_axis": -4}, "an axis from 0 to 2 of an array of 3 axes"),
        ({"channel_axis": True}, "an axis from 0 to 2 of an array of 3 axes"),
        ({"channel_axis": 0.0}, r"channel_axis is 0\.0; .* axis from 0 to 2"),
        ({"channel_axis": 0, "coupled": "no"}, "coupled is 'no'; it must be True or False"),
        ({"f": np.ones((3, 3)), "channel_axis": 0}, "Leave it out"),
        ({"f": np.full((3, 4, 5), np.nan)}, "f has 60 of 60 values"),
        ({"f": np.ones((3, 4, 5), np.uint8)}, "dtype uint8"),
        ({"f": [["red"]]}, "f is a list"),
        ({"f": np.ones((3, 5, 4)), "state": "of (3, 4, 5)"}, r"state has variables \(3, 1, 4, 5\)"),
        ({"channel_axis": 0, "state": "of (3, 4, 5)"}, "Start without a state"),
        ({"f": np.ones((3, 4, 5), np.float32), "state": "of (3, 4, 5)"}, "float64"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    arguments = {"f": np.eye(4, 5)[None].repeat(3, axis=0), "weight": 0.1, **arguments}
    if "state" in arguments:
        arguments["state"] = prox(random_image(0, 3, 4, 5), 0.1).state
    with pytest.raises(InputError, match=message):
        prox(**arguments)


def test_other_bad_arguments() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'numba'"):
        prox(np.eye(3), 0.1, method="nmba")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no gradient"):
        total_variation.gradient(np.eye(3), epsilon=0)
    with pytest.raises(InputError, match="epsilon is -1"):
        value(np.eye(3), epsilon=-1)
