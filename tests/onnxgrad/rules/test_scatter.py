"""Scatters that multiply or take extrema, with several updates of one place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.support.gradient_cases import (
    Var,
    case,
    check,
    close,
    forward_graph,
    gradient_graph,
    run_single,
    spaced,
    weights_of,
)

REDUCTIONS = ("none", "add", "mul", "max", "min")


def apart(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Distinct values; those of different seeds differ too."""
    return spaced(np.random.default_rng(seed), *shape) + 0.01 * seed


@settings(max_examples=40)
@given(st.sampled_from(REDUCTIONS[1:]), st.integers(-2, 1), st.data())
def test_scatter_elements(reduction: str, axis: int, data: st.DataObject) -> None:
    shape, size = (3, 4), (3, 4)[axis]
    rows, columns = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    places = data.draw(st.lists(st.integers(-size, size - 1), min_size=12, max_size=12))
    indices = np.array(places[: rows * columns], np.int64).reshape(rows, columns)
    x, updates = Var(apart(shape, 1)), Var(apart((rows, columns), 2))
    check(case("ScatterElements", x, indices, updates, axis=axis, reduction=reduction))


@pytest.mark.parametrize("reduction", REDUCTIONS[1:])
@pytest.mark.parametrize(
    ("indices", "updates"),
    [([[2], [0], [2]], (3, 4)), ([[1, 1], [0, -1], [1, 1], [1, 1]], (4,)), ([[[0, 3]], [[2, 3]]], (2, 1))],
    ids=["rows", "entries", "a block"],
)
def test_scatter_nd(reduction: str, indices: list[list[int]], updates: tuple[int, ...]) -> None:
    x, places = Var(apart((3, 4), 1)), np.array(indices, np.int64)
    check(case("ScatterND", x, places, Var(apart(updates, 2)), reduction=reduction))


@pytest.mark.parametrize("zeros", [(0,), (0, 1), (2,), (0, 2)])
def test_products_with_zeros(zeros: tuple[int, ...]) -> None:
    updates = np.array([2.0, 3.0, 5.0])
    updates[list(zeros)] = 0
    indices = np.array([1, 1, 0], np.int64)
    check(case("ScatterElements", Var([7.0, 11.0]), indices, Var(updates), reduction="mul"))


def test_ties_of_a_maximum_share_its_gradient() -> None:
    x, updates, indices = [2.0, 1.0, 4.0], [2.0, 2.0, 3.0, 3.0], np.array([0, 0, 1, 1], np.int64)
    which = case("ScatterElements", Var(x), indices, Var(updates), reduction="max")
    forward = forward_graph(which.model, {k: v.shape for k, v in which.at.items()})
    w = weights_of(forward)["y0"]
    close(run_single(gradient_graph(forward, "x0"), which.at)[1], w * np.array([1 / 3, 0, 1]), 1e-6)
    shares = np.array([w[0] / 3, w[0] / 3, w[1] / 2, w[1] / 2])
    close(run_single(gradient_graph(forward, "x2"), which.at)[1], shares, 1e-6)
