"""Channels in any place of an array, coupled where the call says so, and pictures that are not."""

from __future__ import annotations

import itertools
import re
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import sobolevflow as sf
from sobolevflow import Bilateral, Multiscale, NaturalColour, PeronaMalik
from sobolevflow.arrays import Array
from sobolevflow.errors import AssumptionWarning, ChangedWarning, InputError
from sobolevflow.filters import Gaussian, Sobolev
from sobolevflow.maps import Map, apply, told
from sobolevflow.proximal import Box, GeneralisedVariation, Sum, TotalVariation, energy
from tests.support.tv_oracles import random_image


def flip(u: Array) -> Array:
    """A function of another program, of images (..., C, H, W), which knows nothing of channel axes."""
    return u[..., ::-1, ::-1]


def named(K: object) -> str:
    """Of a case, the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(K))


COUPLING: tuple[Any, ...] = (
    Bilateral(),
    PeronaMalik(0.2, 1.1),
    Multiscale(2),
    TotalVariation(0.1),
    GeneralisedVariation(0.1, max_iterations=40),
    Sum((TotalVariation(0.05), Sobolev(gamma=0.3), Box()), max_iterations=5),
    Bilateral() @ Sobolev(gamma=0.5),
    Box() @ flip @ TotalVariation(0.1),
)
ALONE: tuple[Any, ...] = (
    Bilateral(1.0, 0.3, 3, coupled=False),
    PeronaMalik(0.2, 1.1, "rational", coupled=False),
    TotalVariation(0.1, coupled=False),
    GeneralisedVariation(0.1, max_iterations=40, coupled=False),
    Sum((TotalVariation(0.05, coupled=False), Sobolev(gamma=0.3)), max_iterations=5),
    Sum((Sobolev(gamma=0.3), Box(0.2, 0.8)), max_iterations=5),
    Box(0.2, 0.8),
    Box(0.2, 0.8) @ Sobolev(gamma=0.5),
    Sobolev(gamma=0.5),
)
COLOURS: tuple[Any, ...] = (NaturalColour(), NaturalColour() @ Multiscale(2) @ Gaussian(5))
EACH = COUPLING + ALONE + COLOURS
seeds = st.integers(0, 2**32 - 1)


@given(
    st.sampled_from(EACH),
    st.lists(st.integers(1, 8), min_size=2, max_size=3),
    st.integers(0, 3),
    st.integers(0, 23),
    st.sampled_from([np.float32, np.float64]),
    seeds,
)
@settings(max_examples=150, deadline=None)
def test_every_place_of_the_channels_gives_the_same_numbers(
    K: Any, others: list[int], place: int, order: int, dtype: Any, seed: int
) -> None:
    axis = place % (len(others) + 1)
    shape = (*others[:axis], 3, *others[axis:])
    every = list(itertools.permutations(range(len(shape))))
    axes = every[order % len(every)]
    x = np.ascontiguousarray(random_image(seed, *shape).astype(dtype).transpose(axes))
    x = x.transpose(np.argsort(axes))
    kept = x.copy()
    first = np.ascontiguousarray(np.moveaxis(x, axis, 0))
    expected = np.moveaxis(K(first, channel_axis=0), 0, axis)
    for same in (axis, axis - x.ndim):
        y = K(x, channel_axis=same)
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == dtype
        if K not in ALONE[-3:-1]:  # a box leaves the layout to NumPy, and so does what ends in one
            for found, wanted, n in zip(y.strides, np.empty_like(x).strides, shape, strict=True):
                assert found == wanted or n == 1
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("K", COUPLING + ALONE, ids=named)
def test_pictures_without_channels_have_nothing_of_each_other(K: Any) -> None:
    x = random_image(0, 4, 9, 8)
    x[1] *= 0.1
    y = K(x, channel_axis=None)
    assert y.shape == x.shape
    for picture, found in zip(x, y, strict=True):
        alone = K(picture)
        if isinstance(K, Sum):  # each is solved until all are
            np.testing.assert_allclose(found, alone, atol=0.02)
        else:
            np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("K", COUPLING[:5], ids=named)
def test_colours_are_coupled_where_they_are_named_and_nowhere_else(K: Any) -> None:
    x = random_image(1, 3, 12, 11)
    coupled, alone = K(x, channel_axis=0), K(x, channel_axis=None)
    assert np.abs(coupled - alone).max() > 1e-3
    if hasattr(K, "coupled"):
        uncoupled = type(K)(**{**vars(K), "coupled": False})
        np.testing.assert_array_equal(uncoupled(x, channel_axis=0), alone)
        np.testing.assert_array_equal(
            np.moveaxis(uncoupled(np.moveaxis(x, 0, -1), channel_axis=-1), -1, 0), alone
        )


def test_a_function_of_another_program_is_given_channels_before_planes() -> None:
    seen: list[tuple[int, ...]] = []

    def look(u: Array) -> Array:
        seen.append(u.shape)
        assert u.flags.c_contiguous
        return u

    x = random_image(2, 2, 8, 9, 3)
    y = (look @ Bilateral() @ look)(x, channel_axis=-1)
    assert seen == [(2, 3, 8, 9)] * 2
    np.testing.assert_array_equal(y, Bilateral()(x, channel_axis=-1))
    assert y.flags.c_contiguous


@pytest.mark.parametrize("library", ["torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("K", [*COUPLING[:5], *COLOURS, COUPLING[6], *ALONE[-3:-1]], ids=named)
def test_arrays_of_other_libraries(K: Any, library: str) -> None:
    reason = {"torch": "needs PyTorch: make libraries"}.get(library, f"needs {library}, of the extra test")
    module: Any = pytest.importorskip(library, reason=reason)
    x = random_image(3, 9, 10, 3).astype(np.float32)
    make = {"torch": "tensor", "jax": "device_put", "array_api_strict": "asarray"}[library]
    given_: Any = getattr(module, make)(x.copy())
    y = K(given_, channel_axis=-1)
    assert type(y) is type(given_)
    np.testing.assert_array_equal(np.from_dlpack(y), K(x, channel_axis=-1))


# --- energies -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "K",
    [TotalVariation(0.1), TotalVariation(0.1, coupled=False), Box(0.1, 0.9), Sobolev(gamma=2.0), COUPLING[5]],
    ids=named,
)
def test_energies_are_of_images_whose_channels_are_named(K: Any) -> None:
    u = random_image(5, 2, 3, 8, 9)
    expected = energy(K, u)
    assert expected.shape == (2,)
    for axis in (0, 1, 2, -1):
        np.testing.assert_allclose(energy(K, np.moveaxis(u, 1, axis), channel_axis=axis), expected)
    each = energy(K, u[0], channel_axis=None)
    np.testing.assert_allclose(each, [energy(K, plane) for plane in u[0]])


# --- what is told to whom ------------------------------------------------------------------------


@dataclass(frozen=True)
class Brightest(Map):
    """Sets every channel to the largest of its pixel: a map of another program that takes the axis."""

    takes_channel_axis: ClassVar[bool] = True

    def __call__(self, u: Array, *, channel_axis: int | None = None) -> Array:
        if channel_axis is None:
            return u
        return np.broadcast_to(u.max(axis=channel_axis, keepdims=True), u.shape).copy()


class Remembers:
    """A proximal map of another program: the call and `solve` alone."""

    def __call__(self, u: Array) -> Array:
        return self.solve(u, None)[0]

    def solve(self, u: Array, state: Any) -> tuple[Array, Any]:
        return u * 0.5, (state or 0) + 1


def test_schemes_tell_the_axis_to_those_that_take_it() -> None:
    u, g = random_image(6, 2, 2, 3, 8, 9)
    brightest = np.broadcast_to((u - g).max(axis=1, keepdims=True), u.shape)
    np.testing.assert_array_equal(sf.elastic(Brightest()).step(u, g, 1.0)[0], brightest)
    np.testing.assert_array_equal(sf.elastic(Brightest()).step(u[0], g[0], 1.0)[0], brightest[0])
    np.testing.assert_array_equal(sf.elastic(Brightest()).step(u[0, 0], g[0, 0], 1.0)[0], u[0, 0] - g[0, 0])
    np.testing.assert_array_equal(sf.elastic(flip).step(u, g, 1.0)[0], flip(u - g))
    np.testing.assert_array_equal(sf.fluid(flip).step(u, g, 1.0)[0], u - flip(g))
    state: Any
    found, state = sf.elastic(Remembers()).step(u, g, 1.0)
    np.testing.assert_array_equal(found, (u - g) * 0.5)
    found, state = sf.elastic(Remembers()).step(u, g, 1.0, state)
    assert state == 2
    product = Brightest() @ flip @ Remembers()
    np.testing.assert_array_equal(
        sf.elastic(product).step(u, g, 1.0)[0], Brightest()(flip((u - g) * 0.5), channel_axis=1)
    )


def test_told_and_apply() -> None:
    u = random_image(7, 3, 8, 9)
    assert told(flip, 0) is flip
    assert told(np.flip, 0) is np.flip
    np.testing.assert_array_equal(told(Brightest(), 0)(u), Brightest()(u, channel_axis=0))
    np.testing.assert_array_equal(apply(Brightest(), u, channel_axis=0)[0], Brightest()(u, channel_axis=0))
    np.testing.assert_array_equal(apply(Brightest(), u)[0], u)
    np.testing.assert_array_equal(apply(flip, u, channel_axis=0)[0], flip(u))


# --- warnings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("K", COUPLING, ids=named)
def test_who_relied_on_the_axis_before_the_planes_is_told(K: Any) -> None:
    x = random_image(8, 3, 8, 9)
    K(x, channel_axis=None)  # compiled: what compiles forgets which warnings were shown
    with warnings.catch_warnings(record=True) as given_:
        warnings.simplefilter("default")
        for _ in range(3):
            y = K(x)
    assert [w.category for w in given_] == [ChangedWarning]
    assert given_[0].filename == __file__
    assert "say channel_axis=0 if it holds colours, channel_axis=None if not" in str(given_[0].message)
    np.testing.assert_array_equal(y, K(x, channel_axis=None))
    with pytest.warns(ChangedWarning, match="channel_axis=1 if it holds"):
        apply(K, x[None])


def test_colours_that_seem_to_be_last_are_spoken_of_too() -> None:
    x = random_image(9, 12, 11, 3)
    with pytest.warns(AssumptionWarning, match="channel_axis=-1"):
        Bilateral(coupled=False)(x)
    with pytest.warns(AssumptionWarning, match="channel_axis=-1"), pytest.warns(ChangedWarning):
        Bilateral()(x)


@pytest.mark.filterwarnings("error")
def test_what_is_meant_is_done_without_a_word() -> None:
    x = random_image(10, 3, 12, 11)
    for K in EACH:
        K(x, channel_axis=0)
        K(np.moveaxis(x, 0, -1), channel_axis=-1)
    for K in COUPLING + ALONE:
        K(x[0])
        K(x, channel_axis=None)
        K(x[:1])  # of one channel, which is the same either way
    for K in ALONE + COLOURS[:1]:
        K(x)
    u, g = random_image(11, 2, 1, 3, 9, 8)
    for K in EACH:
        sf.elastic(K).step(u, g, 0.1)
        if not isinstance(K, TotalVariation | GeneralisedVariation | Box | Sum):
            sf.fluid(K).step(u, g, 0.1)
    for penalty in (sf.schemes.SmoothedTV(0.1), sf.schemes.SmoothedTV(0.1, coupled=False)):
        sf.gradient_descent(penalty).step(u, g, 0.1)
    net = sf.load("builtin:shapes-vgg")
    settings_: dict[str, Any] = {"steps": 2, "progress": False, "normalise": "after"}
    scheme = sf.fluid_elastic(
        NaturalColour() @ Multiscale(2) @ Sobolev(5), Bilateral() @ TotalVariation(0.01)
    )
    sf.visualize(net, sf.Class(0), scheme=scheme, **settings_)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("K", [K for K in EACH if not isinstance(K, Box)], ids=named)
@pytest.mark.parametrize("axis", [3, -4, 0.5, False, "colours"])
def test_an_axis_that_there_is_not(K: Any, axis: Any) -> None:
    with pytest.raises(InputError, match=r"channel_axis is .*; it must be an axis from 0 to 2"):
        K(random_image(12, 3, 8, 9), channel_axis=axis)


@pytest.mark.parametrize("K", COUPLING[:6], ids=named)
def test_a_plane_has_no_channels(K: Any) -> None:
    with pytest.raises(InputError, match="None for an image of the two axes"):
        K(random_image(13, 8, 9), channel_axis=0)


def test_natural_colours_need_some() -> None:
    x = random_image(14, 8, 9, 3)
    said: dict[str, Any]
    for image, said in ((x, {}), (x[..., 0], {}), (x, {"channel_axis": None}), (x, {"channel_axis": 0})):
        with pytest.raises(InputError, match="say which channel_axis holds them"):
            NaturalColour()(image, **said)
