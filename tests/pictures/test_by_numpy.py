"""Arrays in NumPy's files as pictures, planes of any number, and pictures of more than 8 bits."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sobolevflow.errors import AssumptionWarning, ImageError, InputError, InputFileError
from sobolevflow.objectives import read_vector
from sobolevflow.pictures import check_bits, read_image, read_planes, to_levels, write_planes


@pytest.fixture
def planes(rng: np.random.Generator) -> np.ndarray:
    return rng.random((3, 7, 9)).astype(np.float32)


@pytest.mark.parametrize("layout", ["CHW", "HWC", "1CHW", "1HWC"])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_an_array_is_read_as_it_is(layout: str, ending: str, planes: np.ndarray, tmp_path: Path) -> None:
    array = planes if layout.endswith("CHW") else planes.transpose(1, 2, 0)
    array = array[None] if layout.startswith("1") else array
    path = tmp_path / f"a{ending}"
    if ending == ".npy":
        np.save(path, array)
    else:
        np.savez(path, photo=array)
    np.testing.assert_array_equal(read_image(path), planes)
    np.testing.assert_array_equal(read_planes(path).values, planes)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255], [51, 102]], np.uint8), [[0, 1], [0.2, 0.4]]),
        (np.array([[0, 65535]], np.uint16), [[0, 1]]),
        (np.array([[True, False]]), [[1, 0]]),
        (np.array([[0.25, 0.5]], np.float16), [[0.25, 0.5]]),
        (np.array([[0.25, 0.5]], ">f8"), [[0.25, 0.5]]),
    ],
)
def test_the_type_of_its_numbers_says_what_is_white(
    array: np.ndarray, expected: list[list[float]], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_allclose(read_image(tmp_path / "a.npy", channels=1)[0], expected, rtol=1e-6)


def test_an_array_is_fitted_and_ranged_like_any_photograph(planes: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", planes * 200 - 100)
    with pytest.warns(AssumptionWarning, match="outside of 0 to 1"):
        read_image(tmp_path / "a.npy")
    found = read_image(tmp_path / "a.npy", size=(4, 4), range=(-100, 100))
    assert found.shape == (3, 4, 4)
    assert read_image(tmp_path / "a.npy", channels=1, range=(-100, 100)).shape == (1, 7, 9)


def test_of_a_batch_a_page_is_read(planes: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([planes, planes / 2]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", page=1), planes / 2)
    with pytest.warns(AssumptionWarning, match="page 0 of the 2 pages"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("shape", [(4, 7, 9), (7, 9, 4), (5, 7, 9), (2, 7, 9)])
def test_files_of_any_number_of_planes_are_read_where_as_many_are_wanted(
    shape: tuple[int, ...], rng: np.random.Generator, tmp_path: Path
) -> None:
    array, last = rng.random(shape).astype(np.float32), shape[-1] == 4
    channels = min(shape)
    expected = array.transpose(2, 0, 1) if last else array
    np.save(tmp_path / "a.npy", array)
    tifffile.imwrite(
        tmp_path / "a.tif", expected.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig"
    )
    for name in ("a.npy", "a.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, channels=channels), expected)
        with pytest.raises(ImageError, match=f"has {channels} planes, but 6 are wanted"):
            read_image(tmp_path / name, channels=6)
        with pytest.raises(ImageError, match=f"{channels} planes, which are no colours"):
            read_image(tmp_path / name)


def test_as_many_planes_as_are_wanted_tell_the_channels(rng: np.random.Generator, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", rng.random((3, 8, 5)))
    assert read_image(tmp_path / "a.npy", channels=5).shape == (5, 3, 8)
    assert read_image(tmp_path / "a.npy").shape == (3, 8, 5)
    np.save(tmp_path / "b.npy", rng.random((3, 8, 3)))
    with pytest.warns(AssumptionWarning, match="first axis was taken for the channels"):
        assert read_image(tmp_path / "b.npy").shape == (3, 8, 3)


def test_alpha_is_a_plane_where_four_are_wanted(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4) * 10
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = pixels.transpose(2, 0, 1) / 255
    np.testing.assert_allclose(read_image(tmp_path / "a.png", channels=4), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), "a picture is"),
        (np.zeros((2, 3), complex), "real numbers"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.zeros((0, 2)), "no pixels"),
    ],
)
def test_what_is_no_picture_is_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / "a.npy")


def test_a_head_that_states_more_than_there_is_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        head = {"descr": "<f4", "fortran_order": False, "shape": (2**30, 2**30)}
        np.lib.format.write_array_header_1_0(file, head)
    with pytest.raises(ImageError, match=r"a\.npy' cannot be read"):
        read_image(path)
    with pytest.raises(InputFileError, match=r"a\.npy: no array"):
        read_vector(str(path))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("words.txt", "hello")
    with pytest.raises(ImageError, match=r"'words\.txt', which is no array"):
        read_image(tmp_path / "a.npz")


def test_damaged_and_ambiguous_files_are_refused(planes: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", planes)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-40])
    np.savez(tmp_path / "b.npz", one=planes, two=planes)
    np.save(tmp_path / "c.npy", np.array([{}]), allow_pickle=True)
    for name, message in (
        ("a.npy", "cannot be read"),
        ("b.npz", "'one', 'two'"),
        ("c.npy", "cannot be read"),
    ):
        with pytest.raises(ImageError, match=message):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("ending", "bits"), [(".png", 8), (".png", 16), (".tif", 8), (".tif", 16), (".tif", 32)]
)
def test_a_picture_keeps_the_bits_that_were_asked_for(
    ending: str, bits: int, planes: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"a{ending}"
    assert check_bits(path, bits) == bits
    levels, clipped = to_levels(planes, bits)
    assert not clipped.any()
    write_planes(path, levels)
    error = np.abs(read_image(path) - planes).max()
    assert error <= (0 if bits == 32 else 0.51 / (2**bits - 1))
    assert bits == 32 or error > 0.1 / (2**bits - 1)


@pytest.mark.parametrize(("name", "bits"), [("a.jpg", 16), ("a.webp", 32), ("a.png", 32), ("a.tif", 12)])
def test_bits_that_a_format_does_not_hold_are_refused(name: str, bits: int) -> None:
    with pytest.raises(InputError):
        check_bits(name, bits)
