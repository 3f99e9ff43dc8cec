"""What a descent on the command line starts from, where it may change, and its other options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tifffile
from PIL import Image

import sobolevflow as sf
from tests.support.command_line import run
from tests.support.small_networks import generator

VGG = "builtin:shapes-vgg"


@pytest.fixture
def photo(tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(rng.integers(0, 256, (120, 100, 3), dtype=np.uint8)).save("photo.png")
    return Path("photo.png")


def visualized(*options: object, steps: int = 1, tau: str = "1/100000") -> np.ndarray:
    """The images after one step that changes next to nothing."""
    given = ["--class", "0", "--steps", steps, "--tau", tau, "--jitter", 0, "--rotate", 0, "--zoom", 0]
    words = ["visualize", VGG, *given, *options, "--quiet", "-o", "a.png", "--npy", "a.npy"]
    assert run(*words) == 0
    images: np.ndarray = np.load("a.npy")
    return images


def manifest() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Path("a.manifest.json").read_text())["parameters"]
    return told


@pytest.mark.parametrize(
    ("options", "size"), [([], 96), (["--canvas", "110x110"], 110), (["--octaves", "1.25:1"], 120)]
)
def test_a_photograph_is_read_at_the_size_that_the_descent_begins_with(
    photo: Path, options: list[str], size: int
) -> None:
    steps = [] if "--octaves" in options else options
    found = visualized("--start", photo, *(steps or options))
    expected = sf.read_image(photo, size=(size, size))
    np.testing.assert_allclose(found[0], expected, atol=1e-3)


def test_several_starts_are_a_batch(photo: Path) -> None:
    found = visualized("--start", photo, "--start", photo, "--noise", 0)
    assert len(found) == 2
    np.testing.assert_array_equal(found[0], found[1])


def test_an_array_that_fits_is_taken_as_it_is_and_others_are_pictures(
    photo: Path, rng: np.random.Generator
) -> None:
    start = rng.random((2, 3, 96, 96)).astype(np.float32)
    np.save("two.npy", start)
    np.testing.assert_allclose(visualized("--start", "two.npy", "--batch", 2), start, atol=1e-3)
    np.save("bytes.npy", rng.integers(0, 256, (120, 100, 3), dtype=np.uint8))
    expected = sf.read_image("bytes.npy", size=(96, 96))
    np.testing.assert_allclose(visualized("--start", "bytes.npy")[0], expected, atol=1e-3)
    found = visualized("--start", photo, "--start", "bytes.npy", "--batch", 2)
    np.testing.assert_allclose(found[1], expected, atol=1e-3)


def test_a_start_in_words(photo: Path) -> None:
    np.testing.assert_array_equal(visualized("--start", "natural"), visualized())
    assert np.abs(visualized("--start", "grey") - visualized()).max() > 0.01
    assert run("visualize", VGG, "--class", "0", "--start", "grey", "--start", photo, "-o", "b.png") == 2


@pytest.mark.parametrize("file", ["mask.png", "mask.npy"])
def test_a_mask_says_where_the_picture_may_change(photo: Path, file: str) -> None:
    mask = np.zeros((96, 96), bool)
    mask[:, :48] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save("mask.png")
    np.save("mask.npy", mask)
    found = visualized("--start", photo, "--mask", file, tau="1/10")[0]
    changed = np.abs(found - sf.read_image(photo, size=(96, 96))).max(axis=0) > 0
    assert changed[:, :40].mean() > 0.9
    assert not changed[:, 48:].any()


def test_values_may_leave_the_unit_interval(photo: Path) -> None:
    assert visualized("--no-clip", tau="2").max() > 1
    assert visualized(tau="2").max() <= 1


@pytest.mark.parametrize(("name", "bits"), [("a.png", 16), ("a.tif", 16), ("a.tif", 32)])
def test_a_picture_keeps_its_bits(photo: Path, name: str, bits: int) -> None:
    words = ["visualize", VGG, "--class", "0", "--steps", 1, "--quiet", "--npy", "u.npy"]
    assert run(*words, "-o", name, "--bits", bits) == 0
    error = np.abs(sf.read_image(name) - np.load("u.npy")[0]).max()
    assert error <= (0 if bits == 32 else 0.51 / 65535)


def test_what_a_generator_draws_has_eight_bits(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(generator((96, 96)), "gan.onnx")
    words = ["visualize", VGG, "--generator", "gan.onnx", "--class", "0", "--quiet", "--steps", 1]
    assert run(*words, "-o", "a.png", "--bits", 16) == 2
    assert "--bits 8 is all" in capsys.readouterr().err
    assert not Path("a.png").exists()
    np.save("code.npy", np.full((5, 1, 1), 0.25, np.float32))
    assert run(*words, "-o", "a.png", "--start", "code.npy", "--tau", "1/100000", "--npy", "u.npy") == 0
    np.testing.assert_allclose(np.load("u.npy"), 0.25, atol=1e-3)
    assert run(*words, "-o", "a.png", "--start", photo) == 2
    assert "give it as .npy" in capsys.readouterr().err


def test_a_batch_of_floating_point_is_laid_out_on_white(photo: Path) -> None:
    words = ["visualize", VGG, "--class", "0", "--class", "1", "--steps", 1, "--quiet", "--npy", "u.npy"]
    assert run(*words, "-o", "a.tif", "--bits", 32) == 0
    sheet, u = tifffile.imread("a.tif"), np.load("u.npy").transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(sheet[:, :96], u[0])
    np.testing.assert_array_equal(sheet[:, -96:], u[1])
    assert (sheet[:, 96:100] == 1).all()


def test_octaves_and_snapshots_one_by_one(photo: Path) -> None:
    visualized("--octaves", "1:2,1.25:1:1/100", "--snapshots", "0,3")
    octaves = manifest()["octaves"]
    assert [each["scale"] for each in octaves] == [1, 1.25]
    assert [each["steps"] for each in octaves] == [2, 1]
    assert [each["tau"] for each in octaves] == [None, 0.01]
    assert manifest()["snapshots"] == [0, 3]


@pytest.mark.parametrize(
    ("options", "where", "expected"),
    [
        (["--optimizer", "momentum", "--momentum-decay", "0.5"], "optimizer", {"decay": 0.5}),
        (["--optimizer", "adam", "--beta1", "0.8"], "optimizer", {"beta1": 0.8, "beta2": 0.999}),
        (["--parametrization", "fourier", "--spectrum-decay", "1.5"], "parametrization", {"decay": 1.5}),
        (["--parametrization", "phase", "--contrast", "2"], "parametrization", {"decay": 1, "contrast": 2}),
    ],
)
def test_optimizers_and_parametrizations_have_their_options(
    photo: Path, options: list[str], where: str, expected: dict[str, float]
) -> None:
    visualized(*options)
    assert expected.items() <= manifest()[where].items()


def test_a_penalty_stands_beside_a_scheme_or_alone(photo: Path) -> None:
    visualized("--penalty", "dirichlet", "--penalty-weight", "1/10")
    scheme = manifest()["scheme"]
    assert (scheme["name"], scheme["penalty"]["weight"]) == ("gradient-descent", 0.1)
    visualized("--penalty", "smoothed-tv", "--penalty-weight", "1/10", "--gamma", "2", "--scheme", "fluid")
    scheme = manifest()["scheme"]
    assert scheme["K_f"]["gamma"] == 2
    assert scheme["penalty"]["weight"] == 0.1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--beta1", "0.5"], "--beta1 belongs to --optimizer adam"),
        (
            ["--optimizer", "momentum", "--beta1", "0.5"],
            "--beta1 belongs to --optimizer adam, not to momentum",
        ),
        (["--penalty", "dirichlet"], "--penalty-weight X are given together"),
        (["--octaves", "1:x"], "SCALE:STEPS[:TAU]"),
        (["--octaves", "1:2.5"], "SCALE:STEPS[:TAU]"),
        (["--octaves", "1,1:5"], "SCALE:STEPS[:TAU]"),
        (["--octaves=-1"], "at least 1"),
        (["--tau", "1e400"], "'1e400' is not a number or a fraction"),
        (["--snapshots", "1,-2"], "whole number"),
        (["--start", "photo.png", "--start", "two.npy", "--batch", "2"], "given once"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    photo: Path, options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("two.npy", np.zeros((2, 3, 96, 96), np.float32))
    assert run("visualize", VGG, "--class", "0", "--quiet", "-o", "a.png", *options) == 2
    assert says in capsys.readouterr().err


def test_a_feature_mask_weighs_what_is_inverted(photo: Path) -> None:
    np.save("mask.npy", np.eye(96, dtype=np.float32))
    words = ["invert", VGG, photo, "--layer", "block2_relu2", "--steps", 1, "--quiet", "-o", "a.png"]
    assert run(*words, "--feature-mask", "mask.npy", "--start", photo) == 0
    told = json.loads(Path("a.manifest.json").read_text())
    assert told["objective"]["mask"]["shape"] == [96, 96]


def test_inspect_says_where_nothing_is_found_and_prints_notes_beside(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("inspect", VGG, "--grep", "block2_rulu2") == 0
    told = capsys.readouterr()
    assert "gradient" not in told.out.splitlines()[-1]
    assert "no layer or operator has 'block2_rulu2' in its name. Did you mean 'block2_relu2'" in told.err
    bare = (
        sf.models.path("shapes-vgg")
        .read_bytes()
        .replace(b"sobolevflow.preprocess", b"sobolevflow.nothing_th")
    )
    Path("bare.onnx").write_bytes(bare)
    assert run("inspect", "bare.onnx") == 0
    told = capsys.readouterr()
    assert "note: " in told.err
    assert "note: " not in told.out
    assert run("inspect", "bare.onnx", "--quiet") == 0
    assert capsys.readouterr().err == ""
