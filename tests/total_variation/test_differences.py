"""Forward differences and their adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import ndimage

from sobolevflow.total_variation.differences import divergence, gradient, strain, strain_adjoint

sides = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)


@given(sides, sides, seeds)
@settings(max_examples=50, deadline=None)
def test_divergence_is_the_negative_adjoint_of_the_gradient(h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    u, p = rng.standard_normal((3, h, w)), rng.standard_normal((2, 3, h, w))
    assert np.vdot(gradient(u), p) == pytest.approx(-np.vdot(u, divergence(p)), abs=1e-12)


@given(sides, sides, seeds)
@settings(max_examples=20, deadline=None)
def test_together_they_are_the_reflecting_laplacian(h: int, w: int, seed: int) -> None:
    u = np.random.default_rng(seed).standard_normal((h, w))
    np.testing.assert_allclose(divergence(gradient(u)), ndimage.laplace(u, mode="reflect"), atol=1e-13)


@given(sides, sides, seeds)
@settings(max_examples=20, deadline=None)
def test_the_squared_norm_is_at_most_eight(h: int, w: int, seed: int) -> None:
    u = np.random.default_rng(seed).standard_normal((h, w))
    assert np.vdot(gradient(u), gradient(u)) <= 8 * np.vdot(u, u)


def test_differences_of_a_ramp() -> None:
    i, j = np.mgrid[:4, :5].astype(np.float32)
    down, right = gradient(2 * i - 3 * j)
    assert down.dtype == np.float32
    np.testing.assert_array_equal(down, [[2] * 5] * 3 + [[0] * 5])
    np.testing.assert_array_equal(right, [[-3] * 4 + [0]] * 4)


def test_divergence_counts_what_flows_out_and_nothing_across_the_border() -> None:
    p: Any = np.zeros((2, 3, 3))
    p[0, 1, 1] = p[1, 2, 0] = 1
    p[0, 2] = p[1, :, 2] = 7  # beyond the last row and column
    np.testing.assert_array_equal(divergence(p), [[0, 0, 0], [0, 1, 0], [1, -2, 0]])


# --- fields of slopes ---------------------------------------------------------------------------


@given(sides, sides, seeds)
@settings(max_examples=50, deadline=None)
def test_strain_has_its_adjoint_and_a_squared_norm_of_at_most_eight(h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes, q = rng.standard_normal((2, 3, h, w)), rng.standard_normal((3, 3, h, w))
    assert np.vdot(strain(slopes), q) == pytest.approx(np.vdot(slopes, strain_adjoint(q)), abs=1e-12)
    assert np.vdot(strain(slopes), strain(slopes)) <= 8 * np.vdot(slopes, slopes)
    pulled = strain_adjoint(q)
    assert not pulled[0, :, -1].any()
    assert not pulled[1, :, :, -1].any()


def test_planes_have_no_strain_and_paraboloids_a_constant_one() -> None:
    i, j = np.mgrid[:6, :7].astype(float)
    np.testing.assert_allclose(strain(gradient(2 * i - 3 * j + 1)), 0, atol=1e-12)
    e = strain(gradient(0.5 * i**2 + 3 * i * j - j**2))
    np.testing.assert_allclose(e[0, :-2], 1)
    np.testing.assert_allclose(e[1, :, :-2], -2)
    np.testing.assert_allclose(e[2, :-1, :-1], 3 * np.sqrt(2))
    assert not e[0, -2:].any()
    assert not e[1, :, -2:].any()
    assert not e[2, -1].any()
    assert not e[2, :, -1].any()
    assert strain(np.zeros((2, 3, 3), np.float32)).dtype == np.float32
