"""Quantisation in the precision of the numbers that are quantised."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

from ..scales import along_axis


class QuantizeLinear(OpRun):
    """To the nearest whole step from the zero point, inside the range of its type."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, axis: int = 1, **_: Any
    ) -> tuple[np.ndarray]:
        zero = np.zeros(1, np.uint8) if zero is None else zero
        limits = np.iinfo(zero.dtype)
        steps = np.rint(x / along_axis(scale, axis, x.ndim)) + along_axis(zero, axis, x.ndim)
        return (steps.clip(limits.min, limits.max).astype(zero.dtype),)


class DequantizeLinear(OpRun):
    """Steps from the zero point, times the scale."""

    def _run(
        self, q: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, axis: int = 1, **_: Any
    ) -> tuple[np.ndarray]:
        shift = 0.0 if zero is None else along_axis(zero.astype(scale.dtype), axis, q.ndim)
        return ((q.astype(scale.dtype) - shift) * along_axis(scale, axis, q.ndim),)


class DynamicQuantizeLinear(OpRun):
    """To 8 bits, with the scale and the zero point that the range of the tensor and 0 ask for."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        low, high = min(x.min(initial=0), 0), max(x.max(initial=0), 0)
        scale = np.asarray((high - low) / 255 or 1, x.dtype)
        zero = np.rint(np.clip(-low / scale, 0, 255))
        steps = np.rint(x / scale) + zero
        return steps.clip(0, 255).astype(np.uint8), scale, zero.astype(np.uint8)
