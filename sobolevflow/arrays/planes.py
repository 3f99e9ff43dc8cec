"""Image planes (..., H, W), checked, as the stacks of planes or of images that compiled code takes."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..errors import InputError, warn
from .borrowing import borrow, restore
from .places import empty_laid_out_as, namespace
from .types import Array

_COLOURS = (3, 4)  # values of a pixel: red, green, blue, and alpha
_FEW = 8  # channels that are copied one by one to where they are the last axis; more are quicker together


class _NotGiven:
    """What a channel axis is of which nothing is said."""

    def __repr__(self) -> str:
        return "<not given>"


NOT_GIVEN: Any = _NotGiven()
"""The default of a channel axis: it means None, with a warning where another axis seems to be meant."""


class Batch(NamedTuple):
    """Images (N, C, H, W) of coupled channels, made of an array of any library, and the way back.

    Attributes
    ----------
    images
        Of NumPy or CuPy, C-contiguous; those on the host can be written to, and may be the array itself.
    leading
        The axes that N stands for.
    view
        The array with its channels before (H, W).
    coupled
        Whether C stands for the channels. Otherwise it is 1, and each of them is an image of its own.
    """

    images: Array
    leading: tuple[int, ...]
    view: ChannelsFirst
    coupled: bool

    @classmethod
    def borrow(
        cls, x: object, channel_axis: int | None = None, name: str = "x", *, coupled: bool = True
    ) -> Batch:
        """The images of `x`, checked; without a channel axis each plane is one.

        Values on the host are all finite.
        """
        view = ChannelsFirst.borrow(x, channel_axis, name)
        check_finite(view.memory, name)
        coupled = checks.flag(coupled, "coupled") and view.axis is not None
        moved = view.images if coupled else view.images[..., None, :, :]
        if moved.dtype == np.float16:  # on a device; `lend` rounds the result
            moved = moved.astype(np.float32)
        images = namespace(moved).ascontiguousarray(moved)
        if isinstance(images, np.ndarray) and not images.flags.writeable:
            images = images.copy()  # to numba a read-only array is another type, to compile for once more
        return cls(images.reshape(-1, *moved.shape[-3:]), moved.shape[:-3], view, coupled)

    def lend(self, images: Array) -> Any:
        """Images (N, C, H, W) as an array of the library, device, dtype, axes and layout of the input."""
        x = images.reshape(*self.leading, *images.shape[1:])
        return self.view.lend(x if self.coupled else x[..., 0, :, :])


class ChannelsFirst(NamedTuple):
    """An array of any library as NumPy or CuPy sees it, its channels before (H, W), and the way back.

    Attributes
    ----------
    images
        A view (..., C, H, W), or (..., H, W) where no axis holds channels.
    axis
        The axis of the array that C stands for, counted from the front; None without.
    memory
        Of the array, its axes as they are.
    like
        The array.
    """

    images: Array
    axis: int | None
    memory: Array
    like: Any

    @classmethod
    def borrow(cls, x: object, channel_axis: int | None, name: str = "x") -> ChannelsFirst:
        """The view of `x`, whose shape is checked; its values are not looked at."""
        memory = borrow(x, name=name)
        check_shape(memory, name)
        axis = checked_axis(channel_axis, memory.shape, name)
        return cls(_moved(memory, axis, -3), axis, memory, x)

    def lend(self, images: Array) -> Any:
        """A result, of the shape of `images`, as an array of the library, device, dtype and layout of `x`."""
        if self.axis is None or (images.flags.c_contiguous and self.images.flags.c_contiguous):
            return restore(_moved(images, -3, self.axis), self.like)
        result = empty_laid_out_as(self.memory)
        planes = _moved(result, self.axis, -3)
        if planes.strides == images.strides:
            return restore(_moved(images, -3, self.axis), self.like)
        put(planes, images)
        return restore(result, self.like)


def _moved(memory: Array, axis: int | None, to: int | None) -> Array:
    """A view with one of its axes elsewhere; the array itself where it is there already, or is None."""
    if axis is None or to is None or (axis - to) % memory.ndim == 0:
        return memory
    view: Array = namespace(memory).moveaxis(memory, axis, to)
    return view


def planes_of(memory: Array, axis: int | None) -> Array:
    """A view (..., H, W) of an array of which an axis, counted from the front, holds channels."""
    last_two_are_planes = axis is None or axis < memory.ndim - 2
    return memory if last_two_are_planes else _moved(memory, axis, -3)


def put(to: Array, planes: Array) -> None:
    """Copy planes (..., H, W) to where they belong, in memory of any strides."""
    strides = [abs(stride) for stride in to.strides]
    if isinstance(to, np.ndarray) and to.ndim > 2 and strides[-3] < strides[-1] and to.shape[-3] <= _FEW:
        # channel by channel: NumPy would go along the shortest stride, three values at a time
        for channel in range(to.shape[-3]):
            to[..., channel, :, :] = planes[..., channel, :, :]
    else:
        to[...] = planes


def check_shape(planes: Array, name: str = "x") -> None:
    """InputError unless `planes`, of NumPy or CuPy, has the axes (..., H, W) and at least one element."""
    if planes.ndim < 2:
        raise InputError(
            f"{name} has shape {planes.shape}; an image needs at least the two axes (H, W). "
            f"Reshape a row of pixels to (1, W)."
        )
    if planes.size == 0:
        raise InputError(f"{name} is empty (shape {planes.shape}); every axis needs at least one element.")


def check_finite(planes: Array, name: str = "x") -> None:
    """InputError if `planes` holds NaN or an infinity.

    CuPy arrays are not looked at: the answer would have to be waited for, and no work could be queued
    on the device, nor captured in a graph, until it is there. NaN in is NaN out.
    """
    if not isinstance(planes, np.ndarray):
        return
    finite = np.isfinite(planes)
    if not finite.all():
        raise InputError(
            f"{name} has {planes.size - int(np.count_nonzero(finite))} of {planes.size} values that are NaN "
            f"or infinite. Replace them (numpy.nan_to_num), or find the step that made them."
        )


def as_stack(planes: Array) -> Array:
    """An array (..., H, W) as a stack of planes (P, H, W) in order of memory, without a copy if it can be.

    It says of itself that it may be written to even where that is not so, since compiled code takes an
    array that may not for another type, for which it would be compiled once more. Kernels never write to
    their input.
    """
    if not isinstance(planes, np.ndarray):
        return sys.modules["cupy"].ascontiguousarray(planes).reshape(-1, *planes.shape[-2:])
    stack = np.ascontiguousarray(planes).reshape(-1, *planes.shape[-2:])
    return stack if stack.flags.writeable else np.asarray(_Writable(stack))


def checked_axis(channel_axis: int | None, shape: tuple[int, ...], name: str = "x") -> int | None:
    """The axis of the channels counted from the front, or None; InputError where there is none such.

    The last two of the other axes are H and W, so that there are at least three. Where nothing is said of a
    shape that seems to have colours last, a warning is given.
    """
    if channel_axis is NOT_GIVEN:
        if shape[-1] in _COLOURS and len(shape) > 2 and min(shape[-3:-1]) > max(_COLOURS):
            warn(
                f"{name} has shape {shape}, and its last two axes are taken for H and W. If the last one "
                f"holds colours, say channel_axis=-1; if it does not, say channel_axis=None."
            )
        return None
    if channel_axis is None:
        return None
    if type(channel_axis) is int and -len(shape) <= channel_axis < len(shape) > 2:
        return channel_axis % len(shape)  # at every step of a descent
    if len(shape) == 2:
        checks.refuse(
            channel_axis, "channel_axis", "None for an image of the two axes (H, W)", "Leave it out."
        )
    return checks.axis(channel_axis, "channel_axis", len(shape))


class _Writable:
    """The memory of an array as one that may be written to, for `numpy.asarray`."""

    def __init__(self, planes: Array) -> None:
        interface = dict(planes.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._kept = planes  # the memory lives as long as this does
