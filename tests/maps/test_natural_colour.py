"""Natural colours: the covariance as a preconditioner, and in the place of K_f."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.errors import InputError
from sobolevflow.filters import Sobolev
from sobolevflow.maps.natural_colour import PHOTOGRAPHS, NaturalColour
from sobolevflow.schemes import Scheme


def test_each_pixel_is_multiplied_by_the_covariance(rng: np.random.Generator) -> None:
    g = rng.standard_normal((2, 3, 4, 5))
    C = np.array(PHOTOGRAPHS) * 3 / np.trace(PHOTOGRAPHS)
    np.testing.assert_allclose(NaturalColour()(g), np.einsum("cd,ndhw->nchw", C, g))
    np.testing.assert_allclose(NaturalColour()(g[0]), NaturalColour()(g)[0])
    assert NaturalColour()(g.astype(np.float32)).dtype == np.float32


def test_most_of_the_variance_is_of_brightness() -> None:
    values, vectors = np.linalg.eigh(PHOTOGRAPHS)
    assert 0.88 < values[-1] / values.sum() < 0.95
    np.testing.assert_allclose(np.abs(vectors[:, -1]), 1 / np.sqrt(3), atol=0.05)
    grey = NaturalColour()(np.ones((3, 1, 1)))
    assert abs(grey - grey.mean()).max() < 0.1 * grey.mean()


def test_it_is_plain_descent_in_coordinates_without_correlation(rng: np.random.Generator) -> None:
    """u = A v with C = A A^T: a step of v along its own gradient, seen in u."""
    g, u = rng.standard_normal((2, 1, 3, 6, 7))
    A = np.linalg.cholesky(NaturalColour().matrix)

    def at_each_pixel(matrix: Any, x: Any) -> Any:
        return np.einsum("cd,ndhw->nchw", matrix, x)

    v = at_each_pixel(np.linalg.inv(A), u)
    moved = at_each_pixel(A, v - 0.1 * at_each_pixel(A.T, g))
    found, _ = sf.fluid(NaturalColour()).step(u, g, 0.1)
    np.testing.assert_allclose(found, moved, atol=1e-12)


def test_a_covariance_of_ones_own_is_of_mean_variance_one() -> None:
    found = NaturalColour(((4.0, 1.0), (1.0, 2.0)))
    np.testing.assert_allclose(found.matrix, np.array([[4, 1], [1, 2]]) / 3)
    assert found == NaturalColour(((4, 1), (1, 2)))
    np.testing.assert_allclose(NaturalColour(((7.0,),))(np.full((1, 2, 2), 0.3)), 0.3)


def test_beside_filters_it_commutes_and_stands_at_k_f(rng: np.random.Generator) -> None:
    K, colour = Sobolev(gamma=2.0), NaturalColour()
    g = rng.standard_normal((2, 3, 9, 8))
    np.testing.assert_allclose((colour @ K)(g), (K @ colour)(g), atol=1e-12)
    u = rng.random((2, 3, 9, 8))
    found, state = sf.fluid_elastic(colour @ K, K).step(u, g, 0.1)
    np.testing.assert_allclose(found, K(u - 0.1 * colour(K(g))), atol=1e-12)
    assert state is None


def test_it_survives_the_manifest() -> None:
    scheme = sf.fluid(NaturalColour() @ Sobolev(gamma=1000.0, method="exact"))
    again = Scheme.from_dict(json.loads(json.dumps(scheme.to_dict())))
    assert again == scheme
    assert scheme.effective_weight(1.0) is None


def test_pictures_become_less_colourful() -> None:
    net = sf.load("builtin:shapes-vgg")
    settings: dict[str, Any] = {"steps": 20, "progress": False, "seed": 1}

    def colourfulness(scheme: Scheme) -> float:
        u = sf.visualize(net, sf.Class("spiral"), scheme=scheme, **settings).u
        return float((u - u.mean(axis=1, keepdims=True)).std() / u.std())

    K = Sobolev(size=11)
    assert colourfulness(sf.fluid(NaturalColour() @ K)) < 0.6 * colourfulness(sf.fluid(K))


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        (((1.0, 2.0), (2.0, 1.0)), "positive definite"),
        (((1.0, 0.5), (0.4, 1.0)), "symmetric"),
        (((1.0, 0.5),), "symmetric"),
        (((np.nan,),), "finite"),
        ("grey", "symmetric"),
        (((1.0,), (1.0, 2.0)), "symmetric"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NaturalColour(covariance)


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"of 3 channels, but the image has shape \(1, 1, 4, 4\)"):
        NaturalColour()(np.ones((1, 1, 4, 4)))
