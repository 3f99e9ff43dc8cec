from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sobolevflow.descent.gradient_scale import Normalised, mean_abs, unit_mean
from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.filters import Sobolev
from sobolevflow.optimizers import Adam, Descent, Momentum, optimizer


def gradients(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((2, 1, 8, 9), dtype=np.float32) for _ in range(count)]


def test_momentum_by_hand() -> None:
    a, b, c = gradients(3)
    direction, state = Momentum(0.5)(a)
    np.testing.assert_array_equal(direction, a)
    direction, state = Momentum(0.5)(b, state)
    direction, state = Momentum(0.5)(c, state)
    np.testing.assert_allclose(direction, c + 0.5 * b + 0.25 * a, atol=1e-6)


def test_momentum_does_not_keep_the_gradient_buffer() -> None:
    g = np.ones((1, 1, 2, 2), np.float32)
    _, state = Momentum(0.5)(g)
    g[...] = 7
    np.testing.assert_array_equal(state, 1.0)


def test_linear_filter_commutes_with_momentum() -> None:
    K = Sobolev(gamma=2.0)
    filtered_last = filtered_first = None
    for g in gradients(5):
        direction, filtered_last = Momentum(0.9)(g, filtered_last)
        accumulated, filtered_first = Momentum(0.9)(K(g), filtered_first)
    np.testing.assert_allclose(K(direction), accumulated, atol=1e-5)


def test_adam_by_hand() -> None:
    a, b = (g.astype(np.float64) for g in gradients(2))
    adam = Adam(0.9, 0.99, 1e-3)
    first, state = adam(a)
    np.testing.assert_allclose(first, a / (np.abs(a) + 1e-3), rtol=1e-6)
    second, _ = adam(b, state)
    mean = (0.9 * 0.1 * a + 0.1 * b) / (1 - 0.81)
    square = (0.99 * 0.01 * a**2 + 0.01 * b**2) / (1 - 0.9801)
    np.testing.assert_allclose(second, mean / (np.sqrt(square) + 1e-3), rtol=1e-6)


def test_adam_leaves_a_zero_gradient_zero() -> None:
    direction, _ = Adam()(np.zeros((1, 1, 2, 2), np.float32))
    np.testing.assert_array_equal(direction, 0)


def test_names_and_values_both_choose_an_optimizer() -> None:
    assert optimizer("descent") == Descent()
    assert optimizer("momentum") == Momentum(0.9)
    assert optimizer("adam") == Adam()
    assert optimizer(Momentum(0.5)) == Momentum(0.5)


def test_unknown_optimizer_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"no optimizer 'adm'.*Did you mean 'adam'"):
        optimizer("adm")
    with pytest.raises(InputError, match="optimizer must be"):
        optimizer(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_momentum_refuses_a_decay_that_diverges(decay: float) -> None:
    with pytest.raises(InputError, match="decay"):
        Momentum(decay)


@given(st.floats(1e-30, 1e30), st.integers(0, 1000))
def test_unit_mean_has_unit_mean_and_keeps_the_direction(scale: float, seed: int) -> None:
    g = np.float32(scale) * gradients(1, seed)[0]
    n = unit_mean(g)
    np.testing.assert_allclose(mean_abs(n), 1.0, rtol=1e-5)
    np.testing.assert_allclose(n * mean_abs(g)[:, None, None, None], g, rtol=1e-5)


def test_images_are_normalised_apart_and_zero_stays_zero() -> None:
    g = gradients(1)[0]
    g[1] = 0
    n = unit_mean(g)
    np.testing.assert_allclose(mean_abs(n), [1, 0], rtol=1e-6)
    np.testing.assert_array_equal(n[1], 0)


def test_mean_is_over_the_pixels_that_were_seen() -> None:
    g = np.zeros((1, 1, 4, 4), np.float32)
    g[..., :2, :2] = 3
    np.testing.assert_allclose(mean_abs(g, seen=0.25), [3])
    np.testing.assert_allclose(unit_mean(g, seen=0.25)[..., :2, :2], 1)


def test_normalisation_after_the_filter_is_a_composition() -> None:
    g = gradients(1)[0]
    K = Sobolev(size=7)
    np.testing.assert_allclose(
        Normalised(K)(g), K(g) / np.abs(K(g)).mean((1, 2, 3), keepdims=True), rtol=1e-5
    )
