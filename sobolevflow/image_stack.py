"""Arrays (..., H, W) as a stack of images of coupled channels, the layout of the nonlinear operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import Array, borrow, check_finite, check_shape, namespace
from .errors import InputError


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
