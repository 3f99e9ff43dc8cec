"""Other coordinates than pixels: adjoints, inverses, the limit of fluid Sobolev demons, and descents."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.random import default_rng

import sobolevflow as sf
from sobolevflow.descent.parametrization import Parametrization, frequencies, hartley
from sobolevflow.errors import InputError
from sobolevflow.filters import Sobolev
from sobolevflow.schemes import gradient_descent
from tests.support.small_networks import images, small_model

KINDS = [
    sf.Fourier(),
    sf.Fourier(squash=False),
    sf.Fourier(natural_colour=False, decay=1.5),
    sf.Phase(),
    sf.Phase(squash=False, natural_colour=False),
]
SHAPES = [(2, 3, 8, 10), (1, 3, 7, 9), (2, 1, 6, 5)]


@pytest.fixture
def net() -> sf.Network:
    return sf.load(small_model(), preprocess="none")


@pytest.mark.parametrize("shape", SHAPES)
def test_hartley_is_its_own_inverse_and_adjoint(shape: tuple[int, ...]) -> None:
    x, y = (default_rng(k).standard_normal(shape) for k in (0, 1))
    np.testing.assert_allclose(hartley(hartley(x)), x, atol=1e-12)
    np.testing.assert_allclose(np.vdot(hartley(x), y), np.vdot(x, hartley(y)))
    np.testing.assert_allclose(np.linalg.norm(hartley(x)), np.linalg.norm(x))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_gradient_is_that_of_differences(kind: Any, shape: tuple[int, ...]) -> None:
    rng = default_rng(2)
    z = kind.start(rng.random(shape).astype(np.float32)).astype(np.float64)
    g, direction = rng.standard_normal(shape), rng.standard_normal(z.shape)
    step = 1e-3
    up, down = (kind.image(z + sign * step * direction).astype(np.float64) for sign in (1, -1))
    expected = np.vdot(g, (up - down) / (2 * step))
    found = np.vdot(kind.adjoint(z, g).astype(np.float64), direction)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-3 * float(np.linalg.norm(g)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if isinstance(kind, sf.Fourier)], ids=str)
def test_coefficients_give_the_image_back(kind: Any, shape: tuple[int, ...]) -> None:
    u = 0.1 + 0.8 * default_rng(3).random(shape).astype(np.float32)
    np.testing.assert_allclose(kind.image(kind.start(u)), u, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_phases_keep_where_things_are_and_lose_how_strong_they_are(shape: tuple[int, ...]) -> None:
    kind = sf.Phase(squash=False, natural_colour=False, contrast=0.7)
    u = default_rng(4).random(shape).astype(np.float32)
    found = kind.image(kind.start(u))
    spectrum, original = np.fft.fft2(found), np.fft.fft2(u)
    f = frequencies(*shape[-2:])
    inside = (f > 0) & (f < 0.5)
    expected = kind.magnitude(*shape[-2:]) * np.sqrt(np.prod(shape[-2:]))
    np.testing.assert_allclose(
        np.abs(spectrum)[..., inside], np.broadcast_to(expected, shape)[..., inside], rtol=1e-3
    )
    turned = np.exp(1j * (np.angle(spectrum) - np.angle(original)))
    np.testing.assert_allclose(turned[..., inside], 1, atol=1e-3)
    assert np.std(found, axis=(-2, -1)) == pytest.approx(0.7, rel=1e-3)


def test_values_of_a_squashed_image_stay_within_bounds() -> None:
    for kind in (sf.Fourier(), sf.Phase()):
        z = 30 * default_rng(0).standard_normal((1, 3, 16, 16))
        u = kind.image(z)
        assert u.dtype == np.float32
        assert ((u >= 0) & (u <= 1)).all()


def band_limited(size: int, below: float) -> np.ndarray:
    spectrum = np.fft.fft2(default_rng(5).standard_normal((size, size)))
    f = frequencies(size, size)
    spectrum[(f == 0) | (f > below)] = 0
    return np.asarray(np.fft.ifft2(spectrum).real)


def test_plain_descent_in_fourier_coefficients_is_the_limit_of_fluid_sobolev_demons() -> None:
    size = 64
    kind = sf.Fourier(natural_colour=False, squash=False)
    g = band_limited(size, below=0.06)[None, None].astype(np.float32)
    u = np.full_like(g, 0.5)
    state = kind.start(u)
    scheme = gradient_descent()
    z, _ = scheme.step(state, kind.adjoint(state, g), 1.0)
    by_coefficients = (kind.image(z) - u).astype(np.float64)
    # s^2 = 1 / |f|^2 up to its scale, and |w| = 2 pi |f|
    scaled = (
        by_coefficients * np.mean(1 / np.maximum(frequencies(size, size), 1 / size) ** 2) / (4 * np.pi**2)
    )

    def by_demons(gamma: float) -> np.ndarray:
        fluid = sf.fluid(Sobolev(gamma=gamma, boundary="periodic"))
        stepped, _ = fluid.step(u.astype(np.float64), g.astype(np.float64), gamma)
        return np.asarray(stepped - u)

    errors = [
        np.linalg.norm(by_demons(gamma) - scaled) / np.linalg.norm(scaled) for gamma in (1e2, 1e3, 1e4, 1e5)
    ]
    assert errors[0] > 5 * errors[1]
    assert errors[1] > 5 * errors[2]
    # what stays is that the Laplacian of five points has 4 sin^2(w / 2) in place of w^2
    assert errors[3] < 0.02


def test_at_the_highest_frequency_the_two_differ_by_the_laplacian() -> None:
    size = 32
    kind = sf.Fourier(natural_colour=False, squash=False)
    s = kind.scale(size, size) ** 2
    ratio = s[0, size // 2] / s[0, 1]
    sobolev = Sobolev(gamma=1e7, boundary="periodic").response(size, size)
    theirs = sobolev[0, size // 2] / sobolev[0, 1]
    assert theirs / ratio == pytest.approx(np.pi**2 / 4, rel=0.01)


@pytest.mark.parametrize("kind", [sf.Fourier(), sf.Phase()], ids=["fourier", "phase"])
def test_descents_raise_the_score_and_repeat_themselves(net: sf.Network, kind: Any) -> None:
    def run() -> sf.Result:
        return sf.visualize(net, sf.Class(1), parametrization=kind, steps=40, batch=2, progress=False)

    result, again = run(), run()
    assert result.value is not None
    assert (result.value > result.history.value[0]).all()
    np.testing.assert_array_equal(result.u, again.u)
    assert result.manifest["parameters"]["parametrization"]["name"] in ("fourier", "phase")
    assert result.manifest["parameters"]["optimizer"]["name"] == "adam"
    assert json.dumps(result.manifest)


def test_octaves_carry_the_image_over(net: sf.Network) -> None:
    octaves = [sf.Octave(1.0, 5), sf.Octave(1.5, 1, tau=1e-6)]
    result = sf.visualize(
        net,
        sf.Class(1),
        parametrization=sf.Fourier(),
        octaves=octaves,
        snapshots=[5],
        jitter=0,
        rotate=0,
        zoom=0,
        progress=False,
    )
    assert result.u.shape[-2:] == (12, 15)
    enlarged = sf.transforms.Resize((8, 10), (12, 15)).apply(
        np.moveaxis(result.snapshots[5], -1, 1).astype(np.float32) / 255
    )
    np.testing.assert_allclose(result.u, enlarged.clip(0, 1), atol=0.01)


def test_inversion_in_fourier_coefficients(net: sf.Network) -> None:
    photo = images(1, seed=7)
    result = sf.invert(
        net, sf.Inversion("conv1", photo), parametrization=sf.Fourier(), jitter=0, steps=200, progress=False
    )
    assert result.value is not None
    assert result.value[0] < 0.1 * result.history.value[0][0]


def test_a_scheme_of_pixels_has_no_place(net: sf.Network) -> None:
    with pytest.raises(InputError, match="leave the scheme out"):
        sf.visualize(
            net, sf.Class(0), scheme=sf.fluid(Sobolev(5)), parametrization=sf.Fourier(), progress=False
        )
    with pytest.raises(InputError, match=r"sf.Fourier\(\)"):
        sf.visualize(net, sf.Class(0), parametrization="fourier", progress=False)  # type: ignore[arg-type]


def test_parameters_are_checked_and_described() -> None:
    with pytest.raises(InputError, match="decay"):
        sf.Fourier(decay=float("nan"))
    with pytest.raises(InputError, match="contrast"):
        sf.Phase(contrast=0)
    for kind in (sf.Fourier(decay=1.2), sf.Phase(contrast=2.0)):
        assert isinstance(kind, Parametrization)
        assert json.loads(json.dumps(kind.to_dict())).keys() > {"name", "decay", "squash"}
