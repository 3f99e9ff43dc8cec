"""Colour pictures of 16 bits, which Pillow holds by their high bytes alone.

A decoder of Pillow unpacks what is called ``RGB;16B``, the first byte of every two, or ``RGB;16L``, the
second. Decoded once as each, the two pictures together have all the bits; no other library is needed, and
interlaced and compressed files are read as fast as any.
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.ImageFile import ImageFile

_FIRST, _SECOND = ";16B", ";16L"
_HIGH_FIRST = {"B": True, "L": False, "N": sys.byteorder == "big"}

# Modes of Pillow by what is unpacked, without its ending.
_MODES = {"RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA"}


def raw_mode(picture: ImageFile) -> str:
    """What the decoder of a picture unpacks, such as ``RGB;16B``; empty where nobody says."""
    args = picture.tile[0].args if picture.tile else None
    mode = args if isinstance(args, str) else args[0] if args else ""
    return mode if isinstance(mode, str) else ""


def is_halved(picture: ImageFile) -> bool:
    """Whether a picture that is not decoded yet will lose the low byte of 16 bits."""
    return ";16" in raw_mode(picture) and not picture.mode.startswith(("I", "F"))


def can_be_whole(picture: ImageFile) -> bool:
    """Whether `whole` reads it."""
    raw, _, ending = raw_mode(picture).partition(";16")
    return picture.format in ("PNG", "TIFF") and (raw in _MODES or raw == "LA") and ending in _HIGH_FIRST


def whole(opened: Callable[[], ImageFile]) -> NDArray[np.uint16]:
    """All bits of a picture, (H, W, C), as the file has them: alpha last, premultiplied where it is so there.

    Parameters
    ----------
    opened : callable
        Opens the picture, and does not decode it; called twice.
    """
    picture = opened()
    raw, _, ending = raw_mode(picture).partition(";16")
    if raw == "LA":  # two numbers of two bytes, as Pillow's four channels
        first_and_second = _unpacked(picture, "RGBA")
        first, second = first_and_second[..., 0::2], first_and_second[..., 1::2]
    else:
        unpacked = _MODES[raw]
        first = _unpacked(picture, unpacked + _FIRST)
        second = _unpacked(opened(), unpacked + _SECOND)
    high, low = (first, second) if _HIGH_FIRST[ending] else (second, first)
    return high.astype(np.uint16) * np.uint16(256) + low


def _unpacked(picture: ImageFile, mode: str) -> NDArray[np.uint8]:
    def renamed(args: Any) -> Any:
        return mode if isinstance(args, str) else (mode, *args[1:])

    with picture:
        picture.tile = [tile._replace(args=renamed(tile.args)) for tile in picture.tile]
        return np.array(picture)


def encode_png(pixels: NDArray[np.generic]) -> bytes:
    """The bytes of a PNG file of (H, W, C) numbers of 16 bits: grey or RGB, with alpha where C is even."""
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, dtype=">u2").view(np.uint8).reshape(height, -1)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    differences = np.insert(rows - above, 0, 2, axis=1)  # filter 2: from the row above, modulo 256
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(differences.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
