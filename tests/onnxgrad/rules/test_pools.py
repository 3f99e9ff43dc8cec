"""Pools beyond the usual: averages with dilations, Indices that are read, indices by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies as st
from onnx import helper

from sobolevflow.errors import ModelError
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import (
    Case,
    check,
    forward_graph,
    gradient_graph,
    make_model,
    run_single,
    spaced,
    weights_of,
)
from tests.support.windows import EXAMPLES, Window, attributes, check_or_refuse, random, windows


def average(axes: list[Window], x: np.ndarray, **attrs: Any) -> Case:
    node = helper.make_node("AveragePool", ["x"], ["y"], **attrs)
    model = make_model([node], {"x": (x.shape, onnx.TensorProto.FLOAT)}, ["y"], opset=19)
    return Case(f"AveragePool({axes})", model, {"x": x}, 3e-7)


def check_as_onnxruntime(which: Case) -> None:
    """The gradient is right, and the forward pass is still what onnxruntime makes of the node itself."""
    check_or_refuse(which)
    expected = session(which.model).run(None, dict(which.at))[0]
    found = run_single(forward_graph(which.model, {"x": which.at["x"].shape}), which.at)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@EXAMPLES
@given(windows(pool=True), st.integers(0, 1), st.integers(0, 1))
def test_dilated_averages(axes: list[Window], ceil: int, include: int) -> None:
    x = random(2, 2, *(a.size for a in axes))
    check_as_onnxruntime(average(axes, x, ceil_mode=ceil, count_include_pad=include, **attributes(axes)))


def test_dilated_averages_without_pads() -> None:
    pool: dict[str, Any] = {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [1, 2]}
    check_as_onnxruntime(average([], random(1, 2, 8, 7), auto_pad="VALID", **pool))


def test_dilated_averages_whose_size_is_in_dispute_are_refused() -> None:
    which = average([], random(1, 2, 8, 7), auto_pad="SAME_UPPER", kernel_shape=[3, 2], dilations=[2, 3])
    with pytest.raises(ModelError, match=r"AveragePool node .*disagree about its size"):
        check(which)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("channels", [2, 16])
def test_a_maximum_whose_indices_are_read(order: int, channels: int) -> None:
    """y + (indices modulo 3) times y: the positions enter the value, and carry no gradient."""
    x = spaced(np.random.default_rng(8), 1, channels, 4, 6).astype(np.float32)
    nodes = [
        helper.make_node(
            "MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2], storage_order=order
        ),
        helper.make_node("Mod", ["i", "three"], ["k"]),
        helper.make_node("Cast", ["k"], ["f"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["y", "f"], ["z"]),
    ]
    model = make_model(
        nodes, {"x": (x.shape, onnx.TensorProto.FLOAT)}, ["z"], {"three": np.array(3, np.int64)}
    )
    forward = forward_graph(model, {"x": x.shape})
    positions = np.asarray(session(_with_indices(model)).run(["i"], {"x": x})[0])
    gradient = run_single(gradient_graph(forward, "x"), {"x": x})[1]
    expected = np.zeros_like(x)
    w = weights_of(forward)["z"] * (positions % 3)
    maxima = x.reshape(1, channels, 2, 2, 3, 2).max(axis=(3, 5))
    tiled = np.kron(maxima, np.ones((2, 2), np.float32))
    expected[x == tiled] = np.kron(w, np.ones((2, 2)))[x == tiled]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def _with_indices(model: onnx.ModelProto) -> onnx.ModelProto:
    out = onnx.ModelProto()
    out.CopyFrom(model)
    out.graph.output.append(onnx.ValueInfoProto(name="i"))
    return out


@EXAMPLES
@given(windows(pool=True))
def test_max_pool_by_column(axes: list[Window]) -> None:
    x = spaced(np.random.default_rng(8), 2, 2, *(a.size for a in axes)).astype(np.float32)
    node = helper.make_node("MaxPool", ["x"], ["y"], storage_order=1, **attributes(axes))
    model = make_model([node], {"x": (x.shape, onnx.TensorProto.FLOAT)}, ["y"])
    check(Case(f"MaxPool({axes})", model, {"x": x}, 2e-7))
