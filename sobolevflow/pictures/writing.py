"""Pictures, and other results, into files: whole or not at all, and asked about beforehand."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..errors import InputError
from ..files import check_output, write_bytes
from .pixels import MODES, Levels, Pixels, arranged, on_host, to_uint8
from .sixteen_bits import encode_png

# The formats that can be written, by the ending of the file's name.
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")

_TIFF = (".tif", ".tiff")

HOLD_16_BITS = (".png", *_TIFF)
HOLD_ANY_PLANES = _TIFF


_HOLDING = {8: WRITABLE, 16: HOLD_16_BITS, 32: _TIFF}  # formats, by the bits of a value


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Find out, before hours of work, whether a picture can be written: see `files.check_output`."""
    return check_output(path, WRITABLE)


def check_bits(path: str | os.PathLike[str], bits: int) -> int:
    """Find out, before hours of work, whether the format of a picture holds so many bits a value.

    Raises
    ------
    InputError
        It does not, or there is no such number of bits.
    """
    ending, bits = Path(path).suffix.lower(), checked_bits(bits)
    if ending not in _HOLDING[bits]:
        able = " and ".join(_HOLDING[bits])
        raise InputError(f"{str(path)!r} cannot hold {bits} bits a value; {able} can.")
    return bits


def checked_bits(bits: int) -> int:
    """`bits`; InputError unless a value of a picture can have so many."""
    bits = checks.count(bits, "bits")
    if bits not in _HOLDING:
        checks.refuse(bits, "bits", "8 or 16, of whole numbers, or 32, of floating point")
    return bits


def encode(pixels: Levels, ending: str = ".png", *, alpha: bool = False) -> bytes:
    """The bytes of a picture file.

    Parameters
    ----------
    pixels : (H, W) or (H, W, C) uint8 array
        C is 1 or 3, or one more with alpha; uint16 in the formats of `HOLD_16_BITS`, and float32 and any
        number of planes in those of `HOLD_ANY_PLANES`.
    ending : str
        The format, as the ending of a file's name.
    alpha : bool
        Whether the last plane is alpha, where that is not clear from their number.
    """
    from PIL import Image

    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[-1] - alpha not in MODES):
        deep = pixels.reshape(*pixels.shape[:2], -1)
        return _encode_tiff(deep, alpha) if ending.lower() in _TIFF else encode_png(deep)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[:, :, 0]
    buffer = io.BytesIO()
    quality = {"quality": 95} if ending.lower() in (".jpg", ".jpeg", ".webp") else {}
    picture_format = Image.registered_extensions()[ending.lower()]
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, picture_format, **quality)
    return buffer.getvalue()


def _encode_tiff(pixels: Levels, alpha: bool) -> bytes:
    import tifffile

    planes = pixels.shape[-1] - alpha
    extra = ["unspecified"] * (0 if planes == 3 else planes - 1) + ["unassalpha"] * alpha
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels if pixels.shape[-1] > 1 else pixels[:, :, 0],
        photometric="rgb" if planes == 3 else "minisblack",
        planarconfig="contig" if pixels.shape[-1] > 1 else None,
        extrasamples=extra or None,
        compression="zlib",
        metadata=None,
    )
    return buffer.getvalue()


def write_image(path: str | os.PathLike[str], image: ArrayLike) -> Path:
    """Write one picture, whole or not at all.

    Parameters
    ----------
    path : path
        The ending decides the format: one of `WRITABLE`.
    image : (H, W), (H, W, 1) or (H, W, 3) uint8 array, or (1, H, W) or (3, H, W) float array in [0, 1]

    Raises
    ------
    OutputError
        As `check_writable` and `write_bytes`.
    InputError
        The array has another shape.
    """
    path = check_writable(path)
    return write_bytes(path, encode(_as_pixels(image), path.suffix))


def write_arranged(path: str | os.PathLike[str], images: Levels) -> Path:
    """Write images (N, H, W, C) as the one picture that `arranged` makes of them, whole or not at all.

    Their type has to be one that the format holds, as `check_bits` says.

    Raises
    ------
    OutputError
        As `write_bytes`. The ending is taken for checked.
    """
    path = Path(path)
    return write_bytes(path, encode(arranged(images), path.suffix))


def write_planes(path: str | os.PathLike[str], planes: Levels, alpha: Levels | None = None) -> Path:
    """Write one picture from its planes, whole or not at all.

    Parameters
    ----------
    path : path
        The ending decides the format: one of `WRITABLE`, one that can hold alpha where there is some.
    planes : (1, H, W) or (3, H, W) uint8 array
        uint16 in the formats of `HOLD_16_BITS`, and float32 and any number of planes in those of
        `HOLD_ANY_PLANES`.
    alpha : (H, W) array, optional
        Of the type of `planes`.

    Raises
    ------
    OutputError
        As `check_writable` and `write_bytes`.
    """
    path = check_writable(path)
    channels = planes if alpha is None else np.concatenate([planes, alpha[None]])
    return write_bytes(path, encode(channels.transpose(1, 2, 0), path.suffix, alpha=alpha is not None))


def write_array(path: str | os.PathLike[str], array: ArrayLike) -> Path:
    """Write an array in NumPy's own format (.npy), whole or not at all.

    Raises
    ------
    OutputError
        As `write_bytes`.
    """
    buffer = io.BytesIO()
    np.save(buffer, on_host(array, "an array"), allow_pickle=False)
    return write_bytes(path, buffer.getvalue())


def _as_pixels(image: ArrayLike) -> Pixels:
    pixels = on_host(image)
    given = pixels.shape
    if pixels.dtype != np.uint8:
        if pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
        pixels = to_uint8(pixels)
    if not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in MODES)):
        raise InputError(
            f"A picture has the shape (H, W), (H, W, 1) or (H, W, 3) in uint8, or (1, H, W) or (3, H, W) "
            f"in floating point, not {given}."
        )
    return pixels
