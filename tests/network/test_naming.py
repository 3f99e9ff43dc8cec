"""Layers by less than their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.errors import UnknownNameError
from sobolevflow.experiments import Subject, find_layer
from sobolevflow.gradient import Engine
from sobolevflow.metrics import pooled_features, relative_feature_error
from sobolevflow.network.naming import matching, shortest
from tests.support.at_once import content
from tests.support.small_networks import images, small_model

NAMES = ["fire2/concat", "fire3/concat", "net/relu_1", "#0", "relu_1/deconv"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("#0", ["#0"]),  # a name that is there means itself
        ("#1", ["fire3/concat"]),
        ("#5", []),
        ("concat", ["fire2/concat", "fire3/concat"]),
        ("relu_1", ["net/relu_1"]),
        ("conv", []),
        ("fire*/concat", ["fire2/concat", "fire3/concat"]),
        ("", []),
    ],
)
def test_what_is_meant(wanted: str, found: list[str]) -> None:
    assert matching(wanted, NAMES) == found


def test_the_shortest_end_means_its_layer_alone() -> None:
    for name, short in zip(NAMES, shortest(NAMES), strict=True):
        assert matching(short, NAMES) == [name]


def test_names_of_any_length_cost_no_memory() -> None:
    """All ends of this one would take a hundred gigabytes."""
    long = "a/" * 500_000 + "end"
    assert matching("a/end", [long]) == [long]
    assert shortest([long, "other/end"]) == ["a/end", "other/end"]


def test_objectives_and_features_take_what_is_short_and_keep_the_name() -> None:
    net = sf.load("builtin:shapes-vgg")
    index, name = next((k, info.name) for k, info in enumerate(net.layers) if info.differentiable)
    grey = np.full((1, *net.input_shape), 0.5, np.float32)
    value, g = sf.value_and_grad(net, sf.Channel(f"#{index}", 0))(grey)
    expected, h = sf.value_and_grad(net, sf.Channel(name, 0))(grey)
    assert np.array_equal(value, expected)
    assert np.array_equal(g, h)
    assert net.layer(f"#{index}").name == name
    assert len(net.features(grey, ["*"])) == len(net.layers)
    result = sf.visualize(net, 2 * sf.Channel(f"#{index}", 0), steps=1, progress=False)
    assert f"#{index}" not in str(result.manifest)
    with pytest.raises(UnknownNameError, match=r"may be any of .*#0 "):
        net.layer("*")


@cache
def net() -> sf.Network:
    names = {"relu1": "fire2/relu", "conv2": "fire3/conv", "relu2": "fire3/concat", "pool1": "fire2/pool"}
    return sf.load(small_model(names=names), preprocess="none")


U, OTHER = images(), images(seed=1)
NAME, SHORTER = "fire3/concat", ("#4", "concat", "*concat", "fire[3-9]/conc??")


def _objective(make: Callable[[str], sf.objectives.Objective]) -> Callable[[str], Any]:
    return lambda layer: sf.value_and_grad(net(), make(layer))(images(2))


TAKES_A_LAYER: dict[str, Callable[[str], Any]] = {
    "layer": lambda layer: net().layer(layer).name,
    "layer_shape": lambda layer: net().layer_shape(layer),
    "channel_axis": lambda layer: net().channel_axis(layer),
    "check_differentiable": lambda layer: net().check_differentiable(layer),
    "features": lambda layer: net().features(U, [layer]),
    "receptive_field": lambda layer: repr(sf.receptive_field(net(), layer)),
    "Engine(wrt=)": lambda layer: Engine(net(), sf.Class(1), wrt=layer)(U),
    "grad_cam": lambda layer: sf.attribution.grad_cam(net(), sf.Class(1), U, layer=layer),
    "gradient_model": lambda layer: sf.gradient_model(
        net(), sf.Class(1), activations=[layer]
    ).SerializeToString(),
    "pooled_features": lambda layer: pooled_features(net(), layer, U),
    "relative_feature_error": lambda layer: relative_feature_error(net(), layer, U, OTHER),
    "find_layer": lambda layer: find_layer(net(), layer),
    "Subject": lambda layer: Subject(net(), (layer,)).layers,
    "Layer": _objective(sf.Layer),
    "Neuron": _objective(lambda layer: sf.Neuron(layer, 1, 0, 0)),
    "Region": _objective(lambda layer: sf.Region(layer, 1, (0, 0, 1, 1))),
    "Direction": _objective(lambda layer: sf.Direction(layer, np.arange(5.0))),
    "Cosine": _objective(lambda layer: sf.Cosine(layer, np.arange(5.0))),
    "Diversity": _objective(lambda layer: sf.Diversity(layer)),
    "Caricature": _objective(lambda layer: sf.Caricature(layer, OTHER[0])),
    "a sum": _objective(lambda layer: sf.Class(0) + 2 * sf.Channel(layer, 1)),
}


@pytest.mark.parametrize("name", TAKES_A_LAYER)
def test_whatever_takes_a_layer_takes_it_in_short(name: str) -> None:
    take = TAKES_A_LAYER[name]
    expected = content(take(NAME))
    for short in SHORTER:
        assert content(take(short)) == expected, short


@pytest.mark.parametrize("name", [name for name in TAKES_A_LAYER if name not in ("features", "Subject")])
def test_what_takes_one_layer_refuses_several(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"'fire3/\*' may be any of 2 layers: #3 'fire3/conv', #4 "):
        TAKES_A_LAYER[name]("fire3/*")


@pytest.mark.parametrize("wanted", ["#99", "cat", "conc*"])
@pytest.mark.parametrize("name", TAKES_A_LAYER)
def test_what_means_no_layer_is_refused(name: str, wanted: str) -> None:
    with pytest.raises(UnknownNameError, match="no layer"):
        TAKES_A_LAYER[name](wanted)


def test_several_layers_are_taken_in_the_order_of_the_file() -> None:
    assert Subject(net(), ("concat", "fire2/*", "#4")).layers == (NAME, "fire2/relu", "fire2/pool")
    found = net().features(U, ["concat", "fire2/????"])
    assert [each.shape[1:] for each in found] == [
        net().layer_shape(name)[1:] for name in (NAME, "fire2/relu", "fire2/pool")
    ]
