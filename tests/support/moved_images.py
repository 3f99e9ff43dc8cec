"""Small networks that move the axis of the images about, and NumPy's word on where each value belongs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.support.gradient_cases import make_model

IMAGE = (2, 4, 6)

# An axis is a list of factors, each a letter and its length; the length of N is that of the batch.
Axes = list[list[tuple[str, int]]]


@dataclass(frozen=True)
class Moved:
    """Transpositions and reshapes of (N, C, H, W), each with the axes behind it."""

    steps: tuple[tuple[tuple[int, ...] | None, Axes], ...]

    def shapes(self, batch: int) -> list[tuple[int, ...]]:
        return [_shape(axes, batch) for _, axes in self.steps]

    def model(self, batch: int | str, *, moving: bool = True) -> onnx.ModelProto:
        """Conv, then each step with a Tanh behind; without `moving` the same functions in place."""
        rng = np.random.default_rng(3)
        constants: dict[str, Any] = {"w": rng.standard_normal((4, 2, 3, 3)).astype(np.float32) / 3}
        nodes = [helper.make_node("Conv", ["x", "w"], ["at0"], pads=[1, 1, 1, 1])]
        for k, (order, axes) in enumerate(self.steps):
            before, after = f"at{k}", f"moved{k}"
            if not moving:
                after = before
            elif order is not None:
                nodes.append(helper.make_node("Transpose", [before], [after], perm=order))
            else:
                constants[f"shape{k}"] = np.array(_target(axes, batch), np.int64)
                nodes.append(helper.make_node("Reshape", [before, f"shape{k}"], [after]))
            nodes.append(helper.make_node("Tanh", [after], [f"at{k + 1}"]))
        last = f"at{len(self.steps)}"
        return make_model(nodes, {"x": ((batch, *IMAGE), TensorProto.FLOAT)}, [last], constants, opset=13)

    @property
    def layer(self) -> str:
        return f"at{len(self.steps)}"

    def owners(self, batch: int) -> np.ndarray:
        """Which image each value of the layer belongs to."""
        found = np.broadcast_to(np.arange(batch).reshape(batch, 1, 1, 1), (batch, 4, *IMAGE[1:])).copy()
        for (order, _), shape in zip(self.steps, self.shapes(batch), strict=True):
            found = found.reshape(shape) if order is None else found.transpose(order)
        return found


def _shape(axes: Axes, batch: int) -> tuple[int, ...]:
    return tuple(math.prod(batch if letter == "N" else size for letter, size in axis) for axis in axes)


def _target(axes: Axes, batch: int | str) -> list[int]:
    sizes = _shape(axes, batch if isinstance(batch, int) else 1)
    if isinstance(batch, int):
        return list(sizes)
    held = [any(letter == "N" for letter, _ in axis) for axis in axes]
    return [-1 if holds else size for holds, size in zip(held, sizes, strict=True)]


@st.composite
def moved_images(draw: st.DrawFn) -> Moved:
    """One to five moves; none tears an image apart that is not put together again in its order."""
    axes: Axes = [[("N", 1)], [("C", 4)], [("H", IMAGE[1])], [("W", IMAGE[2])]]
    steps: list[tuple[tuple[int, ...] | None, Axes]] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(("transpose", "transpose", "merge", "split")))
        if kind == "transpose" and len(axes) > 1:
            order = tuple(draw(st.permutations(range(len(axes)))))
            axes = [axes[k] for k in order]
            steps.append((order, axes))
        elif kind == "merge" and len(axes) > 2:
            k = draw(st.integers(0, len(axes) - 2))
            axes = [*axes[:k], axes[k] + axes[k + 1], *axes[k + 2 :]]
            steps.append((None, axes))
        elif kind == "split":
            k = draw(st.integers(0, len(axes) - 1))
            axes = [*axes[:k], *_parts(axes[k]), *axes[k + 1 :]]
            steps.append((None, axes))
    return Moved(tuple(steps))


def _parts(axis: list[tuple[str, int]]) -> Axes:
    """An axis of several factors taken apart, one of a single factor halved."""
    if len(axis) > 1:
        return [[factor] for factor in axis]
    ((letter, size),) = axis
    if letter == "N" or size % 2:
        return [axis]
    return [[(letter, 2)], [(letter, size // 2)]]
