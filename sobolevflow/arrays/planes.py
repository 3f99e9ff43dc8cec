"""Image planes (..., H, W), checked, as the stacks of planes or of images that compiled code takes."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..errors import InputError
from .borrowing import borrow, lend
from .libraries import as_floating
from .places import namespace
from .types import Array


class Batch(NamedTuple):
    """Images (N, C, H, W) of coupled channels, made of an array (..., H, W) of any library, and the way back.

    Attributes
    ----------
    images
        Of NumPy or CuPy, C-contiguous; those on the host can be written to, and may be the array itself.
    leading
        The axes that N stands for.
    axis
        The axis of the array that C stands for, counted from the front; None where C is 1 and it has none.
    like
        The array.
    """

    images: Array
    leading: tuple[int, ...]
    axis: int | None
    like: Any

    @classmethod
    def borrow(cls, x: object, channel_axis: int | None = None, name: str = "x") -> Batch:
        """The images of `x`, checked; without a channel axis, before (H, W), each plane is one.

        Values on the host are all finite.
        """
        memory = _borrow_images(x, name)
        return cls._of(memory, _checked_axis(channel_axis, memory.shape), x)

    @classmethod
    def coupled(cls, x: object, coupled: bool = True) -> Batch:
        """The images of `x`, the axis before (H, W) coupled where there is one and it is to be."""
        memory = _borrow_images(x, "x")
        return cls._of(memory, coupled_axis(memory.shape, coupled), x)

    @classmethod
    def _of(cls, memory: Array, axis: int | None, like: object) -> Batch:
        xp: Any = namespace(memory)
        moved = memory[..., None, :, :] if axis is None else xp.moveaxis(memory, axis, -3)
        images = xp.ascontiguousarray(moved)
        if isinstance(images, np.ndarray) and not images.flags.writeable:
            images = images.copy()  # to numba a read-only array is another type, to compile for once more
        return cls(images.reshape(-1, *moved.shape[-3:]), moved.shape[:-3], axis, like)

    def lend(self, images: Array) -> Any:
        """Images (N, C, H, W) as an array of the library, device and axes that the input had."""
        x = images.reshape(*self.leading, *images.shape[1:])
        moved = x[..., 0, :, :] if self.axis is None else namespace(x).moveaxis(x, -3, self.axis)
        return lend(moved, self.like)


def coupled_axis(shape: tuple[int, ...], coupled: bool) -> int | None:
    """The axis before (H, W), where there is one and it is to be coupled."""
    return len(shape) - 3 if coupled and len(shape) > 2 else None


def as_planes(x: object, *, name: str = "x") -> Array:
    """`x` as a plain NumPy array of image planes, or an error that says what is wrong with it.

    Parameters
    ----------
    x
        NumPy array of float32 or float64, shape (..., H, W), not empty, all values finite. It may
        be read-only and have any strides; it is not copied.
    name
        What the message calls the argument.

    Raises
    ------
    InputError
        If `x` is not such an array.
    """
    planes = as_floating(x, name)
    check_shape(planes, name)
    check_finite(planes, name)
    return planes


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


def _borrow_images(x: object, name: str) -> Array:
    memory = borrow(x, name=name)
    check_shape(memory, name)
    check_finite(memory, name)
    if memory.dtype == np.float16:
        raise InputError(f"{name} has dtype float16, in which this is not accurate. Convert it to float32.")
    return memory


def _checked_axis(channel_axis: int | None, shape: tuple[int, ...]) -> int | None:
    """The axis counted from the front, or None; InputError unless it is an axis before (H, W)."""
    if channel_axis is None:
        return None
    if len(shape) == 2:
        checks.refuse(
            channel_axis, "channel_axis", "None for an image of the two axes (H, W)", "Leave it out."
        )
    return checks.axis(channel_axis, "channel_axis", len(shape), most=len(shape) - 3)


class _Writable:
    """The memory of an array as one that may be written to, for `numpy.asarray`."""

    def __init__(self, planes: Array) -> None:
        interface = dict(planes.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._kept = planes  # the memory lives as long as this does
