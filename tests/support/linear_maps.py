"""The dot-product test of linear maps and their adjoints."""

from __future__ import annotations

import numpy as np
import pytest

from sobolevflow.transforms.linear import LinearMap


def check_adjoint(linear: LinearMap, shape: tuple[int, ...], seed: int) -> None:
    """The dot-product test: <T u, g> = <u, T* g>."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal(shape)
    seen = linear.apply(u)
    g = rng.standard_normal(seen.shape)
    back = linear.adjoint(g)
    assert back.shape == u.shape
    left, right = float(np.vdot(seen, g)), float(np.vdot(u, back))
    assert left == pytest.approx(right, rel=1e-9, abs=1e-9)
