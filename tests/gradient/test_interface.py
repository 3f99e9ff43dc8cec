"""What a descent asks of a gradient: engines have it, and plain functions of images are given it."""

from __future__ import annotations

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.devices import Device
from sobolevflow.gradient import Engine, ValueAndGradient, as_engine
from tests.support.analytic import Linear
from tests.support.gradient_cases import close
from tests.support.small_networks import images, small_model


@pytest.fixture
def net() -> sf.Network:
    return sf.load(small_model(), preprocess="none")


def test_an_engine_is_taken_as_it_is(net: sf.Network) -> None:
    engine = Engine(net, sf.Class(1))
    assert isinstance(engine, ValueAndGradient)
    assert as_engine(engine) is engine


def test_a_plain_function_is_given_what_it_lacks() -> None:
    direction = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    function = Linear(direction)
    assert not isinstance(function, ValueAndGradient)
    engine = as_engine(function)
    assert isinstance(engine, ValueAndGradient)
    values, gradient = engine(np.ones_like(direction))
    np.testing.assert_array_equal(values, direction.sum(axis=(1, 2, 3)))
    assert gradient is function(direction)[1]
    assert (engine.shape, engine.at_once, engine.device) == ((2, 3, 2, 2), 2, Device("cpu"))
    assert engine.memory.kind == "cpu"
    assert not engine.notes
    assert not engine.indices
    assert "not finite" in engine.blame(direction)


def test_an_engine_differentiates_by_a_layer(net: sf.Network) -> None:
    u = images(3)
    engine = Engine(net, sf.Class([0, 1, 2]), batch=3, wrt="conv2")
    values, gradient = engine(u)
    assert engine.activation is not None
    np.testing.assert_array_equal(values, sf.value_and_grad(net, sf.Class([0, 1, 2]))(u)[0])
    np.testing.assert_array_equal(engine.activation, net.features(u, ["conv2"])[0])
    weights = sf.value_and_grad(net, sf.Direction("conv2", gradient.copy()))
    close(weights(u)[1], sf.value_and_grad(net, sf.Class([0, 1, 2]))(u)[1], 1e-5)  # the chain rule


def test_images_of_a_file_for_one_go_one_by_one_to_a_layer_too() -> None:
    u, together = images(3), sf.load(small_model(), preprocess="none")
    alone = sf.load(small_model(batch=1), preprocess="none")
    engines = [Engine(net, sf.Class([0, 1, 2]), batch=3, wrt="conv2") for net in (together, alone)]
    assert [engine.at_once for engine in engines] == [3, 1]
    (expected, found) = (engine(u)[1] for engine in engines)
    close(found, expected, 1e-6)
    close(np.asarray(engines[1].activation), np.asarray(engines[0].activation), 1e-6)
