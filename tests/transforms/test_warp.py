"""Turns against SciPy's interpolation, their adjoints, and the distribution of what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import ndimage

from sobolevflow.transforms.linear import Chain, Roll
from sobolevflow.transforms.resize import Resize
from sobolevflow.transforms.warp import Turn, Warp, sampling_matrix
from tests.support.linear_maps import check_adjoint

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
angles, factors = st.floats(-180, 180), st.floats(0.3, 3)
seeds = st.integers(0, 1000)


@given(sizes, st.tuples(angles, angles), st.tuples(factors, factors), seeds)
def test_the_adjoint(
    size: tuple[int, int], degrees: tuple[float, ...], zoom: tuple[float, ...], seed: int
) -> None:
    check_adjoint(Turn(size, degrees, zoom), (2, 3, *size), seed)


def test_the_adjoint_in_a_chain() -> None:
    chain = Chain((Roll(((1, 2), (0, 3))), Turn((6, 7), (5.0, -9.0), (1.1, 0.9)), Resize((6, 7), (9, 8))))
    check_adjoint(chain, (2, 3, 6, 7), 0)


@given(sizes, angles, factors)
def test_constants_stay(size: tuple[int, int], degrees: float, factor: float) -> None:
    weights = sampling_matrix(size, degrees, factor)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert weights.data.min() >= 0


@pytest.mark.parametrize(
    ("degrees", "factor"), [(0, 1), (12, 1), (-7.5, 1.1), (0, 0.85), (160, 2.0), (33, 0.4)]
)
@pytest.mark.parametrize("size", [(20, 20), (15, 24)])
def test_it_is_scipys_linear_interpolation(size: tuple[int, int], degrees: float, factor: float) -> None:
    u = np.random.default_rng(1).random(size)
    t = np.radians(degrees)
    matrix = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) / factor
    centre = (np.array(size) - 1) / 2
    expected = ndimage.affine_transform(u, matrix, centre - matrix @ centre, order=1, mode="reflect")
    found = Turn(size, (degrees,), (factor,)).apply(u[None, None])[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_quarter_turns_are_counterclockwise_and_no_turn_is_the_identity() -> None:
    u = np.random.default_rng(2).random((2, 3, 9, 9)).astype(np.float32)
    found = Turn((9, 9), (90.0, 0.0), (1.0, 1.0)).apply(u)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.rot90(u[0], axes=(1, 2)), atol=1e-5)
    np.testing.assert_array_equal(found[1], u[1])


def test_a_factor_above_one_makes_things_larger() -> None:
    u = np.zeros((1, 1, 21, 21))
    u[0, 0, 8:13, 8:13] = 1
    areas = [Turn((21, 21), (0.0,), (factor,)).apply(u).sum() for factor in (1, 1.5, 2)]
    np.testing.assert_allclose(areas, [25, 56.25, 100], rtol=0.1)


def test_draws_fill_their_range_and_belong_to_the_image() -> None:
    warp = Warp((8, 8), rotate=10, zoom=0.25)
    drawn = warp.draw([np.random.default_rng(n) for n in range(4000)])
    degrees, zoomed = np.array(drawn.degrees), np.log(drawn.factors)
    assert abs(degrees).max() < 10
    assert abs(zoomed).max() < np.log(1.25)
    np.testing.assert_allclose(degrees.std(), 10 / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(zoomed.std(), np.log(1.25) / np.sqrt(3), rtol=0.05)
    assert abs(degrees.mean()) < 0.4
    alone = warp.draw([np.random.default_rng(17)])
    assert (alone.degrees[0], alone.factors[0]) == (drawn.degrees[17], drawn.factors[17])
    assert Warp((8, 8), rotate=5).draw([np.random.default_rng(0)]).factors == (1.0,)
