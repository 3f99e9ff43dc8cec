"""Colour profiles (ICC, version 2) made by hand, so that tests know what is in them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

# Primaries in X, Y, Z under D50, red, green and blue.
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))

_D50 = (0.9642, 1.0, 0.8249)


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(exponent: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


def table(values: Iterable[float]) -> bytes:
    levels = [round(value * 65535) for value in values]
    return b"curv" + bytes(4) + struct.pack(f">I{len(levels)}H", len(levels), *levels)


def formula(kind: int, *parameters: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + fixed(*parameters)


SRGB_CURVE = formula(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def rgb_profile(primaries: Sequence[Sequence[float]], curve: bytes) -> bytes:
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(*_D50)}
    for name, colour in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags[name + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*colour)
        tags[name + b"TRC"] = curve
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_profile(curve: bytes) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": b"XYZ " + bytes(4) + fixed(*_D50), b"kTRC": curve})


def cmyk_profile() -> bytes:
    """An imagined press: paper is white, and every ink alone or with others darkens L by a fixed part."""
    return _of_tables(b"prtr", b"CMYK", (0.3, 0.4, 0.1, 1.0), light=1.0)


def rgb_tables_profile() -> bytes:
    """An imagined scanner: L is a weighted sum of red, green and blue, and all colours are grey."""
    return _of_tables(b"scnr", b"RGB ", (0.3, 0.6, 0.1), light=0.0)


def _of_tables(kind: bytes, space: bytes, parts: Sequence[float], light: float) -> bytes:
    """Each channel adds its part to no light, or takes its part of light that is there."""
    corners, count = bytearray(), len(parts)
    for corner in range(2**count):
        on = [part for k, part in enumerate(parts) if corner >> (count - 1 - k) & 1]
        corners += bytes((round(255 * (math.prod(1 - part for part in on) if light else sum(on))), 128, 128))
    ramp = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes((count, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut = head + count * ramp + bytes(corners) + 3 * ramp
    return _profile(kind, space, b"Lab ", {b"A2B0": lut, b"A2B1": lut})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {b"desc": _text(b"desc"), b"cprt": b"text" + bytes(4) + b"none\0", **tags}
    start = 132 + 12 * len(tags)
    entries, data = b"", b""
    for name, tag in tags.items():
        entries += name + struct.pack(">II", start + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    size = struct.pack(">I", start + len(data))
    head = size + bytes(4) + bytes((2, 0x40, 0, 0)) + kind + space + connection
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(*_D50)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + entries + data


def _text(text: bytes) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(1 + 4 + 4 + 2 + 1 + 67)
