"""Pictures out of files: float32 (C, H, W) in [0, 1], of a size that is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import ImageError, InputError
from .pixels import MODES, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_GREY = 128  # what shows through transparent pixels: the value descents start from


def read_image(
    path: str | os.PathLike[str], size: Sequence[int] | None = None, channels: int = 3
) -> NDArray[np.float32]:
    """Read a picture as the networks of this package take it.

    Parameters
    ----------
    path : path
        Any file Pillow reads: PNG, JPEG, WebP, TIFF, BMP, GIF (its first frame) and more. The EXIF rotation
        is applied, palettes are resolved, 16-bit grey keeps its precision, and transparent pixels show
        mid-grey.
    size : (H, W), optional
        Resize with antialiasing so that the picture just covers H x W, then cut out the centre. Without it
        the picture keeps its size.
    channels : 3 or 1
        RGB, or grey by the luma of ITU-R 601.

    Returns
    -------
    (channels, H, W) float32 array
        Values in [0, 1].

    Raises
    ------
    ImageError
        The file is missing, is no picture, or is truncated.
    InputError
        `size` or `channels` makes no sense.
    """
    if channels not in MODES:
        raise InputError(f"read_image can give 1 or 3 channels, not {channels!r}.")
    picture = _open(Path(path))
    pixels = _as_float(picture, channels)
    if size is not None:
        pixels = _cover(pixels, _checked_size(size))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_planes(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], Pixels | None]:
    """Read a picture as it is, to filter it: greyscale stays greyscale, and alpha is kept apart.

    Parameters
    ----------
    path : path
        As `read_image`.

    Returns
    -------
    planes : (1, H, W) or (3, H, W) float32 array
        The values of the file in [0, 1]. Transparent pixels have the colour that the file gives them.
    alpha : (H, W) uint8 array, or None
        The alpha channel of a picture that has one.

    Raises
    ------
    ImageError
        As `read_image`.
    """
    picture = _open(Path(path))
    alpha = None
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        picture = rgba.convert("RGB") if picture.mode != "LA" else picture.getchannel("L")
    grey = picture.mode in ("1", "L", "F") or picture.mode.startswith("I")
    pixels = _as_float(picture, 1 if grey else 3)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), alpha


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    if np.shape(size) != (2,):
        checks.refuse(size, "size", "(height, width) in pixels")
    height, width = (checks.count(length, "size") for length in size)
    return height, width


def _open(path: Path) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise ImageError(f"There is no file {str(path)!r}; check the path.") from None
    except IsADirectoryError:
        raise ImageError(f"{str(path)!r} is a folder; name a picture in it.") from None
    except PermissionError:
        raise ImageError(f"{str(path)!r} may not be read; check its permissions.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{str(path)!r} is not a picture that Pillow can read.") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{str(path)!r} is too large to be read safely: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read: {error}. The file may be damaged.") from None


def _as_float(picture: Image, channels: int) -> NDArray[np.float32]:
    """(H, W, channels) in [0, 1]; 16-bit and 32-bit grey do not pass through 8 bits."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = np.asarray(picture, dtype=np.float32)
        if picture.mode != "F":
            grey = grey / np.float32(65535)
        return np.repeat(grey.clip(0, 1)[:, :, None], channels, axis=2)
    picture = _over_grey(picture).convert(MODES[channels])
    pixels = np.asarray(picture, dtype=np.float32) / np.float32(255)
    return pixels.reshape(*pixels.shape[:2], channels)


def _over_grey(picture: Image) -> Image:
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    ground = Image.new("RGBA", picture.size, (_GREY, _GREY, _GREY, 255))
    return Image.alpha_composite(ground, picture)


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
