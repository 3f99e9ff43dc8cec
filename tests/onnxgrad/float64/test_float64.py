"""Graphs evaluated in double precision: values, memory, what onnx has no reference for."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from onnx.reference import ReferenceEvaluator

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad import Evaluation, Graph, TensorType, evaluate
from sobolevflow.onnxgrad.float64 import convolutions

DOUBLE = np.dtype(np.float64)


def one(
    op: str, at: dict[str, np.ndarray], constants: dict[str, np.ndarray] | None = None, **attrs: Any
) -> Graph:
    graph = Graph()
    graph.inputs = {k: TensorType(v.shape, v.dtype) for k, v in at.items()}
    graph.constants = dict(constants or {})
    graph.outputs = [graph.add(op, [*at, *graph.constants], output="y", **attrs)]
    return graph


def by_onnx(graph: Graph, x: np.ndarray) -> np.ndarray:
    results: Any = ReferenceEvaluator(graph.to_model(typed_outputs=False)).run(None, {"x": x})
    return np.asarray(results[0])


def convolution(x: np.ndarray, w: np.ndarray, group: int, stride: int, dilation: int, pads: list[int]) -> Any:
    """By the definition, one output after the other."""
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    reach = [(k - 1) * dilation + 1 for k in w.shape[2:]]
    out = [(size - r) // stride + 1 for size, r in zip(x.shape[2:], reach, strict=True)]
    y = np.zeros((len(x), len(w), *out))
    inputs, outputs = w.shape[1], len(w) // group
    for n, o, i, j in itertools.product(range(len(x)), range(len(w)), range(out[0]), range(out[1])):
        first = o // outputs * inputs
        rows = slice(i * stride, i * stride + reach[0], dilation)
        columns = slice(j * stride, j * stride + reach[1], dilation)
        y[n, o, i, j] = (x[n, first : first + inputs, rows, columns] * w[o]).sum()
    return y


@settings(max_examples=60, deadline=None)
@given(
    group=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    block=st.sampled_from([1, 200, 1 << 20]),
)
def test_convolutions(
    group: int,
    channels: tuple[int, int],
    kernel: tuple[int, int],
    stride: int,
    dilation: int,
    pads: list[int],
    block: int,
) -> None:
    """Whatever the block of windows, and the transposed one is the adjoint."""
    rng = np.random.default_rng(0)
    inputs, outputs = channels
    x = rng.standard_normal((2, group * inputs, 7, 6))
    w = rng.standard_normal((group * outputs, inputs, *kernel))
    attrs: dict[str, Any] = {
        "group": group,
        "strides": [stride] * 2,
        "dilations": [dilation] * 2,
        "pads": pads,
    }
    expected = convolution(x, w, group, stride, dilation, pads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolutions, "_BLOCK", block)
        (y,) = evaluate(one("Conv", {"x": x}, {"w": w}, **attrs))({"x": x})
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)
        v = rng.standard_normal(y.shape)
        over = [
            (size + pads[k] + pads[2 + k] - (kernel[k] - 1) * dilation - 1) % stride
            for k, size in ((0, 7), (1, 6))
        ]
        transposed = one("ConvTranspose", {"v": v}, {"w": w}, output_padding=over, **attrs)
        (back,) = evaluate(transposed)({"v": v})
    assert float((y * v).sum()) == pytest.approx(float((x * back).sum()), abs=1e-9)


@pytest.mark.parametrize("axes", [None, [2, 3], [3]])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(
    "how", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"]
)
def test_resize_is_that_of_onnx(
    mode: str, how: str, axes: list[int] | None, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 3, 5, 6))
    factors = {(): [1, 1, 1.7, 0.6], (2, 3): [1.7, 0.6], (3,): [2.5]}[tuple(axes or ())]
    constants = {"roi": np.zeros(0), "scales": np.array(factors)}
    attrs: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
    graph = one("Resize", {"x": x}, constants, **attrs, **({} if axes is None else {"axes": axes}))
    np.testing.assert_allclose(evaluate(graph)({"x": x})[0], by_onnx(graph, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_scatters_are_those_of_onnx(op: str, reduction: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4, 5))
    indices = rng.integers(-4, 4, (3, 5)) if op == "ScatterElements" else rng.integers(-4, 4, (3, 1))
    if reduction == "none":
        indices = np.tile([[0], [2], [-1]], (1, indices.shape[1]))
    graph = one(op, {"x": x}, {"i": indices, "u": rng.standard_normal((3, 5))}, reduction=reduction)
    np.testing.assert_allclose(evaluate(graph)({"x": x})[0], by_onnx(graph, x), rtol=1e-14)


@given(x=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=9))
def test_dynamic_quantisation_in_double_precision(x: list[float]) -> None:
    """The range and 0 are hit to half a step, and no entry is farther from its own."""
    given = np.array(x)
    graph = Graph()
    graph.inputs["x"] = TensorType(given.shape, DOUBLE)
    graph.add("DynamicQuantizeLinear", ["x"], output="q")
    graph.nodes[0].outputs = ["q", "s", "z"]
    graph.outputs = ["q", "s", "z"]
    q, s, z = evaluate(graph)({"x": given})
    assert [a.dtype.name for a in (q, s, z)] == ["uint8", "float64", "uint8"]
    assert np.abs((q.astype(float) - z) * s - given).max() <= s * (1 + 1e-9)


def chain(length: int) -> Graph:
    graph = Graph()
    graph.inputs["x"] = TensorType((1, 8, 128, 128), DOUBLE)
    name = "x"
    for _ in range(length):
        name = graph.add("Neg", [name])
    graph.outputs = [name]
    return graph


def test_tensors_are_dropped_after_their_last_use() -> None:
    x = np.ones((1, 8, 128, 128))
    peaks = []
    for length in (3, 60):
        run = Evaluation(chain(length))
        tracemalloc.start()
        run({"x": x})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 0.5 * x.nbytes


def test_samples_are_laid_out_by_blocks() -> None:
    """Not nine times the whole image at once."""
    x, w = np.ones((1, 16, 256, 256)), np.ones((4, 16, 3, 3))
    run = Evaluation(one("Conv", {"x": x}, {"w": w}, pads=[1, 1, 1, 1]))
    tracemalloc.start()
    run({"x": x})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * x.nbytes


def test_a_node_that_cannot_be_evaluated_is_named() -> None:
    graph = one("MatMul", {"a": np.ones((2, 3)), "b": np.ones((2, 3))})
    with pytest.raises(ModelError, match=r"NumPy cannot evaluate MatMul \(node 'y'\)"):
        evaluate(graph)({"a": np.ones((2, 3)), "b": np.ones((2, 3))})


def test_an_operator_of_onnxruntime_alone_is_computed_in_single_precision(rng: np.random.Generator) -> None:
    x = rng.standard_normal((3, 4))
    run = Evaluation(one("com.microsoft:QuickGelu", {"x": x}, alpha=1.5))
    assert [node.op for node in run.single] == ["com.microsoft:QuickGelu"]
    (y,) = run({"x": x})
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, x / (1 + np.exp(-1.5 * x)), rtol=1e-5, atol=1e-6)
    assert Evaluation(one("Neg", {"x": x})).single == []
