"""Layers by less than their names."""

from __future__ import annotations

import numpy as np
import pytest

import sobolevflow as sf
from sobolevflow.errors import UnknownNameError
from sobolevflow.network.naming import matching, shortest

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
