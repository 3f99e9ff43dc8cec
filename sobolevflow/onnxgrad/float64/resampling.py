"""Resize as one matrix product along each axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_resize import Resize as Reference

# Entries of an axis up to which its matrix is laid out in full.
_LONGEST = 1024


class Resize(OpRun):
    """Resampling, which is linear and acts on one axis at a time; onnx's own makes each matrix."""

    def _run(
        self,
        x: np.ndarray,
        roi: np.ndarray | None = None,
        scales: np.ndarray | None = None,
        sizes: np.ndarray | None = None,
        **attrs: Any,
    ) -> tuple[np.ndarray]:
        crops = attrs["coordinate_transformation_mode"] == "tf_crop_and_resize"
        shared = attrs.get("keep_aspect_ratio_policy") not in (None, "stretch")  # one scale for all axes
        if crops or shared or max(x.shape) > _LONGEST or not np.issubdtype(x.dtype, np.floating):
            return self._reference(x, roi, scales, sizes, attrs)
        axes = attrs.pop("axes", None) or range(x.ndim)
        for k, axis in enumerate(axes):
            if scales is not None and scales.size:
                how: Any = {"scales": np.array([1, scales[k]])}
            else:
                assert sizes is not None
                how = {"sizes": np.array([x.shape[axis], sizes[k]])}
            x = _along(self._matrix(x.shape[axis], how, attrs).astype(x.dtype), x, axis % x.ndim)
        return (x,)

    def _matrix(self, size: int, how: dict[str, np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
        """What maps an axis of `size` entries to those asked for."""
        (rows,) = self._reference(np.eye(size), None, how.get("scales"), how.get("sizes"), attrs)
        return rows.T

    def _reference(self, *inputs: Any) -> tuple[np.ndarray]:
        operator: Any = Reference(self.onnx_node, self.run_params)
        *tensors, attrs = inputs
        y: tuple[np.ndarray] = operator._run(*tensors, **attrs)
        return y


def _along(matrix: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    if len(matrix) == x.shape[axis] and np.array_equal(matrix, np.eye(len(matrix))):
        return x
    if axis == x.ndim - 1:
        return np.asarray(x @ matrix.T)
    if axis == x.ndim - 2:
        return np.asarray(matrix @ x)
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
