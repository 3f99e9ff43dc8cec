"""Adjoints along a long axis: the same as the product with a matrix, in memory that grows with the length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto

from sobolevflow.onnxgrad import Graph, weight_bytes
from sobolevflow.onnxgrad.rules import along_axis
from sobolevflow.onnxgrad.rules.along_axis import taps_of
from tests.onnxgrad.rules.test_rules import CASES
from tests.support.gradient_cases import (
    Case,
    Var,
    case,
    check,
    forward_graph,
    gradient_graph,
    make_model,
    node,
    run_single,
)

COORDINATES = (
    *("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"),
    "tf_crop_and_resize",
)
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every axis is long."""
    monkeypatch.setattr(along_axis, "DENSE", 0)


def graph_of(which: Case) -> Graph:
    return gradient_graph(forward_graph(which.model, {k: v.shape for k, v in which.at.items()}), "x0")


def both(which: Case, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The gradient by matrices, and as along long axes, on onnxruntime."""
    found = []
    for entries in (1 << 40, 0):
        monkeypatch.setattr(along_axis, "DENSE", entries)
        graph = graph_of(which)
        assert any(node.op == "MatMul" for node in graph.nodes) == bool(entries)
        found.append(run_single(graph, {"x0": which.at["x0"]})[1])
    return found


def resizes() -> list[dict[str, Any]]:
    every: list[dict[str, Any]] = [
        {"mode": "nearest", "coordinate_transformation_mode": c, "nearest_mode": n}
        for c in COORDINATES
        for n in ROUNDINGS
    ]
    for mode in ("linear", "cubic"):
        every += [{"mode": mode, "coordinate_transformation_mode": c} for c in COORDINATES]
        every += [
            {"mode": mode, "coordinate_transformation_mode": c, "antialias": 1}
            for c in COORDINATES
            if c != "tf_crop_and_resize"
        ]
    every += [{"mode": "cubic", "exclude_outside": 1}, {"mode": "cubic", "cubic_coeff_a": -0.5}]
    every.append({"mode": "cubic", "exclude_outside": 1, "antialias": 1})
    return every


# Larger, smaller, by a factor that divides and by some that do not.
SIZES = [((5, 37), (9, 91)), ((9, 91), (5, 37)), ((4, 50), (8, 150)), ((6, 61), (5, 60)), ((3, 100), (2, 7))]


@pytest.mark.parametrize("attrs", resizes(), ids=lambda attrs: " ".join(map(str, attrs.values())))
def test_resize_to_sizes(attrs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    crops = attrs.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    roi = np.array([0, 0, 0.1, -0.2, 1, 1, 0.9, 0.7], np.float32) if crops else None
    for old, new in SIZES:
        which = case("Resize", Var(random(1, 2, *old)), roi, None, ints(1, 2, *new), **attrs)
        dense, found = both(which, monkeypatch)
        np.testing.assert_allclose(found, dense, rtol=0, atol=2e-6 * np.abs(dense).max())


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("factors", [(2.0, 3.0), (1.37, 1.73), (0.5, 0.31)], ids=str)
@pytest.mark.parametrize("antialias", [0, 1])
def test_resize_by_scales(
    mode: str, factors: tuple[float, float], antialias: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attrs: dict[str, Any] = {"antialias": 1} if antialias and mode != "nearest" else {}
    scales = np.array([1, 1, *factors], np.float32)
    dense, found = both(
        case("Resize", Var(random(1, 2, 9, 47)), None, scales, mode=mode, **attrs), monkeypatch
    )
    np.testing.assert_allclose(found, dense, rtol=0, atol=2e-6 * np.abs(dense).max())


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_that_keeps_the_aspect_ratio(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attrs: dict[str, Any] = {"axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller", "mode": mode}
    dense, found = both(
        case("Resize", Var(random(1, 2, 9, 47)), None, None, ints(20, 60), **attrs), monkeypatch
    )
    np.testing.assert_allclose(found, dense, rtol=0, atol=2e-6 * np.abs(dense).max())


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize(
    "which", [c for c in CASES if c.ops & {"Pad", "Gather", "Compress", "Resize"}], ids=str
)
def test_the_cases_of_the_rules(which: Case) -> None:
    check(which)


# Narrow and wide, of one side alone, beyond what a few runs are, and cropping.
PADS = [(2, 3), (0, 5), (11, 11), (-2, 3), (4, -3)]


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("mode", ["reflect", "edge"])
@pytest.mark.parametrize("pads", PADS, ids=str)
def test_pad(mode: str, pads: tuple[int, int]) -> None:
    widths = ints(0, 1, pads[0], 0, 1, pads[1])
    check(case("Pad", Var(random(2, 3, 12)), widths, mode=mode))


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("pads", [(2, 3), (0, 5), (11, 12)], ids=str)
def test_pad_that_wraps(pads: tuple[int, int]) -> None:
    """Of opset 19, which onnxruntime takes in opset 18 as well."""
    widths = ints(0, 1, pads[0], 0, 1, pads[1])
    wrap = node("Pad", "x pads", "y", mode="wrap")
    model = make_model(
        [wrap], {"x": ((2, 3, 12), TensorProto.FLOAT)}, ["y"], {"pads": widths}, opset=19, ir_version=9
    )
    check(Case("wrap", model, {"x": random(2, 3, 12)}, 1e-12))


@settings(max_examples=60)
@given(st.data())
def test_any_copies(data: st.DataObject) -> None:
    """Permutations, parts, repetitions, and what lies mostly at one place."""
    size = data.draw(st.integers(1, 12))
    sources = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=30))
    axis = data.draw(st.integers(0, 2))
    shape = [2, 2, 2]
    shape[axis] = size
    which = case("Gather", Var(random(*shape)), ints(*sources), axis=axis)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(along_axis, "DENSE", 0)
        check(which)


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize(
    ("sources", "operators"),
    [
        ([3, 2, 1, 0, 1, 2, 3, 4, 3], {"Slice", "Pad"}),
        ([0, 0, 0, 0, 1, 2, 3, 4, 4], {"Slice", "Pad", "ReduceSum"}),
        ([0, 5, 1, 6, 2, 7, 3, 8, 4, 9], {"Gather"}),
        ([0, 2, 0, 2, 0, 2, 0, 2, 0, 2, *range(40)], {"ScatterElements"}),
    ],
    ids=["reflect", "edge", "shuffle", "heap"],
)
def test_what_the_adjoint_is_made_of(sources: list[int], operators: set[str]) -> None:
    which = case("Gather", Var(random(1, max(sources) + 1, 3)), ints(*sources), axis=1)
    used = {node.op for node in graph_of(which).nodes}
    assert operators <= used
    assert "MatMul" not in used
    check(which)


def sound(length: int) -> Var:
    return Var(random(1, 1, 1, length))


def padded(mode: str, width: Callable[[int], int]) -> Callable[[int], Case]:
    def made(n: int) -> Case:
        return case("Pad", sound(n), ints(0, 0, 0, width(n), 0, 0, 0, width(n)), mode=mode)

    return made


def resized(mode: str, size: Callable[[int], int], **attrs: Any) -> Callable[[int], Case]:
    def made(n: int) -> Case:
        return case("Resize", sound(n), None, None, ints(1, 1, 1, size(n)), mode=mode, **attrs)

    return made


LONG: dict[str, Callable[[int], Case]] = {
    "Pad reflect": padded("reflect", lambda n: 128),
    "Pad edge": padded("edge", lambda n: n // 2),
    "Gather": lambda n: case("Gather", sound(n), np.random.default_rng(0).integers(0, n, n), axis=3),
    "Compress": lambda n: case("Compress", sound(n), np.arange(n) % 3 > 0, axis=3),
    **{f"Resize {mode} up": resized(mode, lambda n: 2 * n) for mode in ("nearest", "linear", "cubic")},
    **{f"Resize {mode} down": resized(mode, lambda n: n // 3) for mode in ("nearest", "linear", "cubic")},
    "Resize antialias": resized("linear", lambda n: n // 9, antialias=1),
}


@pytest.mark.parametrize("name", LONG)
def test_memory_grows_with_the_length(name: str) -> None:
    """Beside the random weights of the value, which are as long as the output."""
    bytes_of = []
    for length in (4000, 16000):
        which = LONG[name](length)
        forward = forward_graph(which.model, {k: v.shape for k, v in which.at.items()})
        gradient = gradient_graph(forward, "x0")
        bytes_of.append(weight_bytes(gradient))
        assert bytes_of[-1] < 200 * length
    assert bytes_of[1] <= 4.1 * bytes_of[0]


@pytest.mark.parametrize("name", LONG)
def test_the_gradient_along_a_long_axis(name: str) -> None:
    """<gradient, x> is the value, of a linear map."""
    which = LONG[name](4000)
    x = which.at["x0"]
    value, gradient = run_single(graph_of(which), {"x0": x})
    terms = float(np.linalg.norm(gradient)) * float(np.linalg.norm(x))
    assert abs(float(value) - float((gradient.astype(np.float64) * x).sum())) <= 1e-5 * terms


# -- local response normalization, whose channels are an axis too


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9, 12])
@pytest.mark.parametrize("places", [(), (3,), (3, 2), (2, 1, 2)])
def test_many_channels_are_pooled(
    places: tuple[int, ...], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = Var(random(2, 7, *places))
    odd = size % 2 == 1  # onnxruntime runs no others
    which = case("LRN", x, size=size, alpha=0.9, beta=0.6, bias=1.2, single=odd and len(places) == 2)
    monkeypatch.setattr(along_axis, "DENSE", 0)
    assert "AveragePool" in {node.op for node in graph_of(which).nodes}
    check(which)


def test_the_memory_of_many_channels() -> None:
    which = case("LRN", Var(random(1, 20000, 1, 1)), size=5)
    graph = graph_of(which)
    assert weight_bytes(graph) < 200 * 20000
    assert np.isfinite(run_single(graph, {"x0": which.at["x0"]})[1]).all()


# -- how a resampling is found out


def interpolated(size: int, out: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Sources (out, reach) and weights of some resampling."""
    first = np.linspace(0, size - reach, out).astype(np.int64)
    weights = np.random.default_rng(1).uniform(-1, 1, (out, reach))
    return first[:, None] + np.arange(reach), weights.astype(np.float32)


@pytest.mark.parametrize("reach", [1, 2, 4, 9])
@pytest.mark.parametrize("width", [1, 4, 9, 1000])
@pytest.mark.parametrize("size", [9, 40])
def test_more_neighbours_than_expected_are_noticed(size: int, width: int, reach: int) -> None:
    sources, weights = interpolated(size, 30, reach)
    matrix = np.zeros((30, size))
    np.put_along_axis(matrix, sources, weights, axis=1)
    taps = taps_of(lambda rows: (rows @ matrix.T).astype(np.float32), size, 30, width)
    np.testing.assert_allclose(taps.dense(size, 30), matrix, atol=1e-6)


def test_places_far_along_an_axis_are_told_exactly() -> None:
    size = 3 * 8 * 1024 + 5
    sources, weights = interpolated(size, 2 * size, 2)
    taps = taps_of(lambda rows: np.einsum("nok,ok->no", rows[:, sources], weights), size, 2 * size, 8)
    order = np.lexsort((taps.sources, taps.outputs))
    np.testing.assert_array_equal(taps.sources[order], sources.ravel())
    np.testing.assert_allclose(taps.weights[order], weights.ravel(), rtol=1e-6)
