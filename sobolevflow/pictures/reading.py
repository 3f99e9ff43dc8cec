"""Pictures out of files: float32 (C, H, W) in [0, 1], the range of the file, of a size that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import ImageError, InputError, warn
from .colour import values_as_srgb
from .decoding import decode
from .pixels import MODES
from .ranges import Asked, Range, checked_range, in_unit, range_of
from .raster import Raster

_GREY = 128 / 255  # what shows through transparent pixels: the value descents start from
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def read_image(
    path: str | os.PathLike[str],
    size: Sequence[int] | None = None,
    channels: int = 3,
    *,
    range: Sequence[float] | Literal["auto"] | None = None,
    page: int | None = None,
) -> NDArray[np.float32]:
    """Read a picture as the networks of this package take it.

    Parameters
    ----------
    path : path
        Any file that Pillow or tifffile reads: PNG, JPEG, WebP, TIFF, BMP, GIF and more. The EXIF rotation is
        applied, palettes are resolved, colours are converted to sRGB by the profile of the file, 16 bits keep
        their precision, and transparent pixels show mid-grey.
    size : (H, W), optional
        Resize with antialiasing so that the picture just covers H x W, then cut out the centre. Without it
        the picture keeps its size.
    channels : 3 or 1
        RGB, or grey by the luma of ITU-R 601.
    range : (low, high) or "auto", optional
        The numbers of the file that become 0 and 1; "auto" is from the smallest to the largest of this
        picture. Without it they are what the file says: all of its 8 or 16 bits, as many as it has where it
        has fewer, or the smallest and largest sample that a TIFF file states; [0, 1] in floating point. Where
        that cannot be meant, in integers with a sign or of 32 bits, and where values lie outside, it is
        "auto", with a warning.
    page : int, optional
        Which page of a stack, frame of an animation or size of an icon, from 0; 0 unless given, with a
        warning where there are others.

    Returns
    -------
    (channels, H, W) float32 array
        Values in [0, 1].

    Warns
    -----
    AssumptionWarning
        Something was assumed that the file does not say, or values outside of `range` were clipped.

    Raises
    ------
    ImageError
        The file is missing, is no picture or is truncated, or has neither one plane nor three.
    InputError
        `size`, `channels`, `range` or `page` makes no sense.
    """
    if channels not in MODES:
        raise InputError(f"read_image can give 1 or 3 channels, not {checks.shown(channels)}.")
    asked = checked_range(range)
    raster = _of_colours(decode(path, page), str(path)).straight(asked, repr(str(path)))
    pixels, _ = _measured(raster, asked, str(path), clip=True)
    pixels = _as_channels(_over_grey(pixels, raster.alpha), channels)
    if size is not None:
        pixels = _cover(pixels, _checked_size(size))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


@dataclass(frozen=True)
class Planes:
    """A picture as it is in its file, to be filtered.

    Parameters
    ----------
    values : (C, H, W) float32 array
        In the unit of `range`, not clipped: one plane of grey, three of RGB, or as many as there are.
        Transparent pixels have the colour that the file gives them.
    alpha : (H, W) float32 array, optional
        In [0, 1].
    range : (low, high)
        The numbers of the file that are 0 and 1.
    bits : 8 or 16
        How many a whole number needs to hold a value as exactly as the file does, 16 at most.
    """

    values: NDArray[np.float32]
    alpha: NDArray[np.float32] | None
    range: Range
    bits: Literal[8, 16]


def read_planes(
    path: str | os.PathLike[str],
    *,
    range: Sequence[float] | Literal["auto"] | None = None,
    page: int | None = None,
) -> Planes:
    """Read a picture as it is, to filter it: greyscale stays greyscale, and alpha is kept apart.

    Parameters
    ----------
    path, range, page
        As of `read_image`; any number of planes, and values outside of `range` are not clipped.

    Warns
    -----
    AssumptionWarning
        Something was assumed that the file does not say.

    Raises
    ------
    ImageError
        The file is missing, is no picture or is truncated.
    InputError
        `range` or `page` makes no sense.
    """
    asked = checked_range(range)
    raster = decode(path, page)
    bits: Literal[8, 16] = 8 if raster.values.dtype in (np.uint8, np.bool_) else 16
    raster = raster.straight(asked, repr(str(path)))
    pixels, span = _measured(raster, asked, str(path))
    return Planes(np.ascontiguousarray(pixels.transpose(2, 0, 1)), raster.alpha, span, bits)


def _of_colours(raster: Raster, path: str) -> Raster:
    """Without planes beside the colours; ImageError where the rest is neither grey nor RGB."""
    planes = raster.values.shape[-1]
    colours = planes - raster.extra
    if colours not in MODES:
        raise ImageError(
            f"{path!r} has {planes} planes, which are no colours; a picture has 1 or 3. "
            "Read the file as an array, and choose from them."
        )
    if raster.extra:
        warn(f"{path!r} has {planes} planes, and only the {colours} of its colours were read")
    return replace(raster, values=raster.values[..., :colours], extra=0)


def _measured(
    raster: Raster, asked: Asked, path: str, *, clip: bool = False
) -> tuple[NDArray[np.float32], Range]:
    """(H, W, C) in the unit of a range and in sRGB, and the range; clipped, what is outside of it is said."""
    span = range_of(raster.values, asked, raster.stated, repr(path))
    pixels = in_unit(raster.values, span)
    if raster.inverted:
        pixels = 1 - pixels
    if clip and isinstance(asked, tuple):  # any other range has all values in it
        pixels = _clipped(pixels, raster.alpha, asked, path)
    if raster.profile is not None:
        pixels = values_as_srgb(pixels, raster.profile, repr(path))
        pixels = pixels.clip(0, 1) if clip else pixels
    return pixels, span


def _clipped(
    pixels: NDArray[np.float32], alpha: NDArray[np.float32] | None, span: Range, path: str
) -> NDArray[np.float32]:
    outside = (pixels < 0) | (pixels > 1)
    count = np.count_nonzero(outside if alpha is None else outside[alpha > 0])
    if count:
        of_all = f"{count} of {pixels.size} values of {path!r}"
        warn(f"{of_all} lie outside of {span[0]:g} to {span[1]:g} and were clipped")
    return pixels.clip(0, 1)


def _over_grey(pixels: NDArray[np.float32], alpha: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if alpha is None:
        return pixels
    opacity = alpha[:, :, None]
    return pixels * opacity + np.float32(_GREY) * (1 - opacity)


def _as_channels(pixels: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """(H, W, channels) of (H, W, 1) or (H, W, 3)."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    grey: NDArray[np.float32] = np.minimum(pixels @ _LUMA, 1)[:, :, None]
    return grey


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    if np.shape(size) != (2,):
        checks.refuse(size, "size", "(height, width) in pixels")
    height, width = (checks.count(length, "size") for length in size)
    return height, width


def _cover(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize until `size` is just covered, then cut out the centre."""
    h, w = pixels.shape[:2]
    scale = max(size[0] / h, size[1] / w)
    covering = max(size[0], round(scale * h)), max(size[1], round(scale * w))
    pixels = resized(pixels, covering)
    y, x = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return pixels[y : y + size[0], x : x + size[1]]


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
