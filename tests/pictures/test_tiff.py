"""TIFF files as scanners, microscopes and satellites write them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from sobolevflow.errors import AssumptionWarning, ImageError, InputError
from sobolevflow.pictures import read_image, read_planes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"


@pytest.fixture
def deep(rng: np.random.Generator) -> np.ndarray:
    """A picture (H, W, 3) of 16 bits."""
    return rng.integers(0, 65536, (13, 17, 3), dtype=np.uint16)


def levels(path: Path, **how: Any) -> np.ndarray:
    """Without a warning, the planes of a file of 16 bits in its numbers, (H, W, C)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_planes(path, **how)
    assert found.bits == 16
    return np.rint(found.values * 65535).astype(int).transpose(1, 2, 0)


@pytest.mark.parametrize("compression", [None, "zlib", "lzma"])
@pytest.mark.parametrize("how", [{}, {"tile": (16, 16)}, {"byteorder": ">"}, {"rowsperstrip": 4}])
@pytest.mark.parametrize("separate", [False, True])
def test_colours_of_16_bits_keep_all_of_them(
    path: Path, deep: np.ndarray, compression: Any, how: Any, separate: bool
) -> None:
    data = deep.transpose(2, 0, 1) if separate else deep
    config: Any = "separate" if separate else "contig"
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=config, compression=compression, **how)
    np.testing.assert_array_equal(levels(path), deep)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_either_byte_order_and_size_of_offsets(path: Path, dtype: str, order: Any, big: bool) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    values = (np.linspace(0, 1, 221).reshape(13, 17) * white).astype(dtype)
    tifffile.imwrite(path, values, photometric="minisblack", byteorder=order, bigtiff=big)
    np.testing.assert_allclose(read_image(path)[0], values / white, atol=1e-6)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_deflate", "zstd"])
@pytest.mark.parametrize("dtype", ["u2", "i4", "f4"])
def test_compressions_that_need_a_codec_are_read_by_pillow(path: Path, compression: str, dtype: str) -> None:
    values = (np.linspace(0, 1, 221).reshape(13, 17) * (1 if dtype == "f4" else 65535)).astype(dtype)
    try:
        Image.fromarray(values).save(path, compression=compression)
    except OSError:
        pytest.skip(f"this Pillow writes no {compression}")
    white = 1 if dtype == "f4" else 65535
    found = read_planes(path, range=(0, white))
    np.testing.assert_allclose(found.values[0], values / white, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_compressed_colours_of_16_bits_keep_all_of_them(
    path: Path, deep: np.ndarray, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of LZW, which tifffile cannot read alone: both bytes are unpacked by Pillow."""
    how: Any = {"compression": "zlib", "byteorder": order}
    tifffile.imwrite(path, deep, photometric="rgb", **how)

    def without_codec(*_: object, **__: object) -> None:
        raise ValueError("requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", without_codec)
    np.testing.assert_array_equal(levels(path), deep)
    rgba = np.concatenate([deep, deep[..., :1]], axis=-1)
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"], **how)
    np.testing.assert_array_equal(levels(path), deep)
    tifffile.imwrite(
        path, rgba.transpose(2, 0, 1)[:2].astype("f4"), photometric="minisblack", planarconfig="separate"
    )
    with pytest.raises(ImageError, match=r"compressed by NONE.*pip install imagecodecs"):
        read_planes(path)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i2", "<u4", "<i4"])
def test_compressed_integers_keep_their_type(
    path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    order: Any = dtype[0]
    info: Any = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, (13, 17), dtype=dtype[1:], endpoint=True)
    tifffile.imwrite(path, values, photometric="minisblack", compression="zlib", byteorder=order)
    expected = read_planes(path, range="auto")

    def without_codec(*_: object, **__: object) -> None:
        raise NotImplementedError("requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", without_codec)
    found = read_planes(path, range="auto")
    assert found.range == expected.range == (values.min(), values.max())
    np.testing.assert_array_equal(found.values, expected.values)


@pytest.mark.parametrize("dtype", ["i2", "u4", "i4", "f4"])
def test_what_pillow_would_read_with_its_bytes_swapped_is_refused(path: Path, dtype: str) -> None:
    """LZW with the high byte first; the compression is only stated, as nothing here writes it."""
    tifffile.imwrite(path, np.ones((13, 17), dtype), photometric="minisblack", byteorder=">")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["Compression"].overwrite(5)  # type: ignore[union-attr]
    with pytest.raises(ImageError, match=r"compressed by LZW.*pip install imagecodecs"):
        read_planes(path)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("planes", [2, 5])
@pytest.mark.parametrize("separate", [False, True])
def test_any_number_of_planes_is_read_to_be_filtered(
    path: Path, rng: np.random.Generator, dtype: str, planes: int, separate: bool
) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    bands = (rng.random((planes, 13, 17)) * white).astype(dtype)
    data, config = (bands, "separate") if separate else (bands.transpose(1, 2, 0), "contig")
    tifffile.imwrite(path, data, photometric="minisblack", planarconfig=config)
    np.testing.assert_allclose(read_planes(path).values, bands / white, atol=1e-6)
    with pytest.raises(ImageError, match=f"has {planes} planes, which are no colours"):
        read_image(path)


def test_a_plane_beside_the_colours_is_kept_to_be_filtered_and_left_out_of_pictures(
    path: Path, rng: np.random.Generator
) -> None:
    infrared = rng.integers(0, 256, (13, 17, 4), dtype=np.uint8)
    tifffile.imwrite(path, infrared, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_allclose(read_planes(path).values, infrared.transpose(2, 0, 1) / 255, atol=1e-6)
    with pytest.warns(AssumptionWarning, match="4 planes, and only the 3 of its colours"):
        found = read_image(path)
    np.testing.assert_allclose(found, infrared[..., :3].transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_alpha_is_kept_apart_and_divided_out(path: Path, dtype: str, colours: int, kind: str) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    alpha = np.linspace(0, 1, 221).reshape(13, 17)
    colour = np.broadcast_to(np.array([0.8, 0.4, 0.2])[:colours], (13, 17, colours))
    stored = colour * alpha[..., None] if kind == "assocalpha" else colour
    data = np.concatenate([stored, alpha[..., None]], axis=-1) * white
    data = data.astype(dtype) if dtype == "f4" else np.rint(data).astype(dtype)
    names: Any = [kind]
    photometric: Any = "rgb" if colours == 3 else "minisblack"
    tifffile.imwrite(path, data, photometric=photometric, extrasamples=names)
    found = read_planes(path)
    assert found.alpha is not None
    level = 1e-6 if dtype == "f4" else 0.51 / white
    np.testing.assert_allclose(found.alpha, alpha, atol=level)
    seen = alpha > 0.3
    np.testing.assert_allclose(found.values[:, seen], colour.transpose(2, 0, 1)[:, seen], atol=4 * level)
    grey = colour * alpha[..., None] + 128 / 255 * (1 - alpha[..., None])
    shown = read_image(path)
    np.testing.assert_allclose(shown, np.broadcast_to(grey.transpose(2, 0, 1), shown.shape), atol=3 * level)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("low", [0.0, 0.4])
@pytest.mark.parametrize(
    ("dtype", "white", "asked", "said"),
    [
        ("u2", 4095, (0, 4095), None),
        ("u2", 65535, (10000, 60000), None),  # a range of contrast, which alpha has no part in
        ("i2", 4095, (0, 4095), None),
        ("f4", 255, (0, 255), None),
        ("f4", 1, (0, 4), None),
        ("i2", 1000, None, "which alpha is opaque; the largest, 1000,"),
        ("f4", 255, None, "which alpha is opaque; the largest, 255,"),
    ],
)
def test_opaque_is_the_white_of_the_range_or_of_the_type(
    path: Path, dtype: str, white: float, asked: Any, said: str | None, low: float, kind: str
) -> None:
    """Alpha of 12 bits in 16, of signed integers, and of 0 to 255 in floating point was taken for another."""
    alpha = np.linspace(low, 1, 221).reshape(13, 17)
    shade = np.linspace(0.2, 0.8, 221).reshape(13, 17) * (4 if white == 1 else 1)
    stored = shade * alpha if kind == "assocalpha" else shade
    data = np.stack([stored, stored, stored, alpha], axis=-1) * white
    data = data.astype(dtype) if dtype == "f4" else np.rint(data).astype(dtype)
    tifffile.imwrite(path, data, photometric="rgb", extrasamples=[kind])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read_planes(path, range=asked)
    assert found.alpha is not None
    np.testing.assert_allclose(found.alpha, alpha, atol=0.51 / white if dtype != "f4" else 1e-6)
    assert any(said in str(each.message) for each in caught) if said else not caught
    if asked is not None:
        expected = (shade * white - asked[0]) / (asked[1] - asked[0])
        seen = alpha > 0.3
        np.testing.assert_allclose(found.values[0][seen], expected[seen], atol=1e-3)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_white_is_zero_where_the_file_says_so(path: Path, dtype: str) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    values = (np.linspace(0, 1, 221).reshape(13, 17) * white).astype(dtype)
    tifffile.imwrite(path, values, photometric="miniswhite")
    np.testing.assert_allclose(read_image(path, channels=1)[0], 1 - values / white, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_pillow_does(path: Path, orientation: int, dtype: str) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    values = np.linspace(0, 1, 6).reshape(2, 3)
    tifffile.imwrite(
        path,
        (values * white).astype(dtype),
        photometric="minisblack",
        extratags=[(274, 3, 1, orientation, True)],
    )
    upright = [
        values, values[:, ::-1], values[::-1, ::-1], values[::-1],
        values.T, values.T[:, ::-1], values.T[::-1, ::-1], values.T[::-1],
    ][orientation - 1]  # fmt: skip
    np.testing.assert_allclose(read_image(path, channels=1)[0], upright, atol=1 / 255)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_pages_of_a_stack(path: Path, rng: np.random.Generator, dtype: str) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    stack = (rng.random((4, 13, 17)) * white).astype(dtype)
    tifffile.imwrite(path, stack, photometric="minisblack")
    for k, page in enumerate(stack):
        np.testing.assert_allclose(read_planes(path, page=k).values[0], page / white, atol=1e-6)
    with pytest.warns(AssumptionWarning, match=r"page 0 of the 4 pages of .*page="):
        np.testing.assert_allclose(read_image(path)[0], stack[0] / white, atol=1e-6)
    with pytest.raises(InputError, match=r"page is 4.*4 pages, from 0 to 3"):
        read_image(path, page=4)


@pytest.mark.parametrize(
    "how", [{"imagej": True, "metadata": {"axes": "TZCYX"}}, {"ome": True, "metadata": {"axes": "TZCYX"}}]
)
def test_pages_of_a_hyperstack_are_counted_through(path: Path, rng: np.random.Generator, how: Any) -> None:
    stack = rng.integers(0, 65536, (2, 3, 2, 13, 17), dtype=np.uint16)
    tifffile.imwrite(path, stack, photometric="minisblack", **how)
    for k, page in enumerate(stack.reshape(12, 13, 17)):
        np.testing.assert_array_equal(levels(path, page=k)[..., 0], page)


def test_pages_stored_as_one_volume(path: Path, rng: np.random.Generator) -> None:
    stack = rng.integers(0, 65536, (5, 32, 48), dtype=np.uint16)
    tifffile.imwrite(path, stack, photometric="minisblack", volumetric=True, tile=(2, 16, 16))
    for k, page in enumerate(stack):
        np.testing.assert_array_equal(levels(path, page=k)[..., 0], page)


def test_pages_of_different_kinds_without_thumbnails_and_masks(path: Path, deep: np.ndarray) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(deep, photometric="rgb")
        file.write(deep[::4, ::4], photometric="rgb", subfiletype=1)  # a thumbnail
        file.write(deep[:5, :, 0] > 1, photometric="minisblack", subfiletype=2)
        file.write((deep[..., 0] // 256).astype(np.uint8), photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as opened:
        opened.pages[2].tags["NewSubfileType"].overwrite(4)  # type: ignore[union-attr]  # a mask
    np.testing.assert_array_equal(levels(path, page=0), deep)
    np.testing.assert_allclose(read_planes(path, page=1).values[0], (deep[..., 0] // 256) / 255, atol=1e-6)
    with pytest.raises(InputError, match="2 pages"):
        read_planes(path, page=2)


def test_colours_of_a_palette_of_16_bits(path: Path) -> None:
    colours = np.arange(3 * 65536, dtype=np.uint16).reshape(3, 65536)
    values = np.array([[0, 1], [500, 65535]], np.uint16)
    tifffile.imwrite(path, values, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(levels(path), np.moveaxis(colours[:, values], 0, -1))


@pytest.mark.parametrize("photometric", ["cfa", "logluv", "icclab"])
def test_other_colours_are_refused(path: Path, photometric: Any) -> None:
    tifffile.imwrite(path, np.zeros((4, 4), np.uint16), photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        code = int(tifffile.PHOTOMETRIC[photometric.upper()])
        file.pages[0].tags["PhotometricInterpretation"].overwrite(code)  # type: ignore[union-attr]
    with pytest.raises(ImageError, match=f"colours {photometric.upper()} in uint16"):
        read_image(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_a_file_cut_anywhere_is_an_error(path: Path, compression: Any, dtype: str) -> None:
    values = (np.random.default_rng(0).random((40, 40, 3)) * (1 if dtype == "f4" else 255)).astype(dtype)
    tifffile.imwrite(path, values, photometric="rgb", compression=compression)
    whole = path.read_bytes()
    for length in (4, 8, 20, 100, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("tag", "bits"), [("ImageWidth", "u2"), ("ImageLength", "u2"), ("ImageWidth", "u1")])
def test_a_page_without_pixels_is_no_picture(path: Path, tag: str, bits: str) -> None:
    tifffile.imwrite(path, np.zeros((3, 4), bits), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite(0)  # type: ignore[union-attr]
    with pytest.raises(ImageError, match="holds no picture"):
        read_image(path)


def test_a_picture_too_large_is_refused_before_it_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(path, np.zeros((30, 30), np.uint16), photometric="minisblack")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 449)
    with pytest.raises(ImageError, match="too large to be read safely"):
        read_image(path)


@pytest.mark.filterwarnings("ignore:.*CMYK without a colour profile")
def test_inks_of_16_bits_are_read_with_8_which_is_said(path: Path, rng: np.random.Generator) -> None:
    inks = rng.integers(0, 65536, (13, 17, 4), dtype=np.uint16)
    tifffile.imwrite(path, inks, photometric="separated")
    with pytest.warns(AssumptionWarning, match="more than 8 bits a channel and was read with 8"):
        found = read_image(path)
    shares = 1 - inks / 65535
    np.testing.assert_allclose(found, (shares[..., :3] * shares[..., 3:]).transpose(2, 0, 1), atol=2 / 255)
