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

if TYPE_CHECKING:
    from PIL.Image import Image

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
        Of three primaries and their curves, or a curve of grey; a warning says where it is another.
    name : str
        Of the file, for messages.
    """
    mode = {1: "L", 3: "RGB"}.get(pixels.shape[-1])
    if mode is None:
        return pixels
    try:
        if _transform(profile, mode) is None:
            return pixels
        curves, to_linear_srgb = _primaries(profile)
    except Exception as error:  # as in `as_srgb`
        _say_unused(name, error)
        return pixels
    linear = np.stack([_odd(curve, pixels[..., k % pixels.shape[-1]]) for k, curve in enumerate(curves)], -1)
    darkest = np.concatenate([curve(np.zeros(1)) for curve in curves])
    black = _SRGB[1] @ to_linear_srgb @ darkest  # its luminance, for the compensation of the black point
    found = _odd(_encoded, (linear @ to_linear_srgb.T - black) / (1 - black)).astype(np.float32)
    return found if mode == "RGB" else found[..., :1]


Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

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


def _primaries(profile: bytes) -> tuple[list[Curve], NDArray[np.float64]]:
    """The three curves of a profile, and the matrix from what they give to linear sRGB."""
    count = struct.unpack_from(">I", profile, 128)[0]
    entries = struct.iter_unpack(">4sII", profile[132 : 132 + 12 * count])
    tags = {name: profile[start : start + size] for name, start, size in entries}
    if b"kTRC" in tags:
        return [_curve(tags[b"kTRC"])] * 3, np.eye(3)
    try:
        columns = [_fixed(tags[name], 8, 3) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    except KeyError:
        raise ValueError("it is made of tables, which are applied to 8 bits only") from None
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
