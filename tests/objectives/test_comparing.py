"""Caricature and diversity against the formulas in NumPy, and their gradients against differences."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.errors import AssumptionWarning, InputError
from tests.support.small_networks import images, small_model


@pytest.fixture
def net() -> sf.Network:
    return sf.load(small_model(), preprocess="none")


def gradient_of_sum(net: sf.Network, objective: sf.objectives.Objective, u: np.ndarray) -> float:
    """Relative error of <gradient, d> against a difference of the sum of the values, in float64."""
    rng = np.random.default_rng(5)
    direction = rng.standard_normal(u.shape)
    _, gradient = sf.value_and_grad(net, objective)(u)
    evaluate = sf.value_and_grad(net, objective)
    step = 1e-3
    up, down = (evaluate((u + sign * step * direction).astype(np.float32))[0].sum() for sign in (1, -1))
    expected = (up - down) / (2 * step)
    return float(abs(np.vdot(gradient, direction) - expected) / np.linalg.norm(gradient))


@pytest.mark.parametrize("power", [0, 1, 2.5])
def test_caricature_is_the_inner_product_times_a_power_of_the_cosine(net: sf.Network, power: float) -> None:
    u, photo = images(3, seed=1), images(3, seed=2)
    values, _ = sf.value_and_grad(net, sf.Caricature("conv1", photo, power=power))(u)
    features, target = (net.features(x, ["conv1"])[0].reshape(3, -1).astype(np.float64) for x in (u, photo))
    dot = (features * target).sum(1)
    cosine = dot / np.linalg.norm(features, axis=1) / np.linalg.norm(target, axis=1)
    expected = dot / (target**2).sum(1) * np.maximum(cosine, 0.1) ** power
    np.testing.assert_allclose(values, expected, rtol=1e-4)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_gradient_of_a_caricature(net: sf.Network, power: float) -> None:
    assert sf.check_gradient(net, sf.Caricature("conv2", images(1, seed=2)[0], power=power)) < 1e-3


def test_a_photograph_is_its_own_caricature_of_value_one(net: sf.Network) -> None:
    photo = images(2, seed=2)
    values, _ = sf.value_and_grad(net, sf.Caricature("relu1", photo))(photo)
    np.testing.assert_allclose(values, 1, rtol=1e-5)


def test_features_that_point_elsewhere_still_move(net: sf.Network) -> None:
    photo = images(1, seed=2)
    objective = sf.Caricature("conv1", photo, power=1)
    with pytest.warns(AssumptionWarning, match="holds values from"):  # it is no image
        _, gradient = sf.value_and_grad(net, objective)(-photo)
    assert np.abs(gradient).max() > 0


def test_descending_exaggerates(net: sf.Network) -> None:
    photo = images(1, seed=2)
    plain = sf.gradient_descent()  # a smooth solution would not be one of noise
    result = sf.visualize(
        net, sf.Caricature("relu1", photo), scheme=plain, start=photo, steps=20, jitter=0, progress=False
    )
    assert result.value is not None
    assert result.value[0] > 1.05


def test_accentuation_keeps_the_features_and_raises_the_class(net: sf.Network) -> None:
    photo = images(1, seed=2)

    def reached(weight: float) -> tuple[float, float]:
        objective = sf.Class(1) - weight * sf.Inversion("relu1", photo)
        settings = {"scheme": sf.gradient_descent(), "start": photo, "steps": 20, "jitter": 0}
        result = sf.visualize(net, sf.objectives.maximize(objective), progress=False, **settings)  # type: ignore[arg-type]
        score, _ = sf.value_and_grad(net, sf.Class(1))(result.u)
        distance, _ = sf.value_and_grad(net, sf.Inversion("relu1", photo))(result.u)
        return float(score[0]), float(distance[0])

    before, _ = sf.value_and_grad(net, sf.Class(1))(photo)
    free, near = reached(0.0), reached(20.0)
    assert before[0] < near[0] < free[0]
    assert near[1] < 0.7 * free[1]


def test_diversity_is_minus_the_mean_cosine_of_gram_matrices(net: sf.Network) -> None:
    u = images(4, seed=3)
    values, _ = sf.value_and_grad(net, sf.Diversity("relu1"))(u)
    features = net.features(u, ["relu1"])[0].astype(np.float64).reshape(4, 4, -1)
    grams = np.einsum("nip,njp->nij", features, features).reshape(4, -1)
    unit = grams / np.linalg.norm(grams, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.testing.assert_allclose(values, -(cosines.sum(1) - np.diag(cosines)) / 3, rtol=1e-4)


def test_the_gradient_of_diversity_is_that_of_the_sum(net: sf.Network) -> None:
    assert gradient_of_sum(net, sf.Diversity("conv1"), images(3, seed=3)) < 2e-3


def test_diversity_drives_images_apart(net: sf.Network) -> None:
    objective = sf.Channel("conv1", 1)
    settings = {"batch": 3, "steps": 15, "jitter": 0, "progress": False}
    alone = sf.visualize(net, objective, **settings)  # type: ignore[arg-type]
    together = sf.visualize(net, objective + 20 * sf.Diversity("conv1"), **settings)  # type: ignore[arg-type]
    apart = sf.value_and_grad(net, sf.Diversity("conv1"))
    assert apart(together.u)[0].mean() > apart(alone.u)[0].mean()


def test_what_diversity_cannot_do_is_said() -> None:
    with pytest.raises(InputError, match="batch=2 or more"):
        sf.visualize(sf.load(small_model()), sf.Diversity("relu1"), progress=False)
    with pytest.raises(InputError, match=r"shape \(N, C, H, W\)"):
        sf.visualize(sf.load(small_model()), sf.Diversity("logits"), batch=2, progress=False)
    with pytest.raises(InputError, match="takes one at a time"):
        sf.visualize(sf.load(small_model(batch=1)), sf.Diversity("relu1"), batch=2, progress=False)


@pytest.mark.parametrize("power", [-1, float("nan")])
def test_a_power_that_makes_no_sense_is_refused(power: float) -> None:
    with pytest.raises(InputError, match="power"):
        sf.Caricature("relu1", images(1), power=power)


def test_both_describe_themselves() -> None:
    described = [sf.Caricature("relu1", images(1), power=2).to_dict(), sf.Diversity("relu1").to_dict()]
    assert [each["type"] for each in json.loads(json.dumps(described))] == ["Caricature", "Diversity"]
    assert str(sf.Diversity("relu1")) == "diversity in relu1"
