"""Maps in the place of K_e: what they minimise, how they combine, what they remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import sobolevflow as sf
from sobolevflow import proximal
from sobolevflow.arrays import Array
from sobolevflow.errors import InputError
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct
from sobolevflow.maps.base import Composition, ProximalMap
from sobolevflow.proximal import Box, GeneralisedVariation, Sum, TotalVariation, energy
from sobolevflow.total_variation import differences
from tests.support.filter_oracles import solve_directly
from tests.support.tv_oracles import convex_program, random_image

TV = TotalVariation(0.1, tol=1e-6, max_iterations=20_000)
MAPS: tuple[Any, ...] = (
    TV,
    TotalVariation(0.05, tol=1e-6, max_iterations=20_000, coupled=False),
    TotalVariation(0.1, tol=1e-6, max_iterations=20_000, variation="anisotropic"),
    TotalVariation(0.1, tol=1e-6, max_iterations=20_000, huber=0.05),
    Box(0.3, 0.6),
    Sobolev(gamma=0.5),
    Sobolev(gamma=2.0, order=1.5),
    SobolevProduct(gamma=0.7),
    Gaussian(sigma=0.6, method="exact"),
    0.5 * Sobolev(gamma=1.0) + 0.5 * Identity(),
)
names = [repr(K) for K in MAPS]
seeds = st.integers(0, 2**32 - 1)


def images(seed: int, *shape: int) -> Array:
    return random_image(seed, *shape)


def total(K: Any, v: Array, u: Array) -> Array:
    """What the proximal map of u is the minimiser of, for each image."""
    return np.asarray(0.5 * ((v - u) ** 2).sum(axis=(1, 2, 3)) + energy(K, v))


# --- each map by itself -------------------------------------------------------------------------


@pytest.mark.parametrize("K", MAPS, ids=names)
def test_a_proximal_map_minimises_its_energy(K: Any) -> None:
    """No image nearby, and none on the way to another one, has less."""
    u = images(0, 2, 3, 9, 8)
    v = K(u, channel_axis=1)
    least = total(K, v, u)
    rng = np.random.default_rng(1)
    directions = [rng.standard_normal(u.shape) for _ in range(20)] + [u - v, 0.5 - v]
    slack = 1e-6 * energy(K, u) if isinstance(K, TotalVariation) else 1e-9
    for direction in directions:
        for length in (1e-3, 0.03, 0.5):
            assert (total(K, v + length * direction, u) >= least - slack).all()


@pytest.mark.parametrize("K", MAPS, ids=names)
@given(seeds)
@settings(max_examples=5, deadline=None)
def test_proximal_maps_are_firmly_nonexpansive(K: Any, seed: int) -> None:
    a, b = (images(s, 1, 2, 7, 6) for s in (seed, seed ^ 1))
    moved, before = K(a, channel_axis=1) - K(b, channel_axis=1), a - b
    slack = 1e-2 if isinstance(K, TotalVariation) else 1e-9
    assert (moved * moved).sum() <= (moved * before).sum() + slack


def test_the_energy_of_a_sobolev_filter_is_half_gamma_times_the_squared_gradient() -> None:
    u = images(2, 3, 2, 10, 7)
    slopes = differences.gradient(u)
    expected = 0.5 * 0.8 * (slopes**2).sum(axis=(0, 2, 3, 4))
    np.testing.assert_allclose(energy(Sobolev(gamma=0.8), u), expected, rtol=1e-9)
    np.testing.assert_allclose(energy(Sobolev(gamma=0.8), u.astype(np.float32)), expected, rtol=1e-5)
    np.testing.assert_allclose(energy(Identity(), u), 0, atol=1e-12)


def test_the_energy_of_total_variation_is_that_of_the_kind() -> None:
    u = images(3, 2, 3, 8, 9)
    down, right = differences.gradient(u)
    coupled = np.sqrt((down**2 + right**2).sum(axis=1)).sum(axis=(1, 2))
    np.testing.assert_allclose(energy(TotalVariation(0.3), u), 0.3 * coupled)
    alone = np.sqrt(down**2 + right**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(energy(TotalVariation(0.3, coupled=False), u), 0.3 * alone)
    sums = (np.sqrt((down**2).sum(axis=1)) + np.sqrt((right**2).sum(axis=1))).sum(axis=(1, 2))
    np.testing.assert_allclose(energy(TotalVariation(0.3, variation="anisotropic"), u), 0.3 * sums)


def test_a_box_is_a_projection() -> None:
    u = np.array([[[[-0.5, 0.2, 1.5]]]], np.float32)
    np.testing.assert_array_equal(Box()(u), np.array([[[[0, 0.2, 1]]]], np.float32))
    assert Box()(u).dtype == np.float32
    np.testing.assert_array_equal(Box(high=np.inf)(u), np.maximum(u, 0))
    np.testing.assert_array_equal(energy(Box(), np.concatenate([u, Box()(u)])), [np.inf, 0])


def test_a_windowed_filter_that_turns_waves_over_has_no_energy() -> None:
    with pytest.raises(InputError, match="Give its strength instead of its size"):
        energy(Gaussian(size=3, sigma=5.0), images(0, 1, 1, 8, 8))
    with pytest.raises(InputError, match="not known to be the proximal map"):
        energy(sf.Bilateral(), images(0, 1, 1, 8, 8))


# --- one after the other ------------------------------------------------------------------------


def flip(x: Array) -> Array:
    return x[..., ::-1]


def test_a_product_applies_its_last_factor_first() -> None:
    u, K = images(4, 2, 3, 11, 12), Sobolev(gamma=1.0)
    for product, expected in (
        (Box(0.4, 0.6) @ K, Box(0.4, 0.6)(K(u))),
        (K @ Box(0.4, 0.6), K(Box(0.4, 0.6)(u))),
        (Box(0.4, 0.6) @ flip @ K, Box(0.4, 0.6)(flip(K(u)))),
        (flip @ TV, flip(TV(u, channel_axis=1))),
        (TV @ (K @ Box()), TV(K(Box()(u)), channel_axis=1)),
    ):
        assert isinstance(product, Composition)
        np.testing.assert_array_equal(product(u, channel_axis=1), expected)
    assert (TV @ K @ Box()).maps == (TV @ (K @ Box())).maps == (TV, K, Box())


def test_every_factor_keeps_its_own_memory() -> None:
    u = images(5, 1, 1, 40, 40)
    K = TotalVariation(0.2, coupled=False) @ Sobolev(gamma=0.5) @ TotalVariation(0.05, tol=1e-4)
    first, state = K.solve(u, None, channel_axis=1)
    assert state is not None
    np.testing.assert_array_equal(first, K(u, channel_axis=1))
    drifted = u + 1e-3 * images(6, *u.shape)
    again, warm = K.solve(drifted, state, channel_axis=1)
    _, cold = K.solve(drifted, None, channel_axis=1)
    assert warm is not None
    assert cold is not None
    assert warm.converged
    assert cold.converged
    assert warm.iterations <= cold.iterations / 2
    assert warm.gap > 0
    np.testing.assert_allclose(again, K(drifted, channel_axis=1), atol=0.05)
    assert (Box() @ Sobolev(gamma=0.5)).solve(u, None)[1] is None


def test_apply_starts_what_has_a_memory_from_it() -> None:
    u = images(7, 1, 1, 30, 30)
    assert isinstance(TV, ProximalMap)
    assert not isinstance(Sobolev(gamma=1), ProximalMap)
    found, state = proximal.apply(TV, u, channel_axis=1)
    again, after = proximal.apply(TV, u, state, channel_axis=1)
    np.testing.assert_allclose(found, again, atol=1e-2)
    assert after.iterations < state.iterations
    same, none = proximal.apply(np.flip, u, channel_axis=1)
    assert none is None
    np.testing.assert_array_equal(same, np.flip(u))


# --- sums ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variation", ["isotropic", "anisotropic"])
@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 4)])
def test_total_variation_and_the_dirichlet_energy_against_a_convex_solver(
    shape: tuple[int, ...], variation: Any
) -> None:
    f = images(8, *shape)

    def smooth(x: Array) -> Array:
        return np.stack([solve_directly(channel, 0.4, "reflect") for channel in x])

    expected = convex_program(f, 0.1, variation == "isotropic", smooth=smooth)
    tv = TotalVariation(0.1, tol=1e-8, max_iterations=100_000, variation=variation)
    K = Sum((tv, Sobolev(gamma=0.4)), tol=1e-6, max_iterations=5000)
    v, state = K.solve(f[None], None, channel_axis=1)
    assert state.converged
    np.testing.assert_allclose(v[0], expected, atol=2e-3)
    ours, theirs = (total(K, w, f[None])[0] for w in (v, expected[None]))
    assert ours <= theirs + 2e-6 * energy(K, f[None])[0]
    assert ours - theirs <= state.gap + 1e-7


def test_two_sobolev_filters_make_the_one_of_their_summed_strength() -> None:
    u = images(9, 2, 3, 12, 10)
    K = Sum((Sobolev(gamma=0.3), Sobolev(gamma=0.5)), tol=1e-8, max_iterations=2000)
    v, state = K.solve(u, None, channel_axis=1)
    assert state.converged
    np.testing.assert_allclose(v, Sobolev(gamma=0.8)(u), atol=1e-4)


def test_two_total_variations_make_the_one_of_their_summed_weight() -> None:
    u = images(10, 1, 1, 16, 17)
    parts = [TotalVariation(w, tol=1e-8, max_iterations=100_000) for w in (0.05, 0.1)]
    v, state = Sum(tuple(parts), tol=1e-5, max_iterations=2000).solve(u, None, channel_axis=1)
    assert state.converged
    expected = TotalVariation(0.15, tol=1e-8, max_iterations=100_000)
    assert total(expected, v, u) <= total(expected, expected(u, channel_axis=1), u) + 1e-5 * energy(
        expected, u
    )


def test_a_box_beside_anisotropic_total_variation_clips_its_solution() -> None:
    """Truncating both terms' minimisers is allowed where the coarea formula holds (Darbon, Sigelle, 2006)."""
    u = 1.5 * images(11, 2, 1, 12, 13) - 0.25
    tv = TotalVariation(0.05, tol=1e-8, max_iterations=100_000, variation="anisotropic")
    v, state = Sum((Box(0.2, 0.7), tv), tol=1e-5, max_iterations=5000).solve(u, None, channel_axis=1)
    assert state.converged
    assert v.min() >= 0.2
    assert v.max() <= 0.7
    np.testing.assert_allclose(v, np.clip(tv(u, channel_axis=1), 0.2, 0.7), atol=5e-3)


@given(seeds, st.sampled_from([(0, 5), (2, 4), (3, 6), (0, 4, 5), (1, 8, 4), (4, 9)]), st.integers(1, 40))
@settings(max_examples=10, deadline=None)
def test_the_gap_of_a_sum_bounds_the_excess_after_any_number_of_cycles(
    seed: int, chosen: tuple[int, ...], cycles: int
) -> None:
    u = images(seed, 2, 2, 6, 5)
    maps = tuple(MAPS[i] for i in chosen)
    v, state = Sum(maps, tol=1e-12, max_iterations=cycles).solve(u, None, channel_axis=1)
    best, _ = Sum(maps, tol=1e-12, max_iterations=400).solve(u, None, channel_axis=1)
    K = Sum(maps)
    assert (total(K, v, u) - total(K, best, u) <= state.gap).all()


def test_a_sum_starts_warm() -> None:
    u = images(12, 1, 3, 20, 20).astype(np.float32)
    K = Sum((TotalVariation(0.05, tol=1e-5, max_iterations=5000), Sobolev(gamma=0.5), Box()))
    v, state = K.solve(u, None, channel_axis=1)
    assert state.converged
    assert v.dtype == np.float32
    again, after = K.solve(u + np.float32(1e-3), state, channel_axis=1)
    assert after.converged
    assert after.iterations < state.iterations
    np.testing.assert_allclose(again, K(u + np.float32(1e-3), channel_axis=1), atol=0.02)


def test_too_few_cycles_are_owned_up_to() -> None:
    _, state = Sum((TV, Sobolev(gamma=0.5)), tol=1e-12, max_iterations=2).solve(
        images(13, 1, 1, 8, 8), None, channel_axis=1
    )
    assert not state.converged
    assert state.iterations == 2


# --- in a scheme --------------------------------------------------------------------------------

IN_SCHEMES: tuple[Any, ...] = (
    TotalVariation(0.05, variation="anisotropic", huber=0.01),
    GeneralisedVariation(0.05, ratio=1.5, coupled=False),
    Box(0.1, 0.9),
    Box() @ Sobolev(gamma=0.5),
    Sum((TotalVariation(0.02), Sobolev(gamma=0.3), Box())),
    sf.Bilateral(1.0, 0.2),
    sf.PeronaMalik(0.1, 1.0, "rational"),
)


@pytest.mark.parametrize("K", IN_SCHEMES, ids=repr)
def test_every_map_stands_in_the_place_of_K_e(K: Any) -> None:  # noqa: N802  (the paper's symbol)
    u, g = (images(s, 1, 3, 12, 14).astype(np.float32) for s in (14, 15))
    smooth, tau = Sobolev(gamma=0.5), np.float32(0.1)
    found, _ = sf.fluid_elastic(smooth, K).step(u, g, float(tau))
    np.testing.assert_allclose(found, K(u - tau * smooth(g), channel_axis=1), atol=1e-6)
    scheme = sf.fluid_elastic(smooth, K)
    again = sf.schemes.Scheme.from_dict(scheme.to_dict())
    assert again == scheme
    assert repr(again) == repr(scheme)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1, 0), "low <= high"),
        (lambda: Box(np.nan, 0), "low <= high"),
        (lambda: TotalVariation(0.1, tol=0), "tol is 0; .* above zero"),
        (lambda: TotalVariation(0.1, max_iterations=0), "max_iterations is 0; .* at least 1"),
        (lambda: TotalVariation(0.1, huber=-1), "huber"),
        (lambda: GeneralisedVariation(-0.1), "weight is -0.1; .* finite number, 0 or above"),
        (lambda: GeneralisedVariation(0.1, ratio=0), "ratio is 0; .* above zero"),
        (lambda: GeneralisedVariation(0.1, tol=0), "tol is 0; .* above zero"),
        (lambda: Sum((TV, GeneralisedVariation(0.1))), "regulariser is known"),
        (lambda: Sum(()), "at least one map"),
        (lambda: Sum((TV,), tol=-1), "tol is -1; .* above zero"),
        (lambda: Sum((TV,), max_iterations=0), "max_iterations is 0; .* at least 1"),
        (lambda: Sum((Box(), TV, Box())), "more than one box"),
        (lambda: Sum((TV, np.flip)), "regulariser is known"),
        (lambda: Sum((TV, sf.Bilateral())), "regulariser is known"),
        (lambda: Composition(()), "at least one map"),
        (lambda: Composition((TV, 3)), "functions of an image, got 3"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_what_is_no_function_is_no_factor() -> None:
    with pytest.raises(TypeError):
        TV @ 3
    with pytest.raises(TypeError):
        3 @ TV


def test_a_sum_of_filters_stays_a_filter() -> None:
    assert isinstance(Sobolev(gamma=1.0) + Gaussian(sigma=1.0), Filter)


def test_of_several_images_the_worst_is_told_of() -> None:
    u = np.random.default_rng(5).random((2, 1, 9, 8))
    u[1] *= 100
    K = TotalVariation(0.3, max_iterations=20)
    (_, both), *each = (K.solve(x, None, channel_axis=1) for x in (u, u[:1], u[1:]))
    gaps = [state.gap for _, state in each]
    assert gaps[0] != gaps[1]
    assert both.gap == max(gaps)
