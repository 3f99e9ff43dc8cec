"""What Pillow reads: every mode, frames, depths beyond 8 bits, and files that are no pictures."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sobolevflow.errors import AssumptionWarning, ImageError, InputError
from sobolevflow.pictures import read_image, read_planes
from sobolevflow.pictures.by_pillow import bits_of, opened, raster_of
from sobolevflow.pictures.sixteen_bits import encode_png


@pytest.fixture
def rgba(rng: np.random.Generator) -> np.ndarray:
    pixels = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    pixels[..., 3] |= 1  # nothing is so transparent that its colour is lost
    return pixels


# By the mode: how many planes it has, and whether there is alpha.
MODES = {
    "1": (1, False), "L": (1, False), "LA": (1, True), "La": (1, True), "P": (3, False), "PA": (3, True),
    "RGB": (3, False), "RGBA": (3, True), "RGBa": (3, True), "RGBX": (3, False), "CMYK": (3, False),
    "YCbCr": (3, False), "LAB": (3, False), "HSV": (3, False),
    "I": (1, False), "F": (1, False), "I;16": (1, False), "I;16B": (1, False), "I;16L": (1, False),
    "I;16N": (1, False),
}  # fmt: skip


def in_mode(mode: str, rgba: np.ndarray) -> Image.Image:
    picture = Image.fromarray(rgba)
    grey = Image.fromarray(rgba[..., 0])
    if mode == "La":
        return picture.convert("LA").convert("La")
    if mode == "PA":
        return picture.convert("RGB").quantize(8).convert("PA")
    if mode in ("RGBA", "RGBa", "LA"):
        return picture.convert(mode)
    if mode.startswith(("I", "F")):
        return grey.convert(mode if mode in ("I", "F") else "I;16").convert(mode)
    return (grey if mode in ("1", "L") else picture.convert("RGB")).convert(mode)


def test_all_modes_of_pillow_are_known() -> None:
    assert set(Image.MODES) <= set(MODES)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::sobolevflow.errors.AssumptionWarning")
def test_every_mode_has_the_planes_that_it_shows(mode: str, rgba: np.ndarray) -> None:
    try:
        picture = in_mode(mode, rgba)
    except ValueError:
        pytest.skip(f"this Pillow makes no picture of mode {mode}")
    planes, has_alpha = MODES[mode]
    found = raster_of(picture, "'a'")
    assert found.values.shape == (9, 11, planes)
    assert (found.alpha is not None) == has_alpha
    if mode.startswith(("I", "F")):
        np.testing.assert_array_equal(found.values[..., 0], rgba[..., 0])
        return
    picture = picture.convert("LA") if mode == "La" else picture
    shown = picture.convert("RGBA" if has_alpha else "RGB")
    expected = np.asarray(shown)[..., :planes]
    np.testing.assert_array_equal(found.values * (255 if mode == "1" else 1), expected)


@pytest.mark.parametrize(
    ("mode", "ending"), [("CMYK", "tif"), ("CMYK", "jpg"), ("YCbCr", "jpg"), ("LAB", "tif")]
)
@pytest.mark.filterwarnings("ignore::sobolevflow.errors.AssumptionWarning")
def test_modes_out_of_files(tmp_path: Path, mode: str, ending: str) -> None:
    flat = Image.new("RGB", (16, 16), (40, 120, 200)).convert(mode)
    path = tmp_path / f"a.{ending}"
    flat.save(path)
    np.testing.assert_allclose(
        read_image(path)[:, 8, 8] * 255, [40, 120, 200], atol=4 if mode == "LAB" else 2
    )


def test_cmyk_of_a_jpeg_is_not_inverted(tmp_path: Path) -> None:
    """Adobe's JPEG files hold the inks inverted; paper is white all the same."""
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:, 8:, 3] = 255
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100)
    assert b"Adobe" in (tmp_path / "a.jpg").read_bytes()
    with pytest.warns(AssumptionWarning, match="CMYK without a colour profile"):
        found = read_image(tmp_path / "a.jpg")
    assert found[:, :, :8].min() > 0.98
    assert found[:, :, 8:].max() < 0.02


def test_premultiplied_colours_are_divided(rgba: np.ndarray) -> None:
    flat = np.broadcast_to(np.array([200, 100, 40, 0], np.uint8), (1, 256, 4)).copy()
    flat[0, :, 3] = np.arange(256)
    found = raster_of(Image.fromarray(flat).convert("RGBa"), "'a'")
    np.testing.assert_allclose(found.values[0, 128:], flat[0, 128:, :3], atol=2)


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_png_of_16_bits_keeps_all_of_them(tmp_path: Path, rng: np.random.Generator, planes: int) -> None:
    pixels = rng.integers(0, 65536, (9, 11, planes), dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(pixels))
    found = read_planes(path)
    alpha = 1 if planes in (2, 4) else 0
    np.testing.assert_array_equal(
        np.rint(found.values * 65535), pixels[..., : planes - alpha].transpose(2, 0, 1)
    )
    assert found.bits == 16
    assert (found.alpha is not None) == bool(alpha)
    if found.alpha is not None:
        np.testing.assert_array_equal(np.rint(found.alpha * 65535), pixels[..., -1])
    opened = np.asarray(Image.open(path).convert("RGBA" if alpha else "RGB"))
    if planes in (3, 4):
        np.testing.assert_array_equal(opened, pixels >> 8)  # Pillow alone sees the same picture, in 8 bits


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of 16 bits with chunks behind its header."""
    whole = encode_png(pixels)
    return whole[:33] + b"".join(chunk(*each) for each in chunks) + whole[33:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_colour_that_stands_for_transparent_in_16_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    pixels[2, 3] = pixels[4, 5] = 1000, 2000, 3000
    pixels[0, 0] = 1000, 2000, 3001  # another colour, by its low byte alone
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, (b"tRNS", struct.pack(">3H", 1000, 2000, 3000))))
    found = read_planes(path)
    assert found.alpha is not None
    assert sorted(map(tuple, np.argwhere(found.alpha == 0))) == [(2, 3), (4, 5)]


def test_png_of_16_bits_is_turned_upright(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, (b"eXIf", exif.tobytes()[6:])))
    found = np.rint(read_image(path) * 65535).transpose(1, 2, 0)
    np.testing.assert_array_equal(found, np.rot90(pixels, -1))


@pytest.mark.parametrize("planes", [1, 3])
def test_significant_bits_are_the_range_of_values_that_were_not_scaled(tmp_path: Path, planes: int) -> None:
    values = np.linspace(0, 4095, 99 * planes).astype(np.uint16).reshape(9, 11, planes)
    path = tmp_path / "a.png"
    for pixels, white in ((values, 4095), (values << 4, 65535)):  # against the standard, and by it
        path.write_bytes(png(pixels, (b"sBIT", planes * b"\x0c")))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_allclose(read_image(path)[0], pixels[..., 0] / white, atol=1e-6)
    dark = (values >> 4) << 4  # scaled, with no value above those of 12 bits
    path.write_bytes(png(dark, (b"sBIT", planes * b"\x0c")))
    with pytest.warns(AssumptionWarning, match="no value above 4080; 65535 was taken"):
        np.testing.assert_allclose(read_image(path)[0], dark[..., 0] / 65535, atol=1e-6)


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_frames_of_an_animation(tmp_path: Path, ending: str) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    first, *rest = (Image.new("RGB", (16, 16), colour) for colour in colours)
    path = tmp_path / f"a.{ending}"
    how: Any = {"lossless": True} if ending == "webp" else {}
    first.save(path, save_all=True, append_images=rest, **how)
    for k, colour in enumerate(colours):
        np.testing.assert_allclose(read_image(path, page=k)[:, 8, 8] * 255, colour, atol=1)
    with pytest.warns(AssumptionWarning, match="page 0 of the 3 pages"):
        np.testing.assert_allclose(read_image(path)[:, 8, 8] * 255, colours[0], atol=1)
    with pytest.raises(InputError, match=r"3 pages, from 0 to 2"):
        read_image(path, page=3)


def test_sizes_of_an_icon(tmp_path: Path) -> None:
    path = tmp_path / "a.ico"
    Image.new("RGB", (64, 64), (9, 99, 199)).save(path, sizes=[(16, 16), (32, 32), (64, 64)])
    with pytest.warns(AssumptionWarning, match="page 0 of the 3 pages"):
        assert read_image(path).shape == (3, 64, 64)
    assert [read_image(path, page=k).shape[1] for k in range(3)] == [64, 32, 16]


def test_further_pictures_of_a_phone_are_parts_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    first, second = (Image.new("RGB", (16, 16), (level,) * 3) for level in (50, 200))
    first.save(path, "MPO", save_all=True, append_images=[second])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path)[0, 0, 0] * 255 == pytest.approx(50, abs=1)
    assert read_image(path, page=1)[0, 0, 0] * 255 == pytest.approx(200, abs=1)


def test_layers_are_no_pages(tmp_path: Path) -> None:
    """Pillow numbers layers from 1, and gives the whole picture for the first of them."""
    side, layers = 4, b""
    for _ in range(2):
        layers += struct.pack(">4iHhI", 0, 0, side, side, 1, 0, 2 + side * side)
        layers += b"8BIMnorm" + bytes((255, 0, 0, 0)) + struct.pack(">I", 0)
    for level in (50, 100):
        layers += bytes(2) + bytes([level]) * side * side
    layers = struct.pack(">h", 2) + layers
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, side, side, 8, 1) + bytes(8)
    sections = struct.pack(">II", len(layers) + 4, len(layers)) + layers
    path = tmp_path / "a.psd"
    path.write_bytes(head + sections + bytes(2) + bytes([200]) * side * side)
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == 2
    for page in (None, 0):
        np.testing.assert_allclose(read_planes(path, page=page).values * 255, 200)
    with pytest.raises(InputError, match="there is only page 0"):
        read_image(path, page=1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_that_stands_for_transparent(tmp_path: Path, bits: int) -> None:
    """As optimisers of PNG files write it; Pillow compares it with levels that are spread over 8 bits."""
    levels = np.arange(16, dtype=np.uint8).reshape(2, 8) & (2**bits - 1)
    rows = np.packbits(np.unpackbits(levels[..., None], axis=-1)[..., 8 - bits :].reshape(2, -1), axis=-1)
    head = struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    path = tmp_path / "a.png"
    chunks = ((b"IHDR", head), (b"tRNS", struct.pack(">H", 1)), (b"IDAT", data), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))
    found = read_planes(path)
    np.testing.assert_allclose(found.values[0], levels / (2**bits - 1), atol=1e-6)
    assert found.alpha is not None
    np.testing.assert_array_equal(found.alpha, levels != 1)


@pytest.mark.parametrize("page", [-1, 1.5, True, "0"])
def test_impossible_page(tmp_path: Path, page: Any) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"page is .*; it must be a whole number of at least 0"):
        read_image(tmp_path / "a.png", page=page)
    with pytest.raises(InputError, match="there is only page 0"):
        read_image(tmp_path / "a.png", page=1)


def test_16bits_of_netpbm(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 99).astype(">u2").reshape(9, 11)
    grey, colour = tmp_path / "a.pgm", tmp_path / "a.ppm"
    grey.write_bytes(b"P5 11 9 65535\n" + values.tobytes())
    colour.write_bytes(b"P6 11 9 65535\n" + np.repeat(values[..., None], 3, -1).tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_image(grey)[0], values / 65535, atol=1e-6)
    with pytest.warns(AssumptionWarning, match="more than 8 bits a channel and was read with 8"):
        np.testing.assert_allclose(read_image(colour)[0], values / 65535, atol=1 / 255)


@pytest.mark.parametrize("pixels", [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)])
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "tif", "gif", "ppm", "jp2", "avif"])
def test_ordinary_files_of_8_bits_are_nothing_to_warn_of(
    tmp_path: Path, pixels: np.ndarray, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    try:
        Image.fromarray(pixels).save(path)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"this Pillow writes no {ending}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_image(path), 0, atol=0.01)


def test_16bits_of_jpeg_2000_are_said_to_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    Image.new("RGB", (16, 16)).save(path)
    content = bytearray(path.read_bytes())
    start = content.find(b"\xff\x51") + 40
    content[start : start + 9 : 3] = b"\x0f\x0f\x0f"  # 16 bits each
    path.write_bytes(content)
    with opened(path) as picture:
        assert bits_of(picture, path) == 16


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    """In a process of its own, which is killed if it waits for the other end of the pipe."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes on this system")
    os.mkfifo(tmp_path / "pipe.png")
    code = (
        "import sys\nfrom sobolevflow.errors import ImageError\nfrom sobolevflow.pictures import read_image\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_image(path)\n"
        "    except ImageError as error: print(error)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "pipe.png"), "/dev/zero", os.devnull]
    said = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.count("is no regular file") == 3


def test_folders_and_empty_files_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty.tif").write_bytes(b"")
    with pytest.raises(ImageError, match="is not a picture"):
        read_image(tmp_path / "empty.tif")
    with pytest.raises(ImageError, match="is a folder"):
        read_planes(tmp_path)


def test_an_ordinary_picture_loads_no_library_beside_pillow(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg")
    code = (
        "import sys, sobolevflow as sf\nsf.read_image(sys.argv[1])\n"
        "print(*({'tifffile', 'PIL.ImageCms', 'scipy', 'numba'} & sys.modules.keys()))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.jpg")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.split() == []
