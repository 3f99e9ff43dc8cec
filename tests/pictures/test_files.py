from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sobolevflow.errors import ImageError, InputError, OutputError
from sobolevflow.files import write_bytes
from sobolevflow.pictures import (
    check_writable,
    read_image,
    tiled,
    to_uint8,
    viewable,
    write_image,
)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_png_comes_back_exactly(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write_image(tmp_path / "a.png", pixels)
    u = read_image(path)
    assert u.dtype == np.float32
    np.testing.assert_array_equal(to_uint8(u).transpose(1, 2, 0), pixels)
    write_image(tmp_path / "b.png", u)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), u)


def test_exif_rotation_is_applied(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = to_uint8(read_image(tmp_path / "turned.png")).transpose(1, 2, 0)
    np.testing.assert_array_equal(found, np.rot90(pixels, -1))


def test_transparency_shows_grey(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = [255, 0, 128]
    Image.fromarray(rgba).save(tmp_path / "glass.png")
    red = to_uint8(read_image(tmp_path / "glass.png"))[0, 0]
    assert red[0] == 200
    assert red[1] == 128
    assert abs(int(red[2]) - 164) <= 1


def test_palette_is_resolved(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 200, 150, 100] + [0] * 762)
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        to_uint8(read_image(tmp_path / "palette.png"))[:, 0], [[10, 200], [20, 150], [30, 100]]
    )


def test_sixteen_bits_keep_their_precision(tmp_path: Path) -> None:
    values = np.array([[0, 1, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = read_image(tmp_path / "deep.png", channels=1)
    np.testing.assert_allclose(found[0], values / 65535, atol=1e-7)
    assert read_image(tmp_path / "deep.png").shape == (3, 1, 4)


def test_colour_becomes_grey_by_luma(tmp_path: Path, pixels: np.ndarray) -> None:
    found = read_image(write_image(tmp_path / "a.png", pixels), channels=1)
    expected = pixels @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(found[0], expected, atol=1 / 255)


def test_size_covers_and_cuts_the_centre(tmp_path: Path) -> None:
    # Three vertical bands: the centre cut of a wide picture shows the middle one.
    bands = np.zeros((20, 60, 3), np.uint8)
    bands[:, 20:40] = 255
    u = read_image(write_image(tmp_path / "bands.png", bands), size=(10, 10))
    assert u.shape == (3, 10, 10)
    assert u[:, :, 1:-1].min() > 0.99


def test_shrinking_does_not_alias(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    u = read_image(write_image(tmp_path / "stripes.png", stripes), size=(16, 16))
    np.testing.assert_allclose(u[..., 2:-2], 0.5, atol=0.01)


def test_enlarging_keeps_the_range(tmp_path: Path, pixels: np.ndarray) -> None:
    u = read_image(write_image(tmp_path / "a.png", pixels), size=(40, 33))
    assert u.shape == (3, 40, 33)
    assert u.min() >= 0
    assert u.max() <= 1


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no file .*nowhere\.png"):
        read_image(tmp_path / "nowhere.png")


def test_file_that_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    with pytest.raises(ImageError, match=r"notes\.png' is not a picture"):
        read_image(tmp_path / "notes.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_truncated_file(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write_image(tmp_path / f"whole{ending}", noise)
    cut = tmp_path / f"cut{ending}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match="cannot be read") as caught:
        read_image(cut)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(0, 5), (5,), (2.5, 3)])
def test_impossible_size(tmp_path: Path, pixels: np.ndarray, size: tuple[int, ...]) -> None:
    path = write_image(tmp_path / "a.png", pixels)
    with pytest.raises(InputError, match=r"size is .*; it must be"):
        read_image(path, size=size)


def test_impossible_channels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="channels is 0"):
        read_image(tmp_path / "a.png", channels=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent/a.png", "no folder"),
        ("a.xyz", "no known ending"),
        ("a", "no known ending"),
        ("folder.png", "is a folder"),
        ("file.png/a.png", "cannot be written"),
    ],
)
def test_unwritable_paths_leave_no_file(tmp_path: Path, pixels: np.ndarray, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=message):
        check_writable(tmp_path / name)
    with pytest.raises(OutputError, match=message) as caught:
        write_image(tmp_path / name, pixels)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bytes(tmp_path / "a.bin", b"old")

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"old"


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = {bytes([k]) * 200_000 for k in range(2)}
    write_bytes(path, next(iter(contents)))
    stop = threading.Event()
    torn: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            found = path.read_bytes()
            if found not in contents:
                torn.append(len(found))

    reader = threading.Thread(target=watch)
    reader.start()
    for _ in range(20):
        for content in contents:
            write_bytes(path, content)
    stop.set()
    reader.join()
    assert torn == []


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not \(4, 4, 7\)"):
        write_image(tmp_path / "a.png", np.zeros((4, 4, 7), np.uint8))


def test_grid_of_pictures() -> None:
    pictures = [np.full((2, 3, 1), k, np.uint8) for k in range(3)]
    sheet = tiled(pictures, gap=1)
    assert sheet.shape == (5, 7, 1)
    assert sheet[0, 0] == 0
    assert sheet[0, 4] == 1
    assert sheet[3, 0] == 2
    assert sheet[3, 4] == sheet[2, 0] == sheet[0, 3] == 255


def test_many_channels_are_shown_side_by_side() -> None:
    image = np.stack([np.full((4, 4), 10 * c, np.uint8) for c in range(7)], axis=-1)
    shown = viewable(image)
    assert shown.shape[-1] == 1
    assert [int(shown[8 * (c // 3), 8 * (c % 3), 0]) for c in range(7)] == [10 * c for c in range(7)]
    rgb = image[..., :3]
    assert viewable(rgb) is rgb
