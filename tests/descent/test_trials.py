"""gamma is the largest that the value follows, whichever unit, seed or batch is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.descent import trials
from sobolevflow.descent.trials import SHARES
from sobolevflow.gradient import Engine
from tests.support.small_networks import small_model


def gamma(result: sf.Result) -> float:
    K_f: Any = sf.schemes.Scheme.from_dict(result.manifest["parameters"]["scheme"]).K_f
    (smooth,) = [each for each in K_f.maps if isinstance(each, sf.filters.Sobolev)]
    return float(np.ravel(smooth.gamma)[0])


def visualized(net: sf.Network, objective: sf.objectives.Objective, **given: Any) -> sf.Result:
    return sf.visualize(net, objective, **{"steps": 1, "progress": False, **given})


def test_a_network_that_hardly_follows_gets_a_smaller_gamma() -> None:
    net = sf.load("builtin:shapes-dense")
    largest = 1000 * (96 / 224) ** 2
    assert gamma(visualized(net, sf.Class(3))) in [pytest.approx(share * largest) for share in SHARES[1:]]


def test_what_is_asked_for_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the class, nor seed, batch, start, steps or tau; and it is tried once."""
    net, usual = sf.load("builtin:shapes-vgg"), trials._tried
    tried: list[Any] = []

    def counted(*given: Any) -> float:
        tried.append(given)
        return usual(*given)

    monkeypatch.setattr(trials, "_tried", counted)
    others: list[tuple[Any, dict[str, Any]]] = [
        (0, {}),
        (5, {"seed": 7}),
        ([1, 2, 3], {"start": "grey"}),
        (4, {"steps": 2, "tau": 0.1, "jitter": 0}),
    ]
    found = {gamma(visualized(net, sf.Class(which), **given)) for which, given in others}
    assert len(found) == 1
    assert len(tried) == 1
    fresh = visualized(sf.load("builtin:shapes-vgg"), sf.Class(9))
    assert {gamma(fresh)} == found


def test_every_other_target_is_tried_by_itself() -> None:
    """What was visualized before changes nothing of a picture."""
    neurons = [sf.Neuron("conv2", k, 1, 1) for k in range(3)]
    net = sf.load(small_model(), preprocess="none")
    one_after_the_other = [visualized(net, neuron, steps=4).u for neuron in neurons]
    for neuron, u in zip(neurons, one_after_the_other, strict=True):
        alone = sf.load(small_model(), preprocess="none")
        np.testing.assert_array_equal(visualized(alone, neuron, steps=4).u, u)


def test_gamma_and_jitter_suit_what_the_unit_sees() -> None:
    net = sf.load("builtin:shapes-vgg")
    first = next(info.name for info in net.layers if info.op == "Conv")
    size = max(sf.receptive_field(net, first).size)
    assert size < 10
    result = visualized(net, sf.Channel(first, 1))
    largest = 1000 * (size / 224) ** 2
    assert gamma(result) in [pytest.approx(share * largest) for share in SHARES]
    assert result.manifest["parameters"]["jitter"] == max(1, round(24 * size / 224))


@pytest.mark.parametrize(
    "given",
    [
        {"scheme": sf.fluid(sf.filters.Sobolev(size=5))},
        {"recipe": "paper"},
        {"parametrization": sf.Fourier()},
    ],
    ids=lambda given: next(iter(given)),
)
def test_nothing_is_tried_beside_what_is_given(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, evaluate = [], Engine.__call__

    def counted(engine: Engine, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(u))
        return evaluate(engine, u)

    monkeypatch.setattr(Engine, "__call__", counted)
    visualized(sf.load("builtin:shapes-vgg"), sf.Class(2), **given)
    assert len(calls) < 8


def test_images_are_compared_in_none_of_the_trials() -> None:
    net = sf.load("builtin:shapes-vgg")
    objective = sf.Class(3) + -0.1 * sf.Diversity(net.layers[4].name)
    result = visualized(net, objective, batch=2)
    assert gamma(result) == gamma(visualized(net, sf.Class(3)))


def test_an_image_that_clips_too_much_loses_contrast() -> None:
    net = sf.load("builtin:shapes-vgg")
    usual = {"steps": 60, "tau": 8 / 255}

    def ends(u: np.ndarray) -> float:
        return float(((u <= 0) | (u >= 1)).mean())

    assert ends(visualized(net, sf.Class(1), **usual).u) < 0.01
    assert ends(visualized(net, sf.Class(1), clipped=1, **usual).u) > 0.05
