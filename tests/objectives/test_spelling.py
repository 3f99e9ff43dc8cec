"""LAYER:NUMBER...: which colons belong to the name of a layer, the network's layers say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from sobolevflow.errors import AssumptionWarning, InputError
from sobolevflow.network import Network
from sobolevflow.objectives import of_one_layer, unit


@dataclass
class Layers:
    """A network, as far as the shapes of its layers go."""

    shapes: dict[str, tuple[int, ...] | None]


def network(**shapes: tuple[int, ...] | None) -> Network:
    return cast(Network, Layers(shapes))


def read(text: str, *counts: int, **shapes: tuple[int, ...] | None) -> tuple[Any, ...]:
    return of_one_layer("--neuron", [unit(*counts)(text)], network(**shapes))


MAP = (1, 8, 5, 5)


@pytest.mark.parametrize(
    ("text", "counts", "layers", "expected"),
    [
        ("conv:3", (1,), {"conv": MAP}, ("conv", 3)),
        ("a:0:7", (1,), {"a:0": MAP}, ("a:0", 7)),
        ("dense:0:2", (1, 2, 3), {"dense:0": (1, 10)}, ("dense:0", 2)),
        ("relu:0:1:2:3", (1, 2, 3), {"relu:0": MAP}, ("relu:0", 1, 2, 3)),
        ("relu:0:1:2:3", (1, 2, 3), {"relu": MAP, "relu:0": MAP}, ("relu:0", 1, 2, 3)),
        ("a:1:2:3:4:5", (), {"a": (1, 9, 9, 9, 9, 9)}, ("a", 1, 2, 3, 4, 5)),
        ("a:1:2:3:4:5", (), {"a:1:2": (1, 9, 9, 9)}, ("a:1:2", 3, 4, 5)),
        ("model/b:c:5", (1,), {"model/b:c": MAP}, ("model/b:c", 5)),
        # of a layer with one axis of units two numbers are no unit
        ("dense:0:2", (1, 2, 3), {"dense": (1, 10), "dense:0": (1, 10)}, ("dense:0", 2)),
        ("dense:0,2", (1, 2, 3), {"dense": (1, 10, 4), "dense:0": (1, 10)}, ("dense", 0, 2)),
        ("dense:0:2", (1, 2, 3), {"dense": None}, ("dense", 0, 2)),
    ],
)
def test_the_layers_of_the_network_tell_names_from_numbers(
    text: str, counts: tuple[int, ...], layers: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    assert read(text, *counts, **layers) == expected


def test_what_can_mean_two_layers_is_said_with_both_ways_to_write_it() -> None:
    layers = {"dense": (1, 10, 4), "dense:0": (1, 10)}
    with pytest.warns(AssumptionWarning, match=r"2 of layer 'dense:0'; .* --neuron dense:0,2 asks for that"):
        assert read("dense:0:2", 1, 2, 3, **layers) == ("dense:0", 2)


@pytest.mark.parametrize("text", ["conv", "conv:", ":3", "conv:-1", "conv:²", "conv:3:", ""])
def test_what_names_no_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        unit(1)(text)


@pytest.mark.parametrize(("text", "layer"), [("dense:0", "dense:0"), ("conv:1:2:3:4", "conv")])
def test_a_layer_with_another_count_of_numbers_is_named(text: str, layer: str) -> None:
    with pytest.raises(InputError, match=rf"names layer '{layer}'; write LAYER:C\[:Y:X\]"):
        read(text, 1, 2, 3, **{layer: MAP})


def test_units_of_several_layers_make_no_batch() -> None:
    asked = [unit(1)(text) for text in ("a:0:1", "b:0:1")]
    with pytest.raises(InputError, match="one layer only"):
        of_one_layer("--channel", asked, network(**{"a:0": MAP, "b:0": MAP}))


names = st.text(st.sampled_from("ab:01/"), min_size=1).filter(lambda name: name.strip(":"))


@given(names, st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_any_layer_and_any_numbers_are_found_again(name: str, numbers: list[int]) -> None:
    shape = (1, *[100] * len(numbers))
    written = ":".join([name, *map(str, numbers)])
    assert read(written, **{name: shape}) == (name, *numbers)


@pytest.mark.parametrize(
    ("text", "layers", "expected"),
    [
        ("y", {"y": (1,)}, ("y",)),
        ("y:0", {"y:0": (1,), "y": MAP}, ("y:0",)),
        ("y:0", {"y:0": MAP, "y": (1, 8)}, ("y", 0)),
        ("d:0:1:1", {"d": MAP, "d:0": MAP}, ("d", 0, 1, 1)),
        ("y", {"y": MAP}, ("y",)),
        ("nope", {"y": MAP}, ("nope",)),
        ("nope:2", {"y": MAP}, ("nope", 2)),
    ],
)
def test_a_layer_without_numbers_is_a_single_number(
    text: str, layers: dict[str, tuple[int, ...]], expected: tuple[Any, ...]
) -> None:
    assert read(text, *range(9), **layers) == expected
