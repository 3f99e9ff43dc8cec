"""Arrays (..., H, W) as a stack of images of coupled channels, the layout of the nonlinear operators."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..errors import InputError
from .borrowing import Array, _as_floating, borrow
from .places import namespace


def borrow_images(x: object, name: str = "x") -> Array:
    """The memory of an array (..., H, W) of any library, checked; values on the host are all finite."""
    memory = borrow(x, name=name)
    check_shape(memory, name)
    check_finite(memory, name)
    if memory.dtype == np.float16:
        raise InputError(f"{name} has dtype float16, in which this is not accurate. Convert it to float32.")
    return memory


def checked_axis(channel_axis: int | None, shape: tuple[int, ...]) -> int | None:
    """The axis counted from the front, or None; InputError unless it is an axis before (H, W)."""
    if channel_axis is None:
        return None
    if isinstance(channel_axis, bool) or not isinstance(channel_axis, int | np.integer):
        raise InputError(f"channel_axis is {channel_axis!r}; it must be an integer or None.")
    axis = int(channel_axis) + (len(shape) if channel_axis < 0 else 0)
    if not 0 <= axis < len(shape) - 2:
        raise InputError(
            f"channel_axis is {channel_axis} for shape {shape}, whose last two axes are (H, W): "
            + (
                "there is no other axis; leave it out."
                if len(shape) == 2
                else f"choose from 0 to {len(shape) - 3}."
            )
        )
    return axis


def coupled_axis(shape: tuple[int, ...], coupled: bool) -> int | None:
    """The axis before (H, W), where there is one and it is to be coupled."""
    return len(shape) - 3 if coupled and len(shape) > 2 else None


def as_images(memory: Array, axis: int | None) -> tuple[Array, tuple[int, ...]]:
    """A C-contiguous stack (N, C, H, W) of images of C coupled channels, and the axes that N stands for."""
    xp: Any = namespace(memory)
    moved = memory[..., None, :, :] if axis is None else xp.moveaxis(memory, axis, -3)
    images = xp.ascontiguousarray(moved)
    if isinstance(images, np.ndarray) and not images.flags.writeable:
        images = images.copy()  # to numba a read-only array is another type, for which it would compile again
    return images.reshape(-1, *moved.shape[-3:]), moved.shape[:-3]


def from_images(images: Array, leading: tuple[int, ...], axis: int | None) -> Array:
    """The inverse of `as_images`."""
    x = images.reshape(*leading, *images.shape[1:])
    if axis is None:
        return x[..., 0, :, :]
    moved: Array = namespace(x).moveaxis(x, -3, axis)
    return moved


# --- checks -------------------------------------------------------------------------------------


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
    planes = _as_floating(x, name)
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


class _Writable:
    """The memory of an array as one that may be written to, for `numpy.asarray`."""

    def __init__(self, planes: Array) -> None:
        interface = dict(planes.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface
        self._kept = planes  # the memory lives as long as this does


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
