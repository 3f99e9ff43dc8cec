"""Normalizations that onnx's own evaluator rounds to single precision or gets wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx.reference.op_run import OpRun


class LRN(OpRun):
    """Division by a power of the mean square over neighbouring channels."""

    def _run(self, x: np.ndarray, alpha: float, beta: float, bias: float, size: int) -> tuple[np.ndarray]:
        squares = np.zeros_like(x)
        for c in range(x.shape[1]):
            near = x[:, max(c - (size - 1) // 2, 0) : c + size // 2 + 1]
            squares[:, c] = (near * near).sum(axis=1)
        return (x * (bias + alpha / size * squares) ** -beta,)


class MeanVarianceNormalization(OpRun):
    """Mean 0 and deviation 1 over the given axes."""

    def _run(self, x: np.ndarray, axes: Sequence[int] | None = None) -> tuple[np.ndarray]:
        over = (0, 2, 3) if axes is None else tuple(axes)
        std = x.std(axis=over, keepdims=True)
        return ((x - x.mean(axis=over, keepdims=True)) / (std + 1e-9),)


class LpNormalization(OpRun):
    """Division by the 1- or 2-norm along one axis; a vector of zeros stays."""

    def _run(self, x: np.ndarray, axis: int = -1, p: int = 2) -> tuple[np.ndarray]:
        norm = np.linalg.norm(x, ord=p, axis=axis, keepdims=True)
        return (x / np.where(norm == 0, 1, norm),)
