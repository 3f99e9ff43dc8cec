"""A picture at the size that a network takes, and what was computed there back on the picture."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..arrays import AnyArray, hand_back, shape_of
from ..capacity import check_fits
from ..errors import InputError
from .pixels import on_host

_ENLARGED = 16  # times as many pixels as picture or size has, beyond which those cut off are never made
_SUPPORT = 3  # pixels around a point that an enlargement looks at, and one more
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Fitting:
    """How a picture is fitted to a size: resized until it just covers that, and the centre cut out.

    Attributes
    ----------
    original, size : (int, int)
        Height and width before and after.
    """

    original: tuple[int, int]
    size: tuple[int, int]

    @property
    def covering(self) -> tuple[int, int]:
        """Height and width of the resized picture, before it is cut."""
        scale = max(to / of for to, of in zip(self.size, self.original, strict=True))
        height, width = (max(to, round(scale * of)) for to, of in zip(self.size, self.original, strict=True))
        return height, width

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the resized picture at which the centre begins."""
        (height, width), (h, w) = self.covering, self.size
        return (height - h) // 2, (width - w) // 2

    @property
    def cuts_off_most(self) -> bool:
        """Whether nearly all of a resized picture would be cut off, as of 1 x 60,000 pixels at 224 x 224."""
        return math.prod(self.covering) > _ENLARGED * max(math.prod(self.original), math.prod(self.size))


def fitted(picture: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
    """A picture in [0, 1], (C, H, W) float32, fitted to a size as `read_image` does: see `Fitting`."""
    fitting = Fitting(picture.shape[-2:], checked_size(size))
    if fitting.cuts_off_most:
        return np.stack([_centre(plane, fitting) for plane in picture]).clip(0, 1)
    covering = resized(picture.transpose(1, 2, 0), fitting.covering)
    (y, x), (h, w) = fitting.corner, fitting.size
    return np.ascontiguousarray(covering[y : y + h, x : x + w].transpose(2, 0, 1))


def _centre(plane: NDArray[np.float32], fitting: Fitting) -> NDArray[np.float32]:
    """What is seen of one plane, (H, W), without the rest of what would cover it."""
    from PIL import Image

    parts, boxes = [], []
    for axis in (0, 1):
        scale = fitting.original[axis] / fitting.covering[axis]
        low, high = (scale * (fitting.corner[axis] + end) for end in (0, fitting.size[axis]))
        part = slice(max(0, math.floor(low) - _SUPPORT), math.ceil(high) + _SUPPORT)
        parts.append(part)
        # counted from the part, since Pillow has only single precision for it
        boxes.append((low - part.start, high - part.start))
    (top, bottom), (left, right) = boxes
    picture = Image.fromarray(np.ascontiguousarray(plane[tuple(parts)]))
    size = fitting.size[1], fitting.size[0]
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom)))


@overload
def to_original(values: NDArray[Any], size: Sequence[int], *, fill: float = ...) -> NDArray[np.float32]: ...


@overload
def to_original(values: AnyArray, size: Sequence[int], *, fill: float = ...) -> AnyArray: ...


def to_original(values: Any, size: Sequence[int], *, fill: float = np.nan) -> Any:
    """A map of a picture that was fitted to a network, in the coordinates of the picture itself.

    `read_image` with a size resizes a picture until it just covers that, and cuts out the centre. This goes
    the way back: what belongs to a place of the picture then stands there.

    Parameters
    ----------
    values : array, shape (N, H, W) or (H, W)
        Of any library. A map, as those of `attribution`, over the picture as the network was shown it.
    size : (int, int)
        Height and width of the picture in its file: ``read_image(path).shape[-2:]``.
    fill : float
        What stands where the picture was cut off, and the network saw nothing. `heatmap` draws NaN as the
        picture alone.

    Returns
    -------
    array, shape (N, *size) or `size`, float32
        Interpolated linearly; averaged where the picture is smaller than what the network was shown.

    Raises
    ------
    InputError
        `values` is no map, or `size` no size.

    Examples
    --------
    >>> photo = read_image("photo.jpg")  # doctest: +SKIP
    >>> u = read_image("photo.jpg", size=net.input_shape[1:])  # doctest: +SKIP
    >>> m = to_original(grad_cam(net, objective, u), photo.shape[-2:])  # doctest: +SKIP
    >>> picture = heatmap(m, photo)  # doctest: +SKIP
    """
    with np.errstate(over="ignore"):
        maps = on_host(values, "a map").astype(np.float32)
    if not (checks.is_number(fill) and abs(fill) < _LARGEST) and not (
        isinstance(fill, numbers.Real) and fill != fill
    ):
        checks.refuse(fill, "fill", "a number, or NaN")
    if maps.ndim not in (2, 3) or not maps.size:
        raise InputError(f"a map is an array (N, H, W) or (H, W), not of shape {maps.shape}")
    fitting = Fitting(checked_size(size), maps.shape[-2:])
    back = [_back(each, fitting, fill) for each in maps.reshape(-1, *fitting.size)]
    return hand_back(np.reshape(np.stack(back), (*maps.shape[:-2], *fitting.original)), values)


def _back(values: NDArray[np.float32], fitting: Fitting, fill: float) -> NDArray[np.float32]:
    """One map on the original."""
    (y, x), (h, w), covering = fitting.corner, fitting.size, fitting.covering
    if fitting.cuts_off_most:
        return _seen_alone(values, fitting, fill)
    around = ((y, covering[0] - h - y), (x, covering[1] - w - x))
    whole = _linear(np.pad(values, around, mode="edge"), fitting.original)
    for axis in (0, 1):
        centres = (np.arange(whole.shape[axis]) + 0.5) * covering[axis] / whole.shape[axis]
        first = fitting.corner[axis]
        outside = (centres < first) | (centres > first + fitting.size[axis])
        whole[(slice(None),) * axis + (outside,)] = fill
    return whole


def _seen_alone(values: NDArray[np.float32], fitting: Fitting, fill: float) -> NDArray[np.float32]:
    """As `_back`, without the rest of what would cover the map."""
    parts, boxes, margins = [], [], []
    for axis in (0, 1):
        pixel = fitting.covering[axis] / fitting.original[axis]
        low, high = (fitting.corner[axis] + end for end in (0, fitting.size[axis]))
        # those whose centres can be seen
        part = slice(math.ceil(low / pixel - 0.5), math.floor(high / pixel - 0.5) + 1)
        before, after = (min(math.ceil(2 * pixel), cut) for cut in (low, fitting.covering[axis] - high))
        parts.append(part)
        margins.append((before, after))
        boxes.append([end * pixel - low + before for end in (part.start, part.stop)])
    whole = np.full(fitting.original, fill, np.float32)
    around = np.pad(values, margins, mode="edge")
    (top, bottom), (left, right) = boxes
    seen = whole[tuple(parts)]
    if seen.size:
        seen[...] = _linear(around, seen.shape, (left, top, right, bottom))
    return whole


def _linear(
    values: NDArray[np.float32],
    size: tuple[int, ...],
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.float32]:
    from PIL import Image

    return np.array(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))


def checked_size(size: Sequence[int]) -> tuple[int, int]:
    """(H, W); InputError for what is none."""
    if shape_of(size) != (2,):
        checks.refuse(size, "size", "(height, width) in pixels")
    height, width = (checks.count(length, "size") for length in size)
    check_fits(12 * height * width, f"a picture of {height} x {width} pixels", "use a smaller size")
    return height, width


def resized(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, C) in [0, 1] at another size: bicubic with antialiasing, in floating point."""
    from PIL import Image

    if pixels.shape[:2] == size:
        return pixels
    planes = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BICUBIC))
        for plane in np.ascontiguousarray(pixels.transpose(2, 0, 1))
    ]
    return np.stack(planes, axis=-1).clip(0, 1)
