"""Colour maps, and how strongly a map covers its photograph."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from sobolevflow.errors import AssumptionWarning, InputError, UnknownNameError
from sobolevflow.pictures import colour_map, heatmap
from sobolevflow.pictures.colour_maps import NAMES

RISING = ("fire", "gray", "hot", "viridis", "magma", "inferno", "plasma")
DIVERGING = ("blue-red", "bwr", "seismic")


@pytest.mark.parametrize("name", NAMES)
def test_a_colour_map_is_within_what_can_be_shown(name: str) -> None:
    drawn = colour_map(name)(np.linspace(0, 1, 101))
    assert drawn.shape == (101, 3)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert np.abs(np.diff(drawn, axis=0)).max() < 0.12  # without jumps


@pytest.mark.parametrize("name", RISING)
def test_a_rising_colour_map_becomes_brighter(name: str) -> None:
    light = colour_map(name)(np.linspace(0, 1, 18)) @ [0.299, 0.587, 0.114]
    assert (np.diff(light) > 0).all()


@pytest.mark.parametrize("name", DIVERGING)
def test_a_diverging_colour_map_is_white_in_the_middle_blue_below_and_red_above(name: str) -> None:
    low, middle, high = colour_map(name)(np.array([0.1, 0.5, 0.9]))
    np.testing.assert_array_equal(middle, 1)
    assert low.argmax() == 2
    assert high.argmax() == 0


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")
def test_colours_are_those_of_matplotlib() -> None:
    from matplotlib import colormaps

    t = np.linspace(0, 1, 256)
    for name in (name for name in NAMES if name in colormaps):
        assert np.abs(colour_map(name)(t) - colormaps[name](t)[:, :3]).max() < 6 / 255, name
    np.testing.assert_allclose(colour_map("cividis")(t), colormaps["cividis"](t)[:, :3])
    assert colour_map("coolwarm_r").diverging
    assert not colour_map("cividis").diverging


def test_grey_is_written_in_two_ways() -> None:
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(heatmap(values, colormap="grey"), heatmap(values, colormap="gray"))
    np.testing.assert_array_equal(
        heatmap(values, colormap="gray", percentile=100)[..., 0], np.rint(values / 5 * 255)
    )


def test_zero_is_in_the_middle_of_maps_with_two_signs_and_of_diverging_colours() -> None:
    signed, rising = np.array([[-1.0, 0.0, 1.0]]), np.array([[0.0, 0.5, 1.0]])
    assert heatmap(signed, colormap="gray", percentile=100)[0, :, 0].tolist() == [0, 128, 255]
    assert heatmap(rising, colormap="gray", percentile=100)[0, :, 0].tolist() == [0, 128, 255]
    assert heatmap(rising, colormap="bwr", percentile=100)[0].tolist()[0] == [255, 255, 255]
    assert heatmap(signed, colormap=[(1, 0, 0), (0, 0, 1)], percentile=100)[0].tolist() == [
        [255, 0, 0],
        [128, 0, 128],
        [0, 0, 255],
    ]


def test_an_even_mixture_keeps_the_colours_of_the_photograph() -> None:
    u = np.zeros((3, 1, 2), np.float32)
    u[1] = 0.8
    values = np.array([[0.0, 1.0]])
    for alpha in (0.0, 0.25, 1.0):
        drawn = heatmap(values, u, colormap="gray", percentile=100, alpha=alpha)[0]
        for k in (0, 1):
            expected = alpha * values[0, k] + (1 - alpha) * u[:, 0, k]
            np.testing.assert_array_equal(drawn[k], np.rint(expected * 255))


def test_where_there_is_no_value_the_photograph_shows() -> None:
    u = np.full((3, 1, 3), 0.2, np.float32)
    values = np.array([[np.nan, 0.0, 2.0]])
    for how in ({}, {"alpha": 0.7}):
        assert heatmap(values, u, **how)[0, 0].tolist() == [51, 51, 51]
    alone = heatmap(values)
    assert alone[0, 0].tolist() == [128, 128, 128]
    np.testing.assert_array_equal(alone[0, 1:], heatmap(values[:, 1:])[0])


def test_a_large_map_is_drawn_as_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    values, u = np.random.default_rng(0).random((40, 30)), np.random.default_rng(1).random((3, 40, 30))
    whole = heatmap(values, u)
    monkeypatch.setattr("sobolevflow.pictures.heatmaps._AT_ONCE", 70)
    np.testing.assert_array_equal(heatmap(values, u), whole)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"alpha": 1.5}, "alpha is 1.5; it must be a number from 0 to 1"),
        ({"alpha": 0.5}, "give image="),
        ({"colormap": [(1, 0, 0)]}, "two colours or more"),
        ({"colormap": [(1, 0, 0), (2, 0, 0)]}, r"in \[0, 1\]"),
        ({"image": np.ones((3, 5, 5))}, r"to_original\(map"),
    ],
)
def test_what_does_not_go(how: dict[str, Any], says: str) -> None:
    given = {"image": np.ones((3, 2, 2)), **how} if how == {"alpha": 1.5} else how
    with pytest.raises(InputError, match=says):
        heatmap(np.ones((2, 2)), **given)


def test_a_colour_map_that_is_misspelled() -> None:
    with pytest.raises(UnknownNameError, match=r"no colour map 'viridus'.*'viridis'.*inferno"):
        heatmap(np.ones((2, 2)), colormap="viridus")


def test_a_photograph_of_other_numbers_than_0_to_1_is_not_drawn_without_a_word() -> None:
    values, photo = np.ones((4, 5)), np.full((3, 4, 5), 200, np.uint8)
    with pytest.raises(InputError, match="not of uint8; divide by 255"):
        heatmap(values, photo)
    with pytest.warns(AssumptionWarning, match=r"the image holds values from 0 to 200.*divide by 255"):
        heatmap(values, photo.astype(np.float32))
    with pytest.raises(InputError, match="the image holds NaN or infinite values"):
        heatmap(values, np.full((3, 4, 5), np.nan))


@pytest.mark.parametrize(("value", "message"), [(np.nan, "nothing but NaN"), (np.inf, "infinite values")])
def test_a_map_without_values_is_called_that(value: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        heatmap(np.full((2, 3), value))


def test_an_image_of_other_channels_is_named_as_such() -> None:
    with pytest.raises(InputError, match="1 or 3 channels, and this one has 12"):
        heatmap(np.ones((4, 5)), np.ones((12, 4, 5), np.float32))
