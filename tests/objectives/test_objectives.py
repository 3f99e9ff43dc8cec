"""Objectives: their values by hand, their gradients, their algebra, and what they refuse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.gradient.check import check_gradient
from sobolevflow.gradient.function import value_and_grad
from sobolevflow.network import Network, load
from sobolevflow.objectives import (
    Combination,
    Leaf,
    Objective,
    maximize,
    minimize,
    natural_batch,
    structure,
)
from sobolevflow.objectives.inversion import Inversion
from sobolevflow.objectives.units import Channel, Class, Direction, Layer, Neuron
from tests.support.gradient_cases import close
from tests.support.small_networks import LABELS, images, small_model

NET = load(small_model(), labels=LABELS, preprocess="torch")
U = images(2)
TARGET = images(1, seed=5)
RNG = np.random.default_rng(8)
PER_CHANNEL = RNG.standard_normal(5).astype(np.float32)
WHOLE = RNG.standard_normal((5, 2, 3)).astype(np.float32)
MASK = np.array([[1, 0.5, 0], [0, 1, 0.25]], np.float32)


def phi(layer: str, u: np.ndarray = U) -> np.ndarray:
    return NET.features(u, [layer])[0].astype(np.float64)


def distance(p: int, mask: np.ndarray | float = 1.0) -> np.ndarray:
    """eq. (3) by hand."""
    target = mask * phi("conv2", TARGET)
    squares = ((mask * phi("conv2") - target) ** 2).sum(axis=(1, 2, 3)) / (target**2).sum()
    return np.asarray(squares ** (p / 2))


VALUES: dict[str, tuple[Leaf, Any]] = {
    "class": (Class(3), lambda: phi("logits")[:, 3]),
    "class by name": (Class("king crab"), lambda: phi("logits")[:, 1]),
    "classes of a batch": (Class(["king crab", 4]), lambda: phi("logits")[[0, 1], [1, 4]]),
    "channel": (Channel("conv2", 2), lambda: phi("conv2")[:, 2].mean(axis=(1, 2))),
    "channels of a batch": (
        Channel("conv2", [2, 0]),
        lambda: phi("conv2")[[0, 1], [2, 0]].mean(axis=(1, 2)),
    ),
    "channel in the last axis": (
        Channel("conv2", 2, axis=-1),
        lambda: phi("conv2")[..., 2].mean(axis=(1, 2)),
    ),
    "channel of a vector": (Channel("logits", 5), lambda: phi("logits")[:, 5]),
    "neuron in the centre": (Neuron("conv2", 4), lambda: phi("conv2")[:, 4, 1, 1]),
    "neuron": (Neuron("conv2", 1, y=0, x=2), lambda: phi("conv2")[:, 1, 0, 2]),
    "neurons of a batch": (
        Neuron("conv2", 1, y=[0, 1], x=[2, 0]),
        lambda: phi("conv2")[[0, 1], 1, [0, 1], [2, 0]],
    ),
    "neuron of a vector": (Neuron("flat", 3), lambda: phi("flat")[:, 3]),
    "direction in channel space": (
        Direction("conv2", PER_CHANNEL),
        lambda: np.einsum("nchw,c->n", phi("conv2"), PER_CHANNEL) / 6,
    ),
    "direction in the whole layer": (
        Direction("conv2", WHOLE),
        lambda: np.einsum("nchw,chw->n", phi("conv2"), WHOLE),
    ),
    "a direction for each image": (
        Direction("conv2", np.stack([PER_CHANNEL, -PER_CHANNEL])),
        lambda: np.einsum("nchw,c,n->n", phi("conv2"), PER_CHANNEL, [1, -1]) / 6,
    ),
    "direction of a vector": (Direction("flat", PER_CHANNEL), lambda: phi("flat") @ PER_CHANNEL),
    "layer": (Layer("conv2"), lambda: (phi("conv2") ** 2).mean(axis=(1, 2, 3)) / 2),
    "inversion": (Inversion("conv2", TARGET), lambda: distance(2)),
    "inversion, p = 1": (Inversion("conv2", TARGET[0], p=1), lambda: distance(1)),
    "inversion with a mask": (Inversion("conv2", TARGET, mask=MASK), lambda: distance(2, MASK)),
    "inversion with a mask, p = 1": (Inversion("conv2", TARGET, p=1, mask=MASK), lambda: distance(1, MASK)),
}


@pytest.mark.parametrize("name", VALUES)
def test_the_value_is_the_one_computed_by_hand(name: str) -> None:
    objective, by_hand = VALUES[name]
    values, _ = value_and_grad(NET, objective)(U)
    close(values, by_hand(), 1e-5)


@pytest.mark.parametrize("name", VALUES)
def test_the_gradient_is_right(name: str) -> None:
    objective, _ = VALUES[name]
    assert check_gradient(NET, objective, U, precision="double", directions=2) < 1e-6
    assert check_gradient(NET, objective, U, directions=2) < 1e-4


@pytest.mark.parametrize("name", VALUES)
def test_it_describes_itself(name: str) -> None:
    objective, _ = VALUES[name]
    assert json.loads(json.dumps(objective.to_dict()))["type"] == type(objective).__name__
    assert str(objective)
    assert "\n" not in str(objective)


def test_inversion_of_the_image_itself_is_zero() -> None:
    u = images(2)
    for p in (1, 2):
        values, gradient = value_and_grad(NET, Inversion("conv2", u, p=p))(u)
        np.testing.assert_allclose(values, 0, atol=2e-6)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_each_image_has_its_own_target() -> None:
    targets, u = images(2, seed=9), images(2, seed=1)
    both, _ = value_and_grad(NET, Inversion("conv2", targets))(u)
    for k in range(2):
        alone, _ = value_and_grad(NET, Inversion("conv2", targets[k]))(u[k])
        close(both[k : k + 1], alone, 1e-5)


def test_a_mask_in_the_images_size_is_averaged_down(rng: np.random.Generator) -> None:
    # layer conv2 has 2 x 3 positions; each averages 4 rows, and 10 / 3 columns
    mask = rng.random((8, 10)).astype(np.float32)
    columns = np.repeat(mask, 3, axis=1).reshape(2, 4, 3, 10).mean(axis=(1, 3))
    small, _ = value_and_grad(NET, Inversion("conv2", TARGET, mask=columns))(U)
    large, _ = value_and_grad(NET, Inversion("conv2", TARGET, mask=mask))(U)
    close(large, small, 1e-5)


# -- algebra

A, B, C = Class(1), Channel("conv2", 2), Inversion("conv2", TARGET)


def weighted(terms: list[tuple[float, Objective]]) -> tuple[np.ndarray, np.ndarray]:
    parts = [value_and_grad(NET, objective)(U) for _, objective in terms]
    values = sum(w * v for (w, _), (v, _) in zip(terms, parts, strict=True))
    gradient = sum(w * g for (w, _), (_, g) in zip(terms, parts, strict=True))
    return np.asarray(values), np.asarray(gradient)


@pytest.mark.parametrize(
    ("combined", "terms"),
    [
        (2 * A, [(2.0, A)]),
        (A * 0.5, [(0.5, A)]),
        (-A, [(-1.0, A)]),
        (A + B, [(1.0, A), (1.0, B)]),
        (2 * A - 3 * B, [(2.0, A), (-3.0, B)]),
        (2 * (A - B) + Class(4), [(2.0, A), (-2.0, B), (1.0, Class(4))]),
        (A - 10 * C, [(1.0, A), (-10.0, C)]),
        (A - A + B, [(1.0, B)]),
    ],
    ids=str,
)
def test_algebra_is_linear(combined: Objective, terms: list[tuple[float, Objective]]) -> None:
    for found, expected in zip(value_and_grad(NET, combined)(U), weighted(terms), strict=True):
        close(found, expected, 1e-5)


def test_a_combination_passes_the_gradient_check() -> None:
    assert check_gradient(NET, 2 * A - 3 * B + 0.5 * C, U, precision="double") < 1e-6


@settings(max_examples=10)
@given(st.floats(-5, 5).filter(lambda w: abs(w) > 0.01), st.floats(-5, 5).filter(lambda w: abs(w) > 0.01))
def test_weights_multiply_out(a: float, b: float) -> None:
    assert (a * (b * A)).leaves() == [A]
    assert (a * (b * A)).to_dict()["terms"][0]["weight"] == pytest.approx(a * b)


def test_the_sense_of_a_sum() -> None:
    assert A.maximize
    assert not C.maximize
    assert (2 * A).maximize
    assert not (3 * C).maximize
    assert (A + B).maximize
    assert not (C + C).maximize
    assert (A - C).maximize is None
    assert maximize(A - C).maximize
    assert minimize(A - C).maximize is False
    assert minimize(A - C).leaves() == [A, C]


@pytest.mark.parametrize("weight", ["a", None, float("nan"), float("inf"), [1, 2]])
def test_a_weight_that_is_no_number(weight: Any) -> None:
    with pytest.raises(InputError, match=r"number|finite"):
        weight * A if not isinstance(weight, list) else A * weight  # type: ignore[operator]


def test_objectives_add_to_objectives_only() -> None:
    with pytest.raises(TypeError):
        A + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        A - "b"  # type: ignore[operator]


def test_equal_structure_means_equal_graph() -> None:
    same = [Class(1), Class(4), Class([0, 2])]
    assert len({structure(o, NET) for o in same}) == 1
    different: list[Objective] = [
        A,
        B,
        C,
        Channel("conv2", 0, axis=-1),
        Neuron("conv2", 2),
        Direction("conv2", PER_CHANNEL),
        Direction("conv2", WHOLE),
        Layer("conv2"),
        Inversion("conv2", TARGET, p=1),
        Inversion("conv2", TARGET, mask=MASK),
        2 * A,
        A + B,
        B + A,
        A + B + C,
    ]
    assert len({structure(o, NET) for o in different}) == len(different)


def test_natural_batch_is_the_longest_list() -> None:
    assert natural_batch(A) == 1
    assert natural_batch(Class([1, 2, 3])) == 3
    assert natural_batch(Neuron("conv2", 1, y=[0, 1])) == 2
    assert natural_batch(Inversion("conv2", U)) == 2
    assert natural_batch(Class([1, 2, 3]) + B) == 3


def test_leaves_are_the_terms() -> None:
    assert (2 * A - B).leaves() == [A, B]
    assert isinstance(2 * A, Combination)


# -- refusals


@pytest.mark.parametrize(
    ("objective", "error", "text"),
    [
        (Channel("conv2", 5), InputError, "0 to 4"),
        (Channel("conv2", -1), InputError, "0 to 4"),
        (Channel("conv2", [0, 1, 2]), InputError, "3 entries.*batch of 2"),
        (
            Channel("conv2", 0, axis=4),
            InputError,
            "the channel axis of layer 'conv2' is 4; it must be an axis from 1 to 3",
        ),
        (
            Channel("conv2", 0, axis=0),
            InputError,
            "the channel axis of layer 'conv2' is 0; it must be an axis from 1 to 3",
        ),
        (Channel("conv9", 0), UnknownNameError, "no layer 'conv9'"),
        (Channel("conv2", [0, 99, 1]), InputError, "channel of 'conv2' is 99; it must lie in 0 to"),
        (Neuron("conv2", 0, y=2), InputError, "y of 'conv2' is 2; it must lie in 0 to 1"),
        (Neuron("conv2", 0, x=3), InputError, "x of 'conv2' is 3; it must lie in 0 to 2"),
        (Neuron("logits", 0, y=0), InputError, "no rows and columns"),
        (Direction("conv2", np.ones(4)), InputError, r"has shape \(5,\) or \(5, 2, 3\), not \(4,\)"),
        (Direction("conv2", np.ones((5, 3, 2))), InputError, r"not \(5, 3, 2\)"),
        (Direction("conv2", np.full(5, np.nan)), InputError, "finite"),
        (Layer("nothing"), UnknownNameError, "no layer 'nothing'"),
        (Class(6), InputError, "0 to 5"),
        (Class("crane"), UnknownNameError, "ambiguous"),
        (Class([0, 1, 2]), InputError, "3 entries.*batch of 2"),
        (Inversion("conv2", np.zeros((3, 9, 9), np.float32)), InputError, "9x9"),
        (Inversion("conv2", images(3)), InputError, "3 entries.*batch of 2"),
        (Inversion("conv2", TARGET, mask=np.ones((4, 4))), InputError, r"layer's size \(2, 3\)"),
        (Inversion("conv2", TARGET, mask=np.zeros((2, 3))), InputError, "all zero"),
        (Inversion("logits", TARGET, mask=np.ones((2, 3))), InputError, "layer with positions"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_does_not_fit_is_refused(objective: Objective, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        value_and_grad(NET, objective)(U)
    assert "\n" not in str(caught.value)


def test_an_index_is_an_integer() -> None:
    with pytest.raises(InputError, match=r"channel is 1\.5; it must be an integer"):
        Channel("conv2", 1.5)  # type: ignore[arg-type]


def test_p_is_one_or_two() -> None:
    with pytest.raises(InputError, match="p is 3; it must be 1 or 2"):
        Inversion("conv2", TARGET, p=3)


def test_dead_objectives_name_the_pre_activation() -> None:
    net: Network = load(small_model())
    hint = net.preactivation_hint(Channel("relu2", 3))
    assert hint is not None
    assert "'conv2'" in hint
    assert net.preactivation_hint(Channel("conv2", 3)) is None
