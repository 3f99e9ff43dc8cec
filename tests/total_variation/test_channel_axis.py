"""Functions of total variation on arrays whose channels lie anywhere, coupled or each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sobolevflow.errors import AssumptionWarning
from sobolevflow.total_variation import constrained, gradient, prox, prox_tgv, value
from tests.support.tv_oracles import random_image

seeds = st.integers(0, 2**32 - 1)


@given(st.lists(st.integers(1, 7), min_size=3, max_size=4), st.integers(0, 3), st.booleans(), seeds)
@settings(max_examples=40, deadline=None)
def test_every_place_of_the_channels_gives_the_same_numbers(
    shape: list[int], place: int, coupled: bool, seed: int
) -> None:
    axis = place % len(shape)
    f = random_image(seed, *shape).astype(np.float32)
    planes = np.ascontiguousarray(np.moveaxis(f, axis, -3))
    last = planes.ndim - 3
    for function in (
        lambda f, **kind: prox(f, 0.1, max_iterations=20, **kind),
        lambda f, **kind: prox_tgv(f, 0.1, max_iterations=20, **kind),
        lambda f, **kind: constrained(f, 0.1, max_iterations=20, **kind),
    ):
        found = function(f, channel_axis=axis - f.ndim, coupled=coupled)
        expected = function(planes, channel_axis=last, coupled=coupled)
        np.testing.assert_array_equal(found.u, np.moveaxis(expected.u, -3, axis))
        np.testing.assert_array_equal(found.gap, expected.gap)
        assert found.u.flags.c_contiguous
        if not coupled:
            alone = function(planes, channel_axis=None)
            np.testing.assert_array_equal(expected.u, alone.u)
            np.testing.assert_array_equal(expected.gap, alone.gap)
    kind: dict[str, Any] = {"coupled": coupled}
    np.testing.assert_array_equal(value(f, axis, **kind), value(planes, last, **kind))
    slope = gradient(planes, 0.01, last, **kind)
    np.testing.assert_array_equal(gradient(f, 0.01, axis, **kind), np.moveaxis(slope, -3, axis))


def test_entries_for_channels_that_are_alone_come_last() -> None:
    f = random_image(0, 6, 2, 7, 3)  # (H, N, W, C)
    assert value(np.moveaxis(f, 1, 0), -1).shape == (2,)
    each = value(np.moveaxis(f, 1, 0), -1, coupled=False)
    assert each.shape == (2, 3)
    np.testing.assert_allclose(each[1, 2], value(f[:, 1, :, 2]))
    weights = np.array([[0.1, 0.2, 0.0], [0.0, 0.3, 0.1]])
    u = prox(np.moveaxis(f, 1, 0), weights, channel_axis=-1, coupled=False).u
    np.testing.assert_array_equal(u[0, ..., 2], f[:, 0, :, 2])
    np.testing.assert_array_equal(u[1, ..., 0], f[:, 1, :, 0])
    np.testing.assert_array_equal(u[1, ..., 1], prox(f[:, 1, :, 1], 0.3).u)


def test_a_state_starts_the_same_picture() -> None:
    f = random_image(1, 20, 21, 3)
    first = prox(f, 0.1, channel_axis=-1)
    assert first.state.u.shape == (1, 3, 20, 21)
    assert prox(f, 0.1, channel_axis=-1, state=first.state).iterations == 0


def test_it_is_the_total_variation_of_skimage() -> None:
    """There each channel is denoised alone, as ``coupled=False`` has it."""
    restoration = pytest.importorskip("skimage.restoration", reason="needs scikit-image, of the extra test")
    f = random_image(2, 24, 25, 3)
    expected = restoration.denoise_tv_chambolle(f, 0.1, eps=0, max_num_iter=5000, channel_axis=-1)
    found = prox(f, 0.1, 1e-8, 20_000, channel_axis=-1, coupled=False).u
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(prox(f, 0.1, 1e-8, 20_000, channel_axis=-1).u - expected).max() > 2e-2


def test_colours_that_seem_to_be_last_are_spoken_of() -> None:
    f = random_image(3, 12, 11, 3)
    for call in (
        lambda **axis: prox(f, 0.1, **axis),
        lambda **axis: prox_tgv(f, 0.1, max_iterations=5, **axis),
        lambda **axis: constrained(f, 0.1, max_iterations=5, **axis),
        lambda **axis: value(f, **axis),
        lambda **axis: gradient(f, **axis),
    ):
        with pytest.warns(AssumptionWarning, match=r"has shape \(12, 11, 3\).* say channel_axis=-1"):
            call()


@pytest.mark.filterwarnings("error")
def test_what_is_meant_is_done_without_a_word() -> None:
    f = random_image(4, 12, 11, 3)
    for axis in (None, 0, -1):
        value(f, axis)
        constrained(f, 0.1, max_iterations=5, channel_axis=axis)
    prox(np.moveaxis(f, -1, 0), 0.1)
