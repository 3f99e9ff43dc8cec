"""Operators on single entries, in the precision of their argument and with no copy more than is needed."""

from __future__ import annotations

import numpy as np
from onnx.reference.op_run import OpRun


class Relu(OpRun):
    """The larger of x and 0."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (np.maximum(x, 0),)


class Sigmoid(OpRun):
    """1 / (1 + exp -x), exact in both tails."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        from scipy.special import expit  # which takes as long to import as all the rest

        return (np.asarray(expit(x), x.dtype),)


class Erf(OpRun):
    """The error function in the precision of its argument."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        from scipy.special import erf

        return (np.asarray(erf(x), x.dtype),)


class Expand(OpRun):
    """Repetition along axes of length one, as a view."""

    def _run(self, x: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray]:
        return (np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))),)
