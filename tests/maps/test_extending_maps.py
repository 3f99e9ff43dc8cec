"""A non-linear operator of somebody else's program: one class, and all the rest follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import sobolevflow as sf
from sobolevflow import named
from sobolevflow.cli.main import main
from sobolevflow.filters import Sobolev
from sobolevflow.maps import Map
from sobolevflow.named import Option
from sobolevflow.proximal import Box
from tests.support.plain_descent import PLAIN


@dataclass(frozen=True)
class Median(Map):
    """The median of a square window about each pixel."""

    radius: int = 1

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Filter `u`, (..., H, W)."""
        side = 2 * self.radius + 1
        size = (1,) * (u.ndim - 2) + (side, side)
        return np.asarray(ndimage.median_filter(u, size=size, mode="reflect"))


@pytest.fixture
def entered() -> Iterator[None]:
    """The operator, known by its name as long as a test runs."""
    enter = named.named(
        "operator",
        "median",
        Option("radius", "of the window, in pixels (default: 1)", "count"),
        places=("filter", "K_e"),
        strength="radius",
    )
    enter(Median)
    yield
    named.forget("operator", "median")


def by_hand(u: np.ndarray, radius: int = 1) -> np.ndarray:
    margin = ((0, 0),) * (u.ndim - 2) + ((radius, radius),) * 2
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(u, margin, mode="symmetric"), (2 * radius + 1,) * 2, axis=(-2, -1)
    )
    return np.asarray(np.median(windows, axis=(-2, -1)))


def test_it_comes_back_from_a_manifest(entered: None) -> None:
    scheme = sf.fluid_elastic(Sobolev(5), Box() @ Median(2))
    assert sf.schemes.Scheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme
    assert scheme.in_words().endswith("box radius 2")


def test_what_is_known_by_no_name_does_not() -> None:
    described = json.loads(json.dumps(sf.elastic(Median(2)).to_dict()))
    assert described["K_e"] == {"operator": "Median", "radius": 2}
    with pytest.raises(sf.errors.InputError, match="cannot be made from"):
        sf.schemes.Scheme.from_dict(described)


def test_steps_of_a_descent_are_equation_18() -> None:
    net = sf.load("builtin:shapes-vgg")
    start = np.random.default_rng(1).random((1, *net.input_shape)).astype(np.float32)
    objective, tau, K_f = sf.Class(0), 1e-2, Sobolev(5)
    result = sf.visualize(
        net,
        objective,
        scheme=sf.fluid_elastic(K_f, Median(1)),
        steps=2,
        tau=tau,
        start=start,
        **PLAIN,
    )
    u, gradient = start, sf.value_and_grad(net, objective)
    for _ in range(2):
        u = by_hand(u + np.float32(tau) * K_f(gradient(u)[1])).astype(np.float32)
    assert np.abs(u - by_hand(by_hand(start))).max() > 1e-5
    np.testing.assert_allclose(result.u, u, atol=1e-6)


def test_the_command_line_filters_with_it(
    entered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 31, 3), np.uint8)
    photo, output = str(tmp_path / "photo.png"), str(tmp_path / "o.png")
    Image.fromarray(pixels).save(photo)
    assert main(["filter", photo, "--filter", "median", "--radius", "2", "-o", output]) == 0
    expected = by_hand(np.moveaxis(pixels, -1, 0), 2)
    with Image.open(output) as written:
        np.testing.assert_array_equal(np.moveaxis(np.asarray(written), -1, 0), expected)
    capsys.readouterr()
    assert main(["filter", photo, "--filter", "median", "--plan"]) == 2
    assert "--plan is for linear filters" in capsys.readouterr().err


def test_the_command_line_descends_with_it(
    entered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.png"
    descent = [
        "visualize",
        "builtin:shapes-vgg",
        "--class",
        "0",
        "--steps",
        "2",
        "--quiet",
        "-o",
        str(output),
    ]
    assert main([*descent, "--scheme", "elastic", "--filter", "median", "--radius", "2"]) == 0
    manifest = json.loads(output.with_suffix(".manifest.json").read_text())
    assert manifest["parameters"]["scheme"]["K_e"] == {"operator": "Median", "radius": 2}
    capsys.readouterr()
    assert main([*descent, "--scheme", "fluid", "--filter", "median"]) == 2
    assert "--filter median smooths the image, not the update" in capsys.readouterr().err
