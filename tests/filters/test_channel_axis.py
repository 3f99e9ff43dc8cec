"""Channels in any place of an array: the numbers that they give first, in the layout of the array."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import sobolevflow as sf
from sobolevflow.errors import AssumptionWarning, InputError
from sobolevflow.filters import Filter, Gaussian, Identity, Sobolev, SobolevProduct, inverse, reference
from tests.support.filter_oracles import random_image
from tests.support.filter_strategies import dtypes, filters, seeds

EACH: tuple[Filter, ...] = (
    Identity(),
    Gaussian(11),
    Gaussian(sigma=3.0),
    Gaussian(61),
    Sobolev(5, method="dense"),
    Sobolev(gamma=2.0),
    Sobolev(gamma=(2.0, 9.0), order=1.5, boundary="zero"),
    SobolevProduct(2.0, boundary="periodic"),
    Sobolev(5) @ Gaussian(5),
    2 * Sobolev(gamma=3.0) - Identity(),
    Sobolev(gamma=3.0) ** 2,
)
PHOTO = (29, 31, 3)

lengths = st.lists(st.integers(1, 9), min_size=3, max_size=5).map(tuple)
orders = st.integers(0, 119)


def in_memory(x: np.ndarray, order: int) -> np.ndarray:
    """The same array with its axes in memory in one of the orders that there are."""
    axes = list(itertools.permutations(range(x.ndim)))[
        order % len(list(itertools.permutations(range(x.ndim))))
    ]
    return np.asarray(np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes)))


@given(filters(), lengths, st.integers(0, 4), orders, dtypes, seeds)
@settings(max_examples=150)
def test_every_place_of_the_channels_gives_the_same_numbers(
    f: Filter, shape: tuple[int, ...], place: int, order: int, dtype: Any, seed: int
) -> None:
    axis = place % len(shape)
    x = in_memory(random_image(seed, *shape, dtype=dtype), order)
    kept = x.copy()
    first = f(np.ascontiguousarray(np.moveaxis(x, axis, 0)), channel_axis=None)
    expected = np.moveaxis(first, 0, axis)
    for same in (axis, axis - x.ndim):
        y = f(x, channel_axis=same)
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == dtype
        for found, wanted, n in zip(y.strides, np.empty_like(x).strides, shape, strict=True):
            assert found == wanted or n == 1
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("f", EACH, ids=repr)
def test_out_takes_the_result_wherever_it_lies(f: Filter) -> None:
    x = random_image(0, *PHOTO, dtype=np.float32)
    expected = f(x, channel_axis=-1)
    wide = np.full((*PHOTO[:2], 6), np.nan, np.float32)
    for out in (np.empty_like(x), np.empty((3, 29, 31), np.float32).transpose(1, 2, 0), wide[..., ::2]):
        assert f(x, out=out, channel_axis=-1) is out
        np.testing.assert_array_equal(out, expected)
    assert np.isnan(wide[..., 1::2]).all()
    inside = x.copy()
    assert f(inside, out=inside, channel_axis=2) is inside
    np.testing.assert_array_equal(inside, expected)
    long = np.concatenate([x, x[:1]])
    assert f(long[:-1], out=long[1:], channel_axis=-1) is not None
    np.testing.assert_array_equal(long[1:], expected)


@pytest.mark.parametrize("f", EACH, ids=repr)
def test_a_photograph_keeps_its_layout_and_each_colour_is_a_plane(f: Filter) -> None:
    x = random_image(1, *PHOTO, dtype=np.float32)
    y = f(x, channel_axis=-1)
    assert y.flags.c_contiguous
    for c in range(3):
        np.testing.assert_array_equal(y[..., c], f(np.ascontiguousarray(x[..., c])))
    # planes that are only looked at with the colours last stay planes
    seen = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0, -1)
    assert f(seen, channel_axis=-1).strides == seen.strides
    np.testing.assert_array_equal(
        f.adjoint(y, channel_axis=-1), np.moveaxis(f.adjoint(np.moveaxis(y, -1, 0)), 0, -1)
    )
    assert f.plan(PHOTO, channel_axis=-1) == f.plan((3, 29, 31)) == f.plan((29, 3, 31), channel_axis=1)


@pytest.mark.parametrize("f", EACH, ids=repr)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_the_ways_by_scipy(f: Filter, axis: int) -> None:
    x = random_image(2, 6, 7, 8)
    np.testing.assert_allclose(reference(f, x, channel_axis=axis), f(x, channel_axis=axis), atol=1e-9)
    smooth = Sobolev(gamma=0.5)
    back = inverse(smooth, smooth(x, channel_axis=axis), channel_axis=axis)
    np.testing.assert_allclose(back, x, atol=1e-9)


def test_it_is_the_gaussian_of_skimage() -> None:
    skimage = pytest.importorskip("skimage.filters", reason="needs scikit-image, of the extra test")
    for shape, axis in (((40, 50, 3), -1), ((3, 40, 50), 0), ((40, 4, 50), 1)):
        x = random_image(3, *shape)
        expected = skimage.gaussian(x, 1.5, mode="reflect", truncate=8, channel_axis=axis)
        np.testing.assert_allclose(Gaussian(sigma=1.5)(x, channel_axis=axis), expected, atol=1e-9)


@pytest.mark.parametrize("library", ["torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("f", EACH[:6], ids=repr)
def test_arrays_of_other_libraries(f: Filter, library: str) -> None:
    reason = {"torch": "needs PyTorch: make libraries"}.get(library, f"needs {library}, of the extra test")
    module: Any = pytest.importorskip(library, reason=reason)
    x = random_image(4, 2, 9, 10, 3, dtype=np.float32)
    make = {"torch": "tensor", "jax": "device_put", "array_api_strict": "asarray"}[library]
    given_: Any = getattr(module, make)(x.copy())
    y: Any = f(given_, channel_axis=-1)
    assert type(y) is type(given_)
    np.testing.assert_array_equal(np.from_dlpack(y), f(x, channel_axis=-1))
    if library == "torch":  # channels_last: the axes are (N, C, H, W), and memory is (N, H, W, C)
        seen = module.tensor(x).permute(0, 3, 1, 2)
        found: Any = f(seen, channel_axis=1)
        assert found.stride() == seen.stride()
        np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), f(x, channel_axis=-1))


def test_colours_last_are_spoken_of_once_a_line_and_where_it_is_called() -> None:
    x = random_image(5, *PHOTO, dtype=np.float32)
    Gaussian(5)(x, channel_axis=None)  # compiled: what compiles forgets which warnings were shown
    with warnings.catch_warnings(record=True) as given_:
        warnings.simplefilter("default")
        for _ in range(3):
            y = Gaussian(5)(x)
        Gaussian(5).plan(PHOTO)
    assert [w.category for w in given_] == [AssumptionWarning, AssumptionWarning]
    assert given_[0].filename == __file__
    assert "x has shape (29, 31, 3)" in str(given_[0].message)
    np.testing.assert_array_equal(y, Gaussian(5)(x, channel_axis=None))
    np.testing.assert_array_equal(y, Gaussian(5)(x, channel_axis=0))


def test_what_is_meant_is_done_without_a_word() -> None:
    photo, planes = random_image(6, *PHOTO), random_image(7, 2, 3, 8, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for axis in (None, 0, 1, 2, -1):
            Gaussian(5)(photo, channel_axis=axis)
        Gaussian(5)(planes)
        Gaussian(5)(planes[0, 0, :, :3])
        Gaussian(5)(random_image(8, 4, 4, 3))


@pytest.mark.parametrize("axis", [3, -4, 0.5, False, "colours"])
def test_an_axis_that_there_is_not(axis: Any) -> None:
    x = np.zeros(PHOTO, np.float32)
    for call in (
        lambda: Gaussian(5)(x, channel_axis=axis),
        lambda: Gaussian(5).plan(PHOTO, channel_axis=axis),
        lambda: reference(Gaussian(5), x, channel_axis=axis),
        lambda: inverse(Sobolev(gamma=1.0), x, channel_axis=axis),
    ):
        with pytest.raises(InputError, match=r"channel_axis is .*; it must be an axis from 0 to 2"):
            call()
    with pytest.raises(InputError, match="None for an image of the two axes"):
        Gaussian(5)(x[..., 0], channel_axis=-1)
    with pytest.raises(InputError, match="NaN"):
        Gaussian(5)(np.full(PHOTO, np.nan), channel_axis=-1)
    with pytest.raises(InputError, match=r"out has shape \(3, 29, 31\)"):
        Gaussian(5)(x, out=np.zeros((3, 29, 31), np.float32), channel_axis=-1)


def test_a_descent_of_a_picture_three_pixels_wide_says_nothing() -> None:
    """(N, C, H, W) with W = 3 and more than four of all others looks like colours last, and is not."""
    u, g = (random_image(s, 6, 5, 12, 3, dtype=np.float32) for s in (9, 10))
    K = Sobolev(gamma=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scheme in (sf.fluid_elastic(K), sf.proximal_tv(0.1, K), sf.elastic(sf.Bilateral() @ K)):
            scheme.step(u, g, 0.1)
        np.testing.assert_array_equal(sf.fluid(K).step(u, g, 1.0)[0], u - K(g, channel_axis=1))
