"""Files of pictures, arrays, labels and pre-processing, and mutants of them, each from a seed."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageCms, features

from sobolevflow.pictures.sixteen_bits import encode_png

PICTURE, LABELS, PREPROCESS = "picture", "labels", "preprocess"

# From a name, whose beginning up to a space is an ending, to what is read in it, and its bytes.
Originals = dict[str, tuple[str, bytes]]

_SIZE = (23, 17)

_TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bigtiff": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "tiled": {"tile": (16, 16)},
    "deflate": {"compression": "zlib", "predictor": True},
    "lzma": {"compression": "lzma"},
    "strips": {"rowsperstrip": 5},
    "described": {"description": "a picture", "extratags": [(65000, 2, 8, "another", True)]},
}

_TEXTS: dict[str, tuple[str, str]] = {
    ".txt lines": (LABELS, "tench\ngoldfish\nwhite shark\n"),
    ".txt numbered": (LABELS, "0: tench\n1: goldfish\n2: white shark\n"),
    ".txt synsets": (LABELS, "n01440764 tench, Tinca tinca\nn01443537 goldfish\n"),
    ".csv table": (LABELS, 'index,name,wnid\n0,"tench, a fish",n01440764\n1,goldfish,n01443537\n'),
    ".json mapping": (LABELS, json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]})),
    ".json config": (LABELS, json.dumps({"model": {"id2label": {"0": "tench", "1": "goldfish"}}})),
    ".yaml names": (LABELS, "path: x\nnames:\n  0: tench\n  1: goldfish\nnc: 2\n"),
    ".yaml aliases": (LABELS, "a: &a [x, y]\nb: &b [*a, *a]\nnames: [*b, *b]\n"),
    ".toml names": (LABELS, '[model]\nnames = ["tench", "goldfish"]\n'),
    ".pbtxt items": (
        LABELS,
        "item {\n id: 1\n name: 'tench'\n}\nitem {\n id: 2\n name: 'a\\303\\237'\n}\n",
    ),
    ".py literal": (LABELS, "{0: 'tench', 1: 'goldfish'}"),
    ".json preprocess": (
        PREPROCESS,
        json.dumps({"scale": 255.0, "mean": [103.9, 116.7, 123.6], "std": [1, 1, 1], "order": "bgr"}),
    ),
    ".json hugging face": (
        PREPROCESS,
        json.dumps(
            {"do_rescale": True, "rescale_factor": 0.0039, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        ),
    ),
}


@cache
def originals() -> Originals:
    """All files that mutants are made of, as this machine's libraries write them."""
    rng = np.random.default_rng(0)
    arrays = _arrays(rng)
    found = {name: (of, text.encode()) for name, (of, text) in _TEXTS.items()}
    return found | {name: (PICTURE, data) for name, data in (_pictures(rng) | _tiffs(rng) | arrays).items()}


def _pictures(rng: np.random.Generator) -> dict[str, bytes]:
    noise = rng.integers(0, 256, (*_SIZE, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    modes = {mode: rgba.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")}
    grey_16 = Image.fromarray(rng.integers(0, 65536, _SIZE, dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb, frames = modes["RGB"], [modes["P"], modes["P"].rotate(180)]
    asked: list[tuple[str, Image.Image, dict[str, Any]]] = [
        *((f".png {mode}", modes[mode], {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        (".png transparent palette", modes["P"], {"transparency": bytes(range(256))}),
        (".png transparent grey", modes["L"], {"transparency": 7}),
        (".png 16", grey_16, {}),
        (".png profile", rgb, {"icc_profile": profile, "exif": exif}),
        (".png frames", rgb, {"save_all": True, "append_images": [rgb.rotate(180)]}),
        *((f".jpg {mode}", modes[mode], {}) for mode in ("L", "RGB", "CMYK")),
        (".jpg progressive", rgb, {"progressive": True, "exif": exif, "icc_profile": profile}),
        (".webp lossy", rgb, {}),
        (".webp lossless", rgba, {"lossless": True, "exif": exif}),
        (".webp frames", rgb, {"save_all": True, "append_images": [rgb.rotate(180)]}),
        (".gif", modes["P"], {}),
        (".gif frames", frames[0], {"save_all": True, "append_images": frames[1:], "transparency": 3}),
        *((f".bmp {mode}", modes[mode], {}) for mode in ("1", "L", "P", "RGB")),
        (".ico", rgba, {"sizes": [(8, 8), (16, 16)]}),
        (".icns", rgba.resize((32, 32)), {}),
        *((f".ppm {mode}", modes[mode], {}) for mode in ("1", "L", "RGB")),
        (".ppm 16", grey_16, {}),
        (".pfm", Image.fromarray(rng.random(_SIZE, dtype=np.float32)), {}),
        (".tga", rgba, {"compression": "tga_rle"}),
        (".pcx", rgb, {}),
        (".sgi", rgb, {}),
        (".im", rgb, {}),
        (".xbm", modes["1"], {}),
        (".msp", modes["1"], {}),
        (".qoi", rgb, {}),
        (".blp", modes["P"], {}),
        (".dds", rgba, {}),
        *((f".dds DXT{n}", rgba.resize((16, 16)), {"pixel_format": f"DXT{n}"}) for n in (1, 3, 5)),
        *((f".tif {kind}", rgb, {"compression": kind}) for kind in ("raw", "tiff_lzw", "packbits", "jpeg")),
        (".tif group4", modes["1"], {"compression": "group4"}),
        (".tif cmyk", modes["CMYK"], {}),
        (".tif palette", modes["P"], {"icc_profile": profile}),
    ]
    if features.check("jpg_2000"):
        asked += [(".jp2", rgb, {}), (".j2k", rgba, {"irreversible": True})]
    if features.check("avif"):
        asked += [(".avif", rgb, {}), (".avif frames", rgba, {"save_all": True, "append_images": [rgba]})]
    found = {name: _saved(picture, name, how) for name, picture, how in asked}
    deep = rng.integers(0, 65536, (*_SIZE, 4), dtype=np.uint16)
    return found | {f".png 16 bits {n}": encode_png(deep[..., :n]) for n in (2, 3, 4)}


def _saved(picture: Image.Image, name: str, how: dict[str, Any]) -> bytes:
    Image.init()
    buffer = io.BytesIO()
    picture.save(buffer, Image.EXTENSION[name.split()[0]], **how)
    return buffer.getvalue()


def _tiffs(rng: np.random.Generator) -> dict[str, bytes]:
    colours = rng.integers(0, 256, (*_SIZE, 3), dtype=np.uint8)
    found = {f".tif {name}": _tiff(colours, photometric="rgb", **how) for name, how in _TIFFS.items()}
    for dtype in ("u2", "u4", "i2", "f4", "f8"):
        found[f".tif {dtype}"] = _tiff((rng.random(_SIZE) * 200).astype(dtype))
    planes = rng.integers(0, 256, (5, *_SIZE), dtype=np.uint16)
    found[".tif planar"] = _tiff(planes[:3], photometric="rgb", planarconfig="separate")
    found[".tif planes"] = _tiff(planes, photometric="minisblack", planarconfig="separate")
    found[".tif pages"] = _tiff(planes, photometric="minisblack")
    found[".tif imagej"] = _tiff(planes, imagej=True)
    found[".tif white"] = _tiff(colours[..., 0], photometric="miniswhite")
    alpha = np.dstack([colours, colours[..., :1]])
    found[".tif alpha"] = _tiff(alpha, photometric="rgb", extrasamples=["assocalpha"])
    return found


def _tiff(array: np.ndarray, **how: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **how)
    return buffer.getvalue()


def _arrays(rng: np.random.Generator) -> dict[str, bytes]:
    pictures = {kind: (rng.random((3, *_SIZE)) * 200).astype(kind) for kind in ("f4", "u1", "i8", "?", ">f8")}
    found = {f".npy {kind}": _written(np.save, array) for kind, array in pictures.items()}
    found[".npy batch"] = _written(np.save, np.asfortranarray(rng.random((2, *_SIZE, 3))))
    found[".npz"] = _written(np.savez, pictures["f4"])
    found[".npz compressed"] = _written(np.savez_compressed, pictures["u1"])
    return found


def _written(save: Callable[..., None], array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    save(buffer, array)
    return buffer.getvalue()


# --- mutants ----------------------------------------------------------------------------------------

_EXTREMES = (0, 1, 2, 127, 128, 255, 2**15 - 1, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)


def mutant(seed: int) -> tuple[str, str, str, bytes]:
    """Name of the original, what is to be read, ending, and content of the mutant of a seed."""
    rng = random.Random(seed)
    known = originals()
    name = rng.choice(sorted(known))
    of, data = known[name]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_WAYS)(rng, data, known[rng.choice(sorted(known))][1])
    if data.startswith(b"\x89PNG") and rng.random() < 0.8:
        data = _with_sums(data)
    endings = sorted({each.split()[0] for each in known})
    ending = rng.choice(endings) if rng.random() < 0.05 else name.split()[0]
    return name, of, ending, data


def _with_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    found = bytearray(data or bytes(1))
    for _ in range(rng.choice((1, 2, 5, 20))):
        found[_place(rng, found)] = rng.randrange(256)
    return bytes(found)


def _with_extremes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """With numbers of a header, of any length and order, that are as large or as small as can be."""
    width = rng.choice((1, 2, 4, 4, 8))
    number: int = rng.choice(_EXTREMES) % (1 << 8 * width)
    at = min(_place(rng, data), max(0, len(data) - width))
    return data[:at] + number.to_bytes(width, rng.choice(("little", "big"))) + data[at + width :]


def _cut(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _longer(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data + rng.choice((other, data, bytes(rng.randrange(5000)), rng.randbytes(100)))


def _swapped(rng: random.Random, data: bytes, other: bytes) -> bytes:
    a, b, c = sorted(rng.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _without(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 12, 100)) :]


def _repeated(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, length = _place(rng, data), rng.choice((1, 4, 12, 64, 500))
    return data[:at] + data[at : at + length] * rng.choice((2, 3, 100)) + data[at:]


def _spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    at, start = _place(rng, data), rng.randrange(len(other) + 1)
    length = rng.choice((4, 16, 200))
    return data[:at] + other[start : start + length] + data[at + length :]


_WAYS = (
    *(_with_bytes, _with_bytes, _with_extremes, _with_extremes, _with_extremes),
    *(_cut, _longer, _swapped, _without, _repeated, _spliced),
)


def _place(rng: random.Random, data: bytes | bytearray) -> int:
    """A place in data, of which more than half are in its head."""
    return rng.randrange(max(1, min(len(data), rng.choice((64, 256, len(data), len(data))))))


def _with_sums(data: bytes) -> bytes:
    """A PNG file whose chunks have the sums that they should have, as far as there are chunks."""
    parts, at = [data[:8]], 8
    while len(data) - at >= 12:
        length = struct.unpack_from(">I", data, at)[0]
        if length > len(data) - at - 12:
            break
        body = data[at + 4 : at + 8 + length]
        parts.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts) + data[at:]
