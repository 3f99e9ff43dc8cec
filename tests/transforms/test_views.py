from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.transforms.linear import Chain, Roll
from sobolevflow.transforms.resize import Resize
from sobolevflow.transforms.views import Crop, Jitter, RandomView
from tests.support.linear_maps import check_adjoint

METHODS = st.sampled_from(["cubic", "linear"])
SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))


def generators(seed: int, batch: int = 3) -> list[np.random.Generator]:
    return [np.random.default_rng(seed + i) for i in range(batch)]


@given(SIZES, st.integers(0, 30), st.integers(0, 1000))
def test_jitter_adjoint(size: tuple[int, int], amount: int, seed: int) -> None:
    check_adjoint(Jitter((amount, amount)).draw(generators(seed)), (3, 2, *size), seed)


@given(SIZES, SIZES, st.integers(0, 1000))
def test_crop_adjoint(window: tuple[int, int], excess: tuple[int, int], seed: int) -> None:
    canvas = window[0] + excess[0], window[1] + excess[1]
    check_adjoint(Crop(canvas, window).draw(generators(seed)), (3, 2, *canvas), seed)


@given(SIZES, SIZES, st.integers(0, 1000), METHODS)
def test_resize_adjoint(source: tuple[int, int], target: tuple[int, int], seed: int, method: Any) -> None:
    check_adjoint(Resize(source, target, method), (3, 2, *source), seed)


@given(SIZES, SIZES, st.integers(0, 5), st.integers(0, 1000))
def test_view_adjoint(window: tuple[int, int], excess: tuple[int, int], jitter: int, seed: int) -> None:
    canvas = window[0] + excess[0] - 1, window[1] + excess[1] - 1
    view = RandomView(canvas, window, jitter, "normal", rotate=7, zoom=0.1)
    drawn = view.draw(generators(seed))
    check_adjoint(drawn, (3, 1, *canvas), seed)
    assert drawn.apply(np.zeros((3, 1, *canvas))).shape[-2:] == window


@given(SIZES, SIZES, st.integers(0, 5), st.integers(0, 1000))
def test_view_adjoint_of_a_coarser_canvas(
    canvas: tuple[int, int], excess: tuple[int, int], jitter: int, seed: int
) -> None:
    window = canvas[0] + excess[0] - 1, canvas[1] + excess[1] - 1
    view = RandomView(canvas, window, jitter, rotate=7, zoom=0.1)
    for drawn in (view.draw(generators(seed)), view.still(3)):
        assert drawn.apply(np.zeros((3, 1, *canvas))).shape[-2:] == window
    assert view.seen == 1
    check_adjoint(view.draw(generators(seed)), (3, 1, *canvas), seed)


def test_a_canvas_coarser_along_one_axis_and_larger_along_the_other_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit into a canvas of 4x20"):
        RandomView((4, 20), (8, 8)).draw(generators(0))


def test_chain_adjoint_runs_backwards() -> None:
    check_adjoint(Chain((Roll(((1, 2),) * 3), Resize((6, 7), (9, 11)))), (3, 1, 6, 7), 0)


@given(SIZES, st.integers(0, 30), st.integers(0, 1000))
def test_jitter_unrolls_exactly(size: tuple[int, int], amount: int, seed: int) -> None:
    u = np.random.default_rng(seed).random((3, 1, *size), dtype=np.float32)
    roll = Jitter((amount, amount)).draw(generators(seed))
    np.testing.assert_array_equal(roll.adjoint(roll.apply(u)), u)


def test_roll_moves_down_and_right() -> None:
    u = np.zeros((1, 1, 3, 4))
    u[0, 0, 0, 0] = 1
    moved = Roll(((1, 2),)).apply(u)
    assert np.argwhere(moved).tolist() == [[0, 0, 1, 2]]


def test_jitter_is_uniform_over_its_square() -> None:
    rng = [np.random.default_rng(0)]
    drawn = [Jitter((2, 2)).draw(rng).shifts[0] for _ in range(5000)]
    counts = np.zeros((5, 5))
    for dy, dx in drawn:
        counts[dy + 2, dx + 2] += 1
    assert counts.min() > 140  # 200 expected, standard deviation 14
    assert counts.max() < 260


def test_crop_reaches_every_position_and_stays_inside() -> None:
    rng = [np.random.default_rng(0)]
    corners = {Crop((6, 7), (4, 4)).draw(rng).corners[0] for _ in range(400)}
    assert corners == {(y, x) for y in range(3) for x in range(4)}


def test_crop_does_not_neglect_the_border() -> None:
    rng = [np.random.default_rng(0)]
    crop = Crop((40, 30), (8, 8))
    visits = sum(crop.draw(rng).adjoint(np.ones((1, 1, 8, 8)))[0, 0] for _ in range(4000))
    corner, middle = visits[0, 0] / 4000, visits[15:25, 12:18].mean() / 4000
    assert corner == pytest.approx(5 / 41 * 5 / 31, rel=0.3)
    assert middle == pytest.approx(8 / 41 * 8 / 31, rel=0.1)


def test_normal_crops_lie_about_the_middle_as_in_deepdraw() -> None:
    rng, crop = [np.random.default_rng(1)], Crop((108, 60), (8, 20), "normal")
    corners = np.array([crop.draw(rng).corners[0] for _ in range(4000)])
    assert corners.min() == 0
    np.testing.assert_array_equal(corners.max(axis=0), crop.excess)
    np.testing.assert_allclose(corners.mean(axis=0), [50, 20], atol=1.5)
    # half the room to move is 5/3 of the standard deviation: 0.0956 of a normal distribution lie beyond
    pushed = ((corners == 0) | (corners == crop.excess)).mean(axis=0)
    np.testing.assert_allclose(pushed, 0.0956, atol=0.025)
    inner = corners[(corners[:, 0] > 0) & (corners[:, 0] < 100), 0]
    assert ((inner > 20) & (inner < 80)).mean() == pytest.approx((0.8413 - 0.1587) / 0.9044, abs=0.03)


def test_unknown_kinds_of_crops_and_of_interpolation_are_named() -> None:
    with pytest.raises(UnknownNameError, match="distribution is 'gaussian'; known are 'uniform', 'normal'"):
        Crop((9, 9), (8, 8), "gaussian")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="known are 'cubic', 'linear'"):
        Resize((9, 9), (8, 8), "nearest")  # type: ignore[arg-type]


def test_every_image_draws_from_its_own_generator() -> None:
    together = Jitter((9, 9)).draw(generators(5, batch=3)).shifts
    alone = tuple(Jitter((9, 9)).draw(generators(5 + i, batch=1)).shifts[0] for i in range(3))
    assert together == alone


def test_window_larger_than_the_canvas_is_refused() -> None:
    with pytest.raises(InputError, match="8x8 pixels does not fit into a canvas of 9x7"):
        Crop((9, 7), (8, 8))


def test_jitter_acts_only_where_there_is_nothing_to_crop() -> None:
    view = RandomView((8, 12), (8, 8), jitter=3)
    u = np.zeros((1, 1, 8, 12), np.float32)
    u[0, 0, 4, :] = np.arange(1, 13)
    for seed in range(20):
        seen = view.draw(generators(seed, 1)).apply(u)
        (row,) = np.unique(np.argwhere(seen)[:, 2])
        assert abs(row - 4) <= 3
        np.testing.assert_array_equal(np.diff(seen[0, 0, row]), 1)  # never around the edge


def test_still_view_is_the_middle() -> None:
    u = np.arange(36.0).reshape(1, 1, 6, 6)
    np.testing.assert_array_equal(RandomView((6, 6), (4, 4), 2).still(1).apply(u), u[..., 1:5, 1:5])
    np.testing.assert_array_equal(RandomView((6, 6), (6, 6), 2).still(1).apply(u), u)


@given(SIZES, SIZES, METHODS)
def test_resize_keeps_constants(source: tuple[int, int], target: tuple[int, int], method: Any) -> None:
    u = np.full((1, 1, *source), 0.7, np.float32)
    np.testing.assert_allclose(Resize(source, target, method).apply(u), 0.7, rtol=1e-5)


def test_resize_to_the_same_size_is_the_identity() -> None:
    u = np.random.default_rng(0).random((2, 3, 9, 7), dtype=np.float32)
    np.testing.assert_allclose(Resize((9, 7), (9, 7)).apply(u), u, atol=1e-6)


def test_resize_is_exact_for_quadratics_inside() -> None:
    def parabola(n: int) -> np.ndarray:
        x = (np.arange(n) + 0.5) / n
        return 2 * x**2 - x + 0.3

    u = parabola(40)[None, None, :, None] * np.ones(5)
    found = Resize((40, 5), (50, 5)).apply(u)[0, 0, :, 2]
    # A cubic convolution is exact for polynomials of degree two wherever all four taps exist.
    np.testing.assert_allclose(found[3:-3], parabola(50)[3:-3], atol=1e-6)


@pytest.mark.parametrize("target", [(17, 30), (9, 8), (13, 11)])
@pytest.mark.parametrize(
    ("method", "pillows"), [("cubic", Image.Resampling.BICUBIC), ("linear", Image.Resampling.BILINEAR)]
)
def test_resize_agrees_with_pillow(target: tuple[int, int], method: Any, pillows: Any) -> None:
    u = np.random.default_rng(0).random((13, 11), dtype=np.float32)
    expected = Image.fromarray(u).resize((target[1], target[0]), pillows)
    found = Resize((13, 11), target, method).apply(u[None, None])[0, 0]
    np.testing.assert_allclose(found, np.asarray(expected), atol=2e-6)
