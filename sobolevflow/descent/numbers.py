"""The images of a batch by their numbers, for messages."""

from __future__ import annotations

import numpy as np

from ..arrays import Array


def listed(which: Array) -> str:
    """Those of a batch that are meant, (N,) bool: "images 0, 3"."""
    numbers = ", ".join(str(i) for i in np.flatnonzero(which))
    return f"image {numbers}" if which.sum() == 1 else f"images {numbers}"
