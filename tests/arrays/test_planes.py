"""Which axes are channels, H and W: how an array is seen, and laid out again."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sobolevflow.arrays import (
    NOT_GIVEN,
    Batch,
    ChannelsFirst,
    checked_axis,
    empty_laid_out_as,
    planes_of,
    put,
)
from sobolevflow.errors import AssumptionWarning, InputError

PERMUTATIONS = list(itertools.permutations(range(4)))
permutations = st.sampled_from(PERMUTATIONS)


def laid_out(shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    """An array whose axes lie in memory in an order."""
    values = np.random.default_rng(0).random([shape[k] for k in order])
    return np.asarray(values.transpose(np.argsort(order)))


@given(st.tuples(*[st.integers(1, 4)] * 4), permutations)
def test_a_new_array_is_laid_out_as_numpy_does_it(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    like = laid_out(shape, order)
    found = empty_laid_out_as(like)
    assert (found.shape, found.dtype) == (like.shape, like.dtype)
    assert found.ctypes.data % 64 == 0
    wanted = np.empty_like(like)  # the strides of an axis of one element say nothing
    for mine, theirs, n in zip(found.strides, wanted.strides, shape, strict=True):
        assert mine == theirs or n == 1


def test_what_is_strided_becomes_dense_in_its_order() -> None:
    x = np.zeros((8, 6, 5, 3))[::2, ::-1]
    assert empty_laid_out_as(x).flags.c_contiguous
    assert empty_laid_out_as(np.moveaxis(x, 3, 0)).strides == np.moveaxis(x.copy(), 3, 0).strides
    assert empty_laid_out_as(np.broadcast_to(x[..., :1], x.shape)).nbytes == x.nbytes


@given(st.integers(1, 12), permutations, st.sampled_from([np.float32, np.float64]))
def test_planes_are_put_where_they_belong(channels: int, order: tuple[int, ...], dtype: Any) -> None:
    to = laid_out((2, channels, 4, 5), order).astype(dtype, order="K")
    planes = np.random.default_rng(1).random(to.shape).astype(dtype)
    put(to, planes)
    np.testing.assert_array_equal(to, planes)


@given(st.integers(-4, 3), permutations)
def test_channels_are_seen_first_and_go_back(axis: int, order: tuple[int, ...]) -> None:
    x = laid_out((2, 3, 4, 5), order)
    view = ChannelsFirst.borrow(x, axis)
    np.testing.assert_array_equal(view.images, np.moveaxis(x, axis, -3))
    assert np.shares_memory(view.images, x)
    for result in (view.images, np.ascontiguousarray(view.images), np.asfortranarray(view.images)):
        back = view.lend(result)
        np.testing.assert_array_equal(back, x)
        assert back.strides == x.strides
    rest = [n for k, n in enumerate(x.shape) if k != axis % 4]
    assert planes_of(x, axis % 4).shape[-2:] == tuple(rest[-2:])
    for coupled in (True, False):
        batch = Batch.borrow(x, axis, coupled=coupled)
        assert batch.images.shape[1] == (x.shape[axis] if coupled else 1)
        assert batch.images.flags.c_contiguous
        assert batch.leading == ((rest[0],) if coupled else (rest[0], x.shape[axis]))
        back = batch.lend(batch.images + 1)
        np.testing.assert_array_equal(back, x + 1)
        assert back.strides == x.strides


def test_what_is_planes_already_is_not_copied() -> None:
    x = np.random.default_rng(2).random((2, 3, 8, 9))
    last = np.moveaxis(x, 1, -1)
    for given_, axis in ((x, 1), (last, -1)):
        batch = Batch.borrow(given_, axis)
        assert np.shares_memory(batch.images, x)
        result = batch.images.copy()
        assert np.shares_memory(batch.lend(result), result)


@pytest.mark.parametrize("axis", [4, -5, 1.0, True, "last"])
def test_an_axis_that_there_is_not(axis: Any) -> None:
    with pytest.raises(InputError, match=r"channel_axis is .* an axis from 0 to 3 of an array of 4 axes"):
        checked_axis(axis, (2, 3, 4, 5))
    with pytest.raises(InputError, match="must be None for an image of the two axes"):
        checked_axis(0, (4, 5))


SEEMS = [(8, 9, 3), (5, 5, 4), (2, 64, 48, 3), (2, 2, 6, 7, 4)]
SEEMS_NOT = [
    (3, 8, 9),
    (2, 3, 8, 9),
    (9, 3),
    (4, 4, 3),
    (3, 64, 4),
    (64, 4, 4),
    (8, 9, 5),
    (8, 9, 1),
    (1, 3, 8, 3),
]


@pytest.mark.parametrize("shape", SEEMS)
def test_colours_that_seem_to_be_last_are_spoken_of(shape: tuple[int, ...]) -> None:
    with pytest.warns(AssumptionWarning, match="say channel_axis=-1; if it does not, say channel_axis=None"):
        assert checked_axis(NOT_GIVEN, shape) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked_axis(None, shape) is None
        assert checked_axis(-1, shape) == len(shape) - 1


@pytest.mark.parametrize("shape", SEEMS_NOT)
def test_and_others_are_not(shape: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked_axis(NOT_GIVEN, shape) is None
