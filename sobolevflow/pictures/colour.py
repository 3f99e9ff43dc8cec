"""Colour profiles: pictures as sRGB, whatever the space that their numbers are in.

The intent is relative colorimetric with black-point compensation, which keeps all colours that sRGB has.
Pictures whose profile says sRGB in other words are left as they are, bit for bit.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import warn
from .pixels import to_uint8

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_AS_SRGB = (1, 6, 13, 14, 15)  # curves by ITU-T H.273: of sRGB, and of television on the same screen
_SAME_GAMMA = 0.05  # part by which a gamma of 2.2 may be off, as in libpng
_OF_CAMERAS = ("JPEG", "MPO")
_INTEROPERABILITY = 0xA005  # the tag of EXIF by which cameras say that they mean Adobe RGB

_DRIFT = 1  # levels of 255 by which a profile that is sRGB may differ, from its roundings


def as_srgb(picture: Image, name: str) -> Image:
    """A picture of Pillow's as ``L`` or ``RGB`` in sRGB.

    Parameters
    ----------
    picture : Image
        Without transparency, of 8 bits: ``1``, ``L``, ``P``, ``RGB``, ``RGBX``, ``CMYK``, ``YCbCr``, ``LAB``
        or ``HSV``.
    name : str
        Of the file, for messages.
    """
    profile = None if picture.mode == "LAB" else picture.info.get("icc_profile")  # says what L, a and b are
    if picture.mode not in ("1", "L", "RGB", "CMYK"):
        picture = picture.convert("RGB")
    if picture.mode == "1":
        return picture
    if profile:
        try:
            transform = _transform(profile, picture.mode)
        except Exception as error:  # ImageCms has no class of its own for what it finds in a profile
            _say_unused(name, error)
        else:
            return picture if transform is None else _applied(transform, picture)
    elif picture.mode == "CMYK":
        warn(f"{name} is CMYK without a colour profile; its colours are only roughly those of the print")
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def say_other_space(picture: ImageFile, stated: bytes, name: str) -> None:
    """A warning where a file names a space other than sRGB by other means than a profile.

    Parameters
    ----------
    picture : ImageFile
        Of Pillow's, of any format, not decoded yet.
    stated : bytes
        What a PNG file has in its chunk ``cICP``, if any: primaries and curve by their numbers in H.273.
    name : str
        Of the file, for messages.
    """
    gamma, space = picture.info.get("gamma"), ""
    if stated:
        space = "" if stated[0] == 1 and stated[1] in _AS_SRGB else f"cICP {stated[0]}/{stated[1]}"
    elif picture.info.get("icc_profile") or "srgb" in picture.info:
        return
    elif picture.format == "PNG":
        space = f"gamma {1 / gamma:.3g}" if gamma and abs(2.2 * gamma - 1) > _SAME_GAMMA else ""
    elif picture.format in _OF_CAMERAS:
        space = "Adobe RGB" if picture.getexif().get_ifd(_INTEROPERABILITY).get(1) == "R03" else ""
    if space:
        warn(f"{name} says without a colour profile that it is of {space}; its colours were read as sRGB")


def _say_unused(name: str, error: Exception) -> None:
    said = str(error).rstrip(".")
    warn(f"the colour profile of {name} cannot be used ({said}); its colours were read as if it had none")


def _applied(transform: Any, picture: Image) -> Image:
    """By a transform to RGB; grey stays grey."""
    from PIL import ImageCms

    wanted = transform.input_mode
    found = ImageCms.applyTransform(picture if picture.mode == wanted else picture.convert(wanted), transform)
    assert found is not None
    return found.getchannel("G") if picture.mode == "L" else found


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Any:
    """From a profile to sRGB; None where that changes nothing."""
    from PIL import ImageCms

    source = ImageCms.getOpenProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    wanted = "RGB" if mode == "L" and space == "RGB" else mode
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if mode == "L":
        flags |= ImageCms.Flags.NOOPTIMIZE  # else curves of grey are read off a coarse table
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    transform = ImageCms.buildTransform(source, _srgb(), wanted, "RGB", intent, flags)
    return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


@lru_cache(maxsize=1)
def _srgb() -> Any:
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether no colour of a lattice moves by more than a level."""
    from PIL import Image

    if mode == "L":
        colours = np.arange(256, dtype=np.uint8)[None]
    else:
        levels = np.linspace(0, 255, 16).round().astype(np.uint8)
        colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    moved = np.asarray(_applied(transform, Image.fromarray(colours))).astype(int)
    return bool(abs(moved - colours).max() <= _DRIFT)


def values_as_srgb(pixels: NDArray[np.float32], profile: bytes, name: str) -> NDArray[np.float32]:
    """Values in the unit [0, 1] as sRGB without rounding to 8 bits; colours beyond those of sRGB lie outside.

    Parameters
    ----------
    pixels : (H, W, C) array
        Grey or RGB; other numbers of planes are no colours, and stay as they are.
    profile : bytes
        Of three primaries and their curves, or a curve of grey. By one of tables, and by one that cannot be
        used, there is a warning: it is applied to 8 bits, or not at all.
    name : str
        Of the file, for messages.
    """
    mode = {1: "L", 3: "RGB"}.get(pixels.shape[-1])
    if mode is None:
        return pixels
    try:
        transform, tags = _transform(profile, mode), _tags(profile)
        if transform is None:
            return pixels
        if not (tags.keys() >= _MATRIX or b"kTRC" in tags):
            return _by_tables(transform, pixels, name)
        curves, to_linear_srgb = _primaries(tags)
    except Exception as error:  # as in `as_srgb`
        _say_unused(name, error)
        return pixels
    linear = np.stack([_odd(curve, pixels[..., k % pixels.shape[-1]]) for k, curve in enumerate(curves)], -1)
    darkest = np.concatenate([curve(np.zeros(1)) for curve in curves])
    black = _SRGB[1] @ to_linear_srgb @ darkest  # its luminance, for the compensation of the black point
    found = _odd(_encoded, (linear @ to_linear_srgb.T - black) / (1 - black)).astype(np.float32)
    return found if mode == "RGB" else found[..., :1]


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_MATRIX = {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"}  # tags of three primaries and their curves

# The primaries of sRGB in the connection space, X, Y, Z under D50, in columns.
_SRGB = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)


def _odd(curve: Curve, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """A curve continued below 0 by its image in the point at 0; above 1 tables go on in a straight line."""
    found = curve(abs(values.astype(np.float64)))
    return np.where(values < 0, 2 * curve(np.zeros(1)) - found, found)


def _encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The transfer function of sRGB, IEC 61966-2-1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _by_tables(transform: Any, pixels: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """By a transform of LittleCMS, which Pillow has for 8 bits."""
    from PIL import Image

    warn(f"the colour profile of {name} is made of tables; it was read with 8 bits, and clipped to them")
    levels = to_uint8(pixels)
    picture = Image.fromarray(levels if levels.shape[-1] == 3 else levels[..., 0])
    found = np.asarray(_applied(transform, picture), np.float32) / np.float32(255)
    return found.reshape(pixels.shape)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])
    return {name: profile[start : start + size] for name, start, size in entries}


def _primaries(tags: dict[bytes, bytes]) -> tuple[list[Curve], NDArray[np.float64]]:
    """The three curves of a profile, and the matrix from what they give to linear sRGB."""
    if b"kTRC" in tags:
        return [_curve(tags[b"kTRC"])] * 3, np.eye(3)
    columns = [_fixed(tags[name], 8, 3) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return curves, np.linalg.inv(_SRGB) @ np.stack(columns, axis=1)


def _fixed(tag: bytes, at: int, count: int) -> NDArray[np.float64]:
    return np.frombuffer(tag, ">i4", count, at).astype(np.float64) / 65536


def _curve(tag: bytes) -> Curve:
    """A curve of a profile, of its types ``curv`` and ``para``."""
    if tag[:4] == b"para":
        return _formula(tag)
    if tag[:4] != b"curv":
        raise ValueError(f"a curve of the type {tag[:4]!r} is unknown")
    count = struct.unpack_from(">I", tag, 8)[0]
    table = np.frombuffer(tag, ">u2", count, 12)
    if count < 2:
        gamma = float(table[0]) / 256 if count else 1.0
        return lambda v: v**gamma
    return lambda v: np.where(v > 1, v, np.interp(v, np.linspace(0, 1, count), table / 65535))


def _formula(tag: bytes) -> Curve:
    """Y = (a v + b)^g + e from v = d on, c v + f below, with as many parameters as its kind has."""
    kind = struct.unpack_from(">H", tag, 8)[0]
    if kind > 4:
        raise ValueError(f"a curve by formula {kind} is unknown")
    g, *rest = _fixed(tag, 12, (1, 3, 4, 5, 7)[kind])
    a, b, c, d, e, f = [*rest, 0, 0, 0, 0, 0, 0][:6] if rest else (1, 0, 0, 0, 0, 0)
    if kind in (1, 2):  # the third is what is added on both sides of the zero of a v + b
        c, d, e, f = 0, -b / a, c, c
    return lambda v: np.where(v >= d, np.maximum(a * v + b, 0) ** g + e, c * v + f)
