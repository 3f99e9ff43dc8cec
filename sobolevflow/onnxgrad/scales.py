"""Scales and zero points of quantised tensors: one for the whole tensor, or one for each place on an axis."""

from __future__ import annotations

import numpy as np


def along_axis(value: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A parameter per tensor or per axis, in a shape that broadcasts over a tensor of that rank."""
    shape = [1] * rank
    if value.size > 1:
        shape[axis % rank] = value.size
    return value.reshape(shape)
