"""Pictures out of files: float32 (C, H, W) in [0, 1], the range of the file, of a size that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import ImageError, warn
from .colour import values_as_srgb
from .decoding import decode, within_memory
from .fitting import fitted
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
        Any file that Pillow or tifffile reads: PNG, JPEG, WebP, TIFF, BMP, GIF and more, and NumPy's .npy and
        .npz with an array (H, W), (C, H, W) or (H, W, C), or several with N in front. The EXIF rotation is
        applied, palettes are resolved, colours are converted to sRGB by the profile of the file, 16 bits keep
        their precision, and transparent pixels show mid-grey.
    size : (H, W), optional
        Resize with antialiasing so that the picture just covers H x W, then cut out the centre; what is
        computed there, `to_original` brings back. Without it the picture keeps its size.
    channels : int
        3 for RGB, 1 for grey by the luma of ITU-R 601; any other number for a file of as many planes, alpha
        among them, as they are.
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
        The file is missing, is no picture or is truncated, or has neither one plane nor three, nor as many as
        are asked for.
    InputError
        `size`, `channels`, `range` or `page` makes no sense.
    """
    channels = checks.count(channels, "channels")
    asked, name = checked_range(range), str(path)
    with within_memory(path):
        raster = decode(path, page, channels)
        raster = (_of_colours(raster, name) if channels in MODES else raster).straight(asked, repr(name))
        pixels, _ = _measured(raster, asked, name, clip=True)
        if channels in MODES:
            pixels = _as_channels(_over_grey(pixels, raster.alpha), channels)
        else:
            pixels = _of_planes(pixels, raster.alpha, channels, name)
        picture = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return picture if size is None else fitted(picture, size)


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
    with within_memory(path):
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


def _of_planes(
    pixels: NDArray[np.float32], alpha: NDArray[np.float32] | None, channels: int, path: str
) -> NDArray[np.float32]:
    """All planes as they are, alpha the last of them; ImageError where they are not as many as wanted."""
    planes = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=-1)
    found = planes.shape[-1]
    if found != channels:
        raise ImageError(
            f"{path!r} has {found} plane{'s' * (found > 1)}, but {channels} are wanted; a TIFF file can hold "
            f"them, and NumPy's .npy, as an array ({channels}, H, W)."
        )
    return planes


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
