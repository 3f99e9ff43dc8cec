"""The rule of GridSample, against onnx's own samples in double precision and onnxruntime's in single."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, strategies as st
from onnx import helper

from sobolevflow.errors import UnsupportedOpError
from sobolevflow.onnxgrad.runtime import session
from tests.support.gradient_cases import (
    Case,
    Var,
    case,
    check,
    close,
    forward_graph,
    gradient_graph,
    make_model,
    run_single,
)
from tests.support.windows import EXAMPLES


def normal(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    x, grid = normal(2, 3, 4, 5), 1.3 * normal(2, 3, 6, 2, seed=2)
    attrs: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    check(case("GridSample", Var(x), grid, tolerance=1e-6, **attrs))


@EXAMPLES
@given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.sampled_from(["bilinear", "nearest", "bicubic"]),
    st.sampled_from(["zeros", "border", "reflection"]),
    st.integers(0, 1),
    st.sampled_from([0.5, 1.0, 4.0]),
)
def test_grid_sample_on_the_runtime(
    sizes: tuple[int, int, int, int], mode: str, padding: str, corners: int, reach: float
) -> None:
    """Dot-product test against onnxruntime's own samples."""
    h, w, *out = sizes
    x, grid = normal(1, 2, h, w), reach * normal(1, *out, 2, seed=3)
    attrs: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    which = case("GridSample", Var(x), grid, **attrs)
    value, gradient = run_single(gradient_graph(forward_graph(which.model, {"x0": x.shape}), "x0"), which.at)
    assert (
        abs(float(value) - float((gradient * x).sum()))
        <= 2e-6 * np.linalg.norm(gradient) * np.linalg.norm(x) + 1e-6
    )


def test_a_grid_of_the_image_is_refused() -> None:
    which = case("GridSample", normal(1, 1, 3, 3), Var(normal(1, 2, 2, 2)))
    with pytest.raises(UnsupportedOpError, match=r"GridSample .*grid depends on the image"):
        check(which)


@pytest.mark.parametrize("opset", [16, 20, 22])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic", None])
def test_the_names_of_modes_at_every_opset(mode: str | None, opset: int) -> None:
    x, grid = normal(1, 2, 4, 5), normal(1, 3, 4, 2, seed=2)
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode or "", mode) if opset < 20 else mode
    attrs: dict[str, Any] = {} if name is None else {"mode": name}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], **attrs)
    model = make_model([node], {"x": (x.shape, onnx.TensorProto.FLOAT)}, ["y"], {"grid": grid}, opset=opset)
    check(Case(f"{mode} at opset {opset}", model, {"x": x}, 1e-6))
    expected = session(model).run(None, {"x": x})[0]
    close(run_single(forward_graph(model, {"x": x.shape}), {"x": x})[0], expected, 1e-6)
