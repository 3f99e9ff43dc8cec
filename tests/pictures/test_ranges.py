"""What becomes of the numbers of a file: an affine map that is the file's own, or is said to be assumed."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from PIL import Image

from sobolevflow.errors import AssumptionWarning, ImageError, InputError
from sobolevflow.pictures import read_image, read_planes
from sobolevflow.pictures.ranges import range_of

WHOLE = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
FLOATING = ("f2", "f4", "f8")


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    """Pages (N, H, W, C) of any type and span of values."""
    dtype: np.dtype[Any] = np.dtype(draw(st.sampled_from([*WHOLE, *FLOATING])))
    size = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(2, 5))
    shape = (*size, draw(st.sampled_from([1, 3])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        low, high = draw(st.sampled_from([(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.2, 0.4), (-30.0, 40.0)]))
        return (low + (high - low) * rng.random(shape)).astype(dtype)
    info: Any = np.iinfo(dtype.str)
    bits = draw(st.integers(1, 8 * dtype.itemsize - (dtype.kind == "i")))
    low = max(int(info.min), -(2**bits)) if draw(st.booleans()) else 0
    return rng.integers(low, 2**bits - 1, shape, dtype=dtype, endpoint=True)


def written(pages: np.ndarray, **how: Any) -> bytes:
    buffer = io.BytesIO()
    colours: Any = "rgb" if pages.shape[-1] == 3 else "minisblack"
    with tifffile.TiffWriter(buffer, **how) as file:
        for page in pages if pages.shape[-1] == 3 else pages[..., 0]:
            file.write(page, photometric=colours, contiguous=False)
    return buffer.getvalue()


def expected(page: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    low, high = span
    return np.asarray((page.astype(np.longdouble) - low) / (high - low)).transpose(2, 0, 1)


def usual(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    if dtype.kind == "f":
        return 0, 1
    return {"u1": (0, 255), "u2": (0, 65535)}.get(dtype.str[1:])


def extent(page: np.ndarray) -> tuple[float, float]:
    low, high = float(page.min()), float(page.max())
    return low, high if high > low else low + 1


@settings(max_examples=150, deadline=None)
@given(stacks(), st.sampled_from(["<", ">"]), st.booleans(), st.data())
def test_any_type_is_read_by_the_map_of_its_range(
    tmp_path_factory: pytest.TempPathFactory, pages: np.ndarray, order: Any, big: bool, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.tif"
    path.write_bytes(written(pages, byteorder=order, bigtiff=big))
    k = data.draw(st.integers(0, len(pages) - 1))
    page = pages[k]
    span = usual(page.dtype)
    meant = span is not None and span[0] <= page.min() and page.max() <= span[1]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = read_image(path, page=k)
    dim = page.dtype == np.uint16 and 0 < page.max() < 4096
    assert bool(said) == (not meant or dim)
    map_ = span if span is not None and meant else extent(page)
    np.testing.assert_allclose(found, np.broadcast_to(expected(page, map_), found.shape), atol=1e-6)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = read_image(path, page=k, range="auto")
    assert bool(said) == (page.min() == page.max())
    np.testing.assert_allclose(found, np.broadcast_to(expected(page, extent(page)), found.shape), atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(stacks(), st.floats(-1e4, 1e4, width=32), st.floats(0.0625, 1e5, width=32))
def test_a_range_that_is_given_holds_and_what_it_clips_is_counted(
    tmp_path_factory: pytest.TempPathFactory, pages: np.ndarray, low: float, width: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "given.tif"
    path.write_bytes(written(pages[:1]))
    span = low, low + width
    wanted = expected(pages[0], span)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        planes = read_planes(path, range=span)
    np.testing.assert_allclose(planes.values, wanted, rtol=1e-6, atol=1e-6)
    assert planes.range == span
    outside = int(np.count_nonzero((planes.values < 0) | (planes.values > 1)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = read_image(path, range=span)
    np.testing.assert_allclose(found, np.broadcast_to(wanted.clip(0, 1), found.shape), atol=1e-6)
    assert [str(w.message).split(" lie")[0] for w in said] == (
        [f"{outside} of {wanted.size} values of {str(path)!r}"] if outside else []
    )


def test_what_cannot_be_seen_is_not_counted_as_clipped(path: Path) -> None:
    values = np.full((4, 5, 4), 500, np.uint16)
    values[:2] = 50, 50, 50, 0
    values[2:, :, 3] = 65535
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=["unassalpha"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = read_image(path, range=(100, 900))
    np.testing.assert_allclose(shown, np.repeat([128 / 255, 0.5], 10).reshape(4, 5) * np.ones((3, 1, 1)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.tif"


RAMP = np.linspace(0, 1, 12 * 20).reshape(12, 20)


@pytest.mark.parametrize(
    ("values", "says", "lowest", "highest"),
    [
        ((RAMP * 2000 - 1000).astype("i2"), "signed 16-bit integers.*-1000 to 1000.*range=", 0, 1),
        ((RAMP * 70000).astype("u4"), "unsigned 32-bit integers.*0 to 70000.*--range", 0, 1),
        ((RAMP * 3 - 1).astype("f4"), "outside of 0 to 1.*-1 to 2.*range=", 0, 1),
        ((RAMP * 4095).astype("u2"), "no value above 4095; 65535.*range=.0, 4095", 0, 4095 / 65535),
        ((RAMP * 255).astype("u2"), "no value above 255; 65535.*--range 0:255", 0, 255 / 65535),
    ],
)
def test_what_is_assumed_is_said(
    path: Path, values: np.ndarray, says: str, lowest: float, highest: float
) -> None:
    tifffile.imwrite(path, values)
    with pytest.warns(AssumptionWarning, match=says):
        found = read_image(path)
    assert found.min() == pytest.approx(lowest)
    assert found.max() == pytest.approx(highest)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("level", [0, 1])
def test_black_and_white_pictures_are_nothing_to_warn_of(path: Path, dtype: str, level: int) -> None:
    white = 1 if dtype == "f4" else np.iinfo(dtype).max
    tifffile.imwrite(path, np.full((4, 5), level * white, dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path), np.full((3, 4, 5), level))


def test_a_picture_of_one_value_is_black_under_auto(path: Path) -> None:
    tifffile.imwrite(path, np.full((4, 5), -7, "i4"))
    np.testing.assert_array_equal(read_image(path, range="auto"), np.zeros((3, 4, 5)))


@pytest.mark.parametrize("value", [0, 1e20, -1e20, 1e308, 5e-324])
def test_numbers_of_any_size_are_mapped(path: Path, value: float) -> None:
    tifffile.imwrite(path, np.full((4, 5), value))
    np.testing.assert_array_equal(read_image(path, range="auto"), np.zeros((3, 4, 5)))
    if value:
        tifffile.imwrite(path, np.array([[-abs(value), 0, abs(value)]]))
        np.testing.assert_allclose(read_image(path, channels=1, range="auto"), [[[0, 0.5, 1]]])


def test_smallest_and_largest_sample_that_a_file_states_are_its_range(path: Path) -> None:
    values = (RAMP * 4095).astype("u2")
    stated: Any = [(340, 3, 1, 0, True), (341, 3, 1, 4095, True)]
    tifffile.imwrite(path, values, extratags=stated)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_image(path, channels=1)[0], values / 4095, atol=1e-6)
    tifffile.imwrite(path, (values + 1).astype("u2"), extratags=stated)
    with pytest.warns(AssumptionWarning, match="outside of 0 to 4095"):
        assert read_image(path).max() == 1


def test_twelve_bits_that_a_tiff_states_are_its_range(path: Path) -> None:
    values = (RAMP * 4095).astype(">u2")
    rows = np.unpackbits(values[..., None].view("u1").reshape(12, 20, 2), axis=-1)[:, :, 4:].reshape(12, -1)
    packed = np.packbits(rows, axis=1)
    tifffile.imwrite(path, packed, photometric="minisblack", metadata=None, rowsperstrip=12)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]
        tags["BitsPerSample"].overwrite(12)
        tags["ImageWidth"].overwrite(20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_image(path, channels=1)[0], values / 4095, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("asked", [None, "auto", (0, 1)])
def test_values_that_are_not_finite_are_refused(path: Path, value: float, asked: Any) -> None:
    values = RAMP.astype("f4")
    values[3, 4] = value
    tifffile.imwrite(path, values)
    with pytest.raises(ImageError, match="not finite"):
        read_image(path, range=asked)
    for kind in ("unassalpha", "assocalpha"):
        tifffile.imwrite(path, np.stack([RAMP.astype("f4"), values], -1), extrasamples=[kind])
        with pytest.raises(ImageError, match="not finite"):
            read_image(path, range=asked)


@pytest.mark.parametrize("planes", [1, 4])
def test_complex_values_are_refused(path: Path, planes: int) -> None:
    values = RAMP.astype("c8")
    if planes == 4:
        values = np.stack(planes * [values], -1)
    tifffile.imwrite(path, values, photometric="rgb" if planes == 4 else "minisblack")
    with pytest.raises(ImageError, match="complex64"):
        read_image(path)


@pytest.mark.parametrize("asked", [(1, 0), (1, 1), "automatic", (1,), 3, (0, np.nan), ("0", "1"), (True, 2)])
def test_impossible_range(tmp_path: Path, asked: Any) -> None:
    for read in (read_image, read_planes):
        with pytest.raises(InputError, match=r"range is .*; it must be \(low, high\)"):
            read(tmp_path / "a.png", range=asked)


def test_range_of_8_bits_counts_in_levels(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_planes(tmp_path / "a.png", range=(50, 150)).values
    np.testing.assert_allclose(found[0], (pixels.astype(float) - 50) / 100, atol=1e-6)
    assert read_planes(tmp_path / "a.png", range="auto").range == (0, 255)


@given(st.sampled_from(WHOLE + FLOATING), st.integers(0, 2**32 - 1))
def test_values_lie_in_the_range_or_a_warning_is_given(dtype: str, seed: int) -> None:
    """Never silent: the property behind all of the above, at the function that decides."""
    bits = np.random.default_rng(seed).bytes(64)
    values = np.frombuffer(bits, dtype)
    values = values[np.isfinite(values)]
    if not values.size:
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        low, high = range_of(values, None, None, "'a'")
    assert low <= values.min()
    assert values.max() <= high
    usual_one = usual(np.dtype(dtype))
    assert said or (low, high) == usual_one


def test_the_range_of_a_picture_of_one_value_is_said(path: Path) -> None:
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(path.with_suffix(".png"))
    with pytest.warns(AssumptionWarning, match="holds one value, 7, throughout, which was taken for black"):
        u = read_image(path.with_suffix(".png"), range="auto")
    assert (u == 0).all()


@pytest.mark.parametrize("path", [5, None, b"picture.png", 1.5])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(InputError, match=r"path is .*; it must be the name of a picture file"):
        read_image(path)
