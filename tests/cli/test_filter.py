"""`sobolevflow filter`: the files it writes are the filter's own result, rounded to 8 bits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import sobolevflow as sf
from sobolevflow import Bilateral, PeronaMalik
from sobolevflow.filters import Gaussian, Sobolev, SobolevProduct
from sobolevflow.pictures import read_planes
from sobolevflow.pictures.sixteen_bits import encode_png
from sobolevflow.total_variation import prox, prox_tgv
from tests.support import command_line


def run(*arguments: object) -> int:
    return command_line.run("filter", *arguments)


@pytest.fixture
def rgb(tmp_path: Path, rng: np.random.Generator) -> Path:
    return save(tmp_path / "photo.png", rng.integers(0, 256, (20, 31, 3), dtype=np.uint8))


def save(path: Path, pixels: Any) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def planes(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path), dtype=np.float32) / np.float32(255)
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(pixels), -1, 0))


@pytest.mark.parametrize(
    ("options", "operator"),
    [
        ([], Sobolev()),
        (["--gamma", "4"], Sobolev(gamma=4)),
        (["--gamma", "4,1/2", "--order", "1.5", "--boundary", "periodic"],
         Sobolev(gamma=(4, 0.5), order=1.5, boundary="periodic")),
        (["--size", "9", "--method", "dense"], Sobolev(9, method="dense")),
        (["--filter", "gaussian", "--sigma", "2"], Gaussian(sigma=2)),
        (["--filter", "gaussian", "--size", "7"], Gaussian(7)),
        (["--filter", "sobolev-product", "--gamma", "3", "--order", "2"], SobolevProduct(3.0, order=2)),
        (["--filter", "tv", "--weight", "0.2"], lambda x: prox(x, 0.2, channel_axis=0).u),
        (["--filter", "tv"], lambda x: prox(x, 0.1, channel_axis=0).u),
        (
            ["--filter", "tv", "--variation", "anisotropic", "--huber", "0.05", "--tol", "0.01"],
            lambda x: prox(x, 0.1, 0.01, channel_axis=0, variation="anisotropic", huber=0.05).u,
        ),
        (["--filter", "tgv"], lambda x: prox_tgv(x, 0.1, channel_axis=0).u),
        (
            ["--filter", "tgv", "--weight", "0.05", "--ratio", "1", "--tol", "0.01"],
            lambda x: prox_tgv(x, 0.05, 1, 0.01, channel_axis=0).u,
        ),
        (["--filter", "bilateral"], lambda x: Bilateral()(x, channel_axis=0)),
        (
            ["--filter", "bilateral", "--sigma", "2", "--sigma-range", "0.2", "--size", "5"],
            lambda x: Bilateral(2, 0.2, 5)(x, channel_axis=0),
        ),
        (
            ["--filter", "perona-malik", "--kappa", "0.1", "--time", "3", "--conduction", "rational"],
            lambda x: PeronaMalik(0.1, 3, "rational")(x, channel_axis=0),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_the_picture_is_the_filtered_one(
    rgb: Path, tmp_path: Path, options: list[str], operator: Any
) -> None:
    out, array = tmp_path / "out.png", tmp_path / "out.npy"
    assert run(rgb, *options, "-o", out, "--npy", array) == 0
    expected = operator(planes(rgb))
    np.testing.assert_array_equal(np.load(array), expected)
    written = np.asarray(Image.open(out)).transpose(2, 0, 1)
    np.testing.assert_array_equal(written, np.rint(expected.clip(0, 1) * 255))


def test_greyscale_stays_greyscale(tmp_path: Path, rng: np.random.Generator) -> None:
    photo = save(tmp_path / "grey.png", rng.integers(0, 256, (12, 17), dtype=np.uint8))
    out = tmp_path / "out.jpg"
    assert run(photo, "-o", out) == 0
    assert Image.open(out).mode == "L"
    assert Image.open(out).size == (17, 12)


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (4, "RGBA")])
def test_alpha_is_kept_and_weighs_the_colours_that_are_filtered(
    tmp_path: Path, channels: int, mode: str, rng: np.random.Generator
) -> None:
    photo = save(tmp_path / "a.png", rng.integers(0, 256, (12, 17, channels), dtype=np.uint8))
    out = tmp_path / "out.png"
    assert run(photo, "--gamma", "2", "-o", out) == 0
    assert Image.open(out).mode == mode
    before, after = planes(photo), planes(out)
    np.testing.assert_array_equal(after[-1], before[-1])
    K = Sobolev(gamma=2)
    mean_of_the_seen = K(before[:-1] * before[-1]) / K(before[-1])
    np.testing.assert_allclose(after[:-1], mean_of_the_seen, atol=0.5001 / 255)


def test_several_photos_go_into_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (2, 9, 8, 3), dtype=np.uint8)
    photos = [save(tmp_path / "a.png", pixels[0]), save(tmp_path / "b.gif", pixels[1])]
    folder = tmp_path / "out"
    assert run(*photos, "-o", folder, "--npy", folder, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["operator"] == Sobolev().to_dict()
    assert [w["picture"] for w in outcome["written"]] == [str(folder / "a.png"), str(folder / "b.png")]
    assert [w["array"] for w in outcome["written"]] == [str(folder / "a.npy"), str(folder / "b.npy")]
    assert {p.name for p in folder.iterdir()} == {"a.png", "b.png", "a.npy", "b.npy"}


def test_tv_is_described_by_its_weight(rgb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(rgb, "--filter", "tv", "-o", tmp_path / "o.png", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["operator"]["operator"] == "TotalVariation"
    assert found["operator"]["weight"] == 0.1
    assert found["written"][0]["converged"]
    assert found["written"][0]["iterations"] >= 10


def test_the_plan_is_printed_without_filtering(rgb: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(rgb, "--gamma", "4", "--plan") == 0
    assert capsys.readouterr().out == f"{rgb}: {Sobolev(gamma=4).plan((3, 20, 31))}\n"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--filter", "gaussian", "--gamma", "4", "-o", "o.png"], 2, "gaussian has --sigma"),
        (["--sigma", "4", "-o", "o.png"], 2, "sobolev has --gamma"),
        (
            ["--filter", "tv", "--size", "5", "-o", "o.png"],
            2,
            "--size belongs to --filter sobolev or bilateral or gaussian, not to tv",
        ),
        (["--filter", "tv", "--plan"], 2, "--plan is for linear filters"),
        (["--filter", "bilateral", "--plan"], 2, "--plan is for linear filters"),
        (
            ["--filter", "gaussian", "--sigma-range", "1", "-o", "o.png"],
            2,
            "--sigma-range belongs to --filter bilat",
        ),
        (["--filter", "bilateral", "--sigma", "1,2", "-o", "o.png"], 2, "must be a finite number above zero"),
        (["--filter", "bilateral", "--kappa", "1", "-o", "o.png"], 2, "bilateral has --sigma"),
        (["--filter", "sobolev-product", "-o", "o.png"], 2, "give --gamma"),
        (["--filter", "sobolev-product", "--gamma", "1", "--order", "1.5", "-o", "o.png"], 2, "order"),
        (["--gamma", "1,2,3", "-o", "o.png"], 2, "two (down,across)"),
        (["--gamma", "-1", "-o", "o.png"], 2, "gamma"),
        (["--size", "8", "-o", "o.png"], 2, "odd"),
        ([], 2, "-o FILE"),
        (["--plan", "--npy", "a.npy"], 2, "--npy needs -o"),
        (["-o", "photo.png"], 2, "would be overwritten"),
        (["photo.png", "-o", "out"], 2, "Two of the photos"),
        (["-o", "o.xyz"], 2, "no known ending"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    rgb: Path,
    options: list[str],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(rgb.parent)
    before = rgb.read_bytes()
    assert run("photo.png", *options) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line
    assert rgb.read_bytes() == before
    assert not Path("o.png").exists()


def test_alpha_needs_a_format_that_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = save(tmp_path / "a.png", np.zeros((4, 4, 4), np.uint8))
    assert run(photo, "-o", tmp_path / "o.jpg") == 2
    assert "write a .png" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--gamma", "9"],
        ["--filter", "gaussian", "--sigma", "3"],
        ["--filter", "tv"],
        ["--filter", "tgv"],
        ["--filter", "bilateral"],
        ["--filter", "perona-malik"],
    ],
    ids=" ".join,
)
def test_no_colour_of_transparent_pixels_bleeds_into_what_is_seen(tmp_path: Path, options: list[str]) -> None:
    """A red square on transparent black, and half transparent at its rim: red everywhere it can be seen."""
    pixels = np.zeros((24, 26, 4), np.uint8)
    pixels[6:18, 7:19] = 255, 0, 0, 128
    pixels[7:17, 8:18] = 255, 0, 0, 255
    out, array = tmp_path / "o.png", tmp_path / "o.npy"
    assert run(save(tmp_path / "a.png", pixels), *options, "-o", out, "--npy", array) == 0
    after = np.asarray(Image.open(out))
    np.testing.assert_array_equal(after[..., 3], pixels[..., 3])
    seen = pixels[..., 3] > 0
    np.testing.assert_array_equal(after[seen, :3], np.broadcast_to([255, 0, 0], (144, 3)))
    np.testing.assert_allclose(np.load(array)[:, seen].T, np.broadcast_to([1, 0, 0], (144, 3)), atol=1e-6)


def test_what_cannot_be_seen_is_not_said_to_be_clipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.zeros((24, 26, 4), np.uint8)
    pixels[6:18, 7:19] = 255
    pixels[6:18, 7:19, 0] = np.linspace(0, 255, 12)
    out, array = tmp_path / "o.png", tmp_path / "o.npy"
    photo = save(tmp_path / "a.png", pixels)
    assert run(photo, "--filter", "tgv", "-o", out, "--npy", array) == 0
    beyond = abs(np.load(array) - 0.5).max(0) > 0.51
    assert beyond[pixels[..., 3] == 0].any()
    assert not beyond[pixels[..., 3] > 0].any()
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--gamma", "4,1"], ["--filter", "gaussian"], ["--filter", "tv"]], ids=str
)
def test_one_colour_under_any_alpha_stays_that_colour(
    tmp_path: Path, options: list[str], rng: np.random.Generator
) -> None:
    pixels = np.empty((24, 26, 4), np.uint8)
    pixels[..., :3] = 200, 90, 31
    pixels[..., 3] = rng.integers(0, 256, (24, 26))
    out = tmp_path / "o.png"
    assert run(save(tmp_path / "a.png", pixels), *options, "-o", out) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(out)), pixels)


@pytest.mark.parametrize("options", [[], ["--filter", "tv"], ["--filter", "bilateral"]], ids=str)
def test_alpha_of_an_opaque_picture_changes_nothing(rgb: Path, tmp_path: Path, options: list[str]) -> None:
    Image.open(rgb).convert("RGBA").save(tmp_path / "opaque.png")
    for photo, name in ((rgb, "a"), (tmp_path / "opaque.png", "b")):
        assert run(photo, *options, "-o", tmp_path / f"{name}.png", "--npy", tmp_path / f"{name}.npy") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(tmp_path / "b.png"))[..., :3]
    )


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_come_out_as_16_bits(
    tmp_path: Path, planes: int, ending: str, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = rng.integers(0, 65536, (12, 17, planes), dtype=np.uint16)
    pixels[..., -1] |= 0 if planes in (1, 3) else 65535
    photo = tmp_path / "a.png"
    photo.write_bytes(encode_png(pixels))
    out = tmp_path / f"o{ending}"
    assert run(photo, "--gamma", "2", "-o", out) == 0
    assert capsys.readouterr().err == ""
    found = read_planes(out)
    assert found.bits == 16
    alpha = 1 if planes in (2, 4) else 0
    expected = Sobolev(gamma=2)(pixels[..., : planes - alpha].transpose(2, 0, 1) / np.float32(65535))
    np.testing.assert_allclose(found.values, expected, atol=0.51 / 65535)
    assert (found.alpha is not None) == bool(alpha)


def test_fewer_bits_than_the_photo_has_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = save(tmp_path / "a.png", np.full((12, 17), 40000, np.uint16))
    assert run(photo, "-o", tmp_path / "o.jpg", "--json") == 0
    captured = capsys.readouterr()
    assert "note: " in captured.err
    assert "has 8 bits a value, and the photo had more" in captured.err
    assert json.loads(captured.out)["written"][0]["bits"] == 8
    assert run(photo, "-o", tmp_path / "o.jpg", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_a_range_is_black_and_white_and_what_lies_beyond_is_kept_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hounsfield = np.linspace(-1000, 1000, 12 * 17).reshape(12, 17).astype("i2")
    photo, out, array = tmp_path / "a.tif", tmp_path / "o.png", tmp_path / "o.npy"
    tifffile.imwrite(photo, hounsfield)
    assert run(photo, "--gamma", "2", "--range", "-500:500", "-o", out, "--npy", array) == 0
    expected = Sobolev(gamma=2)(((hounsfield + 500.0) / 1000).astype(np.float32)[None])
    np.testing.assert_allclose(np.load(array), expected, atol=1e-6)
    levels = np.rint(expected[0] * 65535)
    np.testing.assert_allclose(np.asarray(Image.open(out)), levels.clip(0, 65535), atol=1)
    outside = np.count_nonzero((levels < 0) | (levels > 65535))
    (note,) = capsys.readouterr().err.splitlines()
    assert f"note: {outside} of 204 values lie outside of -500 to 500 and were clipped in" in note


def test_what_is_assumed_of_a_photo_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.stack([np.full((12, 17), k, "i4") for k in (5, 7, 9)])
    photo = tmp_path / "a.tif"
    tifffile.imwrite(photo, stack, photometric="minisblack")
    assert run(photo, "-o", tmp_path / "o.png") == 0
    notes = capsys.readouterr().err
    assert "note: page 0 of the 3 pages" in notes
    assert "signed 32-bit integers" in notes
    array = tmp_path / "o.npy"
    assert run(photo, "--page", "2", "--range", "0:10", "-o", tmp_path / "o.png", "--npy", array) == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(np.load(array), 0.9, atol=1e-6)


def test_any_number_of_planes_goes_into_an_array_or_a_tiff(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    bands = rng.integers(0, 256, (5, 12, 17), dtype=np.uint8)
    photo, out, array = tmp_path / "a.tif", tmp_path / "o.tif", tmp_path / "o.npy"
    tifffile.imwrite(photo, bands, photometric="minisblack", planarconfig="separate")
    assert run(photo, "--gamma", "2", "-o", out, "--npy", array) == 0
    expected = Sobolev(gamma=2)(bands / np.float32(255))
    np.testing.assert_allclose(np.load(array), expected, atol=1e-6)
    np.testing.assert_allclose(read_planes(out).values, expected, atol=0.51 / 255)
    capsys.readouterr()
    assert run(photo, "-o", tmp_path / "o.png") == 2
    assert "has 5 planes, which .png cannot hold; write a .tif" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["1:0", "0:0", "0", "a:b", ":", "0:1:2", "full"])
def test_a_range_that_is_none(rgb: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert run(rgb, "--range", word, "-o", "o.png") == 2
    assert "neither auto nor a range LOW:HIGH such as 0:4095" in capsys.readouterr().err


def test_several_photographs_do_not_go_into_one_file(
    rgb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(rgb.parent)
    shutil.copy("photo.png", "other.png")
    assert run("photo.png", "other.png", "-o", "x.png") == 2
    assert "2 photos do not go into one file, 'x.png'; name a folder" in capsys.readouterr().err
    assert not Path("x.png").exists()
    assert run("photo.png", "other.png", "-o", "x.png/", "--quiet") == 0
    assert sorted(path.name for path in Path("x.png").iterdir()) == ["other.png", "photo.png"]


def test_a_folder_is_made_where_the_name_is_one(rgb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rgb.parent)
    assert run("photo.png", "-o", "new/deep/", "--npy", "arrays/", "--quiet") == 0
    assert Path("new/deep/photo.png").exists()
    assert Path("arrays/photo.npy").exists()


def test_one_photograph_that_fails_is_named_and_the_others_are_done(
    rgb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(rgb.parent)
    shutil.copy("photo.png", "other.png")
    Path("bad.png").write_text("nothing")
    assert run("photo.png", "bad.png", "other.png", "-o", "out", "--json", "--plan") == 1
    told = capsys.readouterr()
    assert [line for line in told.err.splitlines() if "error: 'bad.png' is not a picture" in line]
    found = json.loads(told.out)
    assert found["failed"] == ["bad.png"]
    assert [each["photo"] for each in found["written"]] == ["photo.png", "other.png"]
    assert len(found["plans"]) == 2


@pytest.mark.parametrize(("ending", "bits"), [(".png", 8), (".png", 16), (".tif", 16), (".tif", 32)])
def test_a_picture_has_the_bits_that_are_asked_for(
    ending: str, bits: int, rgb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rgb.parent)
    assert run("photo.png", "-o", f"a{ending}", "--bits", str(bits), "--npy", "a.npy", "--quiet") == 0
    error = np.abs(sf.read_image(f"a{ending}") - np.load("a.npy").clip(0, None if bits == 32 else 1)).max()
    assert error <= (0 if bits == 32 else 0.51 / (2**bits - 1))


def test_arrays_of_any_planes_are_filtered(
    rgb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(rgb.parent)
    planes = np.random.default_rng(0).random((5, 20, 30)).astype(np.float32)
    np.save("five.npy", planes)
    assert run("five.npy", "-o", "five.tif", "--bits", "32", "--gamma", "2") == 0
    expected = sf.filters.Sobolev(gamma=2)(planes)
    np.testing.assert_array_equal(tifffile.imread("five.tif").transpose(2, 0, 1), expected)
    assert run("five.npy", "-o", "five.png") == 2
    assert "5 planes" in capsys.readouterr().err
