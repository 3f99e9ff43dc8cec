"""Pictures that Pillow reads: nearly all."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, warn
from . import sixteen_bits
from .colour import as_srgb, say_other_space
from .ranges import Range
from .raster import Raster, which_page

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_ORIENTATION = 0x0112  # the tag of EXIF

_PARTS = "MPO"  # whose further frames belong to the first: a gain map, or another resolution
_LAYERS = "PSD"  # whose frames are layers, and the first of all that they look like together

_PROGRAMS = ("EPS",)  # which Pillow hands to Ghostscript

# Formats that Pillow decodes to mode I with a range of 16 bits.
_SCALED_TO_16_BITS = ("PNG", "PPM")

# Where formats say how many bits a channel has: so many bytes behind a mark, and what is to be added to it.
_DEPTH = {"JPEG2000": (b"\xff\x51", 40, 1), "AVIF": (b"pixi", 9, 0)}


def read(path: Path, page: int | None, name: str) -> Raster:
    """A page of a picture file; errors are Pillow's."""
    with opened(path) as picture:
        if picture.format in _PROGRAMS:
            raise ImageError(f"{name} is PostScript, a program that would have to be run; convert it to PNG.")
        icons = getattr(picture, "ico", None)
        frames = 1 if picture.format == _LAYERS else getattr(picture, "n_frames", 1)
        count = len(icons.entry) if icons else frames
        index = which_page(page, count, name, parts=picture.format == _PARTS)
        if icons and index:
            return raster_of(icons.frame(index), name)
        say_other_space(picture, _chunk(path, b"cICP") if picture.format == "PNG" else b"", name)
        if index:
            picture.seek(index)
        elif sixteen_bits.is_halved(picture) and sixteen_bits.can_be_whole(picture):
            return _of_16_bits(path, 0, picture)
        return decoded(picture, path, name)


def opened(path: Path, frame: int = 0) -> ImageFile:
    """A picture that is not decoded yet."""
    from PIL import Image

    picture = Image.open(path)
    if picture.format == "TIFF":
        picture.filename = ""  # a file that is mapped into memory comes out wrong where it is turned as well
    bits = {"L;2": 2, "L;4": 4}.get(sixteen_bits.raw_mode(picture))
    if bits and "transparency" in picture.info:
        # of a PNG file: values come as levels of 255, and this does not
        picture.info["transparency"] *= 255 // (2**bits - 1)
    if frame:
        picture.seek(frame)
    return picture


def decoded(picture: ImageFile, path: Path, name: str) -> Raster:
    """What a picture that is not decoded yet holds."""
    if sixteen_bits.is_halved(picture) or bits_of(picture, path) > 8:
        warn(f"{name} has more than 8 bits a channel and was read with 8; TIFF and PNG are read with all")
    stated = _stated(picture, path)
    return raster_of(picture, name, stated)


def raster_of(picture: Image, name: str, stated: Range | None = None) -> Raster:
    """Any picture of Pillow's, in any of its modes, upright and in sRGB."""
    from PIL import ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        key = picture.info.get("transparency")
        alpha = None if key is None else (values != key).astype(np.float32)
        return Raster(values[..., None], alpha, stated, profile=picture.info.get("icc_profile"))
    alpha = None
    if picture.has_transparency_data:
        separate = picture.convert("LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA")
        alpha = np.asarray(separate.getchannel("A"), dtype=np.float32) / np.float32(255)
        picture = separate.convert("L" if separate.mode == "LA" else "RGB")
    values = np.asarray(as_srgb(picture, name))
    return Raster(values.reshape(*values.shape[:2], -1), alpha)


def _of_16_bits(path: Path, frame: int, picture: ImageFile) -> Raster:
    planes = sixteen_bits.whole(partial(opened, path, frame))
    raw = sixteen_bits.raw_mode(picture)
    orientation = picture.getexif().get(_ORIENTATION, 1) if picture.format == "PNG" else 1
    profile, key = picture.info.get("icc_profile"), picture.info.get("transparency")
    alpha: NDArray[Any] | None = None
    if planes.shape[-1] in (2, 4):
        planes, alpha = planes[..., :-1], planes[..., -1]
    elif isinstance(key, tuple):
        alpha = (planes != np.array(key)).any(-1).astype(np.float32)
    bits = _significant_bits(path, planes) if picture.format == "PNG" else 16
    premultiplied = raw.startswith("RGBa")
    raster = Raster(planes, alpha, (0, 2**bits - 1), profile=profile, premultiplied=premultiplied)
    return raster.turned(orientation)


def whole_frame(path: Path, frame: int, dtype: np.dtype[Any]) -> Raster | None:
    """A frame of a TIFF file, of numbers of a type, with all its bits; None where Pillow drops some."""
    with opened(path, frame) as picture:
        if sixteen_bits.is_halved(picture):
            if not sixteen_bits.can_be_whole(picture):
                return None
            return _of_16_bits(path, frame, picture)
        if picture.mode not in ("I", "I;16", "I;16B", "F"):
            return None
        values = np.array(picture)
        if picture.mode == "I" and dtype.itemsize == 4:
            values = values.view(dtype)
        return Raster(values.astype(dtype)[..., None], profile=picture.info.get("icc_profile"))


def _stated(picture: Image, path: Path) -> Range | None:
    """The range of grey of 16 bits, where it is not that of its type."""
    if not picture.mode.startswith("I"):
        return None
    if picture.format == "PNG":
        return 0, 2 ** _significant_bits(path, np.asarray(picture)) - 1
    return (0, 65535) if picture.mode == "I" and picture.format in _SCALED_TO_16_BITS else None


def _significant_bits(path: Path, values: NDArray[Any]) -> int:
    """16; fewer where a PNG file states fewer, and its values were not scaled up to 16 as they should be."""
    bits = max(_chunk(path, b"sBIT"), default=16)
    is_scaled = values.max(initial=0) >= 2**bits or not (values & (2 ** (16 - bits) - 1)).any()
    return 16 if is_scaled else bits


def _chunk(path: Path, wanted: bytes) -> bytes:
    """A chunk of a PNG file before those of its pixels; empty where there is none."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == wanted:
                return file.read(length)
            if kind == b"IDAT":
                break
            file.seek(length + 4, 1)
    return b""


def bits_of(picture: Image, path: Path) -> int:
    """Bits a channel in the file, of the formats that may have more than 8; 8 for all others."""
    if picture.mode.startswith(("I", "F")):
        return 8  # all of them are there
    if picture.format == "PPM":
        args = picture.tile[0].args if picture.tile else None  # type: ignore[attr-defined]
        most = args if isinstance(args, int) else args[-1] if isinstance(args, tuple) else 0
        return int(most).bit_length() if isinstance(most, int) else 8
    if picture.format not in _DEPTH:
        return 8
    mark, at, add = _DEPTH[picture.format]
    with path.open("rb") as file:
        head = file.read(65536)
    found = head.find(mark)
    return (head[found + at] & 0x7F) + add if 0 <= found < len(head) - at else 8
