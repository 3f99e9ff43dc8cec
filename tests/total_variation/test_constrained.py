"""Total variation within a ball: the constraint, the certificate, and the weight that it amounts to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.total_variation import constrained, prox, value
from tests.support.tv_oracles import random_image

Image = NDArray[Any]


def distance(u: Image, f: Image) -> float:
    return float(np.linalg.norm((u.astype(np.float64) - f).ravel()))


def noisy(dtype: Any = np.float64) -> Image:
    y, x = np.mgrid[:48, :40]
    clean = 0.5 + 0.3 * np.sin(x / 7) * (y > 20)
    return np.asarray(clean + np.random.default_rng(0).normal(0, 0.05, clean.shape), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [{}, {"variation": "anisotropic"}, {"huber": 0.05}], ids=str)
def test_the_distance_is_the_radius_and_the_image_that_of_the_weight(dtype: Any, kind: Any) -> None:
    f = noisy(dtype)
    radius = 0.05 * math.sqrt(f.size)
    found = constrained(f, radius, **kind)
    assert found.converged
    assert found.gap <= 1e-3 * value(f, **kind)
    assert distance(found.u, f) <= radius
    assert distance(found.u, f) == pytest.approx(radius, rel=2e-3)
    assert found.u.dtype == dtype
    same = prox(f, float(found.weight), 1e-5, 10_000, **kind).u
    assert value(found.u, **kind) == pytest.approx(value(same, **kind), rel=0.02)
    assert np.abs(found.u - same).mean() < 2e-3


@given(
    st.integers(2, 7), st.integers(2, 7), st.integers(1, 3), st.floats(0.05, 0.9), st.integers(0, 2**32 - 1)
)
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("variation", ["isotropic", "anisotropic"])
def test_the_gap_bounds_the_excess(variation: Any, h: int, w: int, c: int, part: float, seed: int) -> None:
    f = random_image(seed, c, h, w)
    radius = part * distance(np.broadcast_to(f.mean(axis=(1, 2), keepdims=True), f.shape), f)
    kind: dict[str, Any] = {"channel_axis": 0, "variation": variation}
    rough = constrained(f, radius, 1e-12, 30, **kind)
    best = constrained(f, radius, 1e-5, 20_000, **kind)
    assert best.converged
    assert distance(rough.u, f) <= radius * (1 + 1e-12)
    assert value(rough.u, **kind) - value(best.u, **kind) <= rough.gap + 1e-12
    for weight in (0.01, 0.1, 0.5):  # nothing that lies in the ball varies less
        other = prox(f, weight, 1e-6, 5000, **kind).u
        if distance(other, f) <= radius:
            assert value(other, **kind) >= value(best.u, **kind) - best.gap - 1e-12


def test_two_pixels_come_as_near_as_the_radius_lets_them() -> None:
    f = np.array([[0.0, 1.0]])
    found = constrained(f, 0.2 * math.sqrt(2), 1e-6)
    np.testing.assert_allclose(found.u, [[0.2, 0.8]], atol=1e-5)
    assert found.weight == pytest.approx(0.2, rel=1e-3)


def test_balls_that_hold_nothing_or_a_constant() -> None:
    f = random_image(1, 6, 5)
    at_once = constrained(f, 0)
    np.testing.assert_array_equal(at_once.u, f)
    assert [at_once.weight, at_once.gap, at_once.iterations] == [0, 0, 0]
    assert at_once.converged
    wide = constrained(f, distance(np.full_like(f, f.mean()), f) + 1e-9)
    np.testing.assert_allclose(wide.u, f.mean())
    assert [wide.weight, wide.gap] == [math.inf, 0]
    assert wide.converged
    flat = constrained(np.full((4, 4), 0.3), 0.1)
    np.testing.assert_array_equal(flat.u, 0.3)


def test_a_radius_for_each_image() -> None:
    f = np.stack([noisy(), noisy()[::-1], noisy()])
    radii = np.array([1.0, 1.0, 2.0])
    found = constrained(f, radii)
    assert found.weight.shape == found.gap.shape == found.converged.shape == (3,)
    assert found.weight[2] > 1.5 * found.weight[0]
    for u, image, r in zip(found.u, f, radii, strict=True):
        assert distance(u, image) == pytest.approx(r, rel=2e-3)
        np.testing.assert_array_equal(u, constrained(image, r).u)


def test_the_methods_agree() -> None:
    f = noisy()
    a, b = (constrained(f, 2.0, method=m) for m in ("numba", "reference"))
    np.testing.assert_allclose(a.u, b.u, atol=1e-9)
    assert a.iterations == b.iterations


def test_too_few_iterations_are_owned_up_to() -> None:
    found = constrained(noisy(), 2.0, 1e-9, 10)
    assert not found.converged
    assert found.iterations == 10


def test_bad_arguments() -> None:
    f = noisy()
    for arguments, message in (
        ({"radius": -1}, "radius"),
        ({"radius": np.nan}, "radius"),
        ({"radius": np.ones(3)}, "radius"),
        ({"radius": 1, "tol": 0}, "tol"),
        ({"radius": 1, "max_iterations": 0}, "max_iterations"),
        ({"radius": 1, "channel_axis": 0}, "channel_axis"),
        ({"radius": 1, "huber": -1}, "huber"),
    ):
        with pytest.raises(InputError, match=message):
            constrained(f, **arguments)
    with pytest.raises(UnknownNameError, match="variation"):
        constrained(f, 1, variation="isotrop")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="NaN"):
        constrained(np.full((3, 3), np.nan), 1)
