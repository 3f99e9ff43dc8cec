"""A linear filter of somebody else's program: one class, and all the rest follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import sobolevflow as sf
from sobolevflow import named
from sobolevflow.cli.main import main
from sobolevflow.filters import Boundary, Filter, frequencies, from_dict, reference
from sobolevflow.named import Option
from tests.support.plain_descent import PLAIN


@dataclass(frozen=True)
class Binomial(Filter):
    """The weighted mean of a pixel and its neighbours, 1 2 1 along each axis, several times."""

    times: int = 1
    boundary: Boundary = "reflect"

    def kernel(self, *, normalised: bool = True) -> np.ndarray:
        """Binomial coefficients along each axis."""
        line = np.poly1d([0.25, 0.5, 0.25]) ** self.times
        return np.outer(line.c, line.c)

    def response(self, h: int, w: int) -> np.ndarray:
        """cos^2 of half the frequency, along each axis, to the power `times`."""
        along_y, along_x = (np.cos(frequencies(n, self.boundary) / 2) ** (2 * self.times) for n in (h, w))
        return np.outer(along_y, along_x)


@pytest.fixture
def entered() -> Iterator[None]:
    """The filter, known by its name as long as a test runs."""
    enter = named.named(
        "operator",
        "binomial",
        Option("times", "how often (default: 1)", "count"),
        places=("filter", "K_f", "K_e"),
        strength="times",
    )
    enter(Binomial)
    yield
    named.forget("operator", "binomial")


def by_hand(x: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        for axis in (-2, -1):
            x = ndimage.correlate1d(x, [0.25, 0.5, 0.25], axis=axis, mode="reflect")
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kernel_and_response_are_a_filter(dtype: type) -> None:
    x: Any = np.random.default_rng(0).random((2, 3, 17, 24)).astype(dtype)
    f, tolerance = Binomial(3), 20 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(f(x), by_hand(x, 3), atol=tolerance)
    np.testing.assert_allclose(reference(f, x), by_hand(x, 3), atol=tolerance)
    assert f.plan(x.shape, dtype).method == "spectral"
    assert np.abs(f(x) - by_hand(x, 3)).max() <= f.plan(x.shape, dtype).error_bound
    np.testing.assert_allclose((f @ Binomial(2))(x), by_hand(x, 5), atol=tolerance)
    np.testing.assert_allclose((2 * f - f**2)(x), 2 * by_hand(x, 3) - by_hand(x, 6), atol=3 * tolerance)


def test_it_comes_back_from_a_manifest(entered: None) -> None:
    f = Binomial(3) @ sf.filters.Sobolev(5)
    assert from_dict(json.loads(json.dumps(f.to_dict()))) == f
    scheme = sf.fluid_elastic(sf.NaturalColour() @ Binomial(2), Binomial())
    assert sf.schemes.Scheme.from_dict(json.loads(json.dumps(scheme.to_dict()))) == scheme
    assert scheme.in_words() == "fluid-elastic natural colour times 2 times 1"


def test_a_step_of_a_descent_is_equation_18(entered: None) -> None:
    net = sf.load("builtin:shapes-vgg")
    start = np.random.default_rng(1).random((1, *net.input_shape)).astype(np.float32)
    objective, tau = sf.Class(0), 1e-2
    result = sf.visualize(
        net,
        objective,
        scheme=sf.fluid_elastic(Binomial(2), Binomial()),
        steps=1,
        tau=tau,
        start=start,
        **PLAIN,
    )
    _, g = sf.value_and_grad(net, objective)(start)
    assert tau * np.abs(g).max() > 1e-5
    np.testing.assert_allclose(result.u, by_hand(start + tau * by_hand(g, 2), 1), atol=1e-6)
    assert result.manifest["parameters"]["scheme"]["K_f"] == {
        "filter": "Binomial",
        "times": 2,
        "boundary": "reflect",
    }


def test_the_command_line_filters_with_it(entered: None, tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 31, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    arguments = ["--filter", "binomial", "--times", "3", "-o", str(tmp_path / "o.png")]
    assert main(["filter", str(tmp_path / "photo.png"), *arguments, "--npy", str(tmp_path / "o.npy")]) == 0
    planes = np.moveaxis(pixels, -1, 0) / np.float32(255)
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), by_hand(planes, 3), atol=1e-6)


def test_the_command_line_descends_with_it(entered: None, tmp_path: Path) -> None:
    output = tmp_path / "o.png"
    descent = ["visualize", "builtin:shapes-vgg", "--class", "0", "--steps", "2", "--quiet"]
    assert (
        main([*descent, "--scheme", "fluid", "--filter", "binomial", "--times", "2", "-o", str(output)]) == 0
    )
    manifest = json.loads(output.with_suffix(".manifest.json").read_text())
    assert manifest["parameters"]["scheme"]["K_f"]["times"] == 2


def test_the_command_line_names_it_no_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["filter", str(tmp_path / "photo.png"), "--filter", "binomial", "-o", str(tmp_path / "o.png")])
    assert "binomial" in capsys.readouterr().err
