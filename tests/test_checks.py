"""What messages show of a value: itself where it is short, and of arrays and long lists what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

import sobolevflow as sf
from sobolevflow import checks, total_variation
from sobolevflow.errors import SobolevflowError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros((3, 4), np.float32), "a numpy array of shape (3, 4), float32"),
        (np.arange(2), "a numpy array of shape (2,), int64"),
        (np.float64(0.5), "np.float64(0.5)"),
        ([1, 2, 3], "[1, 2, 3]"),
        ((0.5, "a"), "(0.5, 'a')"),
        (list(range(1000)), "a list of 1000 values"),
        ([np.zeros(3)], "a list of 1 values"),
        (b"12" * 50, "a bytes of 100 values"),
        ([[0.25] * 30], "a list of 1 values"),
        (range(5000), "range(0, 5000)"),
        ({"a": 1}, "{'a': 1}"),
        ("words", "'words'"),
        (None, "None"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_shown(value: Any, text: str) -> None:
    assert checks.shown(value) == text


@given(hnp.arrays(np.float64, hnp.array_shapes(min_side=1), elements=st.just(0.123456789)))
def test_no_message_repeats_the_values_of_an_array(values: np.ndarray) -> None:
    for given_value in (values, values.tolist(), [values, values], {"a": values}):
        assert "0.123456789" not in checks.shown(given_value) or len(checks.shown(given_value)) <= 60


HOLDERS: list[Callable[[np.ndarray], Any]] = [
    lambda a: sf.Inversion("layer", a, mask=a[0]),
    lambda a: sf.Caricature("layer", a),
    lambda a: sf.Direction("layer", a),
    lambda a: 2 * sf.Direction("layer", a),
    lambda a: sf.Image(a),
    lambda a: total_variation.prox(a, 0.1, channel_axis=0),
    lambda a: total_variation.prox(a, 0.1, channel_axis=0).state,
    lambda a: total_variation.constrained(a, 0.1, channel_axis=0),
    lambda a: sf.metrics.power_spectrum(a),
]


@pytest.mark.parametrize("number", range(len(HOLDERS)))
def test_what_holds_arrays_shows_their_shapes(number: int) -> None:
    values = np.random.default_rng(0).random((3, 16, 16))
    text = repr(HOLDERS[number](values))
    assert "array of shape (" in text
    assert "array([" not in text
    assert len(text) < 600


MISTAKES: list[Callable[[Any], Any]] = [
    lambda a: sf.filters.Gaussian(sigma=a),
    lambda a: sf.filters.Sobolev(size=a),
    lambda a: sf.proximal.TotalVariation(a),
    lambda a: sf.total_variation.prox(a, a),
    lambda a: sf.total_variation.prox(a, -a[0]),
    lambda a: sf.total_variation.prox(a, 0.1, tol=a),
    lambda a: sf.Octave(a, 3),
    lambda a: sf.fluid(a),
    lambda a: sf.visualize(a, sf.Class(0)),
    lambda a: sf.load("builtin:shapes-vgg").layer(a),
    lambda a: sf.load("builtin:shapes-vgg", input_shape=a),
    lambda a: sf.load("builtin:shapes-vgg", preprocess={"mean": a - 2}),
    lambda a: sf.attribution.heatmap(a[0], percentile=a),
    lambda a: sf.attribution.saliency(sf.load("builtin:shapes-vgg"), sf.Class(0), a, reduce=a),
    lambda a: sf.NaturalColour(a),
    lambda a: sf.metrics.psnr(a, a[:, :2]),
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_an_array_in_the_wrong_place_is_not_printed_whole(number: int) -> None:
    values = np.random.default_rng(0).random((3, 16, 16))
    with pytest.raises(SobolevflowError) as raised:
        MISTAKES[number](values)
    assert "[" not in str(raised.value).replace("[0, 1]", "").replace("[sf.", "")
    assert len(str(raised.value)) < 500
