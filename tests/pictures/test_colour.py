"""Colour profiles: two ways to sRGB, LittleCMS's and the one for 16 bits, that check each other."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from sobolevflow.errors import AssumptionWarning
from sobolevflow.pictures import read_image, read_planes
from sobolevflow.pictures.colour import values_as_srgb
from sobolevflow.pictures.sixteen_bits import encode_png
from tests.support.profiles import (
    ADOBE_RGB,
    P3,
    SRGB,
    SRGB_CURVE,
    cmyk_profile,
    formula,
    gamma,
    grey_profile,
    rgb_profile,
    rgb_tables_profile,
    table,
)

WIDE = {
    "Adobe RGB": rgb_profile(ADOBE_RGB, gamma(2.19921875)),
    "P3": rgb_profile(P3, SRGB_CURVE),
    "linear": rgb_profile(P3, gamma(1)),
    "table": rgb_profile(ADOBE_RGB, table(np.linspace(0, 1, 1024) ** 1.8)),
    "formula 0": rgb_profile(P3, formula(0, 1.8)),
    "formula 1": rgb_profile(P3, formula(1, 2.0, 1.05, -0.05)),
    "formula 2": rgb_profile(P3, formula(2, 2.0, 1.05, -0.05, 0.0)),
    "formula 4": rgb_profile(P3, formula(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0)),
}
GREY = {
    "gamma 1.8": grey_profile(gamma(1.8)),
    "gamma 2.2": grey_profile(gamma(2.2)),
    "linear": grey_profile(gamma(1)),
    "dot gain": grey_profile(table(np.linspace(0, 1, 256) ** 1.6)),
}
IS_SRGB = {
    "by hand": rgb_profile(SRGB, SRGB_CURVE),
    "LittleCMS": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
}


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def without_warning(path: Path, read: Any = read_image, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(path, **how)


@pytest.mark.parametrize("name", WIDE)
def test_8_and_16_bits_become_the_same_colours(tmp_path: Path, pixels: np.ndarray, name: str) -> None:
    profile = WIDE[name]
    Image.fromarray(pixels).save(tmp_path / "8.png", icc_profile=profile)
    tifffile.imwrite(
        tmp_path / "16.tif", pixels.astype(np.uint16) * 257, photometric="rgb", iccprofile=profile
    )
    shallow = without_warning(tmp_path / "8.png")
    deep = without_warning(tmp_path / "16.tif")
    np.testing.assert_allclose(deep, shallow, atol=1.01 / 255)
    assert abs(shallow - pixels.transpose(2, 0, 1) / 255).max() > 20 / 255


def test_adobes_green_is_beyond_srgb_and_its_greys_are_the_same(tmp_path: Path) -> None:
    """Values of the conversion by the matrices of the two spaces, IEC 61966-2-1 and Adobe RGB (1998)."""
    colours = np.array([[[0, 255, 0], [128, 128, 128], [200, 100, 50]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=WIDE["Adobe RGB"])
    green, grey, brown = without_warning(tmp_path / "a.png")[:, 0].T * 255
    np.testing.assert_allclose(green, [0, 255, 0], atol=2)
    np.testing.assert_allclose(grey, [128, 128, 128], atol=1)
    linear = (np.array([200, 100, 50]) / 255) ** 2.19921875
    to_srgb = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]])
    expected = 1.055 * (to_srgb @ linear) ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(brown, 255 * expected, atol=1)


def test_a_black_that_is_raised_becomes_black(pixels: np.ndarray) -> None:
    profile = rgb_profile(P3, formula(2, 2.0, 0.95, -0.05, 0.1))
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
    relative = ImageCms.Intent.RELATIVE_COLORIMETRIC
    to_srgb = ImageCms.buildTransform(
        ImageCms.getOpenProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        relative,
        flags,
    )
    expected: Any = ImageCms.applyTransform(Image.fromarray(pixels), to_srgb)
    found = values_as_srgb((pixels / 255).astype(np.float32), profile, "'a'").clip(0, 1)
    np.testing.assert_allclose(found, np.asarray(expected) / 255, atol=1.01 / 255)
    black = values_as_srgb(np.zeros((1, 1, 3), np.float32), profile, "'a'")
    np.testing.assert_allclose(black, 0, atol=1e-3)


def test_colours_beyond_srgb_stay_unclipped_in_planes_of_16_bits(tmp_path: Path) -> None:
    green = np.zeros((4, 5, 3), np.uint16)
    green[..., 1] = 65535
    tifffile.imwrite(tmp_path / "a.tif", green, photometric="rgb", iccprofile=WIDE["Adobe RGB"])
    assert without_warning(tmp_path / "a.tif", read_planes).values[0].max() < -0.3
    assert without_warning(tmp_path / "a.tif").min() == 0


@pytest.mark.parametrize("name", IS_SRGB)
@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_profile_that_is_srgb_changes_no_byte(
    tmp_path: Path, pixels: np.ndarray, name: str, ending: str
) -> None:
    for colours in (pixels, pixels[..., 0]):
        Image.fromarray(colours).save(tmp_path / f"plain.{ending}")
        Image.fromarray(colours).save(tmp_path / f"with.{ending}", icc_profile=IS_SRGB[name])
        found = without_warning(tmp_path / f"with.{ending}")
        np.testing.assert_array_equal(found, without_warning(tmp_path / f"plain.{ending}"))


@pytest.mark.parametrize("name", GREY)
def test_profiles_of_grey(tmp_path: Path, name: str) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    curve: Any = {
        "gamma 1.8": lambda v: v ** (round(1.8 * 256) / 256),
        "gamma 2.2": lambda v: v ** (round(2.2 * 256) / 256),
        "linear": lambda v: v,
        "dot gain": lambda v: v**1.6,
    }[name]
    linear = curve(levels / 255)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    Image.fromarray(levels).save(tmp_path / "8.png", icc_profile=GREY[name])
    planes = without_warning(tmp_path / "8.png", read_planes)
    assert planes.values.shape == (1, 16, 16)
    np.testing.assert_allclose(planes.values[0], expected, atol=0.6 / 255)
    deep = levels.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "16.tif", deep, photometric="minisblack", iccprofile=GREY[name])
    np.testing.assert_allclose(without_warning(tmp_path / "16.tif")[0], expected, atol=1e-4)
    Image.fromarray(deep).save(tmp_path / "16.png", icc_profile=GREY[name])
    np.testing.assert_allclose(without_warning(tmp_path / "16.png")[0], expected, atol=1e-4)


def test_png_of_16_bits_with_a_profile(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "8.png", icc_profile=WIDE["P3"])
    shallow = (tmp_path / "8.png").read_bytes()
    start = shallow.find(b"iCCP") - 4
    size = int.from_bytes(shallow[start : start + 4], "big") + 12
    whole = encode_png(pixels.astype(np.uint16) * 257)
    (tmp_path / "16.png").write_bytes(whole[:33] + shallow[start : start + size] + whole[33:])
    deep, flat = without_warning(tmp_path / "16.png"), without_warning(tmp_path / "8.png")
    np.testing.assert_allclose(deep, flat, atol=1.01 / 255)


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_inks_by_the_profile_of_the_press(tmp_path: Path, ending: str) -> None:
    """White paper, black ink alone, half the black ink, and cyan, by the press of `cmyk_profile`."""
    inks = np.repeat(
        np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 128], [255, 0, 0, 0]]], np.uint8), 16, axis=1
    )
    inks = np.repeat(inks, 16, axis=0)
    path = tmp_path / f"a.{ending}"
    how: Any = {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    Image.fromarray(inks, "CMYK").save(path, icc_profile=cmyk_profile(), **how)
    found = without_warning(path)[:, 8, 8::16]
    lightness = 100 * np.array([1, 0, 1 - 128 / 255, 0.7])
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    expected = np.where(luminance <= 0.0031308, 12.92 * luminance, 1.055 * luminance ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(found, np.broadcast_to(expected, (3, 4)), atol=2.5 / 255)


@pytest.mark.parametrize("broken", [b"no profile", WIDE["P3"][:200], GREY["linear"]])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_profile_that_cannot_be_used_is_said(
    tmp_path: Path, pixels: np.ndarray, broken: bytes, dtype: Any
) -> None:
    white = np.iinfo(dtype).max
    colours = pixels.astype(dtype) * dtype(white // 255)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", iccprofile=broken)
    with pytest.warns(AssumptionWarning, match="colour profile of .* cannot be used") as said:
        found = read_image(tmp_path / "a.tif")
    assert len(said) == 1
    np.testing.assert_allclose(found, colours.transpose(2, 0, 1) / white, atol=1e-6)


def test_inks_with_a_broken_profile_are_said_once(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8)).save(tmp_path / "a.tif", icc_profile=b"no profile")
    with pytest.warns(AssumptionWarning, match="cannot be used") as said:
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.ones((3, 8, 8)))
    assert len(said) == 1


@pytest.mark.parametrize("read", [read_image, read_planes])
def test_a_profile_of_tables_is_applied_to_16_bits_as_to_8(
    tmp_path: Path, pixels: np.ndarray, read: Any
) -> None:
    profile = rgb_tables_profile()
    Image.fromarray(pixels).save(tmp_path / "8.tif", icc_profile=profile)
    deep = pixels.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "16.tif", deep, photometric="rgb", iccprofile=profile)
    expected = without_warning(tmp_path / "8.tif", read)
    with pytest.warns(AssumptionWarning, match="made of tables.* read with 8 bits") as said:
        found = read(tmp_path / "16.tif")
    assert len(said) == 1
    both = (each if read is read_image else each.values for each in (found, expected))
    np.testing.assert_array_equal(*both)
    lightness = pixels[0, 0] @ np.array([30, 60, 10]) / 255
    luminance = ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3
    grey = 12.92 * luminance if luminance <= 0.0031308 else 1.055 * luminance ** (1 / 2.4) - 0.055
    shown = found if read is read_image else found.values
    np.testing.assert_allclose(shown[:, 0, 0], grey, atol=2.5 / 255)


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ({b"gAMA": (100000,)}, "gamma 1;"),
        ({b"gAMA": (45455,)}, None),
        ({b"gAMA": (100000,), b"sRGB": b"\0"}, None),
        ({b"cICP": b"\x09\x10\0\1"}, "cICP 9/16;"),
        ({b"cICP": b"\x0c\x0d\0\1", b"sRGB": b"\0"}, "cICP 12/13;"),
        ({b"cICP": b"\x01\x0d\0\1", b"gAMA": (100000,)}, None),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_another_space_that_a_png_file_names_is_said(
    tmp_path: Path, pixels: np.ndarray, chunks: dict[bytes, Any], said: str | None, dtype: Any
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    deep = encode_png(pixels.astype(np.uint16) * 257)
    plain = (tmp_path / "a.png").read_bytes() if dtype == np.uint8 else deep
    more = b""
    for kind, data in chunks.items():
        stored = data if isinstance(data, bytes) else data[0].to_bytes(4, "big")
        checked = kind + stored
        more += len(stored).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(plain[:33] + more + plain[33:])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(found, pixels.transpose(2, 0, 1) / 255, atol=1e-6)
    messages = [str(each.message) for each in caught]
    assert len(messages) == (said is not None)
    assert said is None or said in messages[0]


@pytest.mark.parametrize(("index", "is_said"), [("R03", True), ("R98", False)])
@pytest.mark.parametrize("profile", [None, WIDE["Adobe RGB"]])
def test_a_camera_that_means_adobe_rgb_without_a_profile_is_said(
    tmp_path: Path, index: str, is_said: bool, profile: bytes | None
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: index}
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif, icc_profile=profile)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(tmp_path / "a.jpg")
    assert ["Adobe RGB; its colours were read as sRGB" in str(each.message) for each in caught] == (
        [True] if is_said and profile is None else []
    )
