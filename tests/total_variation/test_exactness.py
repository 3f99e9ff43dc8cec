"""The proximal map of total variation, in all its kinds, against solutions found by other means."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.total_variation import Method, duality_gap, prox, value
from tests.support.tv_oracles import convex_program, random_image, taut_string

Image = NDArray[Any]
Kind = dict[str, Any]

METHODS: tuple[Method, ...] = ("numba", "reference")
KINDS: tuple[Kind, ...] = (
    {},
    {"variation": "anisotropic"},
    {"huber": 0.1},
    {"variation": "anisotropic", "huber": 0.05},
)
ALGORITHMS = ("over-relaxed", "accelerated")
kinds = st.sampled_from(KINDS)
algorithms = st.sampled_from(ALGORITHMS)
sides = st.integers(1, 7)
weights = st.floats(0.01, 1)
seeds = st.integers(0, 2**32 - 1)


def energy(u: Image, f: Image, weight: float, **kind: Any) -> float:
    u, f = u.astype(np.float64), f.astype(np.float64)
    return float(0.5 * np.sum((u - f) ** 2) + weight * value(u, 0, **kind))


def precise(f: Image, weight: float, **kind: Any) -> Image:
    # either algorithm has images on which it crawls
    options: list[Kind] = [{**kind, "algorithm": name} for name in ALGORITHMS]
    tries = (prox(f.astype(np.float64), weight, 1e-11, 200_000, 0, **each) for each in options)
    found = next((each for each in tries if each.converged), None)
    assert found is not None
    return np.asarray(found.u)


# --- other solvers ------------------------------------------------------------------------------


@given(st.integers(1, 60), st.floats(1e-3, 10), seeds)
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("variation", ["isotropic", "anisotropic"])
def test_lines_are_taut_strings(variation: Any, n: int, weight: float, seed: int) -> None:
    f = np.random.default_rng(seed).standard_normal(n)
    expected = taut_string(f, weight)
    for image, line in ((f[None], expected[None]), (f[:, None], expected[:, None])):
        found = prox(image, weight, 1e-12, 200_000, variation=variation)
        assert found.converged
        assert 0.5 * np.sum((found.u - line) ** 2) <= found.gap + 1e-13 * n
        np.testing.assert_allclose(found.u, line, atol=1e-5)


def test_the_taut_string_of_the_tests_is_right() -> None:
    """By hand, and by the optimality conditions, so that it can serve as a measure."""
    np.testing.assert_allclose(taut_string(np.array([0.0, 1.0]), 0.1), [0.1, 0.9])
    np.testing.assert_allclose(taut_string(np.array([0.0, 1.0, 0.0]), 0.1), [0.1, 0.8, 0.1])
    np.testing.assert_allclose(taut_string(np.array([0.0, 3.0, 0.0]), 5.0), [1, 1, 1])
    f = np.random.default_rng(0).standard_normal(200)
    u = taut_string(f, 0.7)
    dual = np.cumsum(u - f)  # the flow out of each pixel to the right: at most 0.7, and 0.7 over every step
    assert np.abs(dual).max() <= 0.7 + 1e-12
    steps = np.diff(u)
    np.testing.assert_allclose(dual[:-1][steps != 0], 0.7 * np.sign(steps[steps != 0]))
    assert dual[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 4), (2, 1, 6)])
def test_tiny_images_are_those_of_a_general_convex_solver(
    shape: tuple[int, ...], algorithm: Any, kind: Kind
) -> None:
    f = random_image(0, *shape)
    isotropic = kind.get("variation", "isotropic") == "isotropic"
    for weight in (0.03, 0.2):
        expected = convex_program(f, weight, isotropic, kind.get("huber", 0.0))
        found = prox(f, weight, 1e-10, 200_000, 0, algorithm=algorithm, **kind)
        np.testing.assert_allclose(found.u, expected, atol=5e-5)
        assert energy(found.u, f, weight, **kind) == pytest.approx(
            energy(expected, f, weight, **kind), abs=1e-7
        )


def test_a_disc_loses_the_contrast_that_its_perimeter_costs() -> None:
    """Of a disc of radius R in the plane, weight TV takes 2 weight / R (Strong and Chan, 2003)."""
    y, x = np.mgrid[-64:64, -64:64] + 0.5
    for radius, weight in ((20, 1.0), (30, 3.0)):
        f = (x**2 + y**2 <= radius**2).astype(np.float64)
        u = prox(f, weight, 1e-6, 20_000).u
        inside, outside = np.median(u[60:68, 60:68]), np.median(u[:8, :8])
        assert 1 - inside == pytest.approx(2 * weight / radius, rel=0.05)
        # what it loses the square around it gains, since no flow crosses the border
        area = f.sum()
        assert outside == pytest.approx(2 * weight / radius * area / (f.size - area), rel=0.15)
        assert u.mean() == pytest.approx(f.mean(), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_upright_step_is_the_same_for_both_variations(method: Method, algorithm: Any) -> None:
    f = np.zeros((6, 10))
    f[:, 4:] = 1
    expected = np.where(f == 0, 0.2 / 4, 1 - 0.2 / 6)
    for variation in ("isotropic", "anisotropic"):
        found = prox(f, 0.2, 1e-10, 50_000, method=method, algorithm=algorithm, variation=variation)
        np.testing.assert_allclose(found.u, expected, atol=1e-5)


def test_a_corner_tells_the_variations_apart() -> None:
    """A square of n x n is pulled by 4 n weight under the anisotropic variation, corners included."""
    f = np.zeros((30, 30))
    f[10:20, 10:20] = 1
    u = prox(f, 0.5, 1e-9, 50_000, variation="anisotropic").u
    np.testing.assert_allclose(u[10:20, 10:20], 1 - 0.5 * 40 / 100, atol=1e-4)
    round_cornered = prox(f, 0.5, 1e-9, 50_000).u
    assert round_cornered[10, 19] < round_cornered[15, 15] - 0.1


def test_hubers_form_leaves_slopes_where_total_variation_makes_stairs() -> None:
    line = np.linspace(0, 1, 60)[None] + 0.05 * np.random.default_rng(0).standard_normal((1, 60))
    stairs, slope = (prox(line, 0.2, 1e-9, 100_000, huber=h).u for h in (0.0, 0.05))
    flat = [np.mean(np.abs(np.diff(u)) < 1e-4) for u in (stairs, slope)]
    assert flat[0] > 0.5
    assert flat[1] < 0.1


def test_a_large_huber_makes_it_the_linear_filter() -> None:
    """Where no slope reaches huber, the map is (Id - weight / huber Laplacian)^-1."""
    from sobolevflow.filters import Sobolev

    f = random_image(0, 12, 9)
    u = prox(f, 4.0, 1e-9, 50_000, huber=2.0).u
    np.testing.assert_allclose(u, Sobolev(gamma=2.0)(f), atol=1e-4)


# --- the gap ------------------------------------------------------------------------------------


@given(sides, sides, st.integers(1, 3), weights, kinds, algorithms, seeds)
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gap_bounds_the_excess_of_energy_always(
    dtype: Any, method: Method, h: int, w: int, c: int, weight: float, kind: Kind, algorithm: Any, seed: int
) -> None:
    """Also where the iteration is broken off early, and where single precision can do no more."""
    f = random_image(seed, c, h, w, dtype=dtype)
    weight = float(np.float32(weight))
    best = precise(f, weight, **kind)
    minimum = energy(best, f, weight, **kind)
    for iterations in (1, 7, 30, 400):
        found = prox(f, weight, 1e-12, iterations, 0, method=method, algorithm=algorithm, **kind)
        excess = energy(found.u, f, weight, **kind) - minimum
        slack = 1e-11 * weight * value(f.astype(np.float64), 0) + 1e-14
        assert excess <= found.gap + slack
        assert 0.5 * np.sum((found.u - best) ** 2.0) <= found.gap + 2 * slack


@given(sides, sides, st.integers(1, 2), weights, kinds, seeds)
@settings(max_examples=25, deadline=None)
def test_the_gap_is_the_difference_of_the_energies_of_every_kind(
    h: int, w: int, c: int, weight: float, kind: Kind, seed: int
) -> None:
    from sobolevflow.total_variation import differences

    f, u = random_image(seed, 2, c, h, w)
    isotropic, huber = kind.get("variation") != "anisotropic", kind.get("huber", 0.0)
    p = random_image(seed + 1, 2, c, h, w) - 0.5
    axes = (0, 1) if isotropic else (1,)
    p *= weight / np.maximum(weight, np.sqrt((p**2).sum(axis=axes, keepdims=True)))
    dual = 0.5 * np.sum(f**2) - 0.5 * np.sum((f + differences.divergence(p)) ** 2)
    dual -= huber / (2 * weight) * np.sum(p**2)
    gap = duality_gap(f, u, p, weight, huber=huber, isotropic=isotropic)
    assert gap == pytest.approx(energy(u, f, weight, **kind) - dual, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_is_compiled_as_the_reference_says(dtype: Any, algorithm: Any, kind: Kind) -> None:
    unit = 60 * float(np.finfo(dtype).eps)
    for shape in ((1, 1, 1), (1, 9, 8), (3, 1, 7), (2, 6, 1), (3, 21, 18)):
        f = random_image(3, *shape, dtype=dtype)
        compiled, reference = (
            prox(f, 0.3, 1e-12, 33, 0, method=m, algorithm=algorithm, **kind) for m in METHODS
        )
        np.testing.assert_allclose(compiled.u, reference.u, atol=unit)
        np.testing.assert_allclose(compiled.state.p, reference.state.p, atol=unit)
        assert compiled.iterations == reference.iterations


def test_a_reference_solution_to_ten_digits_of_a_noisy_photograph_like_image() -> None:
    """The compiled solver in double precision, against NumPy's run to a relative gap of 1e-10."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :20] / 20
    f = np.sin(6 * x) * np.cos(4 * y) + (x + y > 1) + 0.1 * rng.standard_normal(x.shape)
    for weight in (0.02, 0.1, 0.5):
        best = prox(f, weight, 1e-10, 100_000, method="reference", check_every=100)
        assert best.converged
        found = prox(f, weight, 1e-7, 100_000)
        excess = energy(found.u[None], f[None], weight) - energy(best.u[None], f[None], weight)
        assert -best.gap <= excess <= found.gap
        np.testing.assert_allclose(found.u, best.u, atol=float(np.sqrt(2 * (found.gap + best.gap))) + 1e-12)


def test_the_border_is_as_good_as_the_middle() -> None:
    """Of two mirrored halves, each is the solution for itself: no flow crosses the border."""
    f = random_image(0, 1, 12, 16)
    doubled = np.concatenate([f, f[..., ::-1]], axis=-1)
    for variation in ("isotropic", "anisotropic"):
        half = precise(f, 0.2, variation=variation)
        whole = precise(doubled, 0.2, variation=variation)[..., :16]
        border = np.abs(whole - half)
        assert border[..., -1].max() < (1e-4 if variation == "anisotropic" else 0.02)
        corner = precise(f[..., :2, :2].copy(), 0.05, variation=variation)
        np.testing.assert_allclose(
            corner, convex_program(f[..., :2, :2], 0.05, variation == "isotropic"), atol=1e-5
        )


# --- starting, stopping, sharing out ------------------------------------------------------------


def photograph(seed: int, *shape: int) -> Image:
    """Edges, slopes and noise, in [0, 1] but for the noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]] / max(shape)
    u = 0.5 + 0.3 * np.sin(9 * x + 5 * y) + 0.2 * (np.hypot(x - 0.5, y - 0.5) < 0.25)
    return np.asarray(u + 0.05 * rng.standard_normal(shape), np.float32)


@pytest.mark.parametrize("weight", [0.02, 0.1, 0.5])
def test_a_warm_start_takes_at_most_a_third_of_the_iterations(weight: float) -> None:
    """In a descent whose image drifts by 0.2 % a step."""
    rng = np.random.default_rng(1)
    f = photograph(0, 3, 96, 96)
    state = prox(f, weight, channel_axis=0, check_every=2).state
    cold = warm = 0
    for _ in range(6):
        drift = rng.standard_normal(f.shape).astype(np.float32)
        f = f + 0.002 * np.linalg.norm(f) / np.linalg.norm(drift) * drift
        cold += int(prox(f, weight, channel_axis=0, check_every=2).iterations)
        found = prox(f, weight, channel_axis=0, check_every=2, state=state)
        warm, state = warm + int(found.iterations), found.state
        assert found.converged
    assert 3 * warm <= cold


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_bands_of_rows_give_the_same_bits(channels: int, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    from sobolevflow.kernels import threads

    f = photograph(0, channels, 75, 33)
    first = prox(f, 0.2, 1e-3, 40, 0, **kind)
    expected: dict[bool, Any] = {}
    for count in (1, 2, 3, 4):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        for state in (None, first.state):
            found = prox(f, 0.3, 1e-5, 43, 0, state, **kind)
            alone = expected.setdefault(state is None, found)  # of one band, the first
            np.testing.assert_array_equal(found.u, alone.u)
            np.testing.assert_array_equal(found.state.p, alone.state.p)
            assert found.gap == alone.gap


@pytest.mark.parametrize("width", [1, 3, 3000])
def test_sweeps_that_do_not_fit_into_the_cache_are_split(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from sobolevflow.total_variation import host

    f = photograph(0, 2, 9, width)
    whole = prox(f, 0.2, 1e-9, 30, 0)
    for size in (1, 20_000):
        monkeypatch.setattr(host, "_CACHE", size)
        np.testing.assert_array_equal(prox(f, 0.2, 1e-9, 30, 0).u, whole.u)


@pytest.mark.parametrize("check_every", [1, 3, 10, 1000])
def test_the_gap_is_looked_at_every_so_many_iterations(check_every: int) -> None:
    f = photograph(0, 40, 40)
    found = prox(f, 0.1, check_every=check_every)
    assert found.converged
    assert found.iterations % check_every == 0 or found.iterations == 500
    assert found.iterations <= 500


@pytest.mark.parametrize("shape", [(512, 512), (4, 3, 256, 256)])
@pytest.mark.parametrize("warm", [False, True])
def test_memory_is_at_most_seven_arrays_of_the_size_of_the_images(shape: tuple[int, ...], warm: bool) -> None:
    """f, u and the state's three are five; a state to start from is another three, of the caller."""
    f = photograph(0, *shape)
    state = prox(f, 0.1).state if warm else None
    tracemalloc.start()
    try:
        prox(f, 0.1, state=state)
        peak = tracemalloc.get_traced_memory()[1] / f.nbytes
    finally:
        tracemalloc.stop()
    assert peak + 1 <= 5.5  # f itself is not counted by the trace


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"variation": "isotropc"}, UnknownNameError, "Did you mean 'isotropic'"),
        ({"algorithm": "fast"}, UnknownNameError, "algorithm is 'fast'"),
        ({"huber": -0.1}, InputError, "huber is -0.1"),
        ({"huber": np.inf}, InputError, "finite"),
        ({"check_every": 0}, InputError, "check_every is 0"),
        ({"check_every": 1.5}, InputError, "whole number"),
    ],
)
def test_bad_kinds(arguments: Kind, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prox(np.eye(4), 0.1, **arguments)


def test_value_takes_one_kind_of_smoothing() -> None:
    with pytest.raises(InputError, match="give one of them"):
        value(np.eye(3), epsilon=0.1, huber=0.1)
    step = np.array([[0.0, 0.05, 1.05]])
    assert value(step, huber=0.1) == pytest.approx(0.05**2 / 0.2 + 1 - 0.05)
    assert value(np.eye(2), variation="anisotropic") == pytest.approx(4)
    assert value(np.eye(2)) == pytest.approx(2 + np.sqrt(2))
